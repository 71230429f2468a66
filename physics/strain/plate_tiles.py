"""The correction of free surfaces in the layers and panels of a tile, in float32; `plate_field` has it at points.

A tile's columns are neighbours in Morton order: those of a block are so near that a layer lies in one interval of
their splines, or in two, each of which is passed by all of them without a branch.

Axes: C columns, K layers, N panels, Q nodes of the splines down a column.
"""

from __future__ import annotations

import numba
import numpy as np

from physics.contrast.slicing import GAUSS_OFFSET
from physics.strain.plate_field import CROWDING, OVERHANG, basis, near_outcrop, place_of

BLOCK = 64
# So many columns too many keep rows from starting at a power of two, where the values of one column would share cache lines.
SPARE = 16
_ZERO, _ONE, _HALF, _THIRD, _SIXTH = np.float32(0), np.float32(1), np.float32(1 / 2), np.float32(2 / 3), np.float32(1 / 6)
_LOW, _CROWDING = np.float32(-OVERHANG), np.float32(CROWDING)


@numba.njit(cache=True, error_model="numpy")
def add_plate_field(plate, columns, box, top, layer_nm, beta, entries, panels, heights):
    """Add the correction to a tile: beta (K, C) in the middles of its layers, columns 1 and 2 of panels (N, 3).

    `columns`, `top` and `heights` are relative to the centre box[:3]; see `tiles` for entries and panels.
    """
    if plate[0].shape[2] == 0:
        return
    depth, count = beta.shape
    across = np.zeros((plate[0].shape[2], count + SPARE), np.float32)
    entrance, per_nm = np.zeros(count, np.float32), np.zeros(count, np.float32)
    filled = _profiles(plate[0], plate[1], columns, box, across, entrance, per_nm)
    if filled == 0:
        return
    _like_filled(entrance, per_nm)
    _add_layers(across, entrance, per_nm, top, layer_nm, beta)
    wx, wy = np.empty(4), np.empty(4)
    for e in range(len(entries)):
        c = entries[e, 1]
        if columns[c, 2] > columns[c, 3]:
            for n in range(entries[e, 2], entries[e, 2] + entries[e, 3]):
                for a in range(2):
                    z = heights[n] + (1 - 2 * a) * GAUSS_OFFSET * panels[n, 0]
                    q, t = place_of(columns[c, 2], columns[c, 3], z, across.shape[0])
                    basis(t, wx)
                    panels[n, 1 + a] += np.float32(
                        wx[0] * across[q, c] + wx[1] * across[q + 1, c] + wx[2] * across[q + 2, c] + wx[3] * across[q + 3, c]
                    )
    if len(plate[3]):
        _add_outcrops(plate, columns, box, top, layer_nm, beta, entries, panels, heights, wx, wy)


@numba.njit(cache=True, error_model="numpy")
def _profiles(coefficients, grid, columns, box, across, entrance, per_nm):
    """Spline coefficients (Q + 2, C) down the columns, their entrances and 1/thickness (C,), 0 where there is no crystal.

    Returns the number of columns with crystal.
    """
    wx, wy, weights = np.empty(4), np.empty(4), np.empty(16)
    nodes = coefficients.shape[2]
    flat, down = coefficients.reshape(-1), coefficients.shape[1] * nodes
    own = np.empty(nodes, np.float32)
    filled = 0
    for c in range(len(columns)):
        if not columns[c, 2] > columns[c, 3]:
            continue
        filled += 1
        entrance[c], per_nm[c] = columns[c, 2], 1 / (columns[c, 2] - columns[c, 3])
        u, v = (columns[c, 0] + box[0] - grid[0]) / grid[2], (columns[c, 1] + box[1] - grid[1]) / grid[2]
        j = min(max(int(u), 1), coefficients.shape[1] - 3)
        i = min(max(int(v), 1), coefficients.shape[0] - 3)
        basis(min(max(u - j, 0.0), 1.0), wx)
        basis(min(max(v - i, 0.0), 1.0), wy)
        for a in range(4):
            for b in range(4):
                weights[4 * a + b] = wy[a] * wx[b]
        _mean_of_sixteen(flat, (i - 1) * down + (j - 1) * nodes, down, nodes, weights, own)
        for q in range(nodes):
            across[q, c] = own[q]
    return filled


@numba.njit(cache=True, error_model="numpy")
def _mean_of_sixteen(flat, first, down, nodes, w, out):
    """Weighted mean of the rows of `nodes` values at four by four neighbours in a grid.

    Unsigned places: numba would test signed ones for counting from the end, and not use vectors.
    """
    p0, one = np.uint64(first), np.uint64(nodes)
    p1, p2, p3 = p0 + np.uint64(down), p0 + np.uint64(2 * down), p0 + np.uint64(3 * down)
    two, three = one + one, one + one + one
    w00, w01, w02, w03, w10, w11, w12, w13 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
    w20, w21, w22, w23, w30, w31, w32, w33 = w[8], w[9], w[10], w[11], w[12], w[13], w[14], w[15]
    for q in range(np.uint64(nodes)):
        a = w00 * flat[p0 + q] + w01 * flat[p0 + one + q] + w02 * flat[p0 + two + q] + w03 * flat[p0 + three + q]
        b = w10 * flat[p1 + q] + w11 * flat[p1 + one + q] + w12 * flat[p1 + two + q] + w13 * flat[p1 + three + q]
        c = w20 * flat[p2 + q] + w21 * flat[p2 + one + q] + w22 * flat[p2 + two + q] + w23 * flat[p2 + three + q]
        d = w30 * flat[p3 + q] + w31 * flat[p3 + one + q] + w32 * flat[p3 + two + q] + w33 * flat[p3 + three + q]
        out[q] = (a + b) + (c + d)


