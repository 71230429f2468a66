"""Every metric over a set of images, with 95 % intervals from resampling the images (Efron 1979).

Lengths and counts are summed over images before a ratio is taken. All draws are computed together: a draw is how often
each image counts, and the metric itself is the draw in which each counts once.

Axes: D draws, N images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from train.crossings import ANGLE_EDGES_DEG
from train.mask_metrics import COCO_THRESHOLDS, average_precision

if TYPE_CHECKING:
    from train.metrics import ImageScore

INTERVAL_PERCENT = (2.5, 97.5)
MULTIPLICITIES = ("1", "2", "3+")
BINS = 4  # by contrast and by density: quartiles
AP_DRAWS = 200  # of the bootstrap: average precision sorts all predictions in each


class _Draws:
    """Draws (D, N) of images, the first of which is each image once."""

    def __init__(self, images: int, bootstrap: int, seed: int) -> None:
        rng = np.random.Generator(np.random.Philox(seed))
        picked = rng.integers(0, images, (bootstrap if images > 1 else 0, images)) if images else np.zeros((0, 0), int)
        times = np.zeros((len(picked), images))
        np.add.at(times, (np.arange(len(picked))[:, None], picked), 1.0)
        self.times = np.concatenate([np.ones((1, images)), times])

    def total(self, values: Sequence[float]) -> np.ndarray:
        """Sum (D,) of one value an image."""
        return self.times @ np.asarray(values, dtype=np.float64)


def quantity(values: np.ndarray) -> tuple[float | None, list[float] | None]:
    """The value of the first draw and the interval of the others; None for what is not a number."""
    value, drawn = float(values[0]), values[1:][np.isfinite(values[1:])]
    interval = [round(float(v), 4) for v in np.percentile(drawn, INTERVAL_PERCENT)] if len(drawn) else None
    return (round(value, 4), interval) if np.isfinite(value) else (None, None)


def f1_draws(scores: Sequence[ImageScore], name: str, bootstrap: int, seed: int) -> np.ndarray:
    """"instance_f1" or "crossings_resolved" (1 + D,) of a set of images, then of its draws; equal seeds draw alike."""
    draws = _Draws(len(scores), bootstrap, seed)
    if name == "crossings_resolved":
        resolved, there = (draws.total([sum(getattr(s, n)) for s in scores]) for n in ("crossings_resolved", "crossings"))
        return _ratio(resolved, there)
    matched, both = draws.total([s.matched for s in scores]), draws.total([s.true_curves + s.predicted_curves for s in scores])
    return _ratio(2 * matched, both)


def summarise(scores: Sequence[ImageScore], bootstrap: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Every metric over a set of images.

    Keys that end in `_interval` hold [low, high]; a ratio without a denominator is None. What needs the full scores of
    `score_image` is there where all images have them: masks ("ap", "pq", "cldice"), "by_multiplicity", "by_contrast",
    "by_density", "distractors".
    """
    draws = _Draws(len(scores), bootstrap, seed)
    # Where labels are partial, nothing can be said of what else was predicted.
    whole = all(s.complete for s in scores)
    summary: dict[str, Any] = {"images": len(scores)}

    def put(name: str, values: np.ndarray, known: bool = True) -> None:
        value, interval = quantity(values) if known else (None, None)
        summary[name] = value
        if bootstrap and len(scores) > 1:
            summary[f"{name}_interval"] = interval

    def total(read: Callable[[ImageScore], float]) -> np.ndarray:
        return draws.total([read(s) for s in scores])

    true, found, matched = (total(lambda s, n=n: getattr(s, n)) for n in ("true_curves", "predicted_curves", "matched"))
    for name in ("true_curves", "predicted_curves", "matched"):
        summary[name] = sum(getattr(s, name) for s in scores)
    put("instance_f1", _ratio(2 * matched, true + found), whole)
    put("instance_precision", _ratio(matched, found), whole)
    put("instance_recall", _ratio(matched, true))
    for n, (tolerance, _, _) in enumerate(scores[0].matched_at if scores else ()):
        pairs, predicted = (total(lambda s, n=n, k=k: s.matched_at[n][k]) for k in (1, 2))
        put(f"instance_f1_{tolerance:g}px", _ratio(2 * pairs, true + predicted), whole)
    true_px, predicted_px = total(lambda s: s.true_length_px), total(lambda s: s.predicted_length_px)
    completeness = _ratio(total(lambda s: s.found_length_px), true_px)
    correctness = _ratio(total(lambda s: s.correct_length_px), predicted_px)
    put("completeness", completeness)
    put("correctness", correctness, whole)
    put("centreline_f1", _harmonic(completeness, correctness), whole)
    for name in ("false_splits", "false_merges"):
        summary[name] = sum(getattr(s, name) for s in scores)
        put(f"{name}_a_curve", _ratio(total(lambda s, n=name: getattr(s, n)), true))
    counts = [total(lambda s, k=k: s.crossings[k]) for k in range(len(ANGLE_EDGES_DEG) - 1)]
    resolved = [total(lambda s, k=k: s.crossings_resolved[k]) for k in range(len(ANGLE_EDGES_DEG) - 1)]
    summary["crossings"] = int(sum(c[0] for c in counts))
    put("crossings_resolved", _ratio(sum(resolved), sum(counts)))
    for low, high, n, r in zip(ANGLE_EDGES_DEG[:-1], ANGLE_EDGES_DEG[1:], counts, resolved):
        summary[f"crossings_{low}_{high}_deg"] = int(n[0])
        put(f"crossings_resolved_{low}_{high}_deg", _ratio(r, n))
    put("length_error_median", _median([[abs(e) for e in s.matched_length_errors] for s in scores], draws))
    put("density_error", _ratio(predicted_px, true_px) - 1.0, whole)
    of_images = [[abs(s.predicted_length_px / s.true_length_px - 1.0)] if s.true_length_px else [] for s in scores]
    put("density_error_median", _median(of_images, draws), whole)
    summary["true_length_px"] = round(float(true_px[0]), 1)
    summary["predicted_length_px"] = round(float(predicted_px[0]), 1) if whole else None
    if scores and all(s.pixel_nm for s in scores):
        # Projected length an area, 1/um: px / px^2 times 1000 / (nm a pixel), of all images together.
        area_um2 = total(lambda s: s.area_px2 * s.pixel_nm**2 * 1e-6)
        put("true_density_inv_um", _ratio(total(lambda s: s.true_length_px * s.pixel_nm * 1e-3), area_um2))
        put("predicted_density_inv_um", _ratio(total(lambda s: s.predicted_length_px * s.pixel_nm * 1e-3), area_um2), whole)
    if scores and all(s.masks is not None for s in scores):
        _put_masks([s.masks for s in scores], draws, put)
        summary["by_multiplicity"] = _by_multiplicity(scores, draws)
        summary["by_contrast"] = _by_contrast(scores, draws)
        summary["by_density"] = _by_density(scores, bootstrap, seed)
        summary["distractors"] = _distractors(scores, draws)
    return summary


