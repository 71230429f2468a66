"""The curve of a line's image: how far beside the projected core a person would trace it.

Every probe tells where the middle of the line's profile lies. These are averaged along the line, weighted by contrast
squared, over an effective extinction distance: what is dotted or jumps from side to side as an inclined line goes
down the foil becomes one smooth curve, and where there is no contrast the curve stays on the core.

Median distance in px of 1 nm from where lone straight lines, inclined and flat, have the strongest contrast, and in
brackets that of the core: weak beam s = 0.06 per nm 0.3 (2.0), s = 0.03 0.6 (3.3), bright field s = 0.01 1.0 (5.1), s = 0.02
1.5 (7.4), s = 0 2.7 (6.3): there the strongest contrast jumps between the two sides of one image, and the curve runs
between them.

The curve must not cross itself in a bend. With rho the radius of the circle that touches the core at a vertex, on
the offset's side, and reaches the next part of it, the offset is held below 0.8 rho; it changes by no more than half
of the length along which it does; and it vanishes at a node, where lines meet.

Axes: L curves, K vertices, P probes.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from physics.parallel import over_threads

OFFSET_OF_RADIUS = 0.8
STEEPEST_OFFSET = 0.5
# Below this a profile has no contrast that could place its middle or set its width.
LEAST_CONTRAST = 1e-3
# A person's line does not follow what is finer than this.
LEAST_WINDOW_PX = 8.0
# Of the largest weight along a line: where all weights nearby are small beside this, the curve stays near the core.
FAINT = 0.05
_MOST_REPAIRS = 30


def along_curves(
    curves, contrast: np.ndarray, half_width_nm: np.ndarray, middle_nm: np.ndarray, at_node: np.ndarray, reach_nm: float,
    pixel_nm: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Signed contrast (K,), half-width in nm (K,) and image position x, y in nm (K, 2) at the vertices of `Curves`.

    Of the probes' `contrast`, `half_width_nm` and `middle_nm` (P,), along their normals. `at_node` (L, 2) says which
    ends meet other lines. The magnitude of the contrast is interpolated, its sign is the nearest probe's.
    """
    count = len(curves.points_nm)
    signed, width, placed = np.empty(count), np.empty(count), np.empty((count, 2))
    over_threads(
        _along, len(curves.kept), curves.points_nm, curves.arc_nm, curves.first, curves.closed, curves.probe_arc_nm,
        curves.probe_first, contrast, half_width_nm, middle_nm, at_node, reach_nm, pixel_nm, signed, width, placed,
    )  # fmt: skip
    return signed, width, placed


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _along(
    begin, end, points, arc, first, closed, probe_arc, probe_first, contrast, half_width, middle, at_node, reach, pixel,
    signed, width, placed,
):  # fmt: skip
    for line in range(begin, end):
        a, b = first[line], first[line + 1]
        p, q = probe_first[line], probe_first[line + 1]
        offset = np.empty(b - a)
        _averaged(
            arc[a:b], closed[line], probe_arc[p:q], contrast[p:q], half_width[p:q], middle[p:q], reach, pixel, signed[a:b],
            width[a:b], offset,
        )  # fmt: skip
        _place(points[a:b], arc[a:b], closed[line], at_node[line], offset, reach, pixel, placed[a:b])


