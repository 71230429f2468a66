"""Where the foil ends: holes, ragged edges and tears.

Axes: K outline vertices, P points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from physics.errors import require
from physics.frozen import frozen_array
from physics.parallel import over_threads

POINTS_A_PIECE = 4096
# Beyond this many tapers the foil has its full thickness to 1 part in 3000.
FULL_TAPERS = 8.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Opening:
    """A polygon `outline_nm` (K, 2) in the image plane inside which there is no foil.

    Toward it the foil thins as 1 - exp(-distance / taper_nm), as a polished edge does; a tear has `taper_nm` near 0.

    Raises InputError for fewer than three vertices or a taper that is not positive.
    """

    outline_nm: np.ndarray
    taper_nm: float = 50.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "outline_nm", frozen_array(self.outline_nm, (None, 2), "openings.outline_nm"))
        require(len(self.outline_nm) >= 3, "openings.outline_nm", "have at least 3 vertices", len(self.outline_nm))
        frozen_array([self.taper_nm], (1,), "openings.taper_nm")
        object.__setattr__(self, "taper_nm", float(self.taper_nm))
        require(self.taper_nm > 0, "openings.taper_nm", "be > 0", self.taper_nm)

    def thickness_share(self, x_nm: np.ndarray, y_nm: np.ndarray, beyond: bool = False) -> np.ndarray:
        """Share (...) of the full thickness at (x, y): 0 inside the opening, rising to 1 away from it.

        With `beyond` it runs on below 0 inside, as an odd function of the distance from the border: a mesh whose two
        faces cross there has its edge on the border itself, wherever its vertices are.
        """
        x, y = np.broadcast_arrays(np.asarray(x_nm, dtype=np.float64), np.asarray(y_nm, dtype=np.float64))
        share = np.empty(x.size)
        over_threads(
            _shares, -(-x.size // POINTS_A_PIECE), np.ascontiguousarray(x).ravel(), np.ascontiguousarray(y).ravel(),
            np.array(self.outline_nm), self.taper_nm, bool(beyond), share,
        )  # fmt: skip
        return share.reshape(x.shape)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _shares(begin, end, x, y, outline, taper, beyond, share):
    low_x, high_x = outline[:, 0].min() - FULL_TAPERS * taper, outline[:, 0].max() + FULL_TAPERS * taper
    low_y, high_y = outline[:, 1].min() - FULL_TAPERS * taper, outline[:, 1].max() + FULL_TAPERS * taper
    for i in range(begin * POINTS_A_PIECE, min(len(x), end * POINTS_A_PIECE)):
        share[i] = 1.0
        if x[i] < low_x or x[i] > high_x or y[i] < low_y or y[i] > high_y:
            continue
        inside, nearest_sq = False, np.inf
        k = len(outline) - 1
        for j in range(len(outline)):
            ax, ay, bx, by = outline[k, 0], outline[k, 1], outline[j, 0], outline[j, 1]
            if (ay > y[i]) != (by > y[i]) and x[i] < ax + (y[i] - ay) / (by - ay) * (bx - ax):
                inside = not inside
            ex, ey = bx - ax, by - ay
            t = min(1.0, max(0.0, ((x[i] - ax) * ex + (y[i] - ay) * ey) / max(ex * ex + ey * ey, 1e-30)))
            nearest_sq = min(nearest_sq, (x[i] - ax - t * ex) ** 2 + (y[i] - ay - t * ey) ** 2)
            k = j
        share[i] = -math.expm1(-math.sqrt(nearest_sq) / taper)
        if inside:
            share[i] = -share[i] if beyond else 0.0
