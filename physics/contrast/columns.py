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

from physics.contrast import many_beam
from physics.contrast import two_beam as two_beams
from physics.contrast.beams import BeamSet
from physics.contrast.direct import direct_intensities
from physics.contrast.direct_many import direct_beam_intensities
from physics.contrast.spread import Spread
from physics.contrast.tiles import SMOOTH_LAYERS, tile_intensities
from physics.contrast.tiling import Tiling, image_tiling, scattered_tiling
from physics.contrast.two_beam import TwoBeam
from physics.errors import require
from physics.frames import column_positions_nm
from physics.frozen import frozen_array
from physics.parallel import over_threads
from physics.particle import Particle
from physics.strain import anisotropic, isotropic
from physics.strain.boxes import descend_to_tiles
from physics.strain.inclusions import sphere_rows
from physics.strain.plate import PlateField
from physics.strain.plate_field import no_plate
from physics.strain.segments import Segments

# The polynomials of a slice hold while pi h |S| stays below 1; d(g.u)/dd far from lines adds little to s.
WIDEST_STEP = 0.6
# Likewise for many beams: pi h times half the spread of the eigenvalues, which for two beams is pi h |S|. Only the
# error of varying strain depends on it, as layers of many beams are exact for any s.
WIDEST_STEP_MANY = 1.0
# Of many beams off one row one for each of `BeamSet.directions`.
Plates = PlateField | Sequence[PlateField] | None
# What the far field of one segment may err by, as a fraction of 1/xi_g.
FIELD_TOLERANCE = 5e-4
# Largest d(g.u)/dd that layers of many beams are tabulated for, in units of that of one screw at their distance;
# stronger fields take five times as long.
FIELD_MARGIN = 1.25
CLOSED_FORM_COLUMNS = 65536  # at a time
# The law by which a box's error falls was measured on isotropic fields; sharper ones err more at the same distance.
ANISOTROPIC_SHARE = 0.3


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
    stiffness_image_GPa: ArrayLike | None = None,
    beams: BeamSet | None = None,
    spread: Spread | None = None,
    every_beam: bool = False,
    plate: Plates = None,
) -> tuple[np.ndarray, np.ndarray] | np.ndarray:
    """Bright- and dark-field image (Y, X) float32, incident beam 1.

    With `beams` many-beam images of 000 and of its dark-field beam, `g_image_inv_nm` and `two_beam` being without
    effect; with `every_beam` all of them (N, Y, X). `fault_phase_rad` may then be (F, N), a phase for each beam.
    With `spread` the average over directions and energies of the incident electrons.

    `fault_z_nm` (F, Y, X) is nan where a fault misses a column; crossing fault f downward multiplies phi_g by
    exp(i fault_phase_rad[f]). `field_tolerance`, in 1/xi_g, bounds what interpolating a far segment's field costs.
    `plate` relaxes the foil's surfaces (`plate_correction` of the same g): its lines then take the place of `segments`,
    of which they are the parts inside the foil.
    `particles` are coherent spheres and voids; discs come as segments and
    faults (`physics.particle_discs`).
    `stiffness_image_GPa` (6, 6), Voigt in the image frame, makes the crystal anisotropic; `poisson_ratio` is then
    not used.
    """
    x_nm, y_nm = column_positions_nm(grid.shape, grid.pixel_nm)
    columns = np.empty((*grid.shape, 5))
    columns[..., 0], columns[..., 1] = x_nm[None, :], y_nm[:, None]
    columns[..., 2], columns[..., 3], columns[..., 4] = grid.entrance_z_nm, grid.exit_z_nm, grid.s_inv_nm
    if fault_z_nm is not None:
        fault_z_nm = np.reshape(fault_z_nm, (len(fault_z_nm), -1))
    intensity = _tiled(
        segments, g_image_inv_nm, two_beam, columns.reshape(-1, 5), image_tiling(grid.shape), poisson_ratio, core_nm,
        slice_nm, fault_z_nm, fault_phase_rad, field_tolerance, beams, spread, plate, particles, stiffness_image_GPa,
    )  # fmt: skip
    images = np.ascontiguousarray(intensity.astype(np.float32).T).reshape(-1, *grid.shape)
    return images if every_beam else _bright_and_dark(images, beams)


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
    plate: Plates = None,
    particles: Sequence[Particle] = (),
    stiffness_image_GPa: ArrayLike | None = None,
    reference: bool = False,
    beams: BeamSet | None = None,
    spread: Spread | None = None,
    every_beam: bool = False,
) -> tuple[np.ndarray, np.ndarray] | np.ndarray:
    """Bright- and dark-field intensity (P,) float64 of single columns, incident beam 1.

    `fault_z_nm` is (F, P); the rest as for `column_image`. `reference` sums the field directly over all segments
    and keeps float64 throughout, some twenty times slower.
    """
    columns = np.stack(np.broadcast_arrays(x_nm, y_nm, entrance_z_nm, exit_z_nm, s_inv_nm), axis=-1)
    columns = np.ascontiguousarray(columns, dtype=np.float64).reshape(-1, 5)
    if reference:
        intensity = _direct(
            segments, g_image_inv_nm, two_beam, columns, poisson_ratio, core_nm, slice_nm, fault_z_nm, fault_phase_rad, beams,
            spread, plate, particles, stiffness_image_GPa,
        )  # fmt: skip
    else:
        tiling = scattered_tiling(columns[:, 0], columns[:, 1])
        intensity = _tiled(
            segments, g_image_inv_nm, two_beam, columns, tiling, poisson_ratio, core_nm, slice_nm, fault_z_nm,
            fault_phase_rad, field_tolerance, beams, spread, plate, particles, stiffness_image_GPa,
        )  # fmt: skip
    return np.ascontiguousarray(intensity.T) if every_beam else _bright_and_dark(intensity.T, beams)


