"""The camera: from noise-free intensity to 16-bit counts.

Electrons arrive at random (Poisson), the scintillator spreads each of them (MTF), the amplifier and the
converter add gain, readout noise and an offset. Because the spread acts on the electrons, noise and image
pass through the same MTF: the noise of the picture is correlated between neighbours, as in real frames.

Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from physics.errors import require
from physics.frozen import frozen_array

COUNTS_MAX = 65535
DOSE_MAX_E_PER_PX = 1e12


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A camera and the illumination it sees.

    `dose_e_per_px`: electrons per pixel of the incident beam at its brightest. `mtf_sigma_px`: the point
    spread of the scintillator, a Gaussian; its MTF at Nyquist is exp(-(pi sigma)^2 / 2).
    `illumination_sigma_field`: standard deviation of a Gaussian beam spot in units of the field's longer
    side (None: uniform), centred at `illumination_centre_field` (x right, y up, same units, from the field's
    centre) on top of a uniform part `illumination_floor` in [0, 1].
    `noise_seed` fixes the noise: the same Detector gives the same bytes.
    """

    dose_e_per_px: float = 1000.0
    gain_counts_per_e: float = 10.0
    offset_counts: float = 100.0
    mtf_sigma_px: float = 0.6
    readout_noise_counts: float = 5.0
    noise_seed: int = 0
    illumination_centre_field: tuple[float, float] = (0.0, 0.0)
    illumination_sigma_field: float | None = None
    illumination_floor: float = 0.0

    def __post_init__(self) -> None:
        for name in ("dose_e_per_px", "gain_counts_per_e"):
            frozen_array([getattr(self, name)], (1,), f"detector.{name}")
            require(getattr(self, name) > 0, f"detector.{name}", "be > 0", getattr(self, name))
        require(self.dose_e_per_px <= DOSE_MAX_E_PER_PX, "detector.dose_e_per_px", f"be <= {DOSE_MAX_E_PER_PX:g}", self.dose_e_per_px)
        for name in ("offset_counts", "mtf_sigma_px", "readout_noise_counts"):
            frozen_array([getattr(self, name)], (1,), f"detector.{name}")
            require(getattr(self, name) >= 0, f"detector.{name}", "be >= 0", getattr(self, name))
        require(0 <= self.illumination_floor <= 1, "detector.illumination_floor", "lie in [0, 1]", self.illumination_floor)
        seed_ok = int(self.noise_seed) == self.noise_seed and 0 <= self.noise_seed < 2**63
        require(seed_ok, "detector.noise_seed", "be a whole number in [0, 2^63)", self.noise_seed)
        sigma = self.illumination_sigma_field
        require(sigma is None or sigma > 0, "detector.illumination_sigma_field", "be > 0 or null", sigma)
        centre = frozen_array(self.illumination_centre_field, (2,), "detector.illumination_centre_field")
        object.__setattr__(self, "illumination_centre_field", tuple(float(c) for c in centre))


def illumination(detector: Detector, shape: tuple[int, int]) -> np.ndarray:
    """Relative brightness (Y, X) of the incident beam, 1 at the spot's centre."""
    if detector.illumination_sigma_field is None:
        return np.ones(shape)
    rows, columns = shape
    longer = max(shape)
    x = (np.arange(columns) - (columns - 1) / 2) / longer - detector.illumination_centre_field[0]
    y = ((rows - 1) / 2 - np.arange(rows)) / longer - detector.illumination_centre_field[1]
    spot = np.exp(-(x[None, :] ** 2 + y[:, None] ** 2) / (2 * detector.illumination_sigma_field**2))
    return detector.illumination_floor + (1 - detector.illumination_floor) * spot


def expose(intensity: np.ndarray, detector: Detector) -> np.ndarray:
    """Counts (Y, X) uint16 of `intensity` (Y, X), incident beam = 1; values beyond 16 bits saturate."""
    rng = np.random.Generator(np.random.Philox(detector.noise_seed))
    expected_e = detector.dose_e_per_px * illumination(detector, intensity.shape) * intensity.astype(np.float64)
    electrons = rng.poisson(np.maximum(expected_e, 0)).astype(np.float64)
    if detector.mtf_sigma_px > 0:
        electrons = gaussian_filter(electrons, detector.mtf_sigma_px, mode="reflect", truncate=4.0)
    counts = detector.offset_counts + detector.gain_counts_per_e * electrons
    if detector.readout_noise_counts > 0:
        counts += rng.normal(0.0, detector.readout_noise_counts, intensity.shape)
    return np.clip(np.rint(counts), 0, COUNTS_MAX).astype(np.uint16)
