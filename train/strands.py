"""Traces cut into strands wherever it is open which arm continues which.

A trace decides as it runs, with what lies behind it. Where two traces run together, where one ends beside another,
where the maps say that a line ends, and at a kink, the decision is taken back: the trace is cut, and its two arms
join the competition for partners in `train.joints`. What had been traced through the place is kept as an offer.

Axes: V vertices, P pairs of vertices. Lengths are map pixels, about the distance between vertices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from train.targets import Maps
from train.trace import Fragment

TOGETHER = 1.4  # traces this near in about one direction run together
ALONG = 0.87  # cosine of the angle, 30 degrees, within which they do
TIP_REACH = 3.0  # an end this near to another trace may belong to it
END_LEVEL = 0.45  # value of the map of ends from which a trace is cut there
KINK_RAD = 0.8  # turn over 8 vertices from which a trace is cut
SHORTEST = 4  # vertices of a strand
END_MARGIN = 7  # vertices from the end of a trace within which a value of the map of ends is its own
APART = 14  # vertices along one trace, from which on its own parts count as another's


@dataclass(frozen=True, kw_only=True, eq=False)
class Strand:
    """Part of a trace between two open places.

    `kept` is the number of the end that the trace went on to from the last vertex, over the vertices `between`.
    `head` and `tail` are what the trace showed beyond the first and the last vertex, in walking order: they belong to
    the strand only if nothing is joined there.
    """

    fragment: Fragment
    kept: int | None = None
    between: Fragment | None = None
    head: Fragment | None = None
    tail: Fragment | None = None


def contacts(fragments: list[Fragment], reach: float = TOGETHER) -> np.ndarray:
    """Rows (P, 4) of int: fragment, vertex, fragment, vertex, of vertices of about one direction within `reach`.

    Each pair is there in both orders. Neighbours along one fragment do not count.
    """
    if not fragments:
        return np.zeros((0, 4), dtype=np.int64)
    owner, vertex = _numbering(fragments)
    points = np.concatenate([f.points for f in fragments])
    tangent = np.concatenate([_tangents(f.points) for f in fragments])
    pairs = cKDTree(points).query_pairs(reach, output_type="ndarray")
    i, j = pairs[:, 0], pairs[:, 1]
    length = np.array([len(f.points) for f in fragments])[owner[i]]
    closed = np.array([f.closed for f in fragments])[owner[i]]
    off = np.abs(vertex[i] - vertex[j])
    off = np.where(closed, np.minimum(off, length - off), off)
    other = (owner[i] != owner[j]) | (off > APART)
    along = np.abs((tangent[i] * tangent[j]).sum(axis=1)) >= ALONG
    i, j = i[other & along], j[other & along]
    rows = np.stack([owner[i], vertex[i], owner[j], vertex[j]], axis=1)
    return np.concatenate([rows, rows[:, [2, 3, 0, 1]]])


def without_duplicates(fragments: list[Fragment]) -> list[Fragment]:
    """Fragments without those of which seven tenths run along one longer fragment."""
    rows = contacts(fragments, 1.3)
    size = np.array([len(f.points) for f in fragments])
    order = np.lexsort((np.arange(len(size)), -size))
    rank = np.empty(len(size), dtype=np.int64)
    rank[order] = np.arange(len(size))
    rows = rows[rank[rows[:, 0]] > rank[rows[:, 2]]]
    rows = np.unique(rows[:, [0, 2, 1]], axis=0)
    pairs, count = np.unique(rows[:, :2], axis=0, return_counts=True)
    longer: dict[int, list[int]] = {}
    for (short, long), shared in zip(pairs.tolist(), count.tolist()):
        if shared > 0.7 * size[short]:
            longer.setdefault(short, []).append(long)
    kept: set[int] = set()
    for n in order.tolist():
        if not any(other in kept for other in longer.get(n, ())):
            kept.add(n)
    return [fragments[n] for n in order.tolist() if n in kept]


def cut_into_strands(fragments: list[Fragment], maps: Maps) -> list[Strand]:
    """The strands of all fragments. Strand n has ends 2 n (its first vertex) and 2 n + 1 (its last)."""
    open_at = [np.zeros(len(f.points), dtype=bool) for f in fragments]
    for a, i, _, _ in contacts(fragments):
        open_at[a][i] = True
    _open_at_tips(fragments, open_at)
    strands: list[Strand] = []
    for fragment, flags in zip(fragments, open_at):
        flags |= _inner_ends(fragment, maps.ends)
        flags |= _kinks(fragment)
        _cut(fragment, flags, strands)
    return strands


def _numbering(fragments: list[Fragment]) -> tuple[np.ndarray, np.ndarray]:
    owner = np.repeat(np.arange(len(fragments)), [len(f.points) for f in fragments])
    vertex = np.concatenate([np.arange(len(f.points)) for f in fragments])
    return owner, vertex


def _tangents(points: np.ndarray) -> np.ndarray:
    i = np.arange(len(points))
    delta = points[np.minimum(i + 3, len(points) - 1)] - points[np.maximum(i - 3, 0)]
    return delta / np.maximum(np.hypot(delta[:, 0], delta[:, 1]), 1e-9)[:, None]


def _open_at_tips(fragments: list[Fragment], open_at: list[np.ndarray]) -> None:
    """Open every fragment where the end of another lies beside it."""
    if not fragments:
        return
    owner, vertex = _numbering(fragments)
    tree = cKDTree(np.concatenate([f.points for f in fragments]))
    for n, fragment in enumerate(fragments):
        if fragment.closed:
            continue
        last = len(fragment.points) - 1
        for tip in (0, last):
            near = np.array(tree.query_ball_point(fragment.points[tip], TIP_REACH, return_sorted=True), dtype=np.int64)
            near = near[(owner[near] != n) | (np.abs(vertex[near] - tip) > APART)]
            for other in np.unique(owner[near]):
                own = near[owner[near] == other]
                distance = np.hypot(*(tree.data[own] - fragment.points[tip]).T)
                open_at[other][vertex[own[np.argmin(distance)]]] = True


def _inner_ends(fragment: Fragment, ends: np.ndarray) -> np.ndarray:
    """Vertices (V,) at local maxima of the map of ends."""
    i = np.clip(np.rint(fragment.points[:, 0]).astype(int), 0, ends.shape[1] - 1)
    j = np.clip(np.rint(fragment.points[:, 1]).astype(int), 0, ends.shape[0] - 1)
    value = np.asarray(ends, dtype=np.float32)[j, i]
    padded = np.pad(value, 3, constant_values=-1.0)
    peak = (value >= END_LEVEL) & (value >= np.lib.stride_tricks.sliding_window_view(padded, 7).max(axis=1))
    if not fragment.closed:
        # The trace's own ends.
        peak[:END_MARGIN] = peak[-END_MARGIN:] = False
    return peak


def _kinks(fragment: Fragment) -> np.ndarray:
    points, n = fragment.points, len(fragment.points)
    turn = np.zeros(n)
    if n > 8:
        before, after = points[4:-4] - points[:-8], points[8:] - points[4:-4]
        cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
        turn[4:-4] = np.abs(np.arctan2(cross, (before * after).sum(axis=1)))
    padded = np.pad(turn, 3)
    return (turn >= KINK_RAD) & (turn >= np.lib.stride_tricks.sliding_window_view(padded, 7).max(axis=1))


def _cut(fragment: Fragment, flags: np.ndarray, strands: list[Strand]) -> None:
    """Append the strands of one fragment: what is more than 2 vertices from an open one, in runs of SHORTEST."""
    n = len(flags)
    if fragment.closed and flags.any():
        turn = int(np.flatnonzero(flags)[0])
        flags = np.roll(flags, -turn)
        fragment = Fragment(
            points=np.roll(fragment.points, -turn, axis=0), strength=np.roll(fragment.strength, -turn),
            bridged=np.roll(fragment.bridged, -turn), closed=True,
        )  # fmt: skip
    # Open vertices up to 4 apart belong to one place, and 2 more on each side are left out of both arms.
    wide = np.convolve(flags, np.ones(5), mode="same")[:n] > 0
    runs = [(i, j) for i, j in _runs(~wide) if j - i >= SHORTEST]
    if not runs or (len(runs) == 1 and runs[0] == (0, n)):
        strands.append(Strand(fragment=fragment))
        return
    begin, count = len(strands), len(runs)
    for m, (i, j) in enumerate(runs):
        before, after = runs[m - 1][1], runs[(m + 1) % count][0]
        if fragment.closed:
            before, after = before - n * (m == 0), after + n * (m == count - 1)
        # Where a trace went on, each side takes half of the stretch; where it did not, all of what it showed.
        goes_on, came = fragment.closed or m + 1 < count, fragment.closed or m > 0
        head = np.arange((before + i) // 2 if came else 0, i)
        tail = np.arange(j, (j + after) // 2 if goes_on else n)
        strands.append(
            Strand(
                fragment=_part(fragment, np.arange(i, j)),
                kept=2 * (begin + (m + 1) % count) if goes_on else None,
                between=_part(fragment, np.arange(j, after) % n) if goes_on else None,
                head=_part(fragment, head % n),
                tail=_part(fragment, tail % n),
            )
        )


def _part(fragment: Fragment, index: np.ndarray) -> Fragment:
    return Fragment(points=fragment.points[index], strength=fragment.strength[index], bridged=fragment.bridged[index])


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(i), int(j)) for i, j in zip(edges[::2], edges[1::2])]
