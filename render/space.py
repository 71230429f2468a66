"""The space that sources of dislocations are placed in: crystal and foil in the image frame, and the field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physics.beam import BeamCondition, foil_normal_image, image_from_crystal
from physics.clipping import Faces, RoughFaces
from physics.crystal import Crystal
from physics.foil import Foil
from physics.frames import field_nm
from render.foil import FoilShape

STEP_PX, SHORTEST_STEP_NM = 4.0, 1.5
FINEST_RELIEF_NM = 3.0
CLEAR_OF_FACES_NM = 1.0


@dataclass(frozen=True, kw_only=True)
class Film:
    """A film on both faces under which lines glide: its depth, how far back traces run, and how many b they hold."""

    depth_nm: float
    trace_length_nm: float
    held: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Space:
    """The space that sources are placed in: crystal and foil in the image frame, and the field.

    `faces` bound the first grain, `outer_faces` the foil: they differ where a boundary runs under a face.
    """

    crystal: Crystal
    image_from_crystal: np.ndarray
    faces: Faces
    outer_faces: Faces
    thickness_nm: float
    shape: tuple[int, int]
    pixel_nm: float
    g_hkl: tuple[int, int, int]
    film: Film | None = None

    @classmethod
    def of(
        cls, crystal: Crystal, foil: Foil, beam: BeamCondition, shape: tuple[int, int], pixel_nm: float,
        film: Film | None = None,
    ) -> Space:  # fmt: skip
        placed = FoilShape(foil=foil, normal_image=foil_normal_image(crystal, beam, foil))
        return cls(crystal=crystal, image_from_crystal=image_from_crystal(crystal, beam), faces=_faces(placed),
                   outer_faces=lambda x, y: (placed.face_z_nm(x, y, 1), placed.face_z_nm(x, y, -1)), thickness_nm=foil.thickness_nm, shape=shape, pixel_nm=pixel_nm, g_hkl=beam.g_hkl, film=film)  # fmt: skip

    @property
    def half_field_nm(self) -> np.ndarray:
        return np.array(field_nm(self.shape, self.pixel_nm)) / 2

    @property
    def reach_nm(self) -> float:
        """A distance from the centre that lies outside the field by more than any image of a line."""
        return 1.3 * float(np.linalg.norm(self.half_field_nm)) + 0.5 * self.thickness_nm

    @property
    def step_nm(self) -> float:
        return max(STEP_PX * self.pixel_nm, SHORTEST_STEP_NM)

    def middle_nm(self, x_nm: float, y_nm: float) -> np.ndarray:
        """The point of the mid-foil over (x, y)."""
        entrance_nm, exit_nm = self.faces(np.array([x_nm]), np.array([y_nm]))
        return np.array([x_nm, y_nm, (entrance_nm[0] + exit_nm[0]) / 2])

    def holds(self, points_nm: np.ndarray) -> bool:
        """Whether all points (N, 3) lie between the faces, CLEAR_OF_FACES_NM from both."""
        entrance_nm, exit_nm = self.faces(points_nm[:, 0], points_nm[:, 1])
        below = points_nm[:, 2] < entrance_nm - CLEAR_OF_FACES_NM
        return bool((below & (points_nm[:, 2] > exit_nm + CLEAR_OF_FACES_NM)).all())

    def length_in_field_nm(self, points_nm: np.ndarray) -> float:
        middles = (points_nm[1:, :2] + points_nm[:-1, :2]) / 2
        seen = (np.abs(middles) < self.half_field_nm).all(axis=1)
        return float(np.linalg.norm(np.diff(points_nm, axis=0), axis=1)[seen].sum())


def _faces(placed: FoilShape) -> Faces:
    """Heights of both faces; planes are worked out once, since sources ask for a few points many times."""

    def bent(x_nm: np.ndarray, y_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return placed.crystal_faces_z_nm(x_nm, y_nm)

    if not placed.foil.smooth:
        return RoughFaces(heights_nm=bent, finest_nm=FINEST_RELIEF_NM)
    if placed.bent:
        return bent
    far_nm = 1000.0
    at = np.array(bent(np.array([0.0, far_nm, 0.0]), np.array([0.0, 0.0, far_nm])))
    (top, bottom), slopes = at[:, 0], (at[:, 1:] - at[:, :1]) / far_nm

    def plane(x_nm: np.ndarray, y_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (top + slopes[0, 0] * x_nm + slopes[0, 1] * y_nm, bottom + slopes[1, 0] * x_nm + slopes[1, 1] * y_nm)

    return plane
