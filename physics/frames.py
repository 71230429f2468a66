"""Frames of reference: image frame and pixel coordinates.

Image frame: right-handed, x right, y up, z toward the electron gun, origin at the field's centre in
mid-foil; the beam travels along -z. Pixel coordinates: x right, y down, (0, 0) at the centre of the
top-left pixel. The flip of y is written here and nowhere else.

Axes: K points, (Y, X) image rows and columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def pixel_from_image(points_nm: ArrayLike, shape: tuple[int, int], pixel_nm: float) -> np.ndarray:
    """Pixel coordinates (K, 2) of image-frame points (K, 2 or 3) in nm; z is dropped."""
    points_nm = np.asarray(points_nm, dtype=np.float64)
    rows, columns = shape
    x_px = points_nm[..., 0] / pixel_nm + (columns - 1) / 2
    y_px = (rows - 1) / 2 - points_nm[..., 1] / pixel_nm
    return np.stack([x_px, y_px], axis=-1)


def image_from_pixel(points_px: ArrayLike, shape: tuple[int, int], pixel_nm: float) -> np.ndarray:
    """Image-frame x, y in nm (K, 2) of pixel coordinates (K, 2)."""
    points_px = np.asarray(points_px, dtype=np.float64)
    rows, columns = shape
    x_nm = (points_px[..., 0] - (columns - 1) / 2) * pixel_nm
    y_nm = ((rows - 1) / 2 - points_px[..., 1]) * pixel_nm
    return np.stack([x_nm, y_nm], axis=-1)


def column_positions_nm(shape: tuple[int, int], pixel_nm: float) -> tuple[np.ndarray, np.ndarray]:
    """Image-frame x (X,) and y (Y,) in nm of the pixel centres; y falls as the row index grows."""
    rows, columns = shape
    x_nm = (np.arange(columns) - (columns - 1) / 2) * pixel_nm
    y_nm = ((rows - 1) / 2 - np.arange(rows)) * pixel_nm
    return x_nm, y_nm


def field_nm(shape: tuple[int, int], pixel_nm: float) -> tuple[float, float]:
    """Width and height in nm of the field that the pixels of `shape` cover, edges included."""
    return shape[1] * pixel_nm, shape[0] * pixel_nm


def rotation_from_axes(x_axis: ArrayLike, z_axis: ArrayLike) -> np.ndarray:
    """Rotation (3, 3) whose rows are the orthonormal axes: x along `x_axis` (made normal to z), z along `z_axis`."""
    z = np.asarray(z_axis, dtype=np.float64)
    z = z / np.linalg.norm(z)
    x = np.asarray(x_axis, dtype=np.float64)
    x = x - (x @ z) * z
    x = x / np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def rotation_about(axis: ArrayLike, angle_rad: float) -> np.ndarray:
    """Active right-handed rotation (3, 3) by `angle_rad` about `axis` (Rodrigues)."""
    n = np.asarray(axis, dtype=np.float64)
    n = n / np.linalg.norm(n)
    cross = np.array([[0, -n[2], n[1]], [n[2], 0, -n[0]], [-n[1], n[0], 0]])
    return np.eye(3) + np.sin(angle_rad) * cross + (1 - np.cos(angle_rad)) * cross @ cross
