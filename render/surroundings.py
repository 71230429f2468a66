"""What the beam meets beside the first grain: a second grain, and deposits on the faces.

Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

import math

import numpy as np

from physics.contrast.two_beam import TwoBeam, perfect_crystal
from physics.deposit import transmission
from physics.frames import column_positions_nm
from render.foil import FoilMaps
from render.scene import Scene


def passed_share(scene: Scene, foil: FoilMaps) -> np.ndarray | float:
    """Factor (Y, X) on the intensity that the first grain alone would give; 1.0 where there is nothing else.

    Bright field: the transmitted beam crosses the second grain in that grain's own two-beam condition. Dark field: a
    beam of the first grain meets the second off any Bragg condition and is only absorbed. The order of the grains along
    the beam does not matter, since their diffracted beams go to different places.
    """
    x_nm, y_nm = column_positions_nm(scene.shape, scene.pixel_nm)
    share: np.ndarray | float = 1.0
    boundary = scene.foil.boundary
    if boundary is not None:
        absorption_nm = boundary.xi_g_nm * boundary.xi_prime_over_xi
        if scene.beam.image == "bf":
            condition = TwoBeam(xi_g_nm=boundary.xi_g_nm, xi_g_prime_nm=absorption_nm, xi_0_prime_nm=absorption_nm)
            s_inv_nm = boundary.local_s_inv_nm(x_nm[None, :], y_nm[:, None])
            share = perfect_crystal(condition, s_inv_nm, foil.second_grain_nm)[0]
        else:
            share = np.exp(-2 * math.pi * foil.second_grain_nm / absorption_nm)
    if scene.deposits:
        # What would lie over a hole has fallen through it.
        share = np.where(foil.thickness_nm > 0, share * transmission(scene.deposits, x_nm, y_nm), share)
    return share
