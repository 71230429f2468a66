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

import math
from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import ArrayLike
from scipy import fft
from scipy.interpolate import make_interp_spline
from scipy.ndimage import spline_filter1d

from physics.errors import require
from physics.frozen import frozen_array
from physics.parallel import over_threads
from physics.strain.foil_frame import ENDLESS_NM, CutLines, FoilFaces, cut_lines, kinks, monomials
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
from physics.strain.plate_field import CROWDING, depth_fractions, window
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
from physics.strain.traction import add_traction, traction_rows, tractions

# sum_j c_j H(d + j D), j = 0..4: fourth difference, D in grid steps.
DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0])
SHIFT_STEPS = 1.5
# Where H is left to the grid wholly, and where the difference is cut off, in grid steps.
WINDOW_STEPS = 5.0
REACH_STEPS = 10.0
# How much farther that may be for lines at a small angle to the face.
STRETCH = 2.5
MARGIN_STEPS = 6
SPREAD_STEPS = 1.2
# Sine of the angle to the face below which a line grazes it: no H, its tractions are spread out instead.
GRAZING = 0.07
# Foil kept round the field at least, in thicknesses, both sides together.
LEAST_BORDER = 3.0
# Depths at which far fields are reckoned, evenly from face to face.
THROUGH_DEPTHS, FAR_DEPTHS = 7, 9
# Levels of ever more spread-out lines: core and border round the fine box in thicknesses; grid points over a core radius.
SPREADS = (0.25, 1.0)
BORDERS = (24, 72)
SPREAD_POINTS = 2.0
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
        """What `plate_field.add_plate_field` takes."""
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
    require(grid_nm > 0, "grid_nm", "be > 0", grid_nm)
    require(padding >= 1, "padding", "be >= 1", padding)
    g, e = frozen_array(g_image_inv_nm, (3,), "g_image_inv_nm"), frozen_array(direction, (3,), "direction")
    rotation = faces.foil_from_image
    thickness = faces.thickness_nm
    # A thin foil needs finer waves: its two faces must not lie within one step.
    step = min(grid_nm, thickness / 4)
    cut = cut_lines(segments, faces, straight_on)
    counts = [math.ceil(n / step) + 1 + 2 * MARGIN_STEPS for n in faces.field_nm]
    least = [max(padding * n, n + LEAST_BORDER * thickness) for n in faces.field_nm]
    padded = [_fast_multiple(max(math.ceil(n / step), c), 2) for n, c in zip(least, counts)]
    depths = max(7, math.ceil(thickness / faces.normal_image[2] / (0.75 * step * (1 + CROWDING))) + 1)

    ends = _ends(cut, rotation, g, e, poisson_ratio)
    plate = _Plate(
        cut=cut, ends=ends, faces=faces, thickness_nm=thickness, poisson_ratio=poisson_ratio, core_nm=core_nm, g=g, e=e
    )  # fmt: skip
    load = plate.load(padded, step)
    fractions = depth_fractions(depths)
    values = plate.waves(load, padded, counts, step, fractions, HELD * thickness)
    origin = [_first(p, step) + (p - n) // 2 * step for p, n in zip(padded, counts)]
    if len(cut.segments):
        places = [o + step * np.arange(n) for o, n in zip(origin, counts)]
        for level in range(len(SPREADS)):
            values += _far(plate, level, places, [n * step for n in padded], fractions)
        if len(cut.through_place_nm):
            values += plate.through(*places, fractions)
    over_threads(
        _add_ends, counts[1], ends.places, ends.tables, rotation, np.array([*origin, step]), faces.entrance, faces.exit,
        step * SHIFT_STEPS, DIFFERENCE, step * WINDOW_STEPS, step * ends.reach_steps,
        fractions, values,
    )  # fmt: skip
    for axis in (0, 1):
        values = spline_filter1d(values, order=3, axis=axis, mode="mirror")
    values = np.ascontiguousarray(values @ _spline_matrix(depths).T)
    return PlateField(
        segments=cut.segments, coefficients=values, grid_nm=np.array([*origin, step]), foil_from_image=rotation,
        outcrops=ends.places, tables=ends.tables, window_nm=step * WINDOW_STEPS, core_nm=core_nm,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ends:
    """Outcrops (O, 4), tables (O, W, W) of the derivative and (O, 3, W, W) of the tractions, all in the foil frame."""

    places: np.ndarray
    tables: np.ndarray
    traction_tables: np.ndarray
    reach_steps: np.ndarray


def _ends(cut: CutLines, rotation: np.ndarray, g: np.ndarray, e: np.ndarray, nu: float) -> _Ends:
    chosen = cut.steep(GRAZING)
    count, sides = len(chosen), cut.side[chosen]
    angles = table_angles_rad()
    tables, traction_tables = np.zeros((count, GRID, GRID)), np.zeros((count, 3, GRID, GRID))
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
            for c in range(3):
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

    def load(self, padded: list[int], step: float) -> np.ndarray:
        """sigma.Z (2, 3, Y, X) that the plate must cancel on its upper and lower face."""
        cut, rotation, nu = self.cut, self.faces.foil_from_image, self.poisson_ratio
        cores = _cores(cut, self.faces, step, self.core_nm)
        rows = np.concatenate([traction_rows(cut.segments, rotation[2], rotation, nu, cores), self.spread_rows(SPREADS[0], -1)])
        kink_rows = traction_rows(kinks(cut, cut.steep(GRAZING)), rotation[2], rotation, nu, self.core_nm)
        load = np.empty((2, 3, padded[1], padded[0]))
        for f, (side, face) in enumerate(((1.0, self.faces.entrance), (-1.0, self.faces.exit))):
            lift = side * self.thickness_nm / 2 * rotation[2]
            surface = _surface(face, lift, padded, step)
            load[f] = sheet_tractions(rows, surface, (padded[1], padded[0]))
            over_threads(
                _relieve, padded[1], self.ends.places, self.ends.traction_tables, kink_rows, rotation, surface, side,
                self.thickness_nm, step * SHIFT_STEPS, DIFFERENCE,
                step * self.ends.reach_steps, load[f],
            )  # fmt: skip
        return load

    def through_rows(self) -> np.ndarray:
        """Rows that take the tractions of the endless normals off a load."""
        cut, rotation = self.cut, self.faces.foil_from_image
        reach = ENDLESS_NM * rotation[2]
        normals = Segments(
            start_nm=cut.through_place_nm - reach, end_nm=cut.through_place_nm + reach,
            burgers_nm=-cut.through_burgers_nm, line=np.arange(len(cut.through_place_nm)),
        )  # fmt: skip
        return traction_rows(normals, rotation[2], rotation, self.poisson_ratio, self.thickness_nm)

    def through(self, x_nm: np.ndarray, y_nm: np.ndarray, fractions: np.ndarray) -> np.ndarray:
        """The plate's answer (Y, X, Q) to the endless normals of unbounded plates, at image x (X,), y (Y,)."""
        rotation, t = self.faces.foil_from_image, self.thickness_nm
        n = rotation[2]
        profiles = through_profiles(
            rotation @ self.g, rotation @ self.e, self.poisson_ratio, np.linspace(0.5, -0.5, THROUGH_DEPTHS)
        )
        nodes, spread = zip(*(_chebyshev(v, t) for v in (x_nm, y_nm)))
        x, y = (v.ravel() for v in np.meshgrid(*nodes))
        middle = (self.faces.entrance + self.faces.exit)[:3] / 2
        points = np.stack([x, y, middle[0] + middle[1] * x + middle[2] * y], axis=-1) @ rotation[:2].T
        drift = np.linspace(t / 2, -t / 2, THROUGH_DEPTHS)[:, None] * rotation[:2, 2] / n[2]
        places = self.cut.through_place_nm @ rotation[:2].T
        x, y = (np.ascontiguousarray(v) / t for v in np.moveaxis(points[:, None] + drift, -1, 0))
        values = through_field(places / t, self.cut.through_burgers_nm @ rotation.T / t, profiles, x, y)
        down = _lagrange(np.linspace(0, 1, THROUGH_DEPTHS), fractions)
        values = values.reshape(len(nodes[1]), len(nodes[0]), -1)
        return np.einsum("ya,xb,qc,abc->yxq", spread[1], spread[0], down, values, optimize=True)

    def spread_rows(self, spread: float, sign: int) -> np.ndarray:
        """Rows of all lines spread out over so many thicknesses, times a sign."""
        # Chords stand in for pieces shorter than the core, the same ones in both levels.
        lines, rotation = self.cut.chords(spread * self.thickness_nm), self.faces.foil_from_image
        lines = replace(lines, burgers_nm=sign * lines.burgers_nm)
        return traction_rows(lines, rotation[2], rotation, self.poisson_ratio, spread * self.thickness_nm)

    def spread_load(self, level: int, padded: list[int], step: float) -> np.ndarray:
        """sigma.Z (2, 3, Y, X) of the lines spread out for one level less that of the next."""
        rotation = self.faces.foil_from_image
        last = level == len(SPREADS) - 1
        less = self.through_rows() if last else self.spread_rows(SPREADS[level + 1], -1)
        rows = np.concatenate([self.spread_rows(SPREADS[level], 1), less])
        lifts = [side * self.thickness_nm / 2 * rotation[2] for side in (1, -1)]
        surfaces = [_surface(f, l, padded, step) for f, l in zip((self.faces.entrance, self.faces.exit), lifts)]
        return np.stack([sheet_tractions(rows, surface, (padded[1], padded[0])) for surface in surfaces])

    def waves(
        self, load: np.ndarray, padded: list[int], counts: list[int], step: float, fractions: np.ndarray,
        held_nm: float | None = None,
    ) -> np.ndarray:
        """The plate's answer (Y, X, Q), at fractions (Q,) of the depth, to a load on the part of the grid that is wanted."""
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
        # In-plane foil coordinates of the mid-plane over image x, y, and how they drift up the beam.
        foil_from_xy = rotation[:2] @ np.array([[1, 0], [0, 1], [-n[0] / n[2], -n[1] / n[2]]])
        kx, ky = np.einsum("ji,jyx->iyx", np.linalg.inv(foil_from_xy), k_image)
        if held_nm is not None:
            k4 = (kx * kx + ky * ky) ** 2 * held_nm**4
            transform *= k4 / (1 + k4)
        z_nodes = (0.5 - fractions) * self.thickness_nm
        # Single precision is ample for a correction: 1e-7 of it.
        out = np.empty((len(fractions), *kx.shape), dtype=np.complex64)
        over_threads(
            isotropic_plate, len(kx), transform[0], transform[1], np.ascontiguousarray(kx), np.ascontiguousarray(ky),
            self.thickness_nm / 2, self.poisson_ratio, rotation @ self.g, rotation @ self.e,
            rotation[:2, 2] / rotation[2, 2], z_nodes, out,
        )  # fmt: skip
        skipped = [(p - c) // 2 for p, c in zip(padded, counts)]
        rows = fft.ifft(out, axis=1, workers=workers, overwrite_x=True)[:, skipped[1] : skipped[1] + counts[1]]
        values = fft.irfft(rows, n=padded[0], axis=2, workers=workers)[..., skipped[0] : skipped[0] + counts[0]]
        return np.ascontiguousarray(values.transpose(1, 2, 0), dtype=np.float64)


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


def _first(padded: int, step: float) -> float:
    return -(padded - 1) / 2 * step


def _fast_multiple(least: int, of: int) -> int:
    """The first multiple of `of` from `least` on that a Fourier transform likes."""
    n = -(-least // of) * of
    while fft.next_fast_len(n, real=True) != n:
        n += of
    return n


def _far(
    plate: _Plate, level: int, places: list[np.ndarray], box_nm: list[float], fractions: np.ndarray
) -> np.ndarray:
    """The plate's answer (Y, X, Q) to the lines spread out for one level less that for the next, on a grid of its own."""
    step = SPREADS[level] * plate.thickness_nm / SPREAD_POINTS
    padded = [_fast_multiple(math.ceil((n + BORDERS[level] * plate.thickness_nm) / step), 2) for n in box_nm]
    counts = [min(2 * math.ceil((at[-1] - at[0]) / step / 2) + 10, n) for n, at in zip(padded, places)]
    values = plate.waves(plate.spread_load(level, padded, step), padded, counts, step, np.linspace(0, 1, FAR_DEPTHS))
    down = _lagrange(np.linspace(0, 1, FAR_DEPTHS), fractions)
    across = [_spline(_first(n, step), step, n, at) for n, at in zip(counts, places)]
    values = np.einsum("qc,abc->abq", down, values)
    return np.einsum("ya,abq->ybq", across[1], np.einsum("xb,abq->axq", across[0], values, optimize=True), optimize=True)


def _spline(first: float, step: float, count: int, at: np.ndarray) -> np.ndarray:
    """Matrix (P, N) of the spline of degree 7 through values on an even grid to points."""
    return make_interp_spline(first + step * np.arange(count), np.eye(count), k=7)(at)


def _cores(cut: CutLines, faces: FoilFaces, step: float, core_nm: float) -> np.ndarray:
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


def _surface(face: np.ndarray, lift: np.ndarray, padded: list[int], step: float) -> np.ndarray:
    """A face (3, 6) as a function of grid indices; `lift` leads from the mid-plane to the plate's face."""
    corners = np.array([(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)], dtype=float)
    j, i = corners.T
    x, y = _first(padded[0], step) + step * j + lift[0], _first(padded[1], step) + step * i + lift[1]
    points = np.stack([x, y, monomials(x, y) @ face])
    # `sheet` orders the squares as j^2, ij, i^2, as monomials(j, i) does.
    return np.linalg.solve(monomials(j, i), points.T).T


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


def _spline_matrix(nodes: int) -> np.ndarray:
    """Coefficients (Q + 2, Q) of cubic B-splines through values at whole numbers, third derivative even at the ends.

    (The not-a-knot condition, de Boor, A Practical Guide to Splines, 1978, chapter IV.)
    """
    system = np.zeros((nodes + 2, nodes + 2))
    for q in range(nodes):
        system[q + 1, q : q + 3] = 1 / 6, 4 / 6, 1 / 6
    system[0, :5] = system[-1, -5:] = 1, -4, 6, -4, 1
    return np.linalg.inv(system)[:, 1:-1]
