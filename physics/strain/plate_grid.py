"""Grids on which a plate's load and answer live, and the ways between places, waves and depths: for any elasticity.

Boxes, transforms, far levels' interpolation and the final splines; what depends on the stiffness is `plate_elasticity`.

Axes: (Y, X) grid over the image, Q depths, N nodes, P points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from scipy import fft
from scipy.interpolate import make_interp_spline

from physics.errors import require
from physics.parallel import over_threads
from physics.strain.foil_frame import CutLines, FoilFaces
from physics.strain.plate_field import CROWDING, depth_fractions

MARGIN_STEPS = 6
# Foil kept round the field at least, in thicknesses, both sides together.
LEAST_BORDER = 3.0
# Depths at which far fields are reckoned, evenly from face to face.
THROUGH_DEPTHS, FAR_DEPTHS = 7, 9


@dataclass(frozen=True, kw_only=True)
class Box:
    """A periodic grid of `padded` (X, Y) points `step_nm` apart, centred, of which the middle `counts` (X, Y) are wanted."""

    step_nm: float
    padded: tuple[int, int]
    counts: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X) of the whole grid."""
        return self.padded[1], self.padded[0]

    @property
    def size_nm(self) -> list[float]:
        """Width and height."""
        return [n * self.step_nm for n in self.padded]

    @property
    def origin_nm(self) -> list[float]:
        """x, y of the first wanted point."""
        return [first_nm(p, self.step_nm) + (p - n) // 2 * self.step_nm for p, n in zip(self.padded, self.counts)]

    @property
    def places_nm(self) -> list[np.ndarray]:
        """x (X,) and y (Y,) of the wanted points."""
        return [o + self.step_nm * np.arange(n) for o, n in zip(self.origin_nm, self.counts)]


def fine_box(faces: FoilFaces, grid_nm: float, padding: float) -> tuple[Box, np.ndarray]:
    """The box over the field and the fractions (Q,) of its depths; raises InputError for lengths that make none."""
    require(grid_nm > 0, "grid_nm", "be > 0", grid_nm)
    require(padding >= 1, "padding", "be >= 1", padding)
    thickness = faces.thickness_nm
    # A thin foil needs finer waves: its two faces must not lie within one step.
    step = min(grid_nm, thickness / 4)
    counts = [math.ceil(n / step) + 1 + 2 * MARGIN_STEPS for n in faces.field_nm]
    least = [max(padding * n, n + LEAST_BORDER * thickness) for n in faces.field_nm]
    padded = [_fast_even(max(math.ceil(n / step), c)) for n, c in zip(least, counts)]
    depths = max(7, math.ceil(thickness / faces.normal_image[2] / (0.75 * step * (1 + CROWDING))) + 1)
    return Box(step_nm=step, padded=tuple(padded), counts=tuple(counts)), depth_fractions(depths)


def coarser_box(fine: Box, step_nm: float, least_nm: Sequence[float]) -> Box:
    """A box of a wider step and at least that width and height, of which what lies over the fine one's wanted part is wanted."""
    padded = [_fast_even(math.ceil(n / step_nm)) for n in least_nm]
    counts = [min(2 * math.ceil((at[-1] - at[0]) / step_nm / 2) + 10, n) for n, at in zip(padded, fine.places_nm)]
    return Box(step_nm=step_nm, padded=tuple(padded), counts=tuple(counts))


def first_nm(padded: int, step: float) -> float:
    """Place of the first of so many centred grid points."""
    return -(padded - 1) / 2 * step


def _fast_even(least: int) -> int:
    """The first even number from `least` on that a Fourier transform likes."""
    n = -(-least // 2) * 2
    while fft.next_fast_len(n, real=True) != n:
        n += 2
    return n


def wave_vectors(box: Box, faces: FoilFaces) -> tuple[np.ndarray, np.ndarray]:
    """kx, ky (Y, X // 2 + 1) in the plate of a box's waves."""
    columns, rows = box.padded
    k_image = np.stack(
        np.meshgrid(2 * np.pi * np.fft.rfftfreq(columns, box.step_nm), 2 * np.pi * np.fft.fftfreq(rows, box.step_nm))
    )
    return tuple(np.ascontiguousarray(k) for k in np.einsum("ji,jyx->iyx", np.linalg.inv(faces.foil_from_xy), k_image))


def silence_half_way(waves: np.ndarray, box: Box) -> None:
    """Set half-way frequencies of waves (..., Y, X // 2 + 1) to 0: they have no sign, so that derivatives of them have no meaning."""
    columns, rows = box.padded
    if columns % 2 == 0:
        waves[..., -1] = 0
    if rows % 2 == 0:
        waves[..., rows // 2, :] = 0


def from_waves(waves: np.ndarray, box: Box) -> np.ndarray:
    """Values (..., Y, X, Q) float64 on the wanted part of a box, of waves (..., Q, Y, X // 2 + 1), which are lost."""
    workers = numba.get_num_threads()
    x0, y0 = ((p - c) // 2 for p, c in zip(box.padded, box.counts))
    rows = fft.ifft(waves, axis=-2, workers=workers, overwrite_x=True)[..., y0 : y0 + box.counts[1], :]
    values = fft.irfft(rows, n=box.padded[0], axis=-1, workers=workers)[..., x0 : x0 + box.counts[0]]
    return np.ascontiguousarray(np.moveaxis(values, -3, -1), dtype=np.float64)


def spread_over(values: np.ndarray, box: Box, fine: Box, fractions: np.ndarray) -> np.ndarray:
    """Values (..., Y, X, Q) at the fine grid and its depths, of those on a far box at FAR_DEPTHS even ones."""
    down = _lagrange(np.linspace(0, 1, FAR_DEPTHS), fractions)
    x, y = (
        make_interp_spline(first_nm(n, box.step_nm) + box.step_nm * np.arange(n), np.eye(n), k=7)(at)  # degree 7
        for n, at in zip(box.counts, fine.places_nm)
    )
    return separable(y, x, down, values)


def separable(along_y: np.ndarray, along_x: np.ndarray, down: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (..., Y, X, Q) of `values` (..., A, B, C) through matrices (Y, A), (X, B), (Q, C).

    A library's matrix products would wake threads of their own for less than a millisecond of work.
    """
    matrices = [np.ascontiguousarray(m, dtype=np.float64) for m in (along_y, along_x, down.T)]
    flat = np.ascontiguousarray(values, dtype=np.float64).reshape(-1, *values.shape[-3:])
    out = np.empty((len(flat), len(along_y), len(along_x), len(down)))
    for n in range(len(flat)):
        over_threads(_separable, len(along_y), *matrices, flat[n], out[n])
    return out.reshape(*values.shape[:-3], *out.shape[1:])


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _separable(begin, end, along_y, along_x, down, values, out):
    row = np.empty(values.shape[1:])
    point = np.empty(values.shape[2])
    for y in range(begin, end):
        row[:] = 0.0
        for a in range(values.shape[0]):
            row += along_y[y, a] * values[a]
        for x in range(len(along_x)):
            point[:] = 0.0
            for b in range(row.shape[0]):
                for c in range(point.size):
                    point[c] += along_x[x, b] * row[b, c]
            line = out[y, x]
            line[:] = 0.0
            for c in range(point.size):
                for q in range(line.size):
                    line[q] += point[c] * down[c, q]


@dataclass(frozen=True, kw_only=True, eq=False)
class ThroughPoints:
    """Where the field of endless normals is reckoned: x, y (P, Q) in the plate, in thicknesses, and the way to a grid."""

    x: np.ndarray
    y: np.ndarray
    spread: tuple[np.ndarray, np.ndarray]
    down: np.ndarray

    @classmethod
    def over(cls, faces: FoilFaces, fine: Box, fractions: np.ndarray, smooth: float = 1.0) -> ThroughPoints:
        """Points enough for a field as smooth as lines spread over so many thicknesses."""
        rotation, t = faces.foil_from_image, faces.thickness_nm
        nodes, spread = zip(*(_chebyshev(at, smooth * t) for at in fine.places_nm))
        x, y = (v.ravel() for v in np.meshgrid(*nodes))
        middle = (faces.entrance + faces.exit)[:3] / 2
        points = np.stack([x, y, middle[0] + middle[1] * x + middle[2] * y], axis=-1) @ rotation[:2].T
        drift = np.linspace(t / 2, -t / 2, THROUGH_DEPTHS)[:, None] * rotation[:2, 2] / rotation[2, 2]
        x, y = (np.ascontiguousarray(v) / t for v in np.moveaxis(points[:, None] + drift, -1, 0))
        return cls(x=x, y=y, spread=spread, down=_lagrange(np.linspace(0, 1, THROUGH_DEPTHS), fractions))

    def on_grid(self, values: np.ndarray) -> np.ndarray:
        """Values (..., Y, X, Q) on the grid of those (..., P, THROUGH_DEPTHS) at these points."""
        along_x, along_y = self.spread
        values = values.reshape(*values.shape[:-2], along_y.shape[1], along_x.shape[1], THROUGH_DEPTHS)
        return separable(along_y, along_x, self.down, values)


def normals_in_plate(cut: CutLines, faces: FoilFaces) -> tuple[np.ndarray, np.ndarray]:
    """Places (G, 2) and Burgers vectors (G, 3) of the endless normals in the foil's frame, in thicknesses."""
    rotation, t = faces.foil_from_image, faces.thickness_nm
    return cut.through_place_nm @ rotation[:2].T / t, cut.through_burgers_nm @ rotation.T / t


def _lagrange(nodes: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Matrix (P, N) that takes values at nodes (N,) to the polynomial through them at points (P,)."""
    apart = nodes[:, None] - nodes + np.eye(len(nodes))
    away = np.repeat((at[:, None] - nodes)[:, None, :], len(nodes), axis=1)
    away[:, np.arange(len(nodes)), np.arange(len(nodes))] = 1.0
    return away.prod(axis=-1) / apart.prod(axis=-1)


def _chebyshev(places_nm: np.ndarray, smooth_nm: float) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev nodes over a line of points, enough for a field as smooth as that, and the matrix to the points."""
    middle, half = (places_nm[0] + places_nm[-1]) / 2, (places_nm[-1] - places_nm[0]) / 2
    count = 8 + math.ceil(4.5 * half * 2 / smooth_nm)
    nodes = np.cos(np.pi * (np.arange(count) + 0.5) / count)
    return middle + half * nodes, _lagrange(nodes, (places_nm - middle) / half)


@lru_cache(maxsize=8)
def depth_spline(nodes: int) -> np.ndarray:
    """Coefficients (Q + 2, Q) of cubic B-splines through values at whole numbers, third derivative even at the ends.

    (The not-a-knot condition, de Boor, A Practical Guide to Splines, 1978, chapter IV.)
    """
    system = np.zeros((nodes + 2, nodes + 2))
    for q in range(nodes):
        system[q + 1, q : q + 3] = 1 / 6, 4 / 6, 1 / 6
    system[0, :5] = system[-1, -5:] = 1, -4, 6, -4, 1
    return np.linalg.inv(system)[:, 1:-1]


def down_columns(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """matrix (R, Q) applied down the columns of values (Y, X, Q)."""
    out = np.empty((*values.shape[:2], len(matrix)))
    over_threads(_down_columns, len(values), np.ascontiguousarray(matrix.T), values, out)
    return out


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _down_columns(begin, end, columns, values, out):
    for y in range(begin, end):
        for x in range(values.shape[1]):
            line, column = out[y, x], values[y, x]
            line[:] = 0.0
            for q in range(column.size):
                for r in range(line.size):
                    line[r] += column[q] * columns[q, r]
