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
- *Multiplicity* of a place: how many true masks cover it. A curve's is the highest that 5 px of it have.

`train.mask_metrics` has those that compare masks, `train.distractor_metrics` what else was called a line,
`train.summary` turns the scores of images into ratios with intervals.

Axes: V vertices, P predictions, T true curves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from render.micrograph import Distractor
from render.rasterise import line_masks
from train.crossings import ANGLE_EDGES_DEG, crossings_resolved, nearest_vertex
from train.curves import TracedLine, clip_to_frame, distance_px, headings, is_closed, length_px, resample
from train.distractor_metrics import DistractorScore, score_distractors
from train.mask_metrics import MaskScore, score_masks
from train.summary import summarise
from train.targets import Curve, TargetSettings, line_pieces

__all__ = ["ANGLE_EDGES_DEG", "ImageScore", "MetricSettings", "Truth", "score_image", "summarise", "truth_of"]

HIGHEST_MULTIPLICITY = 3  # and more
MULTIPLICITY_LENGTH_PX = 5.0


@dataclass(frozen=True, kw_only=True)
class MetricSettings:
    tolerance_px: float = 3.0
    further_tolerances_px: tuple[float, ...] = (2.0, 5.0)
    match_fraction: float = 0.7
    crossing_window_px: float = 10.0
    crossing_shortest_side_px: float = 5.0
    merge_shortest_px: float = 15.0
    shortest_truth_px: float = 6.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """True curves of one image, resampled at 1 px, and the curves on which a prediction is not judged.

    `complete` is False where only some of the lines were labelled: what is predicted elsewhere is then not judged.
    `half_width_px` of each curve (V,) and its median |contrast| `contrast` are empty where they are not known;
    `distractors` are what is known not to be a dislocation.
    """

    curves_px: tuple[np.ndarray, ...]
    silent_px: tuple[np.ndarray, ...] = ()
    complete: bool = True
    half_width_px: tuple[np.ndarray, ...] = ()
    contrast: tuple[float, ...] = ()
    distractors: tuple[Distractor, ...] = ()
    pixel_nm: float | None = None


@dataclass(frozen=True, kw_only=True)
class ImageScore:
    """Counts of one image; sums of them over images give every ratio.

    `matched_at` holds (tolerance_px, matched, predicted curves) of the further tolerances. A row of `curves` is one
    true curve: (|contrast|, multiplicity, length_px, found length_px, matched); a row of `predictions` is (multiplicity,
    matched); `places` are rows (true length_px, found length_px) by multiplicity 1, 2, 3 and more.
    """

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
    matched_at: tuple[tuple[float, int, int], ...] = ()
    area_px2: float = 0.0
    pixel_nm: float | None = None
    curves: tuple[tuple[float, int, float, float, bool], ...] = ()
    predictions: tuple[tuple[int, bool], ...] = ()
    places: tuple[tuple[float, float], ...] = ()
    masks: MaskScore | None = None
    distractors: DistractorScore | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """Predicted curves as they are judged at one tolerance: which of their points count, what they match.

    `kept` are the numbers of the predictions that are judged at all, `of_found` and `of_true` (P, T) the fractions of
    each that lie near the other, `pairs` the matches (p, t).
    """

    kept: list[int]
    judged: list[np.ndarray]
    of_found: np.ndarray
    of_true: np.ndarray
    pairs: list[tuple[int, int]]

    @property
    def count(self) -> int:
        return int(sum(j.any() for j in self.judged))


def truth_of(
    lines: Iterable[Curve],
    shape: tuple[int, int],
    settings: MetricSettings | None = None,
    distractors: Sequence[Distractor] = (),
    pixel_nm: float | None = None,
) -> Truth:
    """The true instances of an image of `shape` (Y, X): visible pieces of its lines inside the frame."""
    settings = settings or MetricSettings()
    pieces_of = TargetSettings(shortest_px=settings.shortest_truth_px)
    curves, widths, contrasts, silent = [], [], [], []
    for line in lines:
        known = getattr(line, "contrast", None)
        for points, half_width, visible in line_pieces(line, pieces_of):
            for piece in clip_to_frame(np.column_stack([points, half_width]), shape):
                if not visible:
                    silent.append(resample(piece[:, :2], 1.0))
                elif length_px(piece) >= settings.shortest_truth_px:
                    sampled = _sampled(piece)
                    curves.append(np.ascontiguousarray(sampled[:, :2]))
                    widths.append(sampled[:, 2])
                    contrasts.append(np.nan if known is None else _median_contrast(line, sampled[:, :2]))
    return Truth(
        curves_px=tuple(curves), silent_px=tuple(silent), half_width_px=tuple(widths), contrast=tuple(contrasts),
        distractors=tuple(distractors), pixel_nm=pixel_nm,
    )  # fmt: skip


