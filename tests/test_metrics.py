"""Curve metrics, each against a case whose answer is known."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from train.curves import TracedLine, resample
from train.metrics import Truth, score_image, summarise, truth_of

SHAPE = (100, 200)


@dataclass(frozen=True)
class Drawn:
    points_px: np.ndarray
    half_width_px: np.ndarray
    visible: np.ndarray


def label(points, visible=None):
    points = resample(np.asarray(points, dtype=float), 1.0)
    shown = np.ones(len(points), dtype=bool) if visible is None else visible(points)
    return Drawn(points, np.full(len(points), 2.0), shown)


def found(points):
    points = resample(np.asarray(points, dtype=float), 1.0)
    return TracedLine(points_px=points, half_width_px=np.full(len(points), 2.0), confidence=1.0)


def score(predicted, true):
    return score_image([found(p) for p in predicted], truth_of([label(t) for t in true], SHAPE), SHAPE)


LONG = [[10, 50], [190, 50]]
CROSS = [[100, 5], [100, 95]]


def test_the_truth_scores_one():
    summary = summarise([score([LONG, CROSS], [LONG, CROSS])], bootstrap=0)
    for name in ("instance_f1", "crossings_resolved", "completeness", "correctness", "centreline_f1"):
        assert summary[name] == 1.0
    assert summary["false_splits"] == summary["false_merges"] == 0
    assert summary["density_error"] == pytest.approx(0, abs=1e-9)
    assert summary["crossings_45_90_deg"] == 1


def test_who_finds_nothing_scores_zero_and_counts_in_the_interval():
    assert summarise([score([], [LONG])], bootstrap=0)["centreline_f1"] == 0
    one_of_five = summarise([score([LONG], [LONG]), *(score([], [LONG]) for _ in range(4))], bootstrap=200)
    assert one_of_five["centreline_f1_interval"][0] == 0


def test_length_beside_what_nobody_sees_is_no_error_of_length():
    half_hidden = label(LONG, visible=lambda points: points[:, 0] < 130)
    s = score_image([found(LONG)], truth_of([half_hidden], SHAPE), SHAPE)
    assert s.matched == 1 and s.matched_length_errors[0] == pytest.approx(0, abs=0.04)


@pytest.mark.parametrize("shift,at_2,at_3,at_5", [(1.0, 1, 1, 1), (2.0, 1, 1, 1), (2.5, 0, 1, 1), (4.0, 0, 0, 1), (6.0, 0, 0, 0)])
def test_a_shifted_curve_matches_within_each_tolerance(shift, at_2, at_3, at_5):
    moved = [[x, y + shift] for x, y in LONG]
    s = score([moved], [LONG])
    assert (s.matched, s.matched_at) == (at_3, ((2.0, at_2, 1), (5.0, at_5, 1)))
    summary = summarise([s], bootstrap=0)
    assert (summary["instance_f1_2px"], summary["instance_f1"], summary["instance_f1_5px"]) == (at_2, at_3, at_5)


def test_seventy_percent_of_both_curves_must_agree():
    assert score([[[10, 50], [150, 50]]], [LONG]).matched == 1  # 78 % of the truth
    assert score([[[10, 50], [120, 50]]], [LONG]).matched == 0  # 61 % of the truth
    assert score([LONG], [[[10, 50], [120, 50]]]).matched == 0  # 61 % of the prediction


def test_matching_is_one_to_one():
    s = score([LONG, LONG], [LONG])
    assert (s.matched, s.predicted_curves, s.false_splits) == (1, 2, 1)


def test_a_cut_line_is_a_false_split():
    s = score([[[10, 50], [95, 50]], [[105, 50], [190, 50]]], [LONG])
    assert (s.matched, s.false_splits, s.false_merges) == (0, 1, 0)


def test_two_lines_traced_as_one_are_a_false_merge():
    s = score([LONG], [[[10, 50], [95, 50]], [[105, 50], [190, 50]]])
    assert (s.matched, s.false_splits, s.false_merges) == (0, 0, 1)


def test_crossing_over_is_no_merge():
    s = score([LONG], [LONG, CROSS])
    assert s.false_merges == 0 and s.crossings == (0, 0, 1) and s.crossings_resolved == (0, 0, 0)


def test_lines_that_bend_off_at_a_crossing_do_not_resolve_it():
    left_up = [[10, 50], [100, 50], [100, 5]]
    right_down = [[190, 50], [100, 50], [100, 95]]
    s = score([left_up, right_down], [LONG, CROSS])
    assert sum(s.crossings) == 1 and sum(s.crossings_resolved) == 0 and s.false_merges == 2


def test_a_crossing_cut_into_branches_is_not_resolved():
    arms = [[[10, 50], [98, 50]], [[102, 50], [190, 50]], [[100, 5], [100, 48]], [[100, 52], [100, 95]]]
    assert sum(score(arms, [LONG, CROSS]).crossings_resolved) == 0


def test_swapped_identities_at_a_crossing_resolve_nothing():
    up, down = [[10, 10], [100, 50], [190, 90]], [[10, 90], [100, 50], [190, 10]]
    swapped = [[[10, 10], [100, 50], [190, 10]], [[10, 90], [100, 50], [190, 90]]]
    s = score(swapped, [up, down])
    assert sum(s.crossings) == 1 and sum(s.crossings_resolved) == 0 and s.matched == 0
    assert sum(score([up, down], [up, down]).crossings_resolved) == 1


def test_a_line_that_ends_on_another_is_a_meeting_not_a_crossing():
    assert sum(score([LONG], [LONG, [[100, 5], [100, 52]]]).crossings) == 0


def test_shallow_crossings_are_counted_in_their_own_bin():
    shallow = [[10, 40], [190, 60]]
    s = score([LONG, shallow], [LONG, shallow])
    assert s.crossings == (1, 0, 0) == s.crossings_resolved  # 6.3 degrees
    swapped = [[[10, 50], [100, 50], [190, 60]], [[10, 40], [100, 50], [190, 50]]]
    assert score(swapped, [LONG, shallow]).crossings_resolved == (0, 0, 0)


def test_what_is_said_of_an_invisible_stretch_is_not_judged():
    half_seen = label(LONG, lambda p: p[:, 0] < 120)
    truth = truth_of([half_seen], SHAPE)
    assert len(truth.curves_px) == 1 and len(truth.silent_px) == 1
    for prediction in (LONG, [[10, 50], [119, 50]]):
        s = score_image([found(prediction)], truth, SHAPE)
        assert s.matched == 1 and s.correct_length_px == pytest.approx(s.predicted_length_px)
    only_silent = score_image([found([[130, 50], [190, 50]])], truth, SHAPE)
    assert only_silent.predicted_curves == 0 and only_silent.predicted_length_px == 0


def test_truth_is_clipped_at_the_frame():
    (curve,) = truth_of([label([[-80, 50], [90, 50]])], SHAPE).curves_px
    assert curve[0] == pytest.approx([-0.5, 50])


def test_lengths_and_densities_compare_totals():
    summary = summarise([score([[[10, 50], [172, 50]]], [LONG])], bootstrap=0)
    assert summary["length_error_median"] == pytest.approx(0.1, abs=0.001)  # 162 of 180 px
    assert summary["density_error"] == pytest.approx(-0.1, abs=0.001)


def test_partly_labelled_images_give_recall_alone():
    truth = truth_of([label(LONG)], SHAPE)
    partial = Truth(curves_px=truth.curves_px, complete=False)
    summary = summarise([score_image([found(LONG), found(CROSS)], partial, SHAPE)], bootstrap=0)
    assert summary["instance_recall"] == 1.0 and summary["predicted_curves"] == 1
    assert summary["instance_f1"] is None and summary["correctness"] is None


def test_nothing_found_and_nothing_there():
    assert summarise([score([], [LONG])], bootstrap=0)["instance_f1"] == 0
    assert summarise([score([LONG], [])], bootstrap=0)["instance_f1"] == 0
    assert summarise([score([], [])], bootstrap=0)["instance_f1"] is None


def test_intervals_are_reproducible_and_hold_the_value():
    scores = [score([LONG], [LONG, CROSS]), score([LONG, CROSS], [LONG, CROSS]), score([], [LONG])]
    first, second = summarise(scores, seed=3), summarise(scores, seed=3)
    assert first == second
    low, high = first["instance_f1_interval"]
    assert low <= first["instance_f1"] <= high


def test_summary_is_plain_numbers_that_json_can_write():
    level = np.stack([np.arange(10.0, 90), np.full(80, 40.0)], axis=-1)
    lower = level + [0, 12]
    joined = np.concatenate([level, lower[::-1]])
    found = [TracedLine(points_px=joined, half_width_px=np.full(len(joined), 2.0), confidence=1.0)]
    summary = summarise([score_image(found, Truth(curves_px=(level, lower)), (100, 100))], bootstrap=0)
    assert summary["false_merges"] == 1
    assert json.loads(json.dumps(summary)) == summary
