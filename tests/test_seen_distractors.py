import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from render import Distractor
from train.seen_distractors import seen_distractors

Y, X = np.mgrid[:128, :128]


def background(noise=0.02, seed=0):
    grain = gaussian_filter(np.random.default_rng(seed).standard_normal((128, 128)), 0.7)
    return 1000.0 * (1 + noise * grain / grain.std()) * (0.6 + 0.4 * X / 128)


def disc(x, y, radius):
    return (X - x) ** 2 + (Y - y) ** 2 <= radius**2


@pytest.mark.parametrize(("depth", "seen"), [(0.4, 1), (0.12, 1), (-0.3, 1), (0.02, 0), (0.0, 0)])
@pytest.mark.parametrize("offset", [0.0, 500.0])
def test_a_spot_is_seen_by_its_contrast_above_black(depth, seen, offset):
    mask = disc(60, 70, 6)
    image = background() * (1 - depth * mask) + offset
    assert len(seen_distractors(image, [Distractor(kind="particle", mask=mask)], black=offset)) == seen


def test_a_faint_spot_drowns_in_noise():
    mask = disc(60, 70, 3)
    spot = [Distractor(kind="particle", mask=mask)]
    assert seen_distractors(background(0.005) * (1 - 0.08 * mask), spot)
    assert not seen_distractors(background(0.25) * (1 - 0.08 * mask), spot)


def test_of_a_slip_trace_the_pieces_with_contrast_are_kept():
    shade = np.where(X < 66, 0.25 * np.exp(-((Y - 50.5) ** 2) / 8), 0.0)
    trace = Distractor(kind="slip_trace", points_px=np.array([[2, 50.5], [125, 50.5]]))
    kept = seen_distractors(background() * (1 - shade), [trace])
    assert {piece.kind for piece in kept} == {"slip_trace"}
    xs = np.concatenate([piece.points_px[:, 0] for piece in kept])
    assert xs.min() == pytest.approx(2, abs=1) and 60 <= xs.max() <= 67
    assert seen_distractors(background(), [trace]) == ()


def test_a_rendered_slip_trace_with_a_mask_is_judged_as_its_curve():
    points = np.array([[2, 50.5], [125, 50.5]])
    trace = Distractor(kind="slip_trace", points_px=points, mask=np.abs(Y - 50.5) < 12)
    assert seen_distractors(background(), [trace]) == ()
    kept = seen_distractors(background() * (1 - 0.25 * np.exp(-((Y - 50.5) ** 2) / 8)), [trace])
    assert len(kept) == 4 and all(piece.mask is None for piece in kept)


@pytest.mark.parametrize(("depth", "noise", "seen"), [(0.3, 0.02, True), (0.03, 0.02, False), (0.15, 0.5, False)])
def test_fringes_are_seen_where_they_stand_out_from_noise(depth, noise, seen):
    within = X > 64
    fringe = Distractor(kind="fringe", mask=within & (np.cos(2 * np.pi * X / 10) > 0.5))
    image = background(noise) * (1 + depth * within * np.cos(2 * np.pi * X / 10))
    kept = seen_distractors(image, [fringe])
    assert bool(kept) == seen
    assert not kept or kept[0].mask.sum() > 0.8 * fringe.mask.sum()


def test_a_trace_is_seen_in_the_same_places_whichever_way_it_runs():
    shade = 0.2 * np.exp(-(((X - Y) / np.sqrt(2)) ** 2) / 8)
    points = np.array([[5.0, 5.0], [120.0, 120.0]])
    image = background() * (1 - shade)
    forth, back = (sum(len(p.points_px) for p in seen_distractors(image, [Distractor(kind="edge", points_px=q)])) for q in (points, points[::-1]))
    assert forth == back > 100


def test_bands_text_and_what_lies_outside():
    mask = disc(20, 20, 8)
    kept = seen_distractors(background(), [Distractor(kind="text", mask=mask), Distractor(kind="fault_band", mask=mask)])
    assert [d.kind for d in kept] == ["text", "fault_band"]
    outside = Distractor(kind="slip_trace", points_px=np.array([[-90.0, 5.0], [-20.0, 5.0]]))
    nothing = Distractor(kind="particle", mask=np.zeros((128, 128), dtype=bool))
    assert seen_distractors(background(), [outside, nothing]) == ()
