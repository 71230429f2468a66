"""What the traction-free faces of a foil add to d(g.u)/dd of its lines.

The bulk field of the lines leaves tractions sigma.n on both faces; the correction is the field of a plate loaded
with their opposite. Two parts make it up:

- Near an outcrop it goes as 1/R. There stands H, the exact correction of a half-space (`outcrop`), in a
  combination sum_j c_j H(d + d_j) of depths whose tractions fall as (D/r)^4 beyond D: it takes the singular part
  and leaves a load that a grid resolves.
- The rest is solved wave by wave, exp(i k.X), as a plate of the foil's mean thickness (`plate_modes`), on a fine grid
  little larger than the field for what is near, and for what is far on coarse grids over larger boxes: there lines are
  spread out, over SPREADS[0] thicknesses, then over SPREADS[1]; each level holds the difference to the next, which
  falls as 1/r^3. What is left after the last, lines straight through, is summed without a box (`through`).

The plate is unbounded and its field vanishes far from all lines: s is that of the crystal far away, as in the bulk
field. Nothing is left free, neither a turn nor a bend of the whole foil. Lines are continued outside so that
connected ones come together again (`foil_frame.cut_lines`); the sum does not depend on how.

Approximations: isotropic elasticity, for an anisotropic crystal too; the faces are parallel in the solution (a wedge or
a bend enters through the places where tractions and depth are taken: wrong by about the wedge angle in rad, or
thickness times curvature); the core's spread is left out of H, so that within 2 core radii of an outcrop the field is
cut off at R = a; a line nearer to a face than 1.2 `grid_nm` over a length, or one that leaves at less than 4 degrees to
the face, is relaxed as if spread out so far: this is the largest error of a coarse grid. Lines that leave the
field at a grazing angle run out of the fine box; with HELD this turns the foil by up to 1e-4 / (nm |g|) = 0.03 mrad.

Axes: S segments, O outcrops, (Y, X) grid over the image, Q depths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import spline_filter1d

from physics.frozen import frozen_array
from physics.parallel import over_threads
from physics.strain.foil_frame import CutLines, FoilFaces, cut_lines, kinks, monomials
from physics.strain.isotropic import DOWN
from physics.strain.outcrop import (
    ANGLES,
    GRID,
    from_table,
    isotropic_tables,
    place_in_table,
    table_angles_rad,
    traction_transform,
)  # fmt: skip
from physics.strain.plate_field import window
from physics.strain.plate_grid import (
    FAR_DEPTHS,
    SPREADS,
    THROUGH_DEPTHS,
    Box,
    ThroughPoints,
    depth_spline,
    down_columns,
    far_box,
    fine_box,
    from_waves,
    normals_in_plate,
    spread_over,
    surfaces,
    to_waves,
)  # fmt: skip
from physics.strain.plate_modes import (
    MIRROR,
    MIRROR_TRACTION,
    isotropic_gradient,
    isotropic_plate,
    isotropic_stress,
)  # fmt: skip
from physics.strain.segments import Segments
from physics.strain.sheet import sheet_tractions
from physics.strain.through import through_field, through_profiles
from physics.strain.traction import add_traction, negated, traction_rows, tractions

# sum_j c_j H(d + j D), j = 0..4: fourth difference, D in grid steps.
DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0])
SHIFT_STEPS = 1.5
# Where H is left to the grid wholly, and where the difference is cut off, in grid steps.
WINDOW_STEPS = 5.0
REACH_STEPS = 10.0
# How much farther that may be for lines at a small angle to the face.
STRETCH = 2.5
SPREAD_STEPS = 1.2
# Sine of the angle to the face below which a line grazes it: no H, its tractions are spread out instead.
GRAZING = 0.07
# The fine grid's load holds no net force and moment but by errors, which bend a foil without end: it is solved on a
# foundation that gives way over so many thicknesses and no further.
HELD = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PlateField:
    """Correction of one set of lines: spline coefficients (Y, X, Q + 2) over the image, and the outcrops' tables.

    `segments` are the lines whose bulk field it completes: cut at the faces and continued along the foil normal.
    `grid_nm` is (x, y of the first point, step); `outcrops` (O, 4) are X, Y, Z in the foil frame and the side.
    """

    segments: Segments
    coefficients: np.ndarray
    grid_nm: np.ndarray
    foil_from_image: np.ndarray
    outcrops: np.ndarray
    tables: np.ndarray
    window_nm: float
    core_nm: float

    def compiled(self) -> tuple[np.ndarray, ...]:
        """What `plate_tiles.add_plate_field` takes."""
        return (
            self.coefficients, self.grid_nm, self.foil_from_image, self.outcrops, self.tables,
            np.array([self.window_nm, self.core_nm]),
        )  # fmt: skip


def plate_correction(
    segments: Segments,
    g_image_inv_nm: ArrayLike,
    faces: FoilFaces,
    *,
    poisson_ratio: float,
    core_nm: float,
    grid_nm: float = 4.0,
    padding: float = 1.5,
    direction: ArrayLike = DOWN,
    straight_on: bool = False,
) -> PlateField:
    """Correction to d(g.u)/dd (or the derivative along another `direction`) for the lines inside `faces`.

    `straight_on` continues the lines along their tangents at first instead of the normal, with the same sum.
    `padding` is the fine box over the field; long waves have larger boxes of their own.
    """
    fine, fractions = fine_box(faces, grid_nm, padding)
    g, e = frozen_array(g_image_inv_nm, (3,), "g_image_inv_nm"), frozen_array(direction, (3,), "direction")
    cut = cut_lines(segments, faces, straight_on)
    ends = _ends(cut, faces.foil_from_image, g, e, poisson_ratio)
    plate = _Plate(
        cut=cut, ends=ends, faces=faces, thickness_nm=faces.thickness_nm, poisson_ratio=poisson_ratio, core_nm=core_nm, g=g, e=e
    )  # fmt: skip
    values = plate.answer(plate.load(fine), fine, fractions, HELD * plate.thickness_nm)
    if len(cut.segments):
        for level in range(len(SPREADS)):
            box = far_box(fine, level, plate.thickness_nm)
            far = plate.answer(plate.spread_load(level, box), box, np.linspace(0, 1, FAR_DEPTHS))
            values += spread_over(far, box, fine, fractions)
        if len(cut.through_place_nm):
            values += plate.through(fine, fractions)
    return field_of(
        values, fine, fractions, cut, faces, places=ends.places, tables=ends.tables, shift_steps=SHIFT_STEPS,
        reach_steps=ends.reach_steps, core_nm=core_nm,
    )  # fmt: skip


def field_of(
    values: np.ndarray, fine: Box, fractions: np.ndarray, cut: CutLines, faces: FoilFaces, *, places: np.ndarray,
    tables: np.ndarray, shift_steps: float, reach_steps: np.ndarray, core_nm: float,
) -> PlateField:  # fmt: skip
    """The correction of grid values (Y, X, Q), which are lost, and of outcrops at `places` (O, 4) with `tables` (O, W, W)."""
    step = fine.step_nm
    grid = np.array([*fine.origin_nm, step])
    over_threads(
        _add_ends, fine.counts[1], places, tables, faces.foil_from_image, grid, faces.entrance, faces.exit,
        step * shift_steps, DIFFERENCE, step * WINDOW_STEPS, step * reach_steps, fractions, values,
    )  # fmt: skip
    for axis in (0, 1):
        values = spline_filter1d(values, order=3, axis=axis, mode="mirror")
    return PlateField(
        segments=cut.segments, coefficients=down_columns(depth_spline(len(fractions)), values), grid_nm=grid,
        foil_from_image=faces.foil_from_image, outcrops=places, tables=tables, window_nm=step * WINDOW_STEPS, core_nm=core_nm,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ends:
    """Outcrops (O, 4), tables (O, W, W) of the derivative and (O, 3, W, W) of the tractions, all in the foil frame."""

    places: np.ndarray
    tables: np.ndarray
    traction_tables: np.ndarray
    reach_steps: np.ndarray


def outcrop_tables(
    cut: CutLines, rotation: np.ndarray, g: np.ndarray, e: np.ndarray, nu: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places (O, 4), tables of the derivative (O, W, W) and lines (O,) of the outcrops that do not graze a face."""
    ends = _ends(cut, rotation, g, e, nu, loads=False)
    return ends.places, ends.tables, cut.line[cut.steep(GRAZING)]


