"""The conditions of a tableau: one dislocation fixed in crystal and foil, and the beams under which it is looked at.

The line, its Burgers vector and the foil are fixed in the crystal; from frame to frame the specimen is tilted, as on a
microscope: for each g to a zone axis that holds it, then about the axis normal to g until the excitation error is the
one asked for. The camera stays with the specimen, so that the line keeps its direction in the image but for the tilt.

Axes: K candidates.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physics.beam import BeamCondition, image_from_crystal
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.errors import require
from physics.foil import Foil
from physics.frames import field_nm, rotation_about, rotation_from_axes
from physics.gdotb import ZERO, rule_for_edge
from physics.slip import slip_systems
from render.detector import Detector
from render.scene import Scene

HIGHEST_INDEX = 4  # of a zone axis that the specimen is tilted to
DETOUR_DEG = 6.0  # more tilt than the least that an axis of lower indices is worth
FARTHEST_DEG = 75.0
INCLINATION_DEG = 25.0
STEEPEST_DEG = 80.0
DIRECTION_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class StraightLine:
    """An endless straight dislocation: `burgers_uvw` (3,) in lattice vectors, `plane_hkl` (0, 0, 0) where none is declared,
    and its unit line sense `sense_crystal` (3,), crystal Cartesian frame."""

    burgers_uvw: tuple[float, float, float]
    plane_hkl: tuple[int, int, int]
    sense_crystal: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Contrasts:
    """What the invisibility criterion says of a line under one g; all pure numbers.

    The displacement round a line in an isotropic crystal goes along b, along its edge component b_e, and along b x u
    (Hirsch et al. 1977, ch. 7), u the line's direction: where g is normal to all three nothing is seen. `rule` is "visible",
    "residual", "faint" or "invisible" (`physics.gdotb`).
    """

    g_dot_b: float
    g_dot_b_edge: float
    g_dot_b_cross_u: float
    rule: str


def straight_line(
    crystal: Crystal, *, burgers_uvw: Sequence[float] | None = None, plane_hkl: Sequence[int] | None = None,
    character_deg: float | None = None, direction_uvw: Sequence[float] | None = None,
) -> StraightLine:  # fmt: skip
    """The line that a person specifies; what is left out is that of the material's first slip system, a screw.

    `character_deg` is the angle from b to the line, right-handed about the normal of the slip plane.

    Raises InputError for a line or Burgers vector out of the plane, or both a character and a direction.
    """
    require(character_deg is None or direction_uvw is None, "line.direction_uvw", "be left out where line.character_deg is given", direction_uvw)
    burgers, plane = _slip_system(crystal, burgers_uvw, plane_hkl)
    b_nm = crystal.direction_nm(burgers)
    require(bool(b_nm.any()), "line.burgers_uvw", "not be [0, 0, 0]", list(burgers))
    if direction_uvw is not None:
        sense = crystal.direction_nm(direction_uvw)
        require(bool(sense.any()), "line.direction_uvw", "not be [0, 0, 0]", list(direction_uvw))
        in_plane = abs(float(np.dot(plane, direction_uvw))) < DIRECTION_TOLERANCE
        require(plane_hkl is None or in_plane, "line.direction_uvw", f"lie in the plane {list(plane)}", list(direction_uvw))
        plane = plane if in_plane and abs(float(np.dot(plane, burgers))) < DIRECTION_TOLERANCE else (0, 0, 0)
    else:
        out_of_plane = float(np.dot(plane, burgers))
        require(abs(out_of_plane) < DIRECTION_TOLERANCE, "line.burgers_uvw", f"lie in the plane {list(plane)}", list(burgers))
        turn = rotation_about(crystal.reciprocal_vector_inv_nm(plane), math.radians(character_deg or 0.0))
        sense = turn @ b_nm
    return StraightLine(burgers_uvw=burgers, plane_hkl=plane, sense_crystal=sense / np.linalg.norm(sense))


def contrasts(crystal: Crystal, line: StraightLine, g_hkl: Sequence[int]) -> Contrasts:
    """g.b, g.b_e, g.(b x u) of a line, and what the rule says."""
    b_nm, g_inv_nm = crystal.direction_nm(line.burgers_uvw), crystal.reciprocal_vector_inv_nm(g_hkl)
    edge_nm = b_nm - (b_nm @ line.sense_crystal) * line.sense_crystal
    numbers = (float(np.dot(g_hkl, line.burgers_uvw)), float(g_inv_nm @ edge_nm), float(g_inv_nm @ np.cross(b_nm, line.sense_crystal)))
    along_b, along_edge, across = (0.0 if abs(n) < ZERO else n for n in numbers)
    rule = "residual" if along_b == 0 and along_edge != 0 else rule_for_edge(along_b, across)
    return Contrasts(g_dot_b=along_b, g_dot_b_edge=along_edge, g_dot_b_cross_u=across, rule=rule)


def foil_normal_crystal(
    crystal: Crystal, line: StraightLine, g_hkl: Sequence[Sequence[int]], inclination_deg: float = INCLINATION_DEG,
    zone_axis_uvw: Sequence[int] | None = None,
) -> np.ndarray:
    """The normal (3,) of a foil in which the line is inclined by `inclination_deg`, from which g's are reached by least tilt.

    Of the normals at that angle to the line, 1 degree apart, the one nearest to the zone axis, where one is given, or else
    the one from which the farthest g needs least tilt: 90 degrees less the angle between g and the normal.

    Raises InputError for an inclination outside [0, STEEPEST_DEG].
    """
    require(0 <= inclination_deg <= STEEPEST_DEG, "line.inclination_deg", f"lie in [0, {STEEPEST_DEG:g}]", inclination_deg)
    u = line.sense_crystal
    across = np.cross(u, [0.0, 0.0, 1.0] if abs(u[2]) < 0.9 else [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    around = np.radians(np.arange(360.0))
    ring = np.outer(np.cos(around), across) + np.outer(np.sin(around), np.cross(u, across))
    inclination = math.radians(inclination_deg)
    normals = math.cos(inclination) * ring + math.sin(inclination) * u  # (K, 3)
    if zone_axis_uvw is not None:
        axis = crystal.direction_nm(zone_axis_uvw)
        nearness = np.round(np.abs(normals @ axis) / np.linalg.norm(axis), 9)
        nearest = normals[int(np.argmax(nearness))]
        return nearest if nearest @ axis > 0 else -nearest
    g = np.array([crystal.reciprocal_vector_inv_nm(h) for h in g_hkl])
    farthest = np.abs(normals @ (g / np.linalg.norm(g, axis=1, keepdims=True)).T).max(axis=1)
    # The first of those that are equal to rounding, so that the choice does not hang on the last bit.
    return normals[int(np.flatnonzero(farthest < farthest.min() + 1e-9)[0])]


def zone_axis_near(crystal: Crystal, normal_crystal: np.ndarray, g_hkl: Sequence[int]) -> tuple[int, int, int]:
    """The zone axis of `g_hkl` that a specimen, its foil normal up the column, is tilted to.

    The axis of lowest indices within DETOUR_DEG of the least tilt to any axis of indices up to HIGHEST_INDEX.

    Raises InputError where g needs more than FARTHEST_DEG of tilt: it is nearly normal to the foil.
    """
    indices = range(-HIGHEST_INDEX, HIGHEST_INDEX + 1)
    zone = [uvw for uvw in itertools.product(indices, repeat=3) if any(uvw) and np.dot(uvw, g_hkl) == 0 and math.gcd(*uvw) == 1]
    axes = np.array([crystal.direction_nm(uvw) for uvw in zone])
    cosines = axes @ normal_crystal / np.linalg.norm(axes, axis=1) / np.linalg.norm(normal_crystal)
    tilts_deg = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    least_deg = float(tilts_deg.min())
    require(least_deg <= FARTHEST_DEG, "g", "be reached by a tilt of the foil", f"{list(g_hkl)}, {least_deg:.0f} deg away",
            "give another foil_normal or another line.inclination_deg")  # fmt: skip
    near = [k for k in range(len(zone)) if tilts_deg[k] <= least_deg + DETOUR_DEG]
    return zone[min(near, key=lambda k: (sum(abs(u) for u in zone[k]), round(float(tilts_deg[k]), 6), zone[k]))]


def with_camera_on_specimen(crystal: Crystal, beam: BeamCondition, line: StraightLine, normal_crystal: np.ndarray) -> BeamCondition:
    """`beam` with the image turned so that it differs from the untilted view by the tilt alone.

    Untilted, the foil normal is up the column and the line runs along +x of the image.
    """
    untilted = rotation_from_axes(line.sense_crystal, normal_crystal)
    relative = image_from_crystal(crystal, beam) @ untilted.T
    # The in-image part of the tilt is taken back: the polar angle of its upper left block.
    turned_deg = math.degrees(math.atan2(relative[1, 0] - relative[0, 1], relative[0, 0] + relative[1, 1]))
    changes = {name: getattr(beam, name) for name in beam.__dataclass_fields__}
    return BeamCondition(**changes | {"image_rotation_deg": beam.image_rotation_deg - turned_deg})


def scene_of(
    crystal: Crystal, line: StraightLine, normal_crystal: np.ndarray, beam: BeamCondition, thickness_nm: float,
    shape: tuple[int, int], pixel_nm: float, **physics: float | bool | str,
) -> Scene:  # fmt: skip
    """The Scene of the line, through the field's centre in mid-foil, under `beam`; `physics` are fields of Scene."""
    rotation = image_from_crystal(crystal, beam)
    sense = rotation @ line.sense_crystal
    normal = rotation @ normal_crystal
    # Long enough to leave foil or field at both ends.
    slope = abs(float(sense @ normal))
    within_foil_nm = thickness_nm / slope if slope > 1e-6 else math.inf
    within_field_nm = 2 * math.hypot(*field_nm(shape, pixel_nm)) / max(math.hypot(sense[0], sense[1]), 1e-3)
    reach_nm = min(within_foil_nm, 4 * within_field_nm)
    uvw = np.linalg.solve(crystal.lattice_nm, normal_crystal)
    return Scene(
        crystal=crystal, beam=beam, foil=Foil(thickness_nm=thickness_nm, normal_uvw=tuple(float(u) for u in uvw / np.abs(uvw).max())),
        dislocations=(Dislocation(burgers_uvw=line.burgers_uvw, points_nm=np.outer([-reach_nm, reach_nm], sense), plane_hkl=line.plane_hkl),),
        detector=Detector(), shape=shape, pixel_nm=pixel_nm, **physics,
    )  # fmt: skip


