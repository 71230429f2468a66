"""The correction of free surfaces at points: splines for its smooth part, tables near outcrops.

A plate is the tuple of `PlateField.compiled`: spline coefficients (Y, X, Q + 2), (x, y, step) of their grid, the
rotation foil_from_image, outcrops (O, 4), their tables (O, W, W), and (window, core) in nm. The Q nodes down a column
crowd toward both faces (`depth_place`), where the correction bends most. No coefficients mean no correction.

Axes: C columns, K layers, N panels.
"""

from __future__ import annotations

import numba
import numpy as np

from physics.contrast.slicing import GAUSS_OFFSET
from physics.strain.outcrop import GRID, from_table, place_in_table

# How far outside the foil, in depth steps, the spline may be followed: the layers above and below it.
OVERHANG = 0.7
# Depth steps at a face are 1 + CROWDING times smaller than even ones, in the middle 1 - CROWDING / 2 times.
CROWDING = 1.2


def no_plate() -> tuple[np.ndarray, ...]:
    """What stands for a foil whose surfaces are not relaxed."""
    return (
        np.zeros((0, 0, 0)), np.zeros(3), np.eye(3), np.zeros((0, 4)), np.zeros((0, GRID, GRID)), np.ones(2)
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def depth_place(fraction):
    """Place among the nodes, 0 to 1, of a fraction of the way from the entrance to the exit, straight on outside."""
    f = min(max(fraction, 0.0), 1.0)
    return f + CROWDING * f * (1.0 - f) * (1.0 - 2.0 * f) + (1.0 + CROWDING) * (fraction - f)


def depth_fractions(nodes: int) -> np.ndarray:
    """Where the nodes (Q,) lie, as fractions of the way from the entrance to the exit."""
    # f + c f (1 - f)(1 - 2 f) in f = (1 + x) / 2 about the middle: (1 - c/2) x + (c/2) x^3, rising throughout.
    at, x = np.linspace(-1, 1, nodes), np.linspace(-1, 1, nodes)
    for _ in range(60):
        x -= ((1 - CROWDING / 2) * x + CROWDING / 2 * x**3 - at) / (1 - CROWDING / 2 + 1.5 * CROWDING * x * x)
    return (1 + x) / 2


@numba.njit(cache=True, error_model="numpy")
def window(r, window_nm):
    """1 at the outcrop, 0 from `window_nm` on, and flat enough at both that the rest suits a grid."""
    x = r / window_nm
    if x >= 1.0:
        return 0.0
    x *= x
    x = 1.0 - x * x
    x *= x
    return x * x


@numba.njit(cache=True, error_model="numpy")
def _basis(t, w):
    """The four cubic B-splines over an interval."""
    s = 1.0 - t
    w[0], w[3] = s * s * s / 6.0, t * t * t / 6.0
    w[1] = (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0
    w[2] = 1.0 - w[0] - w[1] - w[3]


@numba.njit(cache=True, error_model="numpy")
def _profile(coefficients, grid, x, y, wx, wy, out):
    """Spline coefficients (Q + 2,) down the column at (x, y)."""
    u, v = (x - grid[0]) / grid[2], (y - grid[1]) / grid[2]
    j = min(max(int(u), 1), coefficients.shape[1] - 3)
    i = min(max(int(v), 1), coefficients.shape[0] - 3)
    _basis(min(max(u - j, 0.0), 1.0), wx)
    _basis(min(max(v - i, 0.0), 1.0), wy)
    out[:] = 0.0
    for a in range(4):
        for b in range(4):
            weight = wy[a] * wx[b]
            line = coefficients[i - 1 + a, j - 1 + b]
            for q in range(out.size):
                out[q] += weight * line[q]


@numba.njit(cache=True, error_model="numpy")
def _down(profile, entrance, exit_, z, w):
    last = profile.size - 3
    u = min(max(depth_place((entrance - z) / (entrance - exit_)) * last, -OVERHANG), last + OVERHANG)
    q = min(max(int(u), 0), last - 1)
    _basis(u - q, w)
    return w[0] * profile[q] + w[1] * profile[q + 1] + w[2] * profile[q + 2] + w[3] * profile[q + 3]


@numba.njit(cache=True, error_model="numpy")
def _near_outcrop(rotation, outcrop, table, reach, x, y, z, wx, wy):
    """Window times H of one outcrop at an image point; `reach` is (window, core)."""
    fx = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z - outcrop[0]
    fy = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z - outcrop[1]
    fz = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z - outcrop[2]
    depth = max(-outcrop[3] * fz, 0.0)
    if fx * fx + fy * fy + depth * depth >= reach[0] * reach[0]:
        return 0.0
    r, i, j = place_in_table(fx, fy, depth, wx, wy)
    return window(r, reach[0]) * from_table(table, i, j, wx, wy) / max(r, reach[1])


@numba.njit(cache=True, error_model="numpy")
def add_plate_points(plate, column, z, total):
    """Add the correction to `total` (P,) at heights z (P,) of one column (x, y, entrance, exit, ...), in double."""
    coefficients, grid, rotation, outcrops, tables, reach = plate
    entrance, exit_ = column[2], column[3]
    if coefficients.shape[2] == 0 or not entrance > exit_:
        return
    wx, wy = np.empty(4), np.empty(4)
    profile = np.empty(coefficients.shape[2])
    _profile(coefficients, grid, column[0], column[1], wx, wy, profile)
    for i in range(z.size):
        total[i] += _down(profile, entrance, exit_, z[i], wx)
    for o in range(len(outcrops)):
        for i in range(z.size):
            total[i] += _near_outcrop(rotation, outcrops[o], tables[o], reach, column[0], column[1], z[i], wx, wy)


@numba.njit(cache=True, error_model="numpy")
def add_plate_field(plate, columns, box, top, layer_nm, beta, entries, panels, heights):
    """Add the correction to a tile: beta (K, C) in the middles of its layers, columns 1 and 2 of panels (N, 3).

    `columns`, `top` and `heights` are relative to the centre box[:3]; see `tiles` for entries and panels.
    """
    coefficients, grid, rotation, outcrops, tables, reach = plate
    if coefficients.shape[2] == 0:
        return
    depth, count = beta.shape
    wx, wy = np.empty(4), np.empty(4)
    profiles = np.zeros((count, coefficients.shape[2]))
    filled, uniform = 0, True
    entrance, exit_ = 0.0, 0.0
    for c in range(count):
        if not columns[c, 2] > columns[c, 3]:
            uniform = False
            continue
        _profile(coefficients, grid, columns[c, 0] + box[0], columns[c, 1] + box[1], wx, wy, profiles[c])
        if filled == 0:
            entrance, exit_ = columns[c, 2], columns[c, 3]
        uniform = uniform and columns[c, 2] == entrance and columns[c, 3] == exit_
        filled += 1
    if filled == 0:
        return
    across = np.empty((coefficients.shape[2], count), np.float32)
    for c in range(count):
        for q in range(coefficients.shape[2]):
            across[q, c] = profiles[c, q]
    for k in range(depth):
        z = top - (k + 0.5) * layer_nm
        if uniform:
            _add_layer(across, entrance, exit_, z, beta[k], wx)
        else:
            _add_uneven_layer(across, columns, z, beta[k])
    for e in range(len(entries)):
        c = entries[e, 1]
        if columns[c, 2] > columns[c, 3]:
            for n in range(entries[e, 2], entries[e, 2] + entries[e, 3]):
                for a in range(2):
                    z = heights[n] + (1 - 2 * a) * GAUSS_OFFSET * panels[n, 0]
                    panels[n, 1 + a] += np.float32(_down(profiles[c], columns[c, 2], columns[c, 3], z, wx))
    if len(outcrops):
        _add_outcrops(plate, columns, box, top, layer_nm, beta, entries, panels, heights, wx, wy)


@numba.njit(cache=True, error_model="numpy")
def _add_layer(across, entrance, exit_, z, total, w):
    last = across.shape[0] - 3
    u = min(max(depth_place((entrance - z) / (entrance - exit_)) * last, -OVERHANG), last + OVERHANG)
    q = min(max(int(u), 0), last - 1)
    _basis(u - q, w)
    w0, w1, w2, w3 = np.float32(w[0]), np.float32(w[1]), np.float32(w[2]), np.float32(w[3])
    a, b, c, d = across[q], across[q + 1], across[q + 2], across[q + 3]
    for i in range(total.size):
        total[i] += w0 * a[i] + w1 * b[i] + w2 * c[i] + w3 * d[i]


@numba.njit(cache=True, error_model="numpy")
def _add_uneven_layer(across, columns, z, total):
    last = np.float32(across.shape[0] - 3)
    one, third, sixth = np.float32(1), np.float32(2 / 3), np.float32(1 / 6)
    low, high = np.float32(-OVERHANG), last + np.float32(OVERHANG)
    for i in range(total.size):
        extent = columns[i, 2] - columns[i, 3]
        if not extent > 0.0:
            continue
        u = min(max(np.float32(depth_place((columns[i, 2] - z) / extent)) * last, low), high)
        q = min(max(int(u), 0), across.shape[0] - 4)
        t = u - np.float32(q)
        s = one - t
        w0, w3 = s * s * s * sixth, t * t * t * sixth
        w1 = third - t * t * (one - t * np.float32(0.5))
        total[i] += w0 * across[q, i] + w1 * across[q + 1, i] + (one - w0 - w1 - w3) * across[q + 2, i] + w3 * across[q + 3, i]


@numba.njit(cache=True, error_model="numpy")
def _add_outcrops(plate, columns, box, top, layer_nm, beta, entries, panels, heights, wx, wy):
    coefficients, grid, rotation, outcrops, tables, reach = plate
    depth, count = beta.shape
    touched = np.zeros(count, np.bool_)
    for o in range(len(outcrops)):
        # Place of the outcrop relative to the tile's centre, in the image frame.
        px = rotation[0, 0] * outcrops[o, 0] + rotation[1, 0] * outcrops[o, 1] + rotation[2, 0] * outcrops[o, 2] - box[0]
        py = rotation[0, 1] * outcrops[o, 0] + rotation[1, 1] * outcrops[o, 1] + rotation[2, 1] * outcrops[o, 2] - box[1]
        pz = rotation[0, 2] * outcrops[o, 0] + rotation[1, 2] * outcrops[o, 1] + rotation[2, 2] * outcrops[o, 2] - box[2]
        if abs(px) > box[3] + reach[0] or abs(py) > box[4] + reach[0]:
            continue
        touched[:] = False
        for c in range(count):
            room = reach[0] ** 2 - (columns[c, 0] - px) ** 2 - (columns[c, 1] - py) ** 2
            if room <= 0.0 or not columns[c, 2] > columns[c, 3]:
                continue
            touched[c] = True
            room = np.sqrt(room)
            first = max(int((top - pz - room) / layer_nm - 0.5), 0)
            last = min(int((top - pz + room) / layer_nm + 0.5) + 1, depth)
            x, y = columns[c, 0] + box[0], columns[c, 1] + box[1]
            for k in range(first, last):
                z = top - (k + 0.5) * layer_nm
                beta[k, c] += np.float32(_near_outcrop(rotation, outcrops[o], tables[o], reach, x, y, z + box[2], wx, wy))
        for e in range(len(entries)):
            c = entries[e, 1]
            if not touched[c]:
                continue
            x, y = columns[c, 0] + box[0], columns[c, 1] + box[1]
            for n in range(entries[e, 2], entries[e, 2] + entries[e, 3]):
                if abs(heights[n] - pz) > reach[0] + panels[n, 0]:
                    continue
                for a in range(2):
                    z = heights[n] + (1 - 2 * a) * GAUSS_OFFSET * panels[n, 0] + box[2]
                    value = _near_outcrop(rotation, outcrops[o], tables[o], reach, x, y, z, wx, wy)
                    panels[n, 1 + a] += np.float32(value)
