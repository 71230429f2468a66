"""Lines that react: zipped junctions, and the Lomer-Cottrell lock with its stair-rod partial.

A junction is straight along the intersection of the two slip planes; its Burgers vector is the sum of the two, so
that both nodes balance whatever the crystal: fcc Lomer locks, hcp a + c -> c+a and a1 + a2 -> -a3.

Positions in nm, image frame; Burgers vectors in lattice vectors.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.optimize import minimize

from physics.clipping import Faces, between_faces
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.dissociation import GPA_NM_PER_MJ_M2, EnergyFactor, dissociated
from physics.errors import require
from physics.fault import StackingFault
from physics.partials import shockley_partials
from physics.sources import GlidePlane

Pieces = tuple[list[Dislocation], list[StackingFault]]
STAIR_ROD_TAPER_WIDTHS = 2.0


def intersection(first: GlidePlane, second: GlidePlane) -> np.ndarray:
    """Unit vector (3,) along the line in which two planes meet. Raises InputError for parallel planes."""
    along = np.cross(first.normal_image, second.normal_image)
    length = float(np.linalg.norm(along))
    require(length > 1e-6, "planes", "meet in a line", [list(first.plane_hkl), list(second.plane_hkl)])
    return along / length


def junction(
    first: GlidePlane, second: GlidePlane, faces: Faces, *, length_nm: float, arms_deg: tuple[float, float] = (40.0, 40.0),
    step_nm: float, reach_nm: float,
) -> list[Dislocation]:  # fmt: skip
    """Two lines through the foil that have zipped together over `length_nm` about `first.point_nm`.

    Each line comes in on its own plane, joins the other at one node and leaves at the second, `arms_deg` off the
    junction at either. Five lines; the one between the nodes has b1 + b2 and kind "junction". The arms end on the faces
    or `reach_nm` from the node.
    """
    along = intersection(first, second)
    product = first.burgers_uvw + second.burgers_uvw
    require(bool(np.any(np.abs(product) > 1e-9)), "burgers_uvw", "not add up to zero: such lines annihilate",
            [list(first.burgers_uvw), list(second.burgers_uvw)])  # fmt: skip
    nodes = first.point_nm - along * length_nm / 2, first.point_nm + along * length_nm / 2
    segments = max(1, math.ceil(length_nm / step_nm))
    points_nm = nodes[0] + np.multiply.outer(np.linspace(0, 1, segments + 1), nodes[1] - nodes[0])
    lines = [Dislocation(burgers_uvw=product, points_nm=points_nm, kind="junction")]
    for plane, angle_deg in zip((first, second), arms_deg):
        angle = math.radians(angle_deg)
        across = np.cross(plane.normal_image, along)
        outward = math.cos(angle) * along + math.sin(angle) * across
        for node, direction, arriving in ((nodes[0], -outward, True), (nodes[1], outward, False)):
            arm = _arm(node, direction, faces, step_nm, reach_nm)
            lines.append(Dislocation(burgers_uvw=plane.burgers_uvw, points_nm=arm[::-1] if arriving else arm,
                                     plane_hkl=plane.plane_hkl, glissile=True))  # fmt: skip
    return lines


def dissociated_junction(
    lines: list[Dislocation], crystal: Crystal, image_from_crystal: np.ndarray, faces: Faces, *,
    stacking_fault_mJ_m2: float | None = None, energy_factor: EnergyFactor | None = None,
) -> Pieces:  # fmt: skip
    """A `junction` whose four arms are split into partials that meet again in the nodes; the product stays whole.

    `energy_factor` as for `dissociated`.
    """
    split, faults = [lines[0]], []
    for arm in lines[1:]:
        at_start = any(np.array_equal(arm.points_nm[0], lines[0].points_nm[end]) for end in (0, -1))
        new_lines, new_faults = dissociated(arm, crystal, image_from_crystal, faces=faces, stacking_fault_mJ_m2=stacking_fault_mJ_m2,
                                            energy_factor=energy_factor, constricted=(at_start, not at_start))  # fmt: skip
        split, faults = split + new_lines, faults + new_faults
    return split, faults


def lomer_cottrell(
    first: GlidePlane, second: GlidePlane, crystal: Crystal, image_from_crystal: np.ndarray, faces: Faces, *,
    stacking_fault_mJ_m2: float | None = None, length_nm: float | None = None, step_nm: float = 4.0, reach_nm: float = 2000.0,
) -> Pieces:  # fmt: skip
    """The lock made of two dissociated lines: a stair-rod partial where the planes meet, a fault on each plane, and a
    Shockley partial at the far side of either (Hirth & Lothe 1982, section 22-2).

    Of the four ways to bring the ribbons together the one with the shortest stair-rod is taken (1/6<110> for a Lomer
    reaction). `length_nm` None: from face to face; otherwise the three lines meet in points at both ends, where a
    `junction` can join. The widths are where the energy of the three lines and two faults is least in isotropic
    elasticity. The symmetric arrangement is a saddle of it: one fault is wider, here that on the first plane.
    """
    gamma = crystal.stacking_fault_mJ_m2 if stacking_fault_mJ_m2 is None else stacking_fault_mJ_m2
    require(gamma is not None and gamma > 0, "stacking_fault_mJ_m2", "be given and > 0", gamma)
    along = intersection(first, second)
    options = []
    for sides in itertools.product((1, -1), repeat=2):  # +1: the fault lies on the left of the line
        outer, inner, shifts = [], [], []
        for plane, side in zip((first, second), sides):
            up = 1 if (image_from_crystal @ crystal.reciprocal_vector_inv_nm(plane.plane_hkl))[2] >= 0 else -1
            pair = shockley_partials(crystal, plane.burgers_uvw, plane.plane_hkl, up=up)
            outer.append(pair.left_uvw if side > 0 else pair.right_uvw)
            inner.append(pair.right_uvw if side > 0 else pair.left_uvw)
            shifts.append(pair.shift_uvw)
        stair_rod = inner[0] + inner[1]
        options.append((float(np.linalg.norm(crystal.direction_nm(stair_rod))), sides, outer, stair_rod, shifts))
    _, sides, outer, stair_rod, shifts = min(options, key=lambda option: option[0])
    require(bool(np.any(np.abs(stair_rod) > 1e-9)), "burgers_uvw", "leave a stair-rod where the planes meet", "nothing")
    across = [side * np.cross(plane.normal_image, along) for plane, side in zip((first, second), sides)]
    burgers_nm = [image_from_crystal @ crystal.direction_nm(b) for b in (outer[0], stair_rod, outer[1])]
    widths_nm = _lock_widths_nm(burgers_nm, across, along, crystal, float(gamma))
    base_nm, share = _lock_base(first.point_nm, along, length_nm, float(widths_nm.max()), step_nm, reach_nm)
    edges = [base_nm + np.multiply.outer(share * width, direction) for width, direction in zip(widths_nm, across)]
    curves = ((outer[0], edges[0], first.plane_hkl), (stair_rod, base_nm, (0, 0, 0)), (outer[1], edges[1], second.plane_hkl))
    lines = [
        Dislocation(burgers_uvw=burgers + 0.0, points_nm=piece, plane_hkl=plane_hkl, kind="partial" if any(plane_hkl) else "stair-rod")
        for burgers, curve, plane_hkl in curves
        for piece in (between_faces(curve, faces) if length_nm is None else [curve])
    ]
    faults = [
        StackingFault(plane_hkl=plane.plane_hkl, shift_uvw=shift, outline_nm=_between(edge, base_nm))
        for plane, shift, edge in zip((first, second), shifts, edges)
    ]
    return lines, faults


def _arm(node_nm: np.ndarray, direction: np.ndarray, faces: Faces, step_nm: float, reach_nm: float) -> np.ndarray:
    """The straight line (K, 3) from a node to the face it meets, at most `reach_nm` long."""
    stations = node_nm + np.multiply.outer(np.linspace(0, 1, max(2, math.ceil(reach_nm / step_nm)) + 1) * reach_nm, direction)
    pieces = between_faces(stations, faces)
    require(bool(pieces) and np.array_equal(pieces[0][0], node_nm), "first.point_nm", "put the nodes inside the foil",
            [round(float(x), 3) for x in node_nm])  # fmt: skip
    # Straight: the ends are all there is, but a vertex now and then keeps the ribbon of a dissociated arm tidy.
    arm = pieces[0]
    keep = np.unique(np.r_[np.arange(0, len(arm) - 1, max(1, len(arm) // 40)), len(arm) - 1])
    return arm[keep]


def _lock_base(
    point_nm: np.ndarray, along: np.ndarray, length_nm: float | None, width_nm: float, step_nm: float, reach_nm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (K, 3) along the intersection and the share of their full width that the faults have there (K,)."""
    if length_nm is None:
        at_nm = np.linspace(-reach_nm, reach_nm, 2 * math.ceil(reach_nm / max(step_nm, reach_nm / 500)) + 1)
        return point_nm + np.multiply.outer(at_nm, along), np.ones(len(at_nm))
    at_nm = np.linspace(-length_nm / 2, length_nm / 2, max(8, 2 * math.ceil(length_nm / 2 / step_nm)) + 1)
    taper_nm = min(STAIR_ROD_TAPER_WIDTHS * width_nm, length_nm / 3)
    return point_nm + np.multiply.outer(at_nm, along), np.clip((length_nm / 2 - np.abs(at_nm)) / taper_nm, 0, 1)


