"""Planar faults: a polygon across which the crystal is shifted.

Axes: K outline vertices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physics.errors import require
from physics.frozen import frozen_array


@dataclass(frozen=True, kw_only=True, eq=False)
class StackingFault:
    """A plane polygon `outline_nm` (K, 3) in the image frame, on `plane_hkl`.

    `shift_uvw` is R in lattice vectors, the shift of the crystal *below* the fault (away from the gun), so
    that phi_g is multiplied there by exp(2 pi i g.R). The partial with the fault on the left of its line
    sense, seen from the gun, has b = +R; the one with the fault on its right has b = -R.
    """

    plane_hkl: tuple[int, int, int]
    shift_uvw: np.ndarray
    outline_nm: np.ndarray

    def __post_init__(self) -> None:
        plane = frozen_array(self.plane_hkl, (3,), "faults.plane_hkl")
        require(bool((plane == plane.round()).all()), "faults.plane_hkl", "be three integers", plane.tolist())
        object.__setattr__(self, "plane_hkl", tuple(int(h) for h in plane))
        require(any(self.plane_hkl), "faults.plane_hkl", "not be (0, 0, 0)", self.plane_hkl)
        object.__setattr__(self, "shift_uvw", frozen_array(self.shift_uvw, (3,), "faults.shift_uvw"))
        object.__setattr__(self, "outline_nm", frozen_array(self.outline_nm, (None, 3), "faults.outline_nm"))
        require(len(self.outline_nm) >= 3, "faults.outline_nm", "have at least 3 vertices", len(self.outline_nm))
        edges = self.outline_nm[1:] - self.outline_nm[0]
        area_nm2 = np.linalg.norm(np.cross(edges[:-1], edges[1:]).sum(axis=0)) / 2
        require(area_nm2 > 0, "faults.outline_nm", "enclose an area", f"{area_nm2:g} nm^2")

    @property
    def mean_width_nm(self) -> float:
        """Twice the area over the perimeter: the width of a long ribbon, the radius of a disc."""
        edges = self.outline_nm[1:] - self.outline_nm[0]
        area_nm2 = np.linalg.norm(np.cross(edges[:-1], edges[1:]).sum(axis=0)) / 2
        return float(2 * area_nm2 / np.linalg.norm(np.diff(self.outline_nm, axis=0, append=self.outline_nm[:1]), axis=1).sum())
