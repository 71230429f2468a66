"""The relief that polishing leaves on a foil's two faces: roughness and terraces.

Heights are functions of position alone (no grid, no order of evaluation): roughness is a cubic B-spline over a
square lattice whose coefficients are drawn by a hash of seed, face and lattice place.

Axes: P points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from physics.errors import require
from physics.frozen import frozen_array
from physics.parallel import over_threads

# A cubic B-spline over white coefficients of variance 1 has variance (151/315)^2, averaged over a cell in 2-D.
SPLINE_RMS = 151 / 315
OCTAVES = 3
POINTS_A_PIECE = 4096


@dataclass(frozen=True, kw_only=True)
class Relief:
    """Heights added to both faces, each face drawn on its own, outward positive.

    `roughness_nm` is the rms height, shared by OCTAVES scales from `correlation_nm` downward, each half as long and
    half as high as the one before. Electropolishing terraces are steps of `terrace_step_nm`, `terrace_period_nm` apart
    along the in-image direction `terrace_azimuth_deg`, `terrace_edge_nm` wide, on a slope that takes back what they
    add; `terrace_wander` (of a period) lets their edges wander. The heights are measured along the beam.

    Raises InputError for lengths out of range.
    """

    seed: int = 0
    roughness_nm: float = 0.0
    correlation_nm: float = 80.0
    terrace_step_nm: float = 0.0
    terrace_period_nm: float = 200.0
    terrace_azimuth_deg: float = 0.0
    terrace_edge_nm: float = 8.0
    terrace_wander: float = 0.3

    def __post_init__(self) -> None:
        require(int(self.seed) == self.seed and 0 <= self.seed < 2**62, "relief.seed", "be a whole number in [0, 2^62)", self.seed)
        for name in ("roughness_nm", "correlation_nm", "terrace_step_nm", "terrace_period_nm", "terrace_azimuth_deg",
                     "terrace_edge_nm", "terrace_wander"):  # fmt: skip
            frozen_array([getattr(self, name)], (1,), f"relief.{name}")
            object.__setattr__(self, name, float(getattr(self, name)))
        for name in ("roughness_nm", "terrace_step_nm", "terrace_wander"):
            require(getattr(self, name) >= 0, f"relief.{name}", "be >= 0", getattr(self, name))
        for name in ("correlation_nm", "terrace_period_nm", "terrace_edge_nm"):
            require(getattr(self, name) > 0, f"relief.{name}", "be > 0", getattr(self, name))
        require(self.terrace_edge_nm <= self.terrace_period_nm, "relief.terrace_edge_nm",
                f"be <= terrace_period_nm = {self.terrace_period_nm:g}", self.terrace_edge_nm)  # fmt: skip

    def height_nm(self, x_nm: np.ndarray, y_nm: np.ndarray, side: int) -> np.ndarray:
        """Outward height (...) of the entrance (side +1) or exit face (-1) at (x, y)."""
        x, y = np.broadcast_arrays(np.asarray(x_nm, dtype=np.float64), np.asarray(y_nm, dtype=np.float64))
        height = np.zeros(x.size)
        if self.roughness_nm or self.terrace_step_nm:
            azimuth = math.radians(self.terrace_azimuth_deg)
            numbers = np.array([
                self.roughness_nm, self.correlation_nm, self.terrace_step_nm, self.terrace_period_nm, math.cos(azimuth),
                math.sin(azimuth), self.terrace_edge_nm / self.terrace_period_nm, self.terrace_wander,
            ])  # fmt: skip
            over_threads(
                _heights, -(-x.size // POINTS_A_PIECE), np.ascontiguousarray(x).ravel(), np.ascontiguousarray(y).ravel(),
                np.uint64(2 * int(self.seed) + (side > 0)), numbers, height,
            )  # fmt: skip
        return height.reshape(x.shape)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _heights(begin, end, x, y, seed, numbers, height):
    roughness, correlation, step, period, c, s, edge, wander = numbers
    share = 0.0
    for octave in range(OCTAVES):
        share += 0.25**octave
    for i in range(begin * POINTS_A_PIECE, min(len(x), end * POINTS_A_PIECE)):
        total = 0.0
        if roughness > 0:
            scale = roughness / (SPLINE_RMS * math.sqrt(share))
            length = correlation
            for octave in range(OCTAVES):
                total += scale * _spline_noise(x[i] / length, y[i] / length, seed + np.uint64(7919 * (octave + 1)))
                scale, length = scale / 2, length / 2
        if step > 0:
            phase = (c * x[i] + s * y[i]) / period
            phase += wander * _spline_noise(0.4 * x[i] / period, 0.4 * y[i] / period, seed)
            whole = math.floor(phase)
            along = (phase - whole) / edge
            risen = along * along * (3 - 2 * along) if along < 1 else 1.0
            total += step * (whole + risen - phase - 0.5 + 0.5 * edge)
        height[i] = total


@numba.njit(cache=True, error_model="numpy")
def _spline_noise(x, y, seed):
    column, row = math.floor(x), math.floor(y)
    tx, ty = x - column, y - row
    wx = ((1 - tx) ** 3 / 6, (3 * tx**3 - 6 * tx**2 + 4) / 6, (-3 * tx**3 + 3 * tx**2 + 3 * tx + 1) / 6, tx**3 / 6)
    wy = ((1 - ty) ** 3 / 6, (3 * ty**3 - 6 * ty**2 + 4) / 6, (-3 * ty**3 + 3 * ty**2 + 3 * ty + 1) / 6, ty**3 / 6)
    total = 0.0
    for i in range(4):
        for j in range(4):
            total += wy[i] * wx[j] * _hashed(np.int64(column) + j - 1, np.int64(row) + i - 1, seed)
    return total


@numba.njit(cache=True, error_model="numpy")
def _hashed(column, row, seed):
    """A number of mean 0 and variance 1 (uniform) from a lattice place: the mixer of SplitMix64 (Steele et al. 2014)."""
    z = seed + np.uint64(column) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(row) * np.uint64(0xD1B54A32D192ED03)
    for _ in range(2):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (np.float64(z >> np.uint64(11)) * 2.0**-53 - 0.5) * math.sqrt(12.0)
