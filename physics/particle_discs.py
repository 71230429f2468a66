"""Plates and point-defect clusters as what they are elastically: a closed line about a disc that opens by a small step.

A thin plate of thickness t and misfit strain delta along its normal pushes its faces apart by delta t: at distances
from its edge above t the field is that of a prismatic loop with b = delta t along the normal (Brown, Woolhouse &
Valdre, Phil. Mag. 17 (1968) 781), isotropic here. A cluster is the loop of one layer, misfit +-1.
The crystal below the disc has moved by -delta t along the normal toward the gun; the sheet carries its phase 2 pi g.R.

Lines and sheets here are not dislocations and faults of the crystal: b need not be a lattice vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.fault import StackingFault
from physics.particle import DISCS, Particle

LEAST_SIDES, MOST_SIDES, SIDE_NM = 10, 48, 1.5


def disc_lines(
    particles: Sequence[Particle], crystal: Crystal, image_from_crystal: np.ndarray
) -> tuple[list[Dislocation], list[StackingFault]]:
    """Closed lines and sheets of the discs among `particles`, in their order."""
    lines, sheets = [], []
    uvw_from_image = np.linalg.inv(image_from_crystal @ crystal.lattice_nm)
    for particle in particles:
        if particle.kind not in DISCS:
            continue
        normal = disc_normal_image(particle, crystal, image_from_crystal)
        # Anticlockwise about the normal toward the gun: the sheet lies on the left, and b = R.
        shift_uvw = uvw_from_image @ (-particle.opening_nm * normal)
        points_nm = particle.centre_nm + _circle(normal, particle.radius_nm)
        lines.append(Dislocation(burgers_uvw=shift_uvw, points_nm=points_nm, plane_hkl=particle.plane_hkl, kind=particle.kind))
        sheets.append(StackingFault(plane_hkl=particle.plane_hkl, shift_uvw=shift_uvw, outline_nm=points_nm[:-1]))
    return lines, sheets


def disc_normal_image(particle: Particle, crystal: Crystal, image_from_crystal: np.ndarray) -> np.ndarray:
    """Unit normal (3,) of a disc in the image frame, toward the gun."""
    normal = image_from_crystal @ crystal.reciprocal_vector_inv_nm(particle.plane_hkl)
    return normal / np.linalg.norm(normal) * (1 if normal[2] >= 0 else -1)


def half_height_nm(particle: Particle, crystal: Crystal, image_from_crystal: np.ndarray) -> float:
    """How far a particle reaches above its centre."""
    if particle.kind not in DISCS:
        return particle.radius_nm
    normal = disc_normal_image(particle, crystal, image_from_crystal)
    return particle.radius_nm * math.hypot(normal[0], normal[1]) + abs(particle.thickness_nm * normal[2]) / 2


def _circle(normal: np.ndarray, radius_nm: float) -> np.ndarray:
    """Closed polygon (K, 3) of the circle's area about the origin, anticlockwise about the normal."""
    sides = int(np.clip(math.ceil(2 * math.pi * radius_nm / SIDE_NM), LEAST_SIDES, MOST_SIDES))
    u = np.cross(normal, [0.0, 0.0, 1.0] if abs(normal[2]) < 0.9 else [1.0, 0.0, 0.0])
    u /= np.linalg.norm(u)
    angle = 2 * math.pi * np.arange(sides + 1) / sides
    corner_nm = radius_nm * math.sqrt(2 * math.pi / sides / math.sin(2 * math.pi / sides))
    points_nm = corner_nm * (np.multiply.outer(np.cos(angle), u) + np.multiply.outer(np.sin(angle), np.cross(normal, u)))
    points_nm[-1] = points_nm[0]
    return points_nm
