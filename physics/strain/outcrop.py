"""What a free surface adds to the field of a line where it leaves the foil.

Near an outcrop the tractions of a straight line (kinked there, where its continuation outside takes another
direction) are tau(psi)/r on the face, and the correction in the half-space is homogeneous of degree -1. In two-
dimensional Fourier space the tractions are tau^(theta)/k; with responses (r0 + kd r1) exp(-kd) (`plate_modes`)
the integral over k is elementary, and over the harmonics c_m of c(theta) = r.tau^ it leaves

    -1/(2 pi R) sum_m i^|m| s^|m| e^{i m psi} [c0_m + (zeta^2 + |m| zeta) c1_m],
    s = (R - d)/rho, zeta = d/R,  since  int e^{-kd} J_m(k rho) dk = ((R - d)/rho)^m / R

(Gradshteyn & Ryzhik 6.611.1): 1/R times a function of direction, in fact of w = s e^{i psi} = (x + i y)/(R + d) in the
unit disc, which is tabulated on a square grid.

Axes: O outcrops, A angles, N directions of a table, (W, W) its grid.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numba
import numpy as np

ANGLES = 128
HARMONICS = 40
# Grid of w: 2 HALF_GRID + 1 points from edge to edge of the disc, MARGIN beyond it for cubic interpolation.
HALF_GRID = 24
MARGIN = 2
GRID = 2 * (HALF_GRID + MARGIN) + 1


def table_angles_rad() -> np.ndarray:
    """Angles (A,) at which tractions round an outcrop and responses are sampled."""
    return 2 * np.pi * np.arange(ANGLES) / ANGLES


def isotropic_tables(response: np.ndarray, tau_hat: np.ndarray) -> np.ndarray:
    """Tables (O, W, W) of R times the correction, for responses (2, A, 3) and tractions (O, 3, A)."""
    c = np.stack([np.fft.fft((r.T * tau_hat).sum(axis=1), axis=-1)[:, :HARMONICS] for r in response]) / ANGLES
    tables = np.empty((c.shape[1], GRID, GRID))
    # No matrix product of a library: its threads take longer to wake than this.
    _sum_harmonics(np.stack([c.real, -c.imag], axis=-1).astype(np.float32), _harmonic_basis(), tables)
    return tables


@lru_cache(maxsize=1)
def _harmonic_basis() -> np.ndarray:
    """Basis (2, HARMONICS, 2, N) over the quarter x, y >= 0 of the grid: for each response and harmonic the factors of the
    real part of c and of that of -i c, whose sum is R times the correction.

    Re (iw)^m is even in x and goes as (-1)^m in y, Im (iw)^m is odd in x and goes as -(-1)^m: the quarter tells all.
    """
    w = table_directions()
    m = np.arange(HARMONICS)[:, None]
    zeta = (1 - np.abs(w) ** 2) / (1 + np.abs(w) ** 2)
    powers = np.where(m == 0, 1.0, 2.0) * 1j**m * w**m / (-2 * np.pi)
    basis = extended(np.stack([powers, powers * (zeta**2 + m * zeta)]))
    basis = np.stack([basis.real, basis.imag], axis=2)
    tables = on_grid(basis.reshape(-1, basis.shape[-1]))[:, GRID // 2 :, GRID // 2 :]
    return tables.reshape(*basis.shape[:3], -1).astype(np.float32)


@numba.njit(cache=True, error_model="numpy")
def _sum_harmonics(c, basis, tables):
    """Tables (O, W, W) from coefficients (2, O, HARMONICS, 2)."""
    side = GRID // 2 + 1
    sums = np.empty((4, side * side), np.float32)
    for o in range(len(tables)):
        sums[:] = 0
        for r in range(2):
            for m in range(HARMONICS):
                for part in range(2):
                    # Real parts: even in x; imaginary ones: odd.
                    total, line, factor = sums[2 * part + m % 2], basis[r, m, part], c[r, o, m, part]
                    for n in range(line.size):
                        total[n] += factor * line[n]
        for i in range(side):
            for j in range(side):
                n = i * side + j
                even, odd, imaginary, other = sums[0, n], sums[1, n], sums[2, n], sums[3, n]
                up, down, right, left = side - 1 + i, side - 1 - i, side - 1 + j, side - 1 - j
                tables[o, up, right] = even + odd + imaginary + other
                tables[o, up, left] = even + odd - imaginary - other
                tables[o, down, right] = even - odd - imaginary + other
                tables[o, down, left] = even - odd + imaginary - other


def _plane() -> np.ndarray:
    line = (np.arange(GRID) - HALF_GRID - MARGIN) / HALF_GRID
    return line[None, :] + 1j * line[:, None]


def _inside() -> np.ndarray:
    return np.abs(_plane()) <= 1 + 1e-12


def _outside() -> np.ndarray:
    """Grid points beyond the disc that interpolation inside it touches."""
    return ~_inside() & (np.abs(_plane()) < 1 + 3.0 / HALF_GRID)


@lru_cache(maxsize=1)
def table_directions() -> np.ndarray:
    """w of the directions at which a table must be known: the grid inside the disc, then what `extended` needs."""
    w = _plane()
    outside = w[_outside()]
    supports = (outside / np.abs(outside))[:, None] * (1 - np.arange(4) / HALF_GRID)
    return np.concatenate([w[_inside()], supports.ravel()])


def extended(values: np.ndarray) -> np.ndarray:
    """Values (..., N) on the grid, from those at `table_directions`: beyond the disc the cubic through four points inside."""
    radius = np.abs(_plane())[_outside()]
    nodes = 1 - np.arange(4) / HALF_GRID
    weights = np.ones((len(radius), 4))
    for a in range(4):
        for b in range(4):
            if a != b:
                weights[:, a] *= (radius - nodes[b]) / (nodes[a] - nodes[b])
    count = int(_inside().sum())
    beyond = (values[..., count:].reshape(*values.shape[:-1], -1, 4) * weights).sum(axis=-1)
    return np.ascontiguousarray(np.concatenate([values[..., :count], beyond], axis=-1))


def on_grid(values: np.ndarray) -> np.ndarray:
    """Tables (O, W, W) from `extended` values (O, N)."""
    table = np.zeros((len(values), GRID * GRID))
    table[:, _grid_order()] = values
    return table.reshape(-1, GRID, GRID)


@lru_cache(maxsize=1)
def _grid_order() -> np.ndarray:
    return np.concatenate([np.flatnonzero(_inside()), np.flatnonzero(_outside())])


@numba.njit(cache=True, error_model="numpy")
def _cubic(x, w):
    w[0], w[1] = -x * (x - 1) * (x - 2) / 6, (x + 1) * (x - 1) * (x - 2) / 2
    w[2], w[3] = -(x + 1) * x * (x - 2) / 2, (x + 1) * x * (x - 1) / 6


@numba.njit(cache=True, error_model="numpy")
def place_in_table(x, y, d, wx, wy):
    """Distance R and the first row and column of the four by four grid points about a direction, weights in wx, wy."""
    r = np.sqrt(x * x + y * y + d * d)
    scale = HALF_GRID / (r + d + 1e-300)
    u, v = x * scale + HALF_GRID + MARGIN, y * scale + HALF_GRID + MARGIN
    j, i = min(max(int(u), 1), GRID - 3), min(max(int(v), 1), GRID - 3)
    _cubic(u - j, wx)
    _cubic(v - i, wy)
    return r, i - 1, j - 1


@numba.njit(cache=True, error_model="numpy")
def from_table(table, i, j, wx, wy):
    """Value of a table (W, W) with the weights of `place_in_table`."""
    total = 0.0
    for a in range(4):
        row = table[i + a]
        total += wy[a] * (wx[0] * row[j] + wx[1] * row[j + 1] + wx[2] * row[j + 2] + wx[3] * row[j + 3])
    return total


@numba.njit(cache=True, error_model="numpy")
def linear_in_table(table, x, y, d):
    """Distance R, and the value of a table (W, W) in a direction, linear between its points: for estimates, in a third of the time."""
    r = math.sqrt(x * x + y * y + d * d)
    scale = HALF_GRID / (r + d + 1e-300)
    u, v = x * scale + HALF_GRID + MARGIN, y * scale + HALF_GRID + MARGIN
    j, i = int(u), int(v)
    u, v = u - j, v - i
    return r, (1 - v) * ((1 - u) * table[i, j] + u * table[i, j + 1]) + v * ((1 - u) * table[i + 1, j] + u * table[i + 1, j + 1])
