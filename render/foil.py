"""Height maps of a foil's two faces, its thickness, and the excitation error where the foil is bent.

The mid-surface is a height field, z_mid(x, y) = -(n_x x + n_y y) / n_z - (k1 u^2 + k2 v^2) / 2, with n the foil
normal at the field's centre, k1 and k2 the curvatures, u and v image coordinates along and across the curvature
azimuth. A face is the set of points p + h(p) m(p) (entrance) or p - h(p) m(p) (exit), p on the mid-surface, m its
local normal, h half the thickness there; for a flat mid-surface both faces are planes, else the column over
a given pixel is found by fixed-point iteration (a contraction, since h k < 1/2 is required). Relief is added to these
faces along the beam, openings draw both toward the mid-surface, and a grain boundary ends the first grain's column.

Axes: (Y, X) image rows and columns; trailing 3: image frame x, y, z in nm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numba
import numpy as np

from physics import beam as diffraction
from physics.beam import BeamCondition
from physics.crystal import Crystal
from physics.electron import wavelength_nm
from physics.errors import require
from physics.foil import Foil
from physics.frames import column_positions_nm
from physics.frozen import frozen_array
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
    length of a column in the second grain.
    """

    entrance_z_nm: np.ndarray
    exit_z_nm: np.ndarray
    thickness_nm: np.ndarray
    s_inv_nm: np.ndarray
    second_grain_nm: np.ndarray

    def __post_init__(self) -> None:
        for name in ("entrance_z_nm", "exit_z_nm", "thickness_nm", "s_inv_nm", "second_grain_nm"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), (None, None), name))


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

    def mid_z_nm(self, x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
        """Height of the mid-surface."""
        n, (u, v) = self.normal_image, self._bend_axes(x_nm, y_nm)
        along_inv_nm, across_inv_nm = self._curvatures_inv_nm()
        return -(n[0] * x_nm + n[1] * y_nm) / n[2] - 0.5 * (along_inv_nm * u * u + across_inv_nm * v * v)

    def mid_normal(self, x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
        """Unit normal (..., 3) of the mid-surface, toward the gun."""
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
        in_image, _ = self._wedge_axes()
        # On the foil plane p . n = 0, so p . in_plane = p . in_image: lines of equal thickness stand across the azimuth.
        along_nm = (x_nm * in_image[0] + y_nm * in_image[1]) / self._wedge_cosine()
        return 0.5 * self.foil.thickness_nm + self._half_slope() * along_nm

    def face_points_nm(self, x_nm: np.ndarray, y_nm: np.ndarray, side: int) -> np.ndarray:
        """Points (..., 3) of the entrance (side +1) or exit face (-1) on the normals through the mid-surface at (x, y)."""
        mid = np.stack([x_nm, y_nm, self.mid_z_nm(x_nm, y_nm)], axis=-1)
        points = mid + side * self.half_thickness_nm(x_nm, y_nm)[..., None] * self.mid_normal(x_nm, y_nm)
        points[..., 2] = self._worked(points[..., 0], points[..., 1], points[..., 2], side)
        return points

    def face_z_nm(self, x_nm: np.ndarray, y_nm: np.ndarray, side: int) -> np.ndarray:
        """Height of the entrance (side +1) or exit face (-1) in the columns at (x, y)."""
        return self._worked(x_nm, y_nm, self.smooth_face_z_nm(x_nm, y_nm, side), side)

    def crystal_faces_z_nm(self, x_nm: np.ndarray, y_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Heights between which the columns at (x, y) run in the first grain: the two faces, or the boundary."""
        entrance, exit_ = self.face_z_nm(x_nm, y_nm, 1), self.face_z_nm(x_nm, y_nm, -1)
        boundary = self.foil.boundary
        return (entrance, exit_) if boundary is None else boundary.split(x_nm, y_nm, entrance, exit_)

    def _worked(self, x_nm: np.ndarray, y_nm: np.ndarray, z_nm: np.ndarray, side: int) -> np.ndarray:
        """A face's height with relief, drawn toward the mid-surface by the openings."""
        if self.foil.relief is not None:
            z_nm = z_nm + side * self.foil.relief.height_nm(x_nm, y_nm, side)
        for opening in self.foil.openings:
            middle = self.mid_z_nm(x_nm, y_nm)
            z_nm = middle + opening.thickness_share(x_nm, y_nm) * (z_nm - middle)
        return z_nm

    def smooth_face_z_nm(self, x_nm: np.ndarray, y_nm: np.ndarray, side: int) -> np.ndarray:
        """Height of a face without relief and openings."""
        if not self.bent:
            a, b, c = self._face_plane(side)
            return (0.5 * side * self.foil.thickness_nm - a * x_nm - b * y_nm) / c
        gradient = self._half_slope() * self._wedge_axes()[0][:2] / self._wedge_cosine()
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

    def _half_slope(self) -> float:
        return float(np.tan(np.deg2rad(self.foil.wedge_deg) / 2))

    def _wedge_axes(self) -> tuple[np.ndarray, np.ndarray]:
        """The wedge azimuth as a unit vector in the image and as the unit vector in the foil plane that it casts there."""
        azimuth, n = np.deg2rad(self.foil.wedge_azimuth_deg), self.normal_image
        in_image = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        in_plane = in_image - (in_image @ n) * n
        return in_image, in_plane / np.linalg.norm(in_plane)

    def _wedge_cosine(self) -> float:
        """Cosine of the foil plane's slope along the wedge azimuth: image length over length in the plane."""
        return float(np.sqrt(1 - (self._wedge_axes()[0] @ self.normal_image) ** 2))

    def _face_plane(self, side: int) -> np.ndarray:
        """Vector w (3,) with w . r = side thickness / 2 on the face: r = p + side h n, h = t/2 + r . grad h."""
        return self.normal_image - side * self._half_slope() * self._wedge_axes()[1]


def foil_maps(
    crystal: Crystal,
    foil: Foil,
    beam: BeamCondition,
    shape: tuple[int, int],
    pixel_nm: float,
    renderer: str = NUMPY,
) -> FoilMaps:
    """Height fields of `foil` under `beam` for an image of `shape` (Y, X).

    `renderer` is "numpy", or "bpy X.Y.Z": ray-cast by Cycles from the two face meshes, by that version of bpy.
    """
    placed = FoilShape(foil=foil, normal_image=diffraction.foil_normal_image(crystal, beam, foil))
    x_nm, y_nm = np.meshgrid(*column_positions_nm(shape, pixel_nm))
    if renderer == NUMPY:
        entrance_z_nm, exit_z_nm = placed.face_z_nm(x_nm, y_nm, 1), placed.face_z_nm(x_nm, y_nm, -1)
    else:
        from render.blender import face_heights_nm  # Blender only where it is asked for

        entrance_z_nm, exit_z_nm = face_heights_nm(placed, shape, pixel_nm, renderer)
    vacuum = ~(entrance_z_nm > exit_z_nm)
    middle_z_nm = placed.mid_z_nm(x_nm, y_nm)
    entrance_z_nm = np.where(vacuum, middle_z_nm, entrance_z_nm)
    exit_z_nm = np.where(vacuum, middle_z_nm, exit_z_nm)
    normals = placed.mid_normal(x_nm, y_nm)
    whole_nm = entrance_z_nm - exit_z_nm
    if foil.boundary is not None:
        entrance_z_nm, exit_z_nm = foil.boundary.split(x_nm, y_nm, entrance_z_nm, exit_z_nm)
    return FoilMaps(
        entrance_z_nm=entrance_z_nm,
        exit_z_nm=exit_z_nm,
        thickness_nm=whole_nm * normals[..., 2],
        s_inv_nm=local_excitation_error_inv_nm(crystal, beam, placed, normals),
        second_grain_nm=np.maximum(whole_nm - (entrance_z_nm - exit_z_nm), 0.0),
    )


def foil_heights(
    crystal: Crystal, beam: BeamCondition, foil: Foil, x_nm: np.ndarray, y_nm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Heights between which the first grain lies over any points (x, y); entrance <= exit where there is none."""
    placed = FoilShape(foil=foil, normal_image=diffraction.foil_normal_image(crystal, beam, foil))
    x_nm, y_nm = np.asarray(x_nm, dtype=np.float64), np.asarray(y_nm, dtype=np.float64)
    return placed.crystal_faces_z_nm(x_nm, y_nm)


def scene_foil_maps(scene: Scene) -> FoilMaps:
    """The maps of a Scene, by the renderer that it names, with the steps that its lines have left on the faces."""
    maps = foil_maps(scene.crystal, scene.foil, scene.beam, scene.shape, scene.pixel_nm, scene.foil_renderer)
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
    s_inv_nm = np.full(normals.shape[:-1], beam.s_inv_nm)
    if not placed.bent:
        return s_inv_nm
    g = diffraction.g_image_inv_nm(crystal, beam)
    wave_vector_inv_nm = np.array([0.0, 0.0, -1 / wavelength_nm(beam.voltage_kV)])
    axis = np.cross(placed.normal_image, normals)  # sin(angle) times the rotation axis
    once = np.cross(axis, g)
    turned = g + once + np.cross(axis, once) / (1 + normals @ placed.normal_image)[..., None]
    change = diffraction.excitation_error(wave_vector_inv_nm, turned) - diffraction.excitation_error(
        wave_vector_inv_nm, g
    )
    return s_inv_nm + change


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