def _ends(cut: CutLines, rotation: np.ndarray, g: np.ndarray, e: np.ndarray, nu: float, loads: bool = True) -> _Ends:
    chosen = cut.steep(GRAZING)
    count, sides = len(chosen), cut.side[chosen]
    angles = table_angles_rad()
    tables, traction_tables = np.zeros((count, GRID, GRID)), np.zeros((count if loads else 0, 3, GRID, GRID))
    places = np.concatenate([cut.place_nm[chosen] @ rotation.T, sides[:, None]], axis=1)
    if count:
        tau = _tractions_round(cut, chosen, rotation, nu)
        for side in (1.0, -1.0):
            at = np.flatnonzero(sides == side)
            mirror = MIRROR if side < 0 else np.ones(3)
            flip = MIRROR_TRACTION if side < 0 else np.ones(3)
            tau_hat = traction_transform(tau[at] * flip[:, None])
            response = isotropic_gradient(angles, nu, mirror * (rotation @ g), mirror * (rotation @ e))
            tables[at] = isotropic_tables(response, tau_hat)
            stress = isotropic_stress(angles, nu)
            for c in range(3 if loads else 0):
                traction_tables[at, c] = flip[c] * isotropic_tables(stress[:, :, c], tau_hat)
    # The tractions of a line at a small angle to the face vary over its own depth, not over r.
    sine = np.abs(cut.outward[chosen] @ rotation[2])
    reach_steps = REACH_STEPS * np.clip(0.7 / np.maximum(sine, 1e-3), 1, STRETCH)
    return _Ends(places=places, tables=tables, traction_tables=traction_tables, reach_steps=reach_steps)


