"""What was written into a micrograph after it was taken: letters, scale bars, arrows, data bars, frames.

Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import (
    binary_closing,
    binary_dilation,
    binary_fill_holes,
    find_objects,
    gaussian_filter,
    label,
    maximum_filter,
    minimum_filter,
)

EXTREME_SHARE = 0.04  # of the range of grey: as near to white or black are pixels that may be ink
EDGE_SHARE = 0.35  # of the range of grey: the step at the outline of ink, which no micrograph's own detail has within EDGE_PX
EDGE_PX = 3
SHARP_OUTLINE = 0.6  # of an outline's pixels, from which it is one of ink
SMALLEST_PX2, LARGEST_SHARE = 12, 0.04  # of one letter, bar or arrow; of the frame
STRAIGHT_SHARE = 0.9  # of its box that a bar fills
FEWEST_LETTERS = 2
LINE_UP = 0.6  # of their height by which letters of one word share rows
MARGIN_PX = 3  # of ink's halo, which compression and scaling leave
BANNER_SHARE = 0.5  # of a row of one value, from which it may be of a data bar
LARGEST_BANNER = 0.35  # of the height


def burnt_in(image: np.ndarray, drawn: np.ndarray | None = None) -> np.ndarray:
    """Where (Y, X) bool the image (Y, X) shows what was burnt into it, with a margin.

    Ink is white or black, as far as the image goes, and has an outline that is a step, all round. A bar is ink alone;
    letters are, when there are several in a row. `drawn` are pixels known to be ink for their colour. Data bars below
    or above the picture count whole.
    """
    image = np.asarray(image, dtype=np.float32)
    low, high = float(image.min()), float(image.max())
    grey_range = max(high - low, 1e-12)
    step = maximum_filter(image, 2 * EDGE_PX + 1) - minimum_filter(image, 2 * EDGE_PX + 1) > EDGE_SHARE * grey_range
    ink = np.zeros(image.shape, dtype=bool)
    for extreme in (image >= high - EXTREME_SHARE * grey_range, image <= low + EXTREME_SHARE * grey_range):
        ink |= _letters_and_bars(extreme, step)
    if drawn is not None:
        ink |= binary_closing(np.pad(drawn, 2), iterations=2)[2:-2, 2:-2] | drawn
    covered = binary_dilation(ink, iterations=MARGIN_PX) if ink.any() else ink
    banner = _banner_rows(image)
    covered[banner] = True
    return covered


def _letters_and_bars(extreme: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The pieces of `extreme` (Y, X) that are ink by their outline, size and company."""
    numbered, count = label(extreme, structure=np.ones((3, 3)))
    chosen = np.zeros(extreme.shape, dtype=bool)
    if not count or count > 20000:  # a frame whose noise reaches white everywhere tells nothing
        return chosen
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)
    candidates = []
    for number, box in enumerate(find_objects(numbered), start=1):
        height, width = (s.stop - s.start for s in box)
        if not SMALLEST_PX2 <= sizes[number] <= LARGEST_SHARE * extreme.size or max(height, width) < 5:
            continue
        around = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in box)
        piece = numbered[around] == number
        outline = binary_dilation(piece) & ~piece
        if not outline.any() or step[around][outline].mean() < SHARP_OUTLINE:
            continue
        straight = sizes[number] >= STRAIGHT_SHARE * height * width and max(height, width) >= 4 * min(height, width)
        candidates.append((number, box, straight))
    words = [(n, box) for n, box, straight in candidates if not straight]
    taken = {n for n, _, straight in candidates if straight}
    for n, box in words:
        taken |= {n} if sum(_same_word(box, other) for m, other in words if m != n) >= FEWEST_LETTERS - 1 else set()
    if taken:
        chosen = np.isin(numbered, sorted(taken))
        chosen = binary_fill_holes(chosen)
    return chosen


def _same_word(a: tuple[slice, slice], b: tuple[slice, slice]) -> bool:
    """Whether two boxes stand beside each other on one line of writing: rows shared, alike in height, close."""
    (ya, xa), (yb, xb) = a, b
    heights = (ya.stop - ya.start, yb.stop - yb.start)
    if max(heights) > 2.2 * min(heights) or min(heights) < 5:
        return False
    shared = min(ya.stop, yb.stop) - max(ya.start, yb.start)
    gap = max(xa.start, xb.start) - min(xa.stop, xb.stop)
    return shared >= LINE_UP * min(heights) and gap <= 1.5 * max(heights)


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
