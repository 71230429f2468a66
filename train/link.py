"""From fragments to lines: cutting where it is open how a trace goes on, joining strands, finishing.

*Joining*: `train.strands` cuts, `train.joints` lists and describes what may belong together, `train.linker` gives the
odds, and the matching of greatest total log odds is taken. *Finishing*: duplicates go, true ends are cut back to where
the ridge falls to half, the curve is smoothed, widths and confidence are read off the maps.

Axes: V vertices. Lengths are map pixels except in TracedLine; headings in radians, y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import median_filter
from scipy.spatial import cKDTree

from train.calibration import LINE_FEATURES, confidence_of, deviation_px
from train.curves import (
    TracedLine,
    clip_to_frame,
    find_crossings,
    is_closed,
    length_px,
    touches_frame,
)
from train.joints import Joints, arm, candidates, chosen, distractor_map, hermite, strengths_at
from train.linker import Linker
from train.spline import smoothing_spline
from train.strands import Strand, cut_into_strands, near_pairs, nearest_pixels, without_duplicates
from train.targets import Maps
from train.trace import Fragment, TraceSettings, concatenated

END_OVERSHOOT_PX = 2.1  # where the round cap of a ridge of sigma 1.8 px falls to half: 1.18 sigma
AMBIGUOUS = "ambiguous_crossing"


def joined(
    fragments: list[Fragment], maps: Maps, volume: np.ndarray, settings: TraceSettings, linker: Linker
) -> list[Fragment]:
    """Fragments cut where it is open how they go on, and joined as the linker finds most likely on the whole."""
    strands, joints = joints_of(fragments, maps, volume, settings)
    log_odds = linker.log_odds(joints.features)
    partner = chosen(joints, log_odds)
    odds = {
        tuple(sorted(pair)): value
        for *pair, value in zip(
            joints.ends.number[joints.first].tolist(), joints.ends.number[joints.second].tolist(), log_odds.tolist()
        )
    }
    return without_duplicates(_chained(strands, partner, odds, volume))


def joints_of(
    fragments: list[Fragment], maps: Maps, volume: np.ndarray, settings: TraceSettings
) -> tuple[list[Strand], Joints]:
    """The strands of the fragments and the joints that may be made between them."""
    strands = cut_into_strands(without_duplicates(fragments), maps)
    return strands, candidates(strands, maps, volume, settings.bridge_px / maps.stride)


def _chained(
    strands: list[Strand], partner: dict[int, int], odds: dict[tuple[int, int], float], volume: np.ndarray
) -> list[Fragment]:
    """Walk from strand to strand over the joined ends; what is left when all free ends are used up are rings."""
    used: set[int] = set()
    lines = []
    free = [end for n in range(len(strands)) for end in (2 * n, 2 * n + 1) if end not in partner]
    for start in [*free, *range(0, 2 * len(strands), 2)]:
        if start // 2 in used:
            continue
        used.add(start // 2)
        if strands[start // 2].fragment.closed:
            lines.append(strands[start // 2].fragment)
            continue
        # A ring starts at a joined end.
        parts = [_walked(strands, start)] if start in partner else [_beyond(strands, start).reversed(), _walked(strands, start)]
        crossed: list[float] = []
        closed = False
        here = start ^ 1
        while here in partner:
            there = partner[here]
            crossed.append(odds[min(here, there), max(here, there)])
            if there // 2 in used:
                if there == start:
                    parts.append(_between(strands, here, there, volume))
                    closed = True
                break
            used.add(there // 2)
            parts += [_between(strands, here, there, volume), _walked(strands, there)]
            here = there ^ 1
        else:
            parts.append(_beyond(strands, here))
        line = concatenated(parts)
        lines.append(replace(line, link_odds=min([line.link_odds, *crossed]), closed=closed))
    return lines


def _beyond(strands: list[Strand], end: int) -> Fragment:
    """What the trace showed beyond a free end, walking outward."""
    strand = strands[end // 2]
    part = strand.tail if end % 2 else strand.head
    if part is None:
        return Fragment(points=np.zeros((0, 2)), strength=np.zeros(0), bridged=np.zeros(0, dtype=bool))
    return part if end % 2 else part.reversed()


def _walked(strands: list[Strand], start: int) -> Fragment:
    """A strand as walked from one of its ends."""
    fragment = strands[start // 2].fragment
    return fragment.reversed() if start % 2 else fragment


def _between(strands: list[Strand], here: int, there: int, volume: np.ndarray) -> Fragment:
    """What lies between two joined ends: the trace that ran there, or a bridge."""
    for a, b, backward in ((here, there, False), (there, here, True)):
        strand = strands[a // 2]
        if a % 2 and strand.kept == b and strand.between is not None:
            return strand.between.reversed() if backward else strand.between
    p, u, _ = arm(_walked(strands, here ^ 1).points)
    q, v, _ = arm(_walked(strands, there ^ 1).points)
    gap = float(np.hypot(*(q - p)))
    if gap < 1.5:
        return Fragment(points=np.zeros((0, 2)), strength=np.zeros(0), bridged=np.zeros(0, dtype=bool))
    count = max(1, int(round(gap)) - 1)
    path = hermite(p[None], u[None], q[None], -v[None], np.arange(count + 2) / (count + 1))[0]
    delta = np.gradient(path, axis=0)
    strength = strengths_at(volume, path, np.arctan2(delta[:, 1], delta[:, 0]))
    return Fragment(points=path[1:-1], strength=strength[1:-1], bridged=np.ones(count, dtype=bool))


def finished_lines(
    fragments: list[Fragment], maps: Maps, settings: TraceSettings, linker: Linker
) -> tuple[TracedLine, ...]:
    """Lines in image pixels: ends cut back, smoothed, with widths, deviation, confidence and flags; longest first."""
    stride = maps.stride
    shape = (maps.shape[0] * stride, maps.shape[1] * stride)
    foreign = distractor_map(maps)
    lines, lengths, features = [], [], []
    for fragment in fragments:
        points, strength, gaps = _trimmed(fragment, maps)
        if len(points) < 3 or float(np.mean(strength)) < settings.lowest_strength:
            continue
        points_px, seen = points * stride + 0.5 * (stride - 1), np.where(gaps, 0.0, 1.0)
        if fragment.closed:
            points_px, seen = np.concatenate([points_px, points_px[:1]]), np.concatenate([seen, seen[:1]])
        curve, spread = smoothing_spline(points_px, seen, settings.wavelength_px)
        for piece in clip_to_frame(curve, shape):
            length = length_px(piece)
            if length < settings.shortest_px:
                continue
            flags = []
            closed = is_closed(piece)
            if closed:
                flags.append("loop")
            if touches_frame(piece, shape):
                flags.append("touches_frame")
            if gaps.any():
                flags.append("bridged_gap")
            sigma = spread if piece is curve else spread[cKDTree(curve).query(piece)[1]]
            row, column = nearest_pixels((piece - 0.5 * (stride - 1)) / stride, maps.shape)
            half_width_px = half_widths(maps.half_width_px[row, column])
            lines.append(
                TracedLine(points_px=piece, half_width_px=half_width_px, confidence=0.0, flags=tuple(flags), sigma_px=sigma)
            )
            lengths.append(length)
            # What `train.calibration` judges a line by, as LINE_FEATURES; 0 where only the whole image tells.
            features.append((
                np.mean(strength), _low(strength), _mean_at(maps.centreline, row, column), _mean_at(maps.mask, row, column),
                _mean_at(foreign, row, column), np.log(length), np.mean(gaps), min(max(fragment.link_odds, -2.0), 6.0),
                np.median(sigma), 0.0, closed, 0.0,
            ))  # fmt: skip
    order = sorted(range(len(lines)), key=lambda n: -lengths[n])
    lines = _with_crossing_flags([lines[n] for n in order])
    table = np.array([features[n] for n in order], dtype=np.float64).reshape(-1, len(LINE_FEATURES))
    table[:, LINE_FEATURES.index("crossing_below_22_deg")] = [AMBIGUOUS in line.flags for line in lines]
    table[:, LINE_FEATURES.index("near_others")] = _near_others(lines)
    known = linker.weights.get("deviation")
    return tuple(
        replace(
            line,
            confidence=float(confidence),
            sigma_px=line.sigma_px if known is None else deviation_px(line.sigma_px, known),
            features=row,
        )
        for line, row, confidence in zip(lines, table, confidence_of(table, linker.weights))
        if confidence >= settings.lowest_confidence
    )


def _mean_at(plane: np.ndarray, row: np.ndarray, column: np.ndarray) -> float:
    return plane[row, column].mean(dtype=np.float64)


def _low(strength: np.ndarray) -> float:
    """The tenth percentile; numpy's own takes ten times as long, half of what one line does."""
    return np.interp(0.1 * (len(strength) - 1), np.arange(len(strength)), np.sort(strength))