def _put_masks(masks, draws: _Draws, put: Callable[..., None]) -> None:
    true = draws.total([m.instances for m in masks])
    found = draws.total([len(m.confidence) for m in masks])
    matched, iou = draws.total([m.pq_matched for m in masks]), draws.total([m.pq_iou for m in masks])
    put("pq", _ratio(iou, 0.5 * (true + found)))  # TP + FP/2 + FN/2 = (T + P) / 2
    put("segmentation_quality", _ratio(iou, matched))
    put("recognition_quality", _ratio(matched, 0.5 * (true + found)))
    precision = average_precision(masks, draws.times[: AP_DRAWS + 1])
    put("ap", precision.mean(axis=1))
    put("ap50", precision[:, COCO_THRESHOLDS.index(0.5)])
    put("ap75", precision[:, COCO_THRESHOLDS.index(0.75)])
    sides = [_ratio(draws.total([m.skeleton_inside_px[k] for m in masks]), draws.total([m.skeleton_px[k] for m in masks])) for k in (0, 1)]
    put("cldice", _harmonic(*sides))


def _record(draws: _Draws, ratios: dict[str, np.ndarray], counts: dict[str, int | float | None]) -> dict[str, Any]:
    record: dict[str, Any] = dict(counts)
    for name, values in ratios.items():
        record[name], interval = quantity(values)
        if len(draws.times) > 1:
            record[f"{name}_interval"] = interval
    return record


def _by_multiplicity(scores: Sequence[ImageScore], draws: _Draws) -> dict[str, dict[str, Any]]:
    """Instances by the highest multiplicity of their curve, completeness by that of the place."""
    out = {}
    for k, name in enumerate(MULTIPLICITIES):
        true = draws.total([sum(c[1] == k + 1 for c in s.curves) for s in scores])
        recalled = draws.total([sum(c[1] == k + 1 and c[4] for c in s.curves) for s in scores])
        found = draws.total([sum(p[0] == k + 1 for p in s.predictions) for s in scores])
        right = draws.total([sum(p[0] == k + 1 and p[1] for p in s.predictions) for s in scores])
        there, near = (draws.total([s.places[k][side] for s in scores]) for side in (0, 1))
        recall, precision = _ratio(recalled, true), _ratio(right, found)
        ratios = {"instance_f1": _harmonic(recall, precision), "instance_recall": recall, "instance_precision": precision,
                  "completeness": _ratio(near, there)}  # fmt: skip
        counts = {"true_curves": int(true[0]), "predicted_curves": int(found[0]), "true_length_px": round(float(there[0]), 1)}
        out[name] = _record(draws, ratios, counts)
    return out


