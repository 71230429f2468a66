"""Exact masks of curves: the set of pixels whose centres lie within the half-width of the nearest point.

Axes: K vertices, (Y, X) image rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import ArrayLike

from physics.parallel import over_threads


def line_mask(points_px: ArrayLike, half_width_px: ArrayLike, shape: tuple[int, int]) -> np.ndarray:
    """Mask (Y, X) bool of the curve `points_px` (K, 2) with `half_width_px` (K,), round ends included.

    The half-width is interpolated linearly along each segment. Where two segments are equally near, the one
    earlier in the line counts.
    """
    mask = np.zeros(shape, dtype=np.bool_)
    points_px = np.ascontiguousarray(points_px, dtype=np.float64)
    half_width_px = np.ascontiguousarray(half_width_px, dtype=np.float64)
    if len(points_px):
        _fill(points_px, half_width_px, mask)
    return mask


def line_masks(curves: Sequence[tuple[np.ndarray, np.ndarray]], shape: tuple[int, int]) -> np.ndarray:
    """`line_mask` (L, Y, X) of many curves, given as (points, half-width), on all threads."""
    masks = np.zeros((len(curves), *shape), dtype=np.bool_)
    if curves:
        points_px = np.concatenate([points for points, _ in curves]).astype(np.float64)
        half_width_px = np.concatenate([width for _, width in curves]).astype(np.float64)
        first = np.concatenate([[0], np.cumsum([len(points) for points, _ in curves])])
        over_threads(_fill_lines, len(curves), points_px, half_width_px, first, masks)
    return masks


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _fill_lines(begin, end, points_px, half_width_px, first, masks):
    for line in range(begin, end):
        a, b = first[line], first[line + 1]
        if b > a:
            _fill(points_px[a:b], half_width_px[a:b], masks[line])


@numba.njit(cache=True, error_model="numpy")
def _fill(points_px: np.ndarray, half_width_px: np.ndarray, mask: np.ndarray) -> None:
    rows, columns = mask.shape
    reach = half_width_px.max()
    x0 = max(0, int(np.floor(points_px[:, 0].min() - reach)))
    x1 = min(columns - 1, int(np.ceil(points_px[:, 0].max() + reach)))
    y0 = max(0, int(np.floor(points_px[:, 1].min() - reach)))
    y1 = min(rows - 1, int(np.ceil(points_px[:, 1].max() + reach)))
    if x1 < x0 or y1 < y0:
        return
    nearest_sq = np.full((y1 - y0 + 1, x1 - x0 + 1), np.inf)
    width = np.zeros_like(nearest_sq)
    for k in range(len(points_px) - 1):
        ax, ay = points_px[k]
        bx, by = points_px[k + 1]
        wa, wb = half_width_px[k], half_width_px[k + 1]
        # Only pixels within the widest half-width of this segment can lie in the mask on its account.
        for y in range(max(y0, int(np.floor(min(ay, by) - reach))), min(y1, int(np.ceil(max(ay, by) + reach))) + 1):
            low, high = _capsule_span(ax, ay, bx, by, reach, y)
            first, last = max(x0, int(np.floor(low))), min(x1, int(np.ceil(high)))
            if first <= last:
                row = slice(first - x0, last + 1 - x0)
                _nearer(first - ax, y - ay, bx - ax, by - ay, wa, wb - wa, nearest_sq[y - y0, row], width[y - y0, row])
    for y in range(nearest_sq.shape[0]):
        distances, widths, inside = nearest_sq[y], width[y], mask[y0 + y, x0 : x1 + 1]
        for x in range(nearest_sq.shape[1]):
            inside[x] = inside[x] or distances[x] <= widths[x] * widths[x]


@numba.njit(cache=True, error_model="numpy")
def _capsule_span(ax, ay, bx, by, reach, y):
    """Least and largest x on the row `y` within `reach` of the segment a-b; (inf, -inf) where there is none."""
    low, high = np.inf, -np.inf
    for cx, cy in ((ax, ay), (bx, by)):
        room = reach * reach - (y - cy) * (y - cy)
        if room >= 0:
            low, high = min(low, cx - math.sqrt(room)), max(high, cx + math.sqrt(room))
    dx, dy = bx - ax, by - ay
    length = math.sqrt(dx * dx + dy * dy)
    if dy != 0:
        # The two sides of the strip between the discs.
        for side in (-reach / length, reach / length):
            t = (y - ay - side * dx) / dy
            if 0 <= t <= 1:
                x = ax - side * dy + t * dx
                low, high = min(low, x), max(high, x)
    return low, high


@numba.njit(cache=True, error_model="numpy")
def _nearer(px, py, dx, dy, wa, dw, nearest_sq, width):
    """Where the segment is nearer than `nearest_sq` on a row from (px, py), relative to its start: distance and width.

    Without branches, so that it compiles to vector instructions.
    """
    length_sq = dx * dx + dy * dy
    over = 1 / length_sq if length_sq > 0 else 0.0
    for i in range(nearest_sq.size):
        x = px + i
        t = (x * dx + py * dy) * over
        t = t if t > 0.0 else 0.0
        t = t if t < 1.0 else 1.0
        ex, ey = x - t * dx, py - t * dy
        distance_sq = ex * ex + ey * ey
        nearer = distance_sq < nearest_sq[i]
        nearest_sq[i] = distance_sq if nearer else nearest_sq[i]
        width[i] = wa + t * dw if nearer else width[i]
