"""Height maps of a foil's two faces, its thickness, and the excitation error where the foil is bent.

The mid-surface is a height field, z_mid(x, y) = -(n_x x + n_y y) / n_z - (k1 u^2 + k2 v^2) / 2, with n the foil
normal at the field's centre, k1 and k2 the curvatures, u and v image coordinates along and across the curvature
azimuth. A face is the set of points p + h(p) m(p) (entrance) or p - h(p) m(p) (exit), p on the mid-surface, m its
local normal, h half the thickness there; for a flat mid-surface both faces are planes, else the column over
a given pixel is found by fixed-point iteration (a contraction, since h k < 1/2 is required). Relief is added to these
faces along the beam, bent lips of tears raise the mid-surface, openings draw both faces toward it, and a grain boundary
ends the first grain's column.

Axes: (Y, X) image rows and columns; trailing 3: image frame x, y, z in nm.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numba
import numpy as np

from physics import beam as diffraction
from physics.beam import BeamCondition
from physics.crystal import Crystal
from physics.deposit import Deposit, mean_free_paths
from physics.electron import wave_vector_inv_nm
from physics.errors import require
from physics.foil import Foil
from physics.frames import column_positions_nm
from physics.frozen import frozen_array
from physics.misorientation import shown_foil
from physics.particle import Particle
from physics.slip_step import swept_areas, thickness_change_nm

if TYPE_CHECKING:
    from render.scene import Scene  # a Scene checks its line ends against FoilShape

NUMPY = "numpy"
_STEP_NM = 1e-7  # fixed-point steps below this end the search of a column's foot on the mid-surface
_MOST_STEPS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class FoilMaps:
    """What the beam meets in each column; every array (Y, X) float64, heights in the image frame.

    `entrance_z_nm` >= `exit_z_nm`, the column of the first grain, equal where there is none (the thin side of a wedge, a
    hole, the second grain). `thickness_nm` is that of the whole foil along the local normal: the vertical extent times
    the cosine of the mid-surface's slope. `s_inv_nm` is the local excitation error of g. `second_grain_nm` is the
    length of a column in the second grain, `twins_nm` (T, Y, X) in each twin (where two cross, in the first of them), `rolled_nm` in rolled-up lips of tears.
    `free_paths` is the number of mean free paths through deposits and inclusions.
    """

    entrance_z_nm: np.ndarray
    exit_z_nm: np.ndarray
    thickness_nm: np.ndarray
    s_inv_nm: np.ndarray
    second_grain_nm: np.ndarray
    twins_nm: np.ndarray
    rolled_nm: np.ndarray
    free_paths: np.ndarray

    def __post_init__(self) -> None:
        for name in ("entrance_z_nm", "exit_z_nm", "thickness_nm", "s_inv_nm", "second_grain_nm", "rolled_nm", "free_paths"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), (None, None), name))
        object.__setattr__(self, "twins_nm", frozen_array(self.twins_nm, (None, None, None), "twins_nm"))


@dataclass(frozen=True, kw_only=True, eq=False)
class FoilColumns:
    """The specimen as rays along the beam meet it, whatever the beam; arrays (Y, X), heights in the image frame.

    The two faces (crossed, or at one height, where there is no foil), the mid-surface's unit normals (Y, X, 3), upper and
    lower height of the second grain (None: split the columns by its plane) and of each twin (nan where a ray misses it),
    lengths in rolled-up foil, and mean free paths in deposits and inclusions.
    """

    entrance_z_nm: np.ndarray
    exit_z_nm: np.ndarray
    normals: np.ndarray
    grain_z_nm: tuple[np.ndarray, np.ndarray] | None
    twins_z_nm: tuple[tuple[np.ndarray, np.ndarray], ...]
    rolled_nm: np.ndarray
    free_paths: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class FoilShape:
    """A Foil set in the image frame by its normal `normal_image` (3,) at the field's centre.

    Raises InputError where a face would be seen edge-on or is bent more sharply than the foil is thick.
    """

    foil: Foil
    normal_image: np.ndarray

    def __post_init__(self) -> None:
        normal = frozen_array(self.normal_image, (3,), "normal_image")
        normal = normal / np.linalg.norm(normal)
        require(normal[2] > 0, "foil.normal_uvw", "have n.B > 0", f"{normal[2]:.3g}")
        normal.setflags(write=False)
        object.__setattr__(self, "normal_image", normal)
        for side in (1, -1):
            require(self._face_plane(side)[2] > 1e-3, "foil.wedge_deg", "leave both faces visible along the beam",
                    self.foil.wedge_deg, "reduce the wedge or the tilt of foil.normal_uvw")  # fmt: skip
        sharpest_inv_nm = 1e-3 * max(abs(self.foil.curvature_inv_um), abs(self.foil.cross_curvature_inv_um))
        require(sharpest_inv_nm * self.foil.thickness_nm < 1, "foil.curvature_inv_um",
                f"be below 1/thickness = {1e3 / self.foil.thickness_nm:.4g}", 1e3 * sharpest_inv_nm)  # fmt: skip

    @property
    def bent(self) -> bool:
        return self.foil.curvature_inv_um != 0 or self.foil.cross_curvature_inv_um != 0

    @property
    def lipped(self) -> bool:
        """Whether a tear has bent lips, by which the lattice turns."""
        return any(tear.lips == "bent" for tear in self.foil.tears)

    @property
    def worked(self) -> bool:
        """Whether the faces have relief, openings or tears."""
        return self.foil.relief is not None or bool(self.foil.openings or self.foil.tears)

    def mid_z_nm(self, x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
        """Height of the mid-surface."""
        return sum((tear.bend_nm(x_nm, y_nm)[0] for tear in self.foil.tears), self._smooth_mid_z_nm(x_nm, y_nm))

    def mid_normal(self, x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
        """Unit normal (..., 3) of the mid-surface, toward the gun."""
        normal = self._smooth_mid_normal(x_nm, y_nm)
        if self.lipped:
            normal = normal / normal[..., 2:]
            for tear in self.foil.tears:
                _, slope_x, slope_y = tear.bend_nm(x_nm, y_nm)
                normal[..., 0] -= slope_x
                normal[..., 1] -= slope_y
            normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        return normal

    def _smooth_mid_z_nm(self, x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
        n, (u, v) = self.normal_image, self._bend_axes(x_nm, y_nm)
        along_inv_nm, across_inv_nm = self._curvatures_inv_nm()
        return -(n[0] * x_nm + n[1] * y_nm) / n[2] - 0.5 * (along_inv_nm * u * u + across_inv_nm * v * v)

    def _smooth_mid_normal(self, x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
        n, (u, v) = self.normal_image, self._bend_axes(x_nm, y_nm)
        azimuth = np.deg2rad(self.foil.curvature_azimuth_deg)
        c, s = np.cos(azimuth), np.sin(azimuth)
        along_inv_nm, across_inv_nm = self._curvatures_inv_nm()
        minus_slope_x = n[0] / n[2] + along_inv_nm * u * c - across_inv_nm * v * s
        minus_slope_y = n[1] / n[2] + along_inv_nm * u * s + across_inv_nm * v * c
        normal = np.stack([minus_slope_x, minus_slope_y, np.ones_like(minus_slope_x)], axis=-1)
        return normal / np.linalg.norm(normal, axis=-1, keepdims=True)

    def half_thickness_nm(self, x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
        """Half the thickness along the normal at the mid-surface point over (x, y); < 0 beyond a wedge's edge."""
        in_image, _ = self._wedge_axes
        # On the foil plane p . n = 0, so p . in_plane = p . in_image: lines of equal thickness stand across the azimuth.
        along_nm = (x_nm * in_image[0] + y_nm * in_image[1]) / self._wedge_cosine
        return 0.5 * self.foil.thickness_nm + self._half_slope * along_nm

    def face_points_nm(self, x_nm: np.ndarray, y_nm: np.ndarray, side: int) -> np.ndarray:
        """Points (..., 3) of the entrance (side +1) or exit face (-1) on the normals through the mid-surface at (x, y)."""
        mid = np.stack([x_nm, y_nm, self._smooth_mid_z_nm(x_nm, y_nm)], axis=-1)
        points = mid + side * self.half_thickness_nm(x_nm, y_nm)[..., None] * self._smooth_mid_normal(x_nm, y_nm)
        points[..., 2] = self._worked(points[..., 0], points[..., 1], points[..., 2], side)
        return points

    def face_z_nm(self, x_nm: np.ndarray, y_nm: np.ndarray, side: int, beyond: bool = False) -> np.ndarray:
        """Height of the entrance (side +1) or exit face (-1) in the columns at (x, y).

        In an opening both are the mid-surface; with `beyond` they go on there, crossed (`Opening.thickness_share`).
        """
        return self._worked(x_nm, y_nm, self.smooth_face_z_nm(x_nm, y_nm, side), side, beyond)

    def crystal_faces_z_nm(self, x_nm: np.ndarray, y_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Heights between which the columns at (x, y) run in the first grain: the two faces, or the boundary."""
        entrance, exit_ = self.face_z_nm(x_nm, y_nm, 1), self.face_z_nm(x_nm, y_nm, -1)
        boundary = self.foil.boundary
        return (entrance, exit_) if boundary is None else boundary.split(x_nm, y_nm, entrance, exit_)

    def _worked(
        self, x_nm: np.ndarray, y_nm: np.ndarray, z_nm: np.ndarray, side: int, beyond: bool = False
    ) -> np.ndarray:
        """A face's height with relief and bent lips, drawn toward the mid-surface by the openings."""
        if self.foil.relief is not None:
            z_nm = z_nm + side * self.foil.relief.height_nm(x_nm, y_nm, side)
        if self.lipped:
            # Along the beam the foil is 1 / n_z times as thick as along its normal, which a lip has turned.
            thicker = 1 / self.mid_normal(x_nm, y_nm)[..., 2] - 1 / self._smooth_mid_normal(x_nm, y_nm)[..., 2]
            raised_nm = sum(tear.bend_nm(x_nm, y_nm)[0] for tear in self.foil.tears)
            z_nm = z_nm + raised_nm + side * thicker * self.half_thickness_nm(x_nm, y_nm)
        openings = (*self.foil.openings, *(tear.opening for tear in self.foil.tears))
        if openings:
            middle, share = self.mid_z_nm(x_nm, y_nm), 1.0
            for opening in openings:
                own = opening.thickness_share(x_nm, y_nm, beyond)
                # Of two openings each draws the foil thinner; beyond a border of either the faces have crossed.
                share = np.where((own < 0) | (np.asarray(share) < 0), -np.abs(share * own), share * own)
            z_nm = middle + share * (z_nm - middle)
        return z_nm

    def smooth_face_z_nm(self, x_nm: np.ndarray, y_nm: np.ndarray, side: int) -> np.ndarray:
        """Height of a face without relief and openings."""
        if not self.bent:
            a, b, c = self._face_plane(side)
            return (0.5 * side * self.foil.thickness_nm - a * x_nm - b * y_nm) / c
        gradient = self._half_slope * self._wedge_axes[0][:2] / self._wedge_cosine
        azimuth = np.deg2rad(self.foil.curvature_azimuth_deg)
        x_nm, y_nm = np.broadcast_arrays(x_nm, y_nm)
        z_nm = _bent_face_z_nm(
            np.ascontiguousarray(x_nm, dtype=np.float64).ravel(), np.ascontiguousarray(y_nm, dtype=np.float64).ravel(),
            float(side), self.normal_image[:2] / self.normal_image[2], np.array(self._curvatures_inv_nm()),
            np.cos(azimuth), np.sin(azimuth), 0.5 * self.foil.thickness_nm, gradient,
        )  # fmt: skip
        require(bool(np.isfinite(z_nm).all()), "foil.curvature_inv_um", "leave one face height per column",
                self.foil.curvature_inv_um, "reduce it or foil.wedge_deg")  # fmt: skip
        return z_nm.reshape(x_nm.shape)

    def _bend_axes(self, x_nm: np.ndarray, y_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        azimuth = np.deg2rad(self.foil.curvature_azimuth_deg)
        c, s = np.cos(azimuth), np.sin(azimuth)
        return c * x_nm + s * y_nm, c * y_nm - s * x_nm

    def _curvatures_inv_nm(self) -> tuple[float, float]:
        return 1e-3 * self.foil.curvature_inv_um, 1e-3 * self.foil.cross_curvature_inv_um

    @cached_property
    def _half_slope(self) -> float:
        return float(np.tan(np.deg2rad(self.foil.wedge_deg) / 2))

    @cached_property
    def _wedge_axes(self) -> tuple[np.ndarray, np.ndarray]:
        """The wedge azimuth as a unit vector in the image and as the unit vector in the foil plane that it casts there."""
        azimuth, n = np.deg2rad(self.foil.wedge_azimuth_deg), self.normal_image
        in_image = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        in_plane = in_image - (in_image @ n) * n
        return in_image, in_plane / np.linalg.norm(in_plane)

    @cached_property
    def _wedge_cosine(self) -> float:
        """Cosine of the foil plane's slope along the wedge azimuth: image length over length in the plane."""
        return float(np.sqrt(1 - (self._wedge_axes[0] @ self.normal_image) ** 2))

    def _face_plane(self, side: int) -> np.ndarray:
        """Vector w (3,) with w . r = side thickness / 2 on the face: r = p + side h n, h = t/2 + r . grad h."""
        return self.normal_image - side * self._half_slope * self._wedge_axes[1]


def foil_maps(
    crystal: Crystal,
    foil: Foil,
    beam: BeamCondition,
    shape: tuple[int, int],
    pixel_nm: float,
    renderer: str = NUMPY,
    matter: Sequence[Deposit | Particle] = (),
    library: str | os.PathLike[str] | None = None,
) -> FoilMaps:
    """Height fields of `foil` under `beam` for an image of `shape` (Y, X), and what deposits and inclusions absorb.

    `renderer` is "numpy", or "bpy X.Y.Z": ray-cast by Cycles from meshes, by that version of bpy; then `library` is a
    folder that keeps what was cast (`render.foil_library`). Raises InputError for rolled lips, which only Blender models.
    """
    placed = FoilShape(foil=foil, normal_image=diffraction.foil_normal_image(crystal, beam, foil))
    if renderer == NUMPY:
        cast = _columns_by_numpy(placed, shape, pixel_nm, matter)
    else:
        from render.blender.foil import blender_columns  # Blender only where it is asked for

        cast = blender_columns(placed, shape, pixel_nm, renderer, matter, library)
    x_nm, y_nm = np.meshgrid(*column_positions_nm(shape, pixel_nm))
    vacuum = ~(cast.entrance_z_nm > cast.exit_z_nm)
    middle_z_nm = placed.mid_z_nm(x_nm, y_nm)
    entrance_z_nm = np.where(vacuum, middle_z_nm, cast.entrance_z_nm)
    exit_z_nm = np.where(vacuum, middle_z_nm, cast.exit_z_nm)
    whole_nm = entrance_z_nm - exit_z_nm
    if foil.boundary is not None:
        if cast.grain_z_nm is None:
            entrance_z_nm, exit_z_nm = foil.boundary.split(x_nm, y_nm, entrance_z_nm, exit_z_nm)
        else:
            entrance_z_nm, exit_z_nm = _without(entrance_z_nm, exit_z_nm, *cast.grain_z_nm)
    # A twin interrupts the first grain alone: beyond the boundary its column is counted with the second.
    twins_nm = np.zeros((len(foil.twins), *shape))
    earlier: list[tuple[np.ndarray, np.ndarray]] = []
    for twin_nm, (upper, lower) in zip(twins_nm, cast.twins_z_nm):
        inside = np.minimum(upper, entrance_z_nm) > np.maximum(lower, exit_z_nm)  # nan: a ray that misses it
        upper, lower = np.where(inside, np.minimum(upper, entrance_z_nm), 0.0), np.where(inside, np.maximum(lower, exit_z_nm), 0.0)
        # Where two cross, one crystal is there: that of the first.
        twin_nm[:] = np.maximum(upper - lower - _taken_nm(upper, lower, earlier), 0.0)
        earlier.append((upper, lower))
    return FoilMaps(
        entrance_z_nm=entrance_z_nm,
        exit_z_nm=exit_z_nm,
        thickness_nm=whole_nm * cast.normals[..., 2],
        s_inv_nm=local_excitation_error_inv_nm(crystal, beam, placed, cast.normals),
        second_grain_nm=np.maximum(whole_nm - (entrance_z_nm - exit_z_nm), 0.0),
        twins_nm=twins_nm,
        rolled_nm=cast.rolled_nm,
        free_paths=cast.free_paths,
    )


def _columns_by_numpy(
    placed: FoilShape, shape: tuple[int, int], pixel_nm: float, matter: Sequence[Deposit | Particle]
) -> FoilColumns:
    rolled = any(tear.lips == "rolled" for tear in placed.foil.tears)
    require(not rolled, "foil_renderer", "be bpy for a tear with rolled lips, which are no height field", NUMPY)
    along_x_nm, along_y_nm = column_positions_nm(shape, pixel_nm)
    x_nm, y_nm = np.meshgrid(along_x_nm, along_y_nm)
    free_paths = mean_free_paths([m for m in matter if isinstance(m, Deposit)], along_x_nm, along_y_nm)
    for inclusion in matter:
        if not isinstance(inclusion, Deposit):
            free_paths += inclusion.chord_nm(x_nm, y_nm) / inclusion.mean_free_path_nm
    return FoilColumns(
        entrance_z_nm=placed.face_z_nm(x_nm, y_nm, 1),
        exit_z_nm=placed.face_z_nm(x_nm, y_nm, -1),
        normals=placed.mid_normal(x_nm, y_nm),
        grain_z_nm=None,
        twins_z_nm=tuple(twin.twin_z_nm(x_nm, y_nm) for twin in placed.foil.twins),
        rolled_nm=np.zeros(shape),
        free_paths=free_paths,
    )


def _taken_nm(upper_nm: np.ndarray, lower_nm: np.ndarray, others: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray | float:
    """Length (Y, X) of the stretches between two heights that some of the `others` cover, each place once."""
    if not others:
        return 0.0
    cut = [(np.clip(high, lower_nm, upper_nm), np.clip(low, lower_nm, upper_nm)) for high, low in others]
    bounds = np.sort(np.stack([height for pair in cut for height in pair]), axis=0)
    taken_nm = np.zeros(upper_nm.shape)
    for below, above in zip(bounds[:-1], bounds[1:]):
        middle = (below + above) / 2
        covered = np.any([(low < middle) & (middle < high) for high, low in cut], axis=0)
        taken_nm += np.where(covered, above - below, 0.0)
    return taken_nm


def _without(
    entrance_z_nm: np.ndarray, exit_z_nm: np.ndarray, upper_nm: np.ndarray, lower_nm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Columns less the part of them between two heights, which reaches one of their ends; nan where nothing is taken."""
    taken = (upper_nm > exit_z_nm) & (lower_nm < entrance_z_nm)
    from_above = taken & (upper_nm >= entrance_z_nm)
    from_below = taken & ~from_above
    entrance = np.where(from_above, np.maximum(lower_nm, exit_z_nm), entrance_z_nm)
    exit_ = np.where(from_below, upper_nm, exit_z_nm)
    return entrance, exit_


def foil_heights(
    crystal: Crystal, beam: BeamCondition, foil: Foil, x_nm: np.ndarray, y_nm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Heights between which the first grain lies over any points (x, y); entrance <= exit where there is none."""
    placed = FoilShape(foil=foil, normal_image=diffraction.foil_normal_image(crystal, beam, foil))
    x_nm, y_nm = np.asarray(x_nm, dtype=np.float64), np.asarray(y_nm, dtype=np.float64)
    return placed.crystal_faces_z_nm(x_nm, y_nm)


def scene_foil_maps(scene: Scene, library: str | os.PathLike[str] | None = None) -> FoilMaps:
    """The maps of a Scene, by the renderer that it names, with the steps that its lines have left on the faces.

    A second grain or twin that the beams do not see (`physics.misorientation.shown_foil`) is part of the first.

    `library` as in `foil_maps`; the steps are not in it.
    """
    matter = (*scene.deposits, *(particle for particle in scene.particles if particle.kind == "inclusion"))
    foil = shown_foil(scene.crystal, scene.beam, scene.foil)
    maps = foil_maps(scene.crystal, foil, scene.beam, scene.shape, scene.pixel_nm, scene.foil_renderer, matter, library)
    burgers_from_uvw = diffraction.image_from_crystal(scene.crystal, scene.beam) @ scene.crystal.lattice_nm
    areas = swept_areas(scene.dislocations, burgers_from_uvw)
    if not areas:
        return maps
    rise_nm = thickness_change_nm(areas, *column_positions_nm(scene.shape, scene.pixel_nm))
    path_nm = maps.entrance_z_nm - maps.exit_z_nm
    # Half of it on each face, in the first grain's columns only.
    half_nm = np.where(path_nm > 0, np.maximum(rise_nm, -path_nm), 0.0) / 2
    steepness = maps.thickness_nm / np.maximum(path_nm + maps.second_grain_nm, 1e-12)
    return replace(
        maps, entrance_z_nm=maps.entrance_z_nm + half_nm, exit_z_nm=maps.exit_z_nm - half_nm,
        thickness_nm=maps.thickness_nm + 2 * half_nm * steepness,
    )  # fmt: skip


def local_excitation_error_inv_nm(
    crystal: Crystal, beam: BeamCondition, placed: FoilShape, normals: np.ndarray
) -> np.ndarray:
    """s (...) where the lattice has turned, without twist, as the mid-surface's normal has from the centre's.

    A dome toward the gun turns the far end of g down, so that s falls along +g by |g| curvature a length.
    """
    if not (placed.bent or placed.lipped):
        return np.full(normals.shape[:-1], beam.s_inv_nm)
    g = diffraction.g_image_inv_nm(crystal, beam)
    return turned_excitation_error_inv_nm(g, beam.s_inv_nm, beam.voltage_kV, placed.normal_image, normals)


def turned_excitation_error_inv_nm(
    g_image_inv_nm: np.ndarray, s_inv_nm: float, voltage_kV: float, normal_image: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    """Excitation error (...) of any g (3,), `s_inv_nm` where the foil's normal is `normal_image`, elsewhere turned with it."""
    g = g_image_inv_nm
    wave_vector = wave_vector_inv_nm(voltage_kV)
    axis = np.cross(normal_image, normals)  # sin(angle) times the rotation axis
    once = np.cross(axis, g)
    turned = g + once + np.cross(axis, once) / (1 + normals @ normal_image)[..., None]
    return s_inv_nm + (diffraction.excitation_error(wave_vector, turned) - diffraction.excitation_error(wave_vector, g))


@numba.njit(cache=True, error_model="numpy")
def _bent_face_z_nm(
    x_nm: np.ndarray, y_nm: np.ndarray, side: float, tilt: np.ndarray, curvatures: np.ndarray,
    c: float, s: float, half_nm: float, half_gradient: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Face heights at points (P,), nan where the search for the foot does not converge."""
    z_nm = np.full(x_nm.size, np.nan)
    for i in range(x_nm.size):
        px, py = x_nm[i], y_nm[i]
        for _ in range(_MOST_STEPS):
            u, v = c * px + s * py, c * py - s * px
            nx = tilt[0] + curvatures[0] * u * c - curvatures[1] * v * s
            ny = tilt[1] + curvatures[0] * u * s + curvatures[1] * v * c
            offset = side * (half_nm + half_gradient[0] * px + half_gradient[1] * py) / np.sqrt(1.0 + nx * nx + ny * ny)
            qx, qy = x_nm[i] - offset * nx, y_nm[i] - offset * ny
            step = max(abs(qx - px), abs(qy - py))
            px, py = qx, qy
            if step < _STEP_NM:
                z_mid = -(tilt[0] * px + tilt[1] * py) - 0.5 * (curvatures[0] * u * u + curvatures[1] * v * v)
                z_nm[i] = z_mid + offset
                break
    return z_nm
