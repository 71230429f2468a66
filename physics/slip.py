"""Slip systems, each family generated from one member by the crystal's point group.

A family's member is data: a plane (h k l) and a Burgers vector in lattice vectors of the conventional cell
(hexagonal ones are the three-index forms of what the names say, e.g. 1/3<1 1 -2 3> = [1 1 1]).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physics.crystal import Crystal
from physics.errors import InputError

# family: (plane_hkl, burgers_uvw). Hirth & Lothe (1982), chapters 9-11; hexagonal: Yoo (1981), table I.
FAMILY_MEMBERS = {
    "fcc_111_110": ((1, 1, 1), (0.5, -0.5, 0.0)),
    "fcc_100_110": ((1, 0, 0), (0.0, 0.5, 0.5)),
    "bcc_110_111": ((1, -1, 0), (0.5, 0.5, 0.5)),
    "bcc_112_111": ((1, 1, -2), (0.5, 0.5, 0.5)),
    "bcc_123_111": ((1, 2, -3), (0.5, 0.5, 0.5)),
    "rocksalt_110_110": ((1, 1, 0), (0.5, -0.5, 0.0)),
    "rocksalt_100_110": ((1, 0, 0), (0.0, 0.5, 0.5)),
    "hcp_basal_a": ((0, 0, 1), (1.0, 0.0, 0.0)),
    "hcp_prismatic_a": ((0, 1, 0), (1.0, 0.0, 0.0)),
    "hcp_pyramidal1_a": ((0, 1, 1), (1.0, 0.0, 0.0)),
    "hcp_pyramidal1_ca": ((1, 0, 1), (-1.0, 0.0, 1.0)),
    "hcp_pyramidal2_ca": ((1, 1, 2), (-1.0, -1.0, 1.0)),
}
FAMILY_STRUCTURES = {
    "fcc": ("fcc", "diamond", "zincblende"),
    "bcc": ("bcc",),
    "rocksalt": ("rocksalt",),
    "hcp": ("hcp",),
}


@dataclass(frozen=True, kw_only=True)
class SlipSystem:
    """One slip system: `plane_hkl` contains the full Burgers vector `burgers_uvw` (in lattice vectors).

    Both are written with their first non-zero index positive: +-plane and +-b are one system.
    """

    plane_hkl: tuple[int, int, int]
    burgers_uvw: tuple[float, float, float]
    family: str


def slip_systems(crystal: Crystal, family: str | None = None) -> tuple[SlipSystem, ...]:
    """All slip systems of `family`, or of the crystal's usual families, sorted by plane.

    Raises InputError for a family unknown or belonging to another structure.
    """
    if family is None:
        return tuple(system for usual in crystal.slip_families for system in slip_systems(crystal, usual))
    known = families_of(crystal)
    if family not in known:
        raise InputError(f"slip family must be one of {', '.join(known)} for {crystal.material}, got {family!r}")
    plane_hkl, burgers_uvw = FAMILY_MEMBERS[family]
    group = crystal.point_group
    members = {
        (_canonical(plane), _canonical(burgers))
        for plane, burgers in zip(group.on_planes @ np.array(plane_hkl), group.on_directions @ np.array(burgers_uvw))
    }
    return tuple(
        SlipSystem(plane_hkl=tuple(int(h) for h in plane), burgers_uvw=burgers, family=family)
        for plane, burgers in sorted(members, reverse=True)
    )


def families_of(crystal: Crystal) -> tuple[str, ...]:
    """Names of the slip families that the structure of `crystal` can have."""
    return tuple(f for f in FAMILY_MEMBERS if crystal.structure in FAMILY_STRUCTURES[f.split("_")[0]])


def _canonical(vector: np.ndarray) -> tuple[float, ...]:
    """The sense whose first non-zero component is positive."""
    first = vector[np.nonzero(vector)[0][0]]
    return tuple(float(x) + 0.0 for x in (vector if first > 0 else -vector))
