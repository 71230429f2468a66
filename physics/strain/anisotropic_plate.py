"""What the traction-free faces of a foil add to d(g.u)/dd of its lines, for a crystal of any elastic stiffness.

The scheme is that of `plate`: at outcrops the exact answer of a half-space, in a difference that a grid can hold; the
rest wave by wave as a plate; far away, on coarser grids, lines that are spread out; in the end lines straight through
without a box. Each part is that of the crystal's own stiffness: tractions by `anisotropic_traction`, the half-space by
`anisotropic_outcrop`, waves by `plate_impedance`, lines straight through by `anisotropic_through`. The tractions of all
lines are found once for all contractions g.

Approximations: those of `plate` but for its first. On the fine grid tractions leave out the harmonics that
`anisotropic_traction` drops, and an outcrop's H is shifted farther the slower waves decay (`LEAST_DECAY`).

Axes: S segments, O outcrops, G contractions, (Y, X) grid over the image, Q depths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike

from physics.frozen import frozen_array
from physics.parallel import over_threads
from physics.strain.anisotropic import DOWN, Medium, medium
from physics.strain.anisotropic_kernel import WORK, add_row
from physics.strain.anisotropic_outcrop import outcrop_tables
from physics.strain.anisotropic_through import through_profiles
from physics.strain.anisotropic_traction import sheet_tractions, traction_rows, tractions
from physics.strain.foil_frame import CutLines, FoilFaces, cut_lines, kinks, monomials
from physics.strain.green import checked_stiffness, rotated_stiffness
from physics.strain.outcrop import from_table, place_in_table, table_angles_rad
from physics.strain.plate import DIFFERENCE, STRETCH, PlateField, field_of
from physics.strain.plate_grid import (
    FAR_DEPTHS,
    SPREADS,
    THROUGH_DEPTHS,
    Box,
    ThroughPoints,
    far_box,
    fine_box,
    from_waves,
    normals_in_plate,
    spread_over,
    surfaces,
    to_waves,
)  # fmt: skip
from physics.strain.plate_impedance import Impedance, impedance, plate_waves
from physics.strain.segments import Segments
from physics.strain.through import through_field

# In grid steps: the shift of H, where its difference is cut off, and how far a line along a face is spread out.
SHIFT_STEPS = 1.5
REACH_STEPS = 10.0
SPREAD_STEPS = 1.2
# Sine of the angle to the face below which a line grazes it: no H, its tractions are spread out instead.
GRAZING = 0.07
# The fine grid's load holds no net force and moment but by errors, which bend a foil without end: it is solved on a
# foundation that gives way over so many thicknesses and no further.
HELD = 2.0
# In grid steps, a shift of H over which the slowest wave decays enough for a grid to hold what is left, and how much
# farther the difference then reaches.
LEAST_DECAY = 1.1
REACH_POWER = 0.5


def anisotropic_plate_corrections(
    segments: Segments,
    g_image_inv_nm: ArrayLike,
    faces: FoilFaces,
    *,
    stiffness_image_GPa: ArrayLike,
    core_nm: float,
    grid_nm: float = 4.0,
    padding: float = 1.5,
    direction: ArrayLike = DOWN,
    straight_on: bool = False,
    exact: bool = False,
) -> tuple[PlateField, ...]:
    """Corrections to d(g.u)/dd, or the derivative along another `direction`, for each of several g (G, 3).

    Options are those of `plate.plate_correction`, the stiffness (6, 6) is in the image frame; `exact` keeps all harmonics
    of the tractions. Raises InputError for a stiffness that is not symmetric and positive definite.
    """
    fine, fractions = fine_box(faces, grid_nm, padding)
    g = frozen_array(np.atleast_2d(g_image_inv_nm), (None, 3), "g_image_inv_nm")
    e, stiffness = frozen_array(direction, (3,), "direction"), checked_stiffness(stiffness_image_GPa, "stiffness_image_GPa")
    rotation = faces.foil_from_image
    cut = cut_lines(segments, faces, straight_on)
    foil = _Foil(
        cut=cut, faces=faces, thickness_nm=faces.thickness_nm, core_nm=core_nm, medium=medium(stiffness),
        waves=impedance(rotated_stiffness(stiffness, rotation)), g=g @ rotation.T, e=np.tile(rotation @ e, (len(g), 1)),
        exact=exact,
    )  # fmt: skip
    ends = _ends(foil)
    values = foil.answer(_fine_load(foil, ends, fine), fine, fractions, HELD * foil.thickness_nm)
    if len(cut.segments):
        for level in range(len(SPREADS)):
            box = far_box(fine, level, foil.thickness_nm)
            far = foil.answer(_far_load(foil, level, box), box, np.linspace(0, 1, FAR_DEPTHS))
            values += spread_over(far, box, fine, fractions)
        if len(cut.through_place_nm):
            values += _through(foil, fine, fractions)
    return tuple(
        field_of(
            values[i], fine, fractions, cut, faces, places=ends.places, tables=np.ascontiguousarray(ends.tables[:, i]),
            shift_steps=np.full(len(ends.places), foil.shift_steps), reach_steps=ends.reach_steps, core_nm=core_nm,
        )
        for i in range(len(g))
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class _Foil:
    """A plate of one crystal and the lines in it; g, e (G, 3) in the foil's frame."""

    cut: CutLines
    faces: FoilFaces
    thickness_nm: float
    core_nm: float
    medium: Medium
    waves: Impedance
    g: np.ndarray
    e: np.ndarray
    exact: bool

    @property
    def shift_steps(self) -> float:
        """How far an outcrop's H is moved at a time: a wave that decays slowly must have gone as far as an isotropic one."""
        return max(SHIFT_STEPS, LEAST_DECAY / self.waves.slowest_decay)

    def rows(self, segments: Segments, core_nm: np.ndarray | float, far: bool = False) -> np.ndarray:
        """Rows of sigma.Z in the foil's frame; those of `far` loads keep all harmonics.

        Harmonics left out break equilibrium, and a net force of long waves bends a foil as 1/k^3.
        """
        rotation = self.faces.foil_from_image
        degrees = (self.medium.degree,) * 2 if self.exact or far else None
        return traction_rows(segments, rotation[2], rotation, self.medium, core_nm, degrees=degrees)

    def answer(self, load: np.ndarray, box: Box, fractions: np.ndarray, held_nm: float | None = None) -> np.ndarray:
        """The plate's answer (G, Y, X, Q), at fractions (Q,) of the depth, to a load (2, 3, Y, X) on the wanted part of a box."""
        rotation, half = self.faces.foil_from_image, self.thickness_nm / 2
        transform, kx, ky = to_waves(load, box, self.faces, held_nm)
        drift = rotation[:2, 2] / rotation[2, 2]
        return from_waves(plate_waves(self.waves, transform[None], kx, ky, half, self.g, self.e, drift, half * (1 - 2 * fractions))[0], box)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ends:
    """Outcrops (O, 4), tables (O, G, W, W) of the derivatives and (O, 3, W, W) of the tractions, in the foil's frame, and
    rows (2 O, 3, W) of the lines that leave there."""

    places: np.ndarray
    tables: np.ndarray
    traction_tables: np.ndarray
    rows: np.ndarray
    reach_steps: np.ndarray


