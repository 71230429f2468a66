"""Noise-free intensities of several Scenes on a GPU, and which Scenes that path models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from physics.beam import BeamCondition
from physics.errors import InputError
from physics.foil import Foil
from render.intensity import average_core_pixels
from render.scene import Scene
from render.specimen import Specimen, column_grid, fault_sheets, segments
from render.surroundings import passed_share

# Fields whose physics `physics.gpu` computes, or that reach it as height maps, faults or a factor on the intensity. A
# field that is added to one of these nouns and is not listed here is refused wherever it is switched on.
MODELLED: dict[type, frozenset[str]] = {
    Scene: frozenset({
        "crystal", "foil", "beam", "dislocations", "faults", "deposits", "detector", "shape", "pixel_nm",
        "visible_contrast", "labels", "slice_nm", "core_nm", "foil_renderer",
    }),
    Foil: frozenset({
        "thickness_nm", "normal_uvw", "wedge_deg", "wedge_azimuth_deg", "curvature_inv_um", "cross_curvature_inv_um",
        "curvature_azimuth_deg", "relief", "openings", "boundary", "tears",
    }),
    BeamCondition: frozenset({
        "g_hkl", "zone_axis_uvw", "voltage_kV", "s_inv_nm", "image", "image_rotation_deg", "xi_0_prime_over_shortest_xi",
        "xi_g_prime_over_xi_g", "xi_g_nm", "absorption", "debye_waller",
    }),
}  # fmt: skip
# What a field says that is switched off.
OFF = ("isotropic", "none", "two_beam", "physics")


def check_modelled(scene: Scene, device: str) -> None:
    """Raise InputError, naming the first field, for a Scene that asks for physics which only the CPU path models."""
    for where, noun in (("", scene), ("foil.", scene.foil), ("beam.", scene.beam)):
        for field in fields(noun):
            value = getattr(noun, field.name)
            if field.name not in MODELLED[type(noun)] and not _is_off(value):
                raise InputError(
                    f"device must be cpu for a scene with {where}{field.name}, got {device}, which models isotropic "
                    f"two-beam contrast without it{'; set surfaces=false' if field.name == 'surfaces' else ''}"
                )
    if scene.beam.image not in ("bf", "df"):
        raise InputError(f"device must be cpu for beam.image={scene.beam.image}, got {device}; use beam=bf or beam=df there")


def device_intensities(scenes: Sequence[Scene], specimens: Sequence[Specimen], device: str) -> list[np.ndarray]:
    """Bright- or dark-field intensity (Y, X) float32 of every Scene by `physics.gpu`, incident beam = 1.

    Raises InputError for a device that is not there, or a Scene that it does not model.
    """
    from physics.gpu import column_images, torch_device

    torch_device(device)
    for scene in scenes:
        check_modelled(scene, device)
    intensities: dict[int, np.ndarray] = {}
    for shape in {scene.shape for scene in scenes}:
        chosen = [i for i, scene in enumerate(scenes) if scene.shape == shape]
        bright, dark = column_images([_image_columns(scenes[i], specimens[i]) for i in chosen], device)
        for n, i in enumerate(chosen):
            images = np.stack([bright[n].cpu().numpy(), dark[n].cpu().numpy()])
            average_core_pixels(images, scenes[i], specimens[i])  # on the CPU: few columns, but near lines
            image = images[0 if scenes[i].beam.image == "bf" else 1]
            intensities[i] = np.asarray(image * passed_share(scenes[i], specimens[i]), dtype=np.float32)
    return [intensities[i] for i in range(len(scenes))]


def device_name(device: str) -> str:
    """The device as a dataset card tells it: "cpu", or a GPU with its model. Raises InputError for one that is not there."""
    if device == "cpu":
        return device
    import torch

    from physics.gpu import torch_device

    found = torch_device(device)
    return f"cuda ({torch.cuda.get_device_name(found)})" if found.type == "cuda" else "torch on the CPU"


def _image_columns(scene: Scene, specimen: Specimen) -> Any:
    from physics.gpu import ImageColumns

    fault_z_nm, fault_phase_rad = fault_sheets(scene, specimen)
    return ImageColumns(
        segments=segments(scene, specimen), g_image_inv_nm=specimen.g_image_inv_nm, two_beam=specimen.two_beam,
        grid=column_grid(scene, specimen), poisson_ratio=specimen.poisson_ratio, core_nm=scene.core_nm,
        slice_nm=scene.slice_nm, fault_z_nm=fault_z_nm, fault_phase_rad=fault_phase_rad,
    )  # fmt: skip


def _is_off(value: object) -> bool:
    if isinstance(value, str):
        return not value or value in OFF
    if isinstance(value, np.ndarray):
        return value.size == 0
    return not value
