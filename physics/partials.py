"""Partial dislocations and the shifts of low-energy faults, decided from the stacking of the crystal.

A fault is described as `physics.fault.StackingFault` does: R is the shift of the crystal below it, away from the gun.
fcc {111}: stacking ABC along the plane's upward normal m puts an atom of the next layer at v = 1/2<110>, v.m = 1.
Shifting the *upper* half by the in-plane part of v carries A to B, B to C: ABC|BCA, the intrinsic fault. Of the
lower half that is R = m/3 - v, a Shockley vector; modulo the lattice R = +m/3, the shift that closes the gap of a
missing layer. The opposite sign would put like atoms on top of each other as a single shear, and stands for
the extrinsic fault (an inserted layer, or two sheared planes: 2R = -R modulo the lattice).
hcp basal: every second gap between layers allows R, the others -R; `layer` chooses.

Burgers vectors in lattice vectors. `up` is the sign of the component toward the gun of the plane's normal (h k l).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from physics.crystal import Crystal
from physics.errors import InputError, require
from physics.frozen import frozen_array

CLOSE_PACKED_CUBIC = ("fcc", "diamond", "zincblende")
# 1/3<10-10> as three indices: [U - T, V - T, W].
_HCP_PARTIALS = np.array([[2.0, 1.0, 0.0], [-1.0, 1.0, 0.0], [-1.0, -2.0, 0.0]]) / 3
_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Partials:
    """b = `left_uvw` + `right_uvw`, the partials to the left and right of the line sense as seen from the gun.

    `shift_uvw` is R of the fault between them; it equals `right_uvw`, which has the fault on its left.
    """

    left_uvw: np.ndarray
    right_uvw: np.ndarray
    shift_uvw: np.ndarray


def fault_shifts(crystal: Crystal, plane_hkl: ArrayLike, *, up: int = 1, layer: int = 0) -> np.ndarray:
    """The three shear shifts R (3, 3) that make the low-energy fault on a plane, equal modulo the lattice.

    fcc, diamond (glide set) and zincblende {111}: intrinsic; hcp (001): I2, made at the gap above `layer` 0 or 1.

    Raises InputError for a plane of the crystal without such a fault.
    """
    plane = frozen_array(plane_hkl, (3,), "plane_hkl")
    require(up in (1, -1), "up", "be 1 or -1", up)
    if crystal.structure in CLOSE_PACKED_CUBIC and np.array_equal(np.abs(plane), [1, 1, 1]):
        m = up * plane
        neighbours = np.array([[m[0], m[1], 0], [m[0], 0, m[2]], [0, m[1], m[2]]]) / 2
        return m / 3 - neighbours
    if crystal.structure == "hcp" and not plane[:2].any() and abs(plane[2]) == 1:
        require(layer in (0, 1), "layer", "be 0 or 1", layer)
        # Layer X below and Y above: the upper one must leave Y for the third site, T = Y - X, so that R = X - Y.
        order = np.argsort(crystal.basis_positions[:, 2])
        x, y = crystal.basis_positions[order[layer]], crystal.basis_positions[order[1 - layer]]
        sign = 1 if np.abs(_wrapped(_HCP_PARTIALS[0] - (x - y))[:2]).max() < _TOLERANCE else -1
        return up * plane[2] * sign * _HCP_PARTIALS
    raise InputError(f"plane_hkl must be a close-packed plane of {crystal.material} ({crystal.structure}), "
                     f"{{111}} of fcc and diamond or (001) of hcp, got {[int(h) for h in plane]}")  # fmt: skip


def shockley_partials(
    crystal: Crystal, burgers_uvw: ArrayLike, plane_hkl: ArrayLike, *, up: int = 1, layer: int = 0
) -> Partials:
    """The partials of a perfect glide dislocation in the order that leaves the low-energy fault between them.

    Right of the line sense, seen from the gun, lies the partial with b = R (conventions, row 8), left of it -R' with
    R' another shift of the same fault: Thompson's rule (Hirth & Lothe 1982, section 10.4).

    Raises InputError where b is no difference of two fault shifts of the plane.
    """
    burgers = frozen_array(burgers_uvw, (3,), "burgers_uvw")
    shifts = fault_shifts(crystal, plane_hkl, up=up, layer=layer)
    for right in shifts:
        for other in shifts:
            if np.abs(right - other - burgers).max() < _TOLERANCE:
                return Partials(left_uvw=-other + 0.0, right_uvw=right + 0.0, shift_uvw=right + 0.0)
    raise InputError(f"burgers_uvw must be a perfect glide vector of the close-packed plane "
                     f"{[int(h) for h in np.ravel(plane_hkl)]}, got {burgers.tolist()}")  # fmt: skip


def dissociates(crystal: Crystal, burgers_uvw: ArrayLike, plane_hkl: ArrayLike) -> bool:
    """Whether a dislocation splits into Shockley partials on a plane."""
    try:
        shockley_partials(crystal, burgers_uvw, plane_hkl)
    except InputError:
        return False
    return True


def frank_shift(crystal: Crystal, plane_hkl: ArrayLike, *, extrinsic: bool, up: int = 1) -> np.ndarray:
    """R (3,) of the fault in a Frank loop: a layer removed (intrinsic) or inserted (extrinsic).

    fcc: +-1/3<111>. hcp: 1/6<20-23>, half the cell's height with the shear that keeps like layers apart. The lower
    crystal moves toward the gun where a layer is missing and away from it where one is added.
    """
    plane = frozen_array(plane_hkl, (3,), "plane_hkl")
    fault_shifts(crystal, plane, up=up)  # refuses other planes
    sense = -up if extrinsic else up
    if crystal.structure == "hcp":
        return sense * np.array([0.0, 0.0, plane[2] / 2]) + _HCP_PARTIALS[0]
    return sense * plane / 3


def _wrapped(vector: np.ndarray) -> np.ndarray:
    return vector - np.round(vector)
