"""Dislocations as curves with a Burgers vector.

Axes: K vertices, L dislocations.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    `plane_hkl` is the slip (or habit) plane of its longest part, (0, 0, 0) where none is declared.
    `glissile` states that line and Burgers vector lie in that plane; a Scene refuses one that does not.

    Raises InputError for fewer than two vertices, repeated neighbours or a zero Burgers vector.
    """

    burgers_uvw: np.ndarray
    points_nm: np.ndarray
    plane_hkl: tuple[int, int, int] = (0, 0, 0)
    kind: str = "perfect"
    glissile: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "burgers_uvw", frozen_array(self.burgers_uvw, (3,), "burgers_uvw"))
        object.__setattr__(self, "points_nm", frozen_array(self.points_nm, (None, 3), "points_nm"))
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

    @property
    def closed(self) -> bool:
        """Whether the last vertex repeats the first."""
        return len(self.points_nm) > 2 and bool(np.array_equal(self.points_nm[0], self.points_nm[-1]))

    @property
    def length_nm(self) -> float:
        return float(np.linalg.norm(np.diff(self.points_nm, axis=0), axis=1).sum())

    def reversed(self) -> Dislocation:
        """The same dislocation written with the opposite line sense: (-b, -xi)."""
        return Dislocation(
            burgers_uvw=-self.burgers_uvw + 0.0, points_nm=self.points_nm[::-1], plane_hkl=self.plane_hkl,
            kind=self.kind, glissile=self.glissile,
        )  # fmt: skip

    def canonical(self) -> Dislocation:
        """The form used in labels: the first non-zero component of b is positive."""
        first = self.burgers_uvw[np.nonzero(self.burgers_uvw)[0][0]]
        return self if first > 0 else self.reversed()
