"""What the beam meets beside the first grain: a second grain, twins, rolled-up lips, deposits and inclusions.

Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

import math

import numpy as np

from physics.beam import beam_absorption_nm
from physics.contrast.two_beam import TwoBeam, perfect_crystal
from physics.frames import column_positions_nm
from render.foil import FoilMaps
from render.scene import Scene


def passed_share(scene: Scene, foil: FoilMaps) -> np.ndarray | float:
    """Factor (Y, X) on the intensity that the first grain alone would give; 1.0 where there is nothing else.

    Bright field: the transmitted beam crosses the second grain, and each twin, in that crystal's own two-beam condition.
    Dark field: a beam of the first grain meets the others off any Bragg condition and is only absorbed. The order along
    the beam does not matter, since their diffracted beams go to different places. Lips rolled up are turned so far that
    they only absorb.
    """
    x_nm, y_nm = column_positions_nm(scene.shape, scene.pixel_nm)
    share: np.ndarray | float = 1.0
    grains = [(twin, length_nm) for twin, length_nm in zip(scene.foil.twins, foil.twins_nm)]
    if scene.foil.boundary is not None:
        grains.append((scene.foil.boundary, foil.second_grain_nm))
    for grain, length_nm in grains:
        absorption_nm = grain.xi_g_nm * grain.xi_prime_over_xi
        if scene.beam.image == "bf":
            condition = TwoBeam(xi_g_nm=grain.xi_g_nm, xi_g_prime_nm=absorption_nm, xi_0_prime_nm=absorption_nm)
            share = share * perfect_crystal(condition, grain.local_s_inv_nm(x_nm[None, :], y_nm[:, None]), length_nm)[0]
        else:
            share = share * np.exp(-2 * math.pi * length_nm / absorption_nm)
    if foil.rolled_nm.any():
        xi_0_prime_nm, _ = beam_absorption_nm(scene.crystal, scene.beam)
        share = share * np.exp(-2 * math.pi * foil.rolled_nm / xi_0_prime_nm)
    if foil.free_paths.any():
        # What would lie over a hole has fallen through it.
        share = np.where(foil.thickness_nm > 0, share * np.exp(-foil.free_paths), share)
    return share
