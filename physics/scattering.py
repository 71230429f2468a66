"""Structure factors and extinction distances from X-ray form factors.

f0 of Waasmaier & Kirfel (1995) for neutral atoms, as xraydb tabulates it, turned into electron scattering
factors by the Mott-Bethe relation.
"""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.constants import physical_constants

from physics.crystal import Crystal
from physics.electron import relativistic_factor, wavelength_nm
from physics.errors import require

A_PER_NM = 10.0
LOWEST = 24  # reflections among which the one of the shortest extinction distance is looked for
MOTT_BETHE_INV_A = 1e-10 / (8 * math.pi**2 * physical_constants["Bohr radius"][0])


@cache
def electron_scattering_factor_nm(element: str, g_inv_nm: float) -> float:
    """f_e of a neutral atom, rest mass, first Born approximation.

    f_e = (Z - f_x) / (8 pi^2 a_0 s^2), s = sin(theta) / lambda = g / 2 (Mott 1930, Bethe 1930). The fit of f_x
    leaves Z - f_x(0) at up to 0.04 instead of 0: an error of 1 % at |g| = 2 1/nm, 3 % at 1 1/nm, less beyond;
    it ends at |g| = 120 1/nm.
    """
    import xraydb  # opens a database: only where a form factor is asked for

    s_inv_A = g_inv_nm / A_PER_NM / 2
    form_factor = float(np.ravel(xraydb.f0(element, s_inv_A))[0])
    return MOTT_BETHE_INV_A * (xraydb.atomic_number(element) - form_factor) / s_inv_A**2 / A_PER_NM


def structure_factor(crystal: Crystal, g_hkl: ArrayLike, *, debye_waller: bool = False) -> complex:
    """F_g = sum f_e exp(2 pi i g.r) over the conventional cell, for electrons at rest, in nm.

    `debye_waller` multiplies each element by exp(-B s^2), B from the material. Raises InputError for g = 000, and for
    `debye_waller` of a crystal without B of each element.
    """
    g_hkl = np.asarray(g_hkl, dtype=np.float64)
    require(bool(g_hkl.any()), "g_hkl", "not be [0, 0, 0]", g_hkl.tolist())
    g_inv_nm = float(np.linalg.norm(crystal.reciprocal_vector_inv_nm(g_hkl)))
    b_nm2 = dict(crystal.debye_waller_nm2) if debye_waller else {}
    elements = {element for site in crystal.basis_compositions for element, _ in site}
    require(not debye_waller or elements <= set(b_nm2), "crystal.debye_waller_nm2", "hold B of every element for debye_waller = true",
            b_nm2)  # fmt: skip
    amplitudes = [
        sum(
            share * electron_scattering_factor_nm(element, g_inv_nm) * math.exp(-b_nm2.get(element, 0.0) * g_inv_nm**2 / 4)
            for element, share in site
        )
        for site in crystal.basis_compositions
    ]  # fmt: skip
    return complex(np.sum(amplitudes * np.exp(2j * np.pi * (crystal.basis_positions @ g_hkl))))


def extinction_distance_nm(
    crystal: Crystal, g_hkl: ArrayLike, voltage_kV: float, *, debye_waller: bool = False
) -> float:
    """xi_g = pi V cos(theta_B) / (lambda gamma |F_g|) (Hirsch et al. 1977, eq. 4.36).

    Raises InputError for a reflection that the structure forbids, or one outside the Ewald sphere.
    """
    g_hkl = np.asarray(g_hkl, dtype=np.float64)
    require(crystal.is_allowed_reflection(g_hkl), "g_hkl", f"be allowed in {crystal.material} ({crystal.structure})",
            g_hkl.astype(int).tolist())  # fmt: skip
    wavelength = wavelength_nm(voltage_kV)
    sin_bragg = wavelength * float(np.linalg.norm(crystal.reciprocal_vector_inv_nm(g_hkl))) / 2
    require(sin_bragg < 1, "g_hkl", f"satisfy lambda g / 2 < 1 at {voltage_kV} kV", g_hkl.astype(int).tolist())
    amplitude_nm = abs(structure_factor(crystal, g_hkl, debye_waller=debye_waller))
    cos_bragg = math.sqrt(1 - sin_bragg**2)
    return math.pi * crystal.volume_nm3 * cos_bragg / (wavelength * relativistic_factor(voltage_kV) * amplitude_nm)


@cache
def shortest_extinction_distance_nm(crystal: Crystal, voltage_kV: float, *, debye_waller: bool = False) -> float:
    """The extinction distance of a crystal's strongest reflection; its indices are at most 3."""
    hkl = (hkl for hkl in itertools.product(range(-3, 4), repeat=3) if any(hkl) and crystal.is_allowed_reflection(hkl))
    # Friedel's law: g and -g are alike.
    strong = sorted((float(np.linalg.norm(crystal.reciprocal_vector_inv_nm(g))), g) for g in hkl if g > (0, 0, 0))[:LOWEST]
    return min(extinction_distance_nm(crystal, g, voltage_kV, debye_waller=debye_waller) for _, g in strong)


def coupling_inv_nm(crystal: Crystal, g_hkl: ArrayLike, voltage_kV: float, *, debye_waller: bool = False) -> complex:
    """1/xi_g with the phase of the potential: what feeds beam h + g from beam h, 0 for a forbidden g.

    Waves exp(2 pi i k.r) see the coefficient V_g of exp(2 pi i g.r) in the potential, proportional to
    sum f_e exp(-2 pi i g.r_j): the conjugate of `structure_factor`. Couplings of g and -g are conjugate for any
    crystal (the potential is real), equal only about a centre of symmetry.
    """
    if not crystal.is_allowed_reflection(g_hkl):
        return 0j
    amplitude_nm = structure_factor(crystal, g_hkl, debye_waller=debye_waller).conjugate()
    length_nm = extinction_distance_nm(crystal, g_hkl, voltage_kV, debye_waller=debye_waller)
    return amplitude_nm / abs(amplitude_nm) / length_nm
