"""What the beam meets beside the first grain: rolled-up lips, deposits and inclusions; grains are `render.other_grains`.

Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

import math

import numpy as np

from physics.beam import beam_absorption_nm
from render.other_grains import grains_share
from render.scene import Scene
from render.specimen import Specimen


def passed_share(scene: Scene, specimen: Specimen) -> np.ndarray | float:
    """Factor (Y, X) on the intensity that the first grain alone would give; 1.0 where there is nothing else."""
    return absorbed_share(scene, specimen, grains_share(scene, specimen, specimen.spread))


def absorbed_share(scene: Scene, specimen: Specimen, share: np.ndarray | float = 1.0) -> np.ndarray | float:
    """`share` less what lips and deposits absorb. Lips rolled up are turned so far that they do nothing else."""
    foil = specimen.foil
    if foil.rolled_nm.any():
        xi_0_prime_nm, _ = beam_absorption_nm(scene.crystal, scene.beam)
        share = share * np.exp(-2 * math.pi * foil.rolled_nm / xi_0_prime_nm)
    if foil.free_paths.any():
        # What would lie over a hole has fallen through it.
        share = np.where(foil.thickness_nm > 0, share * np.exp(-foil.free_paths), share)
    return share
