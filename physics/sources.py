"""Dislocations as sources make them: pile-ups, bow-outs, dipoles, loops, threading lines. Pure geometry.

A line on a slip plane is described in the plane's own axes: `along` runs along the slip trace (the plane's
line of intersection with a face), `rise` up the plane toward the gun. A glide source returns lines that lie in their
plane with b in it (`glissile`), and every open line ends on a face of the foil or `reach_nm` away from the field's centre.

Axes: K vertices, M modes of a wave, N lines. All positions in nm, image frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import roots_genlaguerre

from physics.clipping import SHORTEST_SEGMENT_NM, Faces, between_faces
from physics.dislocation import Dislocation
from physics.errors import require
from physics.frozen import frozen_array

# The image stress mu b / (4 pi depth) is 240 MPa at this depth in copper, above the friction stress of a pure metal.
SHALLOWEST_NM = 4.0
MOST_SEGMENTS = 80  # of one chord, however long


@dataclass(frozen=True, kw_only=True, eq=False)
class GlidePlane:
    """A slip plane `plane_hkl` through `point_nm` (3,) with unit `normal_image` (3,), and the b that glides on it.

    Raises InputError where b does not lie in the plane (h u + k v + l w = 0).
    """

    plane_hkl: tuple[int, int, int]
    burgers_uvw: np.ndarray
    normal_image: np.ndarray
    point_nm: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "burgers_uvw", frozen_array(self.burgers_uvw, (3,), "burgers_uvw"))
        object.__setattr__(self, "point_nm", frozen_array(self.point_nm, (3,), "point_nm"))
        normal = frozen_array(self.normal_image, (3,), "normal_image")
        require(np.linalg.norm(normal) > 0, "normal_image", "not be zero", list(normal))
        normal = normal / np.linalg.norm(normal) * (1 if normal[2] >= 0 else -1)
        normal.setflags(write=False)
        object.__setattr__(self, "normal_image", normal)
        out_of_plane = float(np.dot(self.plane_hkl, self.burgers_uvw))
        require(abs(out_of_plane) < 1e-6, "burgers_uvw", f"lie in its slip plane {list(self.plane_hkl)}",
                list(self.burgers_uvw))  # fmt: skip

    @property
    def along(self) -> np.ndarray:
        """Unit vector (3,) of the slip trace; along x for a plane parallel to the image."""
        level = np.array([-self.normal_image[1], self.normal_image[0], 0.0])
        length = np.linalg.norm(level)
        return level / length if length > 1e-9 else np.array([1.0, 0.0, 0.0])

    @property
    def rise(self) -> np.ndarray:
        """Unit vector (3,) up the plane, normal to the trace."""
        rise = np.cross(self.normal_image, self.along)
        return rise if rise[2] >= 0 else -rise

    def at(self, along_nm: ArrayLike, rise_nm: ArrayLike) -> np.ndarray:
        """Points (..., 3) at in-plane coordinates from `point_nm`."""
        return self.point_nm + np.multiply.outer(along_nm, self.along) + np.multiply.outer(rise_nm, self.rise)

    def shifted(self, offset_nm: float) -> GlidePlane:
        """The parallel plane `offset_nm` away along the normal."""
        return GlidePlane(plane_hkl=self.plane_hkl, burgers_uvw=self.burgers_uvw, normal_image=self.normal_image,
                          point_nm=self.point_nm + offset_nm * self.normal_image)  # fmt: skip

    def opposite(self) -> GlidePlane:
        """The same plane with -b."""
        return GlidePlane(plane_hkl=self.plane_hkl, burgers_uvw=-self.burgers_uvw + 0.0,
                          normal_image=self.normal_image, point_nm=self.point_nm)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class LineShape:
    """How a line runs between its two pinning points.

    `chord_deg` turns the chord from the plane's line of steepest rise toward `along`; `sag_nm` is the height of a
    circular arc over the chord, positive toward `along`, at most half the chord; `wave_nm` (M,) are amplitudes of
    sin(pi m s), m = 1, 2, ..., added across the chord, s from 0 to 1 along it.
    """

    chord_deg: float = 0.0
    sag_nm: float = 0.0
    wave_nm: np.ndarray | Sequence[float] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "wave_nm", frozen_array(self.wave_nm, (None,), "wave_nm"))
        require(abs(self.chord_deg) <= 90, "chord_deg", "lie in [-90, 90]", self.chord_deg)


def pile_up_positions(count: int) -> np.ndarray:
    """Positions (N,) of N like dislocations pressed against a lock: 0 for the locked one, 1 for the last.

    The free ones stand at the roots of the derivative of the Laguerre polynomial L_N, L_N' = -L_(N-1)^(1)
    (Eshelby, Frank & Nabarro 1951).
    """
    require(count >= 1, "count", "be >= 1", count)
    if count == 1:
        return np.zeros(1)
    roots, _ = roots_genlaguerre(count - 1, 1)
    return np.concatenate([[0.0], roots / roots[-1]])


def pile_up(
    plane: GlidePlane,
    faces: Faces,
    *,
    positions_nm: ArrayLike,
    shapes: Sequence[LineShape],
    step_nm: float,
    reach_nm: float,
) -> list[Dislocation]:
    """Lines of one b on one plane, line k crossing `point_nm`'s level at `positions_nm[k]` along the trace.

    `pile_up_positions(N) * length_nm` gives the Eshelby-Frank-Nabarro pile-up with its tip at `point_nm`.
    """
    positions_nm = frozen_array(positions_nm, (len(shapes),), "positions_nm")
    lines: list[Dislocation] = []
    for position_nm, shape in zip(positions_nm, shapes):
        lines += bow_out(plane, faces, along_nm=float(position_nm), shape=shape, step_nm=step_nm, reach_nm=reach_nm)
    return lines


def bow_out(
    plane: GlidePlane, faces: Faces, *, along_nm: float, shape: LineShape, step_nm: float, reach_nm: float,
    kind: str = "perfect",
) -> list[Dislocation]:  # fmt: skip
    """A line pinned where its chord meets the two faces, bowing on the slip plane between them.

    A part that would bow out through a face is cut there, so that more than one line, or none, may come back. A
    chord that meets no face within `reach_nm` of the field's centre ends there.
    """
    chord = np.deg2rad(shape.chord_deg)
    direction = np.cos(chord) * plane.rise + np.sin(chord) * plane.along
    ends = _chord_ends(plane.at(along_nm, 0.0), direction, faces, reach_nm)
    if ends is None:
        return []
    chord_nm = float(np.linalg.norm(ends[1] - ends[0]))
    if chord_nm < 4 * SHORTEST_SEGMENT_NM:
        return []
    sideways = np.cos(chord) * plane.along - np.sin(chord) * plane.rise
    step_nm = max(step_nm, chord_nm / MOST_SEGMENTS)
    s, across_nm = _arc(chord_nm, float(np.clip(shape.sag_nm, -chord_nm / 2, chord_nm / 2)), step_nm)
    across_nm = across_nm + wave(s, shape.wave_nm)
    points_nm = ends[0] + np.multiply.outer(s, ends[1] - ends[0]) + np.multiply.outer(across_nm, sideways)
    return [
        Dislocation(burgers_uvw=plane.burgers_uvw, points_nm=piece, plane_hkl=plane.plane_hkl, kind=kind, glissile=True)
        for piece in between_faces(points_nm, faces)
        if survives_image_forces(piece, faces)
    ]


def dipole(
    plane: GlidePlane, faces: Faces, *, height_nm: float, offset_nm: float, shape: LineShape, step_nm: float,
    reach_nm: float,
) -> list[Dislocation]:  # fmt: skip
    """Two lines of b and -b on planes `height_nm` apart, the second shifted by `offset_nm` along the trace.

    |offset| = height is the stable position of an edge dipole (Hirth & Lothe 1982, section 5.3).
    """
    require(height_nm > 0, "height_nm", "be > 0", height_nm)
    options = {"shape": shape, "step_nm": step_nm, "reach_nm": reach_nm, "kind": "dipole"}
    second = plane.shifted(height_nm).opposite()
    return bow_out(plane, faces, along_nm=0.0, **options) + bow_out(second, faces, along_nm=offset_nm, **options)


def glide_loop(plane: GlidePlane, *, radius_nm: float, aspect: float = 1.0, turn_deg: float = 0.0,
               wave_fraction: ArrayLike = (), step_nm: float) -> Dislocation:  # fmt: skip
    """A closed line in its slip plane: an ellipse about `point_nm`, long axis `turn_deg` from the trace."""
    points_nm = _ellipse(plane.along, plane.rise, radius_nm, aspect, turn_deg, wave_fraction, step_nm)
    return Dislocation(burgers_uvw=plane.burgers_uvw, points_nm=plane.point_nm + points_nm, plane_hkl=plane.plane_hkl,
                       kind="loop", glissile=True)  # fmt: skip


def prismatic_loop(
    burgers_uvw: ArrayLike, habit_plane_hkl: tuple[int, int, int], habit_normal_image: ArrayLike, centre_nm: ArrayLike,
    *, radius_nm: float, aspect: float = 1.0, turn_deg: float = 0.0, wave_fraction: ArrayLike = (), step_nm: float,
) -> Dislocation:  # fmt: skip
    """A closed line about a disc of vacancies or interstitials on its habit plane; b leaves that plane.

    Raises InputError for a b that lies in the habit plane: that loop glides, see `glide_loop`.
    """
    climb = float(np.dot(habit_plane_hkl, frozen_array(burgers_uvw, (3,), "burgers_uvw")))
    require(abs(climb) > 1e-6, "burgers_uvw", f"leave the habit plane {list(habit_plane_hkl)}", list(np.ravel(burgers_uvw)),
            "a loop with b in its plane is a glide loop")  # fmt: skip
    axes = GlidePlane(plane_hkl=(0, 0, 1), burgers_uvw=(1, 0, 0), normal_image=habit_normal_image, point_nm=centre_nm)
    points_nm = _ellipse(axes.along, axes.rise, radius_nm, aspect, turn_deg, wave_fraction, step_nm)
    return Dislocation(burgers_uvw=burgers_uvw, points_nm=axes.point_nm + points_nm, plane_hkl=habit_plane_hkl, kind="loop")


def threading_line(
    burgers_uvw: ArrayLike, start_nm: ArrayLike, end_nm: ArrayLike, faces: Faces, *, wave_nm: ArrayLike = ((), ()),
    step_nm: float, kind: str = "perfect",
) -> list[Dislocation]:  # fmt: skip
    """A line in space from one point to another that keeps to no plane, clipped at the faces.

    `wave_nm` (2, M): amplitudes of sin(pi m s) along two axes across the chord, the first level, the second steep.
    """
    start_nm, end_nm = frozen_array(start_nm, (3,), "start_nm"), frozen_array(end_nm, (3,), "end_nm")
    wave_nm = frozen_array(wave_nm, (2, None), "wave_nm")
    chord_nm = end_nm - start_nm
    length_nm = float(np.linalg.norm(chord_nm))
    require(length_nm > 0, "end_nm", "differ from start_nm", list(end_nm))
    level = np.cross(chord_nm, [0.0, 0.0, 1.0])
    level = level / np.linalg.norm(level) if np.linalg.norm(level) > 1e-9 * length_nm else np.array([1.0, 0.0, 0.0])
    steep = np.cross(level, chord_nm / length_nm)
    s = np.linspace(0, 1, _segments(length_nm, step_nm) + 1)
    points_nm = start_nm + np.multiply.outer(s, chord_nm)
    points_nm += np.multiply.outer(wave(s, wave_nm[0]), level) + np.multiply.outer(wave(s, wave_nm[1]), steep)
    return [
        Dislocation(burgers_uvw=burgers_uvw, points_nm=piece, kind=kind)
        for piece in between_faces(points_nm, faces)
        if survives_image_forces(piece, faces)
    ]


def survives_image_forces(points_nm: np.ndarray, faces: Faces) -> bool:
    """Whether a line reaches deeper than SHALLOWEST_NM below both faces.

    Image forces pull a shallower half-loop out through the face: it leaves a step and no line.
    """
    # A straight line has no vertices but its ends, which lie on the faces.
    x_nm, y_nm, z_nm = np.concatenate([points_nm, (points_nm[1:] + points_nm[:-1]) / 2]).T
    entrance_nm, exit_nm = faces(x_nm, y_nm)
    return bool(np.minimum(entrance_nm - z_nm, z_nm - exit_nm).max() >= SHALLOWEST_NM)


def wave(s: np.ndarray, amplitude_nm: ArrayLike) -> np.ndarray:
    """sum over m of amplitude_m sin(pi m s), zero at both ends of the chord."""
    amplitude_nm = np.asarray(amplitude_nm, dtype=np.float64)
    modes = np.arange(1, len(amplitude_nm) + 1)
    return np.sin(np.pi * np.multiply.outer(s, modes)) @ amplitude_nm


def _chord_ends(
    point_nm: np.ndarray, direction: np.ndarray, faces: Faces, reach_nm: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """The two ends of the straight line through a point: at the faces, or `reach_nm` from the field's centre."""
    flat = direction[:2] @ direction[:2]
    if flat < 1e-18:
        t_low, t_high = -10 * reach_nm, 10 * reach_nm
    else:
        half = direction[:2] @ point_nm[:2] / flat
        inner = half * half - (point_nm[:2] @ point_nm[:2] - reach_nm**2) / flat
        if inner <= 0:
            return None
        t_low, t_high = -half - np.sqrt(inner), -half + np.sqrt(inner)
    # Enough stations that a bent foil's faces are met at most once between two of them.
    stations = point_nm + np.multiply.outer(np.linspace(t_low, t_high, 129), direction)
    pieces = between_faces(stations, faces)
    if not pieces:
        return None
    nearest = min(pieces, key=lambda piece: np.linalg.norm(piece - point_nm, axis=1).min())
    return nearest[0], nearest[-1]