def _tractions_round(cut: CutLines, chosen: np.ndarray, rotation: np.ndarray, nu: float) -> np.ndarray:
    """Tractions sigma.Z (O, 3, A) on a circle of 1 nm round each outcrop, of its straight line without a core."""
    angles = table_angles_rad()
    circle = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1) @ rotation
    line = kinks(cut, chosen)
    count = len(chosen)
    rows = traction_rows(line, rotation[2], rotation, nu, 1e-4)
    tau = np.empty((count, 3, ANGLES))
    for o in range(count):
        tau[o] = tractions(rows[[o, o + count]], cut.place_nm[chosen[o]] + circle)
    return tau


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plate:
    """One plate and the lines in it, to be solved on one grid or another."""

    cut: CutLines
    ends: _Ends
    faces: FoilFaces
    thickness_nm: float
    poisson_ratio: float
    core_nm: float
    g: np.ndarray
    e: np.ndarray

    def load(self, box: Box) -> np.ndarray:
        """sigma.Z (2, 3, Y, X) that the plate must cancel on its upper and lower face."""
        cut, rotation, nu, step = self.cut, self.faces.foil_from_image, self.poisson_ratio, box.step_nm
        cores = core_radii_nm(cut, self.faces, step, self.core_nm)
        rows = np.concatenate([traction_rows(cut.segments, rotation[2], rotation, nu, cores), negated(self.spread_rows[0])])
        kink_rows = traction_rows(kinks(cut, cut.steep(GRAZING)), rotation[2], rotation, nu, self.core_nm)
        load = np.empty((2, 3, *box.shape))
        for f, (side, surface) in enumerate(zip((1.0, -1.0), surfaces(self.faces, box))):
            load[f] = sheet_tractions(rows, surface, box.shape)
            over_threads(
                _relieve, box.shape[0], self.ends.places, self.ends.traction_tables, kink_rows, rotation, surface, side,
                self.thickness_nm, step * SHIFT_STEPS, DIFFERENCE,
                step * self.ends.reach_steps, load[f],
            )  # fmt: skip
        return load

    def through(self, fine: Box, fractions: np.ndarray) -> np.ndarray:
        """The plate's answer (Y, X, Q) to the endless normals of unbounded plates."""
        rotation = self.faces.foil_from_image
        profiles = through_profiles(
            rotation @ self.g, rotation @ self.e, self.poisson_ratio, np.linspace(0.5, -0.5, THROUGH_DEPTHS)
        )
        points = ThroughPoints.over(self.faces, fine, fractions)
        return points.on_grid(through_field(*normals_in_plate(self.cut, self.faces), profiles, points.x, points.y))

    @cached_property
    def spread_rows(self) -> list[np.ndarray]:
        """Rows of all lines spread out for each level, and those of the endless normals."""
        rotation, nu, t = self.faces.foil_from_image, self.poisson_ratio, self.thickness_nm
        # Chords stand in for pieces shorter than the core, the same ones in both levels.
        lines = [(self.cut.chords(spread * t), spread * t) for spread in SPREADS] + [(self.cut.normals(), t)]
        return [traction_rows(segments, rotation[2], rotation, nu, core_nm) for segments, core_nm in lines]

    def spread_load(self, level: int, box: Box) -> np.ndarray:
        """sigma.Z (2, 3, Y, X) of the lines spread out for one level less that of the next."""
        rows = np.concatenate([self.spread_rows[level], negated(self.spread_rows[level + 1])])
        return np.stack([sheet_tractions(rows, surface, box.shape) for surface in surfaces(self.faces, box)])

    def answer(self, load: np.ndarray, box: Box, fractions: np.ndarray, held_nm: float | None = None) -> np.ndarray:
        """The plate's answer (Y, X, Q), at fractions (Q,) of the depth, to a load on the wanted part of a box."""
        rotation = self.faces.foil_from_image
        transform, kx, ky = to_waves(load, box, self.faces, held_nm)
        # Single precision is ample for a correction: 1e-7 of it.
        out = np.empty((len(fractions), *kx.shape), dtype=np.complex64)
        over_threads(
            isotropic_plate, len(kx), transform[0], transform[1], kx, ky, self.thickness_nm / 2, self.poisson_ratio,
            rotation @ self.g, rotation @ self.e, rotation[:2, 2] / rotation[2, 2], (0.5 - fractions) * self.thickness_nm, out,
        )  # fmt: skip
        return from_waves(out, box)


