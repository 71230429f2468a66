"""The perfect crystal: lattice, basis, symmetry and elastic constants.

Crystal Cartesian frame: cubic a || x, b || y, c || z; hexagonal a || x, c || z. Reciprocal vectors carry no
2 pi: g = h a* + k b* + l c*, a*.a = 1, |g| = 1/d. Axes: S sites of the cell, N vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import ArrayLike

from physics import elasticity, material, symmetry
from physics.errors import require
from physics.frozen import frozen_array

STRUCTURES = ("fcc", "bcc", "hcp", "diamond", "zincblende", "rocksalt")
EXTINCTION_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Crystal:
    """A perfect crystal of a named material.

    `lattice_nm` (3, 3) has columns a, b, c of the conventional cell. `basis_positions` (S, 3) are fractional;
    `basis_compositions` gives each site's elements with their shares. `stiffness_GPa` (6, 6) is in Voigt order
    in the crystal frame. `debye_waller_nm2` holds B of each element; structure factors use it only when asked.
    `slip_families` are the usual ones, the most usual first. `stacking_fault_mJ_m2` is the energy of the intrinsic fault,
    of the basal fault I2 in hexagonal crystals, None where there is no such fault.

    Raises InputError for an unknown structure, a left-handed or flat cell, or a stiffness that is not stable.
    """

    material: str
    structure: str
    lattice_nm: np.ndarray
    basis_positions: np.ndarray
    basis_compositions: tuple[tuple[tuple[str, float], ...], ...]
    stiffness_GPa: np.ndarray
    debye_waller_nm2: tuple[tuple[str, float], ...] = ()
    slip_families: tuple[str, ...] = ()
    stacking_fault_mJ_m2: float | None = None

    def __post_init__(self) -> None:
        require(self.structure in STRUCTURES, "crystal.structure", f"be one of {', '.join(STRUCTURES)}", self.structure)
        for name, shape in (("lattice_nm", (3, 3)), ("basis_positions", (None, 3)), ("stiffness_GPa", (6, 6))):
            object.__setattr__(self, name, frozen_array(getattr(self, name), shape, f"crystal.{name}"))
        require(self.volume_nm3 > 0, "crystal.lattice_nm", "be right-handed with a volume > 0", self.volume_nm3)
        require(len(self.basis_compositions) == len(self.basis_positions), "crystal.basis_compositions",
                f"name the elements of {len(self.basis_positions)} sites", len(self.basis_compositions))  # fmt: skip
        shares = [sum(share for _, share in site) for site in self.basis_compositions]
        require(bool(np.allclose(shares, 1, atol=1e-6)), "crystal.basis_compositions", "add up to 1 a site", shares)
        require(bool(np.allclose(self.stiffness_GPa, self.stiffness_GPa.T)), "crystal.stiffness_GPa",
                "be symmetric", self.stiffness_GPa.tolist())  # fmt: skip
        eigenvalues_GPa = np.linalg.eigvalsh(self.stiffness_GPa)
        require(bool(eigenvalues_GPa.min() > 0), "crystal.stiffness_GPa", "be positive definite",
                f"eigenvalues {eigenvalues_GPa.round(3).tolist()}")  # fmt: skip

    @staticmethod
    def from_material(name: str) -> Crystal:
        """The crystal that `physics/materials/<name>.json` describes. Raises InputError for an unknown name."""
        known = material.material_names()
        require(isinstance(name, str) and name in known, "material", f"be one of {', '.join(known)}", repr(name))
        return _crystal_of(name)

    @property
    def volume_nm3(self) -> float:
        """Volume of the conventional cell."""
        return float(np.linalg.det(self.lattice_nm))

    @cached_property
    def reciprocal_inv_nm(self) -> np.ndarray:
        """Columns a*, b*, c* (3, 3), the transposed inverse of `lattice_nm`."""
        return frozen_array(np.linalg.inv(self.lattice_nm).T, (3, 3), "crystal.reciprocal_inv_nm")

    @cached_property
    def bulk_modulus_GPa(self) -> float:
        """Voigt-Reuss-Hill average."""
        return elasticity.hill_average(self.stiffness_GPa)[0]

    @cached_property
    def shear_modulus_GPa(self) -> float:
        """Voigt-Reuss-Hill average."""
        return elasticity.hill_average(self.stiffness_GPa)[1]

    @property
    def poisson_ratio(self) -> float:
        """Of the Voigt-Reuss-Hill average."""
        return elasticity.poisson_ratio(self.bulk_modulus_GPa, self.shear_modulus_GPa)

    @cached_property
    def point_group(self) -> symmetry.PointGroup:
        """All operations as integer matrices, on directions and on planes."""
        return symmetry.point_group(self.lattice_nm, self.basis_positions, self.basis_compositions)

    def direction_nm(self, uvw: ArrayLike) -> np.ndarray:
        """u a + v b + w c in the crystal Cartesian frame, (..., 3) from (..., 3)."""
        return np.asarray(uvw, dtype=np.float64) @ self.lattice_nm.T

    def reciprocal_vector_inv_nm(self, hkl: ArrayLike) -> np.ndarray:
        """h a* + k b* + l c* in the crystal Cartesian frame, (..., 3) from (..., 3)."""
        return np.asarray(hkl, dtype=np.float64) @ self.reciprocal_inv_nm.T

    def is_lattice_vector(self, uvw: ArrayLike) -> bool:
        """Whether a shift by `uvw` brings the crystal onto itself (tolerance 1e-6 of a cell edge)."""
        return symmetry.is_translation(frozen_array(uvw, (3,), "uvw"), self.basis_positions, self.basis_compositions)

    def is_allowed_reflection(self, hkl: ArrayLike) -> bool:
        """Whether F(hkl) is not zero by the arrangement of the sites alone, element by element.

        hkl must be integers other than 000. Reflections that only the difference of two elements makes weak
        (200 of GaAs) are allowed; diamond 222 and hcp 001 are not.
        """
        hkl = frozen_array(hkl, (3,), "hkl")
        if not hkl.any() or (hkl != np.round(hkl)).any():
            return False
        phases = np.exp(2j * np.pi * (self.basis_positions @ hkl))
        kinds = set(self.basis_compositions)
        sums = [sum(p for p, site in zip(phases, self.basis_compositions) if site == kind) for kind in kinds]
        return bool(max(abs(s) for s in sums) > EXTINCTION_TOLERANCE * len(phases))

    def equivalent_directions(self, uvw: ArrayLike) -> np.ndarray:
        """All directions <uvw> that the point group makes of `uvw`, (N, 3) float64, sorted.

        Both senses where it holds the inversion; of zincblende <111> four, not eight.
        """
        images = self.point_group.on_directions @ frozen_array(uvw, (3,), "uvw")
        return _unique(images)

    def equivalent_planes(self, hkl: ArrayLike) -> np.ndarray:
        """All planes {hkl} that the point group makes of `hkl`, (N, 3) int64, sorted; likewise."""
        hkl = frozen_array(hkl, (3,), "hkl")
        require(bool((hkl == np.round(hkl)).all()), "hkl", "be three integers", hkl.tolist())
        return _unique(self.point_group.on_planes @ hkl.astype(np.int64)).astype(np.int64)


def _unique(vectors: np.ndarray) -> np.ndarray:
    """Distinct rows, largest first, with the digits of their first occurrence."""
    _, first = np.unique(np.round(vectors, 6) + 0.0, axis=0, return_index=True)
    return vectors[first[::-1]] + 0.0


@cache
def _crystal_of(name: str) -> Crystal:
    record = material.material_record(name)
    return Crystal(
        material=name,
        structure=record["structure"],
        lattice_nm=material.lattice_nm(record),
        basis_positions=material.basis_positions(record),
        basis_compositions=material.basis_compositions(record),
        stiffness_GPa=material.stiffness_GPa(record),
        debye_waller_nm2=material.debye_waller_nm2(record),
        slip_families=tuple(record["slip_families"]),
        stacking_fault_mJ_m2=material.stacking_fault_mJ_m2(record),
    )
