"""Tracing lines as trajectories (x, y, theta) through the orientation-lifted maps.

Where two lines cross, their images touch but their trajectories do not: a trace that has a heading goes straight on.
Seeds are local maxima of the lifted volume; from each a trace runs both ways along the ridge, predicting the next
state from heading and curvature and correcting it by what the volume shows near that prediction (an alpha-beta
filter, Kalata 1984). What has been traced is occupied and seeds no other trace; a trace that runs along an occupied
stretch may do so for as long as a crossing at a moderate angle lasts, and is cut back if it has not come free by
then. `train.link` joins what is still in pieces.

Axes: K orientation bins, (Yh, Xh) rows and columns of the maps, V vertices of one fragment, S seeds.
Inside this module lengths are map pixels (`stride` image pixels), orientations bins of pi / K, headings radians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numba
import numpy as np

from physics.errors import require
from train.curves import TracedLine
from train.targets import Maps

if TYPE_CHECKING:
    from train.linker import Linker


@dataclass(frozen=True, kw_only=True)
class TraceSettings:
    """How lines are traced and joined; lengths in image pixels.

    `seed_level` and `follow_level` are the strengths, in [0, 1], from which a ridge seeds a trace and keeps it going.
    A trace coasts through `coast_px` of weaker ridge, and runs along an occupied stretch for `overlap_px`.
    Fragments under `shortest_fragment_px` are dropped before joining, lines under `shortest_px` after it; so are
    lines of a mean ridge strength below `lowest_strength` or of a confidence below `lowest_confidence`. Gaps up to
    `bridge_px` can be bridged. `wavelength_px` is what the final smoothing takes for a wiggle.
    `heading_gain`, `curvature_gain` and `side_gain` are how much of an innovation corrects a predicted state; where
    the orientations are spread as only lines that meet spread them, headings are trusted by `ambiguous_trust`.

    The values are the best of a random search for instance F1 on the maps of the shipped network, of 72 rendered frames
    that it had not seen; on 60 others they gain 0.03. Perfect maps would bear trusting headings more (0.76 against 0.72).
    """

    seed_level: float = 0.37
    follow_level: float = 0.32
    coast_px: float = 2.6
    overlap_px: float = 23.5
    shortest_fragment_px: float = 8.0
    shortest_px: float = 18.0
    lowest_strength: float = 0.3
    lowest_confidence: float = 0.05
    bridge_px: float = 44.0
    wavelength_px: float = 13.8
    heading_gain: float = 0.46
    curvature_gain: float = 0.39
    side_gain: float = 0.41
    ambiguous_trust: float = 0.33

    def __post_init__(self) -> None:
        for name in ("seed_level", "follow_level", "lowest_strength", "lowest_confidence"):
            value = getattr(self, name)
            require(0 <= value <= 1, name, "lie in [0, 1]", value)
        for name in ("coast_px", "overlap_px", "shortest_fragment_px", "shortest_px", "bridge_px", "wavelength_px"):
            value = getattr(self, name)
            require(value > 0, name, "be > 0", value)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fragment:
    """One trace: `points` (V, 2) in map pixels about 1 apart, `strength` (V,) of its ridge in [0, 1].

    `bridged` (V,) is True where vertices were laid across a gap. `closed` fragments end next to where they start.
    `link_odds` are the log odds of the least certain joint in it, 9 where there is none.
    """

    points: np.ndarray
    strength: np.ndarray
    bridged: np.ndarray
    closed: bool = False
    link_odds: float = 9.0

    def reversed(self) -> Fragment:
        return replace(self, points=self.points[::-1], strength=self.strength[::-1], bridged=self.bridged[::-1])


def concatenated(fragments: Sequence[Fragment]) -> Fragment:
    """One open fragment from several, in their order."""
    return Fragment(
        points=np.concatenate([f.points for f in fragments]),
        strength=np.concatenate([f.strength for f in fragments]),
        bridged=np.concatenate([f.bridged for f in fragments]),
        link_odds=min(f.link_odds for f in fragments),
    )


def trace_lines(
    maps: Maps, settings: TraceSettings | None = None, linker: Linker | None = None
) -> tuple[TracedLine, ...]:
    """The lines drawn in `maps`, in image pixel coordinates, longest first; the linker is the shipped one by default.

    Works on the maps of the whole image, so that no line is cut where tiles meet.
    """
    from train.link import finished_lines, joined
    from train.linker import shipped_linker

    settings = settings or TraceSettings()
    linker = linker or shipped_linker()
    volume = lifted_volume(maps)
    fragments = trace_fragments(maps, settings, volume)
    return finished_lines(joined(fragments, maps, volume, settings, linker), maps, settings, linker)


def lifted_volume(maps: Maps) -> np.ndarray:
    """The lift as (Yh, Xh, K) float32, in memory in that order: a trace looks at all orientations of few pixels."""
    return np.ascontiguousarray(np.moveaxis(np.asarray(maps.lift, dtype=np.float32), 0, 2))


def trace_fragments(maps: Maps, settings: TraceSettings, volume: np.ndarray | None = None) -> list[Fragment]:
    """Trajectories along the ridges of the lifted volume, before any joining."""
    volume = lifted_volume(maps) if volume is None else volume
    seeds = _seeds(volume, settings.seed_level)
    spread = _typical_spread(volume, seeds)
    points, strength, offsets, closed = _trace_all(
        volume, np.ascontiguousarray(maps.ends, dtype=np.float32), seeds, settings.follow_level, settings.coast_px / maps.stride, settings.overlap_px / maps.stride,
        settings.shortest_fragment_px / maps.stride,
        np.array([settings.heading_gain, settings.curvature_gain, settings.side_gain, settings.ambiguous_trust, spread]),
    )  # fmt: skip
    return [
        Fragment(points=points[i:j], strength=strength[i:j], bridged=np.zeros(j - i, dtype=bool), closed=bool(c))
        for i, j, c in zip(offsets[:-1], offsets[1:], closed)
    ]


def _seeds(volume: np.ndarray, level: float) -> np.ndarray:
    """Local maxima (S, 3) of the volume as (row, column, bin), clearest first.

    A maximum in whose pixel another direction is strong too lies in a crossing: it seeds late.
    """
    seeds, clarity = _local_maxima(volume, level)
    return seeds[np.argsort(-clarity, kind="stable")]


@numba.njit(cache=True, error_model="numpy")
def _local_maxima(volume: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    rows, columns, bins = volume.shape
    seeds = np.empty((volume.size // 8 + 1, 3), dtype=np.int64)
    clarity = np.empty(len(seeds))
    count = 0
    for j in range(rows):
        for i in range(columns):
            for k in range(bins):
                value = volume[j, i, k]
                if value < level:
                    continue
                peak = value >= volume[j, i, (k + 1) % bins] and value >= volume[j, i, (k - 1) % bins]
                # Across the ridge is enough: along it the volume is a plateau.
                theta = np.pi * k / bins
                dj, di = int(np.round(np.cos(theta))), int(np.round(-np.sin(theta)))
                for side in (-1, 1):
                    jj, ii = j + side * dj, i + side * di
                    if peak and 0 <= jj < rows and 0 <= ii < columns:
                        peak = value >= volume[jj, ii, k]
                if not peak or count >= len(seeds):
                    continue
                other = 0.0
                for q in range(2, bins - 1):
                    other = max(other, volume[j, i, (k + q) % bins])
                seeds[count, 0], seeds[count, 1], seeds[count, 2] = j, i, k
                clarity[count] = value - 0.5 * other
                count += 1
    return seeds[:count], clarity[:count]


@numba.njit(cache=True, error_model="numpy")
def _bin_values(volume: np.ndarray, x: float, y: float, out: np.ndarray) -> None:
    """All orientations at (x, y), bilinear, the border repeated outside."""
    rows, columns, bins = volume.shape
    i, j, i1, j1, fx, fy = _cell(rows, columns, x, y)
    for k in range(bins):
        out[k] = _bilinear(volume, i, j, i1, j1, fx, fy, k)


@numba.njit(cache=True, error_model="numpy")
def _cell(rows: int, columns: int, x: float, y: float) -> tuple[int, int, int, int, float, float]:
    """Columns and rows of the four pixels about (x, y), and how far it is from the first to the last."""
    x = min(max(x, 0.0), columns - 1.0)
    y = min(max(y, 0.0), rows - 1.0)
    i, j = int(x), int(y)
    return i, j, min(i + 1, columns - 1), min(j + 1, rows - 1), x - i, y - j


@numba.njit(cache=True, error_model="numpy")
def _bilinear(volume: np.ndarray, i: int, j: int, i1: int, j1: int, fx: float, fy: float, k: int) -> float:
    top = volume[j, i, k] + fx * (volume[j, i1, k] - volume[j, i, k])
    low = volume[j1, i, k] + fx * (volume[j1, i1, k] - volume[j1, i, k])
    return top + fy * (low - top)


@numba.njit(cache=True, error_model="numpy")
def _planar_value(plane: np.ndarray, x: float, y: float) -> float:
    rows, columns = plane.shape
    return plane[min(max(int(np.round(y)), 0), rows - 1), min(max(int(np.round(x)), 0), columns - 1)]


@numba.njit(cache=True, error_model="numpy")
def _orientation_near(values: np.ndarray, expected: float) -> tuple[float, float]:
    """Mean-shift (Cheng 1995) from an expected bin to the mode near it, and the strength there.

    The strength is the sum over the triangle's support divided by what a full ridge gives, at most 1.
    """
    bins = len(values)
    mode = expected
    for _ in range(2):
        weight = 0.0
        moment = 0.0
        for q in range(-2, 4):
            k = int(np.floor(mode)) + q
            offset = k - mode
            w = values[k % bins] * np.exp(-0.5 * offset * offset)
            weight += w
            moment += w * offset
        if weight > 1e-6:
            mode += moment / weight
    mode = min(max(mode, expected - 1.5), expected + 1.5)
    strength = 0.0
    for q in range(-1, 3):
        k = int(np.floor(mode)) + q
        strength += values[k % bins] * max(0.0, 1.0 - abs(k - mode) / 1.5)
    # A unit triangle of half-base 1.4 bins, weighted like this, sums to 1.19 at a bin and 0.86 between two.
    return mode, min(1.0, strength)


@numba.njit(cache=True, error_model="numpy")
def _spread(values: np.ndarray, position: float) -> float:
    """Variance in bins^2 of what the volume shows within 3 bins of a direction: more than usual where lines meet."""
    bins = len(values)
    weight = 1e-6
    first = 0.0
    second = 0.0
    for q in range(-2, 4):
        k = int(np.floor(position)) + q
        offset = k - position
        if abs(offset) <= 3.0:
            w = values[k % bins]
            weight += w
            first += w * offset
            second += w * offset * offset
    mean = first / weight
    return second / weight - mean * mean


@numba.njit(cache=True, error_model="numpy")
def _typical_spread(volume: np.ndarray, seeds: np.ndarray) -> float:
    """Median spread at the clearest third of the seeds: that of a single line in these maps."""
    count = max(1, len(seeds) // 3)
    spreads = np.full(count, 0.5)
    for s in range(min(count, len(seeds))):
        spreads[s] = _spread(volume[seeds[s, 0], seeds[s, 1]], float(seeds[s, 2]))
    return max(0.2, np.median(spreads))


@numba.njit(cache=True, error_model="numpy")
def strength_at(volume: np.ndarray, x: float, y: float, heading: float) -> float:
    """Strength in [0, 1] of the ridge through (x, y) in a direction, at just that state."""
    return min(1.0, _triangle(volume, x, y, heading * volume.shape[2] / np.pi, 1.5))


@numba.njit(cache=True, error_model="numpy")
def _triangle(volume: np.ndarray, x: float, y: float, position: float, reach: float) -> float:
    """Sum over the orientations within `reach` < 2 bins of a direction at (x, y), weighted by a triangle."""
    rows, columns, bins = volume.shape
    i, j, i1, j1, fx, fy = _cell(rows, columns, x, y)
    total = 0.0
    for q in range(-1, 3):
        k = int(np.floor(position)) + q
        total += _bilinear(volume, i, j, i1, j1, fx, fy, k % bins) * max(0.0, 1.0 - abs(k - position) / reach)
    return total


@numba.njit(cache=True, error_model="numpy")
def _side_step(volume: np.ndarray, x: float, y: float, heading: float) -> float:
    """How far the ridge lies to the left of the heading, within 1.5 map pixels: mean shift of the squared profile."""
    bins = volume.shape[2]
    position = heading * bins / np.pi
    nx, ny = -np.sin(heading), np.cos(heading)
    weight = 1e-6
    moment = 0.0
    for n in range(-3, 4):
        offset = 0.5 * n
        value = _triangle(volume, x + offset * nx, y + offset * ny, position, 1.8)
        w = value * value * np.exp(-0.5 * (offset / 0.8) ** 2)
        weight += w
        moment += w * offset
    return moment / weight


@numba.njit(cache=True, error_model="numpy")
def _occupant(occupied: np.ndarray, x: float, y: float, heading: float) -> int:
    rows, columns, bins = occupied.shape
    i = min(max(int(np.round(x)), 0), columns - 1)
    j = min(max(int(np.round(y)), 0), rows - 1)
    k = int(np.round(heading * bins / np.pi)) % bins
    return occupied[j, i, k]


@numba.njit(cache=True, error_model="numpy")
def _occupy(occupied: np.ndarray, x: float, y: float, heading: float, name: int) -> None:
    """Claim the states within 1.3 map pixels and 1.5 bins."""
    rows, columns, bins = occupied.shape
    position = heading * bins / np.pi
    for j in range(max(0, int(np.ceil(y - 1.3))), min(rows - 1, int(np.floor(y + 1.3))) + 1):
        for i in range(max(0, int(np.ceil(x - 1.3))), min(columns - 1, int(np.floor(x + 1.3))) + 1):
            if (i - x) ** 2 + (j - y) ** 2 > 1.69:
                continue
            for k in range(int(np.ceil(position - 1.5)), int(np.floor(position + 1.5)) + 1):
                if occupied[j, i, k % bins] == 0:
                    occupied[j, i, k % bins] = name


@numba.njit(cache=True, error_model="numpy")
def _follow(volume, ends, occupied, name, x, y, heading, curvature, level, coast, overlap, gains, own_free, track, scratch):
    """Run one way from a state into `track` (V, 5: x, y, heading, curvature, strength).

    `own_free` vertices at the start may lie on the trace's own states (its other half starts there). Returns the
    number of vertices kept, and whether the trace came back to where it began.
    """
    rows, columns, bins = volume.shape
    x0, y0, heading0 = x, y, heading
    count = 0
    weak = 0  # vertices since the ridge was last seen
    shared = 0  # vertices since the trace was last alone for three in a row
    lone = 0
    while count < len(track):
        x1 = x + np.cos(heading + 0.5 * curvature)
        y1 = y + np.sin(heading + 0.5 * curvature)
        heading1 = heading + curvature
        if x1 < -0.75 or y1 < -0.75 or x1 > columns - 0.25 or y1 > rows - 0.25:
            break
        other = _occupant(occupied, x1, y1, heading1)
        alone = other == 0 or (other == name and count < own_free)
        _bin_values(volume, x1, y1, scratch)
        strength0 = _orientation_near(scratch, heading1 * bins / np.pi)[1]
        trust = min(1.0, strength0 / 0.5)
        if strength0 >= 0.5 * level:
            step = min(0.6, max(-0.6, _side_step(volume, x1, y1, heading1))) * min(1.0, trust * gains[2])
            x1 -= step * np.sin(heading1)
            y1 += step * np.cos(heading1)
        _bin_values(volume, x1, y1, scratch)
        mode, strength = _orientation_near(scratch, heading1 * bins / np.pi)
        innovation = mode * np.pi / bins - heading1
        excess = _spread(scratch, heading1 * bins / np.pi) / gains[4] - 1.4
        trust *= 1.0 - (1.0 - gains[3]) * min(1.0, max(0.0, excess / 0.6))
        if strength >= level:
            heading1 += gains[0] * trust * innovation
            curvature = 0.97 * curvature + gains[1] * trust * innovation
            curvature = min(0.35, max(-0.35, curvature))
            weak = 0
        else:
            weak += 1
            curvature *= 0.9
        track[count, 0], track[count, 1], track[count, 2], track[count, 3], track[count, 4] = (
            x1, y1, heading1, curvature, strength,
        )  # fmt: skip
        count += 1
        lone = lone + 1 if alone else 0
        shared = 0 if lone >= 3 or (alone and shared == 0) else shared + 1
        if count > 12 and np.hypot(x1 - x0, y1 - y0) < 1.5 and np.cos(heading1 - heading0) > 0.8:
            return count, True
        # Where the maps say that a line ends there is less to coast for.
        reach = coast * (1.0 - _planar_value(ends, x1, y1)) if weak > 0 else coast
        if weak > reach or shared > (6.0 if other == name else overlap):
            break
        if count > 8:
            _occupy(occupied, track[count - 9, 0], track[count - 9, 1], track[count - 9, 2], name)
        x, y, heading = x1, y1, heading1
    return max(0, count - max(weak, shared)), False


@numba.njit(cache=True, error_model="numpy")
def _trace_all(volume, ends, seeds, level, coast, overlap, shortest, gains):
    rows, columns, bins = volume.shape
    occupied = np.zeros((rows, columns, bins), dtype=np.int32)
    longest = 4 * (rows + columns)
    ahead = np.empty((longest, 5))
    behind = np.empty((longest, 5))
    scratch = np.empty(bins)
    capacity = 4096
    points = np.empty((capacity, 2))
    strengths = np.empty(capacity)
    offsets = [0]
    closed = [False]
    used = 0
    name = 0
    for s in range(len(seeds)):
        j, i, k = seeds[s]
        if occupied[j, i, k] != 0:
            continue
        name += 1
        heading = np.pi * k / bins
        x, y = float(i), float(j)
        for _ in range(3):
            _bin_values(volume, x, y, scratch)
            mode = _orientation_near(scratch, heading * bins / np.pi)[0]
            heading += 0.7 * (mode * np.pi / bins - heading)
            step = min(0.5, max(-0.5, _side_step(volume, x, y, heading)))
            x -= step * np.sin(heading)
            y += step * np.cos(heading)
        _bin_values(volume, x, y, scratch)
        start_strength = _orientation_near(scratch, heading * bins / np.pi)[1]
        if _occupant(occupied, x, y, heading) != 0:
            continue
        n, loop = _follow(volume, ends, occupied, name, x, y, heading, 0.0, level, coast, overlap, gains, 10, ahead, scratch)
        m = 0
        if not loop:
            curvature = -ahead[min(4, n - 1), 3] if n > 0 else 0.0
            m, _ = _follow(
                volume, ends, occupied, name, x, y, heading + np.pi, curvature, level, coast, overlap, gains, 10, behind, scratch
            )
        for v in range(n):
            _occupy(occupied, ahead[v, 0], ahead[v, 1], ahead[v, 2], name)
        for v in range(m):
            _occupy(occupied, behind[v, 0], behind[v, 1], behind[v, 2], name)
        _occupy(occupied, x, y, heading, name)
        total = n + m + 1
        if total < shortest:
            continue
        while used + total > capacity:
            capacity *= 2
            more = np.empty((capacity, 2))
            more[:used] = points[:used]
            points = more
            more_strengths = np.empty(capacity)
            more_strengths[:used] = strengths[:used]
            strengths = more_strengths
        for v in range(m):
            points[used + v, 0], points[used + v, 1] = behind[m - 1 - v, 0], behind[m - 1 - v, 1]
            strengths[used + v] = behind[m - 1 - v, 4]
        points[used + m, 0], points[used + m, 1] = x, y
        strengths[used + m] = start_strength
        for v in range(n):
            points[used + m + 1 + v, 0], points[used + m + 1 + v, 1] = ahead[v, 0], ahead[v, 1]
            strengths[used + m + 1 + v] = ahead[v, 4]
        used += total
        offsets.append(used)
        closed.append(loop)
    return points[:used], strengths[:used], np.array(offsets), np.array(closed[1:])
