"""Intensities of columns through a foil that holds dislocations and faults.

`column_image` takes the columns of an image, `column_values` any columns; both run the same compiled code
(`tiles`), and `column_values(..., reference=True)` its double-precision counterpart (`direct`).

Axes: S segments, P columns, F faults, (Y, X) image rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from physics.contrast.direct import direct_intensities
from physics.contrast.tiles import tile_intensities
from physics.contrast.tiling import Tiling, image_tiling, scattered_tiling
from physics.contrast.two_beam import TwoBeam
from physics.errors import require
from physics.frames import column_positions_nm
from physics.frozen import frozen_array
from physics.parallel import over_threads
from physics.particle import Particle
from physics.strain.boxes import descend_to_tiles
from physics.strain.inclusions import sphere_rows
from physics.strain.isotropic import DOWN, coefficients
from physics.strain.segments import Segments

# The polynomials of a slice hold while pi h |S| stays below 1; d(g.u)/dd far from lines adds little to s.
WIDEST_STEP = 0.6
# What the far field of one segment may err by, as a fraction of 1/xi_g.
FIELD_TOLERANCE = 5e-4


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
    field_tolerance: float = FIELD_TOLERANCE,
    particles: Sequence[Particle] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Bright- and dark-field image (Y, X) float32, incident beam 1.

    `fault_z_nm` (F, Y, X) is nan where a fault misses a column; crossing fault f downward multiplies phi_g by
    exp(i fault_phase_rad[f]). `field_tolerance`, in 1/xi_g, bounds what interpolating a far segment's field costs.
    `particles` are coherent spheres and voids; discs come as segments and
    faults (`physics.particle_discs`).
    """
    x_nm, y_nm = column_positions_nm(grid.shape, grid.pixel_nm)
    columns = np.empty((*grid.shape, 5))
    columns[..., 0], columns[..., 1] = x_nm[None, :], y_nm[:, None]
    columns[..., 2], columns[..., 3], columns[..., 4] = grid.entrance_z_nm, grid.exit_z_nm, grid.s_inv_nm
    if fault_z_nm is not None:
        fault_z_nm = np.reshape(fault_z_nm, (len(fault_z_nm), -1))
    intensity = _tiled(
        segments, g_image_inv_nm, two_beam, columns.reshape(-1, 5), image_tiling(grid.shape), poisson_ratio, core_nm,
        slice_nm, fault_z_nm, fault_phase_rad, field_tolerance, particles,
    )  # fmt: skip
    bf, df = intensity.astype(np.float32).reshape(*grid.shape, 2).transpose(2, 0, 1)
    return np.ascontiguousarray(bf), np.ascontiguousarray(df)


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
    field_tolerance: float = FIELD_TOLERANCE,
    particles: Sequence[Particle] = (),
    reference: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Bright- and dark-field intensity (P,) float64 of single columns, incident beam 1.

    `fault_z_nm` is (F, P); the rest as for `column_image`. `reference` sums the field directly over all segments
    and keeps float64 throughout, some twenty times slower.
    """
    columns = np.stack(np.broadcast_arrays(x_nm, y_nm, entrance_z_nm, exit_z_nm, s_inv_nm), axis=-1)
    columns = np.ascontiguousarray(columns, dtype=np.float64).reshape(-1, 5)
    if reference:
        require(slice_nm > 0, "slice_nm", "be > 0", slice_nm)
        rows = coefficients(segments, g_image_inv_nm, DOWN, poisson_ratio, core_nm)
        fault_z, fault_phase = _fault_arrays(fault_z_nm, fault_phase_rad, len(columns))
        intensity = np.empty((len(columns), 2))
        over_threads(
            direct_intensities, len(columns), rows, columns, _beam_row(two_beam), float(slice_nm), fault_z, fault_phase,
            sphere_rows(particles), np.array(g_image_inv_nm, np.float64), intensity,
        )  # fmt: skip
    else:
        tiling = scattered_tiling(columns[:, 0], columns[:, 1])
        intensity = _tiled(
            segments, g_image_inv_nm, two_beam, columns, tiling, poisson_ratio, core_nm, slice_nm, fault_z_nm,
            fault_phase_rad, field_tolerance, particles,
        )  # fmt: skip
    return intensity[:, 0], intensity[:, 1]


def _tiled(
    segments: Segments, g_image_inv_nm: ArrayLike, two_beam: TwoBeam, columns: np.ndarray, tiling: Tiling,
    poisson_ratio: float, core_nm: float, slice_nm: float, fault_z_nm: ArrayLike | None,
    fault_phase_rad: ArrayLike | None, field_tolerance: float, particles: Sequence[Particle],
) -> np.ndarray:  # fmt: skip
    require(slice_nm > 0, "slice_nm", "be > 0", slice_nm)
    require(field_tolerance > 0, "field_tolerance", "be > 0", field_tolerance)
    rows = coefficients(segments, g_image_inv_nm, DOWN, poisson_ratio, core_nm)
    fault_z, fault_phase = _fault_arrays(fault_z_nm, fault_phase_rad, len(columns))
    intensity = np.empty((len(columns), 2))
    intensity[:] = 1.0, 0.0
    filled = columns[:, 2] > columns[:, 3]
    if not filled.any():
        return intensity
    columns = columns[tiling.order]
    filled = columns[:, 2] > columns[:, 3]
    top = float(columns[filled, 2].max())
    depth = top - float(columns[filled, 3].min())
    widest = WIDEST_STEP / (math.pi * (np.abs(columns[filled, 4]).max() + 1 / two_beam.xi_g_nm))
    layer_nm = depth / max(1, math.ceil(depth / min(slice_nm, widest) - 1e-9))
    layers = _tile_layers(columns, filled, tiling.first, top, layer_nm)
    boxes = _tile_boxes(columns, tiling.first, layers, top, layer_nm)
    strength = float(np.linalg.norm(g_image_inv_nm) * np.linalg.norm(segments.burgers_nm, axis=1).max(initial=0))
    tolerance = field_tolerance / two_beam.xi_g_nm
    values, near, near_count = descend_to_tiles(rows, boxes, tiling.cells, strength, tolerance)
    in_order = np.empty((len(columns), 2))
    over_threads(
        tile_intensities, len(boxes), rows, columns, tiling.first, layers, top, layer_nm, boxes, values, near, near_count, strength, tolerance,
        _beam_row(two_beam), np.ascontiguousarray(fault_z[:, tiling.order]), fault_phase,
        sphere_rows(particles), np.array(g_image_inv_nm, np.float64), in_order,
    )  # fmt: skip
    intensity[tiling.order] = in_order
    return intensity


def _tile_layers(
    columns: np.ndarray, filled: np.ndarray, first: np.ndarray, top: float, layer_nm: float
) -> np.ndarray:
    """First and last layer (end excluded) that each tile's columns reach into (B, 2)."""
    highest = np.maximum.reduceat(np.where(filled, columns[:, 2], -np.inf), first[:-1])
    lowest = np.minimum.reduceat(np.where(filled, columns[:, 3], np.inf), first[:-1])
    empty = ~np.isfinite(highest)
    begin = np.floor((top - np.where(empty, top, highest)) / layer_nm + 1e-6)
    end = np.ceil((top - np.where(empty, top, lowest)) / layer_nm - 1e-6)
    return np.stack([begin, np.maximum(end, begin)], axis=1).astype(np.int64)


def _tile_boxes(
    columns: np.ndarray, first: np.ndarray, layers: np.ndarray, top: float, layer_nm: float
) -> np.ndarray:
    """Centres and half-sides (B, 6) of the tiles, with a layer to spare above and below."""
    low, high = np.empty((len(layers), 3)), np.empty((len(layers), 3))
    for axis in range(2):
        low[:, axis] = np.minimum.reduceat(columns[:, axis], first[:-1]) - 0.25
        high[:, axis] = np.maximum.reduceat(columns[:, axis], first[:-1]) + 0.25
    high[:, 2] = top - (layers[:, 0] - 1) * layer_nm
    low[:, 2] = top - (layers[:, 1] + 1) * layer_nm
    return np.concatenate([(low + high) / 2, (high - low) / 2], axis=1)


def _beam_row(two_beam: TwoBeam) -> np.ndarray:
    """(1/xi_g, 1/xi_g', 1/xi_0') as the compiled code takes it."""
    return np.array([1 / two_beam.xi_g_nm, 1 / two_beam.xi_g_prime_nm, 1 / two_beam.xi_0_prime_nm])


def _fault_arrays(
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
