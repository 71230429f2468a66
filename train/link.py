"""From fragments to lines: taking wrong turns back at shallow crossings, bridging gaps, finishing.

Three steps. *Untangling*: where two fragments run together and part again, the pairing of their four arms that bends
least wins; tracers that shied away from each other are crossed here. *Bridging*: ends that face each other are joined
by a cubic (Hermite) bridge where gap, turn and the lifted maps along the bridge allow it, best first, each end once.
*Finishing*: duplicates go, true ends are cut back to where the ridge falls to half, the curve is smoothed, widths and
confidence are read off the maps.

Axes: V vertices. Lengths are map pixels except in TracedLine; headings in radians, y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy.spatial import cKDTree

from train.curves import (
    TracedLine,
    clip_to_frame,
    find_crossings,
    is_closed,
    length_px,
    smooth,
    touches_frame,
)
from train.targets import Maps
from train.trace import Fragment, TraceSettings, strength_at

ARM = 7  # vertices over which the heading of an arm is fitted
SWAP_REACH = 1.33  # map pixels within which two fragments run together
SWAP_FACTOR, SWAP_MARGIN = 0.7, 0.033  # arms are exchanged when that bends clearly less
BEND_SCALE = 3.2  # bending energy that forbids a bridge by itself
FULL_SUPPORT = 0.2  # strength from which a bridge counts as seen in the maps
END_COST = 0.82  # what a certain end point adds to the cost of going on beyond it
END_OVERSHOOT_PX = 2.1  # where the round cap of a ridge of sigma 1.8 px falls to half: 1.18 sigma


def linked(fragments: list[Fragment], maps: Maps, volume: np.ndarray, settings: TraceSettings) -> list[Fragment]:
    """Fragments untangled and joined."""
    fragments = untangled(_without_duplicates(fragments))
    for _ in range(2):
        joined = bridged(fragments, maps, volume, settings)
        if len(joined) == len(fragments):
            break
        fragments = untangled(joined)
    return _without_duplicates(fragments)


def _fit_matrix(n: int) -> np.ndarray:
    """(3, n): quadratic, linear and constant coefficient of n points at 1 - n ... 0; a straight line if n < ARM."""
    powers = np.vander(np.arange(1.0 - n, 1.0), 3)
    if n < ARM:
        powers[:, 0] = 0.0
    return np.linalg.pinv(powers)


_FITS = {n: _fit_matrix(n) for n in range(4, ARM + 1)}


def _arm(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position and outward unit heading at the last vertex of `points` (V, 2), from a parabola through its end."""
    tail = points[-ARM:]
    n = len(tail)
    if n < 4:
        heading = tail[-1] - tail[0]
        return tail[-1], heading / max(np.hypot(*heading), 1e-9)
    # The slope is taken a vertex back from the end, where a parabola follows the noise less.
    coefficients = _FITS[n] @ tail
    heading = coefficients[1] - 2 * coefficients[0]
    position = coefficients[2]
    return position, heading / max(np.hypot(*heading), 1e-9)


