"""An endless line along the normal of an unbounded plate of any elastic stiffness: `through`.

Its tractions on any plane are those of `anisotropic_waves`, and each wave is answered by `plate_impedance`. The answer has more
harmonics of the direction of k than an isotropic plate's: WAVE_HARMONICS are kept.

Axes: K wave numbers, A directions of k, R radii, Q heights, M harmonics, G contractions.
"""

from __future__ import annotations

import numpy as np

from physics.strain.anisotropic_waves import kinked_transforms
from physics.strain.plate_impedance import ANGLES, Impedance, plate_waves
from physics.strain.plate_levels import long_share
from physics.strain.through import RADII, bessel_quadrature

DIRECTIONS, WAVE_HARMONICS = 32, 14


def through_profiles(g: np.ndarray, e: np.ndarray, plate: Impedance, heights: np.ndarray, hand_over: float | None = None) -> np.ndarray:
    """Radial functions (G, 3, R, Q, 2 M) of what the plate adds to g.du/de, times the thickness, for unit Burgers vectors.

    g (G, 3) and e (3,) in the foil's frame, `heights` (Q,) from 1/2 to -1/2 evenly; see `through.through_profiles`.
    """
    k, bessel = bessel_quadrature(WAVE_HARMONICS)
    share = np.ones_like(k)
    if hand_over is not None:
        share, k = long_share(k, 1.0) / hand_over**2, k / hand_over
    # Opposite directions have conjugate waves.
    angles = 2 * np.pi * np.arange(DIRECTIONS // 2) / DIRECTIONS
    up = np.tile([0.0, 0.0, 1.0], (3, 1))
    tau_hat = kinked_transforms(up, up, np.eye(3), np.ones(3), plate)[:, :, : ANGLES // 2 : ANGLES // DIRECTIONS]
    load = -tau_hat[:, :, None, :] * (share / k)[:, None]
    kx, ky = k[:, None] * np.cos(angles), k[:, None] * np.sin(angles)
    e = np.broadcast_to(e, g.shape)
    waves = plate_waves(plate, np.stack([load, load], axis=1), kx, ky, 0.5, g, e, np.zeros(2), heights)
    c = np.fft.fft(np.concatenate([waves, waves.conj()], axis=-1), axis=-1)[..., :WAVE_HARMONICS] / DIRECTIONS
    profiles = np.zeros((c.shape[1], 3, RADII, len(heights), 2 * WAVE_HARMONICS))
    for m in range(WAVE_HARMONICS):
        plus = np.tensordot(c[..., m], bessel[m], axes=(3, 1)) * 1j**m / (2 * np.pi)
        plus = plus.transpose(1, 0, 3, 2)
        profiles[..., m] = plus.real * (1 if m == 0 else 2)
        profiles[..., WAVE_HARMONICS + m] = -plus.imag * (0 if m == 0 else 2)
    return profiles
