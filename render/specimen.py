"""What the column integration needs of a Scene, worked out once: frames, segments, extinction, faults."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from physics.beam import (
    BeamCondition,
    beam_absorption_nm,
    foil_normal_image,
    g_image_inv_nm,
    image_from_crystal,
    xi_g_nm,
)
from physics.contrast.beams import BeamSet, beam_set
from physics.contrast.columns import ColumnGrid, perfect_columns
from physics.contrast.spread import Spread
from physics.contrast.two_beam import TwoBeam
from physics.dislocation import Dislocation
from physics.fault import StackingFault
from physics.frames import column_positions_nm, field_nm
from physics.misorientation import shown_foil
from physics.particle_discs import disc_lines
from physics.polygon import polygon_covers
from physics.slip_trace import SLIP_TRACE
from physics.strain.foil_frame import FoilFaces
from physics.strain.green import rotated_stiffness
from physics.strain.half_spaces import HalfSpaces, half_spaces, no_half_spaces
from physics.strain.plate import PlateField, plate_corrections
from physics.strain.segments import Segments, segments_of
from render.foil import FoilMaps, FoilShape, scene_foil_maps
from render.scene import Scene
from render.scene_rules import SURFACE_TOLERANCE_NM, plane_normal_image

CONTINUATION_THICKNESSES = 1000
# Sine of the angle to a face below which a line that ends on it runs on along its normal.
GRAZING_END = 0.1
LEAST_PHASE_RAD = 1e-9
# Grid of the surface correction; where pixels are coarse it costs up to 5e-3 of an image, rms, and half the time.
SURFACE_GRID_NM, SURFACE_GRID_PX = 4.0, 1.25


@dataclass(frozen=True, kw_only=True, eq=False)
class Specimen:
    """Derived quantities of one Scene, all vectors in the image frame; the foil with those grains that are seen.

    `kept` holds what `plate_fields` found, by what it depends on: the picture and its labels ask for it.
    """

    image_from_crystal: np.ndarray
    g_image_inv_nm: np.ndarray
    two_beam: TwoBeam
    beams: BeamSet | None
    spread: Spread | None
    foil: FoilMaps
    foil_shape: FoilShape
    poisson_ratio: float
    stiffness_image_GPa: np.ndarray | None
    kept: dict[tuple, Any] = field(default_factory=dict, repr=False)

    @property
    def two_beam_isotropic(self) -> bool:
        """Whether the image is that of two beams in an isotropic crystal, for which lines alone have a compiled route."""
        return self.beams is None and self.stiffness_image_GPa is None

    @property
    def directions_inv_nm(self) -> np.ndarray | list[np.ndarray]:
        """Directions of g (R, 3) along which d(g.u)/dd is needed, of which all beams are combinations."""
        return [self.g_image_inv_nm] if self.beams is None else self.beams.directions[0]

    @classmethod
    def of(cls, scene: Scene, foil_library: str | os.PathLike[str] | None = None) -> Specimen:
        rotation = image_from_crystal(scene.crystal, scene.beam)
        xi_0_prime_nm, xi_g_prime_nm = beam_absorption_nm(scene.crystal, scene.beam)
        shown = shown_foil(scene.crystal, scene.beam, scene.foil)
        return cls(
            image_from_crystal=rotation,
            g_image_inv_nm=g_image_inv_nm(scene.crystal, scene.beam),
            two_beam=TwoBeam(
                xi_g_nm=xi_g_nm(scene.crystal, scene.beam),
                xi_g_prime_nm=xi_g_prime_nm,
                xi_0_prime_nm=xi_0_prime_nm,
            ),
            beams=beam_set(scene.crystal, scene.beam),
            spread=spread_of(scene.beam),
            foil=scene_foil_maps(scene, foil_library),
            foil_shape=FoilShape(foil=shown, normal_image=foil_normal_image(scene.crystal, scene.beam, scene.foil)),
            poisson_ratio=scene.crystal.poisson_ratio,
            stiffness_image_GPa=None if scene.elasticity == "isotropic" else rotated_stiffness(scene.crystal.stiffness_GPa, rotation),
        )

    def perfect_columns(self, s_inv_nm: np.ndarray, thickness_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bright- and dark-field intensity without any defect, under the same beams."""
        return perfect_columns(
            self.two_beam, s_inv_nm, thickness_nm, g_image_inv_nm=self.g_image_inv_nm, beams=self.beams, spread=self.spread
        )


def spread_of(beam: BeamCondition) -> Spread | None:
    """The spread of directions and energies of a condition, None where there is none."""
    if beam.convergence_mrad == 0 and beam.energy_spread_eV == 0:
        return None
    return Spread(
        voltage_kV=beam.voltage_kV, convergence_mrad=beam.convergence_mrad, energy_spread_eV=beam.energy_spread_eV
    )