def core_radii_nm(cut: CutLines, faces: FoilFaces, step: float, core_nm: float) -> np.ndarray:
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
def _relieve(begin, end, places, tables, kink_rows, rotation, surface, side, thickness, shift, weights, reach, load):
    """Take each outcrop's straight line off the load (3, Y, X) near it and put on what its difference of H leaves."""
    wx, wy = np.empty(4), np.empty(4)
    one_x, one_y, one_z, out = np.empty(1), np.empty(1), np.empty(1), np.zeros((3, 1))
    count = len(places)
    for i in range(begin, end):
        for j in range(load.shape[2]):
            for a in range(3):
                c = surface[a]
                value = c[0] + c[1] * j + c[2] * i + c[3] * j * j + c[4] * i * j + c[5] * i * i
                if a == 0:
                    px = value
                elif a == 1:
                    py = value
                else:
                    pz = value
            fx = rotation[0, 0] * px + rotation[0, 1] * py + rotation[0, 2] * pz
            fy = rotation[1, 0] * px + rotation[1, 1] * py + rotation[1, 2] * pz
            for o in range(count):
                x, y = fx - places[o, 0], fy - places[o, 1]
                rho_sq = x * x + y * y
                if rho_sq > reach[o] ** 2:
                    continue
                own = places[o, 3] == side
                if own:
                    one_x[0], one_y[0], one_z[0] = px, py, pz
                    out[:] = 0.0
                    add_traction(kink_rows[o], one_x, one_y, one_z, out[0], out[1], out[2])
                    add_traction(kink_rows[o + count], one_x, one_y, one_z, out[0], out[1], out[2])
                    for a in range(3):
                        load[a, i, j] -= out[a, 0]
                elif rho_sq + thickness * thickness > reach[o] ** 2:
                    continue
                for n in range(1 if own else 0, len(weights)):
                    depth = n * shift + (0.0 if own else thickness)
                    r, u, v = place_in_table(x, y, depth, wx, wy)
                    for a in range(3):
                        load[a, i, j] += weights[n] * from_table(tables[o, a], u, v, wx, wy) / r


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _add_ends(
    begin, end, places, tables, rotation, grid, entrance, exit_, shift, weights, window_nm, reach, fractions, values
):  # fmt: skip
    """Add to values (Y, X, Q) what of the outcrops' fields a grid can hold: all but `window` H(d)."""
    wx, wy = np.empty(4), np.empty(4)
    for i in range(begin, end):
        y = grid[1] + i * grid[2]
        for j in range(values.shape[1]):
            x = grid[0] + j * grid[2]
            top = entrance[0] + entrance[1] * x + entrance[2] * y + entrance[3] * x * x + entrance[4] * x * y + entrance[5] * y * y
            bottom = exit_[0] + exit_[1] * x + exit_[2] * y + exit_[3] * x * x + exit_[4] * x * y + exit_[5] * y * y
            if not top > bottom:
                continue
            for o in range(len(places)):
                # Nearest approach of the column to the outcrop, before its depths are looked at.
                ax = rotation[0, 0] * x + rotation[0, 1] * y - places[o, 0]
                ay = rotation[1, 0] * x + rotation[1, 1] * y - places[o, 1]
                az = rotation[2, 0] * x + rotation[2, 1] * y - places[o, 2]
                foot = ax * rotation[0, 2] + ay * rotation[1, 2] + az * rotation[2, 2]
                if ax * ax + ay * ay + az * az - foot * foot > reach[o] ** 2:
                    continue
                for q in range(len(fractions)):
                    z = top + (bottom - top) * fractions[q]
                    fx, fy, fz = ax + rotation[0, 2] * z, ay + rotation[1, 2] * z, az + rotation[2, 2] * z
                    if fx * fx + fy * fy + fz * fz > reach[o] ** 2:
                        continue
                    depth = max(-places[o, 3] * fz, 0.0)
                    total = 0.0
                    for n in range(1, len(weights)):
                        r, u, v = place_in_table(fx, fy, depth + n * shift, wx, wy)
                        total += weights[n] * from_table(tables[o], u, v, wx, wy) / r
                    r, u, v = place_in_table(fx, fy, depth, wx, wy)
                    rest = 1.0 - window(r, window_nm)
                    if rest > 0.0:
                        total += rest * from_table(tables[o], u, v, wx, wy) / r
                    values[i, j, q] += total
