"""What inelastic and thermal scattering do to the image of a Bragg beam: less contrast, and a diffuse background.

An electron that excites a plasmon or a core level keeps its diffraction contrast (Howie, Proc. R. Soc. A 271 (1963)
268), but travels on in a slightly turned direction: it sees another excitation error below the place of the event. An
electron scattered by the thermal motion of the atoms leaves the Bragg beams, and part of it passes the objective
aperture all the same, as a diffuse background.

Approximations. Scattering angles follow a Lorentzian cut at the aperture. An event at depth d turns the beam only
below d: the image then is taken to be that of the mean turn over the whole depth, the turn times (1 - d/t), d uniform,
which is exact to first order in the turn. Events are independent (Poisson), their number that of the field's mean
thickness. Every grain of a foil scatters. Where a column holds two, the turn along g of the one is taken as independent of
that along g of the other (their mean directions: `render.other_grains`). Chromatic blur, C_c theta dE/E = 0.1 nm for C_c = 1 mm, 1 mrad, 20 eV at 200 kV, is left out,
and so is the change of wavelength, 1e-4 of itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from physics.contrast.spread import Spread
from physics.crystal import Crystal
from physics.electron import REST_ENERGY_KEV, wavelength_nm
from physics.errors import require
from physics.scattering import electron_scattering_factor_nm

G_PER_CM3_PER_U_NM3 = 1.66053906660e-3
CUT_OFF_MRAD = 20.0
# Points of the grid on which angular distributions are convolved, and its half-width in apertures.
ANGLE_POINTS = 4096
ANGLE_REACH = 8.0
# Classes of turns: the inelastic image then errs by 1 % (rms; 32 against 512, 150 nm of Al at 6 mrad, 200 nm of Cu at 8).
TURNS = 32
LARGEST_FORM_FACTOR_INV_NM = 119.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Turns:
    """Turns along g in mrad (N,) that stand for inelastically scattered electrons, with weights (N,) that add up to 1."""

    angle_mrad: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class InelasticSpread:
    """Directions of inelastically scattered electrons on top of those of the illumination, as `contrast.spread.Spread`."""

    illumination: Spread | None
    voltage_kV: float
    turns: Turns

    def points(self, g_image_inv_nm: ArrayLike, thickness_nm: float) -> tuple[np.ndarray, np.ndarray]:
        """Offsets (Q, N) of the excitation errors of beams g (N, 3), and weights (Q,).

        Electrons turn along the longest g, of which the others of a systematic row are fractions.
        """
        g = np.asarray(g_image_inv_nm, dtype=np.float64).reshape(-1, 3)
        wave_number = 1 / wavelength_nm(self.voltage_kV)
        longest = g[np.argmax(np.linalg.norm(g[:, :2], axis=1)), :2]
        along = g[:, :2] @ longest / max(float(np.linalg.norm(longest)), 1e-300)
        scattered = np.linalg.norm(g + [0.0, 0.0, -wave_number], axis=1)
        offsets = -1e-3 * np.multiply.outer(self.turns.angle_mrad, wave_number * along / scattered)
        if self.illumination is None:
            return offsets, self.turns.weight
        base, weights = self.illumination.points(g, thickness_nm)
        return (offsets[:, None] + base[None]).reshape(-1, len(g)), np.outer(self.turns.weight, weights).ravel()


def density_g_per_cm3(crystal: Crystal) -> float:
    """Mass of one cell over its volume."""
    import xraydb  # opens a database: only where a mass is asked for

    mass_u = sum(share * xraydb.atomic_mass(element) for site in crystal.basis_compositions for element, share in site)
    return float(mass_u) * G_PER_CM3_PER_U_NM3 / crystal.volume_nm3


def characteristic_angle_mrad(crystal: Crystal, voltage_kV: float) -> float:
    """theta_E = 5.5 rho^0.3 / (F E0), F = (1 + E0/1022)/(1 + E0/511)^2 (Iakoubovskii et al. 2008, eq. 2)."""
    return 5.5 * density_g_per_cm3(crystal) ** 0.3 / (_relativistic(voltage_kV) * voltage_kV)


def inelastic_mean_free_path_nm(crystal: Crystal, voltage_kV: float, aperture_mrad: float) -> float:
    """Mean free path between inelastic events that leave an electron within the aperture.

    1/Lambda = 11 rho^0.3 / (200 F E0) ln[(beta^2 + theta_E^2)/(beta^2 + theta_C^2) theta_C^2/theta_E^2], theta_C = 20
    mrad: a fit to measurements on 36 elements and 20 compounds (Iakoubovskii, Mitsuishi, Nakayama & Furuya, Microsc.
    Res. Tech. 71 (2008) 626, eq. 1, parallel beam), good to 5-10 %.
    """
    require(aperture_mrad > 0, "aperture_mrad", "be > 0", aperture_mrad)
    theta_e_sq = characteristic_angle_mrad(crystal, voltage_kV) ** 2
    beta_sq, theta_c_sq = aperture_mrad**2, CUT_OFF_MRAD**2
    logarithm = math.log((beta_sq + theta_e_sq) / (beta_sq + theta_c_sq) * theta_c_sq / theta_e_sq)
    rate_inv_nm = 11 * density_g_per_cm3(crystal) ** 0.3 / (200 * _relativistic(voltage_kV) * voltage_kV) * logarithm
    return 1 / rate_inv_nm


def inelastic_turns(crystal: Crystal, voltage_kV: float, aperture_mrad: float, thickness_nm: float) -> Turns:
    """Turns along g of electrons that had one event or more in `thickness_nm` and stayed within the aperture.

    One event: the Lorentzian 1/(theta^2 + theta_E^2) up to the aperture, projected on g and scaled by (1 - d/t); n
    events: its n-fold convolution, weighted by Poisson's law. The N turns are the means of N equally likely classes.
    """
    require(thickness_nm > 0, "thickness_nm", "be > 0", thickness_nm)
    events = thickness_nm / inelastic_mean_free_path_nm(crystal, voltage_kV, aperture_mrad)
    angle, step = _angles(aperture_mrad)
    one = _one_event(angle, step, aperture_mrad, characteristic_angle_mrad(crystal, voltage_kV))
    # Poisson mixture in Fourier space, without the share exp(-events) that had none.
    spectrum = np.fft.rfft(np.fft.ifftshift(one)) * step
    mixture = np.fft.fftshift(np.fft.irfft(np.expm1(events * spectrum) / math.expm1(events), n=len(angle))) / step
    mixture = np.maximum(mixture + mixture[_mirror(len(angle))], 0.0)
    return _classes(angle, mixture / mixture.sum(), TURNS)


def inelastic_share(crystal: Crystal, voltage_kV: float, aperture_mrad: float, thickness_nm: np.ndarray) -> np.ndarray:
    """Share (...) of the image's electrons that had at least one event: 1 - exp(-t/Lambda)."""
    return -np.expm1(-np.asarray(thickness_nm) / inelastic_mean_free_path_nm(crystal, voltage_kV, aperture_mrad))


