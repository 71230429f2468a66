"""Averages over the directions and energies of the incident electrons.

A plane wave of direction theta (two small angles, across the beam) changes the excitation error of g by
ds = -|K| theta.g / |K + g|, one of wavelength lambda + dlambda by ds = -g^2 dlambda / 2 nearly: the crystal stays
where it is. Each plane wave forms an image of its own and their intensities add. The field of the defects is the same
for all, so that only the integration is repeated.

As a function of an offset x of s an intensity is band-limited: phi is a sum of products of factors e^{2 pi i s_g d}
over stretches d that add up to the depth t, so that |phi|^2 holds frequencies up to 2 pi t (n_max - n_min) where
s_g changes by n_g x, strain and absorption or not. The rules are as fine as integrate cos(omega x) to TOLERANCE up to the
highest frequency.

Neglected: the change of 1/xi_g with energy (1e-5), that of the wave number itself along the column.

Axes: N beams, Q points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import j1

from physics.electron import REST_ENERGY_KEV, wavelength_nm
from physics.errors import require

TOLERANCE = 2.5e-4
SIGMAS_A_FWHM = 2 * math.sqrt(2 * math.log(2))
MOST_POINTS = 2000


@dataclass(frozen=True, kw_only=True)
class Spread:
    """An evenly filled cone of semi-angle `convergence_mrad` and a Gaussian of energies, `energy_spread_eV` its
    full width at half maximum."""

    voltage_kV: float
    convergence_mrad: float = 0.0
    energy_spread_eV: float = 0.0

    def __post_init__(self) -> None:
        require(self.voltage_kV > 0, "voltage_kV", "be > 0", self.voltage_kV)
        require(self.convergence_mrad >= 0, "convergence_mrad", "be >= 0", self.convergence_mrad)
        require(self.energy_spread_eV >= 0, "energy_spread_eV", "be >= 0", self.energy_spread_eV)

    def points(self, g_image_inv_nm: ArrayLike, thickness_nm: float) -> tuple[np.ndarray, np.ndarray]:
        """Offsets (Q, N) of the excitation errors of beams g (N, 3), and weights (Q,), for foils up to `thickness_nm`.

        Without spread: one point, offset 0. Raises InputError where more than MOST_POINTS would be needed.
        """
        g = np.asarray(g_image_inv_nm, dtype=np.float64).reshape(-1, 3)
        by_angle, angle_weights = self._directions(g, thickness_nm)
        by_energy, energy_weights = self._energies(g, thickness_nm)
        offsets = (by_angle[:, None] + by_energy[None]).reshape(-1, len(g))
        weights = np.outer(angle_weights, energy_weights).ravel()
        require(len(weights) <= MOST_POINTS, "beam.convergence_mrad", f"need at most {MOST_POINTS} plane waves for an error of 1e-3",
                f"{self.convergence_mrad:g} mrad, {len(weights)} waves at {thickness_nm:g} nm", "reduce it or the thickness")  # fmt: skip
        return offsets, weights

    def _directions(self, g: np.ndarray, thickness_nm: float) -> tuple[np.ndarray, np.ndarray]:
        if self.convergence_mrad == 0:
            return np.zeros((1, len(g))), np.ones(1)
        wave_number = 1 / wavelength_nm(self.voltage_kV)
        wave_vector = np.array([0.0, 0.0, -wave_number])
        # ds of every beam for an angle of the whole semi-angle along x or y.
        most = -1e-3 * self.convergence_mrad * wave_number * g[:, :2] / np.linalg.norm(wave_vector + g, axis=1)[:, None]
        axes = np.linalg.svd(most, full_matrices=False)[2]
        along, across = most @ axes[0], most @ axes[1]
        phase = 2 * math.pi * thickness_nm * np.ptp(along)
        if np.ptp(across) * 2 * math.pi * thickness_nm < 1e-9:
            # Along one line the disc casts the weight sqrt(1 - x^2): Gauss-Chebyshev of the second kind.
            nodes, weights = chebyshev_disc(_fewest(phase, _chebyshev_error))
            return nodes[:, None] * along, weights
        count = _fewest(phase, _chebyshev_error)
        rings, ring_weights = np.polynomial.legendre.leggauss(count // 2 + 1)
        radius = np.sqrt((rings + 1) / 2)
        angles = 2 * math.pi * (np.arange(2 * count + 1) + 0.5) / (2 * count + 1)
        x, y = radius[:, None] * np.cos(angles), radius[:, None] * np.sin(angles)
        weights = np.repeat(ring_weights / 2 / len(angles), len(angles))
        return x.reshape(-1, 1) * along + y.reshape(-1, 1) * across, weights

    def _energies(self, g: np.ndarray, thickness_nm: float) -> tuple[np.ndarray, np.ndarray]:
        """ds = -g^2 dlambda / 2 from s = g_z - g^2 lambda / 2, g_z that of the crystal as it stands."""
        if self.energy_spread_eV == 0:
            return np.zeros((1, len(g))), np.ones(1)
        energy_keV = self.voltage_kV
        # dlambda/lambda = -(dE/E) (1 + E/mc2) / (2 + E/mc2), from lambda = hc / sqrt(E (E + 2 mc2)).
        ratio = energy_keV / REST_ENERGY_KEV
        sigma = 1e-3 * self.energy_spread_eV / SIGMAS_A_FWHM / energy_keV * (1 + ratio) / (2 + ratio)
        one_sigma = sigma * wavelength_nm(energy_keV) * (g * g).sum(axis=1) / 2
        nodes, weights = gauss_hermite(_fewest(2 * math.pi * thickness_nm * np.ptp(one_sigma), _hermite_error))
        return nodes[:, None] * one_sigma, weights


def chebyshev_disc(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for the mean over [-1, 1] with the weight 2/pi sqrt(1 - x^2) of a disc."""
    angle = math.pi * np.arange(1, count + 1) / (count + 1)
    return np.cos(angle), 2 / (count + 1) * np.sin(angle) ** 2


def gauss_hermite(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for the mean over a normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes, weights / weights.sum()


def _fewest(phase: float, error: Callable[[int, float], float]) -> int:
    # A rule of n points follows less than 2 n rad.
    count = max(1, int(0.4 * phase))
    while count <= MOST_POINTS and error(count, phase) > TOLERANCE:
        count += 1
    require(count <= MOST_POINTS, "beam.convergence_mrad", f"need at most {MOST_POINTS} plane waves for an error of 1e-3",
            f"a phase of {phase:.0f} rad", "reduce it or the thickness")  # fmt: skip
    return count


def _chebyshev_error(count: int, phase: float) -> float:
    """Error of the mean of cos(omega x) for omega up to `phase`: 2 J_1(omega)/omega is exact."""
    omega = np.linspace(0, max(phase, 1e-9), 65)[1:]
    nodes, weights = chebyshev_disc(count)
    return float(np.abs(np.cos(np.multiply.outer(omega, nodes)) @ weights - 2 * j1(omega) / omega).max())


def _hermite_error(count: int, phase: float) -> float:
    """Likewise for a normal distribution: exp(-omega^2/2)."""
    omega = np.linspace(0, max(phase, 1e-9), 65)[1:]
    nodes, weights = gauss_hermite(count)
    return float(np.abs(np.cos(np.multiply.outer(omega, nodes)) @ weights - np.exp(-(omega**2) / 2)).max())
