"""From a micrograph as it was taken to the image that the network reads, and from its lines back.

The network knows dark lines of a few px: bright ones are turned dark, wide ones made narrower, ink is painted over.
Axes: (Y, X) rows and columns of the micrograph, (Ys, Xs) of what is read, V vertices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from skimage.transform import resize

from physics.errors import require
from train.appearance import appearance, require_polarity
from train.burnt_in import burnt_in, painted_over
from train.channels import DISTRACTOR_GROUPS
from train.curves import TracedLine, distance_px, length_px, resample
from train.strands import nearest_pixels
from train.targets import Maps

KEPT_WIDTH_PX = (2.0, 13.0)  # lines of such estimated widths are read as they are: the network was trained on them
READ_WIDTH_PX = 5.0  # the width others are brought to
SCALES = (1 / 16, 4.0)
SMALLEST_READ_PX = 64
SAME_PX, SAME_SHARE = 4.0, 0.5  # two lines are one and the same when so much of one lies so near to the other
WRITING_LEVEL = 0.5  # of the network's map of text
SHORTEST_LEFT_PX = 10.0  # of a line that runs under ink, pieces shorter than this are dropped


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """What a person may say of the lines: `polarity` "auto", "dark", "bright" or "both", and `width_px`, None to estimate it.

    `ink` says whether letters, bars and arrows are looked for and left out.
    """

    polarity: str = "auto"
    width_px: float | None = None
    ink: bool = True

    def __post_init__(self) -> None:
        require_polarity(self.polarity)
        width = self.width_px
        number = isinstance(width, int | float) and not isinstance(width, bool)
        require(width is None or (number and math.isfinite(width)), "width", "be auto or a number of px", repr(width))
        require(width is None or 0.5 <= width <= 80, "width", "lie in [0.5, 80] px", width)
        require(isinstance(self.ink, bool), "ink", "be true or false", self.ink)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """What the network reads: `images` (Ys, Xs), lines dark in each; `polarities` says what they were before.

    `scale` is Xs / X, `width_px` the estimated or given width of lines in the micrograph (None: too little looks like a
    line), `covered` (Y, X) bool the pixels under ink.
    """

    images: tuple[np.ndarray, ...]
    polarities: tuple[str, ...]
    scale: float
    width_px: float | None
    covered: np.ndarray


def prepare(image: np.ndarray, settings: PrepareSettings, drawn: np.ndarray | None = None) -> Prepared:
    """Make an image (Y, X) readable; `drawn` (Y, X) bool are pixels known to be ink."""
    image = np.asarray(image, dtype=np.float32)
    covered = burnt_in(image, drawn) if settings.ink else np.zeros(image.shape, dtype=bool)
    if covered.mean() > 0.6:
        covered = np.zeros(image.shape, dtype=bool)  # not ink but the picture: a drawing, or all but clipped
    clean = painted_over(image, covered)
    auto = settings.polarity == "auto" or settings.width_px is None
    seen = appearance(clean) if auto else None
    width_px = settings.width_px if settings.width_px is not None else seen.width_px
    chosen = settings.polarity if settings.polarity != "auto" else "dark" if seen.dark else "bright"
    polarities = ("dark", "bright") if chosen == "both" else (chosen,)
    scale = reading_scale(image.shape, width_px)
    read = clean
    if scale != 1:
        shape = tuple(max(SMALLEST_READ_PX if scale < 1 else 16, round(n * scale)) for n in image.shape)
        read = resize(clean, shape, order=1 if scale < 1 else 3, anti_aliasing=scale < 1, mode="edge", preserve_range=True)
        read = read.astype(np.float32)
    return Prepared(
        images=tuple(read if p == "dark" else read.max() + read.min() - read for p in polarities), polarities=polarities, scale=scale, width_px=width_px, covered=covered
    )


def reading_scale(shape: tuple[int, int], width_px: float | None) -> float:
    """By what an image of `shape` (Y, X) is enlarged for lines of `width_px` to be as wide as the network knows them."""
    if width_px is None or KEPT_WIDTH_PX[0] <= width_px <= KEPT_WIDTH_PX[1]:
        return 1.0
    smallest = min(1.0, SMALLEST_READ_PX / min(shape))
    return float(np.clip(READ_WIDTH_PX / width_px, max(SCALES[0], smallest), SCALES[1]))


def lines_in_micrograph(found: Sequence[Sequence[TracedLine]], prepared: Prepared) -> tuple[TracedLine, ...]:
    """The lines found in each of `prepared.images`, in the micrograph's own pixels, longest first.

    What was found under ink is cut out. Of lines found in both polarities the more confident counts; bright ones bear
    the flag "bright" where both were looked for.
    """
    shape = prepared.covered.shape
    factors = np.array([shape[1] / prepared.images[0].shape[1], shape[0] / prepared.images[0].shape[0]])
    both = len(prepared.images) > 1
    lines: list[TracedLine] = []
    for polarity, group in zip(prepared.polarities, found):
        for line in group:
            moved = line if prepared.scale == 1 else _rescaled(line, factors, shape)
            if both and polarity == "bright":
                moved = replace(moved, flags=(*moved.flags, "bright"))
            lines += _outside_ink(moved, prepared.covered)
    if both:
        lines = _without_doubles(lines)
    return tuple(sorted(lines, key=lambda line: -line.length_px)) if both or prepared.covered.any() else tuple(lines)


def is_writing(line: TracedLine, maps: Maps) -> bool:
    """Whether most of a line found in `maps` runs through what the network itself takes for text or a drawn arrow."""
    if maps.distractors is None:
        return False
    text = maps.distractors[DISTRACTOR_GROUPS.index("text")]
    chance = text[nearest_pixels((line.points_px - 0.5 * (maps.stride - 1)) / maps.stride, text.shape)]
    return bool((chance > WRITING_LEVEL).mean() > 0.5)


def _rescaled(line: TracedLine, factors: np.ndarray, shape: tuple[int, int]) -> TracedLine:
    """A line (V, 2) of the read image in the micrograph: pixel centres count, so 0 becomes (factor - 1) / 2."""
    points = (line.points_px + 0.5) * factors - 0.5
    points = np.clip(points, -0.5, np.array([shape[1] - 0.5, shape[0] - 0.5]))
    widths = [line.half_width_px] if line.sigma_px is None else [line.half_width_px, line.sigma_px]
    # Vertices are 1 px apart again: crossings are looked for between neighbours.
    even = resample(np.column_stack([points, *(float(factors.mean()) * w for w in widths)]), 1.0)
    return replace(line, points_px=even[:, :2], half_width_px=even[:, 2], sigma_px=None if line.sigma_px is None else even[:, 3])


def _outside_ink(line: TracedLine, covered: np.ndarray) -> list[TracedLine]:
    """The pieces of a line that are not under ink; nothing of a line that lies mostly under it."""
    hidden = covered[nearest_pixels(line.points_px, covered.shape)]
    if not hidden.any():
        return [line]
    if hidden.mean() > 0.5:
        return []
    edges = np.flatnonzero(np.diff(np.concatenate([[False], ~hidden, [False]]).astype(int)))
    pieces = []
    for first, last in zip(edges[::2], edges[1::2]):
        points = line.points_px[first:last]
        if last - first > 1 and length_px(points) >= SHORTEST_LEFT_PX:
            flags = (*(f for f in line.flags if f != "loop"), "cut_by_ink")
            sigma_px = None if line.sigma_px is None else line.sigma_px[first:last]
            pieces.append(replace(line, points_px=points, half_width_px=line.half_width_px[first:last], sigma_px=sigma_px, flags=flags))
    return pieces


def _without_doubles(lines: Sequence[TracedLine]) -> list[TracedLine]:
    kept: list[TracedLine] = []
    for line in sorted(lines, key=lambda found: -found.confidence * found.length_px):
        points = resample(line.points_px, 2.0)
        bright = "bright" in line.flags
        rivals = [other for other in kept if ("bright" in other.flags) != bright]
        if not any((distance_px(points, other.points_px, SAME_PX) < SAME_PX).mean() > SAME_SHARE for other in rivals):
            kept.append(line)
    return kept
