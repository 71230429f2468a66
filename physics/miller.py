"""Miller-Bravais indices of hexagonal crystals, turned into the three that everything else uses.

Nothing is rescaled: 1/3[2 -1 -1 0] is [1 0 0], a lattice vector and not merely a direction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from physics.errors import require
from physics.frozen import frozen_array

INDEX_TOLERANCE = 1e-6


def plane_from_bravais(hkil: ArrayLike) -> tuple[int, int, int]:
    """(h k i l) -> (h k l).

    Raises InputError unless the four are integers with h + k + i = 0.
    """
    indices = frozen_array(hkil, (4,), "hkil")
    require(bool((indices == np.round(indices)).all()), "hkil", "be four integers", indices.tolist())
    h, k, i, l = (int(x) for x in indices)
    require(h + k + i == 0, "hkil", "satisfy h + k + i = 0", f"{[h, k, i, l]}", f"i would be {-h - k}")
    return h, k, l


def direction_from_bravais(uvtw: ArrayLike) -> np.ndarray:
    """[U V T W] -> [U - T, V - T, W] (3,), exact for thirds to the last bit that matters.

    Raises InputError unless U + V + T = 0 (within 1e-6: thirds are typed as decimals).
    """
    indices = frozen_array(uvtw, (4,), "uvtw")
    u, v, t, w = indices
    require(abs(u + v + t) < INDEX_TOLERANCE, "uvtw", "satisfy U + V + T = 0", indices.tolist(),
            f"T would be {-u - v:g}")  # fmt: skip
    direction = np.array([u - t, v - t, w])
    # 2/3 + 1/3 is 1 only up to rounding; what is within it of an integer is that integer.
    nearest = np.round(direction)
    return np.where(np.abs(direction - nearest) < INDEX_TOLERANCE, nearest, direction)


def bravais_from_plane(hkl: ArrayLike) -> tuple[int, int, int, int]:
    """(h k l) -> (h k i l) with i = -(h + k)."""
    indices = frozen_array(hkl, (3,), "hkl")
    require(bool((indices == np.round(indices)).all()), "hkl", "be three integers", indices.tolist())
    h, k, l = (int(x) for x in indices)
    return h, k, -h - k, l


def bravais_from_direction(uvw: ArrayLike) -> np.ndarray:
    """[u v w] -> [U V T W] (4,) = [(2u - v)/3, (2v - u)/3, -(u + v)/3, w]."""
    u, v, w = frozen_array(uvw, (3,), "uvw")
    return np.array([(2 * u - v) / 3, (2 * v - u) / 3, -(u + v) / 3, w]) + 0.0
