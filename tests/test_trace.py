"""Tracing in the lifted volume, from maps drawn of known curves."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from physics.errors import InputError
from train.curves import clip_to_frame, distance_px, find_crossings, headings, is_closed, length_px, resample, smooth
from train.metrics import score_image, summarise, truth_of
from train.targets import Maps, target_maps
from train.trace import TraceSettings, trace_lines

SHAPE = (160, 192)


@dataclass(frozen=True)
class Drawn:
    points_px: np.ndarray
    half_width_px: np.ndarray
    visible: np.ndarray


def drawn(points, half_width=1.8):
    points = resample(np.asarray(points, dtype=float), 1.0)
    if np.hypot(*(points[0] - points[-1])) < 1e-6:
        points[-1] = points[0]
    return Drawn(points, np.full(len(points), half_width), np.ones(len(points), dtype=bool))


def through(centre, angle_deg, length=120.0):
    direction = np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
    return drawn(np.array(centre) + np.array([[-0.5], [0.5]]) * length * direction)


def ring(centre, radius):
    t = np.linspace(0, 2 * np.pi, 200)
    points = np.array(centre) + radius * np.stack([np.cos(t), np.sin(t)], axis=-1)
    points[-1] = points[0]
    return drawn(points)


def traced(*lines, shape=SHAPE, settings=None):
    return trace_lines(target_maps(lines, shape), settings)


def covers(line, curve, tolerance=1.5, fraction=0.9):
    return (distance_px(resample(curve.points_px, 1.0), line.points_px) <= tolerance).mean() >= fraction


def test_empty_maps_hold_no_line():
    assert traced() == ()


def test_a_straight_line_is_one_curve_within_half_a_pixel():
    line = through((90, 80), 17)
    (found,) = traced(line)
    assert distance_px(found.points_px, line.points_px).max() < 0.5
    assert found.length_px == pytest.approx(120, abs=4)  # the length drawn; ends are known to a map pixel
    assert found.confidence > 0.7 and not found.is_loop


@pytest.mark.parametrize("angle_deg", [30, 45, 60, 90])
def test_lines_go_straight_on_where_they_cross(angle_deg):
    lines = [through((96, 80), 10), through((96, 80), 10 + angle_deg)]
    found = traced(*lines)
    assert len(found) == 2
    assert all(sum(covers(f, line) for f in found) == 1 for line in lines)


def test_four_lines_through_one_point_stay_four():
    lines = [through((96, 80), a) for a in (5, 50, 95, 140)]
    found = traced(*lines)
    assert len(found) == 4 and all(any(covers(f, line) for f in found) for line in lines)


def test_a_pile_up_with_six_pixels_spacing_stays_apart():
    lines = [drawn([[40 + 6 * n, 20], [46 + 6 * n, 80], [40 + 6 * n, 140]]) for n in range(8)]
    found = traced(*lines)
    assert len(found) == 8 and all(sum(covers(f, line) for f in found) == 1 for line in lines)


def test_a_loop_closes():
    (found,) = traced(ring((90, 80), 25))
    assert found.is_loop and "loop" in found.flags
    assert found.length_px == pytest.approx(2 * np.pi * 25, rel=0.03)  # circumference


def test_a_small_loop_crossed_by_a_line_gives_both():
    loop, line = ring((90, 80), 14), through((90, 80), 20)
    found = traced(loop, line)
    assert len(found) == 2 and sum(f.is_loop for f in found) == 1 and any(covers(f, line) for f in found)


def test_the_half_width_is_read_from_the_map():
    (found,) = traced(drawn([[20, 30], [160, 120]], half_width=2.6))
    assert np.median(found.half_width_px) == pytest.approx(2.6, abs=0.05)  # as drawn
    assert found.mask(SHAPE).any()


def with_lift(maps, lift):
    return Maps(mask=maps.mask, centreline=maps.centreline, half_width_px=maps.half_width_px, ends=maps.ends,
                lift=np.ascontiguousarray(lift, dtype=np.float32), ignore=maps.ignore, stride=maps.stride)  # fmt: skip


def test_a_short_gap_is_bridged_and_said():
    line = drawn([[10, 80], [180, 80]])
    maps = target_maps([line], SHAPE)
    lift = maps.lift.copy()
    lift[:, :, 44:51] = 0  # 14 px
    found = trace_lines(with_lift(maps, lift))
    assert len(found) == 1 and "bridged_gap" in found[0].flags


def test_a_wide_gap_is_not_bridged():
    maps = target_maps([drawn([[10, 80], [180, 80]])], SHAPE)
    lift = maps.lift.copy()
    lift[:, :, 30:62] = 0  # 64 px
    assert len(trace_lines(with_lift(maps, lift))) == 2


def test_lines_at_the_frame_say_so_and_end_in_it():
    (found,) = traced(drawn([[-30, 60], [230, 100]]))
    assert "touches_frame" in found.flags
    assert found.points_px[:, 0].min() > -1 and found.points_px[:, 0].max() < SHAPE[1]
    assert found.length_px > SHAPE[1] - 6


def test_a_crossing_below_22_degrees_is_flagged():
    found = traced(through((96, 80), 0, 170), through((96, 80), 15, 170))
    assert len(found) == 2 and all("ambiguous_crossing" in f.flags for f in found)


def test_maps_turned_by_a_right_angle_give_the_lines_turned():
    lines = [drawn([[10, 30], [60, 70], [150, 90]]), through((80, 80), 100), ring((120, 110), 20)]
    turned = [drawn(np.stack([SHAPE[0] - 1 - l.points_px[:, 1], l.points_px[:, 0]], axis=-1)) for l in lines]
    plain, other = traced(*lines), traced(*turned, shape=SHAPE[::-1])
    assert len(plain) == len(other) == 3
    assert sum(f.length_px for f in plain) == pytest.approx(sum(f.length_px for f in other), rel=0.02)


def test_the_same_maps_give_the_same_lines():
    maps = target_maps([through((96, 80), a) for a in (0, 40, 75)], SHAPE)
    first, second = trace_lines(maps), trace_lines(maps)
    assert all(np.array_equal(a.points_px, b.points_px) for a, b in zip(first, second))


def test_faint_noise_alone_holds_no_line():
    rng = np.random.default_rng(1)
    maps = target_maps([], SHAPE)
    noise = gaussian_filter(rng.normal(size=maps.lift.shape), (0.8, 1, 1))
    assert trace_lines(with_lift(maps, np.clip(0.06 * noise / noise.std(), 0, 1))) == ()


def dense_image(seed, count=20, size=256):
    """Wavy lines, a bowed pile-up and loops: about thirty crossings in 256 x 256 px."""
    rng = np.random.default_rng(seed)
    lines = []
    u = rng.uniform(0, 2 * np.pi)
    across, along = np.array([np.cos(u), np.sin(u)]), np.array([-np.sin(u), np.cos(u)])
    centre, t = rng.uniform(90, 166, 2), np.linspace(-1, 1, 60)[:, None]
    offsets = np.cumsum(6 * 1.2 ** np.arange(6))
    for x in offsets - offsets.mean():
        lines.append(drawn(centre + across * (x + 12 * (1 - t**2)) + along * 55 * t))
    lines.append(ring(rng.uniform(60, 196, 2), rng.uniform(12, 28)))
    while len(lines) < count:
        angle, length = rng.uniform(0, np.pi), rng.choice([rng.uniform(50, 120), 400])
        direction = np.array([np.cos(angle), np.sin(angle)])
        s = np.linspace(-0.5, 0.5, 200)[:, None] * length
        wave = rng.uniform(3, 9) * np.sin(2 * np.pi * s / rng.uniform(120, 240) + rng.uniform(0, 6))
        points = rng.uniform(40, 216, 2) + s * direction + wave * np.array([-direction[1], direction[0]])
        if sum(length_px(p) for p in clip_to_frame(points, (size, size))) > 25:
            lines.append(drawn(points))
    return lines


def test_dense_perfect_maps_are_taken_apart():
    shape, scores = (256, 256), []
    for seed in range(8):
        lines = dense_image(seed)
        scores.append(score_image(trace_lines(target_maps(lines, shape)), truth_of(lines, shape), shape))
    summary = summarise(scores, bootstrap=0)
    assert summary["crossings"] > 100
    # A guard against getting worse, not the aim: the aim is 0.88, and these eight images give 0.83 [0.77, 0.90].
    assert summary["instance_f1"] >= 0.80, summary
    assert summary["crossings_resolved"] >= 0.83, summary  # the project's aim for perfect maps


@pytest.mark.parametrize("field", ["seed_level", "bridge_px", "coast_px"])
def test_settings_out_of_range_are_refused(field):
    with pytest.raises(InputError, match=field):
        TraceSettings(**{field: -1.0})


def test_smoothing_keeps_long_waves_and_closed_curves():
    x = np.arange(200.0)
    long_wave = smooth(np.stack([x, np.sin(2 * np.pi * x / 60)], axis=-1), 14.0)
    assert np.abs(long_wave[30:-30, 1]).max() > 0.95
    noisy = smooth(np.stack([x, np.sin(2 * np.pi * x / 5)], axis=-1), 14.0)
    assert np.abs(noisy[30:-30, 1]).max() < 0.1
    closed = smooth(ring((50, 50), 20).points_px, 14.0)
    assert is_closed(closed) and np.hypot(*(closed - 50).T) == pytest.approx(np.full(len(closed), 20), abs=0.3)


def test_clipping_cuts_at_the_outer_edge_of_the_outermost_pixels():
    (piece,) = clip_to_frame(np.array([[-20.0, 5.0], [40.0, 5.0]]), (10, 20))
    assert piece == pytest.approx(np.array([[-0.5, 5.0], [19.5, 5.0]]))
    zigzag = np.array([[5.0, 5], [5, -9], [9, -9], [9, 5]])
    assert len(clip_to_frame(zigzag, (10, 20))) == 2
    assert clip_to_frame(np.array([[-5.0, -5], [-9, 3]]), (10, 20)) == []


def test_clipped_pieces_are_what_lies_inside():
    rng, shape = np.random.default_rng(2), (30, 50)
    for _ in range(20):
        curve = np.column_stack([rng.uniform(-20, 70, 12), rng.uniform(-15, 45, 12)])
        fine = np.column_stack([np.interp(np.linspace(0, 11, 110001), np.arange(12), c) for c in curve.T])
        middle = (fine[1:] + fine[:-1]) / 2
        inside = (np.abs(middle - [24.5, 14.5]) <= [25, 15]).all(axis=1)  # to the outermost pixels' outer edges
        steps = np.hypot(*np.diff(fine, axis=0).T)
        # A further column that is linear in x and y stays so at the cuts.
        pieces = clip_to_frame(np.column_stack([curve, curve @ [2.0, -1.0]]), shape)
        assert all(p[:, 2] == pytest.approx(p[:, :2] @ [2.0, -1.0]) for p in pieces)
        assert sum(length_px(p[:, :2]) for p in pieces) == pytest.approx(steps[inside].sum(), abs=0.2)  # 1e-2 px a cut
        assert len(pieces) == (np.diff(np.concatenate([[False], inside, [False]]).astype(int)) == 1).sum()


def test_crossings_are_those_that_every_pair_of_segments_gives():
    rng = np.random.default_rng(5)
    # Steps of 0.2 to 2 px: neither even nor about 1.
    turns = [rng.normal(scale=0.3, size=80).cumsum() + rng.uniform(0, 6) for _ in range(12)]
    curves = [40 + (rng.uniform(0.2, 2.0, 80) * np.stack([np.cos(t), np.sin(t)])).T.cumsum(axis=0) for t in turns]
    # Straight ones, along which the way to the crossing is as long as it looks.
    curves += [np.linspace(p, q, 100) for p, q in ([[-20.0, -20], [90, 90]], [[-20, 81], [90, -29]], [[5, 80], [85, 76]])]
    expected = []
    for i, a in enumerate(curves):
        for j, b in enumerate(curves[:i]):
            r, s, q = np.diff(a, axis=0)[:, None], np.diff(b, axis=0)[None], b[None, :-1] - a[:-1, None]
            det = r[..., 0] * s[..., 1] - r[..., 1] * s[..., 0]
            t = (q[..., 0] * s[..., 1] - q[..., 1] * s[..., 0]) / det
            u = (q[..., 0] * r[..., 1] - q[..., 1] * r[..., 0]) / det
            for ka, kb in np.argwhere((t >= 0) & (t < 1) & (u >= 0) & (u < 1)):
                at = length_px(a[: ka + 1]) + t[ka, kb] * np.hypot(*r[ka, 0])
                expected.append((i, j, at))
    found = [(c.first, c.second, c.at_first_px) for c in find_crossings(curves)]
    assert len(expected) > 20 and np.array(found) == pytest.approx(np.array(expected))


def test_crossings_are_found_with_their_angle():
    curves = [resample(np.array(p, dtype=float), 1.0) for p in ([[0, 0], [60, 0]], [[30, -30], [30, 30]], [[0, 9], [60, 9]])]
    found = find_crossings(curves)
    assert [(c.first, c.second) for c in found] == [(1, 0), (2, 1)]
    assert found[0].angle_deg == pytest.approx(90) and found[0].at_second_px == pytest.approx(30)
    assert headings(curves[0]) == pytest.approx(np.tile([1.0, 0.0], (len(curves[0]), 1)))
