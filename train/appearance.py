"""How lines look in a micrograph of which nothing is known: dark or bright, and how wide.

Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from physics.errors import require
from render.frame_statistics import background

POLARITIES = ("auto", "dark", "bright", "both")
FWHM_OF_SIGMA = 2.3548200450309493  # 2 sqrt(2 ln 2), of a Gaussian profile
SCALES_PX = tuple(1.0 * 2 ** (n / 2) for n in range(9))  # 1 to 16
COARSER_FROM_PX = 4.0  # scales of this and more are looked at on an image averaged over 2 x 2 px, and so on
ELONGATED = 0.4  # a ridge curves along itself at most by this part of how it curves across
STRONGEST_PERCENT = 99.5
FEWEST_PLACES = 30
MOST_SIDE_PX = 512  # a larger frame is averaged over squares first: what is sought there are its wide lines
GRAIN_TIMES = 3.0  # what most of the image shows at a scale is grain: so much of it is taken off
BRIGHT_RATIO = 1.3
WIDEST_SHARE, NARROWEST_RANGE_PX = 1 / 40, 4.0  # scales are looked at up to this part of the shorter side, and up to 4 px in any case


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """Whether lines are `dark`, how strong dark ridges are beside bright ones (`ratio`), and the lines' width.

    `width_px` is the full width at half maximum, None where too little looks like a line.
    """

    dark: bool
    ratio: float
    width_px: float | None


def appearance(image: np.ndarray) -> Appearance:
    """Estimate from the strongest ridges of an image (Y, X).

    Ridge strength is the larger principal curvature times t^(3/4), t = sigma^2, where the smaller one is small; for a
    ridge of Gaussian profile this is greatest at sigma equal to the profile's own (Lindeberg 1998, sec. 5.6.2), which
    gives the width of drawn lines wider than some 10 px to about a third; of narrower ones grain makes up to 10 px, and
    fringes and bands are ridges too: on rendered frames it is off by a factor of 1.7 in the median. Lines are bright where
    the bright ridges are clearly the stronger ones, else dark: beside a line the image curves the other way as well, by
    0.45 of what it does on the line, and paired lines, bands and bright grains of bright-field frames bring that near 1.
    """
    image = np.asarray(image, dtype=np.float32)
    bins = max(1, min(image.shape) // MOST_SIDE_PX)
    image = _levelled(binned(image, bins))
    best: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for scale in SCALES_PX:
        if scale > WIDEST_SHARE * min(image.shape) and scale > NARROWEST_RANGE_PX:
            break
        for dark, strength in _ridge_strength(image, scale).items():
            best[dark].append(strength)
    peaks = {dark: max(float(np.percentile(s, STRONGEST_PERCENT)) for s in layers) for dark, layers in best.items()}
    dark = peaks[False] < BRIGHT_RATIO * peaks[True]
    ratio = peaks[True] / max(peaks[False], 1e-9)
    width_px = _width_px(best[dark])
    return Appearance(dark=dark, ratio=ratio, width_px=None if width_px is None else width_px * bins)


def _levelled(image: np.ndarray) -> np.ndarray:
    """Deviation from the background in units of what is usual around: a bright grain must not speak for a faint pile-up."""
    level = background(image.astype(np.float64))
    relative = (image - level) / np.maximum(np.abs(level), 1e-3 * float(np.abs(image).max()) + 1e-12)
    reach = 0.08 * min(image.shape)
    usual = np.sqrt(gaussian_filter(np.square(relative), reach, mode="nearest"))
    return (relative / np.maximum(usual, 0.2 * float(np.median(usual)) + 1e-12)).astype(np.float32)


def _ridge_strength(image: np.ndarray, scale: float) -> dict[bool, np.ndarray]:
    """Strength (Yc, Xc) of dark and of bright ridges at one scale, on a grid of 4 px for all scales."""
    bins = 1
    while scale / bins >= COARSER_FROM_PX:
        bins *= 2
    coarse = binned(image, bins)
    sigma = scale / bins
    # Averaging over b px adds (b^2 - 1)/12 px^2 of variance.
    blur = np.sqrt(max(sigma**2 - (1 - 1 / bins**2) / 12, 0.25))
    yy, xx, xy = (gaussian_filter(coarse, blur, order=order, mode="nearest") for order in ((2, 0), (0, 2), (1, 1)))
    mean, half = 0.5 * (xx + yy), np.sqrt(0.25 * (xx - yy) ** 2 + xy**2)
    up, down = mean + half, mean - half  # principal curvatures
    edge = int(np.ceil(2 * sigma))
    strengths = {}
    for dark, across, along in ((True, up, down), (False, -down, -up)):
        strength = np.where((across > 0) & (np.abs(along) < ELONGATED * across), across, 0) * (sigma**1.5 * bins**-0.5)  # curvature in units of 1 px, not of `bins`
        strength[:edge], strength[-edge:], strength[:, :edge], strength[:, -edge:] = 0, 0, 0, 0
        cell = max(1, 4 // bins)
        rows, columns = (n // cell * cell for n in strength.shape)
        strength = strength[:rows, :columns].reshape(rows // cell, cell, columns // cell, cell).max(axis=(1, 3))
        strengths[dark] = np.maximum(strength - GRAIN_TIMES * np.median(strength), 0)
    return strengths


def binned(image: np.ndarray, bins: int) -> np.ndarray:
    """Means over squares of `bins` px; what is left over at the far edges is dropped."""
    if bins == 1:
        return image
    rows, columns = (n // bins * bins for n in image.shape)
    return image[:rows, :columns].reshape(rows // bins, bins, columns // bins, bins).mean(axis=(1, 3))


def _width_px(layers: list[np.ndarray]) -> float | None:
    """Median over the strongest places of the scale at which each is strongest, between scales by a parabola."""
    rows, columns = (min(layer.shape[k] for layer in layers) for k in (0, 1))
    stack = np.stack([layer[:rows, :columns] for layer in layers])
    top = stack.max(axis=0)
    chosen = top > max(float(np.percentile(top, 97)), 1e-6)
    if chosen.sum() < FEWEST_PLACES:
        return None
    values = stack[:, chosen]
    k = values.argmax(axis=0)
    inner = np.clip(k, 1, len(layers) - 2)
    before, at, after = (values[inner + d, np.arange(values.shape[1])] for d in (-1, 0, 1))
    bend = before - 2 * at + after
    shift = np.where((k == inner) & (bend < 0), 0.5 * (before - after) / np.minimum(bend, -1e-9), 0.0)
    octave = np.where(k == inner, inner + np.clip(shift, -0.5, 0.5), k)
    return float(FWHM_OF_SIGMA * np.median(2.0 ** (octave / 2)))


def require_polarity(polarity: object) -> None:
    require(polarity in POLARITIES, "polarity", f"be one of {', '.join(POLARITIES)}", repr(polarity))
