"""Cutting polylines: at the two faces of a foil, and at the border of a window.

Axes: K vertices, C cuts. All positions in nm, image frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numba
import numpy as np

# Heights (entrance, exit) of the two faces over the columns at (x, y).
Faces = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True, eq=False)
class RoughFaces:
    """Faces that a line may cross several times: it is looked at every `finest_nm`."""

    heights_nm: Faces
    finest_nm: float

    def __call__(self, x_nm: np.ndarray, y_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.heights_nm(x_nm, y_nm)


FACE_TOLERANCE_NM = 1e-6
FACE_ACCURACY_NM = 1e-9
SHORTEST_SEGMENT_NM = 1e-2
_STEPS_OF_FALSE_POSITION, _MOST_STEPS = 30, 80


def between_faces(points_nm: np.ndarray, faces: Faces) -> list[np.ndarray]:
    """The parts (K', 3) of a polyline that lie in the foil, cut where its segments meet a face.

    A segment may cross each face once (a step of `RoughFaces` may); vertices closer than SHORTEST_SEGMENT_NM to a cut are
    dropped. A closed loop that is cut keeps no trace of where it began.
    """
    return lines_between_faces([points_nm], faces)[0]


def lines_between_faces(lines_nm: Sequence[np.ndarray], faces: Faces) -> list[list[np.ndarray]]:
    """`between_faces` of many polylines at once: the parts of each."""
    if not lines_nm:
        return []
    rough = isinstance(faces, RoughFaces)
    if rough:
        lines_nm = [divided(line, faces.finest_nm) for line in lines_nm]
    points_nm = np.concatenate(lines_nm)
    last = np.cumsum([len(line) for line in lines_nm]) - 1
    with_cuts, at_end = _with_cuts(points_nm, _crossings(points_nm, last, faces), last)
    middles = (with_cuts[1:] + with_cuts[:-1]) / 2
    inside = _depth_nm(middles, faces) >= -FACE_TOLERANCE_NM
    # A stretch that begins or ends well inside is inside, even where it grazes a rough face on its way to the cut.
    deep = _depth_nm(with_cuts, faces) > 10 * FACE_TOLERANCE_NM
    inside |= deep[1:] | deep[:-1]
    inside[at_end[:-1]] = False  # between the end of a line and the beginning of the next
    changes = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    starts, stops = changes[::2], changes[1::2]
    line_of = np.searchsorted(at_end, starts)
    crowded = _crowded(with_cuts, starts, stops)
    parts: list[list[np.ndarray]] = [[] for _ in lines_nm]
    for line, start, stop, check in zip(line_of.tolist(), starts.tolist(), stops.tolist(), crowded.tolist()):
        parts[line].append(with_cuts[start : stop + 1])
        first = at_end[line - 1] + 1 if line else 0
        closes = stop == at_end[line] and len(parts[line]) > 1 and np.array_equal(with_cuts[first], with_cuts[stop])
        if closes and np.array_equal(parts[line][0][0], with_cuts[first]):
            # The first and the last part of a loop that is cut are one.
            tail = parts[line].pop()
            whole = np.concatenate([tail, parts[line].pop(0)[1:]])
            parts[line] = [piece for piece in (*parts[line], _spaced(whole)) if piece is not None]
        elif check:
            spaced = _spaced(parts[line].pop())
            parts[line] += [] if spaced is None else [spaced]
    return [[_undivided(piece) for piece in pieces] for pieces in parts] if rough else parts


@numba.njit(cache=True, error_model="numpy")
def span_in_box(
    ax: float, ay: float, bx: float, by: float, low_x: float, low_y: float, high_x: float, high_y: float
) -> tuple[float, float]:
    """Span of the segment a-b, in its parameter, inside a box (Liang & Barsky 1984); (1, 0) if it misses the box."""
    low, high = 0.0, 1.0
    for rate, room in ((ax - bx, ax - low_x), (bx - ax, high_x - ax), (ay - by, ay - low_y), (by - ay, high_y - ay)):
        if rate == 0:
            if room < 0:
                return 1.0, 0.0
        elif rate < 0:
            low = max(low, room / rate)
        else:
            high = min(high, room / rate)
    return (low, high) if low <= high else (1.0, 0.0)


def in_window(points_nm: np.ndarray, half_window_nm: np.ndarray) -> list[np.ndarray]:
    """Pieces of a polyline inside |x|, |y| < half window, cut at its border."""
    pieces = [points_nm]
    for axis, sign in itertools.product((0, 1), (1.0, -1.0)):
        pieces = [part for piece in pieces for part in _below(piece, sign * piece[:, axis] - half_window_nm[axis])]
    return pieces


def _depth_nm(points_nm: np.ndarray, faces: Faces) -> np.ndarray:
    """How far points (K, 3) lie from the nearer face, along the beam; < 0 outside the foil."""
    entrance_nm, exit_nm = faces(points_nm[:, 0], points_nm[:, 1])
    return np.minimum(entrance_nm - points_nm[:, 2], points_nm[:, 2] - exit_nm)


def divided(points_nm: np.ndarray, finest_nm: float) -> np.ndarray:
    """The polyline with long segments divided evenly."""
    parts = np.maximum(1, np.ceil(np.linalg.norm(np.diff(points_nm, axis=0), axis=1) / finest_nm)).astype(int)
    pieces = [a + (b - a) * np.arange(n)[:, None] / n for a, b, n in zip(points_nm[:-1], points_nm[1:], parts)]
    return np.concatenate([*pieces, points_nm[-1:]])


def _undivided(points_nm: np.ndarray) -> np.ndarray:
    """The polyline without the vertices that lie on straight stretches of it."""
    steps = np.diff(points_nm, axis=0)
    steps = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    turns = np.linalg.norm(np.cross(steps[:-1], steps[1:]), axis=1) > 1e-9
    return points_nm[np.concatenate([[True], turns, [True]])]


def _below(points_nm: np.ndarray, height_nm: np.ndarray) -> list[np.ndarray]:
    """Pieces of a polyline where the height, linear along each segment, is <= 0."""
    inside = height_nm <= 0
    if inside.all():
        return [points_nm]
    closed = len(points_nm) > 2 and np.array_equal(points_nm[0], points_nm[-1])
    if closed and inside.any():
        # A loop that is cut starts outside, so that its first and last piece are not one line in two parts.
        first = int(np.argmin(inside))
        points_nm = np.concatenate([points_nm[first:-1], points_nm[: first + 1]])
        height_nm = np.concatenate([height_nm[first:-1], height_nm[: first + 1]])
        inside = height_nm <= 0
    pieces: list[list[np.ndarray]] = []
    current: list[np.ndarray] = [points_nm[0]] if inside[0] else []
    for k in range(len(points_nm) - 1):
        if inside[k] != inside[k + 1]:
            t = height_nm[k] / (height_nm[k] - height_nm[k + 1])
            border = points_nm[k] + t * (points_nm[k + 1] - points_nm[k])
            current.append(border)
            if inside[k]:
                pieces.append(current)
                current = []
        if inside[k + 1]:
            current.append(points_nm[k + 1])
    pieces.append(current)
    arrays = (np.array(piece) for piece in pieces if len(piece) >= 2)
    spaced = (_without_repeats(piece) for piece in arrays)
    return [piece for piece in spaced if len(piece) >= 2]


def _without_repeats(points_nm: np.ndarray) -> np.ndarray:
    steps_nm = np.linalg.norm(np.diff(points_nm, axis=0), axis=1)
    keep = np.concatenate([[True], steps_nm > SHORTEST_SEGMENT_NM * 1e-3])
    return points_nm[keep]


def _crossings(points_nm: np.ndarray, last: np.ndarray, faces: Faces) -> np.ndarray:
    """Where polylines that end at the vertices `last` cross a face: positions (C,) in units of segments."""
    heights = np.array(faces(points_nm[:, 0], points_nm[:, 1]))
    above_nm = points_nm[:, 2] - heights
    before, after = above_nm[:, :-1], above_nm[:, 1:]
    crosses = (np.minimum(before, after) < -FACE_TOLERANCE_NM) & (np.maximum(before, after) > FACE_TOLERANCE_NM)
    crosses[:, last[:-1]] = False
    face, segment = np.nonzero(crosses)
    if not len(face):
        return np.empty(0)
    start, edge = points_nm[segment], points_nm[segment + 1] - points_nm[segment]
    low, high = np.zeros(len(face)), np.ones(len(face))
    at_low, at_high = before[crosses], after[crosses]
    each = np.arange(len(face))
    # False position with the Illinois weight: one step where the face is plane, a few where it is bent; then bisection,
    # for faces as steep as those of a torn edge.
    for step in range(_MOST_STEPS):
        t = (low * at_high - high * at_low) / (at_high - at_low) if step < _STEPS_OF_FALSE_POSITION else (low + high) / 2
        p = start + t[:, None] * edge
        at_t = p[:, 2] - np.array(faces(p[:, 0], p[:, 1]))[face, each]
        if np.abs(at_t).max() < FACE_ACCURACY_NM:
            break
        beyond = (at_t > 0) == (at_low > 0)
        at_high, at_low = np.where(beyond, at_high / 2, at_t), np.where(beyond, at_t, at_low / 2)
        low, high = np.where(beyond, t, low), np.where(beyond, high, t)
    return segment + t


def _with_cuts(points_nm: np.ndarray, cuts: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The polylines with a vertex more at each cut, and where the vertices `last` are now."""
    if not len(cuts):
        return points_nm, last
    along = np.unique(np.concatenate([np.arange(len(points_nm), dtype=np.float64), cuts]))
    segment = np.minimum(along.astype(np.int64), len(points_nm) - 2)
    part = (along - segment)[:, None]
    with_cuts = np.where(part == 1, points_nm[segment + 1], points_nm[segment] + part * (points_nm[segment + 1] - points_nm[segment]))
    return with_cuts, np.searchsorted(along, last)


def _crowded(points_nm: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Which of the pieces from starts to stops have vertices other than their ends close to one of these."""
    if not len(starts):
        return np.zeros(0, dtype=bool)
    counts = stops - starts + 1
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    own = points_nm[np.arange(counts.sum()) + np.repeat(starts - begins, counts)]
    close = np.zeros(len(starts), dtype=np.int64)
    for end in (starts, stops):
        away = own - np.repeat(points_nm[end], counts, axis=0)
        near = np.einsum("ij,ij->i", away, away) < SHORTEST_SEGMENT_NM**2
        close += np.add.reduceat(near.astype(np.int64), begins)
    return close > 2


def _spaced(piece: np.ndarray) -> np.ndarray | None:
    """A cut piece without vertices that crowd its two ends; None if nothing is left of it."""
    near_start = np.linalg.norm(piece - piece[0], axis=1) < SHORTEST_SEGMENT_NM
    near_end = np.linalg.norm(piece - piece[-1], axis=1) < SHORTEST_SEGMENT_NM
    if near_start.all() or (near_start[-1] and not np.array_equal(piece[0], piece[-1])):
        return None
    keep = ~(near_start | near_end)
    keep[0] = keep[-1] = True
    return piece[keep]
