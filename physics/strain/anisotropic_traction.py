"""Tractions of straight segments on a plane direction in a crystal of any stiffness, with a non-singular core.

sigma.n is linear in the distortion, so that the closed form of `anisotropic` holds for it with other coefficients: a
segment has three rows, one a component, in one frame (n1, n2, t).

Summed over a sheet of points by patches within patches as in `sheet`: the 64 Chebyshev nodes of a patch fill the vectors
of the kernel.

Axes: S segments, P points, (Y, X) rows and columns of the sheet.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from physics.parallel import over_threads
from physics.strain.anisotropic import Medium, rows_of_harmonics
from physics.strain.anisotropic_kernel import BLOCK, WORK, add_packed, add_row
from physics.strain.boxes import distance_sq, pack
from physics.strain.harmonics import count
from physics.strain.isotropic import CORE_SQ
from physics.strain.segments import Segments

ORDER = 8
NODES = ORDER * ORDER
# A segment nearer than this many half-diagonals of a patch is left to its quarters, in the end to the points.
OPENING = 1.4
LEAF = 8
LEVELS = 3
ROOT = LEAF << LEVELS
CHEBYSHEV = np.cos(math.pi * (np.arange(ORDER) + 0.5) / ORDER)
# Share of the spectrum that the harmonics of a line and of its ends may leave out.
LINE_TOLERANCE, END_TOLERANCE = 6e-3, 6e-3


def plate_degrees(medium: Medium) -> tuple[int, int]:
    """Degrees (line, ends) to which tractions on the faces are kept."""
    return max(3, medium.degree_for(LINE_TOLERANCE)), max(3, medium.degree_for(END_TOLERANCE))


def traction_rows(
    segments: Segments, normal: np.ndarray, axes: np.ndarray, medium: Medium, core_nm: np.ndarray | float,
    *, degrees: tuple[int, int] | None = None,
) -> np.ndarray:  # fmt: skip
    """Rows (S, 3, W) from which axes @ sigma.normal in GPa follows; `core_nm` may differ from segment to segment.

    `degrees` of the line and its ends, those of `plate_degrees` if not given.
    """
    top, end_degree = plate_degrees(medium) if degrees is None else degrees
    along = segments.end_nm - segments.start_nm
    length = np.linalg.norm(along, axis=1)
    t = along / length[:, None]
    n1 = np.cross(t, np.eye(3)[np.abs(t).argmin(axis=1)])
    n1 /= np.linalg.norm(n1, axis=1, keepdims=True)
    # sigma_i = sum_ms weight[i, m, s] du_m/dx_s along each of the axes i; du_m/dx_s = b_a (t x e_s)_b C_abkl G_km,l.
    weight = np.einsum("ia,b,abms->ims", axes, normal, medium.stiffness)
    across = np.cross(t[:, None, :], np.eye(3))
    turned = np.einsum("sp,pakl->sakl", segments.burgers_nm, medium.stiffness)
    source = np.einsum("ime,sea,sakl->sikml", weight, across, turned, optimize=True).reshape(-1, 27)
    harmonics = source @ medium.green[: count(top)].reshape(-1, 27).T
    cores = np.broadcast_to(np.asarray(core_nm, dtype=np.float64), len(segments))
    start, t, n1, length, cores = (np.repeat(v, 3, axis=0) for v in (segments.start_nm, t, n1, length, cores))
    rows = rows_of_harmonics(harmonics, start, t, n1, length, cores, top, end_degree, top)
    return rows.reshape(len(segments), 3, -1)


def tractions(rows: np.ndarray, points_nm: np.ndarray) -> np.ndarray:
    """Tractions (3, P) at `points_nm` (P, 3), summed directly in double precision."""
    x, y, z = (np.ascontiguousarray(points_nm[:, i], dtype=np.float64) for i in range(3))
    total = np.zeros((3, len(x)))
    over_threads(_blocks, -(-len(x) // BLOCK), rows, x, y, z, total)
    return total


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _blocks(begin, end, rows, x, y, z, total):
    work = np.empty(WORK)
    for i in range(begin, end):
        a, b = BLOCK * i, min(BLOCK * (i + 1), x.size)
        for k in range(len(rows)):
            for c in range(3):
                add_row(rows[k, c], x[a:b], y[a:b], z[a:b], total[c, a:b], work)


def sheet_tractions(rows: np.ndarray, surface: np.ndarray, shape: tuple[int, int], dtype: type = np.float32) -> np.ndarray:
    """Tractions (3, Y, X) of `traction_rows` at the points p(i, j) = surface @ (1, j, i, j^2, ij, i^2), `surface` (3, 6).

    `dtype` is what segments are summed in. Long waves bend a foil as 1/k^3: their loads want double precision.
    """
    down, across = -(-shape[0] // ROOT), -(-shape[1] // ROOT)
    total = np.zeros((3, down * ROOT, across * ROOT))
    over_threads(_roots, down * across, rows, np.ascontiguousarray(surface, dtype=np.float64), across, *_HANDED, np.zeros(1, dtype), total)
    return total[:, : shape[0], : shape[1]]


def _handed_down() -> tuple[np.ndarray, np.ndarray]:
    """Matrices (2, ORDER, ORDER) from a patch's nodes to those of its halves, and (2, LEAF, ORDER) to the points of a
    leaf; points lie in the middles of the cells that patches divide."""
    points = (2 * np.arange(LEAF) + 1) / LEAF - 1

    def lagrange(at: np.ndarray) -> np.ndarray:
        apart = CHEBYSHEV[:, None] - CHEBYSHEV + np.eye(ORDER)
        away = np.repeat((at[:, None] - CHEBYSHEV)[:, None, :], ORDER, axis=1)
        away[:, np.arange(ORDER), np.arange(ORDER)] = 1.0
        return away.prod(axis=-1) / apart.prod(axis=-1)

    halves = [np.stack([lagrange((at + shift) / 2) for shift in (-1.0, 1.0)]) for at in (CHEBYSHEV, points)]
    return halves[0], halves[1]


_HANDED = _handed_down()


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _roots(begin, end, rows, surface, across, to_nodes, to_points, kind, total):
    packed = np.empty((len(rows), 3, rows.shape[2]), kind.dtype)
    near = np.empty((LEVELS + 1, len(rows)), np.int32)
    values = np.zeros((LEVELS + 1, 3, ORDER, ORDER))
    work, flat = np.empty(WORK, kind.dtype), np.empty((3, NODES), kind.dtype)
    points = np.empty((3, NODES), kind.dtype)
    near[0] = np.arange(len(rows))
    for root in range(begin, end):
        _patch(rows, packed, surface, ROOT * (root // across), ROOT * (root % across), values, near, work, flat, points, to_nodes, to_points, total)


@numba.njit(cache=True, error_model="numpy")
def _patch(rows, packed, surface, i_root, j_root, values, near, work, flat, points, to_nodes, to_points, total):
    """One root patch and all within, depth first: `near` are the rows left to each level."""
    counts = np.zeros(LEVELS + 1, np.int64)
    counts[0] = len(rows)
    stack = np.empty((4 * (LEVELS + 1), 3), np.int64)
    stack[0] = np.array([0, i_root, j_root])
    height = 1
    centre, corner = np.empty(3), np.empty(3)
    while height > 0:
        height -= 1
        level, i0, j0 = stack[height]
        size = ROOT >> level
        leaf = level == LEVELS
        middle_i, middle_j, half = i0 + (size - 1) / 2, j0 + (size - 1) / 2, size / 2
        _place(surface, middle_j, middle_i, centre)
        reach_sq = 0.0
        for a in (-1, 1):
            for b in (-1, 1):
                _place(surface, middle_j + a * half, middle_i + b * half, corner)
                reach_sq = max(reach_sq, ((corner - centre) ** 2).sum() * OPENING**2)
        for n in range(NODES):
            if leaf:
                _place(surface, j0 + n % LEAF, i0 + n // LEAF, corner)
            else:
                _place(surface, middle_j + half * CHEBYSHEV[n % ORDER], middle_i + half * CHEBYSHEV[n // ORDER], corner)
            for a in range(3):
                points[a, n] = corner[a] - centre[a]
        flat[:] = 0.0
        left = 0
        for c in range(counts[level]):
            k = near[level, c]
            # A spread-out line is as smooth as a thin one that far away.
            if not leaf and distance_sq(rows[k, 0], centre[0], centre[1], centre[2]) + rows[k, 0, CORE_SQ] < reach_sq:
                near[level + 1, left] = k
                left += 1
                continue
            for a in range(3):
                pack(rows[k, a], centre[0], centre[1], centre[2], packed[k, a])
                add_packed(packed[k, a], points[0], points[1], points[2], flat[a], work)
        if level > 0:
            # What the patch around it knows of this one.
            bi, bj = (i0 - i_root) // size % 2, (j0 - j_root) // size % 2
        for a in range(3):
            known = values[level, a]
            for n in range(NODES):
                known[n // ORDER, n % ORDER] = flat[a, n]
            if level > 0:
                down = to_points if leaf else to_nodes
                _sandwich(down[bi], values[level - 1, a], down[bj], known)
            if leaf:
                total[a, i0 : i0 + LEAF, j0 : j0 + LEAF] = known
        if leaf:
            continue
        counts[level + 1] = left
        if left == 0:
            _to_points(values[level], i0, j0, size, total)
            continue
        child = size // 2
        for a in range(2):
            for b in range(2):
                stack[height, 0], stack[height, 1], stack[height, 2] = level + 1, i0 + a * child, j0 + b * child
                height += 1


@numba.njit(cache=True, error_model="numpy")
def _place(surface, j, i, out):
    for a in range(3):
        c = surface[a]
        out[a] = c[0] + c[1] * j + c[2] * i + c[3] * j * j + c[4] * i * j + c[5] * i * i


@numba.njit(cache=True, error_model="numpy")
def _sandwich(rows, values, columns, out):
    """out += rows @ values @ columns.T for small matrices."""
    partial = np.zeros((values.shape[0], len(columns)))
    for i in range(values.shape[0]):
        for k in range(values.shape[1]):
            for j in range(len(columns)):
                partial[i, j] += values[i, k] * columns[j, k]
    for i in range(len(rows)):
        for k in range(values.shape[0]):
            for j in range(len(columns)):
                out[i, j] += rows[i, k] * partial[k, j]


@numba.njit(cache=True, error_model="numpy")
def _to_points(values, i0, j0, size, total):
    """A patch's polynomials at its points."""
    basis = np.ones((size, ORDER))
    for p in range(size):
        x = (2 * p + 1) / size - 1
        for n in range(ORDER):
            for m in range(ORDER):
                if m != n:
                    basis[p, n] *= (x - CHEBYSHEV[m]) / (CHEBYSHEV[n] - CHEBYSHEV[m])
    for a in range(3):
        _sandwich(basis, values[a], basis, total[a, i0 : i0 + size, j0 : j0 + size])
