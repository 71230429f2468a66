"""Intensities of columns through a foil that holds dislocations and faults.

A column is cut into slices no thicker than `slice_nm`; near a line, where d(g.u)/dd turns within a slice,
into finer ones (`SUBSTEPS`). Each is passed by the closed-form 2x2 scattering matrix at its middle.

Axes: S segments, P columns, F faults, (Y, X) image rows and columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike

from physics.contrast.two_beam import TwoBeam
from physics.errors import require
from physics.frames import column_positions_nm
from physics.frozen import frozen_array
from physics.strain.isotropic import DOWN, LENGTH, N1, N2, START, T, add_row, coefficients
from physics.strain.segments import Segments

# (distance to the nearest line in nm, sub-slice in nm): the slicing error depends on how fast the distortion
# turns within a slice, not on its size.
SUBSTEPS = np.array([[3.0, 0.125], [8.0, 0.25], [16.0, 0.5]])
SUBSTEPS.setflags(write=False)
# Chebyshev nodes down a column for segments farther from its middle than twice its half-length: the error
# falls as (2 + sqrt 3)^-16 = 7e-10 of their field.
FAR_NODES = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnGrid:
    """The columns of an image: `shape` (Y, X) of `pixel_nm`, with faces and local excitation error (Y, X).

    A column whose exit is not below its entrance is vacuum.
    """

    shape: tuple[int, int]
    pixel_nm: float
    entrance_z_nm: np.ndarray
    exit_z_nm: np.ndarray
    s_inv_nm: np.ndarray

    def __post_init__(self) -> None:
        require(self.pixel_nm > 0, "pixel_nm", "be > 0", self.pixel_nm)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        for name in ("entrance_z_nm", "exit_z_nm", "s_inv_nm"):
            array = np.broadcast_to(getattr(self, name), self.shape)
            object.__setattr__(self, name, frozen_array(array, self.shape, name))

    @classmethod
    def flat(cls, shape: tuple[int, int], pixel_nm: float, thickness_nm: float, s_inv_nm: float) -> ColumnGrid:
        """An untilted foil of constant thickness about z = 0."""
        return cls(
            shape=shape, pixel_nm=pixel_nm, entrance_z_nm=thickness_nm / 2, exit_z_nm=-thickness_nm / 2,
            s_inv_nm=s_inv_nm,
        )  # fmt: skip


def column_values(
    segments: Segments,
    g_image_inv_nm: ArrayLike,
    two_beam: TwoBeam,
    x_nm: ArrayLike,
    y_nm: ArrayLike,
    entrance_z_nm: ArrayLike,
    exit_z_nm: ArrayLike,
    s_inv_nm: ArrayLike,
    *,
    poisson_ratio: float,
    core_nm: float,
    slice_nm: float = 1.0,
    fault_z_nm: ArrayLike | None = None,
    fault_phase_rad: ArrayLike | None = None,
    substeps: ArrayLike = SUBSTEPS,
) -> tuple[np.ndarray, np.ndarray]:
    """Bright- and dark-field intensity (P,) of single columns, float64 throughout, incident beam 1.

    The field is the direct sum over all segments. `fault_z_nm` (F, P) is nan where a fault misses the column;
    crossing fault f downward multiplies phi_g by exp(i fault_phase_rad[f]). `substeps` rows are (distance to
    the nearest line, sub-slice) in nm, nearest first.
    """
    require(slice_nm > 0, "slice_nm", "be > 0", slice_nm)
    rows = coefficients(segments, g_image_inv_nm, DOWN, poisson_ratio, core_nm)
    columns = np.stack(np.broadcast_arrays(x_nm, y_nm, entrance_z_nm, exit_z_nm, s_inv_nm), axis=-1)
    columns = np.ascontiguousarray(columns, dtype=np.float64).reshape(-1, 5)
    fault_z, fault_phase = fault_arrays(fault_z_nm, fault_phase_rad, len(columns))
    substeps = np.ascontiguousarray(substeps, dtype=np.float64).reshape(-1, 2)
    intensity = _columns(rows, columns, beam_row(two_beam), float(slice_nm), fault_z, fault_phase, substeps)
    return intensity[:, 0], intensity[:, 1]


def column_image(
    segments: Segments,
    g_image_inv_nm: ArrayLike,
    two_beam: TwoBeam,
    grid: ColumnGrid,
    *,
    poisson_ratio: float,
    core_nm: float,
    slice_nm: float = 1.0,
    fault_z_nm: ArrayLike | None = None,
    fault_phase_rad: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Bright- and dark-field image (Y, X) float32, incident beam 1; `fault_z_nm` is (F, Y, X), nan: no fault."""
    x_nm, y_nm = column_positions_nm(grid.shape, grid.pixel_nm)
    if fault_z_nm is not None:
        fault_z_nm = np.reshape(fault_z_nm, (len(fault_z_nm), -1))
    bf, df = column_values(
        segments, g_image_inv_nm, two_beam, x_nm[None, :], y_nm[:, None], grid.entrance_z_nm, grid.exit_z_nm,
        grid.s_inv_nm, poisson_ratio=poisson_ratio, core_nm=core_nm, slice_nm=slice_nm, fault_z_nm=fault_z_nm,
        fault_phase_rad=fault_phase_rad,
    )  # fmt: skip
    return bf.reshape(grid.shape).astype(np.float32), df.reshape(grid.shape).astype(np.float32)


