"""Shapes of what a foil holds besides lines: particles inside it, deposits on its faces, the boundary to a second grain.

Every mesh is true to scale, in nm, about its own `location_nm`; no bpy here.

Axes: K vertices of a mesh, M points of an outline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from physics.deposit import Deposit
from physics.frames import field_nm
from physics.particle import DISCS, Particle
from physics.particle_discs import disc_normal_image
from render.foil import FoilShape

if TYPE_CHECKING:
    from render.scene import Scene

Colour = tuple[float, float, float]
AROUND = 48
RINGS = 8
COLOURS: dict[str, Colour] = {
    "coherent_sphere": (0.75, 0.45, 0.08), "plate": (0.45, 0.15, 0.55), "cluster": (0.55, 0.10, 0.20), "void": (0.85, 0.90, 0.95),
    "particle": (0.07, 0.06, 0.05), "flake": (0.16, 0.13, 0.10), "spot": (0.22, 0.20, 0.16), "oxide": (0.30, 0.20, 0.12),
    "damage": (0.15, 0.15, 0.22),
}  # fmt: skip
DEPOSITS, PARTICLES = "deposits", "particles"


@dataclass(frozen=True, kw_only=True, eq=False)
class Solid:
    """A mesh of `vertices_nm` (K, 3) about `location_nm` (3,); `faces` are lists of vertex numbers."""

    name: str
    kind: str
    collection: str
    location_nm: np.ndarray
    vertices_nm: np.ndarray
    faces: Sequence[Sequence[int]]
    properties: Mapping[str, Any]

    @property
    def colour(self) -> Colour:
        return COLOURS[self.kind]

    @property
    def clear(self) -> bool:
        """Whether one sees through it: a void, or a film that is thin beside the foil."""
        return self.kind in ("void", "spot", "oxide", "damage", "flake")


def solids_of(scene: Scene, placed: FoilShape, image_from_crystal: np.ndarray, within_field: bool) -> tuple[Solid, ...]:
    """Particles and deposits; `within_field` leaves out what lies beside the field and cuts what reaches over its edge."""
    half_nm = np.array(field_nm(scene.shape, scene.pixel_nm)) / 2
    found = []
    for i, particle in enumerate(scene.particles):
        if not within_field or (np.abs(particle.centre_nm[:2]) <= half_nm).all():
            normal = disc_normal_image(particle, scene.crystal, image_from_crystal) if particle.kind in DISCS else None
            vertices_nm, faces = _spheroid(particle.radius_nm) if normal is None else _disc(particle, normal)
            found.append(Solid(name=f"particle {i:03d} {particle.kind}", kind=particle.kind, collection=PARTICLES, faces=faces,
                               location_nm=particle.centre_nm, vertices_nm=vertices_nm, properties=_properties(particle, i)))  # fmt: skip
    for i, deposit in enumerate(scene.deposits):
        if not within_field or (np.abs(deposit.centre_nm) - deposit.reach_nm < half_nm).all():
            place_nm, vertices_nm, faces = _heap(deposit, placed, half_nm if within_field else np.full(2, np.inf))
            found.append(Solid(name=f"deposit {i:03d} {deposit.kind}", kind=deposit.kind, collection=DEPOSITS, faces=faces,
                               location_nm=place_nm, vertices_nm=vertices_nm, properties=_properties(deposit, i)))  # fmt: skip
    return tuple(found)


def _properties(noun: Particle | Deposit, index: int) -> dict[str, Any]:
    values = {f.name: getattr(noun, f.name) for f in fields(noun) if f.name != "centre_nm"}
    return {"index": index} | {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def _spheroid(radius_nm: float) -> tuple[np.ndarray, list[list[int]]]:
    polar = np.pi * np.arange(1, AROUND // 2) / (AROUND // 2)
    rings = np.stack([np.sin(polar), np.cos(polar)], axis=-1)
    return _turned(rings[:, 0] * radius_nm, rings[:, 1] * radius_nm, radius_nm, -radius_nm)


def _disc(particle: Particle, normal: np.ndarray) -> tuple[np.ndarray, list[list[int]]]:
    half_nm = particle.thickness_nm / 2
    vertices, faces = _turned(np.full(2, particle.radius_nm), np.array([half_nm, -half_nm]), half_nm, -half_nm)
    first = np.cross(normal, np.eye(3)[np.argmin(np.abs(normal))])
    first /= np.linalg.norm(first)
    return vertices @ np.stack([first, np.cross(normal, first), normal]), faces


def _turned(radii: np.ndarray, heights: np.ndarray, top: float, bottom: float) -> tuple[np.ndarray, list[list[int]]]:
    """A body of revolution about z: rings from the top down, closed by a point at either end."""
    angle = 2 * np.pi * np.arange(AROUND) / AROUND
    rings = [np.column_stack([r * np.cos(angle), r * np.sin(angle), np.full(AROUND, h)]) for r, h in zip(radii, heights)]
    vertices = np.concatenate([[[0, 0, top]], *rings, [[0, 0, bottom]]])
    return vertices, _shell(len(rings), last=len(vertices) - 1)


def _shell(rings: int, last: int) -> list[list[int]]:
    """Faces of rings of AROUND vertices, numbered from 1, between vertex 0 and vertex `last`; outward is away from the axis."""
    nexts = [(k + 1) % AROUND for k in range(AROUND)]
    faces = [[0, 1 + k, 1 + nexts[k]] for k in range(AROUND)]
    for r in range(rings - 1):
        upper, lower = 1 + r * AROUND, 1 + (r + 1) * AROUND
        faces += [[upper + k, lower + k, lower + nexts[k], upper + nexts[k]] for k in range(AROUND)]
    outer = 1 + (rings - 1) * AROUND
    return faces + [[outer + nexts[k], outer + k, last] for k in range(AROUND)]


def _heap(deposit: Deposit, placed: FoilShape, limit_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
    """Place, vertices and faces of a deposit on its face of the foil, cut at |x|, |y| = `limit_nm` (2,)."""
    turn, angle = np.deg2rad(deposit.turn_deg), 2 * np.pi * np.arange(AROUND) / AROUND
    # Equal steps of the angle in the squeezed outline's own circle, in which `Deposit.height_nm` measures.
    reach = deposit.radius_nm * (1 + sum(a * np.cos((m + 2) * angle) for m, a in enumerate(deposit.lobes)))
    along, across = reach * np.cos(angle), deposit.aspect * reach * np.sin(angle)
    outline = np.column_stack([along * np.cos(turn) - across * np.sin(turn), along * np.sin(turn) + across * np.cos(turn)])
    shares = np.append(np.sin(0.5 * np.pi * np.arange(1, RINGS + 1) / RINGS) * (1 - 1e-9), 1.0)
    flat = np.concatenate([np.zeros((1, 2)), *(share * outline for share in shares), np.zeros((1, 2))])
    centre = np.array(deposit.centre_nm)
    x, y = np.clip(flat + centre, -limit_nm, limit_nm).T
    face_z = placed.face_z_nm(x, y, deposit.side)
    height = deposit.height_nm(flat[:, 0] + centre[0], flat[:, 1] + centre[1])
    height[-AROUND - 1 :] = 0  # the outermost ring and the last vertex lie on the foil
    z = face_z + deposit.side * height
    place = np.append(centre, placed.face_z_nm(*np.clip(centre, -limit_nm, limit_nm)[:, None], deposit.side)[0])
    faces = _shell(len(shares), last=len(flat) - 1)
    return place, np.column_stack([x, y, z]) - place, faces if deposit.side > 0 else [face[::-1] for face in faces]