def _near_others(lines: Sequence[TracedLine], reach_px: float = 4.0) -> np.ndarray:
    """Share (L,) of each line's vertices that have another line within `reach_px`."""
    if not lines:
        return np.zeros(0)
    owner = np.repeat(np.arange(len(lines)), [len(line.points_px) for line in lines])
    pairs = near_pairs(np.concatenate([line.points_px for line in lines]), reach_px)
    pairs = pairs[owner[pairs[:, 0]] != owner[pairs[:, 1]]]
    near = np.zeros(len(owner), dtype=bool)
    near[pairs.ravel()] = True
    return np.bincount(owner, weights=near) / np.bincount(owner)


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


def half_widths(values: np.ndarray) -> np.ndarray:
    """Half-width (V,) in px along a curve from the map's values on it: a running median over 9 vertices, at least 1."""
    known = np.flatnonzero(values > 0)
    if len(known) == 0:
        return np.ones(len(values))
    return np.maximum(1.0, median_filter(np.interp(np.arange(len(values)), known, values[known]), 9, mode="nearest"))


def _with_crossing_flags(lines: list[TracedLine]) -> list[TracedLine]:
    """Flag lines that cross under 22 degrees, where no decoder can tell crossing from touching."""
    shallow = set()
    for crossing in find_crossings([line.points_px for line in lines]):
        if crossing.angle_deg < 22:
            shallow |= {crossing.first, crossing.second}
    return [replace(line, flags=(*line.flags, AMBIGUOUS)) if n in shallow else line for n, line in enumerate(lines)]
