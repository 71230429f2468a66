"""Crossings of true curves, and whether a prediction tells the two lines apart.

*Resolved*: two different predictions follow the one and the other along the whole window around the crossing, in
direction as well as in position.

Axes: V vertices of a curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist

from train.curves import arc_px, find_crossings, headings, is_closed, length_px

if TYPE_CHECKING:
    from train.metrics import MetricSettings

ANGLE_EDGES_DEG = (0, 22, 45, 90)


def crossings_resolved(
    true: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    near_found: Sequence[np.ndarray],
    settings: MetricSettings,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Crossings of `true` curves, and those that the `found` curves resolve, by bins of ANGLE_EDGES_DEG.

    `near_found[t]` (P, V) are the distances of the vertices of true curve t to each of the P found ones.
    """
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
        nearest = nearest_vertex(curve[ends], found[p])
        along = np.abs(np.sum(tangents[ends] * headings(found[p])[nearest], axis=1))
        # One piece of the prediction must span the window: its arc between the two ends is about the window's own.
        arc = arc_px(found[p])
        span = abs(arc[nearest[1]] - arc[nearest[0]])
        if is_closed(found[p]):
            span = min(span, arc[-1] - span)
        if (along > np.cos(np.radians(35))).all() and span < 1.5 * length_px(curve[window]) + 6.0:
            out.append(p)
    return out


def nearest_vertex(points: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Index of the vertex of `curve` nearest to each of `points`."""
    return cdist(points, curve, "sqeuclidean").argmin(axis=1)
