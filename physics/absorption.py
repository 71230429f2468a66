"""Absorption by thermal diffuse scattering, from the Debye-Waller factor (Einstein model).

Each atom vibrates on its own. What it scatters between the Bragg beams is lost to them; the absorptive form factor is

    f'(s) = (2 h / (m_0 v)) int d^2 s' f(|s/2 + s'|) f(|s/2 - s'|) [1 - exp(-2 B (s'^2 - s^2/4))],

s = g/2 (Hall & Hirsch, Proc. R. Soc. A 286 (1965) 158; Bird & King, Acta Cryst. A46 (1990) 202), to be multiplied by
exp(-B s^2). F'_g is summed from it like F_g, and xi_g' = pi V cos(theta_B) / (lambda gamma F'_g). At s = 0 it is the
optical theorem for the total thermal diffuse cross-section.

Left out: correlated vibrations, static disorder of alloys (shares are averaged), absorption by excitation of electrons
and plasmons, which adds about 0.01 / xi_g to 1 / xi_g' (Radi, Acta Cryst. A26 (1970) 41) and more to 1 / xi_0'; most of
those electrons pass the aperture. All diffusely scattered electrons count as lost, whatever the aperture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.constants import physical_constants

from physics.crystal import Crystal
from physics.electron import relativistic_factor, wavelength_nm
from physics.errors import require
from physics.scattering import MOTT_BETHE_INV_A, extinction_distance_nm, structure_factor

COMPTON_A = physical_constants["Compton wavelength"][0] * 1e10  # h / (m_0 c)
NM2_PER_A2 = 0.01
A_PER_NM = 10.0
RADIAL_NODES, ANGULAR_NODES = 160, 48
RADIAL_SCALE_INV_A = 0.5  # half of the nodes lie inside this s'
# The fit of f_x ends at s = 6 1/A, and its Z - f_x is no longer good to 1 % below 0.1 1/A (see physics.scattering).
LARGEST_FITTED_INV_A, SMALLEST_FITTED_INV_A = 6.0, 0.1


def absorption_lengths_nm(crystal: Crystal, g_hkl: ArrayLike, voltage_kV: float) -> tuple[float, float]:
    """(xi_0', xi_g') of thermal diffuse scattering, B from the material.

    A complex F'_g / F_g (crystals without a centre) enters with its real part, the in-phase absorption.
    Raises InputError for a forbidden reflection, a material without B, or one whose absorption has the opposite sign
    of its potential (weak difference reflections such as 200 of GaAs), which a length cannot say.
    """
    g_hkl = np.asarray(g_hkl, dtype=np.float64)
    xi_g_nm = extinction_distance_nm(crystal, g_hkl, voltage_kV)
    elements = {element for site in crystal.basis_compositions for element, _ in site}
    b_nm2 = dict(crystal.debye_waller_nm2)
    require(elements <= set(b_nm2) and all(b_nm2[e] > 0 for e in elements), "crystal.debye_waller_nm2",
            "hold a B > 0 of every element for absorption = tds", b_nm2)  # fmt: skip
    # cos(theta_B) is in xi_g already, and belongs to xi_g' alike.
    real_nm = structure_factor(crystal, g_hkl)
    lost_nm = _absorptive_structure_factor(crystal, g_hkl, voltage_kV)
    share = (lost_nm / real_nm).real
    require(share > 0, "g_hkl", f"have an absorption in phase with its potential in {crystal.material}",
            [int(h) for h in g_hkl], "use absorption = convention")  # fmt: skip
    forward_nm = _absorptive_structure_factor(crystal, np.zeros(3), voltage_kV).real
    return math.pi * crystal.volume_nm3 / (wavelength_nm(voltage_kV) * relativistic_factor(voltage_kV) * forward_nm), xi_g_nm / share


def absorptive_coupling_inv_nm(crystal: Crystal, g_hkl: ArrayLike, voltage_kV: float) -> complex:
    """1/xi_g' with the phase of the absorptive potential, as `scattering.coupling_inv_nm`; 0 for a forbidden g."""
    if not crystal.is_allowed_reflection(g_hkl):
        return 0j
    g_hkl = np.asarray(g_hkl, dtype=np.float64)
    lost_nm = _absorptive_structure_factor(crystal, g_hkl, voltage_kV).conjugate()
    return lost_nm / abs(structure_factor(crystal, g_hkl)) / extinction_distance_nm(crystal, g_hkl, voltage_kV)


