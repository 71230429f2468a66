"""Two-beam dynamical diffraction in a column with exact absorption.

With depth d downward from the entrance face (Howie & Whelan, Proc. R. Soc. A 263 (1961) 217; Hirsch et al.,
Electron Microscopy of Thin Crystals, 1977, ch. 9),

    d/dd (phi_0, phi_g) = i pi [[ i/xi_0', q ], [ q, 2 S + i/xi_0' ]] (phi_0, phi_g),
    q = 1/xi_g + i/xi_g',   S = s + d(g.u)/dd.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from physics.errors import require


@dataclass(frozen=True, kw_only=True)
class TwoBeam:
    """Extinction distance and the two absorption lengths in nm; inf switches an absorption off.

    Raises InputError for a length that is not positive.
    """

    xi_g_nm: float
    xi_g_prime_nm: float = math.inf
    xi_0_prime_nm: float = math.inf

    def __post_init__(self) -> None:
        for name in ("xi_g_nm", "xi_g_prime_nm", "xi_0_prime_nm"):
            value = float(getattr(self, name))
            require(value > 0, name, "be > 0", value)
            object.__setattr__(self, name, value)
        require(math.isfinite(self.xi_g_nm), "xi_g_nm", "be finite", self.xi_g_nm)

    @classmethod
    def with_mean_absorption(cls, xi_g_nm: float, xi_g_prime_nm: float, xi_0_prime_nm: float) -> TwoBeam:
        """Raises xi_g' to xi_0' where it falls below: one of the two waves would grow."""
        return cls(xi_g_nm=xi_g_nm, xi_g_prime_nm=max(xi_g_prime_nm, xi_0_prime_nm), xi_0_prime_nm=xi_0_prime_nm)

    @property
    def coupling_inv_nm(self) -> complex:
        """q = 1/xi_g + i/xi_g', the complex coupling of the two beams."""
        return complex(1 / self.xi_g_nm, 1 / self.xi_g_prime_nm)


def scattering_matrix(two_beam: TwoBeam, s_inv_nm: ArrayLike, thickness_nm: ArrayLike) -> np.ndarray:
    """Matrix (..., 2, 2) complex that takes (phi_0, phi_g) through a layer of constant S.

    exp(A t) in closed form: e^{-pi t/xi_0'} e^{i pi S t} [cos(pi t G) 1 + i sin(pi t G)/G [[-S, q], [q, S]]],
    G^2 = S^2 + q^2 complex, so that absorption is exact (Hirsch et al. 1977, sec. 9.5, keep its first order).
    """
    s = np.asarray(s_inv_nm, dtype=np.float64)
    t = np.asarray(thickness_nm, dtype=np.float64)
    q = two_beam.coupling_inv_nm
    root = np.sqrt(s**2 + q**2)
    common = np.exp(math.pi * t * (1j * s - 1 / two_beam.xi_0_prime_nm))
    cosine = np.cos(math.pi * t * root)
    sine = 1j * np.sin(math.pi * t * root) / root
    rows = [[cosine - s * sine, q * sine], [q * sine, cosine + s * sine]]
    matrix = np.array([[common * entry for entry in row] for row in rows])
    return np.moveaxis(matrix, (0, 1), (-2, -1))


def perfect_crystal(
    two_beam: TwoBeam, s_inv_nm: ArrayLike, thickness_nm: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Bright- and dark-field intensity of a perfect crystal, incident beam 1."""
    matrix = scattering_matrix(two_beam, s_inv_nm, thickness_nm)
    return np.abs(matrix[..., 0, 0]) ** 2, np.abs(matrix[..., 1, 0]) ** 2


def faulted_crystal(
    two_beam: TwoBeam, s_inv_nm: np.ndarray, entrance_z_nm: np.ndarray, exit_z_nm: np.ndarray, fault_z_nm: np.ndarray,
    fault_phase_rad: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Bright- and dark-field intensity (P, 2) of columns (P,) that hold faults and no strain, incident beam 1.

    Perfect crystal between the faults, and across each phi_g times its phase (Whelan & Hirsch 1957); heights (F, P) and
    phases (F,) as for `columns.column_values`.
    """
    crossed = (fault_z_nm < entrance_z_nm) & (fault_z_nm > exit_z_nm)
    downward = np.argsort(np.where(crossed, -fault_z_nm, np.inf), axis=0, kind="stable")
    waves = np.zeros((*s_inv_nm.shape, 2, 1), dtype=np.complex128)
    waves[..., 0, 0] = 1.0
    above_nm = entrance_z_nm.copy()
    for fault in downward:
        here = np.flatnonzero(crossed[fault, np.arange(len(fault))])
        z_nm = fault_z_nm[fault[here], here]
        waves[here] = scattering_matrix(two_beam, s_inv_nm[here], above_nm[here] - z_nm) @ waves[here]
        waves[here, 1, 0] *= np.exp(1j * fault_phase_rad[fault[here]])
        above_nm[here] = z_nm
    waves = scattering_matrix(two_beam, s_inv_nm, np.maximum(above_nm - exit_z_nm, 0.0)) @ waves
    return np.abs(waves[..., 0]) ** 2