def column_grid(scene: Scene, specimen: Specimen) -> ColumnGrid:
    """The columns of the Scene's image."""
    foil = specimen.foil
    return ColumnGrid(
        shape=scene.shape, pixel_nm=scene.pixel_nm, entrance_z_nm=foil.entrance_z_nm, exit_z_nm=foil.exit_z_nm,
        s_inv_nm=foil.s_inv_nm,
    )  # fmt: skip


def continuation_nm(scene: Scene) -> float:
    """How far an open end runs on: its strain falls as 1 / distance, and a longer segment costs nothing."""
    return CONTINUATION_THICKNESSES * scene.foil.thickness_nm + 2 * max(field_nm(scene.shape, scene.pixel_nm))


def segments(scene: Scene, specimen: Specimen, lines: tuple | None = None, alone: bool = False) -> Segments:
    """Segments of the Scene's dislocations and of its discs of other matter, or of `lines`; `alone` as if each were the
    only one."""
    burgers_from_uvw = specimen.image_from_crystal @ scene.crystal.lattice_nm
    discs, _ = _discs(scene, specimen)
    chosen = (*scene.dislocations, *discs) if lines is None else lines
    return segments_of(chosen, burgers_from_uvw, continuation_nm(scene), alone, lambda *ends: _onward(specimen.foil_shape, *ends))


def _discs(scene: Scene, specimen: Specimen) -> tuple[list[Dislocation], list[StackingFault]]:
    """Lines and sheets of the Scene's discs of other matter; the Specimen keeps them."""
    of = ("discs", scene.particles)
    if of not in specimen.kept:
        specimen.kept[of] = disc_lines(scene.particles, scene.crystal, specimen.image_from_crystal)
    return specimen.kept[of]


