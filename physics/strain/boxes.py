"""The field of many segments on a grid, by boxes within boxes.

In a box of half-diagonal r the field of a segment at distance D > r from its centre is smooth: it is
evaluated at ORDER^3 Chebyshev nodes, and the nodes' polynomial is handed down to smaller boxes, in the end to
the points. Interpolation of a function with a singularity at D converges as rho^-ORDER (Trefethen,
Approximation Theory and Approximation Practice, 2013, thm 8.2), rho growing with D/r; `far_distance_nm` is
the distance from which the error stays under a tolerance. Nearer segments are left to smaller boxes, and in
the smallest are evaluated at every point. There is no cut-off and no periodicity.

Fields are float32; positions relative to a segment are formed in float64 at each box's centre.

Axes: S segments, P points; boxes are (x, y, z) ranges.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from physics.parallel import over_threads
from physics.strain.anisotropic_kernel import WORK, add_packed
from physics.strain.isotropic import LENGTH, N1, N2, START, WIDTH, T, row_value

ORDER = 5
NODE_COUNT = ORDER**3
# Length of a packed row of `isotropic`; those of `anisotropic` are longer.
PACKED = WIDTH
CHEBYSHEV = np.cos(math.pi * (np.arange(ORDER) + 0.5) / ORDER)
TOLERANCE_AT_NM = 10.0
# A box of columns in one line or point still needs sides to place nodes on.
MINIMUM_HALF_NM = 0.25
# Row j of MONOMIAL_FROM_NODES takes values at the nodes to the coefficient of x^j.
MONOMIAL_FROM_NODES = np.linalg.inv(np.vander(CHEBYSHEV, increasing=True))

_ONE, _TWO = np.float32(1.0), np.float32(2.0)


@numba.njit(cache=True, error_model="numpy")
def distance_sq(row, x, y, z):
    """Squared distance in nm^2 from a point to the segment of a row of coefficients."""
    dx, dy, dz = x - row[START], y - row[START + 1], z - row[START + 2]
    along = row[T] * dx + row[T + 1] * dy + row[T + 2] * dz
    rho1 = row[N1] * dx + row[N1 + 1] * dy + row[N1 + 2] * dz
    rho2 = row[N2] * dx + row[N2 + 1] * dy + row[N2 + 2] * dz
    beyond = max(-along, 0.0, along - row[LENGTH])
    return rho1 * rho1 + rho2 * rho2 + beyond * beyond


@numba.njit(cache=True, error_model="numpy")
def packed_distance_sq(p, x, y, z):
    """`distance_sq` for a packed row, (x, y, z) relative to where it was packed."""
    s1 = p[0] + p[1] * x + p[2] * y + p[3] * z
    rho1 = p[4] + p[5] * x + p[6] * y + p[7] * z
    rho2 = p[8] + p[9] * x + p[10] * y + p[11] * z
    beyond = max(s1, 0.0, -(s1 + p[12]))
    return rho1 * rho1 + rho2 * rho2 + beyond * beyond


@numba.njit(cache=True, error_model="numpy")
def pack(row, x, y, z, packed):
    """Write a row as float32 for points given relative to (x, y, z).

    A packed row has three affine functions of the position (s, rho1, rho2) in place of the geometry, then LENGTH
    onward as it was. Rows of `isotropic` are WIDTH long, those of `anisotropic` longer.
    """
    dx, dy, dz = x - row[START], y - row[START + 1], z - row[START + 2]
    for block, axis in ((0, T), (4, N1), (8, N2)):
        sign = -1.0 if axis == T else 1.0
        packed[block] = sign * (row[axis] * dx + row[axis + 1] * dy + row[axis + 2] * dz)
        packed[block + 1] = sign * row[axis]
        packed[block + 2] = sign * row[axis + 1]
        packed[block + 3] = sign * row[axis + 2]
    for i in range(LENGTH, row.size):
        packed[i] = row[i]


@numba.njit(cache=True, error_model="numpy")
def work_space(row_length):
    """Room for `add_segment` on rows of that length."""
    return np.empty(WORK if row_length > WIDTH else 0, np.float32)


@numba.njit(cache=True, error_model="numpy")
def add_segment(p, x, y, z, total, work):
    """Add a packed segment's field to `total` (P,) at (x, y, z) relative to the box's centre, all float32."""
    if p.size > WIDTH:
        add_packed(p, x, y, z, total, work)
    else:
        add_points(p, x, y, z, total)


@numba.njit(cache=True, error_model="numpy")
def add_points(p, x, y, z, total):
    """`add_segment` for an isotropic row."""
    s0, sx, sy, sz = p[0], p[1], p[2], p[3]
    a0, ax, ay, az = p[4], p[5], p[6], p[7]
    b0, bx, by, bz = p[8], p[9], p[10], p[11]
    length, core_sq, e1, e2, na1, na2, p1, p2 = p[12], p[13], p[14], p[15], p[16], p[17], p[18], p[19]
    q1, q2, f1, c1, c2, h1, h2 = p[20], p[21], p[22], p[23], p[24], p[25], p[26]
    for i in range(total.size):
        s1 = s0 + sx * x[i] + sy * y[i] + sz * z[i]
        rho1 = a0 + ax * x[i] + ay * y[i] + az * z[i]
        rho2 = b0 + bx * x[i] + by * y[i] + bz * z[i]
        total[i] += row_value(
            s1, s1 + length, rho1, rho2, core_sq, e1, e2, na1, na2, p1, p2, q1, q2, f1, c1, c2, h1, h2, _TWO, _ONE
        )


@numba.njit(cache=True, error_model="numpy")
def add_planes(packed, rows, x, y, z, total):
    """`add_points` of some `rows` of `packed` for points (x, y) (P,) of one height z; isotropic rows only."""
    for k in rows:
        _add_plane(packed[k], x, y, z, total)


@numba.njit(cache=True, error_model="numpy")
def _add_plane(p, x, y, z, total):
    sx, sy, ax, ay, bx, by = p[1], p[2], p[5], p[6], p[9], p[10]
    s0, a0, b0 = p[0] + p[3] * z, p[4] + p[7] * z, p[8] + p[11] * z
    length, core_sq, e1, e2, na1, na2, p1, p2 = p[12], p[13], p[14], p[15], p[16], p[17], p[18], p[19]
    q1, q2, f1, c1, c2, h1, h2 = p[20], p[21], p[22], p[23], p[24], p[25], p[26]
    for i in range(total.size):
        s1 = s0 + sx * x[i] + sy * y[i]
        rho1 = a0 + ax * x[i] + ay * y[i]
        rho2 = b0 + bx * x[i] + by * y[i]
        total[i] += row_value(
            s1, s1 + length, rho1, rho2, core_sq, e1, e2, na1, na2, p1, p2, q1, q2, f1, c1, c2, h1, h2, _TWO, _ONE
        )


@numba.njit(cache=True, error_model="numpy")
def lower_to_distances_sq(packed, rows, x, y, z, nearest_sq):
    """Fill `nearest_sq` (P,) with the least squared distance to some `rows` of `packed` of points (x, y) of one height z."""
    nearest_sq[:] = np.float32(1e30)
    for k in rows:
        _lower_to_distance_sq(packed[k], x, y, z, nearest_sq)


@numba.njit(cache=True, error_model="numpy")
def _lower_to_distance_sq(p, x, y, z, nearest_sq):
    sx, sy, ax, ay, bx, by, length = p[1], p[2], p[5], p[6], p[9], p[10], p[12]
    s0, a0, b0 = p[0] + p[3] * z, p[4] + p[7] * z, p[8] + p[11] * z
    for i in range(nearest_sq.size):
        s1 = s0 + sx * x[i] + sy * y[i]
        rho1 = a0 + ax * x[i] + ay * y[i]
        rho2 = b0 + bx * x[i] + by * y[i]
        beyond = max(s1, -(s1 + length))
        beyond = beyond if beyond > np.float32(0.0) else np.float32(0.0)
        d = rho1 * rho1 + rho2 * rho2 + beyond * beyond
        nearest_sq[i] = d if d < nearest_sq[i] else nearest_sq[i]


@numba.njit(cache=True, error_model="numpy")
def lagrange(x, nodes, out):
    """Values (N,) at x of the polynomials that are 1 at one of the nodes (N,) and 0 at the others."""
    for j in range(len(nodes)):
        value = 1.0
        for k in range(len(nodes)):
            if k != j:
                value *= (x - nodes[k]) / (nodes[j] - nodes[k])
        out[j] = value


@numba.njit(cache=True, error_model="numpy")
def hand_down(parent, parent_box, box, child):
    """Values (NODE_COUNT,) at a box's nodes of the polynomial through its parent's; nodes run z, y, x (fastest)."""
    basis = np.empty((3, ORDER, ORDER), np.float32)
    row = np.empty(ORDER)
    for axis in range(3):
        for i in range(ORDER):
            lagrange((box[axis] + box[axis + 3] * CHEBYSHEV[i] - parent_box[axis]) / parent_box[axis + 3], CHEBYSHEV, row)
            for j in range(ORDER):
                basis[axis, i, j] = row[j]
    plane = ORDER * ORDER
    along_x, along_y = np.empty(NODE_COUNT, np.float32), np.empty(NODE_COUNT, np.float32)
    for a in range(plane):
        for i in range(ORDER):
            value = np.float32(0.0)
            for j in range(ORDER):
                value += basis[0, i, j] * parent[a * ORDER + j]
            along_x[a * ORDER + i] = value
    for a in range(ORDER):
        for i in range(ORDER):
            for b in range(ORDER):
                value = np.float32(0.0)
                for j in range(ORDER):
                    value += basis[1, i, j] * along_x[a * plane + j * ORDER + b]
                along_y[a * plane + i * ORDER + b] = value
    for i in range(ORDER):
        for b in range(plane):
            value = np.float32(0.0)
            for j in range(ORDER):
                value += basis[2, i, j] * along_y[j * plane + b]
            child[i * plane + b] = value


@numba.njit(cache=True, error_model="numpy")
def node_positions(box, nodes):
    """Positions (3, NODE_COUNT) of a box's nodes."""
    i = 0
    for kz in range(ORDER):
        for ky in range(ORDER):
            for kx in range(ORDER):
                nodes[0, i] = box[0] + box[3] * CHEBYSHEV[kx]
                nodes[1, i] = box[1] + box[4] * CHEBYSHEV[ky]
                nodes[2, i] = box[2] + box[5] * CHEBYSHEV[kz]
                i += 1


