"""The correction of free surfaces at points: splines for its smooth part, tables near outcrops (`plate_tiles` has tiles).

A plate is the tuple of `PlateField.compiled`: spline coefficients (Y, X, Q + 2), (x, y, step) of their grid, the
rotation foil_from_image, outcrops (O, 5): X, Y, Z in the foil frame, the side and the window in nm, their tables (O, W, W), and
the core in nm. The Q nodes down a column crowd toward both faces (`depth_place`), where the correction bends most. No coefficients mean no correction.
"""

from __future__ import annotations

import numba
import numpy as np

from physics.strain.outcrop import GRID, from_table, place_in_table

# How far outside the foil, in depth steps, the spline may be followed: the layers above and below it.
OVERHANG = 0.7
# Depth steps at a face are 1 + CROWDING times smaller than even ones, in the middle 1 - CROWDING / 2 times.
CROWDING = 1.2


def no_plate() -> tuple[np.ndarray, ...]:
    """What stands for a foil whose surfaces are not relaxed."""
    return (
        np.zeros((0, 0, 0)), np.zeros(3), np.eye(3), np.zeros((0, 5)), np.zeros((0, GRID, GRID)), 1.0
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
def basis(t, w):
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
    basis(min(max(u - j, 0.0), 1.0), wx)
    basis(min(max(v - i, 0.0), 1.0), wy)
    out[:] = 0.0
    for a in range(4):
        for b in range(4):
            weight = wy[a] * wx[b]
            line = coefficients[i - 1 + a, j - 1 + b]
            for q in range(out.size):
                out[q] += weight * line[q]


@numba.njit(cache=True, error_model="numpy")
def place_of(entrance, exit_, z, coefficients):
    """The first of the four of a column's `coefficients` that a height lies among, and its place in their interval."""
    last = coefficients - 3
    u = min(max(depth_place((entrance - z) / (entrance - exit_)) * last, -OVERHANG), last + OVERHANG)
    q = min(max(int(u), 0), last - 1)
    return q, u - q


@numba.njit(cache=True, error_model="numpy")
def _down(profile, entrance, exit_, z, w):
    q, t = place_of(entrance, exit_, z, profile.size)
    basis(t, w)
    return w[0] * profile[q] + w[1] * profile[q + 1] + w[2] * profile[q + 2] + w[3] * profile[q + 3]


@numba.njit(cache=True, error_model="numpy")
def near_outcrop(rotation, outcrop, table, core, x, y, z, wx, wy):
    """Window times H of one outcrop at an image point."""
    fx = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z - outcrop[0]
    fy = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z - outcrop[1]
    fz = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z - outcrop[2]
    depth = max(-outcrop[3] * fz, 0.0)
    if fx * fx + fy * fy + depth * depth >= outcrop[4] * outcrop[4]:
        return 0.0
    r, i, j = place_in_table(fx, fy, depth, wx, wy)
    return window(r, outcrop[4]) * from_table(table, i, j, wx, wy) / max(r, core)


@numba.njit(cache=True, error_model="numpy")
def add_plate_points(plate, column, z, total):
    """Add the correction to `total` (P,) at heights z (P,) of one column (x, y, entrance, exit, ...), in double."""
    coefficients, grid, rotation, outcrops, tables, core = plate
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
            total[i] += near_outcrop(rotation, outcrops[o], tables[o], core, column[0], column[1], z[i], wx, wy)
