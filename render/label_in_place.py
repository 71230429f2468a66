"""Intensity across lines at their probes, all else in place: the picture with a line against the picture without it.

Without a line means less its own field and what half-spaces at its outcrops add to it (`physics.strain.half_spaces`). Against
columns of the Scene that lacks it, with surfaces of its own, in crowded frames of the benchmark: equal in an endless crystal,
within 0.003 to 0.04 of the incident beam, rms, in a relaxed foil, where lines change columns by 0.02 to 0.19. What the faces add to
a line that meets none of them steeply stays behind.

Axes: P profiles, M columns of each.
"""

from __future__ import annotations

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
    with_line = intensity(lines, plates, x_nm, y_nm, scene, specimen)
    without = np.empty_like(with_line)
    outcrops = outcrops_in_place(scene, specimen)
    for number in np.unique(numbers).tolist():
        chosen = numbers == number
        rest, less = _without(number, lines, plates, outcrops)
        without[chosen] = intensity(rest, less, x_nm[chosen], y_nm[chosen], scene, specimen)
    # In the dark of another line the background of the foil counts.
    perfect = perfect_intensity(x_nm, y_nm, scene, specimen).mean(axis=1, keepdims=True)
    least = np.maximum(np.maximum(without, perfect), LEAST_BACKGROUND)
    return ((with_line - without) / least).astype(np.float32)


def intensity(lines: Segments, plates: Plates, x_nm: np.ndarray, y_nm: np.ndarray, scene: Scene, specimen: Specimen) -> np.ndarray:
    """Intensity (P, M) of the beam that makes the picture in columns at (x, y), without inelastic electrons and deposits."""
    faces = (values.ravel() for values in surroundings(x_nm, y_nm, scene, specimen))
    heights_nm, phases_rad = sheet_heights(scene, specimen, x_nm.ravel(), y_nm.ravel())
    physics = column_physics(scene, specimen, plates, specimen.spread) | {"slice_nm": max(scene.slice_nm, PROBE_SLICE_NM)}
    every = column_values(
        lines, specimen.g_image_inv_nm, specimen.two_beam, x_nm.ravel(), y_nm.ravel(), *faces,
        fault_z_nm=heights_nm, fault_phase_rad=phases_rad, **physics,
    )  # fmt: skip
    return np.asarray(every[wanted_beam(scene, specimen)]).reshape(x_nm.shape)


def _without(number: int, lines: Segments, plates: Plates, outcrops: tuple[HalfSpaces, ...]) -> tuple[Segments, Plates]:
    """The lines of the picture and the correction of its surfaces less one line's."""
    rest = lines.without(number)
    if plates is None or not len(rest):
        return rest, None
    own = slice(outcrops[0].first[number], outcrops[0].first[number + 1])
    return rest, tuple(plate.without(number, each.places[own], each.tables[own]) for plate, each in zip(plates, outcrops))