def score_image(
    predicted: Sequence[TracedLine],
    truth: Truth,
    shape: tuple[int, int],
    settings: MetricSettings | None = None,
    full: bool = False,
) -> ImageScore:
    """Compare the lines found in one image of `shape` (Y, X) with its truth.

    `full` adds what takes longer: masks, multiplicities and distractors.
    """
    settings = settings or MetricSettings()
    tolerance, reach = settings.tolerance_px, max(settings.tolerance_px, *settings.further_tolerances_px, 0.0)
    traced = [_with_width(line) for line in predicted]
    origin = [(n, piece) for n, line in enumerate(traced) for piece in clip_to_frame(line, shape)]
    sampled = [_sampled(piece) for _, piece in origin]
    curves = [np.ascontiguousarray(piece[:, :2]) for piece in sampled]
    true = list(truth.curves_px)
    all_near_true = [_distances(p, true, reach) for p in curves]
    all_near_found = [_distances(t, curves, reach) for t in true]
    found_at = {t: _judge(curves, all_near_true, all_near_found, truth, t, settings) for t in (tolerance, *settings.further_tolerances_px)}
    at = found_at[tolerance]
    found, judged, near_true = [curves[p] for p in at.kept], at.judged, [all_near_true[p] for p in at.kept]
    near_found = [d[at.kept] for d in all_near_found]

    counts, resolved = crossings_resolved(true, found, near_found, settings)
    covered = [(d <= tolerance).any(axis=0) for d in near_found]
    correct = [(d <= tolerance).any(axis=0) for d in near_true]
    true_px, found_px = [length_px(t) for t in true], [length_px(p) for p in found]
    score = {}
    if full:
        multiplicity = _multiplicity(truth, shape)
        by_place = [_at(multiplicity, t) for t in true]
        matched_true, matched_found = {t for _, t in at.pairs}, {p for p, _ in at.pairs}
        contrast = truth.contrast or (np.nan,) * len(true)
        lines = [_judged_line(sampled[p], j, predicted[origin[p][0]]) for p, j in zip(at.kept, judged) if j.any()]
        false = [j & ~(_distances(p, true, 2 * tolerance) <= 2 * tolerance).any(axis=0) for p, j in zip(found, judged)]
        false_px, along = [p[f] for p, f in zip(found, false)], [headings(p)[f] for p, f in zip(found, false)]
        score = {
            "curves": tuple(
                (float(c), _highest(m), px, float(px * near.mean()), t in matched_true)
                for t, (c, m, px, near) in enumerate(zip(contrast, by_place, true_px, covered))
            ),
            "predictions": tuple(
                (_highest(_at(multiplicity, p)), n in matched_found) for n, (p, j) in enumerate(zip(found, judged)) if j.any()
            ),
            "places": tuple(
                (
                    float(sum(px * (m == k).mean() for px, m in zip(true_px, by_place))),
                    float(sum(px * ((m == k) & near).mean() for px, m, near in zip(true_px, by_place, covered))),
                )
                for k in range(1, HIGHEST_MULTIPLICITY + 1)
            ),
            "masks": score_masks(lines, truth, shape) if truth.complete else None,
            "distractors": score_distractors(false_px, along, truth, shape, tolerance) if truth.complete else None,
        }
    return ImageScore(
        true_curves=len(true),
        predicted_curves=at.count,
        matched=len(at.pairs),
        true_length_px=float(sum(true_px)),
        found_length_px=float(sum(px * c.mean() for px, c in zip(true_px, covered))),
        predicted_length_px=float(sum(px * j.mean() for px, j in zip(found_px, judged))),
        correct_length_px=float(sum(px * (c & j).mean() for px, c, j in zip(found_px, correct, judged))),
        false_splits=_splits(at.of_found, at.of_true, settings),
        false_merges=_merges(found, true, near_true, settings),
        crossings=counts,
        crossings_resolved=resolved,
        matched_length_errors=tuple(found_px[p] * judged[p].mean() / true_px[t] - 1.0 for p, t in at.pairs),
        complete=truth.complete,
        matched_at=tuple((t, len(found_at[t].pairs), found_at[t].count) for t in settings.further_tolerances_px),
        area_px2=float(shape[0] * shape[1]),
        pixel_nm=truth.pixel_nm,
        **score,
    )


