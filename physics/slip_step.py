"""How much thicker or thinner a foil is where dislocations have swept a slip plane.

Above the swept part of its plane the crystal stands displaced against that below by the Burgers vectors that have passed,
so that a column through it is longer by their component along the beam: a step of background along both slip traces, which
grows with the number of lines passed. With ξ the sense of a line and s the direction to its swept side, a right-handed
circuit about ξ begins on the side ξ × s of the plane, and ∮du = b: the crystal on the far side is displaced by b against it.
With the swept side on the left of ξ, seen from the gun, ξ × s points up, and columns grow by −b_z; on the right by +b_z.

Axes: K vertices. Positions in nm, image frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physics.dislocation import Dislocation
from physics.frozen import frozen_array
from physics.polygon import polygon_covers
from physics.slip_trace import SLIP_TRACE


@dataclass(frozen=True, kw_only=True, eq=False)
class SweptArea:
    """A part of a slip plane, seen along the beam as `outline_nm` (K, 2), over which columns are `rise_nm` longer."""

    outline_nm: np.ndarray
    rise_nm: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "outline_nm", frozen_array(self.outline_nm, (None, 2), "outline_nm"))


def swept_areas(dislocations: Sequence[Dislocation], burgers_from_uvw: np.ndarray) -> list[SweptArea]:
    """The areas between the two slip traces of each held line and the line behind it (`physics.slip_trace`).

    `burgers_from_uvw` (3, 3) takes lattice vectors to nm in the image frame.
    """
    attached: dict[bytes, list[Dislocation]] = {}
    for trace in dislocations:
        if trace.kind == SLIP_TRACE:
            for end in (0, -1):
                attached.setdefault(trace.points_nm[end].tobytes(), []).append(trace)
    if not attached:
        return []
    lines = [d for d in dislocations if d.kind != SLIP_TRACE and not d.closed]
    between = {frozenset(d.points_nm[end].tobytes() for end in (0, -1)): d.points_nm for d in lines}
    found, used = [], set()
    for line in lines:
        first, last = (attached.get(line.points_nm[end].tobytes(), []) for end in (0, -1))
        if not first or not last:
            continue
        # Of two traces that meet in a line's end the stronger one runs backward.
        pair = [max(traces, key=_strength) for traces in (first, last)]
        if frozenset(map(id, pair)) in used or abs(_strength(pair[0]) - _strength(pair[1])) > 1e-9:
            continue
        used.add(frozenset(map(id, pair)))
        found.append(_area(line, *pair, between, burgers_from_uvw))
    return found


def thickness_change_nm(areas: Sequence[SweptArea], x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
    """By how much the columns at x_nm (X,), y_nm (Y,), x rising and y falling, are longer (Y, X)."""
    change = np.zeros((len(y_nm), len(x_nm)))
    for area in areas:
        low, high = area.outline_nm.min(axis=0), area.outline_nm.max(axis=0)
        columns = slice(*np.searchsorted(x_nm, [low[0], high[0]]))
        rows = slice(*np.searchsorted(-y_nm, [-high[1], -low[1]]))
        mesh = np.meshgrid(x_nm[columns], y_nm[rows])
        if mesh[0].size:
            change[rows, columns] += area.rise_nm * polygon_covers(area.outline_nm, *mesh)
    return change


def _area(
    line: Dislocation, first: Dislocation, last: Dislocation, between: dict[frozenset[bytes], np.ndarray], burgers_from_uvw: np.ndarray
) -> SweptArea:
    """Round the area: back along one trace, along the line behind, forward along the other trace, along the line."""
    start, end = line.points_nm[0], line.points_nm[-1]
    out, back = _from(first.points_nm, start), _from(last.points_nm, end)[::-1]
    behind = between.get(frozenset((out[-1].tobytes(), back[0].tobytes())))
    closing = [] if behind is None else [_from(behind, out[-1])]
    outline = np.concatenate([out, *closing, back, line.points_nm[::-1]])[:, :2]
    x, y = (outline - outline[0]).T
    anticlockwise = float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) > 0
    along_sense = np.array_equal(first.points_nm[0], start)
    b_z_nm = float((burgers_from_uvw @ first.burgers_uvw)[2])
    return SweptArea(outline_nm=outline, rise_nm=-b_z_nm if anticlockwise == along_sense else b_z_nm)


def _from(points_nm: np.ndarray, start_nm: np.ndarray) -> np.ndarray:
    return points_nm if np.array_equal(points_nm[0], start_nm) else points_nm[::-1]


def _strength(trace: Dislocation) -> float:
    return float(np.abs(trace.burgers_uvw).sum())
