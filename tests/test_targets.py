from dataclasses import dataclass

import numpy as np
import pytest

from physics.errors import InputError
from render import line_mask
from train.targets import TargetSettings, crossing_map, line_pieces, target_maps

SHAPE = (64, 96)


@dataclass
class Curve:
    points_px: np.ndarray
    half_width_px: np.ndarray
    visible: np.ndarray


def curve(points, half_width_px=2.0, visible=True):
    points = np.asarray(points, dtype=np.float64)
    n = len(points)
    return Curve(points, np.full(n, half_width_px), np.broadcast_to(visible, n).copy())


def straight(x, y, angle, length=400.0, n=80, **how):
    t = np.linspace(-length / 2, length / 2, n)
    return curve(np.stack([x + t * np.cos(angle), y + t * np.sin(angle)], axis=1), **how)


def circle(x, y, radius, n=200, **how):
    angle = np.linspace(0, 2 * np.pi, n)
    points = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)
    points[-1] = points[0]
    return curve(points, **how)


def map_positions(shape, stride):
    j, i = np.indices([-(-n // stride) for n in shape])
    return stride * i + (stride - 1) / 2, stride * j + (stride - 1) / 2


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 2, 2.2, 3.1])
def test_maps_of_a_straight_line_follow_their_formula(stride, angle):
    settings = TargetSettings(stride=stride)
    maps = target_maps([straight(40.3, 30.8, angle)], SHAPE, settings)
    x, y = map_positions(SHAPE, stride)
    distance = np.abs((x - 40.3) * np.sin(angle) - (y - 30.8) * np.cos(angle))
    profile = np.where(distance <= 3 * settings.sigma_px, np.exp(-(distance**2) / (2 * settings.sigma_px**2)), 0)
    np.testing.assert_allclose(maps.centreline, profile, atol=1e-6)
    bins = settings.orientations
    for k in range(bins):
        off = abs((angle - np.pi * k / bins + np.pi / 2) % np.pi - np.pi / 2)
        expected = profile * max(0.0, 1 - off * bins / (np.pi * settings.bin_reach))
        np.testing.assert_allclose(maps.lift[k], expected, atol=1e-6)
    near = distance <= 3 * settings.sigma_px
    np.testing.assert_array_equal(maps.half_width_px, np.where(near, np.float32(2.0), 0))


def test_mask_is_the_exact_mask():
    rng = np.random.default_rng(1)
    points = np.cumsum(rng.normal(0, 4, (30, 2)), axis=0) + (45, 30)
    line = curve(points, half_width_px=1.7)
    maps = target_maps([line], SHAPE, TargetSettings(stride=1))
    np.testing.assert_array_equal(maps.mask > 0, line_mask(points, line.half_width_px, SHAPE))


def test_maps_do_not_depend_on_line_sense_or_on_extra_vertices():
    line = straight(40.3, 30.8, 0.7, n=20)
    middle = (line.points_px[1:] + line.points_px[:-1]) / 2
    finer = np.insert(line.points_px, np.arange(1, 20), middle, axis=0)
    for other in (curve(line.points_px[::-1]), curve(finer)):
        a, b = target_maps([line], SHAPE), target_maps([other], SHAPE)
        np.testing.assert_allclose(a.lift, b.lift, atol=1e-6)
        np.testing.assert_array_equal(a.ends, b.ends)


def test_quarter_turn_rolls_the_bins_and_a_flip_reverses_them():
    rng = np.random.default_rng(2)
    points = np.cumsum(rng.normal(0.6, 1.0, (40, 2)), axis=0) + (20, 20)
    settings = TargetSettings(stride=2, orientations=16)
    maps = target_maps([curve(points)], (64, 64), settings)
    # (x, y) -> (63 - y, x) turns a direction by +90 degrees in pixel coordinates.
    turned = target_maps([curve(np.stack([63 - points[:, 1], points[:, 0]], axis=1))], (64, 64), settings)
    np.testing.assert_allclose(turned.lift, np.roll(np.rot90(maps.lift, -1, axes=(1, 2)), 8, axis=0), atol=1e-5)
    flipped = target_maps([curve(np.stack([63 - points[:, 0], points[:, 1]], axis=1))], (64, 64), settings)
    np.testing.assert_allclose(flipped.lift, maps.lift[(-np.arange(16)) % 16][:, :, ::-1], atol=1e-5)


def test_crossing_sets_both_orientations():
    maps = target_maps([straight(40.5, 30.5, 0.0), straight(40.5, 30.5, np.pi / 2)], SHAPE)
    j, i = 15, 20
    np.testing.assert_allclose(maps.lift[[0, 8], j, i], 1.0, atol=1e-6)
    crossing = crossing_map(maps.lift)
    assert crossing[j, i] and crossing.sum() < 40
    assert not crossing_map(target_maps([straight(40.5, 30.5, 0.3)], SHAPE).lift).any()


def test_curve_that_crosses_itself_sets_both_orientations():
    t = np.linspace(0.15, 2 * np.pi - 0.15, 300)
    eight = curve(np.stack([48 + 35 * np.sin(t + np.pi / 2), 32 + 22 * np.sin(2 * t)], axis=1))
    crossing = crossing_map(target_maps([eight], SHAPE).lift)
    assert crossing[16, 24]


def test_ends_are_marked_and_loops_have_none():
    line = straight(40.5, 30.5, 0.0, length=40)
    maps = target_maps([line], SHAPE, TargetSettings(stride=1))
    assert maps.ends.max() > 0.95 and maps.ends[30, 20] > 0.9 and maps.ends[30, 40] == 0
    assert target_maps([circle(48, 32, 20)], SHAPE).ends.max() == 0


def test_loop_does_not_depend_on_its_first_vertex():
    loop = circle(48, 32, 20)
    turned = np.roll(loop.points_px[:-1], 57, axis=0)
    other = curve(np.concatenate([turned, turned[:1]]))
    np.testing.assert_allclose(target_maps([loop], SHAPE).lift, target_maps([other], SHAPE).lift, atol=1e-5)


def test_invisible_part_is_ignored_and_visible_lines_through_it_are_not():
    line = straight(48, 32, 0.0, length=80, n=81)
    line.visible[20:60] = False
    maps = target_maps([line], SHAPE)
    assert maps.mask[16, 8] == 1 and not maps.ignore[16, 8]
    assert maps.mask[16, 24] == 0 and maps.ignore[16, 24]
    maps = target_maps([line, straight(48, 32, np.pi / 2)], SHAPE)
    assert maps.mask[16, 24] == 1 and not maps.ignore[16, 24]
    assert maps.ignore[16, 18]


def test_short_gaps_are_bridged_and_short_pieces_dropped():
    settings = TargetSettings(bridged_half_widths=4.0, shortest_px=6.0)
    line = straight(48, 32, 0.0, length=80, n=81)
    line.visible[40:44] = False  # a gap of 5 px, under 4 half-widths of 2 px
    assert [seen for _, _, seen in line_pieces(line, settings)] == [True]
    line.visible[40:50] = False
    assert [seen for _, _, seen in line_pieces(line, settings)] == [True, False, True]
    line.visible[:] = False
    line.visible[40:44] = True  # 3 px
    assert [seen for _, _, seen in line_pieces(line, settings)] == [False]


def test_loop_is_cut_where_its_visibility_changes_only():
    loop = circle(48, 32, 20, n=201)
    loop.visible[50:120] = False
    pieces = line_pieces(loop, TargetSettings())
    assert sorted(seen for _, _, seen in pieces) == [False, True]
    assert sum(len(points) - 1 for points, _, _ in pieces) == 200


def test_no_lines_give_empty_maps():
    maps = target_maps([], (33, 47))
    assert maps.shape == (17, 24) and maps.lift.shape == (16, 17, 24)
    assert not maps.lift.any() and not maps.ignore.any()


def test_settings_refuse_too_few_orientations():
    with pytest.raises(InputError, match=r"orientations must lie in \[8, 64\], got 4"):
        TargetSettings(orientations=4)
