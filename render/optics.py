"""What blurs the image before the camera: defocus, drift during the exposure, drift between two video fields.

A scale of the camera's pixels other than the image's is here too: what is recorded coarse and shown fine.
Axes: (Y, X) image rows and columns, L lines, K vertices.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from physics.errors import require
from render.micrograph import Line

FWHM_OVER_SIGMA = 2 * math.sqrt(2 * math.log(2))


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Loss of sharpness before the electrons are counted, so that it does not touch their noise.

    `defocus_sigma_px`: a Gaussian, the incoherent limit of a slightly defocused image under a convergent beam (no
    Fresnel fringes). `drift_px` along `drift_deg` (from x right toward y up): the specimen moves evenly while the
    frame is taken, about the place of the labels.
    """

    defocus_sigma_px: float = 0.0
    drift_px: float = 0.0
    drift_deg: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("defocus_sigma_px", 20), ("drift_px", 50)):
            value = getattr(self, name)
            require(math.isfinite(value) and 0 <= value <= most, name, f"lie in [0, {most}]", value)
        require(math.isfinite(self.drift_deg), "drift_deg", "be finite", self.drift_deg)

    def sigma_across_px(self, along_deg: np.ndarray) -> np.ndarray:
        """Standard deviation of the spread across lines that run at `along_deg`."""
        # A box of length D has the variance D^2 / 12.
        across = np.sin(np.radians(along_deg - self.drift_deg)) * self.drift_px
        return np.sqrt(self.defocus_sigma_px**2 + across**2 / 12)


@dataclass(frozen=True, kw_only=True)
class Interlace:
    """Odd rows are taken half a frame later, when the specimen has moved by `shift_px` (x right, y up)."""

    shift_px: tuple[float, float]

    def __post_init__(self) -> None:
        ok = len(tuple(self.shift_px)) == 2 and all(math.isfinite(s) and abs(s) <= 20 for s in self.shift_px)
        require(ok, "shift_px", "be two numbers in [-20, 20]", self.shift_px)
        object.__setattr__(self, "shift_px", tuple(float(s) for s in self.shift_px))


def blurred(expected: np.ndarray, blur: Blur) -> np.ndarray:
    """`expected` (Y, X) as the camera sees it."""
    if blur.defocus_sigma_px > 0:
        expected = gaussian_filter(expected, blur.defocus_sigma_px, mode="nearest", truncate=4.0)
    if blur.drift_px > 0:
        expected = _smeared(expected, blur)
    return expected


def interlaced(expected: np.ndarray, interlace: Interlace) -> np.ndarray:
    """`expected` (Y, X) with its odd rows taken after the shift."""
    rows, columns = expected.shape
    x, y = np.arange(columns) - interlace.shift_px[0], np.arange(1, rows, 2) + interlace.shift_px[1]
    grid = np.meshgrid(y, x, indexing="ij")
    out = expected.copy()
    out[1::2] = map_coordinates(expected, grid, order=1, mode="nearest")
    return out


def camera_shape(shape: tuple[int, int], camera_pixel_px: float) -> tuple[int, int]:
    """(Y, X) of the camera whose pixels are `camera_pixel_px` image pixels wide."""
    return tuple(max(4, round(n / camera_pixel_px)) for n in shape)


def resampled(image: np.ndarray, shape: tuple[int, int], order: int) -> np.ndarray:
    """`image` on a grid of `shape` that covers the same field edge to edge; order 1 linear, 3 cubic."""
    factors = (shape[0] / image.shape[0], shape[1] / image.shape[1])
    return zoom(image, factors, order=order, mode="nearest", grid_mode=True)


def blurred_lines(lines: tuple[Line, ...], blur: Blur, visible_contrast: float) -> tuple[Line, ...]:
    """Labels as wide and as faint as a blur makes them.

    Variances of Gaussian profiles add, and the area under a profile stays: w'^2 = w^2 + (2.355 sigma / 2)^2 for the half
    width w, contrast' = contrast w / w'. Approximate where the profile is no Gaussian or lines lie closer than w'.
    """
    return tuple(_blurred_line(line, blur, visible_contrast) for line in lines)


def _blurred_line(line: Line, blur: Blur, visible_contrast: float) -> Line:
    points = line.points_px.astype(np.float64)
    along = np.gradient(points, axis=0)
    sigma = blur.sigma_across_px(np.degrees(np.arctan2(-along[:, 1], along[:, 0])))
    half = line.half_width_px.astype(np.float64)
    wider = np.hypot(half, FWHM_OVER_SIGMA / 2 * sigma)
    contrast = (line.contrast * (half / wider)).astype(np.float32)
    return dataclasses.replace(
        line, half_width_px=wider.astype(np.float32), contrast=contrast, visible=np.abs(contrast) >= visible_contrast
    )


def _smeared(expected: np.ndarray, blur: Blur) -> np.ndarray:
    """The mean over the drift, an even motion centred on the place of the labels: a sinc in frequency."""
    x_px = blur.drift_px * math.cos(math.radians(blur.drift_deg))
    y_px = -blur.drift_px * math.sin(math.radians(blur.drift_deg))
    pad = 2 * math.ceil(blur.drift_px) + 2
    padded = np.pad(expected, pad, mode="reflect" if pad < min(expected.shape) else "edge")
    fy, fx = np.fft.fftfreq(padded.shape[0])[:, None], np.fft.rfftfreq(padded.shape[1])[None, :]
    smeared = np.fft.irfft2(np.fft.rfft2(padded) * np.sinc(fy * y_px + fx * x_px), padded.shape)
    return smeared[pad:-pad, pad:-pad]