@numba.njit(cache=True, error_model="numpy")
def column_polynomials(values, box, x, y, coefficients):
    """Coefficients (ORDER, C) of the powers of (z - z_centre)/half_z down columns (x, y) of a box from its node values."""
    plane = ORDER * ORDER
    powers = np.zeros((ORDER, plane), np.float32)
    for power in range(ORDER):
        for level in range(ORDER):
            for a in range(plane):
                powers[power, a] += np.float32(MONOMIAL_FROM_NODES[power, level]) * values[level * plane + a]
    x_basis, y_basis = np.empty((ORDER, x.size), np.float32), np.empty((ORDER, x.size), np.float32)
    _lagrange_columns(x, box[0], box[3], x_basis)
    _lagrange_columns(y, box[1], box[4], y_basis)
    for power in range(ORDER):
        out = coefficients[power]
        for i in range(x.size):
            out[i] = np.float32(0.0)
        for a in range(ORDER):
            p = powers[power, a * ORDER : (a + 1) * ORDER]
            p0, p1, p2, p3, p4 = p[0], p[1], p[2], p[3], p[4]
            weight = y_basis[a]
            for i in range(x.size):
                out[i] += weight[i] * (
                    p0 * x_basis[0, i] + p1 * x_basis[1, i] + p2 * x_basis[2, i] + p3 * x_basis[3, i] + p4 * x_basis[4, i]
                )


