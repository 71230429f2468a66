"""Drawing twins: packets of parallel lamellae on a close-packed plane of the crystal as it stands in the image."""

from __future__ import annotations

import math

import numpy as np

from physics.beam import BeamCondition, foil_normal_image, image_from_crystal
from physics.boundary import GrainBoundary
from physics.crystal import Crystal
from physics.foil import Foil
from physics.frames import field_nm
from physics.partials import CLOSE_PACKED_CUBIC
from physics.twin import shared_with_twin
from render.foil import FoilShape
from render.surroundings_config import SurroundingsConfig

FLATTEST_DEG = 25.0  # between twin plane and foil; flatter, the strip in which a lamella crosses the foil fills the field
CENTRAL = 0.4  # a packet's middle lies within this part of the field to each side of the centre


def twin_planes(crystal: Crystal, foil: Foil, beam: BeamCondition) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Twin planes (h k l) (3,) with their unit normals (3,) in the image frame.

    Those of cubic close-packed crystals; hexagonal and body-centred ones twin on others, which are not modelled. Left out are
    planes that lie nearly in the foil, and those whose twin shares g with the matrix: it is not seen
    (`physics.misorientation.continues_beams`).
    """
    if crystal.structure not in CLOSE_PACKED_CUBIC:
        return ()
    rotation, upward = image_from_crystal(crystal, beam), foil_normal_image(crystal, beam, foil)
    found = []
    # Of a plane and its reverse one: the point group of zincblende makes four {111} of both senses, not eight.
    for plane_hkl in np.unique([plane * plane[0] for plane in crystal.equivalent_planes((1, 1, 1))], axis=0):
        normal = rotation @ crystal.reciprocal_vector_inv_nm(plane_hkl)
        normal /= np.linalg.norm(normal)
        inclined = abs(normal @ upward) < math.cos(math.radians(FLATTEST_DEG))
        if inclined and not shared_with_twin(crystal, plane_hkl, beam.g_hkl):
            found.append((plane_hkl, normal))
    return tuple(found)


def draw_twins(
    config: SurroundingsConfig, foil: Foil, crystal: Crystal, beam: BeamCondition, shape: tuple[int, int], pixel_nm: float,
    rng: np.random.Generator,
) -> tuple[GrainBoundary, ...]:  # fmt: skip
    """A packet of lamellae side by side, or none. All are one twin, of the orientation that its plane says.

    Widths are whole numbers of three planes, behind which the crystal stands as before: no fault is left in its beams.
    """
    wanted = rng.random() < config.twin_share.draw(rng)
    planes = twin_planes(crystal, foil, beam) if wanted else ()
    if not planes:
        return ()
    plane_hkl, normal = planes[int(rng.integers(len(planes)))]
    period_nm = 3 / float(np.linalg.norm(crystal.reciprocal_vector_inv_nm(plane_hkl)))
    x_nm, y_nm = rng.uniform(-CENTRAL, CENTRAL, 2) * np.array(field_nm(shape, pixel_nm))
    placed = FoilShape(foil=foil, normal_image=foil_normal_image(crystal, beam, foil))
    middle_nm = np.array([x_nm, y_nm, float(placed.mid_z_nm(np.array(x_nm), np.array(y_nm)))])
    count = int(config.twin_count.draw(rng))
    widths_nm = np.array([float(config.twin_width_nm.draw(rng)) for _ in range(count)])
    widths_nm = period_nm * np.maximum(1, np.round(widths_nm / period_nm))
    gaps_nm = np.array([float(config.twin_gap_nm.draw(rng)) for _ in range(count)])
    begins_nm = np.concatenate([[0.0], np.cumsum(widths_nm + gaps_nm)[:-1]])
    begins_nm -= (begins_nm[-1] + widths_nm[-1]) / 2
    uvw = tuple(int(h) for h in plane_hkl)  # in cubic crystals the direction of the plane's normal
    return tuple(
        GrainBoundary(point_nm=middle_nm + begin_nm * normal, normal=normal, width_nm=float(width_nm), misorientation_uvw=uvw,
                      misorientation_deg=180.0)
        for begin_nm, width_nm in zip(begins_nm, widths_nm)
    )
