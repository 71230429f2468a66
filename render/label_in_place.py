"""Intensity across lines at their probes, all else in place: the picture with a line against the picture without it.

Without a line means less its own field and what half-spaces at its outcrops add to it (`physics.strain.half_spaces`). Against
columns of the Scene that lacks it, with surfaces of its own, in crowded frames of the benchmark: equal in an endless crystal,
within 0.003 to 0.04 of the incident beam, rms, in a relaxed foil, where lines change columns by 0.02 to 0.19. What the faces add to
a line that meets none of them steeply stays behind.

Axes: P profiles, M columns of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physics.contrast.columns import column_values
from physics.contrast.profiles import across_nm
from physics.strain.half_spaces import HalfSpaces
from physics.strain.plate import PlateField
from physics.strain.segments import Segments
from render.intensity import column_physics, wanted_beam
from render.label_curves import Curves
from render.label_profiles import LEAST_BACKGROUND, PROBE_SLICE_NM, columns_across, perfect_intensity, surroundings
from render.scene import Scene
from render.specimen import Specimen, outcrops_in_place, plate_fields, segments, sheet_heights

Plates = tuple[PlateField, ...] | None


def profiles_in_place(curves: Curves, numbers: np.ndarray, reach_nm: float, scene: Scene, specimen: Specimen) -> np.ndarray:
    """Contrast (P, M) of each probe's dislocation in the Scene's picture: with it against without it.

    `numbers` (P,) are those of the probes' dislocations in the Scene. Faults stay where they are.
    """
    x_nm, y_nm = columns_across(curves, across_nm(reach_nm))
    if not len(numbers):
        return np.empty(x_nm.shape, np.float32)
    plates = plate_fields(scene, specimen)
    lines = segments(scene, specimen) if plates is None else plates[0].segments
    columns = _Columns.at(x_nm, y_nm, scene, specimen)
    with_line = columns.intensity(lines, plates, scene, specimen)
    without = np.empty_like(with_line)
    outcrops = outcrops_in_place(scene, specimen)
    for number in np.unique(numbers).tolist():
        chosen = numbers == number
        rest, less = _without(number, lines, plates, outcrops)
        without[chosen] = columns.of(chosen).intensity(rest, less, scene, specimen)
    # In the dark of another line the background of the foil counts.
    perfect = perfect_intensity(x_nm, y_nm, scene, specimen).mean(axis=1, keepdims=True)
    least = np.maximum(np.maximum(without, perfect), LEAST_BACKGROUND)
    return ((with_line - without) / least).astype(np.float32)


def intensity(lines: Segments, plates: Plates, x_nm: np.ndarray, y_nm: np.ndarray, scene: Scene, specimen: Specimen) -> np.ndarray:
    """Intensity (P, M) of the beam that makes the picture in columns at (x, y), without inelastic electrons and deposits."""
    return _Columns.at(x_nm, y_nm, scene, specimen).intensity(lines, plates, scene, specimen)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Columns:
    """Columns at x, y (P, M): `surroundings` (3, P, M), and heights (F, P, M) and phases of the faults and discs in them."""

    x_nm: np.ndarray
    y_nm: np.ndarray
    surroundings: np.ndarray
    heights_nm: np.ndarray | None
    phases_rad: np.ndarray | None

    @classmethod
    def at(cls, x_nm: np.ndarray, y_nm: np.ndarray, scene: Scene, specimen: Specimen) -> _Columns:
        heights_nm, phases_rad = sheet_heights(scene, specimen, x_nm.ravel(), y_nm.ravel())
        return cls(
            x_nm=x_nm, y_nm=y_nm, surroundings=np.array(surroundings(x_nm, y_nm, scene, specimen)),
            heights_nm=None if heights_nm is None else heights_nm.reshape(-1, *x_nm.shape), phases_rad=phases_rad,
        )  # fmt: skip

    def of(self, chosen: np.ndarray) -> _Columns:
        """Those of the profiles that are `chosen` (P,)."""
        heights_nm, phases_rad = self.heights_nm, self.phases_rad
        if heights_nm is not None:
            heights_nm = heights_nm[:, chosen]
            there = np.isfinite(heights_nm).any(axis=(1, 2))
            heights_nm, phases_rad = (heights_nm[there], phases_rad[there]) if there.any() else (None, None)
        return _Columns(
            x_nm=self.x_nm[chosen], y_nm=self.y_nm[chosen], surroundings=self.surroundings[:, chosen], heights_nm=heights_nm, phases_rad=phases_rad
        )

    def intensity(self, lines: Segments, plates: Plates, scene: Scene, specimen: Specimen) -> np.ndarray:
        """(P, M) with those lines and that correction of the surfaces."""
        physics = column_physics(scene, specimen, plates, specimen.spread) | {"slice_nm": max(scene.slice_nm, PROBE_SLICE_NM)}
        every = column_values(
            lines, specimen.g_image_inv_nm, specimen.two_beam, self.x_nm.ravel(), self.y_nm.ravel(),
            *(values.ravel() for values in self.surroundings), fault_phase_rad=self.phases_rad,
            fault_z_nm=None if self.heights_nm is None else self.heights_nm.reshape(len(self.heights_nm), -1), **physics,
        )  # fmt: skip
        return np.asarray(every[wanted_beam(scene, specimen)]).reshape(self.x_nm.shape)


def _without(number: int, lines: Segments, plates: Plates, outcrops: tuple[HalfSpaces, ...]) -> tuple[Segments, Plates]:
    """The lines of the picture and the correction of its surfaces less one line's."""
    rest = lines.without(number)
    if plates is None or not len(rest):
        return rest, None
    own = slice(outcrops[0].first[number], outcrops[0].first[number + 1])
    return rest, tuple(plate.without(number, each.places[own], each.tables[own]) for plate, each in zip(plates, outcrops))
