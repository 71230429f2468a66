"""What can be measured on the labelled lines of one micrograph, simulated or real.

Axes: K vertices, P places along lines, (Y, X) image rows and columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from render.frame_statistics import MOST_PLACES, across_lines

FEWEST_PLACES = 6  # on a line, for its variation to be told
PARALLEL_COSINE = float(np.cos(np.radians(25.0)))
LEVEL_PX, WIDEST_GAP_PX, NARROWEST_GAP_PX = 3.0, 60.0, 2.0

Curves = list[list[np.ndarray]]  # lines, each of its visible parts (K, 2)


def line_statistics(image: np.ndarray, curves: Curves) -> dict[str, Any]:
    """Number, length, width and depth of the lines of an image (Y, X), as medians over its places; then, as lists with a number
    a line, width, depth, variation of the depth along it (standard deviation over mean, grain included) and the gap to the
    next line beside it that runs the same way within 25 degrees."""
    places, normals, owner = _along(curves, image.shape)
    chosen = spread_over(len(places))
    width, depth = across_lines(image, places[chosen], normals[chosen])
    gap = _gaps_px(places, normals, owner, chosen)
    lengths = np.array([sum(np.linalg.norm(np.diff(part, axis=0), axis=1).sum() for part in line) for line in curves])
    values: dict[str, Any] = {"lines": float(len(curves)), "line_length_px": median_of(lengths), "line_width_px": median_of(width),
                              "line_depth": median_of(depth)}  # fmt: skip
    each: dict[str, list[float]] = {name: [] for name in ("each_width_px", "each_depth", "each_variation", "each_gap_px")}
    for line in np.unique(owner[chosen]):
        on = owner[chosen] == line
        seen = depth[on][np.isfinite(depth[on])]
        each["each_width_px"].append(median_of(width[on]))
        each["each_depth"].append(median_of(depth[on]))
        each["each_variation"].append(float(seen.std() / seen.mean()) if len(seen) >= FEWEST_PLACES else float("nan"))
        each["each_gap_px"].append(median_of(gap[on]))
    return values | each


def _gaps_px(places: np.ndarray, normals: np.ndarray, owner: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Distance (C,) along the normal from each chosen place to the nearest other line that runs alike there; nan: none."""
    found = np.full(len(chosen), np.nan)
    for row, p in enumerate(chosen):
        offset = places - places[p]
        across = np.abs(offset @ normals[p])
        beside = np.abs(offset[:, 0] * normals[p, 1] - offset[:, 1] * normals[p, 0]) < LEVEL_PX
        alike = np.abs(normals @ normals[p]) > PARALLEL_COSINE
        near = across[beside & alike & (owner != owner[p]) & (across < WIDEST_GAP_PX) & (across > NARROWEST_GAP_PX)]
        if len(near):
            found[row] = near.min()
    return found


def _along(curves: Curves, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places (P, 2) a pixel apart on the lines, inside the frame, unit normals (P, 2), and which line (P,) each is on."""
    places, normals, owner = [np.zeros((0, 2))], [np.zeros((0, 2))], [np.zeros(0, int)]
    for number, curve in ((n, part) for n, line in enumerate(curves) for part in line):
        steps = np.diff(np.asarray(curve, float), axis=0)
        lengths = np.linalg.norm(steps, axis=1)
        steps, starts, lengths = steps[lengths > 0], np.asarray(curve, float)[:-1][lengths > 0], lengths[lengths > 0]
        if not len(lengths):
            continue
        ends = np.cumsum(lengths)
        at = np.arange(0.5, ends[-1], 1.0)
        segment = np.searchsorted(ends, at, side="right").clip(max=len(lengths) - 1)
        unit = steps[segment] / lengths[segment, None]
        places.append(starts[segment] + unit * (at - (ends - lengths)[segment])[:, None])
        normals.append(np.stack([-unit[:, 1], unit[:, 0]], axis=1))
        owner.append(np.full(len(at), number))
    at_px, across, line = np.concatenate(places), np.concatenate(normals), np.concatenate(owner)
    margin = 6.0
    inside = ((at_px > margin) & (at_px < np.array(shape[::-1]) - 1 - margin)).all(axis=1)
    return at_px[inside], across[inside], line[inside]


def spread_over(count: int) -> np.ndarray:
    """Indices of at most MOST_PLACES of `count` places, evenly spread."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, MOST_PLACES)).astype(int)) if count else np.zeros(0, int)


def median_of(values: np.ndarray) -> float:
    """The median of the finite values, nan where there is none."""
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")
