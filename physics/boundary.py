"""A boundary to a second grain, or the two of a twin, seen through the foil.

The two grains diffract into different directions, so that the beams of one do not couple to those of the other: a
column that crosses the boundary is a crystal of the first grain over (or under) one of the second. Where the boundary
is inclined the first grain tapers out, and its thickness fringes run along the boundary. A twin between two parallel
boundaries interrupts the first grain, whose beams cross it without coupling, their phases running on (as in a void:
`physics.strain.inclusions`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from physics.errors import require
from physics.frozen import frozen_array

# Planes steeper than this are taken as edge-on: over a foil of 1 um they stand 1e-3 nm off.
LEAST_NZ = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class GrainBoundary:
    """A plane through `point_nm` (3,) with `normal` (3,), image frame, pointing into the second grain.

    `width_nm` None: everything beyond the plane is the second grain; a number: a twin or lamella, which a parallel plane
    ends so far along the normal.

    The second grain is perfect. `misorientation_uvw` and `misorientation_deg` tell its orientation: that of the first grain
    turned about its direction uvw, anticlockwise seen against it (a twin on (1 1 1) of a cubic crystal: [1, 1, 1], 180). From
    it follow the reflections that are excited in it, each with its s, and its bending with the foil; where g is a
    reflection of both grains it is not seen (`physics.misorientation`). A twin's width is best a whole number of times three of
    its planes, after which the first grain goes on unshifted, as is taken here.

    Or, without an orientation, its two-beam condition is given: `s_inv_nm`, `xi_g_nm`, and xi_g' as
    `xi_prime_over_xi` times that; the mean absorption is the first grain's, whose material it is of. A large `s_inv_nm`
    leaves it bright. `turn_inv_nm_per_um` is how its s changes with x and y (2,), where the foil is bent.

    Raises InputError for a zero normal, lengths that are not positive, or neither or both of the two ways.
    """

    point_nm: np.ndarray
    normal: np.ndarray
    s_inv_nm: float | None = None
    xi_g_nm: float | None = None
    xi_prime_over_xi: float = 10.0
    turn_inv_nm_per_um: tuple[float, float] = (0.0, 0.0)
    width_nm: float | None = None
    misorientation_uvw: tuple[float, float, float] | None = None
    misorientation_deg: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "point_nm", frozen_array(self.point_nm, (3,), "boundary.point_nm"))
        normal = frozen_array(self.normal, (3,), "boundary.normal")
        require(bool(normal.any()), "boundary.normal", "not be zero", normal.tolist())
        object.__setattr__(self, "normal", normal)
        turn = frozen_array(self.turn_inv_nm_per_um, (2,), "boundary.turn_inv_nm_per_um")
        object.__setattr__(self, "turn_inv_nm_per_um", tuple(float(c) for c in turn))
        self._check_one_way()
        for name in ("s_inv_nm", "xi_g_nm", "xi_prime_over_xi"):
            value = getattr(self, name)
            if value is None and name != "xi_prime_over_xi":
                continue
            value = math.inf if name == "xi_prime_over_xi" and value is None else float(value)
            require(not math.isnan(value) and (name == "xi_prime_over_xi" or math.isfinite(value)), f"boundary.{name}",
                    "be a number", value)  # fmt: skip
            object.__setattr__(self, name, value)
        if self.width_nm is not None:
            object.__setattr__(self, "width_nm", float(frozen_array([self.width_nm], (1,), "boundary.width_nm")[0]))
            require(self.width_nm > 0, "boundary.width_nm", "be > 0", self.width_nm)
        require(self.xi_g_nm is None or self.xi_g_nm > 0, "boundary.xi_g_nm", "be > 0", self.xi_g_nm)
        require(self.xi_prime_over_xi >= 1, "boundary.xi_prime_over_xi", "be >= 1", self.xi_prime_over_xi)

    def _check_one_way(self) -> None:
        """One of the two ways: an orientation, or a two-beam condition."""
        oriented = self.misorientation_uvw is not None
        require(oriented == (self.misorientation_deg is not None), "boundary.misorientation_deg", "be given with misorientation_uvw",
                "one of the two")  # fmt: skip
        given = [name for name in ("s_inv_nm", "xi_g_nm") if getattr(self, name) is not None]
        if not oriented:
            require(len(given) == 2, "boundary.misorientation_uvw", "be given with misorientation_deg, or s_inv_nm and xi_g_nm instead",
                    given[0] if given else "neither")  # fmt: skip
            return
        require(not given, f"boundary.{given[0] if given else ''}", "be left out where misorientation_uvw is given", "both",
                "it follows from the orientation")  # fmt: skip
        for name, unused in (("xi_prime_over_xi", 10.0), ("turn_inv_nm_per_um", (0.0, 0.0))):
            require(getattr(self, name) == unused, f"boundary.{name}", "be left out where misorientation_uvw is given",
                    getattr(self, name), "absorption and bending follow from the first grain's")  # fmt: skip
        axis = frozen_array(self.misorientation_uvw, (3,), "boundary.misorientation_uvw")
        require(bool(axis.any()), "boundary.misorientation_uvw", "not be [0, 0, 0]", axis.tolist())
        object.__setattr__(self, "misorientation_uvw", tuple(float(u) for u in axis))
        angle = frozen_array([self.misorientation_deg], (1,), "boundary.misorientation_deg")
        object.__setattr__(self, "misorientation_deg", float(angle[0]))

    @property
    def unit_normal(self) -> np.ndarray:
        return self.normal / np.linalg.norm(self.normal)

    def half_spaces(self) -> list[list[float]]:
        """Rows (n, d) with n . r <= d in the second grain: one, or the two of a twin."""
        n = self.unit_normal
        level_nm = float(n @ self.point_nm)
        beyond = [[*(-n).tolist(), -level_nm]]
        return beyond if self.width_nm is None else [*beyond, [*n.tolist(), level_nm + self.width_nm]]

    def twin_z_nm(self, x_nm: np.ndarray, y_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Upper and lower height (...) of a twin in the columns at (x, y); very far ones where it is seen edge-on."""
        slope_x, slope_y, half_nm, middle_nm = self.twin_slab()
        z = middle_nm[2] + slope_x * (x_nm - middle_nm[0]) + slope_y * (y_nm - middle_nm[1])
        return z + half_nm, z - half_nm

    def twin_slab(self) -> tuple[float, float, float, np.ndarray]:
        """Slopes of a twin's middle plane along x and y, half its height in a column, and a point (3,) on the plane."""
        nx, ny, nz = self.unit_normal
        nz = math.copysign(max(abs(nz), LEAST_NZ), nz)
        return -nx / nz, -ny / nz, self.width_nm / 2 / abs(nz), self.point_nm + self.unit_normal * self.width_nm / 2

    def split(
        self, x_nm: np.ndarray, y_nm: np.ndarray, entrance_z_nm: np.ndarray, exit_z_nm: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Entrance and exit (...) of the first grain in columns between two faces; equal where it is absent."""
        nx, ny, nz = self.unit_normal
        level = nx * (self.point_nm[0] - x_nm) + ny * (self.point_nm[1] - y_nm)
        if abs(nz) < 1e-9:  # edge-on: a column lies wholly in one grain
            first = level >= 0
            middle = (entrance_z_nm + exit_z_nm) / 2
            return np.where(first, entrance_z_nm, middle), np.where(first, exit_z_nm, middle)
        z = np.clip(self.point_nm[2] + level / nz, exit_z_nm, np.maximum(entrance_z_nm, exit_z_nm))
        # The first grain lies where (r - p).n < 0: below the boundary if the normal points up.
        return (z, exit_z_nm + 0.0 * z) if nz > 0 else (entrance_z_nm + 0.0 * z, z)

    def local_s_inv_nm(self, x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
        """Excitation error (...) at (x, y) of a second grain whose s is given."""
        return self.s_inv_nm + 1e-3 * (self.turn_inv_nm_per_um[0] * x_nm + self.turn_inv_nm_per_um[1] * y_nm)
