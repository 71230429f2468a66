"""Dislocations as curves with a Burgers vector.

Axes: K vertices, L dislocations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from physics.errors import InputError, require
from physics.frozen import frozen_array

PLANE_TOLERANCE_NM = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Dislocation:
    """One line: a polyline `points_nm` (K, 3) in the image frame with Burgers vector `burgers_uvw` (3,).

    `burgers_uvw` is in lattice vectors (1/2[110] is (0.5, 0.5, 0)); FS/RH, so that around a right-handed
    circuit about the line sense the displacement jumps by +b. The line sense is the order of the vertices:
    (b, points) and (-b, reversed points) are the same dislocation. A closed loop repeats its first vertex.
    `plane_hkl` is the slip (or habit) plane of its longest part, (0, 0, 0) where none is declared; a line that changes
    planes has one for each segment in `segment_planes_hkl` (K - 1, 3), and `plane_hkl` then follows from them.
    `glissile` states that line and Burgers vector lie in that plane; a Scene refuses one that does not.

    Raises InputError for fewer than two vertices, repeated neighbours, a zero Burgers vector, or planes of segments
    that contradict `plane_hkl`.
    """

    burgers_uvw: np.ndarray
    points_nm: np.ndarray
    plane_hkl: tuple[int, int, int] = (0, 0, 0)
    kind: str = "perfect"
    glissile: bool = False
    segment_planes_hkl: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "burgers_uvw", frozen_array(self.burgers_uvw, (3,), "burgers_uvw"))
        object.__setattr__(self, "points_nm", frozen_array(self.points_nm, (None, 3), "points_nm"))
        self._take_segment_planes()
        plane = frozen_array(self.plane_hkl, (3,), "plane_hkl")
        require(bool(np.all(plane == np.round(plane))), "plane_hkl", "be three integers", tuple(plane))
        object.__setattr__(self, "plane_hkl", tuple(int(h) for h in plane))
        require(bool(np.any(self.burgers_uvw != 0)), "burgers_uvw", "not be zero", tuple(self.burgers_uvw))
        require(len(self.points_nm) >= 2, "points_nm", "have at least 2 vertices", len(self.points_nm))
        lengths_nm = np.linalg.norm(np.diff(self.points_nm, axis=0), axis=1)
        if not np.all(lengths_nm > 0):
            k = int(np.argmin(lengths_nm))
            raise InputError(f"points_nm must not repeat a vertex, got vertices {k} and {k + 1} at one place")
        require(isinstance(self.kind, str) and bool(self.kind), "kind", "be a word", self.kind)
        require(not self.glissile or any(self.plane_hkl), "plane_hkl", "be given for a glissile line", self.plane_hkl)

    def _take_segment_planes(self) -> None:
        if self.segment_planes_hkl is None:
            return
        planes = frozen_array(self.segment_planes_hkl, (len(self.points_nm) - 1, 3), "segment_planes_hkl")
        require(bool(np.all(planes == np.round(planes))), "segment_planes_hkl", "be three integers a segment", planes.tolist())
        object.__setattr__(self, "segment_planes_hkl", planes)
        longest = plane_of_longest_part(self.points_nm, planes)
        given = tuple(int(h) for h in self.plane_hkl)
        require(given in ((0, 0, 0), longest), "plane_hkl", f"be that of the longest part, {list(longest)}, or left out", list(given))
        object.__setattr__(self, "plane_hkl", longest)
        several = bool((planes != planes[0]).any())
        require(not (self.glissile and several), "glissile", "be false for a line on several planes", True)

    def plane_of_part(self, points_nm: np.ndarray) -> tuple[int, int, int]:
        """The plane of the longest part of a stretch (K', 3) cut out of this line."""
        if self.segment_planes_hkl is None or len(points_nm) < 2:
            return self.plane_hkl
        return plane_of_longest_part(points_nm, self.segment_planes_hkl[segments_under(points_nm, self.points_nm)])

    @property
    def closed(self) -> bool:
        """Whether the last vertex repeats the first."""
        return len(self.points_nm) > 2 and self.points_nm[0].tolist() == self.points_nm[-1].tolist()

    @property
    def length_nm(self) -> float:
        return float(np.linalg.norm(np.diff(self.points_nm, axis=0), axis=1).sum())

    def reversed(self) -> Dislocation:
        """The same dislocation written with the opposite line sense: (-b, -xi)."""
        planes = self.segment_planes_hkl
        return replace(self, burgers_uvw=-self.burgers_uvw + 0.0, points_nm=self.points_nm[::-1],
                       segment_planes_hkl=None if planes is None else planes[::-1])  # fmt: skip

    def canonical(self) -> Dislocation:
        """The form used in labels: the first non-zero component of b is positive."""
        first = self.burgers_uvw[np.nonzero(self.burgers_uvw)[0][0]]
        return self if first > 0 else self.reversed()


def plane_of_longest_part(points_nm: np.ndarray, planes_hkl: np.ndarray) -> tuple[int, int, int]:
    """Of the planes (K - 1, 3) of a polyline's segments the one that most of its length has."""
    lengths_nm = np.linalg.norm(np.diff(points_nm, axis=0), axis=1)
    by_plane: dict[tuple[int, int, int], float] = {}
    for plane, length_nm in zip(np.asarray(planes_hkl).astype(int).tolist(), lengths_nm):
        by_plane[tuple(plane)] = by_plane.get(tuple(plane), 0.0) + float(length_nm)
    most_nm = max(by_plane.values())
    # The same line read backward sums in another order and must find the same plane.
    return min(plane for plane in by_plane if by_plane[plane] >= most_nm * (1 - 1e-9))


def segments_under(piece_nm: np.ndarray, points_nm: np.ndarray) -> np.ndarray:
    """For each segment of a piece (K', 3) of the polyline `points_nm` (K, 3) the index (K' - 1,) of the one it lies on."""
    middles = (piece_nm[1:] + piece_nm[:-1]) / 2
    start, edge = points_nm[:-1], np.diff(points_nm, axis=0)
    along = ((middles[:, None] - start) * edge).sum(-1) / (edge * edge).sum(-1)
    nearest = start + np.clip(along, 0, 1)[..., None] * edge
    return np.linalg.norm(middles[:, None] - nearest, axis=-1).argmin(axis=1)
