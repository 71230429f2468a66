"""A crystal turned against the first one: its orientation, the reflections it shares, and those that are excited in it.

A grain or twin is the first crystal turned about one of its directions (a twin on a close-packed plane of a cubic crystal:
by 180 degrees about the plane's normal), its boundary any plane: the five numbers that tell a grain boundary.

Axes: P reflections.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from physics.beam import BeamCondition, beam_absorption_nm, excitation_error, image_from_crystal, xi_g_nm
from physics.boundary import GrainBoundary
from physics.contrast.beams import beam_set
from physics.contrast.two_beam import TwoBeam
from physics.crystal import Crystal
from physics.electron import wave_vector_inv_nm
from physics.errors import require
from physics.foil import Foil
from physics.frames import rotation_about
from physics.frozen import frozen_array
from physics.scattering import extinction_distance_nm, shortest_extinction_distance_nm

# Indices off whole numbers by less belong to one beam: over 100 nm of foil the two are then under 0.1 of a turn apart.
SHARED_TOLERANCE = 2e-4
# Nearer orientations are subgrains: their boundary is a wall of dislocations, and their beams are not apart.
LEAST_DEG = 2.0
# Reflections farther out couple so little (xi_g above 5 times that of the lowest) that they are left out.
LONGEST_INV_NM = 12.0


@dataclass(frozen=True, kw_only=True, eq=False)
class GrainReflection:
    """A reflection of a turned crystal: `g_image_inv_nm` (3,), its s at the field's centre, its two-beam constants.

    Of `two_beam` the mean absorption is that of the first crystal under its own beam: they are of one material.
    """

    hkl: tuple[int, int, int]
    g_image_inv_nm: np.ndarray
    s_inv_nm: float
    two_beam: TwoBeam


def misorientation(crystal: Crystal, uvw: ArrayLike, deg: float) -> np.ndarray:
    """Rotation (3, 3) in the crystal frame by `deg` about the direction uvw, anticlockwise seen against it."""
    axis = crystal.direction_nm(uvw)
    return rotation_about(axis / np.linalg.norm(axis), math.radians(deg))


def axis_and_angle(crystal: Crystal, rotation: np.ndarray) -> tuple[tuple[float, float, float], float]:
    """The direction uvw (of unit length in nm) and the angle in degrees, from 0 to 180, of a rotation in the crystal frame."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_matrix(rotation).as_rotvec()
    angle = float(np.linalg.norm(turn))
    axis = turn / angle if angle > 0 else np.array([0.0, 0.0, 1.0])
    return tuple(float(u) for u in np.linalg.solve(crystal.lattice_nm, axis)), math.degrees(angle)


def disorientation_deg(crystal: Crystal, rotation: np.ndarray) -> float:
    """The least angle of all rotations that make the same second lattice (of diffraction: with the inversion)."""
    inverse = np.linalg.inv(crystal.lattice_nm)
    symmetry = crystal.lattice_nm @ crystal.point_group.on_directions @ inverse
    symmetry = symmetry * np.linalg.det(symmetry)[:, None, None]
    cosine = (np.trace(rotation @ symmetry, axis1=1, axis2=2).max() - 1) / 2
    return math.degrees(math.acos(min(1.0, max(-1.0, float(cosine)))))


def shares_reflection(crystal: Crystal, rotation: np.ndarray, g_hkl: ArrayLike) -> bool:
    """Whether g of the first crystal is an allowed reflection of the turned one as well: both diffract into one beam."""
    turned = rotation.T @ crystal.reciprocal_vector_inv_nm(g_hkl)
    indices = np.linalg.solve(crystal.reciprocal_inv_nm, turned)
    whole = bool(np.abs(indices - indices.round()).max() < SHARED_TOLERANCE)
    return whole and crystal.is_allowed_reflection(indices.round())


def continues_beams(crystal: Crystal, beam: BeamCondition, grain: GrainBoundary) -> bool:
    """Whether all beams of the image go on through `grain` as if it were not there: g and s are the same in both.

    So of a coherent twin under a reflection common to both: its planes are shifted by whole planes of g, without a phase.
    """
    if grain.misorientation_uvw is None:
        return False
    rotation = misorientation(crystal, grain.misorientation_uvw, grain.misorientation_deg)
    beams = beam_set(crystal, beam)
    hkl = [beam.g_hkl] if beams is None or beams.multiples is not None else [g for g in beams.hkl if any(g)]
    return all(shares_reflection(crystal, rotation, g) for g in hkl)