def _ends(foil: _Foil) -> _Ends:
    cut, rotation = foil.cut, foil.faces.foil_from_image
    chosen = cut.steep(GRAZING)
    count, angles = len(chosen), table_angles_rad()
    line = kinks(cut, chosen)
    thin, rows = foil.rows(line, 1e-4), foil.rows(line, foil.core_nm)
    circle = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1) @ rotation
    tau = np.empty((count, 3, len(angles)))
    for o in range(count):
        tau[o] = tractions(thin[[o, o + count]], cut.place_nm[chosen[o]] + circle)
    tables, traction_tables = outcrop_tables(foil.waves, foil.g, foil.e, tau, cut.side[chosen])
    sine = np.abs(cut.outward[chosen] @ rotation[2])
    return _Ends(
        places=np.concatenate([cut.place_nm[chosen] @ rotation.T, cut.side[chosen, None]], axis=1), tables=tables,
        traction_tables=np.ascontiguousarray(traction_tables), rows=rows,
        reach_steps=REACH_STEPS * (foil.shift_steps / SHIFT_STEPS) ** REACH_POWER * np.clip(0.7 / np.maximum(sine, 1e-3), 1, STRETCH),
    )  # fmt: skip


def _fine_load(foil: _Foil, ends: _Ends, box: Box) -> np.ndarray:
    """sigma.Z (2, 3, Y, X) that the plate must cancel on its upper and lower face, near part."""
    step = box.step_nm
    cores = _core_radii_nm(foil.cut, foil.faces, step, foil.core_nm)
    rows = np.concatenate([foil.rows(foil.cut.segments, cores), _spread_rows(foil, SPREADS[0], -1, False)])
    load = np.empty((2, 3, *box.shape))
    for f, (side, surface) in enumerate(zip((1.0, -1.0), surfaces(foil.faces, box))):
        load[f] = sheet_tractions(rows, surface, box.shape, np.float64 if foil.exact else np.float32)
        over_threads(
            _relieve, 3, ends.places, ends.traction_tables, ends.rows, foil.faces.foil_from_image, surface, side,
            foil.thickness_nm, step * foil.shift_steps, DIFFERENCE, step * ends.reach_steps, load[f],
        )  # fmt: skip
    return load


def _spread_rows(foil: _Foil, spread: float, sign: int, far: bool = True) -> np.ndarray:
    """Rows of all lines spread out over so many thicknesses, times a sign."""
    core_nm = spread * foil.thickness_nm
    return foil.rows(foil.cut.chords(core_nm, sign), core_nm, far)


