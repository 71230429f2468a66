"""What the parts of a Scene must have in common: the reflection, the foil, b, slip planes, line ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physics.beam import check_reflection, foil_normal_image, image_from_crystal
from physics.contrast.beams import beam_set
from physics.crystal import Crystal
from physics.dislocation import PLANE_TOLERANCE_NM, Dislocation
from physics.electron import wavelength_nm
from physics.errors import InputError, require
from physics.fault import StackingFault
from physics.frames import field_nm
from physics.junction import open_ends
from physics.misorientation import check_misorientation
from physics.particle_discs import half_height_nm
from physics.polygon import polygon_covers
from render.foil import foil_heights
from render.strokes import check_strokes

if TYPE_CHECKING:
    from render.scene import Scene

SURFACE_TOLERANCE_NM = 0.01
BORDER_TOLERANCE_NM = 0.5
BORDER_STEP_NM = 3.0
BESIDE_NM = 0.02
# A border this close below a face counts as on it: a line's end is cut at the face, its fault's corner is not.
OPEN_BORDER_NM = 1.0


def check_consistency(scene: Scene) -> None:
    """Raise InputError, naming the field, for the first contradiction between the parts of a Scene."""
    check_strokes(scene)
    check_reflection(scene.crystal, scene.beam)
    check_beams(scene)
    foil_normal_image(scene.crystal, scene.beam, scene.foil)
    grains = [("foil.boundary", scene.foil.boundary)] if scene.foil.boundary is not None else []
    for where, grain in (*grains, *((f"foil.twins[{k}]", twin) for k, twin in enumerate(scene.foil.twins))):
        check_misorientation(scene.crystal, grain, where)
    rotation = image_from_crystal(scene.crystal, scene.beam)
    for i, fault in enumerate(scene.faults):
        _check_fault(fault, scene.crystal, rotation, f"faults[{i}]")
    for i, line in enumerate(scene.dislocations):
        _check_burgers(line, scene.faults, scene.crystal, rotation, f"dislocations[{i}]")
        if line.glissile:
            check_glissile(line, scene.crystal, rotation, f"dislocations[{i}]")
    _check_ends(scene)
    _check_fault_borders(scene)
    _check_particles(scene, rotation)


def check_beams(scene: Scene) -> None:
    """Raise InputError for many beams that the crystal forbids, or off the row of g where a bent foil turns them."""
    beams = beam_set(scene.crystal, scene.beam)
    bent = scene.foil.curvature_inv_um != 0 or scene.foil.cross_curvature_inv_um != 0 or any(tear.lips == "bent" for tear in scene.foil.tears)
    require(beams is None or beams.multiples is not None or not bent, "beam.beams_hkl", "be multiples of g where the foil is bent",
            scene.beam.beams_hkl, "take a flat foil or beam.row")  # fmt: skip
    if scene.beam.aperture_mrad is not None:
        others = np.array([scene.crystal.reciprocal_vector_inv_nm(scene.beam.g_hkl)]) if beams is None else beams.g_image_inv_nm
        lengths_inv_nm = np.linalg.norm(others, axis=1)
        nearest_mrad = 1e3 * wavelength_nm(scene.beam.voltage_kV) * float(lengths_inv_nm[lengths_inv_nm > 0].min())
        require(scene.beam.aperture_mrad < nearest_mrad, "beam.aperture_mrad", f"be < {nearest_mrad:.3g}, where the next beam is",
                scene.beam.aperture_mrad, "an image of several beams at once is not modelled")  # fmt: skip


def check_glissile(line: Dislocation, crystal: Crystal, image_from_crystal: np.ndarray, where: str) -> None:
    """Raise InputError unless line and Burgers vector lie in the declared slip plane."""
    out_of_plane = float(np.dot(line.plane_hkl, line.burgers_uvw))
    require(abs(out_of_plane) < 1e-6, f"{where}.burgers_uvw", f"lie in its slip plane {list(line.plane_hkl)}",
            list(line.burgers_uvw))  # fmt: skip
    normal = plane_normal_image(line.plane_hkl, crystal, image_from_crystal)
    off_nm = (line.points_nm - line.points_nm[0]) @ normal
    worst = int(np.argmax(np.abs(off_nm)))
    require(abs(off_nm[worst]) <= PLANE_TOLERANCE_NM, f"{where}.points_nm",
            f"lie in the declared slip plane {list(line.plane_hkl)} within {PLANE_TOLERANCE_NM} nm",
            f"vertex {worst} at {off_nm[worst]:.3g} nm")  # fmt: skip


def plane_normal_image(plane_hkl: tuple[int, int, int], crystal: Crystal, image_from_crystal: np.ndarray) -> np.ndarray:
    """Unit normal (3,) of a lattice plane in the image frame."""
    normal = image_from_crystal @ crystal.reciprocal_vector_inv_nm(plane_hkl)
    return normal / np.linalg.norm(normal)


def _check_fault(fault: StackingFault, crystal: Crystal, rotation: np.ndarray, where: str) -> None:
    normal = plane_normal_image(fault.plane_hkl, crystal, rotation)
    off_nm = (fault.outline_nm - fault.outline_nm[0]) @ normal
    worst = int(np.argmax(np.abs(off_nm)))
    require(abs(off_nm[worst]) <= PLANE_TOLERANCE_NM, f"{where}.outline_nm",
            f"lie in the plane {list(fault.plane_hkl)}", f"vertex {worst} at {off_nm[worst]:.3g} nm")  # fmt: skip


def _check_burgers(
    line: Dislocation, faults: tuple[StackingFault, ...], crystal: Crystal, rotation: np.ndarray, where: str
) -> None:
    if crystal.is_lattice_vector(line.burgers_uvw):
        return
    # Round the border of a fault the shift closes only modulo the lattice: b = sum of +R (fault on the left
    # of the line sense, seen from the gun) and -R (on its right) up to a lattice vector.
    shift = sum((side * fault.shift_uvw for fault in faults if (side := _side(line, fault, crystal, rotation))), np.zeros(3))
    bounds = bool(np.any(shift)) and crystal.is_lattice_vector(line.burgers_uvw - shift)
    require(bounds, f"{where}.burgers_uvw", "be a lattice vector, or a partial on the border of a declared fault",
            [round(float(u), 6) for u in line.burgers_uvw],
            "declare the fault it bounds in faults, R = +b on the left of the line sense")  # fmt: skip


def _side(line: Dislocation, fault: StackingFault, crystal: Crystal, rotation: np.ndarray) -> int:
    """+1 if the fault borders the line on its left (seen from the gun), -1 on its right, 0 if it does not."""
    normal = plane_normal_image(fault.plane_hkl, crystal, rotation)
    normal = normal if normal[2] >= 0 else -normal
    u = np.cross(normal, [0.0, 0.0, 1.0] if abs(normal[2]) < 0.9 else [1.0, 0.0, 0.0])
    u /= np.linalg.norm(u)
    axes = np.stack([u, np.cross(normal, u)])
    outline = (fault.outline_nm - fault.outline_nm[0]) @ axes.T
    off_plane = np.abs((line.points_nm - fault.outline_nm[0]) @ normal)
    points = (line.points_nm - fault.outline_nm[0]) @ axes.T
    if off_plane.max() > PLANE_TOLERANCE_NM:
        return 0
    # The whole line must run along the border; where the fault ends on a surface the line may go on outside.
    middle = (points[:-1] + points[1:]) / 2
    distance = _distance_to_polygon(middle, outline)
    above = line.points_nm[:, 2] > fault.outline_nm[:, 2].max() - BORDER_TOLERANCE_NM
    below = line.points_nm[:, 2] < fault.outline_nm[:, 2].min() + BORDER_TOLERANCE_NM
    inclined = np.ptp(fault.outline_nm[:, 2]) > 4 * BORDER_TOLERANCE_NM
    beyond = inclined & ((above[:-1] & above[1:]) | (below[:-1] & below[1:]))
    on_border = distance <= BORDER_TOLERANCE_NM
    if not on_border.any() or not (on_border | beyond).all():
        return 0
    inner = int(np.argmin(np.where(beyond, distance + BORDER_TOLERANCE_NM, distance)))
    along = points[inner + 1] - points[inner]
    left = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    # No farther beside the line than needed: a ribbon may be narrower than the tolerance.
    beside = middle[inner] + left * (2 * distance[inner] + BESIDE_NM)
    return 1 if polygon_covers(outline, beside[:1], beside[1:])[0] else -1


def _distance_to_polygon(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    start, edge = polygon, np.roll(polygon, -1, axis=0) - polygon
    offset = points[:, None] - start
    t = np.clip((offset * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-30), 0, 1)
    return np.linalg.norm(offset - t[..., None] * edge, axis=-1).min(axis=1)


def _check_fault_borders(scene: Scene) -> None:
    """Refuse a fault that ends inside the foil and the field with no partial and no other fault along its border."""
    shifted = [fault for fault in scene.faults if not scene.crystal.is_lattice_vector(fault.shift_uvw)]
    if not shifted:
        return
    partials = [line for line in scene.dislocations if not scene.crystal.is_lattice_vector(line.burgers_uvw)]
    edges = [np.stack([f.outline_nm, np.roll(f.outline_nm, -1, axis=0)], axis=1) for f in shifted]
    lines = [np.stack([line.points_nm[:-1], line.points_nm[1:]], axis=1) for line in partials]
    half_field = np.array(field_nm(scene.shape, scene.pixel_nm)) / 2 - BORDER_TOLERANCE_NM
    for i, fault in enumerate(shifted):
        points, edge = _along_border(edges[i])
        entrance_nm, exit_nm = foil_heights(scene.crystal, scene.beam, scene.foil, points[:, 0], points[:, 1])
        within = (points[:, 2] < entrance_nm - OPEN_BORDER_NM) & (points[:, 2] > exit_nm + OPEN_BORDER_NM)
        within &= (np.abs(points[:, :2]) < half_field).all(axis=1)
        if not within.any():
            continue
        points, edge = points[within], edge[within]
        # Its own outline counts where it runs along itself, as the slit of a ring does, or meets another fault.
        others = [edges[j] for j in range(len(edges)) if j != i]
        bound = _near_segments(points, lines + others)
        bound[~bound] = _near_own(points[~bound], edge[~bound], edges[i])
        if not bound.all():
            place = ", ".join(f"{x:.1f}" for x in points[int(np.argmin(bound))])
            k = next(k for k, other in enumerate(scene.faults) if other is fault)
            raise InputError(
                f"faults[{k}].outline_nm must end at a partial, another fault, a face of the foil or outside the field, "
                f"got an open border inside the foil at ({place}) nm; add the partial that bounds it, b = +-R"
            )


def _along_border(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (P, 3) inside every edge (K, 2, 3) of an outline, a few nm apart but at most 400 an edge, and their edge (P,)."""
    counts = np.clip(np.ceil(np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1) / BORDER_STEP_NM), 1, 400).astype(int)
    edge = np.repeat(np.arange(len(edges)), counts)
    place = (np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + 0.5) / counts[edge]
    return edges[edge, 0] + place[:, None] * (edges[edge, 1] - edges[edge, 0]), edge