def tilt_deg(crystal: Crystal, beam: BeamCondition, normal_crystal: np.ndarray) -> float:
    """Angle between the foil normal and the column."""
    normal = image_from_crystal(crystal, beam) @ normal_crystal / np.linalg.norm(normal_crystal)
    return math.degrees(math.atan2(math.hypot(normal[0], normal[1]), normal[2]))


def _slip_system(
    crystal: Crystal, burgers_uvw: Sequence[float] | None, plane_hkl: Sequence[int] | None
) -> tuple[tuple[float, float, float], tuple[int, int, int]]:
    """b and plane as given; one left out is the first of the crystal's slip systems that fits the other."""
    systems = slip_systems(crystal)
    if burgers_uvw is not None and plane_hkl is None:
        unit = crystal.direction_nm(burgers_uvw)
        fitting = [s for s in systems if abs(float(np.dot(s.plane_hkl, burgers_uvw))) < DIRECTION_TOLERANCE and unit.any()]
        return tuple(float(u) for u in burgers_uvw), (fitting[0].plane_hkl if fitting else systems[0].plane_hkl)
    if plane_hkl is not None:
        plane = tuple(int(h) for h in plane_hkl)
        require(any(plane), "line.plane_hkl", "not be [0, 0, 0]", list(plane))
        if burgers_uvw is None:
            fitting = [s for s in systems if s.plane_hkl == plane]
            require(bool(fitting), "line.burgers_uvw", f"be given for the plane {list(plane)}, which is no slip plane of {crystal.material}", "nothing")
            return fitting[0].burgers_uvw, plane
        return tuple(float(u) for u in burgers_uvw), plane
    return systems[0].burgers_uvw, systems[0].plane_hkl
