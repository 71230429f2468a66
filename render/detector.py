"""The camera: from noise-free intensity to the stored image.

In the order of a microscope: the light that falls on the field (`render.illumination`), blur by defocus and drift
(`render.optics`), the field of the video and the start of the scan; then electrons arrive at random (Poisson), the
scintillator spreads each of them (MTF), the amplifier and the converter add gain, readout noise and an offset.
Because the spread acts on the electrons, noise and image pass through the same MTF: the noise of the picture is correlated between
neighbours, as in real frames. What the chain adds (`render.noise`) and how the picture is kept follow: resampling, 8 bits, gamma and
polarity (`render.recording`), what is drawn in (`render.burn_in`), compression (`render.compression`).

Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from physics.errors import require
from physics.frozen import frozen_array
from render.burn_in import Mark, with_marks
from render.illumination import ApertureEdge, Unevenness, illumination
from render.noise import (
    CorrelatedNoise,
    DeadPixels,
    ScanNoise,
    correlated_noise,
    jittered,
    row_brightness,
    with_dead_pixels,
)
from render.optics import Blur, Interlace, blurred, camera_shape, interlaced, resampled
from render.recording import WHITE, Recording, compressed, grey_levels

COUNTS_MAX = 65535
DOSE_MAX_E_PER_PX = 1e12
# Fields of a Detector that are nouns of their own; `burn_in` is a list of Marks.
PARTS: dict[str, type] = {
    "unevenness": Unevenness,
    "condenser_edge": ApertureEdge,
    "objective_edge": ApertureEdge,
    "blur": Blur,
    "interlace": Interlace,
    "noise": CorrelatedNoise,
    "scan": ScanNoise,
    "dead_pixels": DeadPixels,
    "recording": Recording,
}


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A camera and the illumination it sees.

    `dose_e_per_px`: electrons per pixel of the incident beam at its brightest. `mtf_sigma_px`: the point
    spread of the scintillator, a Gaussian; its MTF at Nyquist is exp(-(pi sigma)^2 / 2).
    `illumination_sigma_field`: standard deviation of a Gaussian beam spot in units of the field's longer
    side (None: uniform), centred at `illumination_centre_field` (x right, y up, same units, from the field's
    centre) on top of a uniform part `illumination_floor` in [0, 1].
    `camera_pixel_px`: width of a pixel of the camera in pixels of the image (dose, MTF and noise are those of the camera's
    pixels; the picture is resampled, cubic).
    `noise_seed` fixes the noise: the same Detector gives the same bytes. Each of the parts after it (None: absent) has random numbers
    of its own made from it. Without `recording` the image holds counts, with it grey levels 0 ... 255.
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
    camera_pixel_px: float = 1.0
    unevenness: Unevenness | None = None
    condenser_edge: ApertureEdge | None = None
    objective_edge: ApertureEdge | None = None
    blur: Blur | None = None
    interlace: Interlace | None = None
    noise: CorrelatedNoise | None = None
    scan: ScanNoise | None = None
    dead_pixels: DeadPixels | None = None
    recording: Recording | None = None
    burn_in: tuple[Mark, ...] = ()

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
        scale = self.camera_pixel_px
        require(math.isfinite(scale) and 0.25 <= scale <= 8, "detector.camera_pixel_px", "lie in [0.25, 8]", scale)
        for name, noun in PARTS.items():
            part = getattr(self, name)
            require(part is None or isinstance(part, noun), f"detector.{name}", f"be a {noun.__name__} or null", part)
        object.__setattr__(self, "burn_in", tuple(self.burn_in))
        for mark in self.burn_in:
            require(isinstance(mark, Mark), "detector.burn_in", "be a list of marks", mark)


def expose(intensity: np.ndarray, detector: Detector) -> np.ndarray:
    """The stored image (Y, X) uint16 of `intensity` (Y, X), incident beam = 1; counts beyond 16 bits saturate."""
    counts = _counts(intensity, detector)
    if detector.recording is None:
        # Raw counts have no white: what is drawn in is as bright as the brightest pixel.
        return with_marks(counts, detector.burn_in, float(counts.max())) if detector.burn_in else counts
    grey = with_marks(grey_levels(counts, detector.recording), detector.burn_in, WHITE)
    return compressed(grey, detector.recording).astype(np.uint16)


def _counts(intensity: np.ndarray, detector: Detector) -> np.ndarray:
    """Counts (Y, X) uint16."""
    d = detector
    rng = np.random.Generator(np.random.Philox(d.noise_seed))
    expected_e = _expected_electrons(intensity, d)
    electrons = rng.poisson(np.maximum(expected_e, 0)).astype(np.float64)
    if d.mtf_sigma_px > 0:
        electrons = gaussian_filter(electrons, d.mtf_sigma_px, mode="reflect", truncate=4.0)
    counts = d.offset_counts + d.gain_counts_per_e * electrons
    if d.readout_noise_counts > 0:
        counts += rng.normal(0.0, d.readout_noise_counts, counts.shape)
    if d.noise is not None:
        counts += correlated_noise(d.gain_counts_per_e * expected_e, d.noise, d.noise_seed)
    if d.scan is not None:
        counts = d.offset_counts + (counts - d.offset_counts) * row_brightness(len(counts), d.scan, d.noise_seed)
    if d.dead_pixels is not None:
        saturated = min(COUNTS_MAX, d.offset_counts + 2 * d.gain_counts_per_e * d.dose_e_per_px)
        counts = with_dead_pixels(counts, d.dead_pixels, d.offset_counts, saturated, d.noise_seed)
    if counts.shape != intensity.shape:
        counts = resampled(counts, intensity.shape, 3)
    return np.clip(np.rint(counts), 0, COUNTS_MAX).astype(np.uint16)


def _expected_electrons(intensity: np.ndarray, detector: Detector) -> np.ndarray:
    """Mean electrons a pixel of the camera."""
    d = detector
    expected_e = d.dose_e_per_px * illumination(d, intensity.shape) * intensity.astype(np.float64)
    if d.blur is not None:
        expected_e = blurred(expected_e, d.blur)
    shape = camera_shape(intensity.shape, d.camera_pixel_px)
    if d.camera_pixel_px != 1:
        expected_e = resampled(expected_e, shape, 1)
    if d.interlace is not None:
        expected_e = interlaced(expected_e, d.interlace)
    if d.scan is not None and d.scan.jitter_px > 0:
        expected_e = jittered(expected_e, d.scan, d.noise_seed)
    return expected_e
