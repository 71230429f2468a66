"""Traces cut into strands wherever it is open which arm continues which.

A trace decides as it runs, with what lies behind it. Where two traces run together, where one ends beside another,
where the maps say that a line ends, and at a kink, the decision is taken back: the trace is cut, and its two arms
join the competition for partners in `train.joints`. What had been traced through the place is kept as an offer.

Axes: V vertices, P pairs of vertices. Lengths are map pixels, about the distance between vertices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d
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


def without_duplicates(fragments: list[Fragment]) -> list[Fragment]:
    """Fragments without those of which seven tenths run along one longer fragment."""
    if not fragments:
        return []
    vertices = _vertices_of(fragments)
    size = np.array([len(f.points) for f in fragments])
    order = np.lexsort((np.arange(len(size)), -size))
    rank = np.empty(len(size), dtype=np.int64)
    rank[order] = np.arange(len(size))
    i, j = _contacts(vertices, 1.3).T
    touched = np.stack([vertices.owner[i], vertices.owner[j], vertices.number[i]], axis=1)[rank[vertices.owner[i]] > rank[vertices.owner[j]]]
    pairs, count = np.unique(np.unique(touched, axis=0)[:, :2], axis=0, return_counts=True)
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
    strands: list[Strand] = []
    if not fragments:
        return strands
    vertices = _vertices_of(fragments)
    flags = _inner_ends(vertices, maps.ends) | _kinks(vertices)
    flags[_contacts(vertices, TOGETHER)[:, 0]] = True
    flags[_beside_tips(vertices)] = True
    for fragment, its_flags in zip(fragments, np.split(flags, np.cumsum([len(f.points) for f in fragments]))):
        _cut(fragment, its_flags, strands)
    return strands


def near_pairs(points: np.ndarray, reach: float) -> np.ndarray:
    """Rows (P, 2) of points (V, 2) up to `reach` apart, each pair once, in no order."""
    # A tree that is asked once is built faster than it is balanced.
    return cKDTree(points, balanced_tree=False, compact_nodes=False).query_pairs(reach, output_type="ndarray")


def nearest_pixels(points: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows (V,) and columns (V,) of the nearest pixels of maps of `shape` to points (V, 2) in map pixels."""
    last = np.array([shape[1] - 1, shape[0] - 1])
    column, row = np.minimum(np.maximum(np.rint(points).astype(int), 0), last).T
    return row, column


@dataclass(frozen=True, kw_only=True, eq=False)
class _Vertices:
    """The vertices of all fragments one after another: `points` (V, 2) and (V,) of each one its fragment
    `owner`, its `number` there, and of that fragment the `size` in vertices and whether it is `closed`."""

    points: np.ndarray
    owner: np.ndarray
    number: np.ndarray
    size: np.ndarray
    closed: np.ndarray


def _vertices_of(fragments: list[Fragment]) -> _Vertices:
    size = np.array([len(f.points) for f in fragments])
    owner = np.repeat(np.arange(len(fragments)), size)
    return _Vertices(
        points=np.concatenate([f.points for f in fragments]), owner=owner, size=size[owner],
        number=np.arange(len(owner)) - (np.cumsum(size) - size)[owner], closed=np.array([f.closed for f in fragments])[owner],
    )  # fmt: skip


def _contacts(vertices: _Vertices, reach: float) -> np.ndarray:
    """Pairs (P, 2), in both orders, of vertices of about one direction within `reach`.

    Neighbours along one fragment do not count.
    """
    pairs = near_pairs(vertices.points, reach)
    i, j = pairs[:, 0], pairs[:, 1]
    tangent = _tangents(vertices)
    off = np.abs(vertices.number[i] - vertices.number[j])
    off = np.where(vertices.closed[i], np.minimum(off, vertices.size[i] - off), off)
    other = (vertices.owner[i] != vertices.owner[j]) | (off > APART)
    along = np.abs((tangent[i] * tangent[j]).sum(axis=1)) >= ALONG
    pairs = pairs[other & along]
    return np.concatenate([pairs, pairs[:, ::-1]])


