"""How well traced curves agree with true ones, as curves: instances, crossings, splits and merges, lengths.

Curve metrics lead because a 1 px shift of a 3 px line has a mask IoU of 0.62: overlap of masks says little here.

Definitions, at tolerance 3 px:
- A *true instance* is a visible piece of a Line inside the frame (`train.targets.line_pieces`: gaps under two full
  widths are bridged, pieces under 6 px dropped). What a prediction says where a line is present but invisible is
  not counted, neither for nor against it.
- *Instance F1*: a predicted and a true curve match when 70 % of each lies within the tolerance of the other; one to
  one, by the assignment with the most matches (Kuhn 1955).
- *Completeness* and *correctness*: the fraction of true length near a prediction and of predicted length near
  truth (Wiedemann et al. 1998); *centreline F1* is their harmonic mean.
- *Crossing resolved*: where two true curves cross, two different predictions follow the one and the other along the
  whole window around the crossing, in direction as well as in position. The window reaches 10 px to both sides, or
  to where the lines are two tolerances apart, if that is farther. A crossing with less than 5 px of line on some
  side is a meeting, and not counted.
- *False splits*: predictions, less one, that lie on one true curve. *False merges*: true curves, less one, that one
  prediction follows for 15 px or more, each.

Axes: V vertices, P predictions, T true curves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from train.curves import (
    TracedLine,
    arc_px,
    clip_to_frame,
    distance_px,
    find_crossings,
    headings,
    is_closed,
    length_px,
    resample,
)
from train.targets import Curve, TargetSettings, line_pieces

ANGLE_EDGES_DEG = (0, 22, 45, 90)


@dataclass(frozen=True, kw_only=True)
class MetricSettings:
    tolerance_px: float = 3.0
    match_fraction: float = 0.7
    crossing_window_px: float = 10.0
    crossing_shortest_side_px: float = 5.0
    merge_shortest_px: float = 15.0
    shortest_truth_px: float = 6.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """True curves of one image, resampled at 1 px, and the curves on which a prediction is not judged.

    `complete` is False where only some of the lines were labelled: what is predicted elsewhere is then not judged.
    """

    curves_px: tuple[np.ndarray, ...]
    silent_px: tuple[np.ndarray, ...] = ()
    complete: bool = True


@dataclass(frozen=True, kw_only=True)
class ImageScore:
    """Counts of one image; sums of them over images give every ratio."""

    true_curves: int = 0
    predicted_curves: int = 0
    matched: int = 0
    true_length_px: float = 0.0
    found_length_px: float = 0.0
    predicted_length_px: float = 0.0
    correct_length_px: float = 0.0
    false_splits: int = 0
    false_merges: int = 0
    crossings: tuple[int, ...] = (0, 0, 0)
    crossings_resolved: tuple[int, ...] = (0, 0, 0)
    matched_length_errors: tuple[float, ...] = field(default=())
    complete: bool = True


def truth_of(lines: Iterable[Curve], shape: tuple[int, int], settings: MetricSettings | None = None) -> Truth:
    """The true instances of an image of `shape` (Y, X): visible pieces of its lines inside the frame."""
    settings = settings or MetricSettings()
    pieces_of = TargetSettings(shortest_px=settings.shortest_truth_px)
    curves, silent = [], []
    for line in lines:
        for points, _, visible in line_pieces(line, pieces_of):
            for piece in clip_to_frame(points, shape):
                if not visible:
                    silent.append(resample(piece, 1.0))
                elif length_px(piece) >= settings.shortest_truth_px:
                    curves.append(_sampled(piece))
    return Truth(curves_px=tuple(curves), silent_px=tuple(silent))


def score_image(
    predicted: Sequence[TracedLine], truth: Truth, shape: tuple[int, int], settings: MetricSettings | None = None
) -> ImageScore:
    """Compare the lines found in one image of `shape` (Y, X) with its truth."""
    settings = settings or MetricSettings()
    tolerance = settings.tolerance_px
    found = [_sampled(piece) for line in predicted for piece in clip_to_frame(line.points_px, shape)]
    true = list(truth.curves_px)
    near_true = [np.array([distance_px(p, t, tolerance) for t in true]).reshape(len(true), len(p)) for p in found]
    judged = [_judged(p, d, truth, tolerance) for p, d in zip(found, near_true)]
    if not truth.complete:
        found, near_true, judged = _on_truth(found, near_true, judged, tolerance, settings.match_fraction)
    near_found = [np.array([distance_px(t, p, tolerance) for p in found]).reshape(len(found), len(t)) for t in true]

    of_found = np.array([[_share(d[t] <= tolerance, j) for t in range(len(true))] for d, j in zip(near_true, judged)])
    of_true = np.array([(d <= tolerance).mean(axis=1) for d in near_found])
    of_found = of_found.reshape(len(found), len(true))
    of_true = of_true.reshape(len(true), len(found)).T
    match = (of_found >= settings.match_fraction) & (of_true >= settings.match_fraction)
    rows, columns = linear_sum_assignment(np.where(match, 1.0 + 1e-3 * (of_found + of_true), 0.0), maximize=True)
    pairs = [(r, c) for r, c in zip(rows, columns) if match[r, c]]

    counts, resolved = _crossings(true, found, near_found, settings)
    covered = [(d <= tolerance).any(axis=0) for d in near_found]
    correct = [(d <= tolerance).any(axis=0) for d in near_true]
    counted = [j.any() for j in judged]
    return ImageScore(
        true_curves=len(true),
        predicted_curves=int(np.sum(counted)) if counted else 0,
        matched=len(pairs),
        true_length_px=float(sum(length_px(t) for t in true)),
        found_length_px=float(sum(length_px(t) * c.mean() for t, c in zip(true, covered))),
        predicted_length_px=float(sum(length_px(p) * j.mean() for p, j in zip(found, judged))),
        correct_length_px=float(sum(length_px(p) * (c & j).mean() for p, c, j in zip(found, correct, judged))),
        false_splits=_splits(of_found, of_true, settings),
        false_merges=_merges(found, true, near_true, settings),
        crossings=counts,
        crossings_resolved=resolved,
        matched_length_errors=tuple(length_px(found[r]) / length_px(true[c]) - 1.0 for r, c in pairs),
        complete=truth.complete,
    )


def summarise(scores: Sequence[ImageScore], bootstrap: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Every metric over a set of images, with 95 % intervals from resampling the images (Efron 1979).

    Lengths and counts are summed over images before a ratio is taken. Keys that end in `_interval` hold [low, high];
    a ratio without a denominator is None.
    """
    summary = _ratios(scores)
    if bootstrap and len(scores) > 1:
        rng = np.random.Generator(np.random.Philox(seed))
        draws = [_ratios([scores[i] for i in rng.integers(0, len(scores), len(scores))]) for _ in range(bootstrap)]
        for name in ("instance_f1", "crossings_resolved", "completeness", "correctness", "centreline_f1", "density_error"):
            values = np.array([d[name] for d in draws if d[name] is not None], dtype=float)
            low_high = np.percentile(values, [2.5, 97.5]) if len(values) else None
            summary[f"{name}_interval"] = None if low_high is None else [round(float(v), 4) for v in low_high]
    return summary