def _bridge(p: np.ndarray, u: np.ndarray, q: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Vertices strictly between p and q on the Hermite cubic that leaves p along u and arrives at q along v."""
    gap = float(np.hypot(*(q - p)))
    count = max(1, int(round(gap)) - 1)
    t = (np.arange(1, count + 1) / (count + 1))[:, None]
    return (
        (2 * t**3 - 3 * t**2 + 1) * p + (t**3 - 2 * t**2 + t) * gap * u + (3 * t**2 - 2 * t**3) * q + (t**3 - t**2) * gap * v
    )


def _bending(p: np.ndarray, u: np.ndarray, q: np.ndarray, v: np.ndarray) -> float:
    """Bending energy of that bridge, times its length: 4 (a^2 + a b + b^2) with a, b the angles to the chord."""
    chord = q - p
    a = _signed_angle(u, chord)
    b = _signed_angle(chord, v)
    return 4 * (a * a - a * b + b * b)


def _signed_angle(u: np.ndarray, v: np.ndarray) -> float:
    return float(np.arctan2(u[0] * v[1] - u[1] * v[0], u @ v))


# --- untangling --------------------------------------------------------------------------------------------------


def untangled(fragments: list[Fragment]) -> list[Fragment]:
    """Exchange the arms of fragments that run together for a stretch wherever the exchange bends less."""
    fragments = list(fragments)
    for _ in range(3):
        changed = False
        for i in range(len(fragments)):
            for j in range(i):
                swapped = _exchanged(fragments[i], fragments[j])
                if swapped is not None:
                    fragments[i], fragments[j] = swapped
                    changed = True
        if not changed:
            break
    return fragments


def _exchanged(first: Fragment, second: Fragment) -> tuple[Fragment, Fragment] | None:
    """The two fragments with arms exchanged at their first common stretch that asks for it, or None."""
    if first.closed or second.closed:
        return None
    a, b = first.points, second.points
    if (a.min(axis=0) > b.max(axis=0) + 2).any() or (b.min(axis=0) > a.max(axis=0) + 2).any():
        return None
    for i0, i1, j0, j1, same_way in _common_stretches(a, b, SWAP_REACH, 0.87):
        other = second if same_way else second.reversed()
        if not same_way:
            j0, j1 = len(b) - 1 - j1, len(b) - 1 - j0
        i0, i1, j0, j1 = i0 - 2, i1 + 2, j0 - 2, j1 + 2
        if i0 < 3 or j0 < 3 or i1 > len(a) - 4 or j1 > len(b) - 4:
            continue
        c = other.points
        a_in, a_out = _arm(a[: i0 + 1]), _arm(a[i1:][::-1])
        b_in, b_out = _arm(c[: j0 + 1]), _arm(c[j1:][::-1])
        kept = _bending(*a_in, a_out[0], -a_out[1]) + _bending(*b_in, b_out[0], -b_out[1])
        crossed = _bending(*a_in, b_out[0], -b_out[1]) + _bending(*b_in, a_out[0], -a_out[1])
        if crossed < SWAP_FACTOR * kept - SWAP_MARGIN:
            return (
                _spliced(first, slice(0, i0 + 1), other, slice(j1, None)),
                _spliced(other, slice(0, j0 + 1), first, slice(i1, None)),
            )
    return None


def _spliced(head: Fragment, head_part: slice, tail: Fragment, tail_part: slice) -> Fragment:
    """Part of one fragment, a bridge, part of another; the bridge runs over ridges that both have seen."""
    p, u = _arm(head.points[head_part])
    q, v = _arm(tail.points[tail_part][::-1])
    between = _bridge(p, u, q, -v)
    level = 0.5 * (head.strength[head_part][-1] + tail.strength[tail_part][0])
    return Fragment(
        points=np.concatenate([head.points[head_part], between, tail.points[tail_part]]),
        strength=np.concatenate([head.strength[head_part], np.full(len(between), level), tail.strength[tail_part]]),
        bridged=np.concatenate([head.bridged[head_part], np.zeros(len(between), bool), tail.bridged[tail_part]]),
    )


@numba.njit(cache=True, error_model="numpy")
def _common_stretches(a: np.ndarray, b: np.ndarray, reach: float, least_cosine: float) -> list:
    """Stretches (first, last vertex of a, first, last of b, same way) where b runs along a within `reach`."""
    partner = np.full(len(a), -1)
    way = np.zeros(len(a))
    for i in range(len(a)):
        best = reach * reach
        for j in range(len(b)):
            square = (a[i, 0] - b[j, 0]) ** 2 + (a[i, 1] - b[j, 1]) ** 2
            if square < best:
                best = square
                partner[i] = j
        if partner[i] >= 0:
            j = partner[i]
            i0, i1 = max(0, i - 3), min(len(a) - 1, i + 3)
            j0, j1 = max(0, j - 3), min(len(b) - 1, j + 3)
            ux, uy = a[i1, 0] - a[i0, 0], a[i1, 1] - a[i0, 1]
            vx, vy = b[j1, 0] - b[j0, 0], b[j1, 1] - b[j0, 1]
            way[i] = (ux * vx + uy * vy) / max(1e-9, np.hypot(ux, uy) * np.hypot(vx, vy))
            if abs(way[i]) < least_cosine:
                partner[i] = -1
    stretches = []
    start = -1
    last = -1
    for i in range(len(a) + 1):
        near = i < len(a) and partner[i] >= 0
        if near:
            if start < 0:
                start = i
            last = i
        elif start >= 0 and (i == len(a) or i - last > 4):
            j_first, j_last = partner[start], partner[last]
            same_way = way[(start + last) // 2] >= 0 if j_first == j_last else j_last > j_first
            stretches.append((start, last, min(j_first, j_last), max(j_first, j_last), same_way))
            start = -1
    return stretches


def _without_duplicates(fragments: list[Fragment]) -> list[Fragment]:
    """Drop a fragment nearly all of which runs along a longer one, within one map pixel."""
    kept: list[Fragment] = []
    for fragment in sorted(fragments, key=lambda f: -len(f.points)):
        for other in kept:
            stretches = _common_stretches(fragment.points, other.points, 1.3, 0.87)
            if sum(last - first + 1 for first, last, _, _, _ in stretches) > 0.7 * len(fragment.points):
                break
        else:
            kept.append(fragment)
    return kept


# --- bridging ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _End:
    fragment: int
    last: bool
    position: np.ndarray
    heading: np.ndarray
    is_end: float


def bridged(fragments: list[Fragment], maps: Maps, volume: np.ndarray, settings: TraceSettings) -> list[Fragment]:
    """Join ends that continue each other, best first, each end at most once."""
    ends = []
    for n, fragment in enumerate(fragments):
        if not fragment.closed:
            for last in (False, True):
                points = fragment.points if last else fragment.points[::-1]
                position, heading = _arm(points)
                ends.append(_End(n, last, position, heading, _value(maps.ends, position)))
    offers = []
    reach = settings.bridge_px / maps.stride
    near = cKDTree([e.position for e in ends]).query_pairs(reach) if len(ends) > 1 else ()
    for j, i in sorted(near):
        cost = _bridge_cost(ends[i], ends[j], fragments, volume, reach)
        if cost < 1.0:
            offers.append((cost, j, i))
    partner: dict[int, int] = {}
    for _, i, j in sorted(offers):
        if i not in partner and j not in partner:
            partner[i], partner[j] = j, i
    return _chained(fragments, ends, partner, volume)


def _value(plane: np.ndarray, position: np.ndarray) -> float:
    j = int(np.clip(round(position[1]), 0, plane.shape[0] - 1))
    i = int(np.clip(round(position[0]), 0, plane.shape[1] - 1))
    return float(plane[j, i])


def _bridge_cost(a: _End, b: _End, fragments: list[Fragment], volume: np.ndarray, reach: float) -> float:
    """What joining two ends costs; below 1 they may be joined.

    Unsupported length, bending and what the maps say of ends add up. An end that the maps call an end joins only
    straight and near.
    """
    chord = b.position - a.position
    gap = float(np.hypot(*chord))
    if gap > reach or (a.fragment == b.fragment and len(fragments[a.fragment].points) < 20):
        return np.inf
    if a.heading @ b.heading > -0.5:
        return np.inf
    if gap < 1.5:
        turn = abs(_signed_angle(a.heading, -b.heading))
        return (turn / 0.9) ** 2
    if a.heading @ chord < 0.7 * gap or b.heading @ chord > -0.7 * gap:
        return np.inf
    bend = _bending(a.position, a.heading, b.position, -b.heading)
    path = _bridge(a.position, a.heading, b.position, -b.heading)
    support = float(np.mean(_strengths(volume, np.concatenate([[a.position], path, [b.position]]))[1:-1]))
    missing = gap * max(0.0, 1.0 - support / FULL_SUPPORT)
    return missing / reach + bend / BEND_SCALE + END_COST * max(a.is_end, b.is_end) * min(1.0, gap / 4.0)


def _strengths(volume: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Strength of the ridge along a path (V, 2), in the path's own direction."""
    i = np.arange(len(path))
    delta = path[np.minimum(i + 1, len(path) - 1)] - path[np.maximum(i - 1, 0)]
    return _strengths_at(volume, path, np.arctan2(delta[:, 1], delta[:, 0]))


@numba.njit(cache=True, error_model="numpy")
def _strengths_at(volume: np.ndarray, path: np.ndarray, headings: np.ndarray) -> np.ndarray:
    out = np.empty(len(path))
    for i in range(len(path)):
        out[i] = strength_at(volume, path[i, 0], path[i, 1], headings[i])
    return out


def _chained(fragments: list[Fragment], ends: list[_End], partner: dict[int, int], volume: np.ndarray) -> list[Fragment]:
    """Walk from fragment to fragment over the joined ends."""
    index = {(e.fragment, e.last): n for n, e in enumerate(ends)}
    used: set[int] = set()
    lines = []
    # Chains start at a free end; what is left after those are rings.
    starts = [(n, last) for n, f in enumerate(fragments) for last in (False, True) if not f.closed and index[n, last] not in partner]
    starts += [(n, False) for n in range(len(fragments))]
    for n, last in starts:
        if n in used:
            continue
        used.add(n)
        line = fragments[n]
        if line.closed:
            lines.append(line)
            continue
        # Walk away from the start: the far end of the current fragment is the one that may be joined.
        if last:
            line = line.reversed()
        here = index[n, not last]
        closed = False
        while here in partner:
            there = ends[partner[here]]
            if there.fragment in used:
                closed = there.fragment == n
                break
            used.add(there.fragment)
            follower = fragments[there.fragment] if not there.last else fragments[there.fragment].reversed()
            line = _joined(line, follower, volume)
            here = index[there.fragment, not there.last]
        if closed:
            line = _closed(line, volume)
        lines.append(line)
    return lines


def _joined(head: Fragment, tail: Fragment, volume: np.ndarray) -> Fragment:
    p, u = _arm(head.points)
    q, v = _arm(tail.points[::-1])
    if np.hypot(*(q - p)) < 1.5:
        between = np.zeros((0, 2))
        strength = np.zeros(0)
    else:
        between = _bridge(p, u, q, -v)
        strength = _strengths(volume, np.concatenate([[p], between, [q]]))[1:-1]
    return Fragment(
        points=np.concatenate([head.points, between, tail.points]),
        strength=np.concatenate([head.strength, strength, tail.strength]),
        bridged=np.concatenate([head.bridged, np.ones(len(between), dtype=bool), tail.bridged]),
    )


def _closed(line: Fragment, volume: np.ndarray) -> Fragment:
    p, u = _arm(line.points)
    q, v = _arm(line.points[::-1])
    between = _bridge(p, u, q, -v) if np.hypot(*(q - p)) >= 1.5 else np.zeros((0, 2))
    return Fragment(
        points=np.concatenate([line.points, between]),
        strength=np.concatenate([line.strength, _strengths(volume, between) if len(between) else np.zeros(0)]),
        bridged=np.concatenate([line.bridged, np.ones(len(between), dtype=bool)]),
        closed=True,
    )


# --- finishing ---------------------------------------------------------------------------------------------------


def finished_lines(fragments: list[Fragment], maps: Maps, settings: TraceSettings) -> tuple[TracedLine, ...]:
    """Lines in image pixels: ends cut back, smoothed, with widths, confidence and flags; longest first."""
    stride = maps.stride
    shape = (maps.shape[0] * stride, maps.shape[1] * stride)
    lines = []
    for fragment in fragments:
        points, strength, gaps = _trimmed(fragment, maps)
        if len(points) < 3:
            continue
        points_px = points * stride + 0.5 * (stride - 1)
        if fragment.closed:
            points_px = np.concatenate([points_px, points_px[:1]])
        confidence = float(np.mean(strength))
        pieces = clip_to_frame(smooth(points_px, settings.wavelength_px), shape)
        for piece in pieces:
            length = length_px(piece)
            if length < settings.shortest_px or confidence < settings.lowest_confidence:
                continue
            flags = []
            if is_closed(piece):
                flags.append("loop")
            if touches_frame(piece, shape):
                flags.append("touches_frame")
            if gaps.any():
                flags.append("bridged_gap")
            lines.append(
                TracedLine(
                    points_px=piece,
                    half_width_px=_half_widths(piece, maps),
                    confidence=min(1.0, confidence),
                    flags=tuple(flags),
                )
            )
    lines.sort(key=lambda line: -line.length_px)
    return _with_crossing_flags(lines)


def _trimmed(fragment: Fragment, maps: Maps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, strength and bridged flags between the true ends: a ridge's round cap reaches beyond its line."""
    points, strength = fragment.points, fragment.strength
    start, stop = 0, len(points)
    if not fragment.closed:
        rows, columns = maps.shape
        half = 0.5 * np.median(strength)
        cut = END_OVERSHOOT_PX / maps.stride
        inside = (points[:, 0] > 2) & (points[:, 1] > 2) & (points[:, 0] < columns - 3) & (points[:, 1] < rows - 3)
        if inside[0]:
            while start < stop - 3 and strength[start] < half:
                start += 1
            start += int(round(cut))
        if inside[-1]:
            while stop > start + 3 and strength[stop - 1] < half:
                stop -= 1
            stop -= int(round(cut))
    return points[start:stop], strength[start:stop], fragment.bridged[start:stop]


def _half_widths(points_px: np.ndarray, maps: Maps) -> np.ndarray:
    """Half-width (V,) in px along a curve: the map's values on it, a running median over 9 vertices, at least 1."""
    where = np.rint((points_px - 0.5 * (maps.stride - 1)) / maps.stride).astype(int)
    i = np.clip(where[:, 0], 0, maps.shape[1] - 1)
    j = np.clip(where[:, 1], 0, maps.shape[0] - 1)
    values = np.asarray(maps.half_width_px, dtype=np.float64)[j, i]
    known = values > 0
    if not known.any():
        return np.ones(len(points_px))
    values = np.interp(np.arange(len(values)), np.flatnonzero(known), values[known])
    padded = np.pad(values, 4, mode="edge")
    return np.maximum(1.0, np.median(np.lib.stride_tricks.sliding_window_view(padded, 9), axis=1))


def _with_crossing_flags(lines: list[TracedLine]) -> tuple[TracedLine, ...]:
    """Flag lines that cross under 22 degrees, where no decoder can tell crossing from touching."""
    shallow = set()
    for crossing in find_crossings([line.points_px for line in lines]):
        if crossing.angle_deg < 22:
            shallow |= {crossing.first, crossing.second}
    return tuple(
        TracedLine(
            points_px=line.points_px,
            half_width_px=line.half_width_px,
            confidence=line.confidence,
            flags=(*line.flags, "crossing_below_22_deg") if n in shallow else line.flags,
        )
        for n, line in enumerate(lines)
    )
