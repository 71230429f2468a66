"""Joining strands, smoothing with a deviation, calibrated confidences, and maps stitched from tiles."""

from dataclasses import dataclass

import networkx
import numpy as np
import pytest
import torch
from scipy.linalg import cholesky_banded

from physics.errors import InputError
from train.calibration import (
    LINE_FEATURES,
    confidence_of,
    deviation_px,
    expected_calibration_error,
    fit_confidence,
    fit_deviation,
)
from train.curves import TracedLine, distance_px, resample
from train.joints import FEATURES, Ends, Joints, candidates, chosen, ends_of, hermite, joint_features, matching
from train.link import half_widths
from train.linker import Linker, load_linker, save_linker, shipped_linker
from train.linker_truth import FALSE, OPEN, REAL, joint_labels, line_errors
from train.metrics import Truth, score_image, truth_of
from train.predict import prediction
from train.spline import inverse_diagonal, roughness_bands, smoothing_spline
from train.strands import Strand, cut_into_strands, without_duplicates
from train.targets import target_maps
from train.tiles import fade_weights, tile_layout, tiled_maps
from train.trace import Fragment, TraceSettings, lifted_volume, trace_lines

SHAPE = (128, 160)


@dataclass(frozen=True)
class Drawn:
    points_px: np.ndarray
    half_width_px: np.ndarray
    visible: np.ndarray


def drawn(points, half_width=1.8):
    points = resample(np.asarray(points, dtype=float), 1.0)
    return Drawn(points, np.full(len(points), half_width), np.ones(len(points), dtype=bool))


def straight(start, stop, gaps=0.9):
    points = resample(np.array([start, stop], dtype=float), 1.0)
    return Fragment(points=points, strength=np.full(len(points), gaps), bridged=np.zeros(len(points), dtype=bool))


def empty_ends():
    return target_maps([], SHAPE)


def test_the_inverse_of_a_banded_matrix_has_the_diagonal_of_the_dense_one():
    weight = np.random.default_rng(0).uniform(0.05, 1, 60)
    difference = np.diff(np.eye(60), 2, axis=0)
    dense = np.diag(weight) + 30.0 * difference.T @ difference
    fast = inverse_diagonal(cholesky_banded(roughness_bands(60, 30.0, weight)))
    assert fast == pytest.approx(np.diag(np.linalg.inv(dense)), rel=1e-10)


