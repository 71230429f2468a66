"""The slip systems and planes that drawn lines glide on.

Axes: S slip systems.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from physics.crystal import Crystal
from physics.slip import SlipSystem, slip_systems
from physics.sources import GlidePlane
from render.mixture_config import Mixture
from render.scene_rules import plane_normal_image
from render.space import Space

STEEPEST_PLANE_DEG, FLATTEST_PLANE_DEG = 82.0, 9.0  # beyond the first a plane is seen edge-on; below the second it misses the faces
NARROWEST_STRIP_PX = 40.0


@cache
def _systems(crystal: Crystal, family: str | None) -> tuple[SlipSystem, ...]:
    return slip_systems(crystal, family)


def draw_slip_system(config: Mixture, space: Space, traces: list[np.ndarray] | None, rng: np.random.Generator) -> SlipSystem:
    """A slip system whose plane shows a strip, by preference one with g.b not 0 and away from the last trace.

    `traces` gathers the traces of the groups so far; None: this line keeps to none.
    """
    systems = _systems(space.crystal, config.family)
    normals = np.array([plane_normal_image(s.plane_hkl, space.crystal, space.image_from_crystal) for s in systems])
    inclination_deg, good = inclinations_deg(normals)
    strip_px = space.thickness_nm / np.tan(np.radians(np.maximum(inclination_deg, 1e-3))) / space.pixel_nm
    wide = good & (strip_px >= NARROWEST_STRIP_PX)
    # Where no plane is suited, the least steep one that meets the faces is taken.
    candidates = wide if wide.any() else good if good.any() else inclination_deg == inclination_deg.min()
    if not wide.any() and good.any():
        candidates = good & (strip_px >= 0.999 * strip_px[good].max())
    if rng.random() < config.visible_share:
        visible = np.array([abs(np.dot(space.g_hkl, s.burgers_uvw)) > 1e-9 for s in systems])
        candidates = candidates & visible if (candidates & visible).any() else candidates
    along = np.stack([-normals[:, 1], normals[:, 0]], axis=1)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-12)
    if traces and config.cross_deg > 0:
        apart = np.abs(along @ traces[-1]) <= math.cos(math.radians(config.cross_deg))
        candidates = candidates & apart if (candidates & apart).any() else candidates
    picked = int(rng.choice(np.flatnonzero(candidates)))
    if traces is not None:
        traces.append(along[picked])
    return systems[picked]


def inclinations_deg(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angles (S,) of planes with unit `normals` (S, 3) to the image, and which of the planes show a strip."""
    inclination_deg = np.degrees(np.arccos(np.clip(np.abs(normals[:, 2]), 0, 1)))
    return inclination_deg, (inclination_deg < STEEPEST_PLANE_DEG) & (inclination_deg > FLATTEST_PLANE_DEG)


def draw_glide_plane(space: Space, system: SlipSystem, point_nm: np.ndarray, rng: np.random.Generator) -> GlidePlane:
    normal = plane_normal_image(system.plane_hkl, space.crystal, space.image_from_crystal)
    return GlidePlane(plane_hkl=system.plane_hkl, burgers_uvw=rng.choice([-1.0, 1.0]) * np.array(system.burgers_uvw),
                      normal_image=normal, point_nm=point_nm)  # fmt: skip


def steepest_chord_nm(plane: GlidePlane, space: Space) -> float:
    """Length of the steepest line of a plane between the faces, at most what the field can show."""
    return min(space.thickness_nm / max(plane.rise[2], 1e-3), 2 * space.reach_nm)