def absorptive_form_factor_nm(element: str, g_inv_nm: float, b_nm2: float, voltage_kV: float) -> float:
    """f'(s) of one vibrating atom, rest mass, without its factor exp(-B s^2)."""
    beta = math.sqrt(1 - 1 / relativistic_factor(voltage_kV) ** 2)
    # The integral does not know the voltage: one for each atom and reflection.
    return 2 * COMPTON_A / beta * _table_integral(element, round(g_inv_nm, 9), round(b_nm2, 12)) / A_PER_NM


def diffuse_integral(form_factor: Callable[[np.ndarray], np.ndarray], s_inv_A: float, b_A2: float) -> float:
    """int d^2 s' f(|s/2 + s'|) f(|s/2 - s'|) [1 - exp(-2 B (s'^2 - s^2/4))] over the plane; f in A gives 1.

    Gauss-Legendre in both polar coordinates about s' = 0 (s' = r_0 x / (1 - x)), a quarter of the plane by symmetry.
    """
    x, weight_x = np.polynomial.legendre.leggauss(RADIAL_NODES)
    x, weight_x = (x + 1) / 2, weight_x / 2
    radius, weight_r = RADIAL_SCALE_INV_A * x / (1 - x), RADIAL_SCALE_INV_A * weight_x / (1 - x) ** 2
    angle, weight_angle = np.polynomial.legendre.leggauss(ANGULAR_NODES)
    angle, weight_angle = (angle + 1) * math.pi / 4, weight_angle * math.pi / 4
    along, across = radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle)
    product = form_factor(np.hypot(along + s_inv_A / 2, across)) * form_factor(np.hypot(along - s_inv_A / 2, across))
    lost = -np.expm1(-2 * b_A2 * (radius**2 - s_inv_A**2 / 4))
    return float(4 * (radius * weight_r * lost) @ product @ weight_angle)


def _absorptive_structure_factor(crystal: Crystal, g_hkl: np.ndarray, voltage_kV: float) -> complex:
    g_inv_nm = float(np.linalg.norm(crystal.reciprocal_vector_inv_nm(g_hkl)))
    b_nm2 = dict(crystal.debye_waller_nm2)
    amplitudes = [
        sum(share * absorptive_form_factor_nm(element, g_inv_nm, b_nm2[element], voltage_kV)
            * math.exp(-b_nm2[element] * g_inv_nm**2 / 4) for element, share in site)
        for site in crystal.basis_compositions
    ]  # fmt: skip
    return complex(np.sum(amplitudes * np.exp(2j * np.pi * (crystal.basis_positions @ g_hkl))))


@cache
def _table_integral(element: str, g_inv_nm: float, b_nm2: float) -> float:
    import xraydb  # opens a database: only where a form factor is asked for

    charge = xraydb.atomic_number(element)

    def fitted(s_inv_A: np.ndarray) -> np.ndarray:
        return MOTT_BETHE_INV_A * (charge - np.asarray(xraydb.f0(element, s_inv_A))) / s_inv_A**2

    # Below the fit's good range a parabola through its last two points, beyond its end Rutherford's 1 / s^2.
    first = np.array([1.0, 1.5]) * SMALLEST_FITTED_INV_A
    slope = float(np.diff(fitted(first))[0] / np.diff(first**2)[0])
    start = float(fitted(first[:1])[0])
    end = float(fitted(np.array([LARGEST_FITTED_INV_A]))[0])

    def form_factor_A(s_inv_A: np.ndarray) -> np.ndarray:
        inside = np.clip(s_inv_A, SMALLEST_FITTED_INV_A, LARGEST_FITTED_INV_A)
        values = fitted(inside.ravel()).reshape(inside.shape)
        values = np.where(s_inv_A < first[0], start + slope * (s_inv_A**2 - first[0] ** 2), values)
        return np.where(s_inv_A > LARGEST_FITTED_INV_A, end * (LARGEST_FITTED_INV_A / np.maximum(s_inv_A, 1e-9)) ** 2, values)

    return diffuse_integral(form_factor_A, g_inv_nm / A_PER_NM / 2, b_nm2 / NM2_PER_A2)
