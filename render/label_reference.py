"""Profiles that labels are held against: columns 0.1 nm apart through the code that makes the image, fine slices.

Axes: P profiles, M columns of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import CubicSpline

from physics.contrast.columns import column_values
from physics.contrast.profiles import nearest_nm
from render.label_profiles import LEAST_BACKGROUND
from render.scene import Scene
from render.specimen import Specimen, lines_alone

if TYPE_CHECKING:
    from render.labels import Probed

SPACING_NM = 0.1
SLICE_NM = 0.5


def reference_profiles(
    probed: Probed, chosen: np.ndarray, scene: Scene, specimen: Specimen
) -> tuple[np.ndarray, np.ndarray]:
    """Places (M,) in nm and contrast (P, M) of the probes `chosen`, of perfect lines in a flat, untilted foil.

    Columns nearer to the core than `nearest_nm` are left out and bridged by a cubic, as labels have none there.
    """
    steps = int(probed.reach_nm / SPACING_NM)
    across_nm = np.linspace(-probed.reach_nm, probed.reach_nm, 2 * steps + 1)
    outer = np.abs(across_nm) >= nearest_nm(probed.reach_nm)
    beam, half_nm = 0 if scene.beam.image == "bf" else 1, scene.foil.thickness_nm / 2
    background = float(specimen.perfect_columns(np.array(scene.beam.s_inv_nm), np.array(2 * half_nm))[beam])
    profiles = np.empty((len(chosen), len(across_nm)))
    alone = lines_alone(scene, specimen, probed.lines)
    for profile, p in zip(profiles, chosen):
        x_nm, y_nm = probed.curves.at_nm[p, :, None] + probed.curves.normal[p, :, None] * across_nm[outer]
        values = column_values(
            alone[0].segments.of_line(probed.line_of[p]), specimen.g_image_inv_nm, specimen.two_beam,
            x_nm, y_nm, half_nm, -half_nm, scene.beam.s_inv_nm,
            poisson_ratio=specimen.poisson_ratio, core_nm=scene.core_nm, slice_nm=SLICE_NM,
            beams=specimen.beams, spread=specimen.spread, plate=tuple(each.of_line(probed.line_of[p]) for each in alone),
        )[beam]  # fmt: skip
        profile[:] = CubicSpline(across_nm[outer], values)(across_nm)
    return across_nm, (profiles - background) / max(background, LEAST_BACKGROUND)