@numba.njit(cache=True, error_model="numpy")
def _like_filled(entrance, per_nm):
    """Give columns without crystal, whose coefficients are 0, the depth of one that has some: a block stays in few intervals."""
    known = -1
    for i in range(per_nm.size):
        if per_nm[i] > _ZERO:
            known = i
            break
    if known >= 0:
        for i in range(per_nm.size):
            if not per_nm[i] > _ZERO:
                entrance[i], per_nm[i] = entrance[known], per_nm[known]


@numba.njit(cache=True, error_model="numpy")
def _add_layers(across, entrance, per_nm, top, layer_nm, beta):
    """Add to `beta` (K, C). Places are unsigned, see `_mean_of_sixteen`; no slices, which numba counts references to."""
    place, interval = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32)
    last = across.shape[0] - 3
    scale, high, most = np.float32(last), np.float32(last) + np.float32(OVERHANG), np.int32(last - 1)
    for begin in range(0, entrance.size, BLOCK):
        first, count = np.uint64(begin), np.uint64(min(BLOCK, entrance.size - begin))
        for k in range(np.uint64(beta.shape[0])):
            z = np.float32(top - (k + 0.5) * layer_nm)
            lowest, highest = most, np.int32(0)
            for i in range(count):
                fraction = (entrance[first + i] - z) * per_nm[first + i]
                f = fraction if fraction > _ZERO else _ZERO
                f = f if f < _ONE else _ONE
                u = scale * (f + _CROWDING * f * (_ONE - f) * (_ONE - f - f) + (_ONE + _CROWDING) * (fraction - f))
                u = u if u > _LOW else _LOW
                u = u if u < high else high
                q = np.int32(u)
                q = q if q < most else most
                place[i], interval[i] = u, q
                lowest = q if q < lowest else lowest
                highest = q if q > highest else highest
            for q in range(lowest, highest + 1):
                a, b, c, d = np.uint64(q), np.uint64(q + 1), np.uint64(q + 2), np.uint64(q + 3)
                start, here = np.float32(q), np.int32(q)
                for i in range(count):
                    t = place[i] - start
                    s = _ONE - t
                    w0, w3 = s * s * s * _SIXTH, t * t * t * _SIXTH
                    w1 = _THIRD - t * t * (_ONE - t * _HALF)
                    value = (w0 * across[a, first + i] + w1 * across[b, first + i]
                             + (_ONE - w0 - w1 - w3) * across[c, first + i] + w3 * across[d, first + i])  # fmt: skip
                    beta[k, first + i] += value if interval[i] == here else _ZERO


@numba.njit(cache=True, error_model="numpy")
def _add_outcrops(plate, columns, box, top, layer_nm, beta, entries, panels, heights, wx, wy):
    _, _, rotation, outcrops, tables, core = plate
    depth, count = beta.shape
    touched = np.zeros(count, np.bool_)
    for o in range(len(outcrops)):
        # Place of the outcrop relative to the tile's centre, in the image frame.
        px = rotation[0, 0] * outcrops[o, 0] + rotation[1, 0] * outcrops[o, 1] + rotation[2, 0] * outcrops[o, 2] - box[0]
        py = rotation[0, 1] * outcrops[o, 0] + rotation[1, 1] * outcrops[o, 1] + rotation[2, 1] * outcrops[o, 2] - box[1]
        pz = rotation[0, 2] * outcrops[o, 0] + rotation[1, 2] * outcrops[o, 1] + rotation[2, 2] * outcrops[o, 2] - box[2]
        reach = outcrops[o, 4]
        if abs(px) > box[3] + reach or abs(py) > box[4] + reach:
            continue
        touched[:] = False
        for c in range(count):
            room = reach**2 - (columns[c, 0] - px) ** 2 - (columns[c, 1] - py) ** 2
            if room <= 0.0 or not columns[c, 2] > columns[c, 3]:
                continue
            touched[c] = True
            room = np.sqrt(room)
            first = max(int((top - pz - room) / layer_nm - 0.5), 0)
            last = min(int((top - pz + room) / layer_nm + 0.5) + 1, depth)
            x, y = columns[c, 0] + box[0], columns[c, 1] + box[1]
            for k in range(first, last):
                z = top - (k + 0.5) * layer_nm
                beta[k, c] += np.float32(near_outcrop(rotation, outcrops[o], tables[o], core, x, y, z + box[2], wx, wy))
        for e in range(len(entries)):
            c = entries[e, 1]
            if not touched[c]:
                continue
            x, y = columns[c, 0] + box[0], columns[c, 1] + box[1]
            for n in range(entries[e, 2], entries[e, 2] + entries[e, 3]):
                if abs(heights[n] - pz) > reach + panels[n, 0]:
                    continue
                for a in range(2):
                    z = heights[n] + (1 - 2 * a) * GAUSS_OFFSET * panels[n, 0] + box[2]
                    value = near_outcrop(rotation, outcrops[o], tables[o], core, x, y, z, wx, wy)
                    panels[n, 1 + a] += np.float32(value)
