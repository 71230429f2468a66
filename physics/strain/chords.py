"""The lines of a network as trees of chords: far from a line, many of its segments act like one.

Replacing the segments between two vertices of a line by the chord between them leaves out the field of the small
closed loop that they make together. It falls as 1/r^3: with A the loop's area and r its distance, d(g.u)/dd is wrong
by less than about |g||b| A / (4 pi r^3), and the phase 2 pi int d(g.u)/dd dd of a column passing it by

    |g||b| A / (2 r^2).

Ends of chords are vertices of the line, so that no open end appears.

Axes: L lines, S segments, N nodes. A line's nodes stand in pre-order: what follows a node are its two halves, `skip`
is the next node that is not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike

from physics.strain.isotropic import DOWN, coefficient_rows
from physics.strain.segments import Segments


@dataclass(frozen=True, kw_only=True, eq=False)
class ChordTrees:
    """`rows` (N, WIDTH) of `isotropic.coefficient_rows` for the chords, `silent` (N,) those that contribute nothing.

    Nodes first[l] to first[l + 1] are line l, none where it has no segments. `spheres` (N, 4) hold centre and radius
    around a node's vertices, `areas_nm2` (N,) the area between chord and line, inf where there is no chord.
    `strength` is the largest |g||b|.
    """

    rows: np.ndarray
    silent: np.ndarray
    first: np.ndarray
    skip: np.ndarray
    spheres: np.ndarray
    areas_nm2: np.ndarray
    strength: float


def chord_trees(
    segments: Segments, lines: int, g_image_inv_nm: ArrayLike, poisson_ratio: float, core_nm: float
) -> ChordTrees:
    """Trees over the segments of each of the `lines` numbered in `segments.line`, for d(g.u)/dd.

    A line's segments must follow each other, as `segments_of` makes them.
    """
    segment_first = np.searchsorted(segments.line, np.arange(lines + 1))
    counts = np.diff(segment_first)
    first = np.concatenate([[0], np.cumsum(np.maximum(2 * counts - 1, 0))])
    total = int(first[-1])
    begin, end, skip = (np.empty(total, np.int64) for _ in range(3))
    spheres, areas = np.empty((total, 4)), np.empty(total)
    _build(segment_first, segments.start_nm, segments.end_nm, first, begin, end, skip, spheres, areas)
    start_nm, end_nm = segments.start_nm[begin], segments.end_nm[end]
    # A loop has no chord over all of it: a piece along the beam stands in, which is never used.
    closed = np.isinf(areas)
    end_nm[closed] = start_nm[closed] + DOWN
    rows, silent = coefficient_rows(
        start_nm, end_nm, segments.burgers_nm[begin], g_image_inv_nm, DOWN, poisson_ratio, core_nm
    )
    strength = float(np.linalg.norm(g_image_inv_nm) * np.linalg.norm(segments.burgers_nm, axis=1).max(initial=0))
    return ChordTrees(
        rows=rows, silent=silent, first=first, skip=skip, spheres=spheres, areas_nm2=areas, strength=strength
    )


@numba.njit(cache=True, error_model="numpy")
def _build(segment_first, start, end, first, node_begin, node_end, skip, spheres, areas):
    stack = np.empty((128, 2), np.int64)
    for line in range(len(segment_first) - 1):
        if segment_first[line] == segment_first[line + 1]:
            continue
        node, height = first[line], 1
        stack[0, 0], stack[0, 1] = segment_first[line], segment_first[line + 1]
        while height > 0:
            height -= 1
            i, j = stack[height]
            node_begin[node], node_end[node] = i, j - 1
            skip[node] = node + 2 * (j - i) - 1
            _measure(start, end, i, j, spheres[node])
            areas[node] = _area(start, end, i, j)
            if j - i > 1:
                middle = (i + j) // 2
                stack[height, 0], stack[height, 1] = middle, j
                stack[height + 1, 0], stack[height + 1, 1] = i, middle
                height += 2
            node += 1


@numba.njit(cache=True, error_model="numpy")
def _measure(start, end, i, j, sphere):
    """Centre and radius of a ball around the vertices of segments i to j - 1: that of their bounding box."""
    radius_sq = 0.0
    for axis in range(3):
        low, high = end[j - 1, axis], end[j - 1, axis]
        for k in range(i, j):
            low, high = min(low, start[k, axis]), max(high, start[k, axis])
        sphere[axis] = (low + high) / 2
        radius_sq += ((high - low) / 2) ** 2
    sphere[3] = np.sqrt(radius_sq)


@numba.njit(cache=True, error_model="numpy")
def _area(start, end, i, j):
    """Sum of the triangles from the first vertex to each segment; inf where the chord has no length."""
    closing = 0.0
    for axis in range(3):
        closing += (end[j - 1, axis] - start[i, axis]) ** 2
    if closing < 1e-12:
        return np.inf
    total = 0.0
    for k in range(i + 1, j):
        ax, ay, az = start[k, 0] - start[i, 0], start[k, 1] - start[i, 1], start[k, 2] - start[i, 2]
        bx, by, bz = end[k, 0] - start[i, 0], end[k, 1] - start[i, 1], end[k, 2] - start[i, 2]
        total += np.sqrt((ay * bz - az * by) ** 2 + (az * bx - ax * bz) ** 2 + (ax * by - ay * bx) ** 2) / 2
    return total