def _judge(curves, near_true, near_found, truth: Truth, tolerance: float, settings: MetricSettings) -> _Found:
    judged = [judged_points(p, d, truth, tolerance) for p, d in zip(curves, near_true)]
    kept = list(range(len(curves)))
    if not truth.complete:
        # Only the predictions that lie on a labelled line.
        least = settings.match_fraction
        kept = [p for p in kept if len(near_true[p]) and (near_true[p] <= tolerance).any(axis=0).mean() >= least]
        judged = [judged[p] for p in kept]
    size = (len(kept), len(truth.curves_px))
    of_found = np.array([[_share(d <= tolerance, j) for d in near_true[p]] for p, j in zip(kept, judged)]).reshape(size)
    of_true = np.array([(d[kept] <= tolerance).mean(axis=1) for d in near_found]).reshape(size[::-1]).T
    match = (of_found >= settings.match_fraction) & (of_true >= settings.match_fraction)
    rows, columns = linear_sum_assignment(np.where(match, 1.0 + 1e-3 * (of_found + of_true), 0.0), maximize=True)
    pairs = [(int(p), int(t)) for p, t in zip(rows, columns) if match[p, t]]
    return _Found(kept=kept, judged=judged, of_found=of_found, of_true=of_true, pairs=pairs)


def _with_width(line: TracedLine) -> np.ndarray:
    return np.column_stack([line.points_px, line.half_width_px])


def _sampled(points_px: np.ndarray) -> np.ndarray:
    points = resample(points_px, 1.0)
    if is_closed(points_px[:, :2]):
        points[-1] = points[0]
    return points


def _median_contrast(line: Curve, points_px: np.ndarray) -> float:
    """Median |contrast| of a label's vertices along a piece of it."""
    vertex = np.unique(nearest_vertex(points_px[:: max(1, len(points_px) // 50)], np.asarray(line.points_px, dtype=np.float64)))
    return float(np.median(np.abs(np.asarray(line.contrast, dtype=np.float64)[vertex])))


def _distances(points: np.ndarray, curves: Sequence[np.ndarray], reach: float) -> np.ndarray:
    """Distances (C, V) of points (V, 2) to curves; inf where the boxes round them are farther apart than `reach`."""
    out = np.full((len(curves), len(points)), np.inf)
    low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
    for row, curve in zip(out, curves):
        if (curve.min(axis=0) <= high).all() and (curve.max(axis=0) >= low).all():
            row[:] = distance_px(points, curve, reach)
    return out


def judged_points(points: np.ndarray, near_true: np.ndarray, truth: Truth, tolerance: float) -> np.ndarray:
    """Which points (V,) of a prediction count: all but those on an invisible line and on no visible one."""
    silent = (_distances(points, truth.silent_px, tolerance) <= tolerance).any(axis=0)
    if len(near_true):
        silent &= ~(near_true <= tolerance).any(axis=0)
    return ~silent


def _share(near: np.ndarray, judged: np.ndarray) -> float:
    return float(near[judged].mean()) if judged.any() else 0.0


def _multiplicity(truth: Truth, shape: tuple[int, int]) -> np.ndarray:
    """How many true masks (Y, X) cover a pixel."""
    return line_masks(list(zip(truth.curves_px, truth.half_width_px)), shape).sum(axis=0, dtype=np.int64)


def _at(multiplicity: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Multiplicity (V,) at points: at least 1, at most HIGHEST_MULTIPLICITY."""
    x, y = np.rint(points).astype(int).T
    rows, columns = multiplicity.shape
    return np.clip(multiplicity[np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)], 1, HIGHEST_MULTIPLICITY)


def _highest(multiplicity: np.ndarray) -> int:
    """The highest multiplicity that MULTIPLICITY_LENGTH_PX of a curve, sampled at 1 px, have."""
    return max(k for k in range(1, HIGHEST_MULTIPLICITY + 1) if k == 1 or (multiplicity >= k).sum() >= MULTIPLICITY_LENGTH_PX)


def _judged_line(sampled: np.ndarray, judged: np.ndarray, line: TracedLine) -> tuple[list[np.ndarray], float]:
    """The judged parts (V, 3) of a prediction, position and half-width, and its confidence."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], judged, [False]]).astype(np.int8)))
    return [sampled[i:j] for i, j in zip(edges[::2], edges[1::2])], float(line.confidence)


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
            along = np.abs(np.sum(tangents[own] * headings(true[t])[nearest_vertex(points[own], true[t])], axis=1))
            followed += int(np.sum(along > np.cos(np.radians(30))) >= settings.merge_shortest_px)
        merges += max(0, followed - 1)
    return merges
