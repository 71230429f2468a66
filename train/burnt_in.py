"""What was written into a micrograph after it was taken: letters, scale bars, arrows, data bars, frames.

Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import (
    binary_closing,
    binary_dilation,
    binary_fill_holes,
    find_objects,
    gaussian_filter,
    label,
    maximum_filter,
    median_filter,
    minimum_filter,
)

LEAST_STEP = 0.15  # of the range of grey: as much must ink stand out from what is around it
HALF_WAY = 0.5  # between the ground and the extreme grey lies the outline of ink
EXTREME_SHARE = 0.2  # of that step: a piece of ink reaches so near to white or black
EDGE_PX = 2  # within so many px of its outline ink rises to STEEP of its step, which a micrograph's own detail does not
STEEP, SHARP_OUTLINE = 0.45, 0.75  # and the part of the outline where it does
GROUND_SHARE = 0.06  # of the shorter side: half the window whose median is the ground
SMALLEST_PX2, LARGEST_SHARE = 8, 0.04  # of one letter, bar or arrow; of the frame
STRAIGHT_SHARE = 0.85  # of its box that a bar fills
FEWEST_LETTERS, FEWEST_DASHES = 4, 5
LINE_UP = 0.25  # of a letter's height: so much may the feet or the heads of letters of one word differ
MARGIN_PX = 3  # of ink's halo, which compression and scaling leave
BANNER_SHARE = 0.5  # of a row of one value, from which it may be of a data bar
LARGEST_BANNER = 0.35  # of the height


def burnt_in(image: np.ndarray, drawn: np.ndarray | None = None) -> np.ndarray:
    """Where (Y, X) bool the image (Y, X) shows what was burnt into it, with a margin.

    Ink is as white or as black as the image goes and has a steep outline all round. A long bar is ink alone; letters are,
    when there are several on one line of writing, and dashes, when there are many alike. `drawn` are pixels known to be ink for their colour. Data bars below
    or above the picture count whole.
    """
    image = np.asarray(image, dtype=np.float32)
    ink = np.zeros(image.shape, dtype=bool)
    ground = _ground(image)
    for sign in (1.0, -1.0):
        ink |= _letters_and_bars(sign * image, sign * ground)
    if drawn is not None:
        ink |= binary_closing(np.pad(drawn, 2), iterations=2)[2:-2, 2:-2] | drawn
    covered = binary_dilation(ink, iterations=MARGIN_PX) if ink.any() else ink
    covered[_banner_rows(image)] = True
    return covered


def _ground(image: np.ndarray) -> np.ndarray:
    """The image (Y, X) without what is thinner than a twelfth or so of its shorter side: a running median of block means."""
    block = max(1, min(image.shape) // 128)
    rows, columns = (n // block * block for n in image.shape)
    coarse = np.median(image[:rows, :columns].reshape(rows // block, block, columns // block, block), axis=(1, 3))
    coarse = median_filter(coarse, 2 * max(2, round(GROUND_SHARE * min(coarse.shape))) + 1, mode="nearest")
    whole = np.repeat(np.repeat(coarse, block, axis=0), block, axis=1)
    return np.pad(whole, [(0, image.shape[0] - rows), (0, image.shape[1] - columns)], mode="edge").astype(np.float32)


def _letters_and_bars(image: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Where (Y, X) bool there is white ink, by its outline, shape and company."""
    top = float(image.max())
    step = top - ground
    prominent = step > LEAST_STEP * max(float(np.ptp(image)), 1e-12)
    risen = (image - ground) / np.maximum(step, 1e-12)
    above = prominent & (risen > HALF_WAY)
    numbered, count = label(above, structure=np.ones((3, 3)))
    chosen = np.zeros(image.shape, dtype=bool)
    if not count or count > 5000:  # a frame whose noise reaches white everywhere tells nothing
        return chosen
    rise = maximum_filter(risen, 2 * EDGE_PX + 1) - minimum_filter(risen, 2 * EDGE_PX + 1)
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)
    letters, bars = [], []
    for number, box in enumerate(find_objects(numbered), start=1):
        height, width = (s.stop - s.start for s in box)
        if not SMALLEST_PX2 <= sizes[number] <= LARGEST_SHARE * image.size or max(height, width) < 5:
            continue
        around = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in box)
        piece = numbered[around] == number
        if risen[around][piece].max() < 1 - EXTREME_SHARE:
            continue
        outline = binary_dilation(piece) & ~piece
        if not outline.any() or (rise[around][outline] > STEEP).mean() < SHARP_OUTLINE:
            continue
        straight = sizes[number] >= STRAIGHT_SHARE * height * width and max(height, width) >= 2.2 * min(height, width)
        letters.append((number, box))
        if straight:
            bars.append((number, box))
    # One long bar is a scale bar; short ones may be dashes, when there are many alike in a row.
    taken = {n for n, box in bars if max(s.stop - s.start for s in box) >= 0.08 * image.shape[1] and sizes[n] >= 60}
    taken |= _in_company(bars, _same_dashes, FEWEST_DASHES) | _in_company(letters, _same_word, FEWEST_LETTERS)
    if words := [box for n, box in letters if n in taken]:
        taken |= _beside(words, find_objects(numbered), sizes, image.size)
    if taken:
        chosen = binary_fill_holes(np.isin(numbered, sorted(taken)))
    return chosen


