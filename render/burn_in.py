"""What is drawn into a picture: text, scale bars, arrows, panel letters.

Each Mark is one distractor of kind "text", whose mask is every pixel that ink reaches. Pixel coordinates: x right,
y down, (0, 0) at the centre of the top-left pixel. Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from physics.errors import require
from physics.polygon import polygon_covers
from render.micrograph import Distractor

# From matplotlib, which brings them with it: files that have not changed for years.
FONTS = {
    "sans": "DejaVuSans.ttf",
    "bold": "DejaVuSans-Bold.ttf",
    "mono": "DejaVuSansMono.ttf",
    "serif": "STIXGeneral.ttf",
}
KINDS = ("text", "arrow", "bar", "dashes")
FAINTEST_INK = 8  # of 255: less would change no grey level that anybody sees
OVERSAMPLING = 4
BOX_MARGIN = 0.25  # of the letter's height, on every side
ARROW_HEAD = 4.0  # length of the head over the shaft's width
ARROW_HALF_ANGLE_DEG = 24.0
DASH_OVER_WIDTH, GAP_OVER_WIDTH = 4.0, 3.0


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One thing drawn in, in the grey level `grey` of 0 (black) to 1 (white).

    "text": `text` in `font`, letters `size_px` high, its top left corner `at_px`; `box_grey` draws a box behind it. "bar", "dashes"
    and "arrow" run from `at_px` to `end_px`, `size_px` wide; an arrow points to `end_px`. The margin of a box and its
    ink are opaque, and edges of ink are as soft as a pixel.
    """

    kind: str
    at_px: tuple[float, float]
    size_px: float
    grey: float = 1.0
    text: str = ""
    font: str = "sans"
    box_grey: float | None = None
    end_px: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        require(self.kind in KINDS, "kind", f"be one of {', '.join(KINDS)}", self.kind)
        for name in ("at_px", "end_px"):
            place = getattr(self, name)
            if place is not None:
                ok = len(tuple(place)) == 2 and all(math.isfinite(p) and abs(p) <= 1e5 for p in place)
                require(ok, name, "be two numbers", place)
                object.__setattr__(self, name, tuple(float(p) for p in place))
        require(math.isfinite(self.size_px) and 0.5 <= self.size_px <= 1000, "size_px", "lie in [0.5, 1000]", self.size_px)
        require(0 <= self.grey <= 1, "grey", "lie in [0, 1]", self.grey)
        require(self.box_grey is None or 0 <= self.box_grey <= 1, "box_grey", "lie in [0, 1] or be null", self.box_grey)
        require(self.font in FONTS, "font", f"be one of {', '.join(FONTS)}", self.font)
        printable = isinstance(self.text, str) and len(self.text) <= 200 and all(c.isprintable() for c in self.text)
        require(printable, "text", "be one line of at most 200 characters", repr(self.text))
        if self.kind == "text":
            require(bool(self.text.strip()), "text", "be given for a mark that is text", repr(self.text))
        else:
            require(self.end_px is not None, "end_px", f"be given for a mark that is {self.kind}", "nothing")


def with_marks(image: np.ndarray, marks: tuple[Mark, ...], white: float) -> np.ndarray:
    """`image` (Y, X) of unsigned integers with `marks` drawn in, one over the other; `white` is the value of grey 1."""
    drawn = image.astype(np.float64)
    for mark in marks:
        ink, box = _ink(mark, image.shape)
        if mark.box_grey is not None:
            drawn[box] = mark.box_grey * white
        drawn += ink * (mark.grey * white - drawn)
    return np.rint(drawn).astype(image.dtype)


def text_distractors(marks: tuple[Mark, ...], shape: tuple[int, int]) -> tuple[Distractor, ...]:
    """A distractor for every mark that reaches the frame."""
    masks = [mark_mask(mark, shape) for mark in marks]
    return tuple(Distractor(kind="text", mask=mask) for mask in masks if mask.any())


def mark_mask(mark: Mark, shape: tuple[int, int]) -> np.ndarray:
    """Pixels (Y, X) bool that a mark draws over."""
    ink, box = _ink(mark, shape)
    return (ink > 0) | box if mark.box_grey is not None else ink > 0


