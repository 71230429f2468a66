"""The second grain and twins in the image: what they leave of the beam that forms it.

Bright field: the transmitted beam crosses them in their own reflections, each a two-beam condition of its own, the losses
to them independent of each other: exact for one that is excited, to first order for several that are weakly. Dark field: a
beam of the first grain meets them off any Bragg condition and is only absorbed. The order along the beam does not matter,
since their diffracted beams go to different places.

Axes: (Y, X) image rows and columns; C columns that cross a grain; Q plane waves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from physics.boundary import GrainBoundary
from physics.contrast.spread import Spread
from physics.contrast.two_beam import TwoBeam, perfect_crystal
from physics.frames import column_positions_nm
from physics.inelastic import InelasticSpread
from physics.misorientation import GrainReflection, grain_reflections
from render.foil import turned_excitation_error_inv_nm
from render.scene import Scene
from render.specimen import Specimen

# Deviations s xi_g up to which a reflection counts in full, and from which it does not at all. What it does beyond, to
# absorb a little more or less as 1 / (s xi_g), is part of the mean absorption, which is that of all far reflections together.
FULL_S_XI, NO_S_XI = 5.0, 10.0
TABLE_POINTS = 2049
AnySpread = Spread | InelasticSpread | None


def grains(specimen: Specimen) -> Iterator[tuple[GrainBoundary, np.ndarray]]:
    """The grains beside the first that can be seen, each with its length (Y, X) in nm along the beam."""
    foil = specimen.foil_shape.foil
    yield from zip(foil.twins, specimen.foil.twins_nm)
    if foil.boundary is not None:
        yield foil.boundary, specimen.foil.second_grain_nm


def grains_share(scene: Scene, specimen: Specimen, spread: AnySpread) -> np.ndarray | float:
    """Factor (Y, X) of the other grains on the first one's image, averaged over the directions of `spread`; 1.0 without any."""
    share: np.ndarray | float = 1.0
    for grain, length_nm in grains(specimen):
        if scene.beam.image == "bf":
            share = share * _transmitted(scene, specimen, grain, length_nm, spread)
        else:
            share = share * np.exp(-2 * math.pi * length_nm / specimen.two_beam.xi_0_prime_nm)
    return share


def diffracted_shares(scene: Scene, specimen: Specimen, grain: GrainBoundary, length_nm: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Reflections g (3,) of a grain in the image frame, each with the mean share of electrons that it holds at the exit."""
    there = length_nm > 0
    if not there.any():
        return []
    t = length_nm[there]
    if grain.misorientation_uvw is None:
        s = np.broadcast_to(_given_s_inv_nm(scene, grain), there.shape)[there]
        return [(specimen.g_image_inv_nm, float(perfect_crystal(TwoBeam(xi_g_nm=grain.xi_g_nm), s, t)[1].mean()))]
    found = []
    for reflection, s in _reflections(scene, specimen, grain, there):
        xi_nm = reflection.two_beam.xi_g_nm
        held = perfect_crystal(TwoBeam(xi_g_nm=xi_nm), s, t)[1] * _counted(s * xi_nm)
        found.append((reflection.g_image_inv_nm, float(held.mean())))
    return found


def _transmitted(scene: Scene, specimen: Specimen, grain: GrainBoundary, length_nm: np.ndarray, spread: AnySpread) -> np.ndarray:
    """Share (Y, X) of the transmitted beam that a grain lets through."""
    if grain.misorientation_uvw is None:
        return _spread_out(_given_condition(specimen, grain), _given_s_inv_nm(scene, grain), length_nm, specimen.g_image_inv_nm, spread)
    there = length_nm > 0
    share = np.ones(length_nm.shape)
    if not there.any():
        return share
    t = length_nm[there]
    passed = np.exp(-2 * math.pi * t / specimen.two_beam.xi_0_prime_nm)
    for reflection, s in _reflections(scene, specimen, grain, there):
        counted = _counted(s * reflection.two_beam.xi_g_nm)
        near = counted > 0
        without_mean = replace(reflection.two_beam, xi_0_prime_nm=math.inf)
        passed[near] *= _spread_out(without_mean, s[near], t[near], reflection.g_image_inv_nm, spread) ** counted[near]
    share[there] = np.minimum(passed, 1.0)
    return share


def _spread_out(
    condition: TwoBeam, s_inv_nm: np.ndarray, thickness_nm: np.ndarray, g_inv_nm: np.ndarray, spread: AnySpread
) -> np.ndarray:
    """Transmitted intensity of a perfect crystal, the mean over the plane waves of `spread`; by a table where s is one."""
    if spread is None:
        return perfect_crystal(condition, s_inv_nm, thickness_nm)[0]
    most_nm = float(thickness_nm.max(initial=0.0))
    offsets, weights = spread.points([np.zeros(3), g_inv_nm], most_nm)
    one = np.size(s_inv_nm) > 0 and np.ptp(s_inv_nm) == 0
    s, t = (np.ravel(s_inv_nm)[:1], np.linspace(0, most_nm, TABLE_POINTS)) if one else (s_inv_nm, thickness_nm)
    mean = sum(w * perfect_crystal(condition, s + offset, t)[0] for offset, w in zip(offsets[:, 1], weights))
    return np.interp(thickness_nm, t, mean) if one else mean


def _counted(s_xi: np.ndarray) -> np.ndarray:
    """Weight of a reflection, falling smoothly from 1 to 0 between the two deviations."""
    part = np.clip((np.abs(s_xi) - FULL_S_XI) / (NO_S_XI - FULL_S_XI), 0.0, 1.0)
    return np.cos(math.pi / 2 * part) ** 2 * (part < 1)


def _reflections(
    scene: Scene, specimen: Specimen, grain: GrainBoundary, there: np.ndarray
) -> Iterator[tuple[GrainReflection, np.ndarray]]:  # fmt: skip
    """Reflections of an oriented grain that may count, each with its s (C,) in the columns that cross the grain.

    Every grain turns as the foil bends, and with the lips of its tears.
    """
    placed, normals = specimen.foil_shape, None
    turned_rad = 0.0
    if placed.bent or placed.lipped:
        normals = placed.mid_normal(*np.meshgrid(*column_positions_nm(scene.shape, scene.pixel_nm)))[there]
        turned_rad = math.acos(min(1.0, max(-1.0, float((normals @ placed.normal_image).min()))))
    for reflection in grain_reflections(scene.crystal, scene.beam, grain, turned_rad, NO_S_XI):
        g, s = reflection.g_image_inv_nm, reflection.s_inv_nm
        if normals is None:
            yield reflection, np.full(int(there.sum()), s)
        else:
            yield reflection, turned_excitation_error_inv_nm(g, s, scene.beam.voltage_kV, placed.normal_image, normals)


def _given_condition(specimen: Specimen, grain: GrainBoundary) -> TwoBeam:
    return TwoBeam.with_mean_absorption(grain.xi_g_nm, grain.xi_g_nm * grain.xi_prime_over_xi, specimen.two_beam.xi_0_prime_nm)


def _given_s_inv_nm(scene: Scene, grain: GrainBoundary) -> np.ndarray:
    x_nm, y_nm = column_positions_nm(scene.shape, scene.pixel_nm)
    return grain.local_s_inv_nm(x_nm[None, :], y_nm[:, None])
