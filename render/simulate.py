"""From a Scene to a Micrograph: a pure function."""

from __future__ import annotations

import numpy as np

from physics.contrast.columns import ColumnGrid, column_image
from render.burn_in import text_distractors
from render.detector import Detector, expose
from render.distractors import distractors
from render.illumination import edge_curves_px
from render.labels import label_lines
from render.micrograph import Distractor, Micrograph
from render.optics import blurred_lines
from render.scene import Scene
from render.specimen import Specimen, fault_sheets, segments
from render.surroundings import passed_share


def simulate(scene: Scene) -> Micrograph:
    """Image, noise-free intensity and labels of a Scene; the same Scene gives the same bytes."""
    specimen = Specimen.of(scene)
    intensity = noise_free_intensity(scene, specimen)
    lines = label_lines(scene, specimen)
    if scene.detector.blur is not None:
        lines = blurred_lines(lines, scene.detector.blur, scene.visible_contrast)
    return Micrograph(
        image=expose(intensity, scene.detector),
        intensity=intensity,
        lines=lines,
        scene=scene,
        distractors=distractors(scene, specimen) + camera_distractors(scene.detector, scene.shape),
    )


def camera_distractors(detector: Detector, shape: tuple[int, int]) -> tuple[Distractor, ...]:
    """What the camera puts into the picture that is no dislocation: aperture edges, text."""
    edges = [edge for edge in (detector.condenser_edge, detector.objective_edge) if edge is not None]
    curves = [curve for edge in edges for curve in edge_curves_px(edge, shape)]
    return (*(Distractor(kind="edge", points_px=curve) for curve in curves), *text_distractors(detector.burn_in, shape))


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
