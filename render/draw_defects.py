"""Drawing ribbons, faults, Frank loops and particles into a specimen.

Axes: N particles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.dissociation import NARROWEST_NM, anisotropic_energy_factor, dissociated
from physics.errors import InputError
from physics.fault import StackingFault
from physics.fault_sources import fault_band, frank_loop, wide_fault
from physics.junction import NODE_TOLERANCE_NM
from physics.partials import CLOSE_PACKED_CUBIC
from physics.particle import Particle
from physics.particle_discs import half_height_nm
from physics.slip_trace import SLIP_TRACE
from physics.sources import GlidePlane, LineShape, bow_out
from render.defects_config import FaultBands, FrankLoops, Particles
from render.draw import Fixed
from render.mixture_config import Mixture
from render.scene_rules import plane_normal_image
from render.slip_planes import inclinations_deg
from render.space import Space

MOST_PARTICLES = 3000
PLACES_TRIED = 20
# Dearer faults close: partials are seen far apart in metals of low energy alone (Hirth & Lothe, Theory of Dislocations, 1982, ch. 10).
WIDE_FAULT_MJ_M2 = 80.0
# The plane that layers of point defects gather on, and the spacing of such layers in units of its 1/|g|.
CLUSTER_PLANES = {
    "fcc": ((1, 1, 1), 1.0), "diamond": ((1, 1, 1), 1.0), "zincblende": ((1, 1, 1), 1.0), "rocksalt": ((1, 1, 0), 0.5),
    "bcc": ((1, 1, 0), 1.0), "hcp": ((0, 0, 1), 0.5),
}  # fmt: skip
PLATE_PLANE = {"hcp": (0, 0, 1)}  # {100} of the cubic ones


@dataclass(frozen=True, kw_only=True)
class Defects:
    """What `draw_defects` makes of the lines of a mixture, and what it adds."""

    lines: tuple[Dislocation, ...]
    faults: tuple[StackingFault, ...] = ()
    particles: tuple[Particle, ...] = ()


def can_fault(crystal: Crystal) -> bool:
    """Whether a crystal has close-packed planes with faults of low energy."""
    return crystal.structure in (*CLOSE_PACKED_CUBIC, "hcp")


def draw_defects(
    config: Mixture, lines: tuple[Dislocation, ...], space: Space, elasticity: str, rng: np.random.Generator
) -> Defects:
    """The lines, split where they dissociate, with faults, loops and particles as the scene's configuration has them.

    Faults from face to face are left out of crystals where they cost more than WIDE_FAULT_MJ_M2 (aluminium, nickel, titanium),
    unless the scene is one of faults.

    `elasticity` is that of the Scene: the width of ribbons follows from the same one as the strain.

    Raises InputError where ribbons are asked of a material whose fault energy is not known.
    """
    made_lines, faults = list(lines), []
    if can_fault(space.crystal):
        made_lines, faults = _split(config, made_lines, space, elasticity, rng)
        bands = int(config.fault_bands.count.draw(rng))
        energy_mJ_m2 = space.crystal.stacking_fault_mJ_m2
        if not config.needs_fault_plane and (energy_mJ_m2 is None or energy_mJ_m2 > WIDE_FAULT_MJ_M2):
            bands = 0
        for _ in range(bands):
            new_lines, new_faults = _band(config.fault_bands, space, rng)
            made_lines, faults = made_lines + new_lines, faults + new_faults
        for _ in range(int(config.frank_loops.count.draw(rng))):
            new_lines, new_faults = _frank_loop(config.frank_loops, space, rng)
            made_lines, faults = made_lines + new_lines, faults + new_faults
    return Defects(lines=tuple(made_lines), faults=tuple(faults), particles=_particles(config.particles, space, rng))


def _split(
    config: Mixture, lines: list[Dislocation], space: Space, elasticity: str, rng: np.random.Generator
) -> tuple[list[Dislocation], list[StackingFault]]:
    source = config.dissociation
    if source.share == Fixed(0) or rng.random() >= source.share.draw(rng):
        return lines, []
    gamma = source.stacking_fault_mJ_m2.draw(rng)
    gamma = space.crystal.stacking_fault_mJ_m2 if gamma is None else float(gamma)
    if gamma is None or gamma <= 0:
        raise InputError(f"scene.dissociation.stacking_fault_mJ_m2 must be given and > 0 for {space.crystal.material}, "
                         f"got {gamma}; its material file holds none")  # fmt: skip
    narrowest_nm = max(NARROWEST_NM, source.narrowest_px.draw(rng) * space.pixel_nm)
    split: list[Dislocation] = []
    faults: list[StackingFault] = []
    ends_nm = np.array([line.points_nm[end] for line in lines for end in (0, -1)]).reshape(-1, 3)
    factor = anisotropic_energy_factor(space.crystal) if elasticity == "anisotropic" else None
    for line in lines:
        if not line.glissile or line.kind == SLIP_TRACE:
            split.append(line)
            continue
        new_lines, new_faults = dissociated(line, space.crystal, space.image_from_crystal, faces=space.faces, stacking_fault_mJ_m2=gamma, energy_factor=factor,
                                            constricted=_in_nodes(line, ends_nm), narrowest_nm=narrowest_nm, layer=int(rng.integers(2)))  # fmt: skip
        split += [part.canonical() for part in new_lines]
        faults += new_faults
    return split, faults


def _in_nodes(line: Dislocation, ends_nm: np.ndarray) -> tuple[bool, bool]:
    """Whether either end of a line meets another line's end: there its partials stay together."""
    if line.closed:
        return False, False
    shared = [int((np.abs(ends_nm - line.points_nm[end]).max(axis=1) < NODE_TOLERANCE_NM).sum()) > 1 for end in (0, -1)]
    return shared[0], shared[1]