def text_size_px(text: str, size_px: float, font: str) -> tuple[float, float]:
    """Width and height of a text whose letters are `size_px` high."""
    left, top, right, bottom = _font(font, size_px).getbbox(text, anchor="lt")
    return right - left, bottom - top


def _ink(mark: Mark, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Cover (Y, X) of 0 ... 1 and the box (Y, X) bool behind it."""
    rows, columns = shape
    box = np.zeros(shape, dtype=bool)
    if mark.kind == "text":
        canvas = Image.new("L", (columns, rows), 0)
        ImageDraw.Draw(canvas).text(mark.at_px, mark.text, fill=255, font=_font(mark.font, mark.size_px), anchor="lt")
        width, height = text_size_px(mark.text, mark.size_px, mark.font)
        margin, (x, y) = BOX_MARGIN * mark.size_px, mark.at_px
        box[max(0, round(y - margin)) : max(0, round(y + height + margin)),
            max(0, round(x - margin)) : max(0, round(x + width + margin))] = True  # fmt: skip
    else:
        return _clear(_strokes(mark, shape)), box
    return _clear(np.asarray(canvas)), box


def _clear(cover: np.ndarray) -> np.ndarray:
    """Cover of 0 ... 1 without what is too faint to be seen."""
    return np.where(cover >= FAINTEST_INK, cover, 0) / 255.0


def _strokes(mark: Mark, shape: tuple[int, int]) -> np.ndarray:
    """Cover (Y, X) of 0 ... 255 of bars, dashes and arrows: the share of each pixel's samples that a polygon covers."""
    rows, columns = shape
    n = OVERSAMPLING
    fine = np.zeros((rows * n, columns * n), dtype=bool)
    for polygon in _polygons(mark):
        low = np.clip(np.floor(polygon.min(axis=0)).astype(int) - 1, 0, [columns, rows])
        high = np.clip(np.ceil(polygon.max(axis=0)).astype(int) + 2, low, [columns, rows])
        x, y = ((np.arange(low[i] * n, high[i] * n) + 0.5) / n - 0.5 for i in (0, 1))
        if len(x) and len(y):
            at = np.stack(np.meshgrid(x, y), axis=-1)
            covered = polygon_covers(polygon, at[..., 0].ravel(), at[..., 1].ravel())
            fine[low[1] * n : high[1] * n, low[0] * n : high[0] * n] |= covered.reshape(at.shape[:2])
    return np.rint(255 * fine.reshape(rows, n, columns, n).mean(axis=(1, 3)))


def _polygons(mark: Mark) -> list[np.ndarray]:
    start, end = np.array(mark.at_px), np.array(mark.end_px)
    length = float(np.hypot(*(end - start)))
    along = (end - start) / length if length > 0 else np.array([1.0, 0.0])
    across = np.array([-along[1], along[0]]) * mark.size_px / 2

    def strip(a: float, b: float) -> np.ndarray:
        return np.array([start + a * along + across, start + b * along + across, start + b * along - across, start + a * along - across])

    if mark.kind == "bar":
        return [strip(0, length)]
    if mark.kind == "dashes":
        dash, gap = DASH_OVER_WIDTH * mark.size_px, GAP_OVER_WIDTH * mark.size_px
        return [strip(a, min(a + dash, length)) for a in np.arange(0, length, dash + gap)]
    head = min(ARROW_HEAD * mark.size_px, 0.6 * length)
    side = across / (mark.size_px / 2) * head * math.tan(math.radians(ARROW_HALF_ANGLE_DEG))
    back = end - head * along
    return [strip(0, length - 0.8 * head), np.array([end, back + side, back - side])]


@lru_cache(maxsize=32)
def _font(font: str, size_px: float) -> ImageFont.FreeTypeFont:
    """The font whose capital letters are about `size_px` high (0.73 of the em in these fonts)."""
    home = importlib.util.find_spec("matplotlib").submodule_search_locations[0]
    path = Path(home) / "mpl-data" / "fonts" / "ttf" / FONTS[font]
    return ImageFont.truetype(str(path), size_px / 0.73, layout_engine=ImageFont.Layout.BASIC)
