"""Isotropic averages of a single crystal's stiffness.

Voigt order xx, yy, zz, yz, xz, xy.
"""

from __future__ import annotations

import numpy as np


def hill_average(stiffness_GPa: np.ndarray) -> tuple[float, float]:
    """Bulk and shear modulus in GPa, Voigt-Reuss-Hill average of `stiffness_GPa` (6, 6).

    Voigt (constant strain) and Reuss (constant stress) for any symmetry, and their mean: R. Hill, Proc. Phys.
    Soc. A 65 (1952) 349, equations for K_V, G_V, K_R, G_R.
    """
    c, s = stiffness_GPa, np.linalg.inv(stiffness_GPa)
    bulk_voigt = c[:3, :3].sum() / 9
    bulk_reuss = 1 / s[:3, :3].sum()
    c_axial, c_cross, c_shear = _sums(c)
    s_axial, s_cross, s_shear = _sums(s)
    shear_voigt = (c_axial - c_cross + 3 * c_shear) / 15
    shear_reuss = 15 / (4 * (s_axial - s_cross) + 3 * s_shear)
    return float(bulk_voigt + bulk_reuss) / 2, float(shear_voigt + shear_reuss) / 2


def poisson_ratio(bulk_GPa: float, shear_GPa: float) -> float:
    """nu = (3 K - 2 G) / (2 (3 K + G)) of an isotropic solid."""
    return (3 * bulk_GPa - 2 * shear_GPa) / (2 * (3 * bulk_GPa + shear_GPa))


def _sums(m: np.ndarray) -> tuple[float, float, float]:
    return m[0, 0] + m[1, 1] + m[2, 2], m[0, 1] + m[1, 2] + m[0, 2], m[3, 3] + m[4, 4] + m[5, 5]