def _onward(shape: FoilShape, places_nm: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Directions (E, 3) in which lines that end at places (E, 3) with tangents `along` (E, 3) run on: straight, but

    - along the normal of a face that they leave at a sine under GRAZING_END: straight on, an end on a rough or a bent face may
      lead back into the foil;
    - along the normal, to the nearer face, from the wall of a hole or a tear: straight on, they would cross to its other side.
    """
    x_nm, y_nm, z_nm = places_nm.T
    direction = along.copy()
    whole = FoilShape(foil=replace(shape.foil, openings=(), tears=()), normal_image=shape.normal_image)
    above_nm, beyond = ({side: side * (z_nm - foil.face_z_nm(x_nm, y_nm, side)) for side in (1, -1)} for foil in (whole, shape))
    within = np.maximum(above_nm[1], above_nm[-1]) < -SURFACE_TOLERANCE_NM
    at_wall = within & (np.maximum(beyond[1], beyond[-1]) > -SURFACE_TOLERANCE_NM)
    for side in (1, -1):
        def height(x: np.ndarray, y: np.ndarray, side: int = side) -> np.ndarray:
            return shape.smooth_face_z_nm(x, y, side)

        slope_x, slope_y = (height(x_nm + 1, y_nm) - height(x_nm - 1, y_nm)) / 2, (height(x_nm, y_nm + 1) - height(x_nm, y_nm - 1)) / 2
        normal = side * np.stack([-slope_x, -slope_y, np.ones_like(slope_x)], axis=1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        grazing = (above_nm[side] > -SURFACE_TOLERANCE_NM) & (np.einsum("ei,ei->e", along, normal) < GRAZING_END)
        turned = grazing | (at_wall & (above_nm[side] >= above_nm[-side]))
        direction[turned] = normal[turned]
    return direction


def plate_fields(scene: Scene, specimen: Specimen) -> tuple[PlateField, ...] | None:
    """Correction of the relaxed surfaces for every direction of g in which d(g.u)/dd is needed; the Specimen keeps it.

    None where the surfaces are not relaxed or there is no line. The faces are those without relief and openings: a step
    of a few nm does not bend the foil, and near a hole or a second grain the correction is that of the foil without it.
    Its grid follows the pixels where they are coarse.
    """
    of = (scene.dislocations, scene.particles, scene.surfaces, scene.core_nm, scene.pixel_nm, scene.shape)
    if of not in specimen.kept:
        specimen.kept[of] = _plate_fields(scene, specimen)
    return specimen.kept[of]


def _plate_fields(scene: Scene, specimen: Specimen) -> tuple[PlateField, ...] | None:
    lines = segments(scene, specimen)
    if not scene.surfaces or not len(lines):
        return None
    faces = foil_faces(scene, specimen)
    if faces is None:
        return None
    directions = specimen.directions_inv_nm
    grid_nm = max(SURFACE_GRID_NM, SURFACE_GRID_PX * scene.pixel_nm)
    return plate_corrections(
        lines, directions, faces, poisson_ratio=specimen.poisson_ratio, stiffness_image_GPa=specimen.stiffness_image_GPa,
        core_nm=scene.core_nm, grid_nm=grid_nm,
    )  # fmt: skip


def foil_faces(scene: Scene, specimen: Specimen) -> FoilFaces | None:
    """The faces of the foil over the field, without relief and openings; None where there is only vacuum."""
    x_nm, y_nm = (axis[:: max(1, len(axis) // 48)] for axis in column_positions_nm(scene.shape, scene.pixel_nm))
    mesh = np.meshgrid(x_nm, y_nm)
    entrance_z_nm, exit_z_nm = (specimen.foil_shape.smooth_face_z_nm(*mesh, side) for side in (1, -1))
    return FoilFaces.of_maps(x_nm, y_nm, entrance_z_nm, exit_z_nm, field_nm(scene.shape, scene.pixel_nm))


def lines_alone(scene: Scene, specimen: Specimen, lines: tuple) -> tuple[HalfSpaces, ...]:
    """Each of `lines` as if it were the only one, with what the faces add where they are relaxed, for each of the Specimen's
    directions.

    A slip trace, level with the face above it, is screened by its mirror image of
    opposite b, which frees a face of the tractions of a screw, and of the greater part of an edge's.
    """
    screened = scene.surfaces and any(line.kind == SLIP_TRACE for line in lines)  # labels ask for traces by themselves
    if screened:
        lines = tuple(_with_mirror_image(line, specimen.foil_shape) for line in lines)
    alone = segments(scene, specimen, lines, alone=True)
    return _half_spaces(alone, len(lines), scene, specimen, scene.surfaces and not screened)


def outcrops_in_place(scene: Scene, specimen: Specimen) -> tuple[HalfSpaces, ...]:
    """What the faces add to each line of the Scene by itself, numbered as in `segments`, for each of the Specimen's directions.

    For lines that run on as those of `plate_fields`. Nothing where the faces are not relaxed.
    """
    every = segments(scene, specimen)
    return _half_spaces(every, int(every.line.max(initial=-1)) + 1, scene, specimen, scene.surfaces, straight_on=False)


def _half_spaces(
    own: Segments, lines: int, scene: Scene, specimen: Specimen, relaxed: bool, straight_on: bool = True
) -> tuple[HalfSpaces, ...]:
    faces = foil_faces(scene, specimen) if relaxed and len(own) else None
    if faces is None:
        return (no_half_spaces(own, lines),) * len(specimen.directions_inv_nm)
    return half_spaces(
        own, lines, specimen.directions_inv_nm, faces, poisson_ratio=specimen.poisson_ratio,
        stiffness_image_GPa=specimen.stiffness_image_GPa, core_nm=scene.core_nm, straight_on=straight_on,
    )  # fmt: skip


def _with_mirror_image(trace: Dislocation, shape: FoilShape) -> Dislocation:
    """A slip trace and, back along the other side of the face that is nearer, its mirror image: one closed loop."""
    x_nm, y_nm, z_nm = trace.points_nm.T
    entrance_nm, exit_nm = (shape.smooth_face_z_nm(x_nm, y_nm, side) for side in (1, -1))
    face_nm = entrance_nm if (entrance_nm - z_nm).mean() < (z_nm - exit_nm).mean() else exit_nm
    beyond_nm = np.column_stack([x_nm, y_nm, 2 * face_nm - z_nm])[np.abs(face_nm - z_nm) > SURFACE_TOLERANCE_NM]
    return replace(trace, points_nm=np.concatenate([trace.points_nm, beyond_nm[::-1], trace.points_nm[:1]]), plane_hkl=(0, 0, 0))


def fault_sheets(scene: Scene, specimen: Specimen) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Heights (F, Y, X) and phases (F,) of the faults and discs in the columns of the image; see `fault_heights`.

    Sheets of one phase that share no column are one entry, so that many small ones take little memory.
    """
    x_nm, y_nm = np.meshgrid(*column_positions_nm(scene.shape, scene.pixel_nm))
    heights, phases = fault_heights(scene, specimen, x_nm, y_nm)
    _, discs = _discs(scene, specimen)
    if not discs:
        return heights, phases
    sheets: list[np.ndarray] = [] if heights is None else list(heights)
    values: list[np.ndarray] = [] if phases is None else list(phases)
    own = len(sheets)
    for disc in discs:
        phase = _phase_rad(disc, scene, specimen)
        rows, columns = _window(disc, x_nm[0], y_nm[:, 0])
        if np.abs(phase).max() < LEAST_PHASE_RAD or rows.start == rows.stop or columns.start == columns.stop:
            continue
        part = _heights_nm(disc, scene, specimen, x_nm[rows, columns], y_nm[rows, columns])
        _lay(part, phase, (rows, columns), sheets, values, own, x_nm.shape)
    return (np.array(sheets), np.array(values)) if sheets else (None, None)


def sheet_heights(
    scene: Scene, specimen: Specimen, x_nm: np.ndarray, y_nm: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """As `fault_sheets`, in any columns at (x, y) (P,)."""
    heights, phases = fault_heights(scene, specimen, x_nm, y_nm)
    sheets: list[np.ndarray] = [] if heights is None else list(heights)
    values: list[np.ndarray] = [] if phases is None else list(phases)
    own = len(sheets)
    for disc in _discs(scene, specimen)[1]:
        phase = _phase_rad(disc, scene, specimen)
        low, high = disc.outline_nm[:, :2].min(axis=0), disc.outline_nm[:, :2].max(axis=0)
        near = np.flatnonzero((x_nm >= low[0]) & (x_nm <= high[0]) & (y_nm >= low[1]) & (y_nm <= high[1]))
        if np.abs(phase).max() >= LEAST_PHASE_RAD and len(near):
            _lay(_heights_nm(disc, scene, specimen, x_nm[near], y_nm[near]), phase, near, sheets, values, own, x_nm.shape)
    return (np.array(sheets), np.array(values)) if sheets else (None, None)


def _lay(
    part: np.ndarray, phase: np.ndarray, place: Any, sheets: list[np.ndarray], values: list[np.ndarray], own: int, shape: tuple[int, ...]
) -> None:  # fmt: skip
    """Lay heights `part` at the index `place` into the first sheet of that phase, from number `own` on, that is free there."""
    covered = np.isfinite(part)
    for sheet, value in zip(sheets[own:], values[own:]):
        if np.abs(value - phase).max() < 1e-12 and not np.isfinite(sheet[place][covered]).any():
            break
    else:
        sheet = np.full(shape, np.nan)
        sheets.append(sheet)
        values.append(phase)
    sheet[place] = np.where(covered, part, sheet[place])


def fault_heights(
    scene: Scene, specimen: Specimen, x_nm: np.ndarray, y_nm: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Height z_nm (F, ...) of every fault in the columns at (x, y), nan where they miss it, and its phase 2 pi g.R (F,).

    Many beams have a phase each, (F, N). A fault seen edge-on covers no column. The phase is taken modulo 2 pi into (-pi, pi].
    """
    if not scene.faults:
        return None, None
    heights = np.full((len(scene.faults), *x_nm.shape), np.nan)
    beams = specimen.beams
    phases = np.zeros((len(scene.faults), *(() if beams is None else (len(beams),))))
    for k, fault in enumerate(scene.faults):
        phases[k] = _phase_rad(fault, scene, specimen)
        heights[k] = _heights_nm(fault, scene, specimen, x_nm, y_nm)
    return heights, phases


def _phase_rad(fault: StackingFault, scene: Scene, specimen: Specimen) -> np.ndarray:
    """2 pi g.R modulo 2 pi into (-pi, pi], for each beam where there are many."""
    beams = specimen.beams
    cycles = (np.array(scene.beam.g_hkl) if beams is None else beams.hkl) @ fault.shift_uvw
    return 2 * np.pi * (cycles - np.ceil(cycles - 0.5))


def _heights_nm(fault: StackingFault, scene: Scene, specimen: Specimen, x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
    normal = plane_normal_image(fault.plane_hkl, scene.crystal, specimen.image_from_crystal)
    if abs(normal[2]) < 1e-6:
        return np.full(x_nm.shape, np.nan)
    inside = polygon_covers(fault.outline_nm[:, :2], x_nm, y_nm)
    origin = fault.outline_nm[0]
    z = origin[2] - (normal[0] * (x_nm - origin[0]) + normal[1] * (y_nm - origin[1])) / normal[2]
    return np.where(inside, z, np.nan)


def _window(fault: StackingFault, x_nm: np.ndarray, y_nm: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the pixels that a fault's outline may cover; x rises along columns, y falls along rows."""
    low, high = fault.outline_nm[:, :2].min(axis=0), fault.outline_nm[:, :2].max(axis=0)
    columns = slice(int(np.searchsorted(x_nm, low[0])), int(np.searchsorted(x_nm, high[0])))
    rows = slice(int(np.searchsorted(-y_nm, -high[1])), int(np.searchsorted(-y_nm, -low[1])))
    return rows, columns