@numba.njit(cache=True, error_model="numpy")
def _lagrange_columns(x, centre, half, basis):
    for j in range(ORDER):
        row = basis[j]
        for i in range(x.size):
            row[i] = _ONE
        for k in range(ORDER):
            if k != j:
                slope = np.float32(1 / (half * (CHEBYSHEV[j] - CHEBYSHEV[k])))
                shift = np.float32(-(centre / half + CHEBYSHEV[k]) / (CHEBYSHEV[j] - CHEBYSHEV[k]))
                for i in range(x.size):
                    row[i] *= slope * x[i] + shift


@numba.njit(cache=True, error_model="numpy")
def far_distance_nm(half_diagonal_nm, strength, tolerance_inv_nm):
    """Distance from a box's centre beyond which a segment's polynomial errs by less than the tolerance (rms).

    `strength` is |g||b|. The error relative to the field of a line, strength / (2 pi D), was measured over
    random segments and boxes of sides 1:1:1 to 2:2:1 to be 0.03 (r/D)^6.5 for ORDER = 5. The tolerance holds at
    r = TOLERANCE_AT_NM and falls as 1/r^2: a larger box errs over a longer part of a column and for more segments.
    """
    r = half_diagonal_nm
    tolerance = tolerance_inv_nm * (TOLERANCE_AT_NM / r) ** 2
    distance = (0.03 * strength * r**6.5 / (2 * math.pi * tolerance)) ** (1 / 7.5)
    return max(distance, 1.1 * r)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _one_level(
    begin, end, rows, boxes, parent_of, parent_boxes, parent_values, parent_near, parent_count, strength, tolerance,
    values, near, near_count,
):  # fmt: skip
    """Node values and near segments of the boxes [begin, end) of a level from those of their parents.

    `parent_of` is -1 for the box that has none: there all segments are candidates.
    """
    for i in range(begin, end):
        near_count[i] = _one_box(
            i, rows, boxes, parent_of[i], parent_boxes, parent_values, parent_near, parent_count, strength, tolerance,
            values[i], near[i],
        )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def _one_box(
    i, rows, boxes, parent, parent_boxes, parent_values, parent_near, parent_count, strength, tolerance, values, near
):  # fmt: skip
    x, y, z = boxes[i, 0], boxes[i, 1], boxes[i, 2]
    own = boxes[i].copy()
    own[0], own[1], own[2] = 0.0, 0.0, 0.0
    nodes, packed = np.empty((3, NODE_COUNT), np.float32), np.empty(rows.shape[1], np.float32)
    work = work_space(rows.shape[1])
    node_positions(own, nodes)
    reach = far_distance_nm(math.sqrt(own[3] ** 2 + own[4] ** 2 + own[5] ** 2), strength, tolerance)
    if parent >= 0:
        hand_down(parent_values[parent], parent_boxes[parent], boxes[i], values)
    left = 0
    for c in range(parent_count[parent] if parent >= 0 else len(rows)):
        k = parent_near[parent, c] if parent >= 0 else c
        if distance_sq(rows[k], x, y, z) < reach * reach:
            near[left] = k
            left += 1
        else:
            pack(rows[k], x, y, z, packed)
            add_segment(packed, nodes[0], nodes[1], nodes[2], values, work)
    return left


