import dataclasses

import numpy as np
import pytest
import torch

from render import Distractor, line_mask
from train.augment import AugmentSettings, Disturbance, disturbed, painted
from train.channels import DISTRACTOR_GROUPS, LIFT, channel_count, distractor_channels, offset_channels
from train.checkpoint import load_model, network_of, predict_maps, save_model
from train.dataset import Examples, StoredImages
from train.distractors import UNKNOWN, distractor_labels, distractor_maps
from train.geometry import View, ViewSettings, as_it_is, draw_view
from train.loss import loss_parts, packed_target
from train.model import NetworkSettings
from train.settings import LossSettings, TrainSettings
from train.targets import TargetSettings, target_maps

SHAPE = (48, 64)
THIN, SPOT, BAND, TEXT = range(4)
STRIDE_1 = TargetSettings(stride=1)
SMALL = TrainSettings(network=NetworkSettings(width=8, blocks_down=(1, 1, 1), head=16))


def area(kind, rows, columns):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[rows, columns] = True
    return Distractor(kind=kind, mask=mask)


def trace(*points, kind="slip_trace"):
    return Distractor(kind=kind, points_px=np.array(points, dtype=np.float32))


def maps_of(*distractors, settings=STRIDE_1, view=None):
    return distractor_maps(distractor_labels(distractors, SHAPE), view or as_it_is(SHAPE), settings)


def test_every_kind_of_the_renderer_has_its_group():
    kinds = {"slip_trace": THIN, "edge": THIN, "particle": SPOT, "precipitate": SPOT, "void": SPOT, "cluster": SPOT,
             "fault_band": BAND, "boundary": BAND, "bend_contour": BAND, "fringe": BAND, "text": TEXT}  # fmt: skip
    for kind, group in kinds.items():
        maps = maps_of(area(kind, slice(4, 9), slice(3, 8)))
        assert [m.any() for m in maps] == [g == group for g in range(len(DISTRACTOR_GROUPS))], kind


def test_unknown_kinds_are_thin_as_curves_and_bands_as_areas():
    assert maps_of(trace((0, 0), (9, 9), kind="scratch"))[THIN].any()
    assert maps_of(area("moire", slice(0, 9), slice(0, 9)))[BAND].any()


def test_curves_are_drawn_at_their_width_and_areas_as_they_are():
    line, spot = trace((5, 10), (40, 30)), area("particle", slice(20, 30), slice(4, 11))
    maps = maps_of(line, spot)
    exact = line_mask(line.points_px, np.full(2, STRIDE_1.distractor_half_width_px), SHAPE)
    np.testing.assert_array_equal(maps[THIN] > 0, exact)
    np.testing.assert_array_equal(maps[SPOT] > 0, spot.mask)
    halved = maps_of(spot, settings=TargetSettings(stride=2))[SPOT]
    np.testing.assert_array_equal(halved > 0, spot.mask.reshape(24, 2, 32, 2).any(axis=(1, 3)))


def test_a_pixel_can_belong_to_several_groups():
    maps = maps_of(area("fault_band", slice(0, 20), slice(0, 40)), trace((0, 10), (63, 10)), area("text", slice(8, 12), slice(5, 9)))
    assert (maps[[THIN, BAND, TEXT], 10, 6] == 1).all() and maps[SPOT, 10, 6] == 0


def test_exact_views_move_distractors_with_the_image():
    distractors = (area("particle", slice(6, 12), slice(30, 42)), trace((5, 10), (40, 30)))
    whole = maps_of(*distractors)
    rng = np.random.default_rng(0)
    for _ in range(10):
        view = draw_view(SHAPE, (32, 32), ViewSettings(free=0.0), rng)
        y, x = np.indices(view.shape)
        i, j = (view.linear @ np.stack([x.ravel(), y.ravel()]) + view.offset[:, None]).round().astype(int)
        expected = whole[:, j, i].reshape(-1, 32, 32)
        seen = maps_of(*distractors, view=view)
        np.testing.assert_array_equal(seen[SPOT], expected[SPOT])
        # Pixels at exactly the half-width are decided by the last bit of their coordinates.
        assert (seen[THIN] != expected[THIN]).mean() < 2e-3


