"""Tractions of many segments on a curved sheet of points, by patches within patches.

As in `boxes`, but the points lie on one surface, so that a far segment's field over a patch needs polynomials in
two coordinates only: ORDER^2 Chebyshev nodes, handed down from a patch to its quarters.

Axes: S segments, (Y, X) rows and columns of the sheet.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from physics.parallel import over_threads
from physics.strain.boxes import distance_sq, lagrange
from physics.strain.isotropic import CORE_SQ
from physics.strain.traction import add_traction

ORDER = 6
NODES = ORDER * ORDER
# A segment nearer than this many half-diagonals of a patch is left to its quarters, in the end to the points.
OPENING = 1.8
LEAF = 8
LEAF_POINTS = LEAF * LEAF
ROOT = 64
DEEPEST = 12
CHEBYSHEV = np.cos(math.pi * (np.arange(ORDER) + 0.5) / ORDER)


def sheet_tractions(rows: np.ndarray, surface: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Tractions (3, Y, X) of `traction_rows` at the points p(i, j) = surface @ (1, j, i, j^2, ij, i^2), `surface` (3, 6).

    Single segments are reckoned in single precision, with places relative to the patch.
    """
    total = np.zeros((3, *shape))
    down, across = -(-shape[0] // ROOT), -(-shape[1] // ROOT)
    over_threads(_roots, down * across, rows, np.ascontiguousarray(surface, dtype=np.float64), across, total)
    return total


@numba.njit(cache=True, error_model="numpy")
def _place(surface, j, i, out):
    for a in range(3):
        c = surface[a]
        out[a] = c[0] + c[1] * j + c[2] * i + c[3] * j * j + c[4] * i * j + c[5] * i * i


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _roots(begin, end, rows, surface, across, total):
    for root in range(begin, end):
        i0, j0 = ROOT * (root // across), ROOT * (root % across)
        _root(rows, surface, i0, min(i0 + ROOT, total.shape[1]), j0, min(j0 + ROOT, total.shape[2]), total)


@numba.njit(cache=True, error_model="numpy")
def _root(rows, surface, i_first, i_last, j_first, j_last, total):
    stack = np.empty((4 * DEEPEST, 5), np.int64)
    stack[0] = np.array([0, i_first, i_last, j_first, j_last])
    height = 1
    values = np.zeros((DEEPEST, 3, ORDER, ORDER))
    middle, half = np.empty((DEEPEST, 2)), np.empty((DEEPEST, 2))
    near = np.empty((DEEPEST, len(rows)), np.int64)
    near_count = np.zeros(DEEPEST, np.int64)
    x, y, z = np.empty(NODES, np.float32), np.empty(NODES, np.float32), np.empty(NODES, np.float32)
    flat = np.empty((3, NODES), np.float32)
    centre, corner = np.empty(3), np.empty(3)
    leaf_x, leaf_y, leaf_z = np.empty(LEAF_POINTS, np.float32), np.empty(LEAF_POINTS, np.float32), np.empty(LEAF_POINTS, np.float32)
    leaf = np.empty((3, LEAF_POINTS), np.float32)
    while height > 0:
        height -= 1
        level, i0, i1, j0, j1 = stack[height]
        middle[level, 0], half[level, 0] = (i0 + i1 - 1) / 2, max((i1 - 1 - i0) / 2, 0.5)
        middle[level, 1], half[level, 1] = (j0 + j1 - 1) / 2, max((j1 - 1 - j0) / 2, 0.5)
        _place(surface, middle[level, 1], middle[level, 0], centre)
        reach_sq = 0.0
        for a in (-1, 1):
            for b in (-1, 1):
                _place(surface, middle[level, 1] + a * half[level, 1], middle[level, 0] + b * half[level, 0], corner)
                reach_sq = max(reach_sq, ((corner - centre) ** 2).sum() * OPENING**2)
        if level == 0:
            values[0] = 0.0
        else:
            _hand_down(values[level - 1], middle[level - 1], half[level - 1], values[level], middle[level], half[level])
        for n in range(NODES):
            _place(
                surface, middle[level, 1] + half[level, 1] * CHEBYSHEV[n % ORDER],
                middle[level, 0] + half[level, 0] * CHEBYSHEV[n // ORDER], corner,
            )  # fmt: skip
            x[n], y[n], z[n] = corner[0] - centre[0], corner[1] - centre[1], corner[2] - centre[2]
        flat[:] = 0.0
        left = 0
        for c in range(near_count[level - 1] if level > 0 else len(rows)):
            k = near[level - 1, c] if level > 0 else c
            # A spread-out line is as smooth as a thin one that far away.
            if distance_sq(rows[k], centre[0], centre[1], centre[2]) + rows[k, CORE_SQ] < reach_sq:
                near[level, left] = k
                left += 1
            else:
                add_traction(rows[k], x, y, z, flat[0], flat[1], flat[2], centre[0], centre[1], centre[2])
        near_count[level] = left
        for a in range(3):
            for n in range(NODES):
                values[level, a, n // ORDER, n % ORDER] += flat[a, n]
        if left > 0 and (i1 - i0 > LEAF or j1 - j0 > LEAF):
            i_half, j_half = (i0 + i1) // 2, (j0 + j1) // 2
            for a, b in ((i0, i_half), (i_half, i1)):
                for c, d in ((j0, j_half), (j_half, j1)):
                    if b > a and d > c:
                        stack[height] = np.array([level + 1, a, b, c, d])
                        height += 1
            continue
        _to_points(values[level], middle[level], half[level], i0, i1, j0, j1, total)
        if left == 0:
            continue
        count = 0
        for i in range(i0, i1):
            for j in range(j0, j1):
                _place(surface, j, i, corner)
                leaf_x[count], leaf_y[count], leaf_z[count] = corner[0] - centre[0], corner[1] - centre[1], corner[2] - centre[2]
                count += 1
        leaf[:] = 0.0
        for c in range(left):
            add_traction(
                rows[near[level, c]], leaf_x[:count], leaf_y[:count], leaf_z[:count], leaf[0, :count], leaf[1, :count],
                leaf[2, :count], centre[0], centre[1], centre[2],
            )  # fmt: skip
        for a in range(3):
            n = 0
            for i in range(i0, i1):
                for j in range(j0, j1):
                    total[a, i, j] += leaf[a, n]
                    n += 1


@numba.njit(cache=True, error_model="numpy")
def _hand_down(parent, parent_middle, parent_half, child, middle, half):
    rows, columns = np.empty((ORDER, ORDER)), np.empty((ORDER, ORDER))
    for n in range(ORDER):
        lagrange((middle[0] + half[0] * CHEBYSHEV[n] - parent_middle[0]) / parent_half[0], CHEBYSHEV, rows[n])
        lagrange((middle[1] + half[1] * CHEBYSHEV[n] - parent_middle[1]) / parent_half[1], CHEBYSHEV, columns[n])
    for a in range(3):
        _sandwich(rows, parent[a], columns, child[a])


@numba.njit(cache=True, error_model="numpy")
def _sandwich(rows, values, columns, out):
    """out = rows @ values @ columns.T for small matrices."""
    partial = np.zeros((values.shape[0], len(columns)))
    for i in range(values.shape[0]):
        for j in range(len(columns)):
            for k in range(values.shape[1]):
                partial[i, j] += values[i, k] * columns[j, k]
    out[:] = 0.0
    for i in range(len(rows)):
        for k in range(values.shape[0]):
            for j in range(len(columns)):
                out[i, j] += rows[i, k] * partial[k, j]


@numba.njit(cache=True, error_model="numpy")
def _to_points(values, middle, half, i0, i1, j0, j1, total):
    rows, columns = np.empty((i1 - i0, ORDER)), np.empty((j1 - j0, ORDER))
    for i in range(i0, i1):
        lagrange((i - middle[0]) / half[0], CHEBYSHEV, rows[i - i0])
    for j in range(j0, j1):
        lagrange((j - middle[1]) / half[1], CHEBYSHEV, columns[j - j0])
    for a in range(3):
        _sandwich(rows, values[a], columns, total[a, i0:i1, j0:j1])
