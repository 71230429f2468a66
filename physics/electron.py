"""The fast electron: wavelength and relativistic factor."""

from __future__ import annotations

import math

import numpy as np
from scipy.constants import c, e, h, m_e

REST_ENERGY_KEV = m_e * c**2 / e / 1e3


def relativistic_factor(voltage_kV: float) -> float:
    """gamma = m / m_e = 1 + e V / (m_e c^2)."""
    return 1 + voltage_kV / REST_ENERGY_KEV


def wavelength_nm(voltage_kV: float) -> float:
    """de Broglie wavelength h / p, p c = sqrt(e V (e V + 2 m_e c^2)) (Hirsch et al. 1977, eq. 4.4)."""
    momentum_keV = math.sqrt(voltage_kV * (voltage_kV + 2 * REST_ENERGY_KEV))
    return h * c / (momentum_keV * 1e3 * e) * 1e9


def wave_vector_inv_nm(voltage_kV: float) -> np.ndarray:
    """Wave vector (3,) of the beam in the image frame: down z, away from the gun."""
    return np.array([0.0, 0.0, -1 / wavelength_nm(voltage_kV)])
