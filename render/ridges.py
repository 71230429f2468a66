"""Lines of a micrograph of which nothing is known: a ridge filter, its skeleton, the skeleton's branches.

It finds slip traces and edges as it finds dislocations: it serves to compare images with images, not to count dislocations.
Axes: (Y, X) image rows and columns, K pixels of one branch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve, gaussian_filter, label
from skimage.filters import apply_hysteresis_threshold, sato
from skimage.morphology import skeletonize

from render.frame_statistics import background

SCALES_PX = (1.5, 2.5, 4.0)
HIGH_DEVIATIONS, LOW_DEVIATIONS = 6.0, 3.0
STRONGEST_PERCENT = 99.5
SHORTEST_BRANCH_PX = 15
ORIENTATION_SCALE_PX = 2.5
ENDS_LEFT_OUT_PX = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Ridges:
    """Branches of one image: `lengths_px`, and places (P, 2) on them with unit normals (P, 2); `dark` lines or bright ones."""

    lengths_px: np.ndarray
    places_px: np.ndarray
    normals: np.ndarray
    dark: bool


def find_ridges(image: np.ndarray) -> Ridges:
    """Branches of dark or of bright lines, whichever stand out more against the image's own grain."""
    relative = image / np.maximum(background(image), 1e-6) - 1
    found = [_strong(relative if dark else -relative) for dark in (True, False)]
    dark = found[0][1] >= found[1][1]
    mask = found[0 if dark else 1][0]
    skeleton = skeletonize(mask)
    neighbours = convolve(skeleton.astype(np.uint8), np.ones((3, 3), np.uint8), mode="constant") - 1
    branches, count = label(skeleton & (neighbours <= 2), structure=np.ones((3, 3)))
    rows, columns = np.nonzero(branches)
    number = branches[rows, columns]
    sizes = np.bincount(number, minlength=count + 1)
    long = sizes[number] >= SHORTEST_BRANCH_PX
    normal = _normals(relative if dark else -relative, rows, columns)
    lengths = _lengths_px(branches, sizes)
    keep = long & (neighbours[rows, columns] == 2)
    return Ridges(lengths_px=lengths, places_px=np.stack([columns, rows], axis=1)[keep].astype(float), normals=normal[keep], dark=bool(dark))


def _strong(relative: np.ndarray) -> tuple[np.ndarray, float]:
    """Where dark ridges stand out, and how much the strongest of them do.

    Beside a dark line the image curves the other way as well, by 0.45 of what it does on the line: only the strength tells.
    """
    response = sato(relative, sigmas=SCALES_PX, black_ridges=True, mode="reflect")
    # Grain is what most of the image shows: the lower half of the responses, which lines do not reach.
    middle = float(np.median(response))
    deviation = 1.4826 * float(np.median(np.abs(response[response <= middle] - middle))) + 1e-9
    mask = apply_hysteresis_threshold(response, middle + LOW_DEVIATIONS * deviation, middle + HIGH_DEVIATIONS * deviation)
    return mask, float(np.percentile(response, STRONGEST_PERCENT))


def _normals(relative: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Directions (P, 2) of greatest upward curvature: across a dark line."""
    sigma = ORIENTATION_SCALE_PX
    xx, xy, yy = (
        gaussian_filter(relative, sigma, order=order, mode="nearest")[rows, columns] for order in ((0, 2), (1, 1), (2, 0))
    )
    turn = 0.5 * np.arctan2(2 * xy, xx - yy)
    return np.stack([np.cos(turn), np.sin(turn)], axis=1)


def _lengths_px(branches: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Lengths of the branches that are long enough: steps along rows and columns count 1, diagonal ones sqrt 2."""
    straight = np.zeros(len(sizes))
    for shift, step in (((0, 1), 1.0), ((1, 0), 1.0), ((1, 1), 2**0.5), ((1, -1), 2**0.5)):
        a = branches[: branches.shape[0] - shift[0], max(0, -shift[1]) : branches.shape[1] - max(0, shift[1])]
        b = branches[shift[0] :, max(0, shift[1]) : branches.shape[1] + min(0, shift[1])]
        straight += np.bincount(a[(a > 0) & (a == b)], minlength=len(sizes)) * step
    return straight[1:][sizes[1:] >= SHORTEST_BRANCH_PX]
