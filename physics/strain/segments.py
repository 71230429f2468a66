"""Curved dislocations as straight segments, without open ends inside the specimen.

Axes: S segments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from physics.dislocation import Dislocation
from physics.errors import require
from physics.frozen import frozen_array
from physics.junction import open_ends


@dataclass(frozen=True, kw_only=True, eq=False)
class Segments:
    """Straight pieces from `start_nm` to `end_nm` (S, 3) with `burgers_nm` (S, 3), all in the image frame.

    `line` (S,) is the index of the dislocation a segment belongs to. The line sense runs from start to end.

    Raises InputError for arrays that do not fit together or a segment without length.
    """

    start_nm: np.ndarray
    end_nm: np.ndarray
    burgers_nm: np.ndarray
    line: np.ndarray

    def __post_init__(self) -> None:
        for name in ("start_nm", "end_nm", "burgers_nm"):
            object.__setattr__(self, name, frozen_array(getattr(self, name), (None, 3), f"segments.{name}"))
        line = np.array(self.line, dtype=np.int64)
        line.setflags(write=False)
        object.__setattr__(self, "line", line)
        lengths = {len(self.start_nm), len(self.end_nm), len(self.burgers_nm), len(line)}
        require(len(lengths) == 1, "segments", "be arrays of one length", sorted(lengths))
        lengths_nm = np.linalg.norm(self.end_nm - self.start_nm, axis=1)
        require(bool((lengths_nm > 0).all()), "segments", "have a length > 0", lengths_nm.min() if len(line) else 0)

    def __len__(self) -> int:
        return len(self.line)

    def of_line(self, line: int) -> Segments:
        """The segments of one dislocation alone."""
        return self._where(self.line == line)

    def without(self, line: int) -> Segments:
        """The segments of all other dislocations."""
        return self._where(self.line != line)

    def _where(self, keep: np.ndarray) -> Segments:
        return Segments(
            start_nm=self.start_nm[keep], end_nm=self.end_nm[keep], burgers_nm=self.burgers_nm[keep], line=self.line[keep]
        )


def segments_of(
    dislocations: Sequence[Dislocation],
    burgers_from_uvw: ArrayLike,
    continuation_nm: float,
    alone: bool = False,
    onward: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> Segments:
    """Segments of all lines; open ends run on straight along their end tangent for `continuation_nm`.

    A dislocation cannot end in a crystal: an end 20 nm from a column alone gives a g.b = 0 screw 12 %
    contrast. Ends in a node where the Burgers vectors balance stay as they are,
    unless each line is to be taken `alone`: then it runs on there too. `burgers_from_uvw` (3, 3) is
    `image_from_crystal @ crystal.lattice_nm`.

    `onward` gives, of the ends' places (E, 3) and unit tangents (E, 3) outward along the lines, unit directions (E, 3) in which
    they run on instead: straight on, a line that has left the foil could come back into it.
    """
    burgers_from_uvw = frozen_array(burgers_from_uvw, (3, 3), "burgers_from_uvw")
    require(continuation_nm >= 0, "continuation_nm", "be >= 0", continuation_nm)
    points_nm = [line.points_nm.copy() for line in dislocations]
    if continuation_nm > 0:
        every_end = ((i, end) for i, line in enumerate(dislocations) if not line.closed for end in (0, -1))
        ends = list(every_end if alone else open_ends(dislocations))
        places_nm = np.array([dislocations[i].points_nm[end] for i, end in ends]).reshape(-1, 3)
        inner_nm = np.array([dislocations[i].points_nm[1 if end == 0 else -2] for i, end in ends]).reshape(-1, 3)
        along = (places_nm - inner_nm) / np.linalg.norm(places_nm - inner_nm, axis=1, keepdims=True)
        for (i, end), place_nm, direction in zip(ends, places_nm, along if onward is None else onward(places_nm, along)):
            points_nm[i] = _continued(points_nm[i], end, place_nm + continuation_nm * direction)
    counts = [len(points) - 1 for points in points_nm]
    burgers_nm = [burgers_from_uvw @ line.burgers_uvw for line in dislocations]
    return Segments(
        start_nm=np.concatenate([points[:-1] for points in points_nm]) if counts else np.empty((0, 3)),
        end_nm=np.concatenate([points[1:] for points in points_nm]) if counts else np.empty((0, 3)),
        burgers_nm=np.repeat(np.reshape(burgers_nm, (-1, 3)), counts, axis=0),
        line=np.repeat(np.arange(len(counts)), counts),
    )


def _continued(points_nm: np.ndarray, end: int, beyond_nm: np.ndarray) -> np.ndarray:
    return np.concatenate([beyond_nm[None], points_nm] if end == 0 else [points_nm, beyond_nm[None]])