def beam_row(two_beam: TwoBeam) -> np.ndarray:
    """(1/xi_g, 1/xi_g', 1/xi_0') as the compiled code takes it."""
    return np.array([1 / two_beam.xi_g_nm, 1 / two_beam.xi_g_prime_nm, 1 / two_beam.xi_0_prime_nm])


def fault_arrays(
    fault_z_nm: ArrayLike | None, fault_phase_rad: ArrayLike | None, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Heights (F, P) and phases (F,), F = 0 where there is no fault."""
    if fault_z_nm is None or fault_phase_rad is None:
        require(fault_z_nm is None and fault_phase_rad is None, "fault_z_nm", "come with fault_phase_rad", "one alone")
        return np.empty((0, columns)), np.empty(0)
    phase = frozen_array(fault_phase_rad, (None,), "fault_phase_rad")
    z = np.ascontiguousarray(fault_z_nm, dtype=np.float64)
    require(z.shape == (len(phase), columns), "fault_z_nm", f"have shape {(len(phase), columns)}", z.shape)
    return z, np.array(phase)


@numba.njit(cache=True, error_model="numpy")
def _distance_sq(row, x, y, z):
    """Squared distance from a point to a segment."""
    dx, dy, dz = x - row[START], y - row[START + 1], z - row[START + 2]
    along = row[T] * dx + row[T + 1] * dy + row[T + 2] * dz
    rho1 = row[N1] * dx + row[N1 + 1] * dy + row[N1 + 2] * dz
    rho2 = row[N2] * dx + row[N2 + 1] * dy + row[N2 + 2] * dz
    beyond = max(-along, 0.0, along - row[LENGTH])
    return rho1 * rho1 + rho2 * rho2 + beyond * beyond


@numba.njit(cache=True, error_model="numpy")
def pass_slice(phi_0, phi_g, s, thickness, q):
    """The two amplitudes after a slice of constant S, without the factor e^{i pi S h - pi h/xi_0'} common to both."""
    step = math.pi * thickness
    x = step * step * (s * s + q * q)
    if abs(x) < 0.5:
        # cos sqrt(x) and sin sqrt(x)/sqrt(x), entire in x: the terms left out are below 1e-16.
        cosine = 1.0 - x / 2 * (1 - x / 12 * (1 - x / 30 * (1 - x / 56 * (1 - x / 90 * (1 - x / 132)))))
        sinc = 1.0 - x / 6 * (1 - x / 20 * (1 - x / 42 * (1 - x / 72 * (1 - x / 110 * (1 - x / 156)))))
    else:
        root = np.sqrt(x)
        cosine = np.cos(root)
        sinc = np.sin(root) / root
    sine = 1j * step * sinc
    return (cosine - s * sine) * phi_0 + q * sine * phi_g, q * sine * phi_0 + (cosine + s * sine) * phi_g


@numba.njit(cache=True, error_model="numpy", parallel=True)
def _columns(rows, columns, beam, slice_nm, fault_z, fault_phase, substeps):
    intensity = np.empty((len(columns), 2))
    nodes = np.cos(math.pi * (np.arange(FAR_NODES) + 0.5) / FAR_NODES)
    weights = (-1.0) ** np.arange(FAR_NODES) * np.sin(math.pi * (np.arange(FAR_NODES) + 0.5) / FAR_NODES)
    for c in numba.prange(len(columns)):
        bf, df = _column(rows, columns[c], beam, slice_nm, fault_z[:, c], fault_phase, substeps, nodes, weights)
        intensity[c, 0] = bf
        intensity[c, 1] = df
    return intensity


@numba.njit(cache=True, error_model="numpy")
def _column(rows, column, beam, slice_nm, fault_z, fault_phase, substeps, nodes, weights):
    x, y, entrance, exit_, s = column
    thickness = entrance - exit_
    if not thickness > 0:
        return 1.0, 0.0
    middle, half = (entrance + exit_) / 2, thickness / 2
    reach = max(2 * half, half + (substeps[:, 0].max() if len(substeps) else 0.0))
    near = np.empty(len(rows), np.int64)
    near_count = 0
    far_at_nodes = np.zeros(FAR_NODES)
    node_x, node_y, node_z = np.full(FAR_NODES, x), np.full(FAR_NODES, y), middle + half * nodes
    for k in range(len(rows)):
        if _distance_sq(rows[k], x, y, middle) < reach * reach:
            near[near_count] = k
            near_count += 1
        else:
            add_row(rows[k], node_x, node_y, node_z, far_at_nodes)
    z, h, crossed = _samples(rows, near[:near_count], column, slice_nm, fault_z, substeps)
    beta = np.zeros(len(z))
    sample_x, sample_y = np.full(len(z), x), np.full(len(z), y)
    for k in near[:near_count]:
        add_row(rows[k], sample_x, sample_y, z, beta)
    q = complex(beam[0], beam[1])
    phi_0, phi_g = 1.0 + 0j, 0j
    for i in range(len(z)):
        if near_count < len(rows):
            beta[i] += _barycentric((z[i] - middle) / half, nodes, weights, far_at_nodes)
        phi_0, phi_g = pass_slice(phi_0, phi_g, s + beta[i], h[i], q)
        if crossed[i] >= 0:
            phi_g *= np.exp(1j * fault_phase[crossed[i]])
    absorbed = math.exp(-2 * math.pi * thickness * beam[2])
    return absorbed * abs(phi_0) ** 2, absorbed * abs(phi_g) ** 2


@numba.njit(cache=True, error_model="numpy")
def _barycentric(x, nodes, weights, values):
    """Polynomial through `values` at Chebyshev `nodes` (Berrut & Trefethen, SIAM Rev. 46 (2004) 501, eq. 4.2)."""
    above, below = 0.0, 0.0
    for j in range(len(nodes)):
        distance = x - nodes[j]
        if distance == 0.0:
            return values[j]
        above += weights[j] / distance * values[j]
        below += weights[j] / distance
    return above / below


@numba.njit(cache=True, error_model="numpy")
def _samples(rows, near, column, slice_nm, fault_z, substeps):
    """Middles z, thicknesses and the fault crossed after each (-1: none) of a column's sub-slices, downward."""
    x, y, entrance, exit_ = column[0], column[1], column[2], column[3]
    slices = int(math.ceil((entrance - exit_) / slice_nm - 1e-9))
    step = (entrance - exit_) / slices
    order = np.argsort(-fault_z)
    order = order[np.array([fault_z[f] < entrance and fault_z[f] > exit_ for f in order], dtype=np.bool_)]
    finest = substeps[:, 1].min() if len(substeps) else step
    capacity = (slices + len(order)) * (int(math.ceil(step / min(finest, step))) + 1)
    z, h, crossed = np.empty(capacity), np.empty(capacity), np.full(capacity, -1)
    count, next_fault = 0, 0
    for k in range(slices):
        top = entrance - k * step
        bottom = entrance - (k + 1) * step if k + 1 < slices else exit_
        while True:
            cut = next_fault < len(order) and fault_z[order[next_fault]] >= bottom
            low = fault_z[order[next_fault]] if cut else bottom
            if top > low:
                nearest_sq = np.inf
                for r in near:
                    nearest_sq = min(nearest_sq, _distance_sq(rows[r], x, y, (top + low) / 2))
                pieces = 1
                for i in range(len(substeps)):
                    if nearest_sq < substeps[i, 0] * substeps[i, 0]:
                        pieces = int(math.ceil((top - low) / substeps[i, 1] - 1e-9))
                        break
                for i in range(pieces):
                    h[count] = (top - low) / pieces
                    z[count] = top - (i + 0.5) * h[count]
                    count += 1
            if not cut:
                break
            # A fault met exactly at a boundary already passed: a slice of no thickness carries its phase.
            if count == 0 or crossed[count - 1] >= 0:
                z[count], h[count] = low, 0.0
                count += 1
            crossed[count - 1] = order[next_fault]
            next_fault += 1
            top = low
    return z[:count], h[:count], crossed[:count]
