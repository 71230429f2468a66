"""A further field d(g.u)/dd, given down every column: that of traction-free surfaces, of precipitates, of bending.

It is taken as smooth over a slice: slices are not refined for it.

Axes: K heights of equal spacing from entrance to exit face; T, V, q, P as in `leaves`; N points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from physics.contrast.slicing import GAUSS_OFFSET

if TYPE_CHECKING:
    from physics.gpu.leaves import Leaves

# Heights that a cubic takes.
LEAST_HEIGHTS = 4


def smooth_at_gauss_points(values: torch.Tensor, leaves: Leaves) -> torch.Tensor:
    """Values (T, K, P) interpolated to the Gauss points (T, V, q, 2, P) of all slices."""
    t, heights, p = values.shape
    levels, q = leaves.grid[3], leaves.patch_slices
    offsets = torch.tensor([0.5 - GAUSS_OFFSET, 0.5 + GAUSS_OFFSET], dtype=values.dtype, device=values.device)
    number = torch.arange(levels * q, device=values.device)[:, None] + offsets
    slices = leaves.slices[:, None].to(values.dtype)
    depth = torch.minimum(number.reshape(1, -1, 1), slices) / slices.clamp(min=1)
    first, weights = _cubic(depth, heights)
    total = torch.zeros_like(depth)
    for n, weight in enumerate(weights):
        total = total + weight * values.gather(1, first + n)
    return total.reshape(t, levels, q, 2, p)


def smooth_at(values: torch.Tensor, patch: torch.Tensor, column: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Values (T, K, P) interpolated to fractions (N, k) of the thickness, 0 at the entrance, of columns (N,)."""
    first, weights = _cubic(depth, values.shape[1])
    return sum(weight * values[patch[:, None], first + n, column[:, None]] for n, weight in enumerate(weights))


def _cubic(depth: torch.Tensor, heights: int) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """First of four heights round each depth, and their Lagrange weights."""
    place = depth * (heights - 1)
    first = (torch.floor(place.detach()).long() - 1).clamp(0, heights - LEAST_HEIGHTS)
    x = place - first
    a, b, c = x - 1, x - 2, x - 3
    return first, (-a * b * c / 6, x * b * c / 2, -x * a * c / 2, x * a * b / 6)