@numba.njit(cache=True, error_model="numpy")
def _averaged(arc, closed, probe_arc, contrast, half_width, middle, reach, pixel, signed, width, offset):
    probes, length = len(probe_arc), arc[-1]
    gap = probe_arc[0] + length - probe_arc[-1] if closed else 0.0
    for i in range(probes - 1):
        gap = max(gap, probe_arc[i + 1] - probe_arc[i])
    # Wide enough to reach the probes on both sides of any place.
    window = max(reach, 1.5 * gap, LEAST_WINDOW_PX * pixel)
    after = 0
    faint = FAINT * np.abs(contrast).max() ** 2
    for k in range(len(arc)):
        all_bells = 0.0
        while after < probes and probe_arc[after] < arc[k]:
            after += 1
        low, high = after - 1, after
        before_at = probe_arc[low] if low >= 0 else (probe_arc[-1] - length if closed else probe_arc[0])
        after_at = probe_arc[high] if high < probes else (probe_arc[0] + length if closed else probe_arc[-1])
        low = low if low >= 0 else (probes - 1 if closed else 0)
        high = high if high < probes else (0 if closed else probes - 1)
        part = (arc[k] - before_at) / (after_at - before_at) if after_at > before_at else 0.0
        size = (1 - part) * abs(contrast[low]) + part * abs(contrast[high])
        sign = contrast[low] if part < 0.5 else contrast[high]
        # Between a bright probe and a dark one no column loses more electrons than it has.
        signed[k] = math.copysign(size if sign > 0 else min(size, 1.0), sign)
        by_one, by_square, width_sum, offset_sum = 0.0, 0.0, 0.0, 0.0
        for i in range(probes):
            away = abs(probe_arc[i] - arc[k])
            away = min(away, length - away) if closed else away
            if away >= window:
                continue
            bell = (1 + math.cos(math.pi * away / window)) * _share(probe_arc, i, closed, length)
            all_bells += bell
            if abs(contrast[i]) >= LEAST_CONTRAST:
                weight = bell * abs(contrast[i])
                by_one += weight
                width_sum += weight * half_width[i]
                weight *= abs(contrast[i])
                by_square += weight
                offset_sum += weight * middle[i]
        width[k] = width_sum / by_one if by_one > 0 else 0.0
        offset[k] = offset_sum / max(by_square, faint * all_bells) if by_square > 0 else 0.0
    if closed:
        signed[-1], width[-1], offset[-1] = signed[0], width[0], offset[0]


@numba.njit(cache=True, error_model="numpy")
def _share(probe_arc, i, closed, length):
    """The length of line that a probe stands for."""
    last = len(probe_arc) - 1
    before = probe_arc[i - 1] if i > 0 else (probe_arc[last] - length if closed else probe_arc[0])
    after = probe_arc[i + 1] if i < last else (probe_arc[0] + length if closed else probe_arc[last])
    return (after - before) / 2


@numba.njit(cache=True, error_model="numpy")
def _place(points, arc, closed, at_node, offset, reach, pixel, placed):
    """Positions (K, 2) of the image; changes `offset` to what it may be."""
    count = len(points)
    normal = np.empty((count, 2))
    for k in range(count):
        _smooth_normal(points, arc, closed, k, abs(offset[k]) + 2 * pixel, normal)
    ends = 0 if closed else count
    for k in range(count):
        offset[k] = _within_radius(points, arc, closed, k, normal, offset[k], 4 * reach)
    if ends and at_node[0]:
        offset[0] = 0.0
    if ends and at_node[1]:
        offset[-1] = 0.0
    _limit_slope(arc, closed, offset)
    _smooth(arc, closed, 2 * LEAST_WINDOW_PX * pixel, offset)
    if ends and at_node[0]:
        offset[0] = 0.0
    if ends and at_node[1]:
        offset[-1] = 0.0
    for _ in range(_MOST_REPAIRS):
        _limit_slope(arc, closed, offset)
        for k in range(count):
            placed[k, 0] = points[k, 0] + offset[k] * normal[k, 0]
            placed[k, 1] = points[k, 1] + offset[k] * normal[k, 1]
        if not _shrink_where_it_turns_back(points, placed, offset):
            break
    if closed:
        placed[-1] = placed[0]


@numba.njit(cache=True, error_model="numpy")
def _smooth(arc, closed, window, values):
    """Means over the neighbours along the line, weighted by a bell that ends `window` away."""
    count, length = len(values), arc[-1]
    rough = values.copy()
    for k in range(count):
        total, weights = 0.0, 0.0
        for way in (-1, 1):
            i = k
            for _ in range(count):
                away = abs(arc[i] - arc[k])
                away = min(away, length - away) if closed else away
                if away >= window:
                    break
                # Each vertex stands for the line around it; vertex k is met twice.
                share = (arc[min(i + 1, count - 1)] - arc[max(i - 1, 0)]) * (0.5 if i == k else 1.0)
                weight = share * (1 + math.cos(math.pi * away / window))
                total += weight * rough[i]
                weights += weight
                i += way
                if closed:
                    i %= count - 1
                elif i < 0 or i >= count:
                    break
                if i == k:
                    break
        values[k] = total / weights if weights > 0 else rough[k]
    if closed:
        values[-1] = values[0]


