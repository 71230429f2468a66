"""What the traction-free faces of a foil add to d(g.u)/dd of its lines.

The bulk field of the lines leaves tractions sigma.n on both faces; the correction is the field of a plate loaded
with their opposite. Two parts make it up:

- Near an outcrop it goes as 1/R. There stands H, the exact correction of a half-space (`outcrop`, `anisotropic_outcrop`), in a
  combination sum_j c_j H(d + d_j) of depths whose tractions fall as (D/r)^4 beyond D: it takes the singular part
  and leaves a load that a grid resolves.
- The rest is solved wave by wave, exp(i k.X), as a plate of the foil's mean thickness (`plate_modes`, `plate_impedance`). The load
  of a wave is summed over the lines in closed form (`line_waves`, `anisotropic_waves`), so that each is in balance by itself: a force or moment left over
  would come back as 1/k^3. What an outcrop's combination of H takes off and puts on is closed for each wave as well
  (`outcrop_waves`). A line acts in the plate at its depth below the nearer face (`plate_lines`).
- Waves are shared out (`plate_levels`): short ones to a fine grid little larger than the field, longer ones to ever coarser
  grids over larger boxes, with shares so flat at k = 0 that what a level holds falls off within its box. What is left
  after the last, lines straight through, is summed without a box (`through`).

The plate is unbounded and its field vanishes far from all lines: s is that of the crystal far away, as in the bulk
field. Nothing is left free, neither a turn nor a bend of the whole foil. Lines are continued outside so that
connected ones come together again (`foil_frame.cut_lines`); the sum does not depend on how.

Every part is that of the isotropic crystal or of the crystal's own stiffness (`plate_elasticity`).

Approximations: the faces are parallel in the solution (a wedge or a bend enters through the depths at which lines lie and depth
is taken: wrong by about the wedge angle in rad, or thickness times curvature); the core's spread is left out of the loads and of
H, so that within 2 core radii of an outcrop the field is cut off at R = a; waves shorter than two grid steps are left out: what a
line nearer to a face than a step, or one that leaves at less than 9 degrees to it and has no H, changes within a step of it is
missing; in a crystal whose slowest waves go deeper than exp(-kd) outcrops' H is shifted farther and cut off later.

Axes: S segments, O outcrops, G contractions, (Y, X) grid over the image, Q depths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import spline_filter1d

from physics.frozen import frozen_array
from physics.parallel import over_threads
from physics.strain.foil_frame import CutLines, FoilFaces, cut_lines
from physics.strain.isotropic import DOWN
from physics.strain.outcrop import from_table, place_in_table
from physics.strain.plate_elasticity import Elasticity, elasticity_of
from physics.strain.plate_field import window
from physics.strain.plate_grid import (
    FAR_DEPTHS,
    THROUGH_DEPTHS,
    Box,
    ThroughPoints,
    depth_spline,
    down_columns,
    fine_box,
    from_waves,
    normals_in_plate,
    silence_half_way,
    spread_over,
    wave_vectors,
)  # fmt: skip
from physics.strain.plate_levels import CHORD, REACH, SHARES, handed_on, level_box
from physics.strain.plate_lines import PlateLines, led_off, normals, outcrop_tangents, plate_lines, turns
from physics.strain.segments import Segments
from physics.strain.through import through_field

# sum_j c_j H(d + j D), j = 0..4: fourth difference, D in grid steps.
DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0])
# For lines steeper than STEEP (sine of the angle to the face) far enough that the grid's shortest waves are nothing: they
# would be missing near the outcrop. For others less: their difference falls later, and it is cut off at REACH_STEPS.
STEEP = 0.6
SHIFT_STEPS = np.array([1.7, 0.8])
# Where H is left to the grid wholly, and where the difference is cut off, in grid steps.
WINDOW_STEPS = 5.0
REACH_STEPS = np.array([12.0, 7.0])
# How shift and reach grow with that of a crystal's slowest wave.
SHIFT_POWER, REACH_POWER = 0.4, 1.3
# How much farther that may be for lines at a small angle to the face.
STRETCH = 2.5
# Sine of the angle to the face below which a line grazes it: no H, its load is left to the grid's waves.
GRAZING = 0.15
# Loops up to that many grid steps wide count for a plate by their area alone.
SQUARED_STEPS = 2.0

# Of outcrops that reach as far as their tables do: nothing of them is left to a grid.
ENDLESS_WINDOW_NM = 1e9


@dataclass(frozen=True, kw_only=True, eq=False)
class PlateField:
    """Correction of one set of lines: spline coefficients (Y, X, Q + 2) over the image, and the outcrops' tables.

    `segments` are the lines whose bulk field it completes: cut at the faces and continued along the foil normal.
    `grid_nm` is (x, y of the first point, step); `outcrops` (O, 4) are X, Y, Z in the foil frame and the side, and reach as far as
    `window_nm`, one number or (O,).
    """

    segments: Segments
    coefficients: np.ndarray
    grid_nm: np.ndarray
    foil_from_image: np.ndarray
    outcrops: np.ndarray
    tables: np.ndarray
    window_nm: float | np.ndarray
    core_nm: float

    def compiled(self) -> tuple[np.ndarray, ...]:
        """What `plate_tiles.add_plate_field` takes."""
        return (
            self.coefficients, self.grid_nm, self.foil_from_image,
            np.column_stack([self.outcrops, np.broadcast_to(self.window_nm, len(self.outcrops))]), self.tables, float(self.core_nm),
        )  # fmt: skip

    def without(self, line: int, places: np.ndarray, tables: np.ndarray) -> PlateField:
        """The correction of all lines but `line`, whose own is that of half-spaces at its outcrops `places` (O, 4) with `tables`."""
        outcrops = len(self.outcrops), len(places)
        windows = np.broadcast_to(self.window_nm, outcrops[0]), np.full(outcrops[1], ENDLESS_WINDOW_NM)
        return replace(
            self, segments=self.segments.without(line), outcrops=np.concatenate([self.outcrops, places]),
            tables=np.concatenate([self.tables, -tables]), window_nm=np.concatenate(windows),
        )  # fmt: skip


def plate_corrections(
    segments: Segments,
    g_image_inv_nm: ArrayLike,
    faces: FoilFaces,
    *,
    poisson_ratio: float,
    core_nm: float,
    stiffness_image_GPa: ArrayLike | None = None,
    grid_nm: float = 4.0,
    padding: float = 1.5,
    direction: ArrayLike = DOWN,
    straight_on: bool = False,
) -> tuple[PlateField, ...]:
    """Corrections to d(g.u)/dd, or the derivative along another `direction`, for the lines inside `faces` and each g (G, 3).

    Isotropic, or of the stiffness (6, 6) in the image frame. `straight_on` continues the lines along their tangents at first
    instead of the normal, with the same sum. `padding` is the fine box over the field; long waves have larger boxes of their
    own. Raises InputError for lengths that make no grid and a stiffness that is not symmetric and positive definite.
    """
    fine, fractions = fine_box(faces, grid_nm, padding)
    g, e = frozen_array(np.atleast_2d(g_image_inv_nm), (None, 3), "g_image_inv_nm"), frozen_array(direction, (3,), "direction")
    cut, rotation = cut_lines(segments, faces, straight_on), faces.foil_from_image
    elasticity = elasticity_of(poisson_ratio, stiffness_image_GPa, faces)
    ends = _ends(cut, faces, g, e, elasticity)
    plate = _Plate(
        cut=cut, ends=ends, faces=faces, thickness_nm=faces.thickness_nm, elasticity=elasticity,
        g=np.ascontiguousarray([rotation @ each for each in g]), e=rotation @ e,
    )  # fmt: skip
    values = plate.near(fine, fractions)
    if len(cut.segments):
        for level in range(1, len(SHARES) + 1):
            box = level_box(fine, level, plate.thickness_nm)
            values += spread_over(plate.far(level, box, np.linspace(0, 1, FAR_DEPTHS)), box, fine, fractions)
        if len(cut.through_place_nm):
            values += plate.through(fine, fractions)
    return tuple(
        field_of(
            part, fine, fractions, cut, faces, places=ends.places, tables=tables, shift_steps=ends.shift_steps,
            reach_steps=ends.reach_steps, core_nm=core_nm,
        )
        for part, tables in zip(values, ends.tables)
    )  # fmt: skip


def plate_correction(segments: Segments, g_image_inv_nm: ArrayLike, faces: FoilFaces, **options: Any) -> PlateField:
    """`plate_corrections` of one g (3,)."""
    return plate_corrections(segments, [g_image_inv_nm], faces, **options)[0]


def field_of(
    values: np.ndarray, fine: Box, fractions: np.ndarray, cut: CutLines, faces: FoilFaces, *, places: np.ndarray,
    tables: np.ndarray, shift_steps: np.ndarray, reach_steps: np.ndarray, core_nm: float,
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
    """Outcrops (O, 4), tables (G, O, W, W) of the derivative in the foil frame, kinds (0: steep, 1: not).

    Shifts of H for each kind (2,) and each outcrop, and where the difference is cut off.
    """

    places: np.ndarray
    tables: np.ndarray
    kinds: np.ndarray
    shifts_of_kinds: np.ndarray
    reach_steps: np.ndarray

    @property
    def shift_steps(self) -> np.ndarray:
        return self.shifts_of_kinds[self.kinds]


def outcrop_tables(
    cut: CutLines, chosen: np.ndarray, faces: FoilFaces, g: np.ndarray, e: np.ndarray, elasticity: Elasticity
) -> tuple[np.ndarray, np.ndarray]:
    """Places (O, 4) in the foil frame, the side last, and tables of the derivative (G, O, W, W) of `chosen` outcrops, for each g."""
    rotation, sides = faces.foil_from_image, cut.side[chosen]
    inner, outer = (t[chosen] for t in outcrop_tangents(cut, faces))
    tables = elasticity.outcrop_tables(
        inner, outer, cut.burgers_nm[chosen] @ rotation.T, sides, np.array([rotation @ each for each in g]), rotation @ e
    )
    return np.concatenate([cut.place_nm[chosen] @ rotation.T, sides[:, None]], axis=1), tables


def _ends(cut: CutLines, faces: FoilFaces, g: np.ndarray, e: np.ndarray, elasticity: Elasticity) -> _Ends:
    chosen = cut.steep(GRAZING)
    places, tables = outcrop_tables(cut, chosen, faces, g, e, elasticity)
    # The tractions of a line at a small angle to the face vary over its own depth, not over r.
    sine = np.abs(cut.outward[chosen] @ faces.foil_from_image[2])
    kinds = (sine < STEEP).astype(int)
    reach_steps = REACH_STEPS[kinds] * elasticity.reach**REACH_POWER * np.clip(0.7 / np.maximum(sine, 1e-3), 1, STRETCH)
    return _Ends(
        places=places, tables=tables, kinds=kinds, shifts_of_kinds=SHIFT_STEPS * elasticity.reach**SHIFT_POWER, reach_steps=reach_steps
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plate:
    """One plate and the lines in it, to be solved on one grid or another; g (G, 3) and e (3,) in the foil's frame."""

    cut: CutLines
    ends: _Ends
    faces: FoilFaces
    thickness_nm: float
    elasticity: Elasticity
    g: np.ndarray
    e: np.ndarray

    def near(self, box: Box, fractions: np.ndarray) -> np.ndarray:
        """The plate's answer (G, Y, X, Q), at fractions (Q,) of the depth, to what the fine box holds of the lines' load."""
        kx, ky = wave_vectors(box, self.faces)
        kinds = np.zeros(len(self.cut.place_nm), dtype=np.int64)
        kinds[self.cut.steep(GRAZING)] = 1 + self.ends.kinds
        load, own = self.waves(plate_lines(self.cut, self.faces, 0.0, kinds, SQUARED_STEPS * box.step_nm), box, kx, ky)
        # What is left to coarser grids: waves in the corner about k = 0.
        share = handed_on(0, np.hypot(kx, ky), self.thickness_nm)
        rows, columns = (np.flatnonzero(share.max(axis=axis) > 0) for axis in (1, 0))
        corner = np.ix_(rows, columns)
        load[:, :, rows[:, None], columns] -= share[corner] * self.waves(self.chords, box, kx[corner], ky[corner])[0]
        for lines, shift_steps in zip(own, self.ends.shifts_of_kinds):
            self.elasticity.add_differences(lines, DIFFERENCE, box.step_nm * shift_steps, kx, ky, self.thickness_nm, load)
        return self.answer(load, kx, ky, box, fractions)

    def far(self, level: int, box: Box, fractions: np.ndarray) -> np.ndarray:
        """The same of a coarser box: of all lines, in the last but for the endless normals."""
        lines, last = self.chords, level == len(SHARES)
        if last:
            lines = lines + normals(self.cut, self.faces, -1)
        kx, ky = wave_vectors(box, self.faces)
        k = np.hypot(kx, ky)
        share = handed_on(level - 1, k, self.thickness_nm)
        if not last:
            share -= handed_on(level, k, self.thickness_nm)
        return self.answer(share * self.waves(lines, box, kx, ky)[0], kx, ky, box, fractions)

    def waves(self, lines: PlateLines, box: Box, kx: np.ndarray, ky: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tractions (2, 3, Y, X) of a box's waves, and those that outcrops' straight lines have on their own face."""
        lines = led_off(lines, box, self.faces)
        shifts = np.stack([turns(p, box, self.faces) for p in (lines.start_nm, lines.end_nm)])
        # Longer waves, of which coarser grids have a share, bend a plate by many times their own traction.
        single_from_inv_nm = REACH / (SHARES[0] * self.thickness_nm)
        return self.elasticity.line_waves(lines, shifts, kx, ky, self.thickness_nm / 2, single_from_inv_nm)

    @cached_property
    def chords(self) -> PlateLines:
        """What stands for the lines on coarser grids."""
        return plate_lines(self.cut, self.faces, CHORD * self.thickness_nm, np.zeros(len(self.cut.place_nm), dtype=np.int64))

    def through(self, fine: Box, fractions: np.ndarray) -> np.ndarray:
        """The plate's answer (G, Y, X, Q) to the endless normals of unbounded plates."""
        longest, heights = SHARES[-1], np.linspace(0.5, -0.5, THROUGH_DEPTHS)
        profiles = self.elasticity.through_profiles(self.g, self.e, heights, longest)
        points = ThroughPoints.over(self.faces, fine, fractions, longest)
        places, burgers = normals_in_plate(self.cut, self.faces)
        x, y = points.x / longest, points.y / longest
        return points.on_grid(np.stack([through_field(places / longest, burgers, p, x, y) for p in profiles]))

    def answer(self, load: np.ndarray, kx: np.ndarray, ky: np.ndarray, box: Box, fractions: np.ndarray) -> np.ndarray:
        """The plate's answer (G, Y, X, Q) on the wanted part of a box to tractions (2, 3, Y, X // 2 + 1) of its waves."""
        rotation = self.faces.foil_from_image
        cell = box.step_nm**2 * np.linalg.det(self.faces.foil_from_xy)
        load = -load / cell
        silence_half_way(load, box)
        drift = rotation[:2, 2] / rotation[2, 2]
        out = self.elasticity.answer(load, kx, ky, self.thickness_nm / 2, self.g, self.e, drift, (0.5 - fractions) * self.thickness_nm)
        return from_waves(out, box)


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
                        r, u, v = place_in_table(fx, fy, depth + n * shift[o], wx, wy)
                        total += weights[n] * from_table(tables[o], u, v, wx, wy) / r
                    r, u, v = place_in_table(fx, fy, depth, wx, wy)
                    rest = 1.0 - window(r, window_nm)
                    if rest > 0.0:
                        total += rest * from_table(tables[o], u, v, wx, wy) / r
                    values[i, j, q] += total
