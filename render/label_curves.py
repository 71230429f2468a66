"""Compiled geometry of label curves: the part of a line near the field, its vertices, and where its contrast is probed.

Curves of all lines stand one after another; `first` (L + 1,) says where each begins.

Axes: L curves, K vertices, P probes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from physics.clipping import span_in_box

VERTEX_SPACING_PX = 4.0
# Probes lie no farther apart than this in the image, in depth (of an effective extinction distance, which is the
# period of an inclined line's contrast), and in the direction of the line.
PROBE_SPACING_PX = 8.0
PROBES_AN_EXTINCTION = 10.0
PROBE_TURN = math.pi / 8
# ... except that more than one in this length of image shows nothing new.
LEAST_PROBE_SPACING_PX = 3.0
# Sine of the angle off the tangent below which a vertex does not count as another part of the curve.
TOUCHING = 0.25


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """Vertices `points_nm` (K, 3) of curves and the length `arc_nm` (K,) along each in space.

    Probes: `at_nm` (P, 2), the unit vector `normal` (P, 2) to the left of the curve in the image frame, `probe_arc_nm`
    (P,), and the curve `probe_curve` (P,) that each is on. `kept` (L,) are the numbers of the curves that were given.
    """

    points_nm: np.ndarray
    arc_nm: np.ndarray
    first: np.ndarray
    closed: np.ndarray
    at_nm: np.ndarray
    normal: np.ndarray
    probe_arc_nm: np.ndarray
    probe_curve: np.ndarray
    probe_first: np.ndarray
    kept: np.ndarray


def curves_near_field(
    pieces_nm: list[np.ndarray], half_field_nm: tuple[float, float], pixel_nm: float, extinction_nm: float
) -> Curves:
    """The pieces without the ends that run on outside |x|, |y| <= half field; a loop is kept or dropped whole.

    What lies between two visits of the field stays. Every vertex is kept, and long segments are divided evenly.
    """
    points = np.concatenate(pieces_nm) if pieces_nm else np.empty((0, 3))
    first = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces_nm])]).astype(np.int64)
    points, first, closed, kept = _trimmed(points, first, half_field_nm[0], half_field_nm[1], VERTEX_SPACING_PX * pixel_nm)
    arc, at, normal, probe_arc, probe_first = _probed(points, first, closed, pixel_nm, extinction_nm)
    return Curves(
        points_nm=points, arc_nm=arc, first=first, closed=closed, at_nm=at, normal=normal, probe_arc_nm=probe_arc,
        probe_curve=np.repeat(np.arange(len(kept)), np.diff(probe_first)), probe_first=probe_first, kept=kept,
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def _trimmed(points, first, half_x, half_y, spacing):
    """Vertices, where curves begin, whether they are closed, and which of the given ones they are."""
    lines = len(first) - 1
    out, count = np.empty((max(64, 4 * len(points)), 3)), 0
    out_first, closed, kept, number = np.zeros(lines + 1, np.int64), np.zeros(lines, np.bool_), np.zeros(lines, np.int64), 0
    for line in range(lines):
        a, b = first[line], first[line + 1] - 1
        begin, end, head, tail = -1, -1, 0.0, 1.0
        for k in range(a, b):
            low, high = span_in_box(
                points[k, 0], points[k, 1], points[k + 1, 0], points[k + 1, 1], -half_x, -half_y, half_x, half_y
            )
            if low <= high:
                if begin < 0:
                    begin, head = k, low
                end, tail = k, high
        if begin < 0:
            continue
        loop = b - a > 1 and points[a, 0] == points[b, 0] and points[a, 1] == points[b, 1] and points[a, 2] == points[b, 2]
        if loop:
            begin, end, head, tail = a, b - 1, 0.0, 1.0
        if begin == end and head == tail:
            continue
        for k in range(begin, end + 1):
            from_, to = head if k == begin else 0.0, tail if k == end else 1.0
            dx, dy = points[k + 1, 0] - points[k, 0], points[k + 1, 1] - points[k, 1]
            parts = max(1, int(math.ceil((to - from_) * math.sqrt(dx * dx + dy * dy) / spacing)))
            while count + parts + 1 > len(out):
                out = np.concatenate((out, np.empty_like(out)))
            if to <= from_:
                parts = 0
            for i in range(parts):
                part = from_ + (to - from_) * i / parts
                for axis in range(3):
                    out[count, axis] = points[k, axis] + part * (points[k + 1, axis] - points[k, axis])
                count += 1
            if k == end:
                for axis in range(3):
                    out[count, axis] = (
                        points[k + 1, axis] if to == 1.0 else points[k, axis] + to * (points[k + 1, axis] - points[k, axis])
                    )
                count += 1
        closed[number], kept[number] = loop, line
        number += 1
        out_first[number] = count
    return out[:count].copy(), out_first[: number + 1], closed[:number], kept[:number]


@numba.njit(cache=True, error_model="numpy")
def _probed(points, first, closed, pixel, extinction):
    """Arc lengths of the vertices; places, normals and arc lengths of the probes, and where each curve's begin."""
    lines = len(first) - 1
    arc, pace = np.zeros(len(points)), np.zeros(len(points))
    probe_first = np.zeros(lines + 1, np.int64)
    for line in range(lines):
        a, b = first[line], first[line + 1] - 1
        length = 0.0
        for k in range(a, b):
            dx, dy, dz = points[k + 1, 0] - points[k, 0], points[k + 1, 1] - points[k, 1], points[k + 1, 2] - points[k, 2]
            flat = math.sqrt(dx * dx + dy * dy)
            turn = 0.5 * (_turn(points, k, a, b, closed[line]) + _turn(points, k + 1, a, b, closed[line]))
            arc[k + 1] = arc[k] + math.sqrt(flat * flat + dz * dz)
            pace[k + 1] = pace[k] + math.sqrt(
                (flat / (PROBE_SPACING_PX * pixel)) ** 2
                + (dz * PROBES_AN_EXTINCTION / extinction) ** 2
                + (turn / PROBE_TURN) ** 2
            )
            length += flat
        most = max(5, int(length / (LEAST_PROBE_SPACING_PX * pixel)))
        probes = max(min(int(math.ceil(pace[b])), most), 4 if closed[line] else 1)
        probe_first[line + 1] = probe_first[line] + probes + (0 if closed[line] else 1)
    total = probe_first[lines]
    at, normal, probe_arc = np.empty((total, 2)), np.empty((total, 2)), np.empty(total)
    for line in range(lines):
        a, b, p, q = first[line], first[line + 1] - 1, probe_first[line], probe_first[line + 1]
        intervals = q - p if closed[line] else q - p - 1
        k = a
        for i in range(q - p):
            place = pace[b] * i / intervals
            while k + 1 < b and pace[k + 1] < place:
                k += 1
            rise = pace[k + 1] - pace[k]
            part = min(1.0, max(0.0, (place - pace[k]) / rise)) if rise > 0 else 0.0
            probe_arc[p + i] = arc[k] + part * (arc[k + 1] - arc[k])
            for axis in range(2):
                at[p + i, axis] = points[k, axis] + part * (points[k + 1, axis] - points[k, axis])
        for i in range(p, q):
            before, after = max(i - 1, p), min(i + 1, q - 1)
            if closed[line]:
                before, after = (i - 1 if i > p else q - 1), (i + 1 if i < q - 1 else p)
            dx, dy = at[after, 0] - at[before, 0], at[after, 1] - at[before, 1]
            size = math.sqrt(dx * dx + dy * dy)
            # A line along the beam is a dot: any direction across it will do.
            normal[i, 0], normal[i, 1] = (-dy / size, dx / size) if size > 1e-9 else (1.0, 0.0)
    return arc, at, normal, probe_arc, probe_first