def descend_to_tiles(
    rows: np.ndarray, boxes: np.ndarray, cells: np.ndarray, strength: float, tolerance_inv_nm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Far field at the nodes and near segments of every tile.

    `boxes` (B, 6) are the tiles' centres and half-sides in nm, `cells` (B, 2) their whole-numbered places in
    x and y. Tiles are gathered two by two into ever larger boxes; each box evaluates the segments that its
    parent left and that are far from it. Returns node values (B, NODE_COUNT), the numbers of near segments
    (B, S) and how many there are (B,).
    """
    levels = [(boxes, np.full(len(boxes), -1))]
    while len(levels[-1][0]) > 1:
        cells, parent_of = np.unique(cells >> 1, axis=0, return_inverse=True)
        children = levels[-1][0]
        parent_of = parent_of.reshape(-1)
        low, high = np.full((len(cells), 3), np.inf), np.full((len(cells), 3), -np.inf)
        np.minimum.at(low, parent_of, children[:, :3] - children[:, 3:])
        np.maximum.at(high, parent_of, children[:, :3] + children[:, 3:])
        levels[-1] = (children, parent_of)
        levels.append((np.concatenate([(low + high) / 2, (high - low) / 2], axis=1), np.full(len(cells), -1)))
    no_values, no_near = np.zeros((0, NODE_COUNT), np.float32), np.zeros((0, len(rows)), np.int32)
    state = (np.zeros((0, 6)), no_values, no_near, np.zeros(0, np.int64))
    for boxes, parent_of in reversed(levels):
        values = np.zeros((len(boxes), NODE_COUNT), np.float32)
        near, near_count = np.empty((len(boxes), len(rows)), np.int32), np.empty(len(boxes), np.int64)
        over_threads(
            _one_level, len(boxes), rows, boxes, parent_of, *state, strength, tolerance_inv_nm, values, near, near_count
        )
        state = (boxes, values, near, near_count)
    return state[1:]
