"""The noise-free image of a Scene: Bragg electrons, those scattered inelastically, and the diffuse background.

Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from physics.absorption import absorption_lengths_nm
from physics.contrast.columns import column_image, column_values
from physics.contrast.spread import Spread
from physics.frames import column_positions_nm, pixel_from_image
from physics.inelastic import InelasticSpread, inelastic_share, inelastic_turns, thermal_diffuse_share
from physics.particle import DISCS
from physics.strain.segments import Segments
from render.other_grains import diffracted_shares, grains_share
from render.rasterise import line_masks
from render.scene import Scene
from render.specimen import Specimen, column_grid, fault_heights, fault_sheets, plate_fields, segments
from render.surroundings import absorbed_share, passed_share

# A pixel is a mean over its area. Where the field is smooth its centre tells that; nearer to a core than this many pixels
# four columns do, at the centres of its quarters.
CORE_REACH_PX = 1.2


def noise_free_intensity(scene: Scene, specimen: Specimen) -> np.ndarray:
    """Intensity (Y, X) float32 of the beam that forms the image, incident beam = 1.

    With `beam.aperture_mrad` the electrons of that beam that had an inelastic event form an image of their own, of the
    directions that they then have, by its share at each column's thickness; and of those that thermal vibrations have
    thrown out of all beams, the share that passes the aperture is added. The rest of them is lost.
    """
    plates = plate_fields(scene, specimen)
    aperture_mrad = scene.beam.aperture_mrad
    if aperture_mrad is None:
        image = _beam_images(scene, specimen, plates, specimen.spread)[wanted_beam(scene, specimen)]
        return np.asarray(image * passed_share(scene, specimen), dtype=np.float32)
    crystal, voltage_kV = scene.crystal, scene.beam.voltage_kV
    elastic = _beam_images(scene, specimen, plates, specimen.spread)
    first_nm = specimen.foil.entrance_z_nm - specimen.foil.exit_z_nm
    path_nm = first_nm + specimen.foil.second_grain_nm
    mean_nm = float(path_nm[path_nm > 0].mean()) if (path_nm > 0).any() else 1.0
    turned = InelasticSpread(
        illumination=specimen.spread, voltage_kV=voltage_kV,
        turns=inelastic_turns(crystal, voltage_kV, aperture_mrad, mean_nm),
    )  # fmt: skip
    inelastic = _beam_images(scene, specimen, plates, turned)
    share = inelastic_share(crystal, voltage_kV, aperture_mrad, path_nm)
    every = (1 - share) * elastic + share * inelastic
    wanted = wanted_beam(scene, specimen)
    # A turned electron sees another deviation in every grain: the image of each direction passes the others by its own share.
    straight, aside = (grains_share(scene, specimen, spread) for spread in (specimen.spread, turned))
    bragg = (1 - share) * elastic[wanted] * straight + share * inelastic[wanted] * aside
    image = bragg + _thermal_background(scene, specimen, every, wanted, path_nm)
    return np.asarray(image * absorbed_share(scene, specimen), dtype=np.float32)


def _thermal_background(
    scene: Scene, specimen: Specimen, every: np.ndarray, wanted: int, path_nm: np.ndarray
) -> np.ndarray:
    """Thermally scattered electrons (Y, X) that pass the aperture about beam `wanted`.

    Their number is that of the mean absorption by thermal diffuse scattering over the whole column, 1 - exp(-2 pi t/xi_0'),
    whatever absorption the beams were given. They come from all beams, by the mean of what each holds at entrance and exit:
    of the first grain's and, by the part of the column (`path_nm`, (Y, X)) in it, of a second one's.
    """
    crystal, voltage_kV = scene.crystal, scene.beam.voltage_kV
    xi_0_prime_nm, _ = absorption_lengths_nm(crystal, scene.beam.g_hkl, voltage_kV)
    g_inv_nm = np.array([np.zeros(3), specimen.g_image_inv_nm]) if specimen.beams is None else specimen.beams.g_image_inv_nm
    second_nm = specimen.foil.second_grain_nm
    # What has no first grain says nothing of its beams.
    first = path_nm > second_nm
    held = every[:, first].mean(axis=1) if second_nm.any() and first.any() else every.reshape(len(every), -1).mean(axis=1)
    held = held / held.sum() / 2
    held[0 if specimen.beams is None else specimen.beams.origin] += 0.5

    def passing(shares: np.ndarray, beams_inv_nm: np.ndarray) -> float:
        offsets_inv_nm = np.linalg.norm(beams_inv_nm - g_inv_nm[wanted], axis=1)
        return sum(
            share * thermal_diffuse_share(crystal, voltage_kV, scene.beam.aperture_mrad, round(float(offset), 9))
            for share, offset in zip(shares, offsets_inv_nm)
        )

    from_column: np.ndarray | float = passing(held, g_inv_nm)
    boundary = specimen.foil_shape.foil.boundary
    if boundary is not None and second_nm.any():
        own_beams = diffracted_shares(scene, specimen, boundary, second_nm)
        shares = np.array([at_exit / 2 for _, at_exit in own_beams])
        own = passing(np.array([1 - shares.sum(), *shares]), np.array([np.zeros(3), *(g for g, _ in own_beams)]))
        part = second_nm / np.maximum(path_nm, 1e-12)
        from_column = (1 - part) * from_column + part * own
    return from_column * -np.expm1(-2 * math.pi * path_nm / xi_0_prime_nm)


def _beam_images(
    scene: Scene, specimen: Specimen, plates: tuple | None, spread: Spread | InelasticSpread | None
) -> np.ndarray:
    """Images (N, Y, X) of all beams; 000 and g for two."""
    physics = column_physics(scene, specimen, plates, spread)
    fault_z_nm, fault_phase_rad = fault_sheets(scene, specimen)
    lines = segments(scene, specimen)
    images = column_image(
        lines, specimen.g_image_inv_nm, specimen.two_beam, column_grid(scene, specimen), fault_z_nm=fault_z_nm,
        fault_phase_rad=fault_phase_rad, **physics,
    )  # fmt: skip
    average_core_pixels(images, scene, specimen, plates, spread)
    return images


def column_physics(
    scene: Scene, specimen: Specimen, plates: tuple | None, spread: Spread | InelasticSpread | None
) -> dict[str, Any]:
    """What `column_image` and `column_values` take alike."""
    return {
        "poisson_ratio": specimen.poisson_ratio, "stiffness_image_GPa": specimen.stiffness_image_GPa,
        "core_nm": scene.core_nm, "slice_nm": scene.slice_nm, "beams": specimen.beams, "spread": spread, "plate": plates,
        "particles": [*(p for p in scene.particles if p.kind not in DISCS), *specimen.foil_shape.foil.twins], "every_beam": True,
    }  # fmt: skip


def average_core_pixels(
    images: np.ndarray, scene: Scene, specimen: Specimen, plates: tuple | None = None,
    spread: Spread | InelasticSpread | None = None,
) -> None:  # fmt: skip
    """Replace in the images (N, Y, X) of all beams the pixels on cores, whose centres were computed, by their means."""
    near = core_pixels(scene)
    if any(particle.kind in DISCS for particle in scene.particles):
        # Within a disc of other matter the sheet is known at the pixels' centres only.
        heights_nm, _ = fault_sheets(scene, specimen)
        if heights_nm is not None:
            near &= ~np.isfinite(heights_nm[len(scene.faults) :]).any(axis=0)
    rows, columns = np.nonzero(near)
    if len(rows):
        physics = column_physics(scene, specimen, plates, spread)
        images[:, rows, columns] = _pixel_means(scene, specimen, segments(scene, specimen), rows, columns, physics)


def core_pixels(scene: Scene) -> np.ndarray:
    """Pixels (Y, X) that a line's core passes through or beside, where one column does not stand for a pixel."""
    near = np.zeros(scene.shape, dtype=bool)
    curves = [pixel_from_image(line.points_nm, scene.shape, scene.pixel_nm) for line in scene.dislocations]
    for mask in line_masks([(curve, np.full(len(curve), CORE_REACH_PX)) for curve in curves], scene.shape):
        near |= mask
    return near


def _pixel_means(
    scene: Scene, specimen: Specimen, lines: Segments, rows: np.ndarray, columns: np.ndarray, physics: dict[str, Any]
) -> np.ndarray:
    """Means (N, P) over the quarters of some pixels of every beam's intensity."""
    x_nm, y_nm = column_positions_nm(scene.shape, scene.pixel_nm)
    quarter = scene.pixel_nm * np.array([-0.25, 0.25])
    x = (x_nm[columns][:, None, None] + quarter[None, None, :] + np.zeros((1, 2, 1))).ravel()
    y = (y_nm[rows][:, None, None] + quarter[None, :, None] + np.zeros((1, 1, 2))).ravel()
    foil = specimen.foil
    faces = (np.repeat(array[rows, columns], 4) for array in (foil.entrance_z_nm, foil.exit_z_nm, foil.s_inv_nm))
    heights_nm, phases_rad = fault_heights(scene, specimen, x, y)
    values = column_values(
        lines, specimen.g_image_inv_nm, specimen.two_beam, x, y, *faces, fault_z_nm=heights_nm, fault_phase_rad=phases_rad,
        **physics,
    )  # fmt: skip
    return np.asarray(values).reshape(len(values), -1, 4).mean(axis=2)


def wanted_beam(scene: Scene, specimen: Specimen) -> int:
    """Which of `_beam_images` the objective aperture lets through."""
    bright = scene.beam.image == "bf"
    if specimen.beams is None:
        return 0 if bright else 1
    return specimen.beams.origin if bright else specimen.beams.dark