def _lock_widths_nm(
    burgers_nm: list[np.ndarray], across: list[np.ndarray], along: np.ndarray, crystal: Crystal, gamma_mJ_m2: float
) -> np.ndarray:
    """Widths (2,) of the faults of a lock, the one on the first plane the wider, where the energy a length is least."""
    mu, nu = crystal.shear_modulus_GPa, crystal.poisson_ratio

    def energy(log_widths: np.ndarray) -> float:
        widths_nm = np.exp(log_widths)
        positions_nm = [widths_nm[0] * across[0], np.zeros(3), widths_nm[1] * across[1]]
        return parallel_lines_energy(burgers_nm, positions_nm, along, mu, nu) + gamma_mJ_m2 * GPA_NM_PER_MJ_M2 * widths_nm.sum()

    scale = mu * float(burgers_nm[0] @ burgers_nm[0]) / (8 * math.pi * gamma_mJ_m2 * GPA_NM_PER_MJ_M2)
    found = minimize(energy, np.log([1.5 * scale, 0.5 * scale]), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-13, "maxiter": 2000})
    return np.exp(found.x)


def parallel_lines_energy(
    burgers_nm: list[np.ndarray], positions_nm: list[np.ndarray], line: np.ndarray, shear_modulus_GPa: float, poisson_ratio: float
) -> float:
    """Interaction energy a length, GPa nm^2, of parallel straight lines (Nabarro 1952; Hirth & Lothe 1982, eq. 5-16)."""
    strength, energy = shear_modulus_GPa / (2 * math.pi), 0.0
    for i, j in itertools.combinations(range(len(burgers_nm)), 2):
        r = positions_nm[j] - positions_nm[i]
        r = r - (r @ line) * line
        b, c = burgers_nm[i], burgers_nm[j]
        edge_b, edge_c = np.cross(b, line), np.cross(c, line)
        energy -= strength * ((b @ line) * (c @ line) + (edge_b @ edge_c) / (1 - poisson_ratio)) * math.log(np.linalg.norm(r))
        energy -= strength / (1 - poisson_ratio) * (edge_b @ r) * (edge_c @ r) / (r @ r)
    return float(energy)


def _between(edge_nm: np.ndarray, base_nm: np.ndarray) -> np.ndarray:
    outline_nm = np.concatenate([edge_nm, base_nm[::-1]])
    steps_nm = np.linalg.norm(outline_nm - np.roll(outline_nm, 1, axis=0), axis=1)
    return outline_nm[steps_nm > 1e-9]
