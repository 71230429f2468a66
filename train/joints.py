"""Joints between strands: which two ends may belong together, what the maps say of each, and the choice of all at once.

A joint is a pair of ends and the Hermite cubic between them. `joint_features` describes it by numbers that do not
depend on which end comes first; `train.linker` turns them into the odds that it is real; `chosen` takes the set of
joints of the greatest total log odds in which every end has at most one partner: a maximum-weight matching
(Edmonds 1965), which decides a crossing as a whole and not one arm at a time.

Axes: E ends, N joints, M samples along a bridge, F features. Strand n has ends 2 n (its first vertex) and 2 n + 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx
import numba
import numpy as np
from scipy.ndimage import maximum_filter

from train.strands import Strand, near_pairs, nearest_pixels
from train.targets import Maps
from train.trace import strength_at

ARM = 7  # vertices over which position and heading of an end are fitted
SAMPLES = 12  # along a bridge, ends included
LARGEST_EXACT = 60  # ends in one group for which the best matching is searched, in Python
SNAP = 1.5  # map pixels below which the direction from end to end says little
FEATURES = (
    "gap", "log_gap", "turn", "chord_angles", "worst_chord_angle", "bending", "side_offset",
    "lift_mean", "lift_least", "centreline_mean", "centreline_least", "mask_mean", "distractor_mean",
    "end_most", "end_least", "bridge_end_most", "strength_least", "strength_mismatch", "width_mismatch", "gap_in_widths",
    "traced_through", "length_least", "length_most", "curvature_mismatch", "lead_least", "lead_most",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Ends:
    """The ends (E,) of open strands: `number`, `position` (E, 2), outward unit `heading` (E, 2), `curvature`, and
    the medians of ridge `strength` and `half_width_px` over the arm, `end_value` of the maps, `length` of the strand."""

    number: np.ndarray
    position: np.ndarray
    heading: np.ndarray
    curvature: np.ndarray
    strength: np.ndarray
    half_width_px: np.ndarray
    end_value: np.ndarray
    length: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Joints:
    """Candidates: `first`, `second` (N,) rows of `ends`, `traced` (N,) where a trace ran through, `features` (N, F)."""

    ends: Ends
    first: np.ndarray
    second: np.ndarray
    traced: np.ndarray
    features: np.ndarray


def fit_matrix(n: int) -> np.ndarray:
    """(3, n): quadratic, linear and constant coefficient of n points at 1 - n ... 0; a straight line if n < ARM."""
    powers = np.vander(np.arange(1.0 - n, 1.0), 3)
    if n < ARM:
        powers[:, 0] = 0.0
    return np.linalg.pinv(powers)


_FITS = {n: fit_matrix(n) for n in range(4, ARM + 1)}


def arm(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Position, outward unit heading and curvature at the last of `points` (V, 2), by a parabola through the end."""
    position, heading, curvature = arms(points[None, -ARM:])
    return position[0], heading[0], float(curvature[0])