def _ratios(scores: Sequence[ImageScore]) -> dict[str, Any]:
    total = {
        f.name: sum(getattr(s, f.name) for s in scores)
        for f in dataclasses.fields(ImageScore)
        if f.name not in ("crossings", "crossings_resolved", "matched_length_errors", "complete")
    }
    counts = np.sum([s.crossings for s in scores], axis=0) if scores else np.zeros(3, int)
    resolved = np.sum([s.crossings_resolved for s in scores], axis=0) if scores else np.zeros(3, int)
    completeness = _ratio(total["found_length_px"], total["true_length_px"])
    # Where labels are partial, nothing can be said of what else was predicted.
    whole = all(s.complete for s in scores)
    correctness = _ratio(total["correct_length_px"], total["predicted_length_px"]) if whole else None
    errors = [abs(e) for s in scores for e in s.matched_length_errors]
    summary: dict[str, Any] = {
        "images": len(scores),
        "true_curves": total["true_curves"],
        "predicted_curves": total["predicted_curves"],
        "matched": total["matched"],
        "instance_f1": _ratio(2 * total["matched"], total["true_curves"] + total["predicted_curves"]) if whole else None,
        "instance_precision": _ratio(total["matched"], total["predicted_curves"]) if whole else None,
        "instance_recall": _ratio(total["matched"], total["true_curves"]),
        "completeness": completeness,
        "correctness": correctness,
        "centreline_f1": _harmonic(completeness, correctness),
        "false_splits": total["false_splits"],
        "false_merges": total["false_merges"],
        "crossings": int(counts.sum()),
        "crossings_resolved": _ratio(resolved.sum(), counts.sum()),
    }
    for low, high, n, r in zip(ANGLE_EDGES_DEG[:-1], ANGLE_EDGES_DEG[1:], counts, resolved):
        summary[f"crossings_{low}_{high}_deg"] = int(n)
        summary[f"crossings_resolved_{low}_{high}_deg"] = _ratio(r, n)
    summary["length_error_median"] = float(np.median(errors)) if errors else None
    density = _ratio(total["predicted_length_px"], total["true_length_px"]) if whole else None
    summary["density_error"] = None if density is None else density - 1.0
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in summary.items()}


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _harmonic(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return None
    return 2 * a * b / (a + b) if a + b else 0.0


def _sampled(points_px: np.ndarray) -> np.ndarray:
    points = resample(points_px, 1.0)
    if is_closed(points_px):
        points[-1] = points[0]
    return points


def _judged(points: np.ndarray, near_true: np.ndarray, truth: Truth, tolerance: float) -> np.ndarray:
    """Which points (V,) of a prediction count: all but those on an invisible line and on no visible one."""
    silent = np.zeros(len(points), dtype=bool)
    for curve in truth.silent_px:
        silent |= distance_px(points, curve, tolerance) <= tolerance
    if len(near_true):
        silent &= ~(near_true <= tolerance).any(axis=0)
    return ~silent


def _on_truth(found, near_true, judged, tolerance, match_fraction):
    """Only the predictions that lie on a labelled line, for images that are labelled in part."""
    keep = [i for i, d in enumerate(near_true) if len(d) and (d <= tolerance).any(axis=0).mean() >= match_fraction]
    return [found[i] for i in keep], [near_true[i] for i in keep], [judged[i] for i in keep]


def _share(near: np.ndarray, judged: np.ndarray) -> float:
    return float(near[judged].mean()) if judged.any() else 0.0


def _splits(of_found: np.ndarray, of_true: np.ndarray, settings: MetricSettings) -> int:
    """Predictions in excess of one on each true curve; a prediction belongs to the true curve it covers best."""
    if not of_found.size:
        return 0
    own = np.where(of_found >= settings.match_fraction, of_found + 1e-3 * of_true, 0.0)
    best = own.argmax(axis=1)[own.max(axis=1) > 0]
    return int(np.maximum(np.bincount(best, minlength=of_found.shape[1]) - 1, 0).sum())


def _merges(found, true, near_true, settings: MetricSettings) -> int:
    """True curves in excess of one that a prediction follows, nearer than any other and along its direction."""
    merges = 0
    for points, distances in zip(found, near_true):
        if len(distances) < 2 or len(points) < 3:
            continue
        nearest = np.where(distances.min(axis=0) <= settings.tolerance_px, distances.argmin(axis=0), -1)
        tangents = headings(points)
        followed = 0
        for t in np.unique(nearest[nearest >= 0]):
            own = nearest == t
            along = np.abs(np.sum(tangents[own] * headings(true[t])[_nearest_vertex(points[own], true[t])], axis=1))
            followed += int(np.sum(along > np.cos(np.radians(30))) >= settings.merge_shortest_px)
        merges += max(0, followed - 1)
    return merges


def _nearest_vertex(points: np.ndarray, curve: np.ndarray) -> np.ndarray:
    return np.array([np.argmin(((curve - p) ** 2).sum(axis=1)) for p in points], dtype=int)


def _crossings(true, found, near_found, settings: MetricSettings) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Crossings and resolved crossings by bins of ANGLE_EDGES_DEG."""
    bins = len(ANGLE_EDGES_DEG) - 1
    counts, resolved = [0] * bins, [0] * bins
    for crossing in find_crossings(true):
        half = 2 * settings.tolerance_px / max(np.sin(np.radians(crossing.angle_deg)), 0.05)
        half = min(max(settings.crossing_window_px, half), 60.0)
        first = _window(true[crossing.first], crossing.at_first_px, half, settings.crossing_shortest_side_px)
        second = _window(true[crossing.second], crossing.at_second_px, half, settings.crossing_shortest_side_px)
        if first is None or second is None:
            continue
        angle_bin = min(bins - 1, int(np.searchsorted(ANGLE_EDGES_DEG, crossing.angle_deg, side="right")) - 1)
        counts[angle_bin] += 1
        followers = [
            _followers(true[n], window, found, near_found[n], settings.tolerance_px)
            for n, window in ((crossing.first, first), (crossing.second, second))
        ]
        resolved[angle_bin] += any(p != q for p in followers[0] for q in followers[1])
    return tuple(counts), tuple(resolved)


def _window(curve: np.ndarray, at_px: float, half_px: float, shortest_px: float) -> np.ndarray | None:
    """Vertices of a curve within `half_px` of arc length of a crossing; None if a side is too short."""
    arc = arc_px(curve)
    if is_closed(curve):
        off = (arc - at_px + arc[-1] / 2) % arc[-1] - arc[-1] / 2
        order = np.argsort(off)
        return order[np.abs(off[order]) <= half_px]
    if at_px < shortest_px or arc[-1] - at_px < shortest_px:
        return None
    return np.flatnonzero(np.abs(arc - at_px) <= half_px)


def _followers(curve, window, found, near_found, tolerance: float) -> list[int]:
    """Predictions that lie within the tolerance all along the window and run along the curve at its two ends.

    Every twentieth point may be farther off.
    """
    out = []
    tangents = headings(curve)
    for p, distances in enumerate(near_found):
        if (distances[window] <= tolerance).mean() < 0.95:
            continue
        ends = window[[0, -1]]
        nearest = _nearest_vertex(curve[ends], found[p])
        along = np.abs(np.sum(tangents[ends] * headings(found[p])[nearest], axis=1))
        # One piece of the prediction must span the window: its arc between the two ends is about the window's own.
        arc = arc_px(found[p])
        span = abs(arc[nearest[1]] - arc[nearest[0]])
        if is_closed(found[p]):
            span = min(span, arc[-1] - span)
        if (along > np.cos(np.radians(35))).all() and span < 1.5 * length_px(curve[window]) + 6.0:
            out.append(p)
    return out
