"""Dissociation of glide dislocations into two partials with a ribbon of stacking fault between them.

The width is where the repulsion of two parallel partials in isotropic (or any given) elasticity equals the fault
energy; a curved line takes the width of its local character, which holds where its radius of curvature is large
against the width. The image forces of the surfaces, friction and applied stress are left out: a few per cent of
the width at depths of several widths, more for the last nanometres below a face.

Axes: K vertices. Positions in nm, image frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from physics.clipping import Faces, between_faces
from physics.crystal import Crystal
from physics.dislocation import PLANE_TOLERANCE_NM, Dislocation
from physics.errors import require
from physics.fault import StackingFault
from physics.frozen import frozen_array
from physics.partials import dissociates, shockley_partials
from physics.ribbon import ribbon_edges
from physics.strain.stroh import energy_factor_GPa

GPA_NM_PER_MJ_M2 = 1e-3  # 1 mJ/m^2 = 1e-3 N/m, 1 GPa nm = 1 N/m
NARROWEST_NM = 0.5
ON_FACE_NM = 0.02
# Beyond a face the ribbon goes on for this many widths, so that both partials reach it.
OVERHANG_WIDTHS = 12.0

EnergyFactor = Callable[[np.ndarray], np.ndarray]


def isotropic_energy_factor_GPa(direction: ArrayLike, shear_modulus_GPa: float, poisson_ratio: float) -> np.ndarray:
    """K (3, 3) with the energy of a straight line b.K.b / (4 pi) ln(R / r0) a length (Hirth & Lothe 1982, eq. 3-87).

    mu for the part of b along the line, mu / (1 - nu) across it.
    """
    direction = np.asarray(direction, dtype=np.float64)
    along = np.outer(direction, direction) / (direction @ direction)
    return shear_modulus_GPa * (along + (np.eye(3) - along) / (1 - poisson_ratio))


def anisotropic_energy_factor(crystal: Crystal) -> EnergyFactor:
    """K of the crystal's own stiffness by a line's direction, both crystal Cartesian (`strain.stroh`)."""
    return lambda direction: energy_factor_GPa(crystal.stiffness_GPa, direction)


def separation_nm(
    first_burgers_nm: ArrayLike, second_burgers_nm: ArrayLike, energy_factor_GPa: ArrayLike, stacking_fault_mJ_m2: float
) -> float:
    """Distance at which two parallel partials on one plane repel each other with the fault's energy.

    Their interaction energy is -(b1.K.b2) / (2 pi) ln d a length, so that d = b1.K.b2 / (2 pi gamma); 0 where they
    attract. In an isotropic crystal this is Hirth & Lothe (1982), eq. 10-15:
    d = mu b_p^2 / (8 pi gamma) (2 - nu) / (1 - nu) (1 - 2 nu cos(2 beta) / (2 - nu)).
    """
    require(stacking_fault_mJ_m2 > 0, "stacking_fault_mJ_m2", "be > 0", stacking_fault_mJ_m2)
    force = np.asarray(first_burgers_nm) @ np.asarray(energy_factor_GPa) @ np.asarray(second_burgers_nm) / (2 * math.pi)
    return max(0.0, float(force)) / (stacking_fault_mJ_m2 * GPA_NM_PER_MJ_M2)


def ribbon_width_nm(
    crystal: Crystal, burgers_uvw: ArrayLike, plane_hkl: ArrayLike, direction_crystal: ArrayLike, *,
    stacking_fault_mJ_m2: float | None = None, energy_factor: EnergyFactor | None = None,
) -> float:  # fmt: skip
    """Width of the ribbon of a straight dislocation along `direction_crystal` (crystal Cartesian).

    `stacking_fault_mJ_m2` overrides the material's; `energy_factor` maps a line direction to K (3, 3) in GPa, crystal
    frame (default: isotropic, Voigt-Reuss-Hill moduli). Raises InputError where neither gives a fault energy.
    """
    gamma = _fault_energy(crystal, stacking_fault_mJ_m2)
    partials = shockley_partials(crystal, burgers_uvw, plane_hkl)
    pair_nm = crystal.direction_nm(partials.left_uvw), crystal.direction_nm(partials.right_uvw)
    return separation_nm(*pair_nm, _factor(crystal, energy_factor)(np.asarray(direction_crystal)), gamma)


def dissociated(
    line: Dislocation, crystal: Crystal, image_from_crystal: np.ndarray, *, faces: Faces | None = None,
    stacking_fault_mJ_m2: float | None = None, energy_factor: EnergyFactor | None = None,
    constricted: tuple[bool, bool] = (False, False), narrowest_nm: float = NARROWEST_NM, layer: int = 0,
) -> tuple[list[Dislocation], list[StackingFault]]:  # fmt: skip
    """A glissile line as two partials (kind "partial") and the fault between them; ([line], []) where it stays perfect.

    It stays perfect when b does not split on its plane, the ribbon is nowhere `narrowest_nm` wide, or the line is bent
    too sharply for its width. Ends on a face of the foil (`faces`) are carried beyond it and cut there again;
    `constricted` ends stay one point, as in a node; other ends split in place. `layer`: see `partials.fault_shifts`.
    """
    gamma = _fault_energy(crystal, stacking_fault_mJ_m2)
    if not any(line.plane_hkl) or not dissociates(crystal, line.burgers_uvw, line.plane_hkl):
        return [line], []
    normal = image_from_crystal @ crystal.reciprocal_vector_inv_nm(line.plane_hkl)
    up = 1 if normal[2] >= 0 else -1
    normal = up * normal / np.linalg.norm(normal)
    if np.abs((line.points_nm - line.points_nm[0]) @ normal).max() > PLANE_TOLERANCE_NM:
        return [line], []
    partials = shockley_partials(crystal, line.burgers_uvw, line.plane_hkl, up=up, layer=layer)
    pair_nm = crystal.direction_nm(partials.left_uvw), crystal.direction_nm(partials.right_uvw)
    factor = _factor(crystal, energy_factor)

    def width_nm(tangent_image: np.ndarray) -> float:
        return separation_nm(*pair_nm, factor(image_from_crystal.T @ tangent_image), gamma)

    points_nm, overhangs = _carried_beyond(line, faces, constricted, width_nm)
    edges = ribbon_edges(points_nm, normal, width_nm, line.closed, constricted, narrowest_nm)
    if edges is None:
        return [line], []
    left_nm, right_nm, outline_nm = edges
    lines: list[Dislocation] = []
    for burgers, edge_nm in ((partials.left_uvw, left_nm), (partials.right_uvw, right_nm)):
        pieces = [edge_nm] if faces is None else between_faces(edge_nm, faces)
        if any(overhangs) and not _ends_meet_faces(pieces, edge_nm, overhangs, faces):
            return [line], []
        lines += [Dislocation(burgers_uvw=burgers, points_nm=piece, plane_hkl=line.plane_hkl, kind="partial", glissile=line.glissile) for piece in pieces]
    fault = StackingFault(plane_hkl=line.plane_hkl, shift_uvw=partials.shift_uvw, outline_nm=outline_nm)
    return lines, [fault]


def _fault_energy(crystal: Crystal, override_mJ_m2: float | None) -> float:
    gamma = crystal.stacking_fault_mJ_m2 if override_mJ_m2 is None else override_mJ_m2
    require(gamma is not None, "stacking_fault_mJ_m2", f"be given for {crystal.material}", "nothing",
            "its material file holds none")  # fmt: skip
    require(gamma > 0, "stacking_fault_mJ_m2", "be > 0", gamma)
    return float(gamma)


def _factor(crystal: Crystal, energy_factor: EnergyFactor | None) -> EnergyFactor:
    if energy_factor is not None:
        return energy_factor
    return lambda direction: isotropic_energy_factor_GPa(direction, crystal.shear_modulus_GPa, crystal.poisson_ratio)


def _carried_beyond(
    line: Dislocation, faces: Faces | None, constricted: tuple[bool, bool], width_nm: Callable[[np.ndarray], float]
) -> tuple[np.ndarray, tuple[bool, bool]]:
    """The line with its ends on a face carried on straight, and which ends those are."""
    if faces is None or line.closed:
        return line.points_nm, (False, False)
    points_nm, overhangs = line.points_nm, []
    for end, inner in ((0, 1), (-1, -2)):
        point = line.points_nm[end]
        entrance_nm, exit_nm = faces(point[:1], point[1:2])
        on_face = min(abs(entrance_nm[0] - point[2]), abs(point[2] - exit_nm[0])) < ON_FACE_NM
        overhangs.append(bool(on_face and not constricted[end]))
        if not overhangs[-1]:
            continue
        tangent = (point - line.points_nm[inner]) / np.linalg.norm(point - line.points_nm[inner])
        beyond = point + OVERHANG_WIDTHS * max(width_nm(tangent), 1.0) * tangent
        # The vertex on the face is dropped: the line runs on straight through it.
        points_nm = np.concatenate([beyond[None], points_nm[1:]] if end == 0 else [points_nm[:-1], beyond[None]])
    return frozen_array(points_nm, (None, 3), "points_nm"), tuple(overhangs)


def _ends_meet_faces(
    pieces: list[np.ndarray], edge_nm: np.ndarray, overhangs: tuple[bool, bool], faces: Faces
) -> bool:
    """Whether a partial that was carried beyond the faces does end on them; a line along a face may not."""
    if not pieces:
        return False
    kept = [not overhang and np.array_equal(edge_nm[end], pieces[end][end]) for end, overhang in zip((0, -1), overhangs)]
    for piece in pieces:
        for end in (0, -1):
            if kept[end] and piece is pieces[end]:
                continue
            entrance_nm, exit_nm = faces(piece[end, :1], piece[end, 1:2])
            if min(abs(entrance_nm[0] - piece[end, 2]), abs(piece[end, 2] - exit_nm[0])) > ON_FACE_NM:
                return False
    return True
