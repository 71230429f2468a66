"""Smoothing splines that know how well they know a curve.

The discrete cubic smoothing spline (Whittaker 1923; Reinsch 1967) is the mean of a posterior (Wahba 1983): points p of
a curve are seen with a variance s^2 / w, and the second difference of the curve q has the variance s^2 / lambda. Then
q = A^-1 W p and Cov q = s^2 A^-1, with A = W + lambda D^T D of five bands; the diagonal of the inverse follows from its
Cholesky factor in a number of steps that grows as the number of vertices (Takahashi et al. 1973; Hutchinson & de Hoog
1985). Where a curve was bridged w is nearly 0, and the standard deviation grows into the gap by itself.

Axes: V vertices. Lengths in image pixels.
"""

from __future__ import annotations

import numba
import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded

from train.curves import is_closed, resample

UNSEEN = 1e-3  # weight of a vertex laid across a gap, where a seen one has 1


def smoothing_spline(
    points_px: np.ndarray, seen: np.ndarray, wavelength_px: float, step_px: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed curve (V', 2) at `step_px` and the standard deviation (V',) of each vertex, in px of `points_px`' scatter.

    `seen` (V,) is the weight in [0, 1] of the given vertices. A wave of period `wavelength_px` is halved. The
    deviation is that of one coordinate, from the scatter of the vertices about the curve, and 0 for under 5 vertices.
    """
    closed = is_closed(points_px)
    resampled = resample(np.column_stack([points_px, np.maximum(seen, UNSEEN)]), step_px)
    points, weight = resampled[:, :2], resampled[:, 2]
    if len(points) < 5:
        return points, np.zeros(len(points))
    lap = 0
    if closed:
        lap = min(len(points) - 1, int(2 * wavelength_px / step_px) + 1)
        points, weight = (np.concatenate([a[-1 - lap : -1], a, a[1 : 1 + lap]]) for a in (points, weight))
    stiffness = (wavelength_px / (2 * np.pi * step_px)) ** 4
    factor = cholesky_banded(roughness_bands(len(points), stiffness, weight))
    smoothed = cho_solve_banded((factor, False), weight[:, None] * points)
    variance = inverse_diagonal(factor)
    # Every fitted number takes a degree of freedom from the residuals: n - trace of the smoother.
    left = max(1.0, float(weight.sum() - (weight * variance).sum()))
    scatter = float((weight[:, None] * (points - smoothed) ** 2).sum()) / (2.0 * left)
    sigma = np.sqrt(scatter * variance)
    if closed:
        smoothed, sigma = smoothed[lap:-lap], sigma[lap:-lap]
        smoothed[-1], sigma[-1] = smoothed[0], sigma[0]
    return smoothed, sigma


def roughness_bands(n: int, stiffness: float, weight: np.ndarray) -> np.ndarray:
    """Upper bands (3, n), as scipy has them, of diag(weight) + stiffness D^T D, D the second difference."""
    bands = np.zeros((3, n))
    second = np.array([1.0, -2.0, 1.0])
    for i in range(3):
        for j in range(i, 3):
            bands[2 - (j - i), j : n - 2 + j] += stiffness * second[i] * second[j]
    bands[2] += weight
    return bands


@numba.njit(cache=True, error_model="numpy")
def inverse_diagonal(factor: np.ndarray) -> np.ndarray:
    """Diagonal (V,) of (U^T U)^-1 from the bands (3, V) of an upper Cholesky factor U of bandwidth 2.

    With Z the inverse, U Z = U^-T is lower triangular with diagonal 1 / u_ii: going up from the last row, each row of
    Z within the band follows from the two below it.
    """
    n = factor.shape[1]
    # z0[i] = Z[i, i], z1[i] = Z[i, i + 1], z2[i] = Z[i, i + 2]
    z0, z1, z2 = np.zeros(n + 2), np.zeros(n + 2), np.zeros(n + 2)
    for i in range(n - 1, -1, -1):
        u0 = factor[2, i]
        a = factor[1, i + 1] / u0 if i + 1 < n else 0.0
        b = factor[0, i + 2] / u0 if i + 2 < n else 0.0
        z2[i] = -a * z1[i + 1] - b * z0[i + 2]
        z1[i] = -a * z0[i + 1] - b * z1[i + 1]
        z0[i] = 1.0 / (u0 * u0) - a * z1[i] - b * z2[i]
    return z0[:n]