def _tangents(vertices: _Vertices) -> np.ndarray:
    first = np.arange(len(vertices.points)) - vertices.number
    ahead, behind = np.minimum(vertices.number + 3, vertices.size - 1), np.maximum(vertices.number - 3, 0)
    delta = vertices.points[first + ahead] - vertices.points[first + behind]
    return delta / np.maximum(np.hypot(delta[:, 0], delta[:, 1]), 1e-9)[:, None]


def _beside_tips(vertices: _Vertices) -> np.ndarray:
    """Which vertices the end of another fragment lies beside."""
    tips = np.flatnonzero(((vertices.number == 0) | (vertices.number == vertices.size - 1)) & ~vertices.closed)
    found = cKDTree(vertices.points).query_ball_point(vertices.points[tips], TIP_REACH)
    tip = np.repeat(tips, [len(near) for near in found])
    near = np.array([v for some in found for v in some], dtype=np.int64)
    foreign = (vertices.owner[near] != vertices.owner[tip]) | (np.abs(vertices.number[near] - vertices.number[tip]) > APART)
    tip, near = tip[foreign], near[foreign]
    # Of every fragment near a tip the nearest vertex, of two as near the first.
    owner, distance = vertices.owner[near], np.hypot(*(vertices.points[near] - vertices.points[tip]).T)
    order = np.lexsort((near, distance, owner, tip))
    _, first = np.unique((tip * len(vertices.points) + owner)[order], return_index=True)
    return near[order[first]]


def _inner_ends(vertices: _Vertices, ends: np.ndarray) -> np.ndarray:
    """Vertices (V,) at local maxima of the map of ends."""
    value = np.asarray(ends, dtype=np.float32)[nearest_pixels(vertices.points, ends.shape)]
    own = ~vertices.closed & ((vertices.number < END_MARGIN) | (vertices.number >= vertices.size - END_MARGIN))
    return (value >= END_LEVEL) & (value >= _most_within(vertices, value, 3)) & ~own


def _kinks(vertices: _Vertices) -> np.ndarray:
    """Vertices (V,) where a fragment turns most, and sharply."""
    turn = np.zeros(len(vertices.points))
    v = np.flatnonzero((vertices.number >= 4) & (vertices.number < vertices.size - 4))
    before, after = vertices.points[v] - vertices.points[v - 4], vertices.points[v + 4] - vertices.points[v]
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    turn[v] = np.abs(np.arctan2(cross, (before * after).sum(axis=1)))
    return (turn >= KINK_RAD) & (turn >= _most_within(vertices, turn, 3))


def _most_within(vertices: _Vertices, value: np.ndarray, reach: int) -> np.ndarray:
    """The greatest of values (V,) >= 0 within `reach` vertices along a fragment."""
    # Zeros between the fragments keep them apart.
    place = np.arange(len(value)) + reach * vertices.owner
    apart = np.zeros(place[-1] + 1, dtype=value.dtype)
    apart[place] = value
    return maximum_filter1d(apart, 2 * reach + 1, mode="constant")[place]


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
        strands.append(
            Strand(
                fragment=_part(fragment, i, j),
                kept=2 * (begin + (m + 1) % count) if goes_on else None,
                between=_part(fragment, j, after) if goes_on else None,
                head=_part(fragment, (before + i) // 2 if came else 0, i),
                tail=_part(fragment, j, (j + after) // 2 if goes_on else n),
            )
        )


def _part(fragment: Fragment, i: int, j: int) -> Fragment:
    """Vertices i to j; under 0 and from V on they go round."""
    n = len(fragment.points)
    index = slice(i, j) if 0 <= i <= j <= n else np.arange(i, j) % n
    return Fragment(points=fragment.points[index], strength=fragment.strength[index], bridged=fragment.bridged[index])


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(i), int(j)) for i, j in zip(edges[::2], edges[1::2])]
