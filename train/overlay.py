"""Pictures of traced lines over their micrograph.

Axes: (Y, X) rows and columns, V vertices of a curve.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from train.curves import TracedLine

OVERSAMPLING = 2  # PIL draws without anti-aliasing: draw larger, then shrink


def grey_levels(image: np.ndarray) -> np.ndarray:
    """An image as (Y, X) uint8, stretched between its 0.5th and 99.5th percentile."""
    low, high = np.percentile(image, [0.5, 99.5])
    scaled = (np.asarray(image, dtype=np.float32) - low) / max(float(high - low), 1e-12)
    return (255 * np.clip(scaled, 0, 1)).astype(np.uint8)


def line_colour(n: int) -> tuple[int, int, int]:
    """A bright colour for line `n`; neighbours in number differ by the golden angle in hue."""
    red, green, blue = colorsys.hsv_to_rgb((0.58 + 0.618034 * n) % 1.0, 0.75, 1.0)
    return int(255 * red), int(255 * green), int(255 * blue)


def overlay(
    image: np.ndarray, lines: Sequence[TracedLine] | Sequence[np.ndarray], smallest_px: int = 640, numbered: bool = False
) -> np.ndarray:
    """The image (Y, X) with `lines` drawn over it, RGB uint8, enlarged to at least about `smallest_px` on a side.

    Lines are TracedLines or curves (V, 2) in pixel coordinates. `numbered` writes a line's index at its middle.
    """
    curves = [line.points_px if isinstance(line, TracedLine) else np.asarray(line) for line in lines]
    rows, columns = image.shape
    scale = max(1, round(smallest_px / min(rows, columns)))
    grey = Image.fromarray(grey_levels(image)).resize((columns * scale, rows * scale), Image.Resampling.BICUBIC)
    fine = scale * OVERSAMPLING
    canvas = Image.new("RGBA", (columns * fine, rows * fine), (0, 0, 0, 0))
    draw = ImageDraw.Draw(canvas)
    for n, curve in enumerate(curves):
        # The centre of pixel (0, 0) lies half a pixel inside the picture.
        points = [(float(x), float(y)) for x, y in (curve + 0.5) * fine]
        draw.line(points, fill=(*line_colour(n), 235), width=max(2, round(0.9 * fine)), joint="curve")
    small = canvas.resize(grey.size, Image.Resampling.BOX)
    picture = Image.alpha_composite(grey.convert("RGBA"), small).convert("RGB")
    if numbered:
        draw = ImageDraw.Draw(picture)
        for n, curve in enumerate(curves):
            x, y = (curve[len(curve) // 2] + 0.5) * scale
            draw.text((x + 3, y + 3), str(n), fill=line_colour(n))
    return np.asarray(picture)