def own_reach_nm(curves: Curves, least_nm: float) -> np.ndarray:
    """How far to the right and to the left (P, 2) of each probe a place is nearer to it than to another part of its curve.

    That is the radius of the circle that touches the curve at the probe and reaches its next part: half the width of a loop,
    inf where nothing comes near. Parts within TOUCHING of the tangent's direction tell of the corners of the polyline, not of
    its course; no radius is below `least_nm`.
    """
    reach = np.empty((len(curves.at_nm), 2))
    _own_reach(curves.points_nm, curves.first, curves.at_nm, curves.normal, curves.probe_curve, reach)
    return np.maximum(reach, least_nm)


@numba.njit(cache=True, error_model="numpy")
def _own_reach(points, first, at, normal, curve_of, reach):
    for p in range(len(at)):
        reach[p] = np.inf
        for k in range(first[curve_of[p]], first[curve_of[p] + 1]):
            dx, dy = points[k, 0] - at[p, 0], points[k, 1] - at[p, 1]
            toward, distance_sq = dx * normal[p, 0] + dy * normal[p, 1], dx * dx + dy * dy
            if toward * toward > TOUCHING * TOUCHING * distance_sq:
                side = 1 if toward > 0 else 0
                reach[p, side] = min(reach[p, side], distance_sq / (2 * abs(toward)))


@numba.njit(cache=True, error_model="numpy")
def _turn(points, k, a, b, closed):
    """Angle by which the projected curve turns at vertex k of a curve from a to b; 0 where a side is a dot."""
    before, after = k - 1, k + 1
    if k == a or k == b:
        if not closed:
            return 0.0
        before, after = b - 1, a + 1
    ux, uy = points[k, 0] - points[before, 0], points[k, 1] - points[before, 1]
    vx, vy = points[after, 0] - points[k, 0], points[after, 1] - points[k, 1]
    cross, dot = ux * vy - uy * vx, ux * vx + uy * vy
    return abs(math.atan2(cross, dot)) if cross != 0 or dot != 0 else 0.0
