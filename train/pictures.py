"""Pictures of maps: what a network drew beside what it should have drawn.

Axes: K orientation bins, (Yh, Xh) rows and columns of the maps, (Y, X) those of the image, D distractor groups.
"""

from __future__ import annotations

import colorsys

import numpy as np

from train.overlay import grey_levels
from train.targets import Maps

# Thin, spot, band, text: warm colours, apart from one another for the colour-blind by their lightness.
DISTRACTOR_COLOURS = np.array([[230, 60, 50], [250, 170, 40], [70, 110, 230], [220, 90, 210]], dtype=np.float32)


def maps_picture(image: np.ndarray, true: Maps, found: Maps) -> np.ndarray:
    """Image, true and found lift, true and found distractors side by side, (Y, 5 X, 3) uint8 at the maps' size."""
    size = true.shape
    stride = true.stride
    grey = grey_levels(image)[: size[0] * stride : stride, : size[1] * stride : stride]
    grey = np.repeat(grey[..., None], 3, axis=2)
    panels = [grey, lift_picture(true.lift), lift_picture(found.lift)]
    panels += [grey if maps.distractors is None else distractor_picture(grey, maps.distractors) for maps in (true, found)]
    return np.concatenate(panels, axis=1)


def lift_picture(lift: np.ndarray) -> np.ndarray:
    """The lift (K, Yh, Xh) in colour (Yh, Xh, 3) uint8: hue is orientation, where lines cross their colours add."""
    hues = np.array([colorsys.hsv_to_rgb(k / len(lift), 1.0, 1.0) for k in range(len(lift))], dtype=np.float32)
    # A line lights up about two bins; halving keeps it from saturating.
    return (255 * np.clip(np.einsum("kyx,kc->yxc", lift.astype(np.float32), hues) * 0.7, 0, 1)).astype(np.uint8)


def distractor_picture(grey: np.ndarray, distractors: np.ndarray, opacity: float = 0.55) -> np.ndarray:
    """Distractor maps (D, Yh, Xh) over a picture (Yh, Xh, 3) uint8; unknown (negative) ones are left out."""
    picture = grey.astype(np.float32)
    for chance, colour in zip(distractors, DISTRACTOR_COLOURS):
        weight = opacity * np.clip(chance, 0, 1)[..., None]
        picture = (1 - weight) * picture + weight * colour
    return picture.astype(np.uint8)
