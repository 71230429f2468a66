"""Noise beside that of the electrons themselves: a correlated part, dead pixels, scan lines.

Each effect has a random stream of its own, made of the Detector's seed and the effect's name: changing one leaves the
others where they were. Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.optimize import brentq

from physics.errors import require

MOST_LAG1 = 0.95
TRUNCATE = 4.0


def stream(seed: int, effect: str) -> np.random.Generator:
    """The random numbers of one effect of one image."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([int(seed), *effect.encode()])))


@dataclass(frozen=True, kw_only=True)
class CorrelatedNoise:
    """Noise that the video chain or the film leaves after the point spread.

    Its standard deviation is `fraction` of the signal where the signal is at its mean, and grows as the root of
    the signal, as that of counted quanta. `lag1` is the correlation of neighbouring pixels along rows and columns.
    """

    fraction: float
    lag1: float = 0.5

    def __post_init__(self) -> None:
        require(0 <= self.fraction <= 1, "fraction", "lie in [0, 1]", self.fraction)
        require(0 <= self.lag1 <= MOST_LAG1, "lag1", f"lie in [0, {MOST_LAG1}]", self.lag1)


@dataclass(frozen=True, kw_only=True)
class DeadPixels:
    """A share `fraction` of the pixels does not count; `hot_share` of these are saturated, the others read nothing."""

    fraction: float
    hot_share: float = 0.3

    def __post_init__(self) -> None:
        require(0 <= self.fraction <= 0.1, "fraction", "lie in [0, 0.1]", self.fraction)
        require(0 <= self.hot_share <= 1, "hot_share", "lie in [0, 1]", self.hot_share)


@dataclass(frozen=True, kw_only=True)
class ScanNoise:
    """A scanned beam (STEM): each row has its own current and its own start.

    `line_fraction` is the relative standard deviation of the brightness from row to row, `jitter_px` that of the place
    at which rows begin; rows move along x alone, so that a label is off by as much as its row.
    """

    line_fraction: float = 0.0
    jitter_px: float = 0.0

    def __post_init__(self) -> None:
        require(0 <= self.line_fraction <= 0.5, "line_fraction", "lie in [0, 0.5]", self.line_fraction)
        require(0 <= self.jitter_px <= 5, "jitter_px", "lie in [0, 5]", self.jitter_px)


def correlated_noise(signal: np.ndarray, noise: CorrelatedNoise, seed: int) -> np.ndarray:
    """Noise (Y, X) to be added to `signal` (Y, X), both in counts."""
    field = stream(seed, "correlated").standard_normal(signal.shape)
    sigma_px = sigma_of_lag1(noise.lag1)
    if sigma_px > 0:
        field = gaussian_filter(field, sigma_px, mode="wrap", truncate=TRUNCATE) / _gain(sigma_px)
    mean = max(float(signal.mean()), 1e-12)
    return noise.fraction * np.sqrt(np.maximum(signal, 0) * mean) * field


def sigma_of_lag1(lag1: float) -> float:
    """Standard deviation in px of the sampled Gaussian that gives white noise the correlation `lag1` at one pixel.

    For wide ones lag1 = exp(-1 / (4 sigma^2)); under a pixel the samples of the Gaussian count, so that the
    correlation is taken from them.
    """
    if lag1 < 1e-3:
        return 0.0

    def excess(sigma_px: float) -> float:
        kernel = _kernel(sigma_px)
        return float((kernel[1:] * kernel[:-1]).sum() / (kernel**2).sum()) - lag1

    return float(brentq(excess, 0.13, 10.0))


def row_brightness(rows: int, noise: ScanNoise, seed: int) -> np.ndarray:
    """Relative beam current (Y, 1) of every row."""
    return 1 + noise.line_fraction * stream(seed, "scan current").standard_normal((rows, 1))


def jittered(image: np.ndarray, noise: ScanNoise, seed: int) -> np.ndarray:
    """`image` (Y, X) with its rows begun too early or too late, interpolated linearly."""
    rows, columns = image.shape
    shift_px = noise.jitter_px * stream(seed, "scan place").standard_normal((rows, 1))
    x = np.arange(columns) + shift_px
    y = np.broadcast_to(np.arange(rows)[:, None], x.shape)
    return map_coordinates(image, [y, x], order=1, mode="nearest")


def with_dead_pixels(counts: np.ndarray, dead: DeadPixels, nothing: float, saturated: float, seed: int) -> np.ndarray:
    """`counts` (Y, X) with dead pixels at `nothing` and hot ones at `saturated`."""
    rng = stream(seed, "dead")
    fate, hot = rng.random(counts.shape), rng.random(counts.shape)
    level = np.where(hot < dead.hot_share, saturated, nothing)
    return np.where(fate < dead.fraction, level, counts)


def _kernel(sigma_px: float) -> np.ndarray:
    """The samples that scipy's gaussian_filter convolves with."""
    radius = int(TRUNCATE * sigma_px + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_px) ** 2)
    return kernel / kernel.sum()


def _gain(sigma_px: float) -> float:
    """Standard deviation of white noise of variance 1 after the filter: the root of the sum of squares, squared for 2-D."""
    return math.fsum(_kernel(sigma_px) ** 2)
