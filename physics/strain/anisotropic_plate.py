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

import math
from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import ArrayLike
from scipy import fft
from scipy.ndimage import spline_filter1d

from physics.errors import require
from physics.frozen import frozen_array
from physics.parallel import over_threads
from physics.strain import plate as isotropic
from physics.strain.anisotropic import DOWN, Medium, medium
from physics.strain.anisotropic_kernel import WORK, add_row
from physics.strain.anisotropic_outcrop import outcrop_tables
from physics.strain.anisotropic_through import through_profiles
from physics.strain.anisotropic_traction import sheet_tractions, traction_rows, tractions
from physics.strain.foil_frame import ENDLESS_NM, CutLines, FoilFaces, cut_lines, kinks
from physics.strain.green import checked_stiffness, rotated_stiffness
from physics.strain.outcrop import from_table, place_in_table, table_angles_rad
from physics.strain.plate import (
    BORDERS,
    DIFFERENCE,
    FAR_DEPTHS,
    GRAZING,
    HELD,
    LEAST_BORDER,
    MARGIN_STEPS,
    REACH_STEPS,
    SHIFT_STEPS,
    SPREAD_POINTS,
    SPREADS,
    STRETCH,
    THROUGH_DEPTHS,
    WINDOW_STEPS,
    PlateField,
)  # fmt: skip
from physics.strain.plate_field import CROWDING, depth_fractions
from physics.strain.plate_impedance import Impedance, impedance, plate_waves
from physics.strain.segments import Segments
from physics.strain.through import through_field

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
    require(grid_nm > 0, "grid_nm", "be > 0", grid_nm)
    require(padding >= 1, "padding", "be >= 1", padding)
    g = frozen_array(np.atleast_2d(g_image_inv_nm), (None, 3), "g_image_inv_nm")
    e, stiffness = frozen_array(direction, (3,), "direction"), checked_stiffness(stiffness_image_GPa, "stiffness_image_GPa")
    rotation, thickness = faces.foil_from_image, faces.thickness_nm
    step = min(grid_nm, thickness / 4)
    cut = cut_lines(segments, faces, straight_on)
    counts = [math.ceil(n / step) + 1 + 2 * MARGIN_STEPS for n in faces.field_nm]
    least = [max(padding * n, n + LEAST_BORDER * thickness) for n in faces.field_nm]
    padded = [isotropic._fast_multiple(max(math.ceil(n / step), c), 2) for n, c in zip(least, counts)]
    depths = max(7, math.ceil(thickness / faces.normal_image[2] / (0.75 * step * (1 + CROWDING))) + 1)
    fractions = depth_fractions(depths)

    foil = _Foil(
        cut=cut, faces=faces, thickness_nm=thickness, core_nm=core_nm, medium=medium(stiffness),
        waves=impedance(rotated_stiffness(stiffness, rotation)), g=g @ rotation.T, e=np.tile(rotation @ e, (len(g), 1)),
        exact=exact,
    )  # fmt: skip
    ends = _ends(foil)
    values = foil.answer(_fine_load(foil, ends, padded, step), padded, counts, step, fractions, HELD * thickness)
    origin = [isotropic._first(p, step) + (p - n) // 2 * step for p, n in zip(padded, counts)]
    if len(cut.segments):
        places = [o + step * np.arange(n) for o, n in zip(origin, counts)]
        for level in range(len(SPREADS)):
            values += _far(foil, level, places, [n * step for n in padded], fractions)
        if len(cut.through_place_nm):
            values += _through(foil, *places, fractions)
    grid, spline = np.array([*origin, step]), isotropic._spline_matrix(depths).T
    fields = []
    for i in range(len(g)):
        tables, own = np.ascontiguousarray(ends.tables[:, i]), np.ascontiguousarray(values[i])
        over_threads(
            isotropic._add_ends, counts[1], ends.places, tables, rotation, grid, faces.entrance, faces.exit,
            step * foil.shift_steps, DIFFERENCE, step * WINDOW_STEPS, step * ends.reach_steps,
            fractions, own,
        )  # fmt: skip
        for axis in (0, 1):
            own = spline_filter1d(own, order=3, axis=axis, mode="mirror")
        fields.append(PlateField(
            segments=cut.segments, coefficients=np.ascontiguousarray(own @ spline), grid_nm=grid, foil_from_image=rotation,
            outcrops=ends.places, tables=tables, window_nm=step * WINDOW_STEPS, core_nm=core_nm,
        ))  # fmt: skip
    return tuple(fields)


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

    def surfaces(self, padded: list[int], step: float) -> list[np.ndarray]:
        """Upper and lower face as `sheet_tractions` takes them."""
        lift = self.thickness_nm / 2 * self.faces.foil_from_image[2]
        sides = ((1.0, self.faces.entrance), (-1.0, self.faces.exit))
        return [isotropic._surface(face, side * lift, padded, step) for side, face in sides]

    def answer(
        self, load: np.ndarray, padded: list[int], counts: list[int], step: float, fractions: np.ndarray, held_nm: float | None = None
    ) -> np.ndarray:
        """The plate's answer (G, Y, X, Q), at fractions (Q,) of the depth, to a load (2, 3, Y, X) on the wanted part of the grid."""
        rotation, workers = self.faces.foil_from_image, numba.get_num_threads()
        transform = -fft.rfft2(load, workers=workers)
        # Half-way frequencies have no sign, so that derivatives of them have no meaning.
        if padded[0] % 2 == 0:
            transform[..., -1] = 0
        if padded[1] % 2 == 0:
            transform[..., padded[1] // 2, :] = 0
        k_image = np.stack(
            np.meshgrid(2 * np.pi * np.fft.rfftfreq(padded[0], step), 2 * np.pi * np.fft.fftfreq(padded[1], step))
        )
        n = rotation[2]
        foil_from_xy = rotation[:2] @ np.array([[1, 0], [0, 1], [-n[0] / n[2], -n[1] / n[2]]])
        kx, ky = np.einsum("ji,jyx->iyx", np.linalg.inv(foil_from_xy), k_image)
        if held_nm is not None:
            k4 = (kx * kx + ky * ky) ** 2 * held_nm**4
            transform *= k4 / (1 + k4)
        half = self.thickness_nm / 2
        out = plate_waves(
            self.waves, transform[None], kx, ky, half, self.g, self.e, rotation[:2, 2] / n[2],
            half * (1 - 2 * fractions),
        )[0]  # fmt: skip
        x0, y0 = ((p - c) // 2 for p, c in zip(padded, counts))
        rows = fft.ifft(out, axis=2, workers=workers, overwrite_x=True)[:, :, y0 : y0 + counts[1]]
        values = fft.irfft(rows, n=padded[0], axis=3, workers=workers)[..., x0 : x0 + counts[0]]
        return values.transpose(0, 2, 3, 1)


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


def _fine_load(foil: _Foil, ends: _Ends, padded: list[int], step: float) -> np.ndarray:
    """sigma.Z (2, 3, Y, X) that the plate must cancel on its upper and lower face, near part."""
    cores = isotropic._cores(foil.cut, foil.faces, step, foil.core_nm)
    rows = np.concatenate([foil.rows(foil.cut.segments, cores), _spread_rows(foil, SPREADS[0], -1, False)])
    load = np.empty((2, 3, padded[1], padded[0]))
    for f, (side, surface) in enumerate(zip((1.0, -1.0), foil.surfaces(padded, step))):
        load[f] = sheet_tractions(rows, surface, (padded[1], padded[0]), np.float64 if foil.exact else np.float32)
        over_threads(
            _relieve, 3, ends.places, ends.traction_tables, ends.rows, foil.faces.foil_from_image, surface, side,
            foil.thickness_nm, step * foil.shift_steps, DIFFERENCE, step * ends.reach_steps, load[f],
        )  # fmt: skip
    return load


def _spread_rows(foil: _Foil, spread: float, sign: int, far: bool = True) -> np.ndarray:
    """Rows of all lines spread out over so many thicknesses, times a sign."""
    # Chords stand in for pieces shorter than the core, the same ones in both levels.
    lines = foil.cut.chords(spread * foil.thickness_nm)
    return foil.rows(replace(lines, burgers_nm=sign * lines.burgers_nm), spread * foil.thickness_nm, far)


def _through_rows(foil: _Foil) -> np.ndarray:
    """Rows that take the tractions of the endless normals off a load."""
    cut, reach = foil.cut, ENDLESS_NM * foil.faces.foil_from_image[2]
    normals = Segments(
        start_nm=cut.through_place_nm - reach, end_nm=cut.through_place_nm + reach, burgers_nm=-cut.through_burgers_nm,
        line=np.arange(len(cut.through_place_nm)),
    )  # fmt: skip
    return foil.rows(normals, foil.thickness_nm, True)


def _far(foil: _Foil, level: int, places: list[np.ndarray], box_nm: list[float], fractions: np.ndarray) -> np.ndarray:
    """The answer (G, Y, X, Q) to the lines spread out for one level less that for the next, on a grid of its own."""
    step = SPREADS[level] * foil.thickness_nm / SPREAD_POINTS
    padded = [isotropic._fast_multiple(math.ceil((n + BORDERS[level] * foil.thickness_nm) / step), 2) for n in box_nm]
    counts = [min(2 * math.ceil((at[-1] - at[0]) / step / 2) + 10, n) for n, at in zip(padded, places)]
    last = level == len(SPREADS) - 1
    less = _through_rows(foil) if last else _spread_rows(foil, SPREADS[level + 1], -1)
    rows = np.concatenate([_spread_rows(foil, SPREADS[level], 1, True), less])
    load = np.stack([sheet_tractions(rows, surface, (padded[1], padded[0]), np.float64) for surface in foil.surfaces(padded, step)])
    values = foil.answer(load, padded, counts, step, np.linspace(0, 1, FAR_DEPTHS))
    down = isotropic._lagrange(np.linspace(0, 1, FAR_DEPTHS), fractions)
    x, y = (isotropic._spline(isotropic._first(n, step), step, n, at) for n, at in zip(counts, places))
    return np.einsum("ya,xb,qc,gabc->gyxq", y, x, down, values, optimize=True)


def _through(foil: _Foil, x_nm: np.ndarray, y_nm: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """The answer (G, Y, X, Q) to the endless normals of unbounded plates, at image x (X,), y (Y,)."""
    rotation, t = foil.faces.foil_from_image, foil.thickness_nm
    heights = np.linspace(0.5, -0.5, THROUGH_DEPTHS)
    profiles = through_profiles(foil.g, foil.e, foil.medium, foil.waves, rotation, heights)
    nodes, spread = zip(*(isotropic._chebyshev(v, t) for v in (x_nm, y_nm)))
    x, y = (v.ravel() for v in np.meshgrid(*nodes))
    middle = (foil.faces.entrance + foil.faces.exit)[:3] / 2
    points = np.stack([x, y, middle[0] + middle[1] * x + middle[2] * y], axis=-1) @ rotation[:2].T
    drift = t * heights[:, None] * rotation[:2, 2] / rotation[2, 2]
    x, y = (np.ascontiguousarray(v) / t for v in np.moveaxis(points[:, None] + drift, -1, 0))
    places, burgers = foil.cut.through_place_nm @ rotation[:2].T / t, foil.cut.through_burgers_nm @ rotation.T / t
    values = np.stack([through_field(places, burgers, p, x, y) for p in profiles])
    values = values.reshape(len(profiles), len(nodes[1]), len(nodes[0]), -1)
    down = isotropic._lagrange(np.linspace(0, 1, THROUGH_DEPTHS), fractions)
    return np.einsum("ya,xb,qc,gabc->gyxq", spread[1], spread[0], down, values, optimize=True)


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