@cache
def thermal_diffuse_share(
    crystal: Crystal, voltage_kV: float, aperture_mrad: float, offset_inv_nm: float = 0.0
) -> float:
    """Share of the electrons scattered thermally out of a beam that pass an aperture `offset_inv_nm` away from it.

    Independent oscillators (Einstein): d sigma / d Omega is proportional to f_e^2 (1 - exp(-2 B s^2)), s = g / 2, summed
    over the atoms (Hall & Hirsch, Proc. R. Soc. A 286 (1965) 158). 0 where no Debye-Waller factor is known.
    """
    g = np.linspace(0.0, LARGEST_FORM_FACTOR_INV_NM, 2400)[1:]
    cross_section = _thermal_cross_section(crystal, g)
    total = float((2 * np.pi * g * cross_section).sum())
    if not total > 0:
        return 0.0
    radius_inv_nm = aperture_mrad * 1e-3 / wavelength_nm(voltage_kV)
    # Of the circle of radius g about the beam, this part of its angles lies inside the aperture.
    if offset_inv_nm == 0:
        part = (g <= radius_inv_nm).astype(float)
    else:
        cosine = (g**2 + offset_inv_nm**2 - radius_inv_nm**2) / (2 * g * offset_inv_nm)
        part = np.arccos(np.clip(cosine, -1, 1)) / np.pi
    return float((2 * np.pi * g * cross_section * part).sum()) / total


