"""From a Scene to a Micrograph: a pure function."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from render.blas import one_blas_thread
from render.burn_in import text_distractors
from render.detector import Detector, expose
from render.distractors import distractors
from render.illumination import edge_curves_px
from render.intensity import noise_free_intensity
from render.labels import label_lines
from render.micrograph import Distractor, Micrograph
from render.optics import blurred_lines
from render.scene import Scene
from render.specimen import Specimen
from render.strokes import backdrop_distractors, composite_intensity, stroke_intensity, stroke_lines


def simulate(scene: Scene, foil_library: str | os.PathLike[str] | None = None) -> Micrograph:
    """Image, noise-free intensity and labels of a Scene; the same Scene gives the same bytes.

    `foil_library` is a folder that keeps the foils that Blender has cast (`render.foil_library`): it changes the time alone.
    """
    make = {"stroke": stroke_intensity, "composite": composite_intensity, "physics": noise_free_intensity}[scene.contrast]
    with one_blas_thread():
        specimen = Specimen.of(scene, foil_library)
        return _micrograph(scene, specimen, make(scene, specimen))


def simulate_batch(
    scenes: Sequence[Scene], device: str = "cpu", foil_library: str | os.PathLike[str] | None = None
) -> list[Micrograph]:
    """The micrographs of some Scenes, their intensities computed on `device`, everything else on the CPU.

    "cpu" is `simulate`, Scene by Scene. "cuda" is `physics.gpu`: another solution to within 1e-5 of the incident beam
    where that of the CPU is exact, whose last bits depend on the GPU and on what is computed together.

    Raises InputError for a device that is not there, or a Scene whose physics it does not model.
    """
    if device == "cpu":
        return [simulate(scene, foil_library) for scene in scenes]
    from render.on_device import device_intensities

    with one_blas_thread():
        specimens = [Specimen.of(scene, foil_library) for scene in scenes]
        intensities = device_intensities(scenes, specimens, device)
        return [_micrograph(*parts) for parts in zip(scenes, specimens, intensities)]


def _micrograph(scene: Scene, specimen: Specimen, intensity: np.ndarray) -> Micrograph:
    stroked = scene.contrast == "stroke"
    lines = stroke_lines(scene, specimen) if stroked else label_lines(scene, specimen)
    if scene.detector.blur is not None and not stroked:
        lines = blurred_lines(lines, scene.detector.blur, scene.visible_contrast)
    return Micrograph(
        image=expose(intensity, scene.detector),
        intensity=intensity,
        lines=lines,
        scene=scene,
        distractors=(
            *distractors(scene, specimen), *(backdrop_distractors(scene) if scene.strokes is not None else ()),
            *camera_distractors(scene.detector, scene.shape),
        ),
    )


def camera_distractors(detector: Detector, shape: tuple[int, int]) -> tuple[Distractor, ...]:
    """What the camera puts into the picture that is no dislocation: aperture edges, text."""
    edges = [edge for edge in (detector.condenser_edge, detector.objective_edge) if edge is not None]
    curves = [curve for edge in edges for curve in edge_curves_px(edge, shape)]
    return (*(Distractor(kind="edge", points_px=curve) for curve in curves), *text_distractors(detector.burn_in, shape))