def perfect_columns(
    two_beam: TwoBeam,
    s_inv_nm: ArrayLike,
    thickness_nm: ArrayLike,
    *,
    g_image_inv_nm: ArrayLike = (0.0, 0.0, 0.0),
    beams: BeamSet | None = None,
    spread: Spread | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Bright- and dark-field intensity of columns without any defect; arguments as for `column_image`."""
    s, t = np.broadcast_arrays(np.asarray(s_inv_nm, dtype=np.float64), np.asarray(thickness_nm, dtype=np.float64))
    offsets, weights = plane_waves(spread, g_image_inv_nm, beams, float(t.max(initial=0.0)))
    if beams is None:
        parts = np.array([two_beams.perfect_crystal(two_beam, s + offset, t) for offset in offsets[:, 1]])
        bright, dark = np.tensordot(weights, parts, axes=1)
        return bright, dark
    turn = s - beams.reference_s_inv_nm
    every = sum(w * many_beam.perfect_crystal(beams, turn, t, o) for o, w in zip(offsets, weights))
    return _bright_and_dark(every, beams)


def _bright_and_dark(every: np.ndarray, beams: BeamSet | None) -> tuple[np.ndarray, np.ndarray]:
    return (every[0], every[1]) if beams is None else (every[beams.origin], every[beams.dark])


def plane_waves(
    spread: Spread | None, g_image_inv_nm: ArrayLike, beams: BeamSet | None, thickness_nm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (Q, N) of the excitation errors and weights (Q,); N is 2, 000 and g, without `beams`."""
    g = np.array([np.zeros(3), np.asarray(g_image_inv_nm, dtype=np.float64)]) if beams is None else beams.g_image_inv_nm
    if spread is None:
        return np.zeros((1, len(g))), np.ones(1)
    offsets, weights = spread.points(g, thickness_nm)
    return offsets, weights


def _direct(
    segments: Segments, g_image_inv_nm: ArrayLike, two_beam: TwoBeam, columns: np.ndarray, poisson_ratio: float,
    core_nm: float, slice_nm: float, fault_z_nm: ArrayLike | None, fault_phase_rad: ArrayLike | None,
    beams: BeamSet | None, spread: Spread | None, plate: Plates, particles: Sequence[Particle],
    stiffness_image_GPa: ArrayLike | None,
) -> np.ndarray:  # fmt: skip
    require(slice_nm > 0, "slice_nm", "be > 0", slice_nm)
    segments, plates = _plates(segments, plate, 1 if beams is None else len(beams.directions[0]))
    elastic = (poisson_ratio, core_nm, stiffness_image_GPa)
    fault_z, fault_phase = _fault_arrays(fault_z_nm, fault_phase_rad, len(columns), beams)
    offsets, weights = plane_waves(spread, g_image_inv_nm, beams, float((columns[:, 2] - columns[:, 3]).max(initial=0)))
    if beams is None:
        rows = _rows(segments, g_image_inv_nm, *elastic, exact=True)
        intensity, total = np.empty((len(columns), 2)), np.zeros((len(columns), 2))
        for offset, weight in zip(offsets[:, 1], weights):
            over_threads(
                direct_intensities, len(columns), rows, columns + [0, 0, 0, 0, offset], _beam_row(two_beam), float(slice_nm),
                fault_z, fault_phase, sphere_rows(particles), np.array(g_image_inv_nm, np.float64), plates[0], intensity,
            )  # fmt: skip
            total += weight * intensity
        return total
    rows = np.array([_rows(segments, g, *elastic, exact=True) for g in beams.directions[0]])
    columns = _deviations(columns, beams)
    matrices = np.array([beams.matrix_inv_nm(0.0, offset) for offset in offsets])
    intensity = np.empty((len(columns), len(beams)))
    over_threads(
        direct_beam_intensities, len(columns), rows, columns, matrices, beams.directions[1], beams.turn,
        1 / beams.xi_0_prime_nm, float(slice_nm), fault_z, np.exp(1j * fault_phase), weights, beams.origin, plates,
        sphere_rows(particles), beams.directions[0], intensity,
    )  # fmt: skip
    return intensity


def _deviations(columns: np.ndarray, beams: BeamSet) -> np.ndarray:
    """The columns with the deviation of s from that of the set in place of s.

    Raises InputError where s deviates and a beam is no multiple of the reflection it belongs to.
    """
    deviations = columns.copy()
    deviations[:, 4] -= beams.reference_s_inv_nm
    if np.abs(deviations[:, 4]).max(initial=0) > 1e-9:
        beams.require_multiples()
    return deviations


def _tiled(
    segments: Segments, g_image_inv_nm: ArrayLike, two_beam: TwoBeam, columns: np.ndarray, tiling: Tiling,
    poisson_ratio: float, core_nm: float, slice_nm: float, fault_z_nm: ArrayLike | None,
    fault_phase_rad: ArrayLike | None, field_tolerance: float, beams: BeamSet | None, spread: Spread | None, plate: Plates,
    particles: Sequence[Particle], stiffness_image_GPa: ArrayLike | None,
) -> np.ndarray:  # fmt: skip
    require(slice_nm > 0, "slice_nm", "be > 0", slice_nm)
    require(field_tolerance > 0, "field_tolerance", "be > 0", field_tolerance)
    directions = np.reshape(g_image_inv_nm, (1, 3)) if beams is None else beams.directions[0]
    segments, plates = _plates(segments, plate, len(directions))
    elastic = (poisson_ratio, core_nm, stiffness_image_GPa)
    rows = _rows(segments, directions[0], *elastic, exact=False)
    fault_z, fault_phase = _fault_arrays(fault_z_nm, fault_phase_rad, len(columns), beams)
    intensity = np.zeros((len(columns), 2 if beams is None else len(beams)))
    intensity[:, 0 if beams is None else beams.origin] = 1.0
    filled = columns[:, 2] > columns[:, 3]
    if not filled.any():
        return intensity
    columns = columns[tiling.order]
    filled = columns[:, 2] > columns[:, 3]
    top = float(columns[filled, 2].max())
    depth = top - float(columns[filled, 3].min())
    offsets, weights = plane_waves(spread, g_image_inv_nm, beams, float((columns[:, 2] - columns[:, 3]).max()))
    spheres = sphere_rows(particles)
    if beams is None and not len(segments) and not len(spheres):
        intensity[tiling.order] = _unstrained(two_beam, columns, fault_z[:, tiling.order], fault_phase, offsets[:, 1], weights)
        return intensity
    if beams is None:
        # Each tile as fine as its own columns ask for: a few at a torn edge may lie far from the Bragg condition.
        farthest = np.maximum.reduceat(np.where(filled, np.abs(columns[:, 4]), 0.0), tiling.first[:-1])
        widest = WIDEST_STEP / (math.pi * (farthest + np.abs(offsets).max() + 1 / two_beam.xi_g_nm))
    else:
        columns = _deviations(columns, beams)
        spread_inv_nm = many_beam.eigenvalue_spread_inv_nm(beams, columns[filled, 4][[0]] if beams.multiples is None else
                                                           [columns[filled, 4].min(), columns[filled, 4].max()])
        widest = np.full(len(tiling.cells), 2 * WIDEST_STEP_MANY / (math.pi * (spread_inv_nm + 2 * np.ptp(offsets, axis=1).max())))
    layer_nm = depth / np.maximum(1, np.ceil(depth / np.minimum(slice_nm, widest) - 1e-9))
    layers = _tile_layers(columns, filled, tiling.first, top, layer_nm)
    boxes = _tile_boxes(columns, tiling.first, layers, top, layer_nm)
    strength = float(np.linalg.norm(directions, axis=1).max() * np.linalg.norm(segments.burgers_nm, axis=1).max(initial=0))
    many = None
    if beams is None:
        tolerance = field_tolerance / two_beam.xi_g_nm
    else:
        # A beam feels the error of the field as many times as it is a multiple of the direction.
        tolerance = field_tolerance * np.abs(beams.coupling_inv_nm).max() / np.abs(beams.directions[1]).max()
        table = _table(beams, columns[filled, 4], float(layer_nm[0]), strength, fault_phase, offsets, weights)
    if stiffness_image_GPa is not None:
        tolerance *= ANISOTROPIC_SHARE
    values, near, near_count = descend_to_tiles(rows, boxes, tiling.cells, strength, tolerance)
    if beams is not None:
        further = [_rows(segments, g, *elastic, exact=False) for g in directions[1:]]
        node_values = [descend_to_tiles(r, boxes, tiling.cells, strength, tolerance)[0] for r in further]
        many = (
                table, np.array(further).reshape(len(further), *rows.shape),
                np.array(node_values, np.float32).reshape(len(further), *values.shape), np.ascontiguousarray(directions[1:]),
            )  # fmt: skip
    in_order = np.empty(intensity.shape)
    over_threads(
        tile_intensities, len(boxes), rows, columns, tiling.first, layers, top, layer_nm, boxes, values, near, near_count, strength, tolerance,
        _beam_row(two_beam), np.ascontiguousarray(fault_z[:, tiling.order]), fault_phase if many is None else np.empty(0),
        spheres, np.array(directions[0], np.float64), plates, in_order,
        np.ascontiguousarray(offsets[:, 1]), weights, many,
    )  # fmt: skip
    intensity[tiling.order] = in_order
    return intensity


def _unstrained(
    two_beam: TwoBeam, columns: np.ndarray, fault_z: np.ndarray, fault_phase: np.ndarray, offsets: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Intensities (P, 2) of columns without strain: in closed form, exact at any thickness."""
    total = np.empty((len(columns), 2))
    for first in range(0, len(columns), CLOSED_FORM_COLUMNS):
        part = slice(first, first + CLOSED_FORM_COLUMNS)
        _, _, entrance_z, exit_z, s = columns[part].T
        total[part] = sum(
            weight * two_beams.faulted_crystal(two_beam, s + offset, entrance_z, exit_z, fault_z[:, part], fault_phase)
            for offset, weight in zip(offsets, weights)
        )
    return total


def _rows(
    segments: Segments, g_image_inv_nm: ArrayLike, poisson_ratio: float, core_nm: float,
    stiffness_image_GPa: ArrayLike | None, exact: bool,
) -> np.ndarray:  # fmt: skip
    if stiffness_image_GPa is None:
        return isotropic.coefficients(segments, g_image_inv_nm, isotropic.DOWN, poisson_ratio, core_nm)
    return anisotropic.coefficients(
        segments, g_image_inv_nm, anisotropic.DOWN, stiffness_image_GPa, core_nm, exact=exact
    )


def _table(
    beams: BeamSet, deviations_inv_nm: np.ndarray, layer_nm: float, strength: float, fault_phase_rad: np.ndarray,
    offsets_inv_nm: np.ndarray, weights: np.ndarray,
) -> many_beam.BeamTable:  # fmt: skip
    """The tables for layers, over the local deviations and FIELD_MARGIN times the field where panels begin."""
    nearest_nm = SMOOTH_LAYERS * layer_nm
    reach = max(FIELD_MARGIN * strength / (2 * math.pi * nearest_nm), 1e-4)
    ends = sorted(float(beams.turn[0] * d) for d in (deviations_inv_nm.min(), deviations_inv_nm.max()))
    return many_beam.beam_table(
        beams, layer_nm, (ends[0], ends[1]), reach, fault_phase_rad, offsets_inv_nm, weights
    )


def _tile_layers(
    columns: np.ndarray, filled: np.ndarray, first: np.ndarray, top: float, layer_nm: np.ndarray
) -> np.ndarray:
    """First and last layer (end excluded) that each tile's columns reach into (B, 2), of `layer_nm` (B,) from `top` on."""
    highest = np.maximum.reduceat(np.where(filled, columns[:, 2], -np.inf), first[:-1])
    lowest = np.minimum.reduceat(np.where(filled, columns[:, 3], np.inf), first[:-1])
    empty = ~np.isfinite(highest)
    begin = np.floor((top - np.where(empty, top, highest)) / layer_nm + 1e-6)
    end = np.ceil((top - np.where(empty, top, lowest)) / layer_nm - 1e-6)
    return np.stack([begin, np.maximum(end, begin)], axis=1).astype(np.int64)


def _tile_boxes(
    columns: np.ndarray, first: np.ndarray, layers: np.ndarray, top: float, layer_nm: np.ndarray
) -> np.ndarray:
    """Centres and half-sides (B, 6) of the tiles, with a layer to spare above and below."""
    low, high = np.empty((len(layers), 3)), np.empty((len(layers), 3))
    for axis in range(2):
        low[:, axis] = np.minimum.reduceat(columns[:, axis], first[:-1]) - 0.25
        high[:, axis] = np.maximum.reduceat(columns[:, axis], first[:-1]) + 0.25
    high[:, 2] = top - (layers[:, 0] - 1) * layer_nm
    low[:, 2] = top - (layers[:, 1] + 1) * layer_nm
    return np.concatenate([(low + high) / 2, (high - low) / 2], axis=1)


def _plates(
    segments: Segments, plate: Plates, directions: int
) -> tuple[Segments, tuple[tuple[np.ndarray, ...], ...]]:
    """The lines to sum, and one compiled plate for every direction in which d(g.u)/dd is asked for."""
    if plate is None:
        return segments, (no_plate(),) * directions
    plates = (plate,) if isinstance(plate, PlateField) else tuple(plate)
    require(len(plates) == directions, "plate", f"be given for {directions} directions of g", len(plates))
    return plates[0].segments, tuple(p.compiled() for p in plates)


def _beam_row(two_beam: TwoBeam) -> np.ndarray:
    """(1/xi_g, 1/xi_g', 1/xi_0') as the compiled code takes it."""
    return np.array([1 / two_beam.xi_g_nm, 1 / two_beam.xi_g_prime_nm, 1 / two_beam.xi_0_prime_nm])


def _fault_arrays(
    fault_z_nm: ArrayLike | None, fault_phase_rad: ArrayLike | None, columns: int, beams: BeamSet | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Heights (F, P) and phases (F,), of many beams (F, N), F = 0 where there is no fault."""
    shape = () if beams is None else (len(beams),)
    if fault_z_nm is None or fault_phase_rad is None:
        require(fault_z_nm is None and fault_phase_rad is None, "fault_z_nm", "come with fault_phase_rad", "one alone")
        return np.empty((0, columns)), np.empty((0, *shape))
    if beams is not None and np.ndim(fault_phase_rad) == 1:
        # A phase of the reference reflection: each beam takes it as many times as it is a multiple.
        fault_phase_rad = np.multiply.outer(np.asarray(fault_phase_rad, dtype=np.float64), beams.require_multiples())
    phase = frozen_array(fault_phase_rad, (None, *shape), "fault_phase_rad")
    z = np.ascontiguousarray(fault_z_nm, dtype=np.float64)
    require(z.shape == (len(phase), columns), "fault_z_nm", f"have shape {(len(phase), columns)}", z.shape)
    return z, np.array(phase)
