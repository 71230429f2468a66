"""Point-group operations found from the lattice and the basis, not looked up.

Axes: O operations, S sites.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

SITE_TOLERANCE = 1e-6
METRIC_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class PointGroup:
    """Operations W (O, 3, 3) as integer matrices: u' = on_directions @ u, h' = on_planes @ h = W^-T h."""

    on_directions: np.ndarray
    on_planes: np.ndarray

    def __len__(self) -> int:
        return len(self.on_directions)


def point_group(lattice_nm: np.ndarray, positions: np.ndarray, species: Sequence[Hashable]) -> PointGroup:
    """Rotational parts of all operations that map the crystal onto itself.

    W keeps the metric, W^T G W = G, and some translation brings the rotated sites (S, 3) back onto sites of the
    same species (International Tables A, 1.3.3). Reduced and conventional cells need no entry of W beyond +-1.
    """
    entries = np.array(list(itertools.product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    metric = lattice_nm.T @ lattice_nm
    error = np.abs(np.transpose(entries, (0, 2, 1)) @ metric @ entries - metric).max(axis=(1, 2))
    isometries = entries[error < METRIC_TOLERANCE * np.abs(metric).max()]
    kept = [w for w in isometries if _maps_crystal_onto_itself(w, positions, species)]
    on_directions = np.array(kept, dtype=np.int64)
    on_planes = np.round(np.transpose(np.linalg.inv(on_directions), (0, 2, 1))).astype(np.int64)
    for operations in (on_directions, on_planes):
        operations.setflags(write=False)
    return PointGroup(on_directions=on_directions, on_planes=on_planes)


def is_translation(translation: np.ndarray, positions: np.ndarray, species: Sequence[Hashable]) -> bool:
    """Whether shifting every site (S, 3) by `translation` gives the same crystal."""
    return sites_coincide(positions + translation, positions, species)


def sites_coincide(moved: np.ndarray, positions: np.ndarray, species: Sequence[Hashable]) -> bool:
    """Whether every site of `moved` (S, 3) lies on one of `positions` (S, 3) of its species, modulo the cell."""
    offset = moved[:, None, :] - positions[None, :, :]
    together = np.abs(offset - np.round(offset)).max(axis=2) < SITE_TOLERANCE
    alike = np.array([[a == b for b in species] for a in species])
    return bool((together & alike).any(axis=1).all())


def _maps_crystal_onto_itself(w: np.ndarray, positions: np.ndarray, species: Sequence[Hashable]) -> bool:
    rotated = positions @ w.T
    return any(
        sites_coincide(rotated + positions[k] - rotated[0], positions, species)
        for k in range(len(positions))
        if species[k] == species[0]
    )
