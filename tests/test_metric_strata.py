"""Masks, overlap, contrast, density, distractors and intervals, each against a case worked out by hand or by another program."""

import contextlib
import io
import json
from dataclasses import dataclass

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from render import Distractor
from train.curves import TracedLine, resample
from train.mask_metrics import average_precision, coco_hits, overlaps, panoptic_matches, skeleton_overlap
from train.metrics import score_image, summarise, truth_of
from train.tables import report_markdown

SHAPE = (100, 200)
LONG = [[10, 50], [190, 50]]
CROSS = [[100, 5], [100, 95]]


@dataclass(frozen=True)
class Drawn:
    points_px: np.ndarray
    half_width_px: np.ndarray
    visible: np.ndarray
    contrast: np.ndarray


def label(points, contrast=-0.2):
    points = resample(np.asarray(points, dtype=float), 1.0)
    n = len(points)
    return Drawn(points, np.full(n, 2.0), np.ones(n, dtype=bool), np.full(n, contrast))


def found(points, confidence=1.0, half_width=2.0):
    points = resample(np.asarray(points, dtype=float), 1.0)
    return TracedLine(points_px=points, half_width_px=np.full(len(points), half_width), confidence=confidence)


def score(predicted, true, distractors=(), pixel_nm=None):
    truth = truth_of([t if isinstance(t, Drawn) else label(t) for t in true], SHAPE, distractors=distractors, pixel_nm=pixel_nm)
    return score_image([p if isinstance(p, TracedLine) else found(p) for p in predicted], truth, SHAPE, full=True)


def test_the_truth_scores_one_in_every_mask_metric_and_nothing_scores_none_or_zero():
    perfect = summarise([score([LONG, CROSS], [LONG, CROSS])], bootstrap=0)
    empty = summarise([score([], [LONG, CROSS])], bootstrap=0)
    for name in ("ap", "ap50", "ap75", "pq", "recognition_quality", "segmentation_quality", "cldice"):
        assert perfect[name] == 1.0, name
    assert (empty["ap"], empty["pq"], empty["recognition_quality"], empty["cldice"]) == (0, 0, 0, 0)
    assert empty["segmentation_quality"] is None


@pytest.mark.parametrize("shift,iou", [(0.0, 1.0), (1.0, 4 / 6), (2.0, 3 / 7), (4.0, 1 / 9)])  # rows in common / in either, of 5 rows
def test_panoptic_quality_of_a_shifted_line_is_its_iou_above_one_half(shift, iou):
    masks = np.zeros((2, 40, 60), bool)
    masks[0, 10:15] = True
    masks[1, 10 + int(shift) : 15 + int(shift)] = True
    assert overlaps(masks[:1], masks[1:])[0, 0] == pytest.approx(iou)
    assert panoptic_matches(overlaps(masks[:1], masks[1:])) == ((1, pytest.approx(iou)) if iou > 0.5 else (0, 0))


def test_panoptic_quality_by_hand():
    # Pairs of IoU .8 and .6, one prediction and two instances over: PQ = 1.4 / (2 + 1/2 + 2/2).
    iou = np.array([[0.8, 0.55, 0, 0], [0.7, 0.6, 0, 0], [0, 0, 0.5, 0]])
    assert panoptic_matches(iou) == (2, pytest.approx(1.4))  # .8 + .6, not .55 + .7
    summed = 1.4 / 3.5
    assert summed == pytest.approx(1.4 / (0.5 * (3 + 4)))


def test_cldice_by_hand():
    true, predicted = np.zeros((41, 101), bool), np.zeros((41, 101), bool)
    true[18:21, 10:90] = True  # a bar of 80 x 3
    predicted[18:21, 10:50] = True  # its left half
    (bones_p, bones_t), (inside_p, inside_t) = skeleton_overlap(predicted, true)
    assert inside_p == bones_p and inside_t / bones_t == pytest.approx(0.5, abs=0.02)  # 40 of 80 px, ends eaten


def coco_average_precision(images):
    """AP by pycocotools' own evaluation of (confidences, predicted masks, true masks) of several images."""
    truth, found = [], []
    for i, (confidence, predicted, true) in enumerate(images, start=1):
        for m in true:
            rle = coco_mask.encode(np.asfortranarray(m, dtype=np.uint8))
            truth.append({"id": len(truth) + 1, "image_id": i, "category_id": 1, "iscrowd": 0, "segmentation": rle,
                          "area": int(m.sum()), "bbox": coco_mask.toBbox(rle).tolist()})  # fmt: skip
        for c, m in zip(confidence, predicted):
            found.append({"image_id": i, "category_id": 1, "score": float(c), "segmentation": coco_mask.encode(np.asfortranarray(m, dtype=np.uint8))})
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = {"images": [{"id": i, "height": 40, "width": 60} for i in range(1, len(images) + 1)],
                             "annotations": truth, "categories": [{"id": 1}]}  # fmt: skip
        reference.createIndex()
        run = COCOeval(reference, reference.loadRes(found), "segm")
        run.evaluate()
        run.accumulate()
    return run.eval["precision"][:, :, 0, 0, -1].mean(axis=1)