def _by_contrast(scores: Sequence[ImageScore], draws: _Draws) -> list[dict[str, Any]]:
    """Recall and completeness in quartiles of the curves' median |contrast|; what has no known contrast is left out."""
    known = np.array([c[0] for s in scores for c in s.curves if np.isfinite(c[0])])
    if not len(known):
        return []
    out = []
    for low, high, last in _bins(known):
        members = [[c for c in s.curves if low <= c[0] and (c[0] < high or last)] for s in scores]
        true = draws.total([len(m) for m in members])
        ratios = {
            "instance_recall": _ratio(draws.total([sum(c[4] for c in m) for m in members]), true),
            "completeness": _ratio(draws.total([sum(c[3] for c in m) for m in members]), draws.total([sum(c[2] for c in m) for m in members])),
        }
        out.append(_record(draws, ratios, {"low": round(low, 4), "high": round(high, 4), "true_curves": int(true[0])}))
    return out


def _by_density(scores: Sequence[ImageScore], bootstrap: int, seed: int) -> list[dict[str, Any]]:
    """The leading metrics in quartiles of the images' true line length an area, in px per 1000 px^2."""
    density = np.array([1e3 * s.true_length_px / s.area_px2 for s in scores])
    out = []
    for low, high, last in _bins(density):
        members = [s for s, d in zip(scores, density) if low <= d and (d < high or last)]
        draws = _Draws(len(members), bootstrap, seed)

        def total(name: str, members=members, draws=draws) -> np.ndarray:
            return draws.total([np.sum(getattr(s, name)) for s in members])

        ratios = {
            "instance_f1": _ratio(2 * total("matched"), total("true_curves") + total("predicted_curves")),
            "crossings_resolved": _ratio(total("crossings_resolved"), total("crossings")),
            "completeness": _ratio(total("found_length_px"), total("true_length_px")),
            "correctness": _ratio(total("correct_length_px"), total("predicted_length_px")),
        }
        counts = {"low": round(low, 3), "high": round(high, 3), "images": len(members), "true_curves": int(total("true_curves")[0])}
        if members:
            out.append(_record(draws, ratios, counts))
    return out


def _bins(values: np.ndarray) -> list[tuple[float, float, bool]]:
    """(low, high, whether it is the last, which holds its upper edge) of the quantile bins that are not empty."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)))
    if len(edges) < 2:
        return [(float(edges[0]), float(edges[0]), True)]
    return [(float(a), float(b), n == len(edges) - 2) for n, (a, b) in enumerate(zip(edges[:-1], edges[1:]))]


def _distractors(scores: Sequence[ImageScore], draws: _Draws) -> dict[str, dict[str, Any]]:
    """Share of each kind that was called a line: of its length, or of its number."""
    out = {}
    for field, unit in (("lengths_px", "length_px"), ("counts", "count")):
        for kind in sorted({k for s in scores for k in getattr(s.distractors, field)}):
            pairs = [getattr(s.distractors, field).get(kind, (0, 0)) for s in scores]
            there, called = draws.total([p[0] for p in pairs]), draws.total([p[1] for p in pairs])
            counts = {unit: round(float(there[0]), 1), f"called_{unit}": round(float(called[0]), 1)}
            out[kind] = _record(draws, {"called_share": _ratio(called, there)}, counts)
    return out


def _median(values: Sequence[Sequence[float]], draws: _Draws) -> np.ndarray:
    """Median (D,) of the values of all images, each as often as its image counts; NaN where there are none."""
    pooled = np.array([v for of_image in values for v in of_image])
    if not len(pooled):
        return np.full(len(draws.times), np.nan)
    image = np.repeat(np.arange(len(values)), [len(v) for v in values])
    order = np.argsort(pooled, kind="stable")
    below = np.cumsum(draws.times[:, image[order]], axis=1)
    number = below[:, -1:]
    middle = [np.argmax(below > rank, axis=1) for rank in ((number - 1) // 2, number // 2)]
    medians = 0.5 * (pooled[order][middle[0]] + pooled[order][middle[1]])
    return np.where(number[:, 0] > 0, medians, np.nan)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def _harmonic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Harmonic mean; 0 where either is, also where the other has no value: who finds nothing is never wrong."""
    both = a + b
    mean = np.where(both > 0, 2 * a * b / np.where(both > 0, both, 1.0), np.where(np.isfinite(both), 0.0, np.nan))
    return np.where(((a == 0) & np.isnan(b)) | (np.isnan(a) & (b == 0)), 0.0, mean)
