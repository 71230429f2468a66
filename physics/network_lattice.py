"""A network's chains in crystal coordinates: b as lattice vectors, glide planes as Miller indices."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from physics.crystal import Crystal
from physics.errors import InputError
from physics.network import Chain, Network, chains

BURGERS_TOLERANCE = 0.03  # b of a file against the lattice vector it stands for: a0 and burgMag are seldom the same
LARGEST_PLANE_INDEX = 4
PLANE_TOLERANCE_DEG = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class LatticeChain:
    """A chain in crystal coordinates: b as a lattice vector, and the lattice plane of each segment.

    `segment_planes_hkl` (K - 1, 3) is (0, 0, 0) where the declared plane is none of low indices. `through_box`: it closes only through the periodic box, so that its images join end to end.
    """

    points_nm: np.ndarray
    burgers_uvw: np.ndarray
    segment_planes_hkl: np.ndarray
    is_junction: bool
    through_box: bool


def lattice_chains(network: Network, crystal: Crystal) -> list[LatticeChain]:
    """The chains of a network with b snapped to lattice vectors of `crystal` and planes to low indices.

    Raises InputError when a b is no lattice vector within BURGERS_TOLERANCE. A junction arm runs between two nodes
    of three or more arms and has a b longer than the shortest of the network.
    """
    snapped: dict[tuple[float, ...], np.ndarray] = {}
    planes: dict[tuple[float, ...], tuple[int, int, int]] = {}
    result = []
    found = chains(network)
    shortest_nm = min((float(np.linalg.norm(chain.burgers_nm)) for chain in found), default=0.0)
    for chain in found:
        key = tuple(np.round(chain.burgers_nm, 7))
        if key not in snapped:
            snapped[key] = snap_burgers(chain.burgers_nm, crystal)
        result.append(LatticeChain(
            points_nm=chain.points_nm, burgers_uvw=snapped[key], segment_planes_hkl=_segment_planes(chain, crystal, planes),
            is_junction=float(np.linalg.norm(chain.burgers_nm)) > 1.05 * shortest_nm
            and min(network.arm_counts[list(chain.end_nodes)]) >= 3,
            through_box=chain.end_nodes[0] == chain.end_nodes[1] and network.arm_counts[chain.end_nodes[0]] == 2
            and not np.array_equal(chain.points_nm[0], chain.points_nm[-1]),
        ))  # fmt: skip
    return result


def snap_burgers(burgers_nm: np.ndarray, crystal: Crystal) -> np.ndarray:
    """The lattice vector (3,) nearest to `burgers_nm`, in lattice vectors.

    Raises InputError when none lies within BURGERS_TOLERANCE of its length.
    """
    uvw = np.linalg.solve(crystal.lattice_nm, burgers_nm)
    # Halves cover every centred cell; a primitive or hexagonal cell refuses them by `is_lattice_vector`.
    steps = np.array(list(itertools.product((-0.5, 0.0, 0.5), repeat=3)))
    candidates = np.unique(np.round(2 * uvw) / 2 + steps, axis=0)
    distance_nm = np.linalg.norm((candidates - uvw) @ crystal.lattice_nm.T, axis=1)
    for k in np.argsort(distance_nm, kind="stable"):
        if distance_nm[k] > BURGERS_TOLERANCE * np.linalg.norm(burgers_nm):
            break
        if candidates[k].any() and crystal.is_lattice_vector(candidates[k]):
            return candidates[k] + 0.0
    shown = ", ".join(f"{u:.3f}" for u in uvw)
    raise InputError(f"a Burgers vector of the network must be a lattice vector of {crystal.material} within "
                     f"{BURGERS_TOLERANCE:.0%}, got [{shown}]; check material and burgers_nm")  # fmt: skip


def _segment_planes(chain: Chain, crystal: Crystal, known: dict[tuple[float, ...], tuple[int, int, int]]) -> np.ndarray:
    """The lattice planes (K - 1, 3) that the arms of a chain declare."""
    planes = []
    for normal in chain.plane_normal:
        key = tuple(np.round(normal, 5))
        if key not in known:
            known[key] = snap_plane(normal, crystal)
        planes.append(known[key])
    return np.array(planes, dtype=np.float64)


def snap_plane(normal: np.ndarray, crystal: Crystal) -> tuple[int, int, int]:
    """The lattice plane of low indices nearest to a normal, within PLANE_TOLERANCE_DEG, else (0, 0, 0)."""
    if np.linalg.norm(normal) < 1e-9:
        return (0, 0, 0)
    covariant = crystal.lattice_nm.T @ np.asarray(normal, dtype=np.float64)
    covariant = covariant / np.abs(covariant).max()
    for multiple in range(1, LARGEST_PLANE_INDEX + 1):
        hkl = np.round(covariant * multiple)
        g = crystal.reciprocal_vector_inv_nm(hkl)
        cosine = abs(g @ normal) / (np.linalg.norm(g) * np.linalg.norm(normal))
        if cosine > np.cos(np.deg2rad(PLANE_TOLERANCE_DEG)):
            hkl = hkl / np.gcd.reduce(np.abs(hkl).astype(np.int64))
            first = hkl[np.nonzero(hkl)[0][0]]
            return tuple(int(h) for h in (hkl if first > 0 else -hkl))
    return (0, 0, 0)
