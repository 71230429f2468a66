"""Twins on the close-packed planes of cubic close-packed lattices: their orientation and what they share with the matrix.

A twin is the matrix turned by 180 degrees about the normal of its plane (with the inversion of the lattice: mirrored in the
plane). Of the reflections of the matrix those are reflections of the twin, too, whose image under that turn is one: on (p q r) of
{111} those with p h + q k + r l a multiple of 3 (Pashley & Stowell 1963, Phil. Mag. 8, 1605).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from physics.crystal import Crystal
from physics.misorientation import shares_reflection


def twin_rotation(crystal: Crystal, plane_hkl: ArrayLike) -> np.ndarray:
    """Rotation (3, 3) in the crystal frame that takes directions of the matrix to those of the twin."""
    normal = crystal.reciprocal_vector_inv_nm(plane_hkl)
    normal = normal / np.linalg.norm(normal)
    return 2 * np.outer(normal, normal) - np.eye(3)


def shared_with_twin(crystal: Crystal, plane_hkl: ArrayLike, g_hkl: ArrayLike) -> bool:
    """Whether g is a reflection of the matrix and of its twin on that plane: both diffract into one beam."""
    return shares_reflection(crystal, twin_rotation(crystal, plane_hkl), g_hkl)
