"""Metrics that compare masks: COCO average precision, panoptic quality, clDice.

Masks overlap as the lines do and are compared as run lengths (RLE, pycocotools); nothing is flattened into a label map.
For thin lines they are harsh: a line 3 px wide that is found 1 px beside its place has an IoU of 0.62. A prediction's mask is
that of its judged parts, so that what it says of an invisible stretch counts neither way.

Axes: P predictions, T true instances, H IoU thresholds, (Y, X) image rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment
from skimage.morphology import skeletonize

from render.rasterise import line_mask, line_masks

if TYPE_CHECKING:
    from train.metrics import Truth

COCO_THRESHOLDS = tuple(np.round(np.arange(0.5, 0.96, 0.05), 2).tolist())
RECALLS = np.linspace(0.0, 1.0, 101)
PQ_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskScore:
    """Of one image: what average precision, panoptic quality and clDice are summed from.

    `confidence` (P,) falls; `hit` (H, P) says which predictions match at which IoU threshold; `instances` T.
    `pq_matched` pairs have the summed IoU `pq_iou`. `skeleton_px` are the pixels of the (predicted, true) skeleton,
    `skeleton_inside_px` those of them inside the other's mask.
    """

    confidence: np.ndarray
    hit: np.ndarray
    instances: int
    pq_matched: int
    pq_iou: float
    skeleton_px: tuple[int, int]
    skeleton_inside_px: tuple[int, int]


def score_masks(lines: Sequence[tuple[list[np.ndarray], float]], truth: Truth, shape: tuple[int, int]) -> MaskScore:
    """Compare predictions, each a list of curves (V, 3) of position and half-width with a confidence, with the truth."""
    order = np.argsort([-confidence for _, confidence in lines], kind="stable")
    confidence = np.array([lines[p][1] for p in order], dtype=np.float64)
    true = line_masks(list(zip(truth.curves_px, truth.half_width_px)), shape)
    found = np.zeros((len(lines), *shape), dtype=bool)
    for row, p in zip(found, order):
        for part in lines[p][0]:
            row |= line_mask(part[:, :2], part[:, 2], shape)
    iou = overlaps(found, true)
    matched, summed = panoptic_matches(iou)
    skeleton_px, inside_px = skeleton_overlap(found.any(axis=0), true.any(axis=0))
    return MaskScore(
        confidence=confidence, hit=coco_hits(iou), instances=len(true), pq_matched=matched, pq_iou=summed,
        skeleton_px=skeleton_px, skeleton_inside_px=inside_px,
    )  # fmt: skip


def overlaps(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """IoU (P, T) of masks (P, Y, X) and (T, Y, X)."""
    if not len(found) or not len(true):
        return np.zeros((len(found), len(true)))
    a, b = (coco_mask.encode(np.asfortranarray(np.moveaxis(m, 0, 2), dtype=np.uint8)) for m in (found, true))
    return np.asarray(coco_mask.iou(a, b, [0] * len(b)))


def coco_hits(iou: np.ndarray, thresholds: Sequence[float] = COCO_THRESHOLDS) -> np.ndarray:
    """Which predictions (H, P), given most confident first, find a true instance: the COCO rule.

    In turn each takes the free instance it overlaps most, if by the threshold at least (Lin et al. 2014).
    """
    hit = np.zeros((len(thresholds), len(iou)), dtype=bool)
    for row, threshold in zip(hit, thresholds):
        free = np.ones(iou.shape[1], dtype=bool)
        for p, overlap in enumerate(iou):
            offers = np.where(free & (overlap >= min(threshold, 1 - 1e-10)), overlap, -1.0)
            if offers.size and offers.max() >= 0:
                # Among equals COCO takes the last.
                free[len(offers) - 1 - int(np.argmax(offers[::-1]))] = False
                row[p] = True
    return hit


def panoptic_matches(iou: np.ndarray) -> tuple[int, float]:
    """Pairs with an IoU above 1/2, and their summed IoU (Kirillov et al. 2019).

    Masks that overlap may have more than one such partner; the assignment with the largest sum counts.
    """
    rows, columns = linear_sum_assignment(np.where(iou > PQ_THRESHOLD, iou, 0.0), maximize=True)
    pairs = iou[rows, columns][iou[rows, columns] > PQ_THRESHOLD]
    return len(pairs), float(pairs.sum())


def skeleton_overlap(found: np.ndarray, true: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Pixels of the skeletons of two masks (Y, X), and how many of them lie in the other mask (clDice, Shit et al. 2021)."""
    bones = skeletonize(found), skeletonize(true)
    inside = int((bones[0] & true).sum()), int((bones[1] & found).sum())
    return (int(bones[0].sum()), int(bones[1].sum())), inside


def average_precision(scores: Sequence[MaskScore], draws: np.ndarray) -> np.ndarray:
    """COCO AP (D, H) of weighted images: `draws` (D, N) says how often each of N images counts.

    Precision is made monotonic and read at 101 recalls, as COCO does; no limit on detections an image. NaN without truth.
    """
    image = np.concatenate([np.full(len(s.confidence), n) for n, s in enumerate(scores)]).astype(int)
    order = np.argsort(-np.concatenate([s.confidence for s in scores]), kind="stable")
    hit = np.concatenate([s.hit for s in scores], axis=1)[:, order]
    instances = draws @ np.array([s.instances for s in scores], dtype=np.float64)
    out = np.full((len(draws), len(COCO_THRESHOLDS)), np.nan)
    for row, weights, total in zip(out, draws, instances):
        if total == 0:
            continue
        weight = weights[image[order]]
        seen = np.cumsum(weight)
        for h, hits in enumerate(hit):
            found = np.cumsum(weight * hits)
            precision = np.divide(found, seen, out=np.zeros(len(seen)), where=seen > 0)
            precision = np.maximum.accumulate(precision[::-1])[::-1]
            at = np.searchsorted(found / total, RECALLS, side="left")
            row[h] = np.where(at < len(precision), np.append(precision, 0.0)[np.minimum(at, len(precision))], 0.0).mean()
    return out
