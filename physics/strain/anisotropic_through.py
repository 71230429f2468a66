"""An endless line along the normal of an unbounded plate of any elastic stiffness, its core spread: `through`.

The rows of `anisotropic_traction` give the tractions of such a line in odd harmonics of psi, with Q = rho^2 + a^2,

    sigma_i = Re sum_m kappa_im e^{i m psi} rho^m/Q^((m+1)/2) + Re kappa'_i e^{i psi} rho/Q^2,

whose transforms are modified Bessel functions (Gradshteyn & Ryzhik 6.565.4),

    int rho^(m+1) J_m(k rho)/Q^(mu+1) d rho = a^(m-mu) k^mu K_(m-mu)(ka)/(2^mu mu!).

Each wave is answered by `plate_impedance`. The answer has more harmonics of the direction of k than an isotropic
plate's: WAVE_HARMONICS are kept.

Axes: K wave numbers, A directions of k, R radii, Q heights, M harmonics, G contractions.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import kv

from physics.strain.anisotropic import Medium
from physics.strain.anisotropic_kernel import COEFFICIENTS, CORE_1, END_DEGREE, LINE_DEGREE, N1
from physics.strain.anisotropic_traction import traction_rows
from physics.strain.foil_frame import ENDLESS_NM
from physics.strain.plate_impedance import Impedance, plate_waves
from physics.strain.segments import Segments
from physics.strain.through import RADII, bessel_quadrature

DIRECTIONS, WAVE_HARMONICS = 32, 14


def through_tractions(k: np.ndarray, angles_rad: np.ndarray, core: float, medium: Medium, foil_from_image: np.ndarray) -> np.ndarray:
    """Transforms (3, 3, K, A), for Burgers vectors along the foil's axes, of sigma.Z in GPa of a line up Z."""
    reach = np.tile(ENDLESS_NM * foil_from_image[2], (3, 1))
    line = Segments(start_nm=-reach, end_nm=reach, burgers_nm=foil_from_image, line=np.arange(3))
    rows = traction_rows(line, foil_from_image[2], foil_from_image, medium, core)
    first = foil_from_image @ rows[0, 0, N1 : N1 + 3]
    from_n1 = angles_rad - math.atan2(first[1], first[0])
    total = np.zeros((3, 3, len(k), len(angles_rad)), dtype=complex)
    end_degree, line_degree = int(rows[0, 0, END_DEGREE]), int(rows[0, 0, LINE_DEGREE])

    def add(m: int, cosine: np.ndarray, sine: np.ndarray, radial: np.ndarray) -> None:
        wave = np.multiply.outer(cosine, np.cos(m * from_n1)) + np.multiply.outer(sine, np.sin(m * from_n1))
        total[...] += 2 * np.pi * (-1j) ** m * radial[:, None] * wave[:, :, None, :]

    add(1, 4 / 3 * rows[..., CORE_1], 4 / 3 * rows[..., CORE_1 + 1], k * kv(0, core * k) / 2)
    at, integral = COEFFICIENTS + (end_degree + 1) // 2, 2.0
    for m in range(1, max(end_degree, line_degree) + 1, 2):
        mu, order = (m - 1) // 2, (m + 1) // 2
        radial = core**order * k**mu / (2**mu * math.factorial(mu)) * kv(order, core * k)
        add(m, integral * rows[..., at], integral * rows[..., at + 1], radial)
        integral *= (m + 1) / (m + 2)
        at += 2 + 4 * max(0, (end_degree - m) // 2)
    return total


def through_profiles(
    g: np.ndarray, e: np.ndarray, medium: Medium, plate: Impedance, foil_from_image: np.ndarray, heights: np.ndarray
) -> np.ndarray:
    """Radial functions (G, 3, R, Q, 2 M) of what the plate adds to g.du/de, times the thickness, for unit Burgers vectors.

    g, e (G, 3) in the foil's frame, `heights` (Q,) from 1/2 to -1/2 evenly; see `through.through_profiles`.
    """
    k, bessel = bessel_quadrature(WAVE_HARMONICS)
    # Opposite directions have conjugate waves.
    angles = 2 * np.pi * np.arange(DIRECTIONS // 2) / DIRECTIONS
    load = -through_tractions(k, angles, 1.0, medium, foil_from_image)
    kx, ky = k[:, None] * np.cos(angles), k[:, None] * np.sin(angles)
    waves = plate_waves(plate, np.stack([load, load], axis=1), kx, ky, 0.5, g, e, np.zeros(2), heights)
    c = np.fft.fft(np.concatenate([waves, waves.conj()], axis=-1), axis=-1)[..., :WAVE_HARMONICS] / DIRECTIONS
    profiles = np.zeros((c.shape[1], 3, RADII, len(heights), 2 * WAVE_HARMONICS))
    for m in range(WAVE_HARMONICS):
        plus = np.tensordot(c[..., m], bessel[m], axes=(3, 1)) * 1j**m / (2 * np.pi)
        plus = plus.transpose(1, 0, 3, 2)
        profiles[..., m] = plus.real * (1 if m == 0 else 2)
        profiles[..., WAVE_HARMONICS + m] = -plus.imag * (0 if m == 0 else 2)
    return profiles
