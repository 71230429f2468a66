"""Drawing what orients a second grain: an orientation in which a low reflection has a deviation drawn, or a bare two-beam condition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from physics.beam import BeamCondition, beam_absorption_nm, image_from_crystal, xi_g_nm
from physics.crystal import Crystal
from physics.foil import Foil
from physics.frames import rotation_about
from physics.misorientation import LEAST_DEG, axis_and_angle, disorientation_deg, low_reflections
from physics.scattering import extinction_distance_nm
from render.draw import Distribution

LOW = 3  # lengths of reflections of which one is drawn
MOST_TRIES = 50


def drawn_misorientation(crystal: Crystal, beam: BeamCondition, s_xi: Distribution, rng: np.random.Generator) -> dict[str, Any]:
    """An orientation in which one of the shortest reflections, anywhere in the image, has a deviation s xi_g drawn from `s_xi`.

    About that reflection the grain is turned at random. So grains that show are as frequent as `s_xi` says, and what
    else is excited in them, and how they bend, follows. Fields of `GrainBoundary`.
    """
    low = low_reflections(crystal, LOW)
    first = image_from_crystal(crystal, beam)
    for _ in range(MOST_TRIES):
        hkl = low[int(rng.integers(len(low)))]
        s_inv_nm = float(s_xi.draw(rng)) / extinction_distance_nm(crystal, hkl, beam.voltage_kV)
        own = _standing_on(crystal, beam, hkl, s_inv_nm, float(rng.uniform(0, 360)), float(rng.uniform(0, 2 * np.pi)))
        rotation = first.T @ own
        if disorientation_deg(crystal, rotation) > 2 * LEAST_DEG:
            break
    uvw, deg = axis_and_angle(crystal, rotation)
    return {"misorientation_uvw": uvw, "misorientation_deg": deg}


def drawn_condition(
    foil: Foil, crystal: Crystal, beam: BeamCondition, s_xi: Distribution, rng: np.random.Generator
) -> dict[str, Any]:
    """The two-beam condition of an orientation that nobody tells, its deviation drawn from `s_xi`: fields of `GrainBoundary`."""
    xi_nm = xi_g_nm(crystal, beam) * float(rng.uniform(0.7, 1.8))
    _, xi_g_prime_nm = beam_absorption_nm(crystal, beam)
    # The foil bends both grains alike; the second one's g points anywhere in the image.
    bend, g_azimuth = math.radians(foil.curvature_azimuth_deg), rng.uniform(0, 2 * np.pi)
    axis = np.array([math.cos(bend), math.sin(bend)])
    g_along = float(np.linalg.norm(crystal.reciprocal_vector_inv_nm(beam.g_hkl))) * math.cos(g_azimuth - bend)
    turn = -foil.curvature_inv_um * g_along * axis
    return {"s_inv_nm": float(s_xi.draw(rng)) / xi_nm, "xi_g_nm": xi_nm, "xi_prime_over_xi": xi_g_prime_nm / xi_g_nm(crystal, beam),
            "turn_inv_nm_per_um": tuple(turn)}  # fmt: skip


def _standing_on(
    crystal: Crystal, beam: BeamCondition, hkl: np.ndarray, s_inv_nm: float, azimuth_deg: float, about_rad: float
) -> np.ndarray:
    """Rotation (3, 3) from a crystal to the image in which hkl has the deviation `s_inv_nm` and the azimuth given."""
    # Some direction of the reflection's zone: [k, -h, 0], or [1, 0, 0] for 00l; the turn about g makes it any.
    zone = (int(hkl[1]), -int(hkl[0]), 0) if hkl[:2].any() else (1, 0, 0)
    condition = BeamCondition(g_hkl=tuple(int(h) for h in hkl), zone_axis_uvw=zone, voltage_kV=beam.voltage_kV, s_inv_nm=s_inv_nm,
                              image_rotation_deg=azimuth_deg)  # fmt: skip
    standing = image_from_crystal(crystal, condition)
    return rotation_about(standing @ crystal.reciprocal_vector_inv_nm(hkl), about_rad) @ standing