def _band(source: FaultBands, space: Space, rng: np.random.Generator) -> tuple[list[Dislocation], list[StackingFault]]:
    plane_hkl, normal = _fault_plane(space, rng)
    point_nm = space.middle_nm(*(rng.uniform(-0.4, 0.4, 2) * 2 * space.half_field_nm))
    reach_nm = 3 * space.reach_nm + space.thickness_nm / max(math.hypot(normal[0], normal[1]), 0.05)
    if rng.random() < source.bounded_share.draw(rng):
        return _bounded(plane_hkl, normal, point_nm, reach_nm, space, rng)
    count, extrinsic_share = int(source.faults.draw(rng)), source.extrinsic_share.draw(rng)
    gaps_nm = [source.spacing_nm.draw(rng) for _ in range(count - 1)]
    offsets_nm = np.concatenate([[0.0], np.cumsum(gaps_nm)])
    extrinsic = [bool(rng.random() < extrinsic_share) for _ in range(count)]
    return [], fault_band(space.crystal, plane_hkl, normal, point_nm, offsets_nm=list(offsets_nm - offsets_nm.mean()),
                          reach_nm=reach_nm, extrinsic=extrinsic)  # fmt: skip


def _bounded(
    plane_hkl: tuple[int, int, int], normal: np.ndarray, point_nm: np.ndarray, reach_nm: float, space: Space, rng: np.random.Generator
) -> tuple[list[Dislocation], list[StackingFault]]:
    """One fault that fills its plane to one side of a partial from face to face."""
    axes = GlidePlane(plane_hkl=(0, 0, 1), burgers_uvw=(1, 0, 0), normal_image=normal, point_nm=point_nm)
    shape = LineShape(chord_deg=float(rng.uniform(-35, 35)), sag_nm=float(rng.normal(0, 0.1)) * space.thickness_nm)
    course = bow_out(axes, space.faces, along_nm=0.0, shape=shape, step_nm=space.step_nm, reach_nm=space.reach_nm)
    if len(course) != 1:
        return [], []
    return wide_fault(space.crystal, plane_hkl, normal, course[0].points_nm, space.faces, fault_on_left=bool(rng.integers(2)),
                      reach_nm=reach_nm, shear=int(rng.integers(3)))  # fmt: skip


def _frank_loop(source: FrankLoops, space: Space, rng: np.random.Generator) -> tuple[list[Dislocation], list[StackingFault]]:
    """One loop well inside the foil; smaller than drawn where the foil is too thin for it."""
    planes = _close_packed(space.crystal)
    plane_hkl = tuple(int(h) for h in planes[int(rng.integers(len(planes)))])
    normal = plane_normal_image(plane_hkl, space.crystal, space.image_from_crystal)
    radius_nm = min(source.radius_nm.draw(rng), 0.3 * space.thickness_nm)
    aspect, turn_deg = source.aspect.draw(rng), float(rng.uniform(0, 180))
    interstitial = bool(rng.random() < source.interstitial_share.draw(rng))
    for _ in range(PLACES_TRIED):
        centre_nm = space.middle_nm(*rng.uniform(-space.half_field_nm, space.half_field_nm))
        centre_nm[2] += rng.uniform(-0.5, 0.5) * max(0.0, space.thickness_nm - 2.4 * radius_nm)
        lines, faults = frank_loop(space.crystal, plane_hkl, normal, centre_nm, radius_nm=radius_nm, interstitial=interstitial, aspect=max(aspect, 0.05),
                                   turn_deg=turn_deg, step_nm=min(space.step_nm, radius_nm / 4))  # fmt: skip
        if space.holds(lines[0].points_nm):
            return [line.canonical() for line in lines], faults
        radius_nm *= 0.85
    return [], []