def test_a_free_view_turns_and_magnifies_areas_but_not_the_width_of_curves():
    angle, magnification = 0.6, 1.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / magnification
    view = View(linear=turn, offset=np.array([32, 24]) - turn @ [40, 40], shape=(81, 81))
    disc = np.hypot(*(np.indices(SHAPE) - np.array([24, 32])[:, None, None])) <= 12
    seen = maps_of(Distractor(kind="void", mask=disc), trace((-500, 24), (500, 24)), view=view)
    assert seen[SPOT].sum() == pytest.approx(disc.sum() * magnification**2, rel=0.02)  # whole pixels along its border
    expected_px = 2 * STRIDE_1.distractor_half_width_px * 81 / np.cos(angle)  # a strip across the frame, through its middle
    assert seen[THIN].sum() == pytest.approx(expected_px, rel=0.02)


def test_painted_particles_traces_and_boxes_are_distractors():
    particles = np.array([[20.0, 24.0, 8.0, 5.0, 0.0, 0.3]])
    traces = np.array([[5.0, 5.0, 60.0, 5.0, 0.1, 0.1, 2.0, 0.1]])
    d = Disturbance(particles=particles, traces=traces, banner=np.array([[40.0, 30.0, 10.0, 6.0, 1.0]]))
    _, hidden = disturbed(np.full(SHAPE, 100.0), d)
    maps = maps_of(*painted(d, hidden))
    assert maps[SPOT].sum() == pytest.approx(np.pi * 8 * 5, rel=0.08)  # area of the ellipse
    assert maps[THIN, 5, 30] == 1 and maps[THIN, 15, 30] == 0
    np.testing.assert_array_equal(maps[TEXT] > 0, hidden)


class OneImage:
    """What a Dataset is to training, without a store."""

    shape = SHAPE

    def __len__(self):
        return 1

    def image(self, i):
        image = np.random.default_rng(0).integers(180, 200, SHAPE)
        for number, distractor in enumerate(self.distractors(i)):
            image[distractor.area(SHAPE)] -= 60 - 15 * number
        return image.astype(np.uint16)

    def lines(self, i):
        return ()

    def scene_json(self, i):
        return '{"detector": {"offset_counts": 20.0}}'

    def distractors(self, i):
        return (area("particle", slice(2, 46), slice(3, 60)), trace((0, 10), (63, 40)))


def test_examples_carry_the_distractors_of_their_image():
    settings = dataclasses.replace(SMALL, batch=1, view=ViewSettings(crop_px=48, free=0.0), augment=AugmentSettings(p_banner=0.0))
    _, target = Examples(StoredImages(OneImage(), 0), settings)[0]
    found = target[distractor_channels(16)]
    assert set(np.unique(found)) == {0, 1} and found[[BAND, TEXT]].sum() == 0
    assert 0.6 < found[SPOT].mean() < 1 and 0.04 < found[THIN].mean() < 0.2  # 44 x 57 of 48 x 64 px; 4 px wide of 48
    free = dataclasses.replace(settings, view=ViewSettings(crop_px=48, free=1.0, magnification=(0.5, 0.5)))
    outside = Examples(StoredImages(OneImage(), 0), free)[0][1]
    np.testing.assert_array_equal((outside[distractor_channels(16)] == UNKNOWN).any(dim=0), outside[-1] == 0)
    assert (outside[-1] == 0).float().mean() > 0.3


