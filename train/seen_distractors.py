"""Which of the distractors that the renderer put into a micrograph an observer can see there.

The renderer knows a slip trace of a tenth of a nanometre and a deposit of a hundredth of a mean free path; asked for
them, a network learns that its distractor maps mean nothing. A spot is seen where its inside differs from its rim, a
thin line, in pieces of PIECE_PX, where its profile differs from what lies to both sides, a stretch of fringes where most of
it stands out from its surroundings. Other bands and text always are.

Axes: (Y, X) image rows and columns, V vertices of a curve, S places along a piece, T places across it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from scipy.ndimage import binary_dilation, find_objects, gaussian_filter, label, map_coordinates

from render import Distractor
from train.curves import resample
from train.distractors import GROUP_OF_KIND

PIECE_PX = 32.0
RIM_PX = 4
FAINTEST = 0.05  # of the background
DEVIATIONS = 3.0  # of the mean, for noise
ACROSS_PX = np.arange(-12.0, 13.0)
CENTRE = np.abs(ACROSS_PX) <= 4
FLANKS = np.abs(ACROSS_PX) >= 8
SHORTEST_PLACES = 8
# Fringes stand out between these two blurs of the image, by FAINTEST and DEVIATIONS, in this share of a stretch.
FRINGE_BLURS_PX = (1.5, 8.0)
FRINGE_SHARE = 0.3


def seen_distractors(image: np.ndarray, distractors: Iterable[Distractor], black: float = 0.0) -> tuple[Distractor, ...]:
    """The distractors that can be seen in `image` (Y, X), whose background counts from `black`; of curves, their seen pieces."""
    light = np.asarray(image, dtype=np.float32) - np.float32(black)
    return tuple(seen for distractor in distractors for seen in _seen(light, distractor))


def _seen(light: np.ndarray, distractor: Distractor) -> Iterator[Distractor]:
    group = GROUP_OF_KIND.get(distractor.kind)
    if group == "spot" and distractor.mask is not None:
        if _spot_is_seen(light, distractor.mask):
            yield distractor
    elif distractor.kind == "fringe":
        seen = _seen_fringes(light, np.asarray(distractor.mask, dtype=bool))
        if seen.any():
            yield Distractor(kind=distractor.kind, mask=seen)
    elif group == "thin" and distractor.points_px is not None:
        for piece in _pieces(distractor.points_px):
            if _line_is_seen(light, piece):
                yield Distractor(kind=distractor.kind, points_px=piece.astype(np.float32))
    else:
        yield distractor


def _spot_is_seen(light: np.ndarray, mask: np.ndarray) -> bool:
    mask = np.asarray(mask, dtype=bool)
    if not mask.any():
        return False
    rows, columns = find_objects(mask.astype(np.uint8))[0]
    window = tuple(slice(max(0, s.start - RIM_PX), s.stop + RIM_PX) for s in (rows, columns))
    inside, values = mask[window], light[window]
    rim = binary_dilation(inside, iterations=RIM_PX) & ~inside
    if not rim.any():
        return False
    return _differs(values[inside], values[rim])


def _differs(inside: np.ndarray, outside: np.ndarray) -> bool:
    background = max(float(np.median(outside)), 1e-6)
    noise = 1.4826 * float(np.median(np.abs(outside - background)))
    # Noise is correlated over two to three pixels: six of them are one measurement.
    least = max(FAINTEST * background, DEVIATIONS * noise / np.sqrt(max(1.0, inside.size / 6)))
    return abs(float(np.median(inside)) - background) > least


def _seen_fringes(light: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The connected stretches of a mask (Y, X) in which enough differs from what lies around."""
    fine, wide = (gaussian_filter(light, sigma) for sigma in FRINGE_BLURS_PX)
    # What the fine blur leaves of noise, from differences of neighbours as far apart as it reaches.
    step = int(2 * FRINGE_BLURS_PX[0])
    noise = 1.4826 * float(np.median(np.abs(fine[:, step:] - fine[:, :-step]))) / np.sqrt(2)
    stands_out = np.abs(fine - wide) > np.maximum(FAINTEST * wide, DEVIATIONS * noise)
    stretches, count = label(mask)
    share = np.bincount(stretches.ravel(), stands_out.ravel(), count + 1) / np.maximum(np.bincount(stretches.ravel(), minlength=count + 1), 1)
    share[0] = 0.0
    return (share >= FRINGE_SHARE)[stretches]


def _pieces(points_px: np.ndarray) -> Iterator[np.ndarray]:
    """A curve (V, 2) at steps of about 1 px, in pieces of PIECE_PX that share their ends."""
    points = resample(np.asarray(points_px, dtype=np.float64), 1.0)
    step = int(PIECE_PX)
    for first in range(0, max(1, len(points) - 1), step):
        piece = points[first : first + step + 1]
        if len(piece) >= 2:
            yield piece


def _line_is_seen(light: np.ndarray, piece: np.ndarray) -> bool:
    along = np.gradient(piece, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    places = piece[:, None] + ACROSS_PX[:, None] * across[:, None]  # (S, T, 2)
    limit = np.array(light.shape[::-1]) - 1
    inside = ((places >= 0) & (places <= limit)).all(axis=(1, 2))
    if inside.sum() < SHORTEST_PLACES:
        return False
    profile = map_coordinates(light, places[inside].reshape(-1, 2).T[::-1], order=1).reshape(-1, len(ACROSS_PX))
    mean, count = profile.mean(axis=0), len(profile)
    flanks = mean[FLANKS]
    background = max(float(flanks.mean()), 1e-6)
    noise = float(profile[:, FLANKS].std(axis=0).mean()) / np.sqrt(max(1.0, count / 2))
    return float(np.abs(mean[CENTRE] - background).max()) > max(FAINTEST * background, float(np.ptp(flanks)) / 2, DEVIATIONS * noise)
