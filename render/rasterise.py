"""Exact masks of curves: the set of pixels whose centres lie within the half-width of the nearest point.

Axes: K vertices, (Y, X) image rows and columns.
"""

from __future__ import annotations

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
        dx = points_px[k + 1, 0] - ax
        dy = points_px[k + 1, 1] - ay
        length_sq = dx * dx + dy * dy
        wa = half_width_px[k]
        dw = half_width_px[k + 1] - wa
        # Only pixels within the widest half-width of this segment can lie in the mask on its account.
        for y in range(max(y0, int(np.floor(min(ay, ay + dy) - reach))), min(y1, int(np.ceil(max(ay, ay + dy) + reach))) + 1):
            for x in range(max(x0, int(np.floor(min(ax, ax + dx) - reach))), min(x1, int(np.ceil(max(ax, ax + dx) + reach))) + 1):
                t = 0.0
                if length_sq > 0:
                    t = min(1.0, max(0.0, ((x - ax) * dx + (y - ay) * dy) / length_sq))
                ex = x - ax - t * dx
                ey = y - ay - t * dy
                distance_sq = ex * ex + ey * ey
                if distance_sq < nearest_sq[y - y0, x - x0]:
                    nearest_sq[y - y0, x - x0] = distance_sq
                    width[y - y0, x - x0] = wa + t * dw
    for y in range(nearest_sq.shape[0]):
        for x in range(nearest_sq.shape[1]):
            if nearest_sq[y, x] <= width[y, x] * width[y, x]:
                mask[y0 + y, x0 + x] = True
