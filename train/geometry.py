"""Views of a micrograph: flips, quarter turns, free rotations and magnifications of the image and of its curves.

Labels are curves, so a view moves their vertices; label images are drawn afterwards and never resampled.

Axes: V vertices of one curve, (Y, X) image rows and columns. Pixel coordinates: x right, y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numba
import numpy as np

from physics.errors import require
from physics.frozen import frozen_array

NARROWEST_HALF_WIDTH_PX = 1.0
MARGIN_PX = 8.0


@dataclass(frozen=True, kw_only=True, eq=False)
class CurveLabel:
    """What training needs of a line: `points_px` (V, 2), `half_width_px`, `contrast` and `visible` (V,).

    `noise_fraction` (V,) is the pixel noise of the image there over its background, where that is known.
    """

    points_px: np.ndarray
    half_width_px: np.ndarray
    contrast: np.ndarray
    visible: np.ndarray
    noise_fraction: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """What views are drawn: squares of `crop_px`, with probability `free` at any angle and a `magnification` range.

    All other views are exact: pixels are moved by flips and quarter turns, not interpolated.
    """

    crop_px: int = 256
    free: float = 0.5
    magnification: tuple[float, float] = (0.75, 1.4)

    def __post_init__(self) -> None:
        require(self.crop_px >= 32 and self.crop_px % 16 == 0, "view.crop_px", "be a multiple of 16, at least 32",
                self.crop_px)  # fmt: skip
        require(0 <= self.free <= 1, "view.free", "lie in [0, 1]", self.free)
        low, high = self.magnification
        require(0 < low <= high, "view.magnification", "be two numbers, 0 < low <= high", list(self.magnification))


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """source = linear (2, 2) @ seen + offset (2,), in pixel coordinates (x, y); `shape` (Y, X) of what is seen."""

    linear: np.ndarray
    offset: np.ndarray
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "linear", frozen_array(self.linear, (2, 2), "linear"))
        object.__setattr__(self, "offset", frozen_array(self.offset, (2,), "offset"))

    @property
    def seen_from_source(self) -> np.ndarray:
        """The inverse of `linear`: seen = seen_from_source @ (source - offset)."""
        (a, b), (c, d) = self.linear
        # Written out: for a 2 x 2 matrix LAPACK wakes its threads.
        return np.array([[d, -b], [-c, a]]) / (a * d - b * c)

    @property
    def magnification(self) -> float:
        """Pixels seen per source pixel."""
        (a, b), (c, d) = self.linear
        return float(abs(a * d - b * c) ** -0.5)


def centred_view(source_shape: tuple[int, int], shape: tuple[int, int]) -> View:
    """The middle of a source, as it is."""
    offset = [(source_shape[1] - shape[1]) // 2, (source_shape[0] - shape[0]) // 2]
    return View(linear=np.eye(2), offset=offset, shape=shape)


def as_it_is(shape: tuple[int, int]) -> View:
    """The whole of a source of `shape` (Y, X)."""
    return centred_view(shape, shape)


def draw_view(
    source_shape: tuple[int, int], shape: tuple[int, int], settings: ViewSettings, rng: np.random.Generator
) -> View:
    """A random view of `shape` inside a source where it fits, about its middle where it does not."""
    free = rng.random() < settings.free
    quarter, flip, angle, size = rng.integers(4), rng.integers(2), rng.uniform(0, np.pi / 2), rng.random()
    low, high = settings.magnification
    magnification = low * (high / low) ** size if free else 1.0
    if not free:
        angle = 0.0
        quarter = 2 * (quarter // 2) if shape[0] != shape[1] or source_shape[0] != source_shape[1] else quarter
    angle += quarter * np.pi / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([1.0 - 2.0 * flip, 1.0]) / magnification
    if not free:
        linear = np.rint(linear)
    middle = (np.array(shape[::-1]) - 1) / 2
    reach = np.abs(linear) @ middle
    extent = np.array(source_shape[::-1]) - 1.0
    room = np.maximum(0.0, extent / 2 - reach)
    centre = extent / 2 + rng.uniform(-1, 1, 2) * room
    offset = centre - linear @ middle
    return View(linear=linear, offset=offset if free else np.rint(offset), shape=shape)


def view_image(image: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """The image (Y, X) float32 seen through a view, and where that lies outside the source (bool), mirrored there."""
    seen = np.empty(view.shape, dtype=np.float32)
    outside = np.zeros(view.shape, dtype=np.bool_)
    _sample(np.ascontiguousarray(image, dtype=np.float32), view.linear, view.offset, seen, outside)
    return seen, outside


def view_curves(curves: Sequence[CurveLabel], view: View) -> list[CurveLabel]:
    """The label curves that come near the frame of a view, as it shows them.

    Half-widths are magnified too and stay at least 1 px; a closed curve stays closed.
    """
    seen_from_source = view.seen_from_source
    magnification = view.magnification
    frame = np.array(view.shape[::-1]) - 1.0
    seen = []
    for curve in curves:
        # One product for each vertex, so that equal vertices stay equal.
        points = np.einsum("ij,vj->vi", seen_from_source, curve.points_px - view.offset)
        half_width = np.maximum(NARROWEST_HALF_WIDTH_PX, curve.half_width_px * magnification)
        margin = half_width.max() + MARGIN_PX
        if np.all(points.max(axis=0) >= -margin) and np.all(points.min(axis=0) <= frame + margin):
            seen.append(replace(curve, points_px=points, half_width_px=half_width))
    return seen


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _mirror(i: int, n: int) -> int:
    period = max(1, 2 * (n - 1))
    i = abs(i) % period
    return period - i if i >= n else i


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _sample(image, linear, offset, seen, outside):
    """Bilinear interpolation of `image` at linear @ (x, y) + offset."""
    rows, columns = image.shape
    for j in range(seen.shape[0]):
        for i in range(seen.shape[1]):
            x = linear[0, 0] * i + linear[0, 1] * j + offset[0]
            y = linear[1, 0] * i + linear[1, 1] * j + offset[1]
            outside[j, i] = x < -0.5 or y < -0.5 or x > columns - 0.5 or y > rows - 0.5
            x0, y0 = int(np.floor(x)), int(np.floor(y))
            fx, fy = np.float32(x - x0), np.float32(y - y0)
            xa, xb = _mirror(x0, columns), _mirror(x0 + 1, columns)
            ya, yb = _mirror(y0, rows), _mirror(y0 + 1, rows)
            top = image[ya, xa] + fx * (image[ya, xb] - image[ya, xa])
            low = image[yb, xa] + fx * (image[yb, xb] - image[yb, xa])
            seen[j, i] = top + fy * (low - top)
