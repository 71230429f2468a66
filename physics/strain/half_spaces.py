"""What the faces add to d(g.u)/dd of one line alone: at each outcrop the exact correction of the half-space there.

`plate` corrects all lines of a foil together. Of one line it is, within a foil's thickness of an outcrop, nearly that of a
half-space (`outcrop`, `anisotropic_outcrop`), which leaves tractions on the other face. Screws of 100 nm of aluminium, g.b = 0, whose contrast is
all the faces': end-on -0.29 against the plate's -0.26, at 45 degrees -0.39 against -0.37; nearer than 20 degrees to the
faces a third is missing. Lines that leave at less than `GRAZING` have no such correction.

Axes: L lines, S segments, O outcrops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from physics.frozen import frozen_array
from physics.strain.foil_frame import FoilFaces, cut_lines
from physics.strain.isotropic import DOWN
from physics.strain.outcrop import GRID
from physics.strain.plate import ENDLESS_WINDOW_NM, PlateField, outcrop_tables
from physics.strain.plate_elasticity import elasticity_of
from physics.strain.segments import Segments

# Sine of the angle to the face below which a line has no correction.
GRAZING = 0.07


@dataclass(frozen=True, kw_only=True, eq=False)
class HalfSpaces:
    """Lines `segments` (S) that run straight on outside, and the outcrops of each: those of line n are first[n] to first[n + 1].

    `places` (O, 4) are X, Y, Z in the foil frame and the side, `tables` (O, W, W) as in `outcrop`.
    """

    segments: Segments
    first: np.ndarray
    places: np.ndarray
    tables: np.ndarray
    foil_from_image: np.ndarray
    core_nm: float

    def of_line(self, line: int) -> PlateField:
        """The correction of one line, for `column_values`."""
        own = slice(self.first[line], self.first[line + 1])
        return PlateField(
            segments=self.segments.of_line(line), coefficients=np.zeros((4, 4, 6) if own.stop > own.start else (0, 0, 0)), grid_nm=np.array([0.0, 0.0, 1.0]),
            foil_from_image=self.foil_from_image, outcrops=self.places[own], tables=self.tables[own],
            window_nm=ENDLESS_WINDOW_NM, core_nm=self.core_nm,
        )  # fmt: skip


def half_spaces(
    segments: Segments, lines: int, g_image_inv_nm: ArrayLike, faces: FoilFaces, *, poisson_ratio: float, core_nm: float,
    stiffness_image_GPa: ArrayLike | None = None, straight_on: bool = True,
) -> tuple[HalfSpaces, ...]:  # fmt: skip
    """The corrections of `lines` lines with `segments`, each alone, for each of the g (G, 3).

    `straight_on` False: to the field of lines that run on along the foil's normal outside, as a plate's do.
    """
    every_g, e = frozen_array(g_image_inv_nm, (None, 3), "g_image_inv_nm"), np.array(DOWN, dtype=np.float64)
    cut = cut_lines(segments, faces, straight_on)
    chosen = cut.steep(GRAZING)
    chosen = chosen[np.argsort(cut.line[chosen], kind="stable")]
    first = np.searchsorted(cut.line[chosen], np.arange(lines + 1))
    places, tables_of_g = outcrop_tables(cut, chosen, faces, every_g, e, elasticity_of(poisson_ratio, stiffness_image_GPa, faces))
    return tuple(
        HalfSpaces(
            segments=segments, first=first, places=places, tables=tables, foil_from_image=faces.foil_from_image, core_nm=core_nm
        )
        for tables in tables_of_g
    )


def no_half_spaces(segments: Segments, lines: int) -> HalfSpaces:
    """Lines in an endless crystal."""
    return HalfSpaces(
        segments=segments, first=np.zeros(lines + 1, np.int64), places=np.zeros((0, 4)), tables=np.zeros((0, GRID, GRID)),
        foil_from_image=np.eye(3), core_nm=1.0,
    )  # fmt: skip
