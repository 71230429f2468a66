"""What light falls on the field: the beam's spot, apertures whose edge is in it, and slow unevenness.

Lengths and places are in units of the field's longer side, x right, y up, from the field's centre, so that a Detector
means the same for every shape. Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft
from scipy.special import erf

from physics.errors import require
from physics.frozen import frozen_array
from render.noise import stream

if TYPE_CHECKING:
    from render.detector import Detector

ARC_STEP_PX = 2.0


@dataclass(frozen=True, kw_only=True)
class ApertureEdge:
    """A round aperture, or the edge of the beam that the condenser lets through, which does not cover the field.

    Inside the circle round `centre_field` of `radius_field` all light passes, outside the share `transmission`. The
    edge is an error function of standard deviation `softness_field`: an edge out of focus, its Fresnel fringes
    washed out by the spread of the illumination.
    """

    centre_field: tuple[float, float]
    radius_field: float
    softness_field: float = 0.01
    transmission: float = 0.0

    def __post_init__(self) -> None:
        centre = frozen_array(self.centre_field, (2,), "centre_field")
        object.__setattr__(self, "centre_field", tuple(float(c) for c in centre))
        require(math.isfinite(self.radius_field) and self.radius_field > 0, "radius_field", "be > 0", self.radius_field)
        require(0 <= self.softness_field <= 1, "softness_field", "lie in [0, 1]", self.softness_field)
        require(0 <= self.transmission <= 1, "transmission", "lie in [0, 1]", self.transmission)


@dataclass(frozen=True, kw_only=True)
class Unevenness:
    """Brightness that varies without a shape of its own: an uneven beam, and the surface film and support it crosses.

    A Gaussian random field whose power falls as f^-slope from the field's size to `shortest_px`; the relative rms of
    the brightness is `fraction` (that of its logarithm, to first order). Real micrographs fall about as f^-2 at low
    frequency (Field 1987, J. Opt. Soc. Am. A 4, 2379, for natural scenes; measured alike on in-situ frames).
    """

    fraction: float
    slope: float = 2.5
    shortest_px: float = 4.0

    def __post_init__(self) -> None:
        require(0 <= self.fraction <= 1, "fraction", "lie in [0, 1]", self.fraction)
        require(0 <= self.slope <= 6, "slope", "lie in [0, 6]", self.slope)
        require(1 <= self.shortest_px <= 1e4, "shortest_px", "lie in [1, 10000]", self.shortest_px)


def illumination(detector: Detector, shape: tuple[int, int]) -> np.ndarray:
    """Relative brightness (Y, X) of the incident beam, 1 at the spot's centre before apertures and unevenness."""
    brightness = np.ones(shape)
    if detector.illumination_sigma_field is not None:
        x, y = field_coordinates(shape)
        x, y = x - detector.illumination_centre_field[0], y - detector.illumination_centre_field[1]
        spot = np.exp(-(x[None, :] ** 2 + y[:, None] ** 2) / (2 * detector.illumination_sigma_field**2))
        brightness = detector.illumination_floor + (1 - detector.illumination_floor) * spot
    for edge in (detector.condenser_edge, detector.objective_edge):
        if edge is not None:
            brightness = brightness * transmitted(edge, shape)
    if detector.unevenness is not None and detector.unevenness.fraction > 0:
        brightness = brightness * np.exp(uneven_field(detector.unevenness, shape, detector.noise_seed))
    return brightness


def field_coordinates(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """x (X,) and y (Y,) of the pixel centres in units of the longer side, from the centre, y up."""
    rows, columns = shape
    longer = max(shape)
    return (np.arange(columns) - (columns - 1) / 2) / longer, ((rows - 1) / 2 - np.arange(rows)) / longer


def transmitted(edge: ApertureEdge, shape: tuple[int, int]) -> np.ndarray:
    """Share (Y, X) of the light that an aperture lets through."""
    x, y = field_coordinates(shape)
    inside = edge.radius_field - np.hypot(x[None, :] - edge.centre_field[0], y[:, None] - edge.centre_field[1])
    # A hard edge still crosses a pixel: half a pixel is the least softness.
    softness = max(edge.softness_field, 0.3 / max(shape))
    return edge.transmission + (1 - edge.transmission) * 0.5 * (1 + erf(inside / (math.sqrt(2) * softness)))


def edge_curves_px(edge: ApertureEdge, shape: tuple[int, int]) -> list[np.ndarray]:
    """The parts (K, 2) float32 of an aperture's edge that lie in the frame, in pixel coordinates."""
    rows, columns = shape
    longer = max(shape)
    radius_px = edge.radius_field * longer
    count = max(16, math.ceil(2 * math.pi * radius_px / ARC_STEP_PX))
    turn = 2 * math.pi * np.arange(count + 1) / count
    x = (columns - 1) / 2 + edge.centre_field[0] * longer + radius_px * np.cos(turn)
    y = (rows - 1) / 2 - edge.centre_field[1] * longer - radius_px * np.sin(turn)
    inside = (x > -0.5) & (x < columns - 0.5) & (y > -0.5) & (y < rows - 0.5)
    if inside.all():
        runs = [np.arange(count + 1)]
    else:
        # Begun outside the frame, no part is cut in two at the first vertex.
        start = int(np.argmin(inside[:-1]))
        order = (np.arange(count) + start) % count
        breaks = np.flatnonzero(np.diff(inside[order].astype(int))) + 1
        runs = [run for run in np.split(order, breaks) if inside[run[0]]]
    return [np.stack([x[run], y[run]], axis=1).astype(np.float32) for run in runs if len(run) > 1]


def uneven_field(unevenness: Unevenness, shape: tuple[int, int], seed: int) -> np.ndarray:
    """The logarithm of the brightness (Y, X), mean 0, rms `fraction`."""
    rows, columns = shape
    # Twice the frame, cut: the field of a discrete transform is periodic, a micrograph is not.
    size = (2 * rows, 2 * columns)
    # Of the transforms only what is kept: columns of low frequency, rows of the frame.
    along = np.fft.rfftfreq(size[1])
    along = along[along <= 1 / unevenness.shortest_px]
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], along[None, :])
    amplitude = np.zeros_like(frequency)
    kept = (frequency >= 0.5 / max(shape)) & (frequency <= 1 / unevenness.shortest_px)
    if not kept.any():
        return np.zeros(shape)
    amplitude[kept] = frequency[kept] ** (-unevenness.slope / 2)
    white = fft.fft(fft.rfft(stream(seed, "unevenness").standard_normal(size), axis=1)[:, : len(along)], axis=0)
    field = fft.irfft(fft.ifft(white * amplitude, axis=0)[:rows], size[1], axis=1)[:, :columns]
    field -= field.mean()
    return unevenness.fraction * field / max(float(field.std()), 1e-12)
