"""What strains or interrupts a crystal other than dislocations: precipitates, voids, point-defect clusters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from physics.errors import require
from physics.frozen import frozen_array

KINDS = ("coherent_sphere", "plate", "cluster", "void", "inclusion")
DISCS = ("plate", "cluster")


@dataclass(frozen=True, kw_only=True, eq=False)
class Particle:
    """A particle centred at `centre_nm` (3,) in the image frame.

    "coherent_sphere": radius R, strain `misfit` (epsilon of Ashby & Brown 1963: the constrained strain, u = epsilon r
    inside; positive where the sphere is too large). "plate": a thin disc of `radius_nm` and `thickness_nm` on
    `plane_hkl`, whose misfit strain is along the normal alone. "cluster": a disc of point defects, `thickness_nm` being
    the spacing of the layer that is put in (misfit +1) or missing (-1). "void": a sphere without matter, free of strain. "inclusion": a
    sphere off every Bragg condition, free of strain, that lets exp(-h / mean_free_path_nm) of the electrons pass h of it.
    `xi_ratio` is the extinction distance (and the absorption lengths) of a sphere's own crystal over the matrix's.

    Raises InputError for an unknown kind, sizes that are not positive, or a field that its kind does not use.
    """

    kind: str
    centre_nm: np.ndarray
    radius_nm: float
    misfit: float = 0.0
    plane_hkl: tuple[int, int, int] = (0, 0, 0)
    thickness_nm: float = 0.0
    xi_ratio: float = 1.0
    mean_free_path_nm: float = 80.0

    def __post_init__(self) -> None:
        require(self.kind in KINDS, "particles.kind", f"be one of {', '.join(KINDS)}", self.kind)
        object.__setattr__(self, "centre_nm", frozen_array(self.centre_nm, (3,), "particles.centre_nm"))
        for name in ("radius_nm", "misfit", "thickness_nm", "xi_ratio", "mean_free_path_nm"):
            value = float(frozen_array([getattr(self, name)], (1,), f"particles.{name}")[0])
            object.__setattr__(self, name, value)
        plane = frozen_array(self.plane_hkl, (3,), "particles.plane_hkl")
        require(bool((plane == plane.round()).all()), "particles.plane_hkl", "be three integers", plane.tolist())
        object.__setattr__(self, "plane_hkl", tuple(int(h) for h in plane))
        require(0.1 <= self.radius_nm <= 1e4, "particles.radius_nm", "lie in [0.1, 10000]", self.radius_nm)
        require(0.05 <= self.xi_ratio <= 100, "particles.xi_ratio", "lie in [0.05, 100]", self.xi_ratio)
        if self.kind in DISCS:
            require(any(self.plane_hkl), "particles.plane_hkl", f"be given for a {self.kind}", self.plane_hkl)
            require(0 < self.thickness_nm <= self.radius_nm, "particles.thickness_nm", "lie in (0, radius_nm] for a disc", self.thickness_nm)
            require(0 < abs(self.misfit) <= 1, "particles.misfit", "lie in [-1, 1] and not be 0 for a disc", self.misfit)
            require(self.xi_ratio == 1, "particles.xi_ratio", "be 1 for a disc, which has no volume here", self.xi_ratio)
        else:
            require(not any(self.plane_hkl), "particles.plane_hkl", f"be left out for a {self.kind}", self.plane_hkl)
            require(self.thickness_nm == 0, "particles.thickness_nm", f"be left out for a {self.kind}", self.thickness_nm)
        if self.kind == "coherent_sphere":
            require(abs(self.misfit) <= 0.2, "particles.misfit", "lie in [-0.2, 0.2]", self.misfit,
                    "larger misfits are not coherent")  # fmt: skip
        if self.kind in ("void", "inclusion"):
            require(self.misfit == 0 and self.xi_ratio == 1, "particles.misfit", f"be left out for a {self.kind}", self.misfit)
        require(self.mean_free_path_nm > 0, "particles.mean_free_path_nm", "be > 0", self.mean_free_path_nm)

    @property
    def crystal_fraction(self) -> float:
        """What couplings and absorption in a sphere are multiplied by: 0 in a void and in matter off Bragg, 1 / xi_ratio in a precipitate."""
        return 0.0 if self.kind in ("void", "inclusion") else 1 / self.xi_ratio

    @property
    def opening_nm(self) -> float:
        """How far a disc pushes its two faces apart."""
        return self.misfit * self.thickness_nm

    def chord_nm(self, x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
        """How much of a sphere the columns at (x, y) cross."""
        off_sq = (np.asarray(x_nm) - self.centre_nm[0]) ** 2 + (np.asarray(y_nm) - self.centre_nm[1]) ** 2
        return 2 * np.sqrt(np.maximum(self.radius_nm**2 - off_sq, 0.0))

    @property
    def volume_nm3(self) -> float:
        return math.pi * self.radius_nm**2 * (self.thickness_nm if self.kind in DISCS else 4 / 3 * self.radius_nm)