def _far_load(foil: _Foil, level: int, box: Box) -> np.ndarray:
    """sigma.Z (2, 3, Y, X) of the lines spread out for one level less that of the next."""
    last = level == len(SPREADS) - 1
    less = foil.rows(foil.cut.normals(-1), foil.thickness_nm, True) if last else _spread_rows(foil, SPREADS[level + 1], -1)
    rows = np.concatenate([_spread_rows(foil, SPREADS[level], 1), less])
    return np.stack([sheet_tractions(rows, surface, box.shape, np.float64) for surface in surfaces(foil.faces, box)])


def _through(foil: _Foil, fine: Box, fractions: np.ndarray) -> np.ndarray:
    """The answer (G, Y, X, Q) to the endless normals of unbounded plates."""
    heights = np.linspace(0.5, -0.5, THROUGH_DEPTHS)
    profiles = through_profiles(foil.g, foil.e, foil.medium, foil.waves, foil.faces.foil_from_image, heights)
    points, normals = ThroughPoints.over(foil.faces, fine, fractions), normals_in_plate(foil.cut, foil.faces)
    return points.on_grid(np.stack([through_field(*normals, p, points.x, points.y) for p in profiles]))


def _core_radii_nm(cut: CutLines, faces: FoilFaces, step: float, core_nm: float) -> np.ndarray:
    """Core radius of each segment: wider for those along a face than a grid of that step would not resolve."""
    spread = SPREAD_STEPS * step
    inside = cut.inside
    depth = np.full(len(inside), np.inf)
    middle, half = (inside.start_nm + inside.end_nm) / 2, np.linalg.norm(inside.end_nm - inside.start_nm, axis=1) / 2
    steep = cut.steep(GRAZING)
    for side, face in ((1, faces.entrance), (-1, faces.exit)):
        ends = [np.abs(monomials(p[:, 0], p[:, 1]) @ face - p[:, 2]) for p in (inside.start_nm, inside.end_nm)]
        own_depth = np.minimum(*ends) * faces.normal_image[2]
        # The end of a line at its outcrop is no line along the face: its straight part is taken off exactly.
        for o in steep[cut.side[steep] == side]:
            near = np.linalg.norm(middle - cut.place_nm[o], axis=1) < 3 * step + half
            own_depth[near & (inside.line == cut.line[o])] = np.inf
        depth = np.minimum(depth, own_depth)
    cores = np.sqrt(np.maximum(core_nm**2, spread**2 - np.minimum(depth, spread) ** 2))
    outside = np.full(len(cut.continuation), max(core_nm, spread))
    outside[steep] = core_nm
    outside[len(cut.place_nm) :] = core_nm
    return np.concatenate([cores, outside])


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _relieve(begin, end, places, tables, rows, rotation, surface, side, thickness, shift, weights, reach, load):
    """Take each outcrop's straight line off components [begin, end) of the load (3, Y, X) near it, and put on what its
    difference of H leaves."""
    wx, wy, work = np.empty(4), np.empty(4), np.empty(WORK)
    count, height, width = len(places), load.shape[1], load.shape[2]
    points, out = np.empty((3, height * width)), np.empty(height * width)
    at, flat = np.empty(height * width, np.int64), np.empty((2, height * width))
    for o in range(count):
        own = places[o, 3] == side
        reach_sq = reach[o] ** 2 - (0.0 if own else thickness * thickness)
        if reach_sq <= 0.0:
            continue
        n = 0
        for i in range(height):
            for j in range(width):
                p = _at(surface, j, i)
                fx = rotation[0, 0] * p[0] + rotation[0, 1] * p[1] + rotation[0, 2] * p[2] - places[o, 0]
                fy = rotation[1, 0] * p[0] + rotation[1, 1] * p[1] + rotation[1, 2] * p[2] - places[o, 1]
                if fx * fx + fy * fy <= reach_sq:
                    points[0, n], points[1, n], points[2, n] = p
                    flat[0, n], flat[1, n], at[n] = fx, fy, i * width + j
                    n += 1
        for a in range(begin, end):
            out[:n] = 0.0
            if own:
                add_row(rows[o, a], points[0, :n], points[1, :n], points[2, :n], out[:n], work)
                add_row(rows[o + count, a], points[0, :n], points[1, :n], points[2, :n], out[:n], work)
            for q in range(n):
                value = -out[q]
                for c in range(1 if own else 0, len(weights)):
                    r, u, v = place_in_table(flat[0, q], flat[1, q], c * shift + (0.0 if own else thickness), wx, wy)
                    value += weights[c] * from_table(tables[o, a], u, v, wx, wy) / r
                load[a, at[q] // width, at[q] % width] += value


@numba.njit(cache=True, error_model="numpy")
def _at(surface, j, i):
    p0, p1, p2 = surface[0], surface[1], surface[2]
    return (
        p0[0] + p0[1] * j + p0[2] * i + p0[3] * j * j + p0[4] * i * j + p0[5] * i * i,
        p1[0] + p1[1] * j + p1[2] * i + p1[3] * j * j + p1[4] * i * j + p1[5] * i * i,
        p2[0] + p2[1] * j + p2[2] * i + p2[3] * j * j + p2[4] * i * j + p2[5] * i * i,
    )