def arms(tails: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `arm`: positions (E, 2), headings (E, 2) and curvatures (E,) at the last of `tails` (E, n, 2), n at most ARM."""
    n = tails.shape[1]
    if n < 4:
        position, heading, bend = tails[:, -1], tails[:, -1] - tails[:, 0], np.zeros((len(tails), 2))
    else:
        # The slope is taken a vertex back from the end, where a parabola follows the noise less.
        coefficients = _FITS[n] @ tails
        position, heading, bend = coefficients[:, 2], coefficients[:, 1] - 2 * coefficients[:, 0], 2 * coefficients[:, 0]
    heading = heading / np.maximum(np.hypot(heading[:, 0], heading[:, 1]), 1e-9)[:, None]
    return position, heading, heading[:, 0] * bend[:, 1] - heading[:, 1] * bend[:, 0]


def hermite(p: np.ndarray, u: np.ndarray, q: np.ndarray, v: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Points at t in [0, 1] (M,) of the cubics that leave p (N, 2) along u and arrive at q along v: (N, M, 2)."""
    gap = np.hypot(*(q - p).T)[:, None, None]
    t = t[None, :, None]
    p, u, q, v = (a[:, None, :] for a in (p, u, q, v))
    return (2 * t**3 - 3 * t**2 + 1) * p + (t**3 - 2 * t**2 + t) * gap * u + (3 * t**2 - 2 * t**3) * q + (t**3 - t**2) * gap * v


def ends_of(strands: Sequence[Strand], maps: Maps) -> Ends:
    """Both ends of every open strand."""
    caps = maximum_filter(np.asarray(maps.ends, dtype=np.float32), 3)
    ends = [(2 * n + last, s.fragment) for n, s in enumerate(strands) if not s.fragment.closed for last in (0, 1)]
    number = np.array([n for n, _ in ends], dtype=np.int64)
    length = np.array([len(f.points) for _, f in ends], dtype=np.float64)
    position, heading = np.zeros((2, len(ends), 2))
    curvature, strength, half_width_px = np.zeros((3, len(ends)))
    # Arms of as many vertices together.
    size = np.minimum(length, ARM).astype(int)
    for n in np.unique(size).tolist():
        rows = np.flatnonzero(size == n)
        tails = np.array([f.points[-n:] if k % 2 else f.points[n - 1 :: -1] for k, f in (ends[row] for row in rows)])
        near = np.array([f.strength[-n:] if k % 2 else f.strength[:n] for k, f in (ends[row] for row in rows)])
        position[rows], heading[rows], curvature[rows] = arms(tails)
        strength[rows] = np.median(near, axis=1)
        widths = planar_values(np.asarray(maps.half_width_px), tails.reshape(-1, 2)).reshape(-1, n)
        half_width_px[rows] = np.median(widths, axis=1)
    return Ends(
        number=number, position=position, heading=heading, curvature=curvature, strength=strength,
        half_width_px=half_width_px, end_value=planar_values(caps, position), length=length,
    )  # fmt: skip


def candidates(strands: Sequence[Strand], maps: Maps, volume: np.ndarray, reach: float) -> Joints:
    """Joints between ends up to `reach` map pixels apart that face each other, and all that were traced through."""
    ends = ends_of(strands, maps)
    row = {int(number): k for k, number in enumerate(ends.number)}
    kept = [(row[2 * n + 1], row[s.kept]) for n, s in enumerate(strands) if s.kept is not None]
    # A pair of rows i < j as one number.
    count = max(1, len(ends.number))
    traced, near = (
        p.min(axis=1) * count + p.max(axis=1)
        for p in (np.array(kept, dtype=np.int64).reshape(-1, 2), near_pairs(ends.position, reach))
    )
    pairs = np.union1d(traced, near)
    through = np.isin(pairs, traced)
    i, j = np.divmod(pairs, count)
    chord = ends.position[j] - ends.position[i]
    gap = np.hypot(*chord.T)
    facing = -(ends.heading[i] * ends.heading[j]).sum(axis=1)
    ahead = np.minimum((ends.heading[i] * chord).sum(axis=1), -(ends.heading[j] * chord).sum(axis=1))
    # Two ends of one short strand close no ring.
    own = (ends.number[i] // 2 == ends.number[j] // 2) & (ends.length[i] < 20)
    keep = np.where(gap < 5.0, (facing > -0.85) & (ahead > -0.6 * gap - 1.0), (facing > 0.1) & (ahead > 0.4 * gap))
    keep = (keep & ~own) | through
    i, j, through = i[keep], j[keep], through[keep]
    return Joints(ends=ends, first=i, second=j, traced=through, features=joint_features(ends, i, j, through, maps, volume))


def joint_features(
    ends: Ends, i: np.ndarray, j: np.ndarray, traced: np.ndarray, maps: Maps, volume: np.ndarray
) -> np.ndarray:
    """Features (N, F) of joints between rows i and j of `ends`, named and ordered as FEATURES.

    Angles are in radians and shrink with gaps under SNAP, where they are noise; lengths are in tens of image pixels.
    """
    p, q, u, v = ends.position[i], ends.position[j], ends.heading[i], -ends.heading[j]
    chord = q - p
    gap = np.hypot(*chord.T)
    snap = gap / (gap + SNAP)
    turn = _angle(u, v)
    a, b = _angle(u, chord) * snap, _angle(chord, v) * snap
    side = [np.abs(w[:, 0] * chord[:, 1] - w[:, 1] * chord[:, 0]) for w in (u, v)]
    along = hermite(p, u, q, v, np.linspace(0.0, 1.0, SAMPLES))
    ahead = np.gradient(along, axis=1)
    flat = along.reshape(-1, 2)
    shape = along.shape[:2]
    lift = strengths_at(volume, flat, np.arctan2(ahead[..., 1], ahead[..., 0]).ravel()).reshape(shape)[:, 1:-1]
    centreline, mask = (planar_values(np.asarray(m), flat).reshape(shape)[:, 1:-1] for m in (maps.centreline, maps.mask))
    foreign = planar_values(distractor_map(maps), flat).reshape(shape)
    capped = planar_values(np.asarray(maps.ends), flat).reshape(shape)
    scale = 0.1 * maps.stride
    bending = np.minimum(4 * (a * a - a * b + b * b), 10.0)
    missing = gap * (1 - lift.mean(axis=1))
    lead = _lead(i, j, bending + 0.1 * missing, len(ends.number))
    of = {
        "gap": gap * scale, "log_gap": np.log1p(gap), "turn": np.abs(turn), "chord_angles": np.abs(a) + np.abs(b),
        "worst_chord_angle": np.maximum(np.abs(a), np.abs(b)), "bending": bending,
        "side_offset": (side[0] + side[1]) * scale, "lift_mean": lift.mean(axis=1), "lift_least": lift.min(axis=1),
        "centreline_mean": centreline.mean(axis=1), "centreline_least": centreline.min(axis=1),
        "mask_mean": mask.mean(axis=1), "distractor_mean": foreign.mean(axis=1),
        "end_most": np.maximum(ends.end_value[i], ends.end_value[j]),
        "end_least": np.minimum(ends.end_value[i], ends.end_value[j]), "bridge_end_most": capped.max(axis=1),
        "strength_least": np.minimum(ends.strength[i], ends.strength[j]),
        "strength_mismatch": np.abs(ends.strength[i] - ends.strength[j]),
        "width_mismatch": np.abs(np.log(np.maximum(ends.half_width_px[i], 0.5) / np.maximum(ends.half_width_px[j], 0.5))),
        "gap_in_widths": np.minimum(gap * maps.stride / np.maximum(1.0, ends.half_width_px[i] + ends.half_width_px[j]), 8.0),
        "traced_through": traced.astype(np.float64),
        "length_least": np.log(np.minimum(ends.length[i], ends.length[j])),
        "length_most": np.log(np.maximum(ends.length[i], ends.length[j])),
        # Outward at one end is inward at the other, so that one sense along the joint flips the sign.
        "curvature_mismatch": np.minimum(np.abs(ends.curvature[i] + ends.curvature[j]), 1.0),
        "lead_least": lead.min(axis=1), "lead_most": lead.max(axis=1),
    }  # fmt: skip
    return np.stack([of[name] for name in FEATURES], axis=1).astype(np.float32)


def chosen(joints: Joints, log_odds: np.ndarray) -> dict[int, int]:
    """Partner of each joined end, by end number: the matching of greatest total log odds, each end at most once."""
    a, b = joints.ends.number[joints.first], joints.ends.number[joints.second]
    likely = {(i, j): w for i, j, w in zip(a.tolist(), b.tolist(), log_odds.tolist()) if w > 0}
    partner: dict[int, int] = {}
    for first, second in matching(likely):
        partner[first], partner[second] = second, first
    return partner


def matching(weights: Mapping[tuple[int, int], float]) -> list[tuple[int, int]]:
    """Pairs of ends, each end once, of the greatest total of positive weights.

    A pair that outweighs the best rivals of both its ends together belongs to some best matching: such pairs go first,
    until none is left. The rest is Edmonds' matching, one connected group at a time; in groups of more than
    LARGEST_EXACT ends, which only maps of noise have, heaviest first.
    """
    left = dict(weights)
    picked: list[tuple[int, int]] = []
    while True:
        top: dict[int, list[float]] = {}
        for (a, b), weight in left.items():
            for end in (a, b):
                top[end] = sorted([*top.get(end, [0.0, 0.0]), weight])[-2:]

        def rival(end: int, weight: float) -> float:
            return top[end][0] if weight == top[end][1] else top[end][1]  # noqa: B023

        safe, taken = [], set()
        for (a, b), weight in sorted(left.items(), key=lambda item: (-item[1], item[0])):
            if a not in taken and b not in taken and weight >= rival(a, weight) + rival(b, weight):
                safe.append((a, b))
                taken |= {a, b}
        if not safe:
            break
        picked += safe
        left = {pair: weight for pair, weight in left.items() if not taken & set(pair)}
    graph = networkx.Graph()
    graph.add_weighted_edges_from((a, b, weight) for (a, b), weight in sorted(left.items()))
    for group in networkx.connected_components(graph):
        if len(group) <= LARGEST_EXACT:
            found = networkx.max_weight_matching(graph.subgraph(sorted(group)))
            picked += [pair if pair in left else pair[::-1] for pair in found]
            continue
        taken = set()
        for (a, b), _ in sorted(left.items(), key=lambda item: (-item[1], item[0])):
            if a in group and not taken & {a, b}:
                picked.append((a, b))
                taken |= {a, b}
    return picked


def _lead(i: np.ndarray, j: np.ndarray, cost: np.ndarray, count: int) -> np.ndarray:
    """By how much (N, 2) the best rival at either end costs more, within [-2, 2]; 2 where there is none."""
    best = np.full(count, np.inf)
    second = np.full(count, np.inf)
    for end, value in zip(np.concatenate([i, j]).tolist(), np.concatenate([cost, cost]).tolist()):
        if value < best[end]:
            best[end], second[end] = value, best[end]
        elif value < second[end]:
            second[end] = value
    rival = np.stack([np.where(cost <= best[e], second[e], best[e]) for e in (i, j)], axis=1)
    return np.clip(rival - cost[:, None], -2.0, 2.0)


def _angle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed angle (N,) from u to v."""
    return np.arctan2(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0], (u * v).sum(axis=1))


def distractor_map(maps: Maps) -> np.ndarray:
    """The strongest of a network's maps of what is no line (Yh, Xh); 0 where it draws none."""
    drawn = getattr(maps, "distractors", None)
    return np.zeros(maps.shape, dtype=np.float32) if drawn is None or not len(drawn) else np.asarray(drawn).max(axis=0)


def planar_values(plane: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Values (V,) of the nearest pixels of a map to points (V, 2) in map pixels."""
    return plane[nearest_pixels(points, plane.shape)].astype(np.float64)


@numba.njit(cache=True, error_model="numpy")
def strengths_at(volume: np.ndarray, path: np.ndarray, headings: np.ndarray) -> np.ndarray:
    """Ridge strength (V,) in [0, 1] at the states of a path (V, 2) with headings (V,)."""
    out = np.empty(len(path))
    for i in range(len(path)):
        out[i] = strength_at(volume, path[i, 0], path[i, 1], headings[i])
    return out