def test_the_deviation_of_a_spline_is_that_of_repeated_measurements():
    x, seen, rng = np.arange(150.0), np.ones(150), np.random.default_rng(1)
    curves, told = [], []
    for _ in range(200):
        # Scatter across the line alone: along it the vertices are resampled, and half of the scatter is none.
        points = np.stack([x, 0.4 * rng.standard_normal(150)], axis=-1)
        curve, sigma = smoothing_spline(points, seen, 16.0)
        curves.append(np.interp(x, curve[:, 0], curve[:, 1]))
        told.append(sigma[len(sigma) // 2])
    measured = np.std(curves, axis=0)[40:-40].mean()
    assert np.mean(told) == pytest.approx(measured / np.sqrt(2), rel=0.15)  # mean over two coordinates, one of them exact


def test_the_deviation_grows_into_a_gap():
    x, seen = np.arange(120.0), np.ones(120)
    seen[50:70] = 0
    points = np.stack([x, 0.3 * np.random.default_rng(2).standard_normal(120)], axis=-1)
    _, sigma = smoothing_spline(points, seen, 14.0)
    middle = len(sigma) // 2
    assert sigma[middle] > 3 * sigma[middle // 2]


def test_calibration_error_is_that_of_its_definition():
    # Two bins: 4 lines at 0.9 of which 2 are right, 6 at 0.2 of which 3 are: (4 * 0.4 + 6 * 0.3) / 10.
    confidence = np.array([0.9] * 4 + [0.2] * 6)
    correct = np.array([1, 1, 0, 0, 1, 1, 1, 0, 0, 0], dtype=bool)
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.34)
    assert expected_calibration_error(np.array([0.5, 0.5]), np.array([True, False])) == pytest.approx(0.0)
    assert expected_calibration_error(np.ones(3), np.zeros(3, dtype=bool)) == pytest.approx(1.0)
    with pytest.raises(InputError, match="confidence"):
        expected_calibration_error(np.zeros(0), np.zeros(0, dtype=bool))
    with pytest.raises(InputError, match="confidence"):
        expected_calibration_error(np.array([1.2]), np.array([True]))


def test_a_logistic_law_is_found_again():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((6000, len(LINE_FEATURES)))
    true = np.linspace(-1, 1, len(LINE_FEATURES))
    right = rng.random(6000) < 1 / (1 + np.exp(-(x @ true - 0.5)))
    weights = fit_confidence(x[:3000], right[:3000])
    confidence = confidence_of(x[3000:], weights)
    assert expected_calibration_error(confidence, right[3000:]) < 0.03  # 3000 draws in 10 bins: about 0.015 of chance
    assert weights["confidence_weight"] / weights["confidence_scale"] == pytest.approx(true, abs=0.15)


def test_deviations_are_scaled_to_the_errors():
    rng = np.random.default_rng(4)
    spline = rng.uniform(0.02, 0.4, 20000)
    error = np.abs(rng.normal(scale=np.hypot(3.0 * spline, 0.5)))
    factor, floor = fit_deviation(spline, error)
    assert factor == pytest.approx(3.0, rel=0.1) and floor == pytest.approx(0.5, rel=0.1)
    assert (error <= deviation_px(spline, np.array([factor, floor]))).mean() == pytest.approx(0.683, abs=0.001)  # erf(1 / sqrt 2)
    assert deviation_px(np.zeros(1), np.array([factor, floor])) == pytest.approx(floor)


def test_joints_are_chosen_on_the_whole_and_not_best_first():
    zeros = np.zeros(4)
    ends = Ends(number=np.array([0, 3, 4, 7]), position=np.zeros((4, 2)), heading=np.zeros((4, 2)), curvature=zeros,
                strength=zeros, half_width_px=zeros, end_value=zeros, length=zeros)  # fmt: skip
    joints = Joints(ends=ends, first=np.array([0, 0, 1]), second=np.array([2, 3, 2]), traced=np.zeros(3, bool), features=np.zeros((3, 1)))
    # Best first takes 3.0 alone; the other two add up to 5.8.
    assert chosen(joints, np.array([3.0, 2.9, 2.9])) == {0: 7, 7: 0, 3: 4, 4: 3}
    assert chosen(joints, np.array([-1.0, -1.0, 0.5])) == {3: 4, 4: 3}  # nothing unlikely is joined


def test_safe_joints_are_taken_before_the_matching_without_changing_it():
    rng = np.random.default_rng(6)
    for _ in range(20):
        edges = {(int(a), int(b)): float(w) for a, b, w in zip(rng.integers(0, 7, 18), rng.integers(7, 14, 18), rng.uniform(0.1, 4, 18))}
        picked = matching(edges)
        graph = networkx.Graph()
        graph.add_weighted_edges_from([(a, b, w) for (a, b), w in edges.items()])
        best = sum(graph[a][b]["weight"] for a, b in networkx.max_weight_matching(graph))
        assert len({end for pair in picked for end in pair}) == 2 * len(picked)
        assert sum(edges[pair] for pair in picked) == pytest.approx(best)


def test_a_bridge_leaves_and_arrives_along_its_headings():
    p, q = np.array([[0.0, 0.0]]), np.array([[10.0, 4.0]])
    u, v = np.array([[1.0, 0.0]]), np.array([[0.6, 0.8]])
    (path,) = hermite(p, u, q, v, np.array([0.0, 1e-5, 1 - 1e-5, 1.0]))
    first, last = path[1] - path[0], path[3] - path[2]
    assert path[0] == pytest.approx(p[0]) and path[3] == pytest.approx(q[0])
    assert first / np.hypot(*first) == pytest.approx(u[0], abs=1e-3)
    assert last / np.hypot(*last) == pytest.approx(v[0], abs=1e-3)


def test_the_features_of_a_joint_do_not_depend_on_which_end_comes_first():
    maps = target_maps([drawn([[10, 60], [150, 70]])], SHAPE)
    volume = lifted_volume(maps)
    strands = cut_into_strands([straight((8, 30), (30, 31)), straight((36, 32), (60, 36))], maps)
    joints = candidates(strands, maps, volume, 22.0)
    assert len(joints.first) == 1
    swapped = joint_features(joints.ends, joints.second, joints.first, joints.traced, maps, volume)
    assert swapped == pytest.approx(joints.features, abs=1e-5)


def test_traces_are_cut_where_they_run_together_and_not_where_they_cross():
    crossing = cut_into_strands([straight((5, 5), (60, 60)), straight((60, 5), (5, 60))], empty_ends())
    assert len(crossing) == 2
    near = [straight((5, 30), (75, 30)), straight((5, 25), (75, 35))]
    strands = cut_into_strands(near, empty_ends())
    assert len(strands) == 4 and [s.kept for s in strands] == [2, None, 6, None]
    # What was cut out is kept for the case that nothing better is found.
    assert sum(len(s.fragment.points) + (len(s.between.points) if s.between else 0) for s in strands) == sum(len(f.points) for f in near)


def test_traces_far_apart_are_cut_as_each_alone():
    maps = empty_ends()
    maps.ends[10, 20], maps.ends[40, 60] = 0.8, 0.6
    kinked = np.concatenate([np.linspace([5, 50], [30, 50], 26), np.linspace([30, 51], [30, 60], 10)])
    fragments = [
        straight((5, 10), (40, 10)), Fragment(points=kinked, strength=np.ones(36), bridged=np.zeros(36, dtype=bool)),
        straight((5, 25), (40, 25)), straight((60, 30), (60, 50)), straight((50, 5), (50, 8)),
    ]  # fmt: skip
    together = cut_into_strands(fragments, maps)
    alone = [strand for fragment in fragments for strand in cut_into_strands([fragment], maps)]
    assert [len(cut_into_strands([f], maps)) for f in fragments] == [2, 2, 1, 2, 1]
    assert all(np.array_equal(a.fragment.points, b.fragment.points) for a, b in zip(together, alone, strict=True))


def test_a_trace_is_cut_where_the_end_of_another_is_nearest_to_it():
    (first, second, tip) = cut_into_strands([straight((5, 30), (60, 30)), straight((33.3, 32.5), (33.3, 50))], empty_ends())
    assert first.between.points[len(first.between.points) // 2] == pytest.approx([33, 30])  # the vertex below the end
    assert first.kept == 2 and second.kept is None and len(tip.fragment.points) == 19  # the end itself is left whole


def test_arms_are_least_squares_fits_whatever_the_length_of_the_strand():
    rng, maps = np.random.default_rng(7), target_maps([drawn([[10, 60], [150, 70]])], SHAPE)
    fragments = []
    for n in (12, 3, 5, 7, 9, 4):
        points = np.column_stack([np.arange(n) + 10.0, 30 + 0.1 * np.arange(n) ** 2 / n]) + 0.05 * rng.standard_normal((n, 2))
        fragments.append(Fragment(points=points, strength=rng.random(n), bridged=np.zeros(n, dtype=bool)))
    ends = ends_of([Strand(fragment=f) for f in fragments], maps)
    assert ends.number.tolist() == list(range(12)) and ends.length.tolist() == [n for n in (12, 3, 5, 7, 9, 4) for _ in (0, 1)]
    for k, number in enumerate(ends.number):
        f = fragments[number // 2] if number % 2 else fragments[number // 2].reversed()
        tail, strength = f.points[-7:], f.strength[-7:]  # ARM vertices
        assert ends.strength[k] == pytest.approx(np.median(strength))
        if len(tail) < 4:
            position, slope = tail[-1], tail[-1] - tail[0]
        else:
            curve = np.polynomial.Polynomial
            at = np.arange(1.0 - len(tail), 1.0)
            fits = [curve.fit(at, c, 2 if len(tail) == 7 else 1).convert() for c in tail.T]
            position, slope = [fit(0.0) for fit in fits], np.array([fit.deriv()(-1.0) for fit in fits])
        assert ends.position[k] == pytest.approx(position) and ends.heading[k] == pytest.approx(slope / np.hypot(*slope))


def test_half_widths_are_running_medians_between_the_known_ones():
    rng = np.random.default_rng(8)
    for n in (1, 2, 5, 8, 9, 40):
        values = rng.uniform(1, 4, n).astype(np.float32)
        padded = np.pad(values, 4, mode="edge")
        assert half_widths(values) == pytest.approx([np.median(padded[i : i + 9]) for i in range(n)])
    assert half_widths(np.array([3.0, 0, 0, 0, 3])) == pytest.approx(np.full(5, 3.0))  # 0 is where nothing is drawn
    assert half_widths(np.zeros(4)) == pytest.approx(np.ones(4))


def test_a_copy_of_a_trace_is_dropped_and_a_crossing_one_is_not():
    lines = [straight((5, 30), (75, 30)), straight((20, 30.5), (50, 30.4)), straight((40, 5), (40, 55))]
    assert [len(f.points) for f in without_duplicates(lines)] == [71, 51]


def test_joints_are_real_along_one_visible_piece_of_a_line():
    truth = Truth(curves_px=(resample(np.array([[10.0, 40], [150, 40]]), 1.0), resample(np.array([[60.0, 10], [60, 120]]), 1.0)))
    # In map pixels: two parts of the first line, one of the second.
    strands = cut_into_strands([straight((6, 19.75), (26, 19.75)), straight((33, 19.75), (60, 19.75)), straight((29.75, 22), (29.75, 50))], empty_ends())
    maps = target_maps([], SHAPE)
    joints = candidates(strands, maps, lifted_volume(maps), 22.0)
    labels = joint_labels(joints, strands, truth, 2)
    pairs = {(int(joints.ends.number[a]) // 2, int(joints.ends.number[b]) // 2): n for n, (a, b) in enumerate(zip(joints.first, joints.second))}
    assert labels[pairs[0, 1]] == REAL
    assert all(labels[n] == FALSE for pair, n in pairs.items() if 2 in pair)
    assert (joint_labels(joints, strands, Truth(curves_px=()), 2) == OPEN).all()


def test_a_line_is_judged_by_the_curve_it_matches():
    lines = [drawn([[10, 40], [150, 44]]), drawn([[20, 90], [140, 90]])]
    found = trace_lines(target_maps(lines, SHAPE))
    errors = line_errors(found, truth_of(lines[:1], SHAPE))
    assert sorted(len(e) > 0 for e in errors) == [False, True]
    assert max(e.max() for e in errors if len(e)) < 1.0  # perfect maps of stride 2


def test_lines_are_matched_as_the_metric_matches_them_where_a_part_is_invisible():
    whole = drawn([[10, 40], [150, 40]])
    for seen_px in (60.0, 100.0, 200.0):  # the line is visible left of it
        truth = truth_of([Drawn(whole.points_px, whole.half_width_px, whole.points_px[:, 0] < seen_px)], SHAPE)
        line = TracedLine(points_px=whole.points_px, half_width_px=whole.half_width_px, confidence=1.0)
        (off,) = line_errors([line], truth)
        assert score_image([line], truth, SHAPE).matched == 1 and len(off) == len(line.points_px)
        assert np.nanmax(off) <= 3 and np.isnan(off).sum() == pytest.approx(max(0, 150 - seen_px), abs=6)  # tolerance 3 px
    hidden = truth_of([Drawn(whole.points_px, whole.half_width_px, np.zeros(len(whole.points_px), bool)), drawn([[10, 90], [150, 90]])], SHAPE)
    assert line_errors([line], hidden) == [None]


def test_every_line_has_a_deviation_and_says_it():
    (line,) = trace_lines(target_maps([drawn([[10, 40], [150, 44]])], SHAPE))
    assert line.sigma_px.shape == (len(line.points_px),) and (line.sigma_px > 0).all() and np.median(line.sigma_px) < 3
    record = prediction("a.png", SHAPE, None, "default", [line])
    assert len(record["lines"][0]["sigma_px"]) == len(record["lines"][0]["points_px"])


def test_the_shipped_linker_is_small_and_says_what_it_was_made_from():
    linker = shipped_linker()
    assert 2000 < linker.parameters < 4000
    assert linker.card["judged"]["expected_calibration_error"] <= 0.05  # the project's aim on held-back images


def test_a_file_that_is_no_linker_is_refused(tmp_path):
    with pytest.raises(InputError, match="linker"):
        load_linker(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"12345678not a header")
    with pytest.raises(InputError, match="linker"):
        load_linker(tmp_path / "broken.safetensors")
    shipped = shipped_linker()
    save_linker(tmp_path / "other.safetensors", Linker(weights=shipped.weights, card={**shipped.card, "features": list(FEATURES[:-1])}))
    with pytest.raises(InputError, match="features"):
        load_linker(tmp_path / "other.safetensors")


def test_the_weights_of_tiles_add_up_to_one():
    tile, starts = tile_layout(400, 160, 64, 16)
    assert (tile, starts) == (160, [0, 80, 160, 240])  # four of 160 px are the fewest that cover 400 with 64 in common
    weights = fade_weights(starts, 160, 400, 16, 2)
    assert weights.sum(axis=0) == pytest.approx(1.0)
    assert weights[1, (80 + 14) // 2] == 0 and weights[0, 0] == 1  # silent at a tile's border, not at the image's


@pytest.mark.parametrize("size", [160, 176, 400, 1008, 4096])
def test_tiles_cover_every_pixel_with_their_overlap(size):
    tile, starts = tile_layout(size, 160, 32, 16)
    assert tile <= 160 and starts[0] == 0 and starts[-1] + tile == size and all(s % 16 == 0 for s in starts)
    assert all(a + tile - b >= 32 for a, b in zip(starts[:-1], starts[1:]))


class RidgeNetwork(torch.nn.Module):
    """A network that sees 15 map pixels far: the lift by oriented filters of the image at half size."""

    stride, multiple_px, orientations, untaught = 2, 16, 16, ("offset", "distractors")

    def __init__(self):
        super().__init__()
        y, x = torch.meshgrid(torch.arange(-7.0, 8), torch.arange(-7.0, 8), indexing="ij")
        kernels = []
        for k in range(16):
            theta = torch.tensor(np.pi * k / 16)
            across, along = y * torch.cos(theta) - x * torch.sin(theta), x * torch.cos(theta) + y * torch.sin(theta)
            kernel = torch.exp(-across**2 / 2) * torch.exp(-along**2 / 18)
            kernels.append(kernel / kernel.sum())
        self.kernels = torch.nn.Parameter(torch.stack(kernels)[:, None])

    def forward(self, image):
        half = torch.nn.functional.avg_pool2d(-image, 2)
        response = torch.nn.functional.conv2d(half, self.kernels, padding=7)
        best = response.amax(dim=1, keepdim=True)
        # What is left is the ridge, 3 standard deviations dark, at its strongest orientations.
        lift = 12 * (response / best.clamp(min=0.6) - 0.95) - 8 * torch.relu(4.0 - best)
        flat = best - 1
        rest = torch.zeros_like(lift[:, :6])  # offset and distractors, which it was not taught
        return torch.cat([flat, flat, torch.zeros_like(flat), torch.full_like(flat, -6.0), lift, rest], dim=1)


def dark_line_image(shape=(224, 720)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    curve = 100 + 25 * np.sin(x[0] / 90)
    return (1000 - 400 * np.exp(-((y - curve) ** 2) / 8) + np.random.default_rng(0).normal(0, 5, shape)).astype(np.float32), curve


def test_tiled_maps_are_the_maps_of_the_whole_image(tmp_path):
    image, _ = dark_line_image()
    whole = tiled_maps(RidgeNetwork(), image, tile_px=1024, overlap_px=64)
    tiled = tiled_maps(RidgeNetwork(), image, tile_px=192, overlap_px=64, scratch=tmp_path)
    for name in ("mask", "lift", "half_width_px"):
        # The network sees 14 px, the silent margin is 16 px: nothing but rounding may differ.
        assert np.abs(getattr(tiled, name) - getattr(whole, name)).max() < 1e-5
    assert (tmp_path / "lift.npy").exists()


def test_a_line_through_the_borders_of_tiles_is_one_line():
    image, curve = dark_line_image()
    maps = tiled_maps(RidgeNetwork(), image, tile_px=128, overlap_px=32)
    (line,) = [l for l in trace_lines(maps) if l.length_px > 50]
    true = np.stack([np.arange(720.0), curve], axis=-1)
    assert line.length_px > 700 and distance_px(line.points_px, true).max() < 2.0


def test_tiles_that_do_not_fit_the_network_are_refused():
    with pytest.raises(InputError, match="tile_px"):
        tiled_maps(RidgeNetwork(), np.zeros((64, 64)), tile_px=100)
    with pytest.raises(InputError, match="overlap_px"):
        tiled_maps(RidgeNetwork(), np.zeros((64, 64)), tile_px=128, overlap_px=96)


def test_a_setting_that_is_no_share_is_refused():
    with pytest.raises(InputError, match="lowest_strength"):
        TraceSettings(lowest_strength=1.5)