def test_average_precision_is_that_of_pycocotools():
    rng = np.random.default_rng(4)
    images, scores = [], []
    for _ in range(4):
        true = np.zeros((6, 40, 60), bool)
        for m in true:
            y, x = rng.integers(0, 30), rng.integers(0, 30)
            m[y : y + 6, x : x + 25] = True
        predicted = np.stack([np.roll(m, rng.integers(0, 4), axis=0) for m in [*true, true[0]]])
        confidence = np.sort(rng.random(len(predicted)))[::-1]
        images.append((confidence, predicted, true))
        scores.append(Scored(confidence, coco_hits(overlaps(predicted, true)), len(true)))
    (mine,) = average_precision(scores, np.ones((1, 4)))
    assert mine == pytest.approx(coco_average_precision(images), abs=1e-9)
    assert 0.1 < mine.mean() < 0.9


@dataclass(frozen=True)
class Scored:
    confidence: np.ndarray
    hit: np.ndarray
    instances: int


def test_a_sure_mistake_halves_the_precision_of_what_comes_after_it():
    wrong = found([[10, 20], [190, 20]], confidence=0.9)
    right = found(LONG, confidence=0.5)
    assert summarise([score([wrong, right], [LONG])], bootstrap=0)["ap"] == pytest.approx(0.5)  # 1 of 2 at every recall
    late = found([[10, 20], [190, 20]], confidence=0.1)
    assert summarise([score([right, late], [LONG])], bootstrap=0)["ap"] == 1.0


def test_overlapping_masks_both_count():
    near = [[10, 52], [190, 52]]
    summary = summarise([score([LONG, near], [LONG, near])], bootstrap=0)
    assert summary["pq"] == 1.0 and summary["ap"] == 1.0


def test_what_is_predicted_on_an_invisible_stretch_is_in_no_mask():
    half = label(LONG)
    seen = half.points_px[:, 0] < 120
    truth = truth_of([Drawn(half.points_px, half.half_width_px, seen, half.contrast)], SHAPE)
    summary = summarise([score_image([found(LONG)], truth, SHAPE, full=True)], bootstrap=0)
    assert summary["pq"] > 0.95 and summary["ap75"] == 1.0


def test_length_and_instances_by_multiplicity_of_overlap():
    beside = [[10, 52], [100, 52]]  # 2 px beside one half of LONG, masks of 4 px: two lines over each other there
    summary = summarise([score([LONG], [LONG, beside, [[10, 80], [190, 80]]])], bootstrap=0)["by_multiplicity"]
    assert summary["1"]["true_curves"] == 1 and summary["1"]["instance_recall"] == 0  # the one at y = 80
    assert summary["2"]["true_curves"] == 2 and summary["2"]["instance_recall"] == 0.5
    assert summary["2"]["true_length_px"] == pytest.approx(180, abs=6)  # 90 px of each of the two
    assert summary["1"]["true_length_px"] == pytest.approx(270, abs=6)  # 90 of LONG, 180 of the third
    assert summary["3+"]["true_curves"] == 0


def test_three_lines_at_one_place_are_three():
    fan = [[[10, 50 + d], [190, 50 + d]] for d in (-1, 0, 1)]
    summary = summarise([score(fan, fan)], bootstrap=0)["by_multiplicity"]
    assert summary["3+"]["true_curves"] == 3 and summary["3+"]["instance_f1"] == 1.0


def test_recall_by_contrast_and_scores_by_density():
    faint, strong = label(LONG, 0.03), label([[10, 80], [190, 80]], -0.3)
    sparse = score([strong.points_px], [strong])
    dense = score([strong.points_px], [faint, strong])
    summary = summarise([sparse, dense], bootstrap=0)
    assert [b["instance_recall"] for b in summary["by_contrast"]] == [0.0, 1.0]
    assert [b["low"] for b in summary["by_contrast"]] == [0.03, pytest.approx(0.165)]  # the lower quartile of .03, .3, .3
    assert sum(b["images"] for b in summary["by_density"]) == 2
    assert summary["by_density"][0]["instance_f1"] == 1.0
    assert summary["by_density"][-1]["instance_f1"] == pytest.approx(2 / 3, abs=1e-4)  # 1 of 2 found, none false


def test_the_share_of_a_slip_trace_that_is_called_a_line():
    trace = Distractor(kind="slip_trace", points_px=np.array([[10.0, 20.0], [190.0, 20.0]]))
    half = summarise([score([LONG, [[10, 21], [100, 21]]], [LONG], [trace])], bootstrap=0)["distractors"]["slip_trace"]
    assert half["length_px"] == pytest.approx(181, abs=1) and half["called_share"] == pytest.approx(0.5, abs=0.03)
    across = summarise([score([LONG, [[60, 5], [60, 40]]], [LONG], [trace])], bootstrap=0)["distractors"]["slip_trace"]
    assert across["called_share"] == 0  # a false line that crosses it does not follow it
    nothing = summarise([score([LONG], [LONG], [trace])], bootstrap=0)["distractors"]["slip_trace"]
    assert nothing["called_share"] == 0