@numba.njit(cache=True, error_model="numpy")
def _limit_slope(arc, closed, offset):
    count = len(offset)
    for _ in range(2 if closed else 1):
        for k in range(1, count):
            _limit(offset, k, k - 1, arc[k] - arc[k - 1])
        for k in range(count - 2, -1, -1):
            _limit(offset, k, k + 1, arc[k + 1] - arc[k])
        if closed:
            least = min(abs(offset[0]), abs(offset[-1]))
            offset[0] = math.copysign(least, offset[0])
            offset[-1] = offset[0]


@numba.njit(cache=True, error_model="numpy")
def _limit(offset, k, other, length):
    most = abs(offset[other]) + STEEPEST_OFFSET * length
    if abs(offset[k]) > most:
        offset[k] = math.copysign(most, offset[k])


@numba.njit(cache=True, error_model="numpy")
def _shrink_where_it_turns_back(points, placed, offset):
    """Whether offsets were made smaller, which is where a piece of the curve runs against the core's."""
    found = False
    for k in range(len(offset) - 1):
        dx, dy = points[k + 1, 0] - points[k, 0], points[k + 1, 1] - points[k, 1]
        ex, ey = placed[k + 1, 0] - placed[k, 0], placed[k + 1, 1] - placed[k, 1]
        if dx * ex + dy * ey < 0.1 * (dx * dx + dy * dy) - 1e-12:
            offset[k] *= 0.7
            offset[k + 1] *= 0.7
            found = True
    return found


@numba.njit(cache=True, error_model="numpy")
def _smooth_normal(points, arc, closed, k, window, normal):
    """Left of the chord from `window` before vertex k to `window` after it, along the line."""
    last = len(points) - 1
    i, j = k, k
    if closed:
        length, i, j = arc[last], k % last, k % last
        steps = 0
        while steps < last // 4 and (arc[k % last] - arc[i]) % length < window:
            i, steps = (i - 1) % last, steps + 1
        steps = 0
        while steps < last // 4 and (arc[j] - arc[k % last]) % length < window:
            j, steps = (j + 1) % last, steps + 1
    else:
        while i > 0 and arc[k] - arc[i] < window:
            i -= 1
        while j < last and arc[j] - arc[k] < window:
            j += 1
    dx, dy = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1]
    size = math.sqrt(dx * dx + dy * dy)
    normal[k, 0], normal[k, 1] = (-dy / size, dx / size) if size > 1e-9 else (1.0, 0.0)


@numba.njit(cache=True, error_model="numpy")
def _within_radius(points, arc, closed, k, normal, offset, window):
    """The offset, no larger than OFFSET_OF_RADIUS of the touching circle's radius on its side.

    Vertices nearer than half the offset tell of the corners of the polyline, not of its course.
    """
    last = len(points) - 1
    side = math.copysign(1.0, offset)
    least = np.inf
    for way in (-1, 1):
        i, walked = k, 0.0
        while True:
            if closed:
                i = (i + way) % last
            else:
                i += way
                if i < 0 or i > last:
                    break
            walked = abs(arc[i] - arc[k])
            # A loop is walked halfway round.
            if closed:
                walked = walked if way * (arc[i] - arc[k]) >= 0 else arc[last] - walked
                if walked > arc[last] / 2 or i == k % last:
                    break
            if walked > window:
                break
            dx, dy = points[i, 0] - points[k, 0], points[i, 1] - points[k, 1]
            toward = side * (dx * normal[k, 0] + dy * normal[k, 1])
            distance_sq = dx * dx + dy * dy
            if toward > 1e-9 and 4 * distance_sq > offset * offset:
                least = min(least, distance_sq / (2 * toward))
    return side * min(abs(offset), OFFSET_OF_RADIUS * least)