def _thermal_cross_section(crystal: Crystal, g_inv_nm: np.ndarray) -> np.ndarray:
    b_nm2 = dict(crystal.debye_waller_nm2)
    # Form factors are smooth: a coarse table is interpolated.
    coarse = np.concatenate([np.linspace(0.05, 20, 80), np.linspace(21, LARGEST_FORM_FACTOR_INV_NM, 60)])
    total = np.zeros_like(g_inv_nm)
    for site in crystal.basis_compositions:
        for element, share in site:
            factor_nm = np.interp(g_inv_nm, coarse, [electron_scattering_factor_nm(element, float(g)) for g in coarse])
            total += share * factor_nm**2 * -np.expm1(-2 * b_nm2.get(element, 0.0) * g_inv_nm**2 / 4)
    return total


def _relativistic(voltage_kV: float) -> float:
    return (1 + voltage_kV / (2 * REST_ENERGY_KEV)) / (1 + voltage_kV / REST_ENERGY_KEV) ** 2


def _angles(aperture_mrad: float) -> tuple[np.ndarray, float]:
    step = 2 * ANGLE_REACH * aperture_mrad / ANGLE_POINTS
    return (np.arange(ANGLE_POINTS) - ANGLE_POINTS // 2) * step, step


def _mirror(count: int) -> np.ndarray:
    """Indices that reflect a centred grid of even length about its zero."""
    return -np.arange(count) % count


def _one_event(angle: np.ndarray, step: float, aperture_mrad: float, theta_e_mrad: float) -> np.ndarray:
    """Density along g of one event's turn, averaged over where in the depth it happens."""
    edges = np.append(angle - step / 2, angle[-1] + step / 2)
    total = np.zeros(len(angle))
    for part in (np.arange(16) + 0.5) / 16:  # 1 - d/t
        total += np.diff(_projected_cumulative(edges / part, aperture_mrad, theta_e_mrad))
    return total / (16 * step)


def _projected_cumulative(x: np.ndarray, aperture_mrad: float, theta_e_mrad: float) -> np.ndarray:
    """Probability that the component along g of one event's turn lies below x.

    The density is (2/w) arctan(sqrt(beta^2 - x^2)/w), w^2 = x^2 + theta_E^2, over its integral pi ln(1 + beta^2/theta_E^2);
    it is integrated over t, x = theta_E sinh t, in which it is smooth.
    """
    largest = math.asinh(aperture_mrad / theta_e_mrad)
    t = np.linspace(-largest, largest, 4001)
    across = np.sqrt(np.maximum(aperture_mrad**2 - (theta_e_mrad * np.sinh(t)) ** 2, 0.0))
    density = np.arctan(across / (theta_e_mrad * np.cosh(t)))
    cumulative = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return np.interp(np.arcsinh(x / theta_e_mrad), t, cumulative / cumulative[-1])


def _classes(angle: np.ndarray, probability: np.ndarray, count: int) -> Turns:
    """Means of `count` equally likely classes; the distribution is even, and so are they."""
    cumulative = np.concatenate([[0.0], np.cumsum(probability)])
    edges = np.append(angle, 2 * angle[-1] - angle[-2]) - (angle[1] - angle[0]) / 2
    first_moment = np.concatenate([[0.0], np.cumsum(probability * angle)])
    limits = np.interp(np.arange(1, count) / count, cumulative, edges)
    moments = np.interp(np.concatenate([[edges[0]], limits, [edges[-1]]]), edges, first_moment)
    means = np.diff(moments) * count
    return Turns(angle_mrad=(means - means[::-1]) / 2, weight=np.full(count, 1 / count))