def shown_foil(crystal: Crystal, beam: BeamCondition, foil: Foil) -> Foil:
    """`foil` without the second grain and the twins that its beams do not see (`continues_beams`)."""
    twins = tuple(twin for twin in foil.twins if not continues_beams(crystal, beam, twin))
    hidden = foil.boundary is not None and continues_beams(crystal, beam, foil.boundary)
    if len(twins) == len(foil.twins) and not hidden:
        return foil
    return replace(foil, twins=twins, boundary=None if hidden else foil.boundary)


def check_misorientation(crystal: Crystal, grain: GrainBoundary, where: str) -> None:
    """Raise InputError for a grain that is turned too little to be one, beyond what symmetry undoes."""
    if grain.misorientation_uvw is None:
        return
    least = disorientation_deg(crystal, misorientation(crystal, grain.misorientation_uvw, grain.misorientation_deg))
    require(least >= LEAST_DEG, f"{where}.misorientation_deg", f"turn the crystal by {LEAST_DEG:g} degrees or more beyond its symmetry",
            f"{least:.3g} degrees", "a subgrain boundary is a wall of dislocations")  # fmt: skip


def grain_reflections(
    crystal: Crystal, beam: BeamCondition, grain: GrainBoundary, turned_rad: float, most_s_xi: float
) -> tuple[GrainReflection, ...]:
    """Reflections of an oriented grain with |s| xi_g <= `most_s_xi` somewhere in a foil bent by up to `turned_rad`."""
    rotation = misorientation(crystal, grain.misorientation_uvw, grain.misorientation_deg)
    reach = math.ceil(LONGEST_INV_NM * np.linalg.norm(crystal.lattice_nm, axis=0).max())
    hkl = _indices_within(reach)
    g = crystal.reciprocal_vector_inv_nm(hkl) @ (image_from_crystal(crystal, beam) @ rotation).T
    length = np.linalg.norm(g, axis=1)
    s = excitation_error(wave_vector_inv_nm(beam.voltage_kV), g)
    near_s = np.maximum(np.abs(s) - length * math.sin(min(turned_rad, math.pi / 2)), 0.0)
    shortest_nm = shortest_extinction_distance_nm(crystal, beam.voltage_kV, debye_waller=beam.debye_waller)
    near = (length > 0) & (length <= LONGEST_INV_NM) & (near_s * shortest_nm <= most_s_xi)
    xi_0_prime_nm, xi_g_prime_nm = beam_absorption_nm(crystal, beam)
    ratio = xi_g_prime_nm / xi_g_nm(crystal, beam)
    found = []
    for k in np.flatnonzero(near):
        if not crystal.is_allowed_reflection(hkl[k]):
            continue
        xi_nm = _xi_nm(crystal, beam, hkl[k])
        if near_s[k] * xi_nm <= most_s_xi:
            two_beam = TwoBeam.with_mean_absorption(xi_nm, ratio * xi_nm, xi_0_prime_nm)
            found.append(GrainReflection(hkl=tuple(int(h) for h in hkl[k]), g_image_inv_nm=frozen_array(g[k], (3,), "g"),
                                         s_inv_nm=float(s[k]), two_beam=two_beam))  # fmt: skip
    return tuple(found)


def low_reflections(crystal: Crystal, count: int) -> np.ndarray:
    """The shortest allowed reflections (P, 3), `count` lengths of them."""
    hkl = _indices_within(5)
    length = np.linalg.norm(crystal.reciprocal_vector_inv_nm(hkl), axis=1).round(6)
    by_length = itertools.groupby(_allowed_by_length(crystal, hkl, length), key=lambda k: length[k])
    return hkl[sorted(k for _, alike in itertools.islice(by_length, count) for k in alike)]


def _indices_within(reach: int) -> np.ndarray:
    """All hkl (P, 3) from -reach to reach."""
    return np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))


def _allowed_by_length(crystal: Crystal, hkl: np.ndarray, length: np.ndarray) -> Iterator[int]:
    """Numbers of the allowed ones of reflections (P, 3), the shortest first."""
    return (int(k) for k in np.argsort(length, kind="stable") if crystal.is_allowed_reflection(hkl[k]))


def _xi_nm(crystal: Crystal, beam: BeamCondition, hkl: np.ndarray) -> float:
    return extinction_distance_nm(crystal, hkl, beam.voltage_kV, debye_waller=beam.debye_waller)