def _arc(chord_nm: float, sag_nm: float, step_nm: float) -> tuple[np.ndarray, np.ndarray]:
    """Circular arc over a chord: position along the chord as a fraction (K,), height over it in nm (K,)."""
    if abs(sag_nm) < 1e-6 * chord_nm:
        s = np.linspace(0, 1, _segments(chord_nm, step_nm) + 1)
        return s, np.zeros_like(s)
    half_angle = 2 * np.arctan(2 * abs(sag_nm) / chord_nm)
    radius_nm = chord_nm / 2 / np.sin(half_angle)
    angle = np.linspace(-half_angle, half_angle, _segments(2 * radius_nm * half_angle, step_nm) + 1)
    s = 0.5 + radius_nm * np.sin(angle) / chord_nm
    height_nm = radius_nm * (np.cos(angle) - np.cos(half_angle))
    s[0], s[-1], height_nm[0], height_nm[-1] = 0.0, 1.0, 0.0, 0.0
    return s, np.sign(sag_nm) * height_nm


def _ellipse(axis_1: np.ndarray, axis_2: np.ndarray, radius_nm: float, aspect: float, turn_deg: float,
             wave_fraction: ArrayLike, step_nm: float) -> np.ndarray:  # fmt: skip
    """Closed curve (K, 3): semi-axes radius and radius * aspect, radius modulated by cos(m phi), m = 2, 3, ..."""
    require(radius_nm > 0, "radius_nm", "be > 0", radius_nm)
    require(0 < aspect <= 1, "aspect", "lie in (0, 1]", aspect)
    wave_fraction = frozen_array(wave_fraction, (None,), "wave_fraction")
    require(float(np.abs(wave_fraction).sum()) < 1, "wave_fraction", "sum to less than 1", list(wave_fraction))
    phi = np.linspace(0, 2 * np.pi, max(12, _segments(2 * np.pi * radius_nm, step_nm)) + 1)
    modulated = radius_nm * (1 + np.cos(np.multiply.outer(phi, np.arange(2, 2 + len(wave_fraction)))) @ wave_fraction)
    turn = np.deg2rad(turn_deg)
    long_axis = np.cos(turn) * axis_1 + np.sin(turn) * axis_2
    short_axis = np.cos(turn) * axis_2 - np.sin(turn) * axis_1
    points_nm = np.multiply.outer(modulated * np.cos(phi), long_axis)
    points_nm += np.multiply.outer(modulated * aspect * np.sin(phi), short_axis)
    points_nm[-1] = points_nm[0]
    return points_nm


def _segments(length_nm: float, step_nm: float) -> int:
    return max(4, int(np.ceil(length_nm / step_nm)))