def _in_company(pieces: list[tuple[int, tuple[slice, slice]]], alike: Callable[..., bool], fewest: int) -> set[int]:
    """Numbers of the pieces that belong to chains of at least `fewest`, each alike to the next."""
    left, taken = list(range(len(pieces))), set()
    while left:
        chain, found = [left.pop()], set()
        while chain:
            a = chain.pop()
            found.add(a)
            near = [b for b in left if alike(pieces[a][1], pieces[b][1])]
            left = [b for b in left if b not in near]
            chain += near
        if len(found) >= fewest:
            taken |= {pieces[k][0] for k in found}
    return taken


def _beside(words: list[tuple[slice, slice]], boxes: list[tuple[slice, slice]], sizes: np.ndarray, pixels: int) -> set[int]:
    """Numbers of what stands among letters though it is none alone: dots, letters that touch each other or a line."""
    found = set()
    for number, box in enumerate(boxes, start=1):
        for y, x in words:
            height = y.stop - y.start
            level = box[0].start >= y.start - 0.5 * height and box[0].stop <= y.stop + 0.5 * height
            if level and box[1].start <= x.stop + height and box[1].stop >= x.start - height and sizes[number] <= LARGEST_SHARE * pixels:
                found.add(number)
                break
    return found


def _same_word(a: tuple[slice, slice], b: tuple[slice, slice]) -> bool:
    """Whether two boxes stand beside each other on one line of writing: feet or heads level, alike in height, close."""
    (ya, xa), (yb, xb) = a, b
    heights = (ya.stop - ya.start, yb.stop - yb.start)
    widths = (xa.stop - xa.start, xb.stop - xb.start)
    if max(heights) > 1.9 * min(heights) or min(heights) < 6 or max(widths) > 2.5 * max(heights):
        return False
    level = min(abs(ya.stop - yb.stop), abs(ya.start - yb.start)) <= max(1.0, LINE_UP * min(heights))
    gap = max(xa.start, xb.start) - min(xa.stop, xb.stop)
    return level and -1 <= gap <= 1.1 * max(heights)


def _same_dashes(a: tuple[slice, slice], b: tuple[slice, slice]) -> bool:
    """Whether two bars follow each other in one row or column, alike in size."""
    for axis in (0, 1):
        across = abs((a[axis].start + a[axis].stop) - (b[axis].start + b[axis].stop)) <= 2
        sizes = [s[1 - axis].stop - s[1 - axis].start for s in (a, b)]
        gap = max(a[1 - axis].start, b[1 - axis].start) - min(a[1 - axis].stop, b[1 - axis].stop)
        if across and max(sizes) <= 1.5 * min(sizes) + 1 and 0 < gap <= 2 * max(sizes):
            return True
    return False


def _banner_rows(image: np.ndarray) -> np.ndarray:
    """Rows (Y,) bool of a data bar that runs along the lower or upper edge: most of each row has one and the same value."""
    rows = np.zeros(len(image), dtype=bool)
    for order in (slice(None, None, -1), slice(None)):
        flipped = image[order]
        ground = float(np.median(flipped[:2]))
        same = np.abs(flipped - ground) <= 0.01 * max(float(np.ptp(image)), 1e-12)
        plain = same.mean(axis=1) >= BANNER_SHARE
        limit = int(LARGEST_BANNER * len(image))
        # Letters may interrupt a few rows of it.
        last = np.flatnonzero(plain[: limit + 1])
        if len(last) and plain[0] and 8 <= last[-1] + 1 <= limit and plain[: last[-1] + 1].mean() > 0.6:
            # A black corner of the micrograph itself has no step at its end all along the row.
            end = int(last[-1])
            beyond = np.abs(flipped[min(end + 3, len(image) - 1)] - ground) > 0.02 * np.ptp(image)
            if beyond.mean() > 0.9:
                rows[order] |= np.arange(len(image)) <= end
    return rows


def painted_over(image: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """The image with the `covered` (Y, X) pixels replaced by the mean of what is around them.

    Normalised convolution at growing widths (Knutsson & Westin 1993): nothing is left there that looks like a line.
    """
    if not covered.any() or covered.all():
        return np.asarray(image, dtype=np.float32)
    filled = np.asarray(image, dtype=np.float32).copy()
    left = covered.copy()
    sigma = 3.0
    while left.any():
        known = (~covered).astype(np.float32)
        weight = gaussian_filter(known, sigma)
        mean = gaussian_filter(np.where(covered, 0, image).astype(np.float32), sigma) / np.maximum(weight, 1e-6)
        there = left & (weight > 0.05)
        filled[there] = mean[there]
        left &= ~there
        sigma *= 2
        if sigma > 2 * max(image.shape):
            filled[left] = np.mean(image[~covered])
            break
    return filled