def _close_packed(crystal: Crystal) -> np.ndarray:
    planes = crystal.equivalent_planes((0, 0, 1) if crystal.structure == "hcp" else (1, 1, 1))
    # Of a plane and its reverse one is enough.
    first = np.array([plane[np.nonzero(plane)[0][0]] for plane in planes])
    return planes[first > 0]


def _fault_plane(space: Space, rng: np.random.Generator) -> tuple[tuple[int, int, int], np.ndarray]:
    """A close-packed plane that shows a strip, one with fringes under the scene's g by preference."""
    planes = _close_packed(space.crystal)
    normals = np.array([plane_normal_image(plane, space.crystal, space.image_from_crystal) for plane in planes])
    _, good = inclinations_deg(normals)
    fringed = np.array([abs(np.dot(space.g_hkl, plane) / 3 % 1) > 1e-6 for plane in planes]) | (space.crystal.structure == "hcp")
    candidates = good & fringed if (good & fringed).any() else good if good.any() else np.ones(len(planes), bool)
    k = int(rng.choice(np.flatnonzero(candidates)))
    return tuple(int(h) for h in planes[k]), normals[k]


def _particles(source: Particles, space: Space, rng: np.random.Generator) -> tuple[Particle, ...]:
    volume_um3 = 4e-9 * np.prod(space.half_field_nm) * space.thickness_nm
    found: list[Particle] = []
    taken = np.empty((MOST_PARTICLES, 4))
    for density, make in (
        (source.spheres_inv_um3, _sphere), (source.plates_inv_um3, _plate), (source.voids_inv_um3, _void), (source.clusters_inv_um3, _cluster),
    ):  # fmt: skip
        if density == Fixed(0):
            continue
        for _ in range(min(int(rng.poisson(density.draw(rng) * volume_um3)), MOST_PARTICLES)):
            placed = _placed(make(source, space, rng), taken[: len(found)], space, rng)
            if placed is not None and len(found) < MOST_PARTICLES:
                taken[len(found)] = *placed.centre_nm, placed.radius_nm
                found.append(placed)
    return tuple(found)


def _placed(fields: dict, taken: np.ndarray, space: Space, rng: np.random.Generator) -> Particle | None:
    """The particle somewhere in the field where it fits between the faces and touches none of those at `taken` (N, 4:
    centre, radius); None if no such place is found."""
    half_nm = half_height_nm(Particle(centre_nm=np.zeros(3), **fields), space.crystal, space.image_from_crystal)
    places = rng.uniform(-space.half_field_nm, space.half_field_nm, (PLACES_TRIED, 2))
    heights = rng.random(PLACES_TRIED)
    entrance_nm, exit_nm = space.faces(places[:, 0], places[:, 1])
    room_nm = entrance_nm - exit_nm - 2 * half_nm
    centres_nm = np.column_stack([places, exit_nm + half_nm + heights * room_nm])
    for k in np.flatnonzero(room_nm > 0):
        if (np.linalg.norm(taken[:, :3] - centres_nm[k], axis=1) > taken[:, 3] + fields["radius_nm"]).all():
            return Particle(centre_nm=centres_nm[k], **fields)
    return None


def _sphere(source: Particles, space: Space, rng: np.random.Generator) -> dict:
    return {"kind": "coherent_sphere", "radius_nm": source.sphere_radius_nm.draw(rng), "misfit": source.sphere_misfit.draw(rng),
            "xi_ratio": source.sphere_xi_ratio.draw(rng)}  # fmt: skip


def _plate(source: Particles, space: Space, rng: np.random.Generator) -> dict:
    planes = space.crystal.equivalent_planes(PLATE_PLANE.get(space.crystal.structure, (1, 0, 0)))
    radius_nm = source.plate_radius_nm.draw(rng)
    return {"kind": "plate", "radius_nm": radius_nm, "misfit": source.plate_misfit.draw(rng), "plane_hkl": tuple(planes[int(rng.integers(len(planes)))]),
            "thickness_nm": min(source.plate_thickness_nm.draw(rng), radius_nm)}  # fmt: skip


def _void(source: Particles, space: Space, rng: np.random.Generator) -> dict:
    return {"kind": "void", "radius_nm": source.void_radius_nm.draw(rng)}


def _cluster(source: Particles, space: Space, rng: np.random.Generator) -> dict:
    plane_hkl, layers = CLUSTER_PLANES[space.crystal.structure]
    planes = space.crystal.equivalent_planes(plane_hkl)
    spacing_nm = layers / float(np.linalg.norm(space.crystal.reciprocal_vector_inv_nm(plane_hkl)))
    sign = 1.0 if rng.random() < source.interstitial_share.draw(rng) else -1.0
    return {"kind": "cluster", "radius_nm": max(source.cluster_radius_nm.draw(rng), spacing_nm), "misfit": sign,
            "plane_hkl": tuple(planes[int(rng.integers(len(planes)))]), "thickness_nm": spacing_nm}  # fmt: skip
