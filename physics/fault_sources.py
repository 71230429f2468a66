"""Faults as specimens show them: sheets and bands through the foil, wide faults behind one partial, Frank loops.

A band of parallel faults stands for a twin-like lamella seen in a reflection that matrix and twin have in common: the
phases 2 pi g.R of its planes are all there is. The twin's own reflections are not modelled.

Axes: K vertices. Positions in nm, image frame; Burgers vectors and shifts in lattice vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from physics.clipping import Faces, between_faces
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.errors import require
from physics.fault import StackingFault
from physics.partials import fault_shifts, frank_shift
from physics.ribbon import is_simple
from physics.sources import GlidePlane, prismatic_loop


def fault_shift(
    crystal: Crystal, plane_hkl: tuple[int, int, int], normal_image: ArrayLike, *, extrinsic: bool = False, layer: int = 0
) -> np.ndarray:
    """R (3,) of a fault on a plane whose (h k l) normal is `normal_image` in the image frame.

    Intrinsic: one sheared plane. Extrinsic: two neighbouring ones, in the image one sheet with the sum of the two
    different shears, which is -R modulo the lattice.
    """
    up = 1 if np.asarray(normal_image)[2] >= 0 else -1
    shifts = fault_shifts(crystal, plane_hkl, up=up, layer=layer)
    return shifts[0] + shifts[1] if extrinsic else shifts[0]


def fault_sheet(
    crystal: Crystal, plane_hkl: tuple[int, int, int], normal_image: ArrayLike, point_nm: ArrayLike, *,
    reach_nm: float, extrinsic: bool = False, layer: int = 0,
) -> StackingFault:  # fmt: skip
    """A fault on the whole of a plane, from face to face and from edge to edge of the field.

    `reach_nm`: half the side of the square sheet about `point_nm`; it must leave the foil and the field on all sides.
    """
    plane = _axes(plane_hkl, normal_image, point_nm)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * reach_nm
    shift = fault_shift(crystal, plane_hkl, normal_image, extrinsic=extrinsic, layer=layer)
    return StackingFault(plane_hkl=plane_hkl, shift_uvw=shift, outline_nm=plane.at(corners[:, 0], corners[:, 1]))


def fault_band(
    crystal: Crystal, plane_hkl: tuple[int, int, int], normal_image: ArrayLike, point_nm: ArrayLike, *,
    offsets_nm: Sequence[float], reach_nm: float, extrinsic: Sequence[bool] | None = None,
) -> list[StackingFault]:  # fmt: skip
    """Parallel sheets at `offsets_nm` along the normal: overlapping faults, or a twin-like band."""
    normal = np.asarray(normal_image) / np.linalg.norm(normal_image)
    kinds = [False] * len(offsets_nm) if extrinsic is None else list(extrinsic)
    require(len(kinds) == len(offsets_nm), "extrinsic", f"have {len(offsets_nm)} entries", len(kinds))
    return [
        fault_sheet(crystal, plane_hkl, normal_image, np.asarray(point_nm) + offset * normal, reach_nm=reach_nm, extrinsic=kind)
        for offset, kind in zip(offsets_nm, kinds)
    ]


def wide_fault(
    crystal: Crystal, plane_hkl: tuple[int, int, int], normal_image: ArrayLike, points_nm: np.ndarray, faces: Faces, *,
    fault_on_left: bool, reach_nm: float, shear: int = 0, layer: int = 0,
) -> tuple[list[Dislocation], list[StackingFault]]:  # fmt: skip
    """A partial along `points_nm` (K, 3), which lies on the plane, with the fault it drags filling one side of it.

    Its other partial is outside the field. The fault goes on for `reach_nm` from the line's chord; the ends of the line
    must lie on the faces or outside the field. `shear` (0, 1, 2) chooses among the three shifts. No line comes back where
    the line is bent so far toward its fault that the outline would cross itself or end within half of `reach_nm`.
    """
    normal = np.asarray(normal_image) / np.linalg.norm(normal_image)
    up = 1 if normal[2] >= 0 else -1
    shift = fault_shifts(crystal, plane_hkl, up=up, layer=layer)[shear]
    chord = points_nm[-1] - points_nm[0]
    side = np.cross(up * normal, chord / np.linalg.norm(chord)) * (1 if fault_on_left else -1)
    tangents = points_nm[[0, -1]] - points_nm[[1, -2]]
    tangents = tangents / np.linalg.norm(tangents, axis=1, keepdims=True)
    ends = points_nm[[0, -1]] + reach_nm * tangents
    outline_nm = np.concatenate([ends[:1], points_nm[1:-1], ends[1:], ends[1:] + reach_nm * side, ends[:1] + reach_nm * side])
    if (tangents @ side).min() < -0.5 or not is_simple(outline_nm, normal):
        return [], []
    fault = StackingFault(plane_hkl=plane_hkl, shift_uvw=shift, outline_nm=outline_nm)
    burgers = shift if fault_on_left else -shift
    pieces = between_faces(np.concatenate([ends[:1], points_nm[1:-1], ends[1:]]), faces)
    return [Dislocation(burgers_uvw=burgers + 0.0, points_nm=piece, plane_hkl=plane_hkl, kind="partial", glissile=True)
            for piece in pieces], [fault]  # fmt: skip


def frank_loop(
    crystal: Crystal, plane_hkl: tuple[int, int, int], normal_image: ArrayLike, centre_nm: ArrayLike, *,
    radius_nm: float, interstitial: bool, aspect: float = 1.0, turn_deg: float = 0.0, wave_fraction: ArrayLike = (),
    step_nm: float = 2.0,
) -> tuple[list[Dislocation], list[StackingFault]]:  # fmt: skip
    """A sessile loop about a disc of vacancies (intrinsic fault) or interstitials (extrinsic) with its fault inside.

    b = +-1/3<111> in fcc, 1/6<20-23> in hcp. The line runs anticlockwise as the gun sees it, so that the fault lies on
    its left and b = R.
    """
    up = 1 if np.asarray(normal_image)[2] >= 0 else -1
    shift = frank_shift(crystal, plane_hkl, extrinsic=interstitial, up=up)
    loop = prismatic_loop(shift, plane_hkl, normal_image, centre_nm, radius_nm=radius_nm, aspect=aspect,
                          turn_deg=turn_deg, wave_fraction=wave_fraction, step_nm=step_nm)  # fmt: skip
    loop = anticlockwise(loop, up * np.asarray(normal_image, dtype=np.float64))
    fault = StackingFault(plane_hkl=plane_hkl, shift_uvw=shift, outline_nm=loop.points_nm[:-1])
    return [loop], [fault]


def perfect_prismatic_loop(
    crystal: Crystal, burgers_uvw: ArrayLike, habit_plane_hkl: tuple[int, int, int], normal_image: ArrayLike,
    centre_nm: ArrayLike, *, radius_nm: float, interstitial: bool, step_nm: float = 2.0,
) -> Dislocation:  # fmt: skip
    """A perfect prismatic loop whose sense is that of its disc: of interstitials (a layer more) or of vacancies.

    With the line anticlockwise about the habit plane's normal n toward the gun, the crystal below the disc has moved
    by +b: away from the gun, b.n < 0, where a layer was put in.
    """
    up = 1 if np.asarray(normal_image)[2] >= 0 else -1
    climb = up * float(np.dot(habit_plane_hkl, np.asarray(burgers_uvw, dtype=np.float64)))
    sense = -1.0 if (climb > 0) == interstitial else 1.0
    loop = prismatic_loop(sense * np.asarray(burgers_uvw, dtype=np.float64), habit_plane_hkl, normal_image, centre_nm,
                          radius_nm=radius_nm, step_nm=step_nm)  # fmt: skip
    return anticlockwise(loop, up * np.asarray(normal_image, dtype=np.float64))


def anticlockwise(loop: Dislocation, normal_up: np.ndarray) -> Dislocation:
    """The loop with its vertices in anticlockwise order about a normal, b unchanged: another dislocation if they were not."""
    points = loop.points_nm[:-1] - loop.points_nm[0]
    area = np.cross(points[1:-1], points[2:]).sum(axis=0) @ normal_up
    if area >= 0:
        return loop
    return Dislocation(burgers_uvw=loop.burgers_uvw, points_nm=loop.points_nm[::-1], plane_hkl=loop.plane_hkl,
                       kind=loop.kind, glissile=loop.glissile)  # fmt: skip


def _axes(plane_hkl: tuple[int, int, int], normal_image: ArrayLike, point_nm: ArrayLike) -> GlidePlane:
    """In-plane axes only; the Burgers vector is a placeholder that lies in the plane (0 0 1) of the axes."""
    return GlidePlane(plane_hkl=(0, 0, 1), burgers_uvw=(1, 0, 0), normal_image=normal_image, point_nm=point_nm)
