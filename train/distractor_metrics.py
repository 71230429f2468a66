"""What is not a dislocation and was called one: slip traces, edges, bands, particles.

Of the length of slip traces and edges, and of the medial line of boundaries, bands and rolled lips, the share along which a prediction
runs; of particles, voids and text the count of those that a prediction follows. A prediction within two tolerances of a true
line is true for this purpose, and what lies so near to one is not asked.

Axes: (Y, X) rows and columns, F points of false predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

from train.curves import clip_to_frame, headings, resample

if TYPE_CHECKING:
    from train.metrics import Truth

BAND_KINDS = ("boundary", "fault_band", "bend_contour", "fringe", "edge")  # an edge may be a curve, or a lip of some width
WHOLE_KINDS = ("text",)  # a mask of these is one thing, however many parts it has
PARALLEL_COSINE = float(np.cos(np.radians(30)))
CALLED_PX = 5.0
NEIGHBOURS = 8


@dataclass(frozen=True, kw_only=True)
class DistractorScore:
    """Of one image: `lengths_px` (there, called a line) and `counts` (there, called a line) by kind."""

    lengths_px: dict[str, tuple[float, float]]
    counts: dict[str, tuple[int, int]]


def score_distractors(
    false_px: Sequence[np.ndarray], along: Sequence[np.ndarray], truth: Truth, shape: tuple[int, int], tolerance_px: float
) -> DistractorScore:
    """How much of the distractors the points `false_px` (F, 2) of predictions, with headings `along`, follow."""
    points = np.concatenate([np.zeros((0, 2)), *false_px])
    directions = np.concatenate([np.zeros((0, 2)), *along])
    lengths: dict[str, tuple[float, float]] = {}
    counts: dict[str, tuple[int, int]] = {}
    if not truth.distractors:
        return DistractorScore(lengths_px=lengths, counts=counts)
    near_truth = _near([*truth.curves_px, *truth.silent_px], shape, 2 * tolerance_px)
    for distractor in truth.distractors:
        kind, mask = distractor.kind, distractor.mask
        if distractor.points_px is not None:
            pair = _along_curve(distractor.points_px, points, directions, near_truth, tolerance_px)
        elif kind in BAND_KINDS:
            pair = _along_band(mask, points, near_truth, tolerance_px)
        else:
            pair = _blobs(mask, points, near_truth, whole=kind in WHOLE_KINDS)
        into = counts if distractor.points_px is None and kind not in BAND_KINDS else lengths
        before = into.get(kind, (0, 0))
        into[kind] = (before[0] + pair[0], before[1] + pair[1])
    return DistractorScore(lengths_px=lengths, counts=counts)


def _near(curves: Sequence[np.ndarray], shape: tuple[int, int], reach_px: float) -> np.ndarray:
    """Pixels (Y, X) within `reach_px` of any curve, whose points stand 1 px apart."""
    off = np.ones(shape, dtype=bool)
    for curve in curves:
        off[_pixels(curve, shape)] = False
    return ndimage.distance_transform_edt(off) <= reach_px if not off.all() else np.zeros(shape, dtype=bool)


def _pixels(points: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.rint(points).astype(int).T
    return np.clip(y, 0, shape[0] - 1), np.clip(x, 0, shape[1] - 1)


def _along_curve(curve_px, points, directions, near_truth, tolerance_px) -> tuple[float, float]:
    """Length of a curve away from true lines, and how much of it a false prediction follows in place and direction."""
    there = called = 0.0
    for piece in clip_to_frame(curve_px, near_truth.shape):
        sampled = resample(piece, 1.0)
        apart = ~near_truth[_pixels(sampled, near_truth.shape)]
        there += float(apart.sum())
        if not len(points):
            continue
        distance, nearest = cKDTree(points).query(sampled, k=NEIGHBOURS, distance_upper_bound=tolerance_px)
        parallel = np.abs(np.einsum("nd,nkd->nk", headings(sampled), np.append(directions, [[0.0, 0.0]], axis=0)[nearest]))
        follows = (np.isfinite(distance) & (parallel >= PARALLEL_COSINE)).any(axis=1)
        called += float((apart & follows).sum())
    return there, called


def _along_band(mask, points, near_truth, tolerance_px) -> tuple[float, float]:
    """Length of the medial line of a band away from true lines, and of that beside which a false prediction runs."""
    medial = skeletonize(mask) & ~near_truth
    there = float(medial.sum())
    if not there or not len(points):
        return there, 0.0
    rows, columns = np.nonzero(medial)
    reach = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1][rows, columns] + tolerance_px
    distance, _ = cKDTree(points).query(np.column_stack([columns, rows]))
    return there, float((distance <= reach).sum())


def _blobs(mask, points, near_truth, whole: bool) -> tuple[int, int]:
    """Blobs of a mask away from true lines, and those in which a false prediction runs for half their diameter."""
    labels, number = (mask.astype(int), 1) if whole else ndimage.label(mask, structure=np.ones((3, 3)))
    there = called = 0
    inside = labels[_pixels(points, mask.shape)] if len(points) else np.zeros(0, int)
    for blob in range(1, number + 1):
        own = labels == blob
        if near_truth[own].mean() > 0.5:
            continue
        there += 1
        diameter = 2 * np.sqrt(own.sum() / np.pi)
        called += int((inside == blob).sum() >= max(CALLED_PX, 0.5 * min(diameter, 20.0)))
    return there, called