def test_the_offset_leads_to_the_nearest_point_of_the_line():
    t = np.linspace(-60, 60, 50)
    angle = 0.4
    points = np.stack([31.3 + t * np.cos(angle), 20.8 + t * np.sin(angle)], axis=1)
    line = type("L", (), {"points_px": points, "half_width_px": np.full(50, 2.0), "visible": np.ones(50, bool)})
    maps = target_maps([line], SHAPE)
    j, i = np.nonzero(maps.centreline > 0.3)
    foot = np.stack([2 * i + 0.5, 2 * j + 0.5]) + maps.offset_px[:, j, i]
    across = (foot[0] - 31.3) * np.sin(angle) - (foot[1] - 20.8) * np.cos(angle)
    assert np.abs(across).max() < 1e-4
    # It is at right angles to the line, and no longer than the way from where the profile is 0.3.
    along = maps.offset_px[0, j, i] * np.cos(angle) + maps.offset_px[1, j, i] * np.sin(angle)
    assert np.abs(along).max() < 1e-4 and np.hypot(*maps.offset_px[:, j, i]).max() < 1.8 * np.sqrt(2 * np.log(1 / 0.3)) + 1e-4


def packed(distractors=None):
    points = np.stack([np.linspace(-10, 70, 60), np.full(60, 24.0)], axis=1)
    line = type("L", (), {"points_px": points, "half_width_px": np.full(60, 2.0), "visible": np.ones(60, bool)})
    maps = target_maps([line], SHAPE)
    return packed_target(dataclasses.replace(maps, distractors=distractors))[None]


def test_unknown_distractors_cost_nothing():
    logits = torch.randn(1, channel_count(16), 24, 32, requires_grad=True)
    loss_parts(logits, packed(), LossSettings())["loss"].backward()
    assert logits.grad[:, distractor_channels(16)].abs().max() == 0
    assert logits.grad[:, offset_channels(16)].abs().max() > 0
    half = maps_of(area("particle", slice(0, 9), slice(0, 9)), settings=TargetSettings())
    half[:, :, 16:] = UNKNOWN
    logits.grad = None
    loss_parts(logits, packed(half), LossSettings())["loss"].backward()
    gradient = logits.grad[:, distractor_channels(16)].abs()
    assert gradient[..., 16:].max() == 0 and gradient[..., :16].min() > 0


def test_pixels_of_distractors_are_harder_negatives():
    maps = maps_of(area("fault_band", slice(0, 8), slice(0, 64)), settings=TargetSettings())
    logits = torch.zeros(1, channel_count(16), 24, 32, requires_grad=True)
    loss_parts(logits, packed(maps), LossSettings(lift_dice=0.0, hard_negative=2.0))["lift"].backward()
    gradient = logits.grad[0, LIFT + 8].abs()  # a bin without a line anywhere: weight (p - y), 1 + 2 against 1
    assert gradient[2, 5] / gradient[20, 5] == pytest.approx(3.0, rel=1e-4)
    on_line = maps_of(area("fault_band", slice(0, 48), slice(0, 64)), settings=TargetSettings())
    logits.grad = None
    loss_parts(logits, packed(on_line), LossSettings(lift_dice=0.0, hard_negative=2.0))["lift"].backward()
    gradient = logits.grad[0, LIFT + 8].abs()
    assert gradient[2, 5] / gradient[12, 5] == pytest.approx(3.0, rel=1e-4)  # a line across a band is no negative


def old_weights(settings):
    """Weights as they were before offsets and distractors: K + 4 rows of the head."""
    torch.manual_seed(0)
    state = network_of(settings).state_dict()
    return {k: v[: LIFT + 16].clone() if k.startswith("head.1") else v for k, v in state.items()}


def test_weights_of_the_first_layout_load_and_give_the_same_maps(tmp_path):
    weights = old_weights(SMALL)
    save_model(tmp_path, weights, {"version": 1, "settings": SMALL.to_dict()})
    old = load_model(tmp_path)
    image = np.random.default_rng(0).normal(100, 9, SHAPE)
    maps = predict_maps(old, image)
    assert maps.offset_px is None and maps.distractors is None  # nobody has taught them
    save_model(tmp_path, old.module.state_dict(), {"version": 2, "settings": SMALL.to_dict()})
    new = predict_maps(load_model(tmp_path), image)
    np.testing.assert_array_equal(new.lift, maps.lift)
    np.testing.assert_array_equal(new.offset_px, 0)
    np.testing.assert_allclose(new.distractors, 1 / (1 + np.exp(3)), rtol=1e-5)  # the bias that a new head begins with
