"""Polygons in a plane."""

from __future__ import annotations

import numpy as np


def polygon_covers(polygon_nm: np.ndarray, x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
    """Which of the points (x, y) lie inside a polygon (K, 2), by the even-odd rule."""
    inside = np.zeros(x_nm.shape, dtype=bool)
    for a, b in zip(polygon_nm, np.roll(polygon_nm, -1, axis=0)):
        across = (a[1] > y_nm) != (b[1] > y_nm)
        if across.any():
            inside ^= across & (x_nm < a[0] + (y_nm - a[1]) / (b[1] - a[1]) * (b[0] - a[0]))
    return inside