def _near_segments(points: np.ndarray, chains: list[np.ndarray]) -> np.ndarray:
    """Which points (P, 3) lie within BORDER_TOLERANCE_NM of a segment of any chain (K, 2, 3)."""
    near = np.zeros(len(points), dtype=bool)
    low, high = points.min(axis=0) - BORDER_TOLERANCE_NM, points.max(axis=0) + BORDER_TOLERANCE_NM
    for chain in chains:
        reaching = chain[((chain.min(axis=1) <= high) & (chain.max(axis=1) >= low)).all(axis=1)]
        left = np.flatnonzero(~near)
        if len(reaching) and len(left):
            near[left] = (_distances_nm(points[left], reaching) < BORDER_TOLERANCE_NM).any(axis=1)
    return near


def _near_own(points: np.ndarray, edge: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Which points of an outline lie on another of its edges that runs the other way."""
    direction = edges[:, 1] - edges[:, 0]
    direction = direction / np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-30)
    opposite = direction[edge] @ direction.T < -0.999
    return (opposite & (_distances_nm(points, edges) < 1e-3)).any(axis=1)


def _distances_nm(points: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Distances (P, K) of points from segments (K, 2, 3)."""
    along = segments[:, 1] - segments[:, 0]
    offset = points[:, None] - segments[:, 0]
    t = np.clip((offset * along).sum(-1) / np.maximum((along * along).sum(-1), 1e-30), 0, 1)
    return np.linalg.norm(offset - t[..., None] * along, axis=-1)


def _check_particles(scene: Scene, rotation: np.ndarray) -> None:
    """Refuse a particle that reaches through a face: the columns' faces are not cut by it."""
    if not scene.particles:
        return
    centres = np.array([p.centre_nm for p in scene.particles])
    half = np.array([half_height_nm(p, scene.crystal, rotation) for p in scene.particles])
    entrance_nm, exit_nm = foil_heights(scene.crystal, scene.beam, scene.foil, centres[:, 0], centres[:, 1])
    room_nm = np.minimum(entrance_nm - centres[:, 2], centres[:, 2] - exit_nm) - half
    inside = room_nm >= -SURFACE_TOLERANCE_NM
    if not inside.all():
        k = int(np.argmin(inside))
        raise InputError(f"particles[{k}].centre_nm must leave the particle inside the foil, got {[round(float(x), 3) for x in centres[k]]}, "
                         f"{-room_nm[k]:.3g} nm through a face; move it or reduce radius_nm")  # fmt: skip


def _check_ends(scene: Scene) -> None:
    ends = open_ends(scene.dislocations)
    if not ends:
        return
    points = np.array([scene.dislocations[i].points_nm[end] for i, end in ends])
    width_nm, height_nm = field_nm(scene.shape, scene.pixel_nm)
    entrance_nm, exit_nm = foil_heights(scene.crystal, scene.beam, scene.foil, points[:, 0], points[:, 1])
    within = (points[:, 2] < entrance_nm - SURFACE_TOLERANCE_NM) & (points[:, 2] > exit_nm + SURFACE_TOLERANCE_NM)
    within &= (np.abs(points[:, 0]) < width_nm / 2) & (np.abs(points[:, 1]) < height_nm / 2)
    if within.any():
        k = int(np.argmax(within))
        place = ", ".join(f"{x:.1f}" for x in points[k])
        raise InputError(
            f"dislocations[{ends[k][0]}].points_nm must end on a surface, outside the field, or in a node with "
            f"sum b = 0, got an open end inside the foil at ({place}) nm"
        )