def test_a_true_line_along_a_trace_is_not_held_against_the_network():
    trace = Distractor(kind="slip_trace", points_px=np.array([[10.0, 52.0], [190.0, 52.0]]))
    assert summarise([score([LONG], [LONG], [trace])], bootstrap=0)["distractors"]["slip_trace"]["length_px"] == 0


def test_particles_are_counted_and_bands_measured_along_their_middle():
    particle, band = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    particle[15:25, 20:30] = particle[15:25, 60:70] = True
    band[70:80, 5:195] = True
    things = [Distractor(kind="particle", mask=particle), Distractor(kind="boundary", mask=band)]
    called = summarise([score([LONG, [[18, 20], [40, 20]], [[5, 74], [100, 74]]], [LONG], things)], bootstrap=0)["distractors"]
    assert (called["particle"]["count"], called["particle"]["called_count"]) == (2, 1)
    assert called["boundary"]["length_px"] == pytest.approx(182, abs=8)  # 190 px less the ends of the skeleton
    assert called["boundary"]["called_share"] == pytest.approx(0.5, abs=0.06)


def test_edges_that_are_curves_and_edges_that_are_lips_add_up():
    lip = np.zeros(SHAPE, bool)
    lip[70:80, 5:195] = True
    edges = [Distractor(kind="edge", points_px=np.array([[10.0, 20.0], [190.0, 20.0]])), Distractor(kind="edge", mask=lip)]
    called = summarise([score([LONG, [[10, 20], [190, 20]]], [LONG], edges)], bootstrap=0)["distractors"]["edge"]
    assert called["length_px"] == pytest.approx(181 + 182, abs=9)  # the curve, and 190 px less the ends of the skeleton
    assert called["called_share"] == pytest.approx(181 / 363, abs=0.03)  # the curve alone


def test_densities_are_lengths_an_area_in_inverse_micrometres():
    summary = summarise([score([[[10, 50], [172, 50]]], [LONG], pixel_nm=2.0)] * 2, bootstrap=10)
    # 180 px of 2 nm = 0.36 um in 100 x 200 px of 4 nm^2 = 0.08 um^2: 4.5 / um.
    assert summary["true_density_inv_um"] == pytest.approx(4.5, rel=1e-3)
    assert summary["predicted_density_inv_um"] == pytest.approx(4.05, rel=1e-3)  # 162 px
    assert summary["density_error_median"] == pytest.approx(0.1, abs=1e-3)
    assert summary["true_density_inv_um_interval"] == [summary["true_density_inv_um"]] * 2  # two images alike


def test_splits_and_merges_a_true_curve():
    cut = score([[[10, 50], [95, 50]], [[105, 50], [190, 50]]], [LONG])
    summary = summarise([cut, score([LONG], [LONG])], bootstrap=0)
    assert (summary["false_splits"], summary["false_splits_a_curve"]) == (1, 0.5)


def test_the_bootstrap_is_deterministic_and_its_medians_are_those_of_resampled_images():
    scores = [score([found([[10, 50], [190 - 6 * n, 50]], 0.5 + 0.07 * n)], [LONG]) for n in range(6)]
    first, second, other = (summarise(scores, bootstrap=200, seed=s) for s in (3, 3, 4))
    assert first == second and first != other
    picked = np.random.Generator(np.random.Philox(3)).integers(0, 6, (200, 6))
    medians = [np.median([abs(e) for i in row for e in scores[i].matched_length_errors]) for row in picked]
    assert first["length_error_median_interval"] == np.round(np.percentile(medians, [2.5, 97.5]), 4).tolist()
    again = [average_precision([scores[i].masks for i in row], np.ones((1, 6)))[0].mean() for row in picked]
    assert first["ap_interval"] == pytest.approx(np.percentile(again, [2.5, 97.5]).tolist(), abs=2e-4)


def test_a_report_is_json_and_markdown_with_every_stratum():
    trace = Distractor(kind="slip_trace", points_px=np.array([[10.0, 20.0], [190.0, 20.0]]))
    summary = summarise([score([LONG], [LONG, CROSS], [trace], 1.0)] * 3, bootstrap=20) | {"seconds_per_image": 0.1}
    assert json.loads(json.dumps(summary)) == summary
    text = report_markdown({"model": "m", "data": "d", "split": "test", "tolerance_px": 2.5, "images": ["0", "1", "2"], "results": {"traced": summary}})
    assert "match within 2.5 px" in text
    for words in ("instance F1 at 2 px", "45–90°", "COCO AP75", "lines over each other", "contrast of the line", "slip trace"):
        assert words in text, words
    assert "0.667" in text  # 2 x 1 / (2 + 1)
