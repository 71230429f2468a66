"""From a Scene to a Micrograph: a pure function."""

from __future__ import annotations

import numpy as np

from physics.contrast.columns import ColumnGrid, column_image
from render.detector import expose
from render.distractors import distractors
from render.labels import label_lines
from render.micrograph import Micrograph
from render.scene import Scene
from render.specimen import Specimen, fault_sheets, segments
from render.surroundings import passed_share


def simulate(scene: Scene) -> Micrograph:
    """Image, noise-free intensity and labels of a Scene; the same Scene gives the same bytes."""
    specimen = Specimen.of(scene)
    intensity = noise_free_intensity(scene, specimen)
    return Micrograph(
        image=expose(intensity, scene.detector),
        intensity=intensity,
        lines=label_lines(scene, specimen),
        distractors=distractors(scene, specimen),
        scene=scene,
    )


def noise_free_intensity(scene: Scene, specimen: Specimen) -> np.ndarray:
    """Bright- or dark-field intensity (Y, X) float32, incident beam = 1."""
    grid = ColumnGrid(
        shape=scene.shape,
        pixel_nm=scene.pixel_nm,
        entrance_z_nm=specimen.foil.entrance_z_nm,
        exit_z_nm=specimen.foil.exit_z_nm,
        s_inv_nm=specimen.foil.s_inv_nm,
    )
    fault_z_nm, fault_phase_rad = fault_sheets(scene, specimen)
    bright, dark = column_image(
        segments(scene, specimen), specimen.g_image_inv_nm, specimen.two_beam, grid,
        poisson_ratio=specimen.poisson_ratio, core_nm=scene.core_nm, slice_nm=scene.slice_nm,
        fault_z_nm=fault_z_nm, fault_phase_rad=fault_phase_rad,
    )  # fmt: skip
    intensity = bright if scene.beam.image == "bf" else dark
    return np.asarray(intensity * passed_share(scene, specimen.foil), dtype=np.float32)
