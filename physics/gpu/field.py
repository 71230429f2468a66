"""d(g.u)/dd at the Gauss points of all slices of all columns: far field from nodes, near segments exactly.

Axes as in `leaves`: T patches, V leaves a patch, q slices a leaf, P columns a patch; L = T V leaves; N pairs.
"""

from __future__ import annotations

import numpy as np
import torch

from physics.contrast.slicing import GAUSS_OFFSET
from physics.gpu.boxes import CHEBYSHEV, ORDER, LeafField, lagrange
from physics.gpu.device import CHUNK_VALUES, fused
from physics.gpu.leaves import Leaves
from physics.gpu.ragged import chunks, reduce_runs
from physics.gpu.segment_field import pair_field

MONOMIAL_FROM_NODES = np.linalg.inv(np.vander(CHEBYSHEV, increasing=True))


def far_polynomials(field: LeafField, leaves: Leaves) -> torch.Tensor:
    """Coefficients (T, V, ORDER, P) of the powers of (z - middle)/half_z down the columns of each leaf."""
    b, down, across, levels = leaves.grid
    dtype, device = field.values.dtype, field.values.device
    half = _sides(leaves)
    x, y = lagrange(leaves.x_nm / half[:, :1]), lagrange(leaves.y_nm / half[:, 1:])
    columns = (y[..., :, None] * x[..., None, :]).reshape(b, -1, ORDER * ORDER).to(dtype)
    powers = torch.as_tensor(MONOMIAL_FROM_NODES, device=device).to(dtype)
    values = powers @ field.values.reshape(-1, ORDER, ORDER * ORDER)
    values = values.reshape(b, -1, ORDER * ORDER) @ columns.transpose(1, 2)
    return values.reshape(b * down * across, levels, ORDER, -1)


def _sides(leaves: Leaves) -> torch.Tensor:
    """Half-sides (B, 2) in x and y of the leaves of an image."""
    half = (leaves.box_high - leaves.box_low)[..., :2] / 2
    return half.reshape(len(half), -1, 2).amax(dim=1)


def _gauss_heights(
    entrance: torch.Tensor, step: torch.Tensor, slices: torch.Tensor, number: torch.Tensor, offsets: torch.Tensor
) -> torch.Tensor:
    """Heights (T, V, q, 2, P) below `entrance` (T, V, P), of slices `number` (V, q); beyond a column's last slice its exit."""
    k = number[:, :, None, None] + offsets[:, None]
    return entrance[:, :, None, None, :] - torch.minimum(k, slices[:, None, None, None, :]) * step[:, None, None, None, :]


def _horner(powers: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Polynomials (T, V, ORDER, P) at (T, V, points, P)."""
    total = powers[:, :, -1:]
    for n in range(powers.shape[2] - 2, -1, -1):
        total = total * at + powers[:, :, n : n + 1]
    return total


gauss_heights = fused(_gauss_heights)
horner = fused(_horner)


def gauss_point_heights(leaves: Leaves, dtype: torch.dtype) -> torch.Tensor:
    """Heights (T, V, q, 2, P) of the Gauss points relative to their leaf's middle."""
    levels, q = leaves.grid[3], leaves.patch_slices
    entrance = (leaves.entrance_z_nm[:, None] - leaves.middle_z_nm[..., None]).to(dtype)
    number = torch.arange(levels * q, device=entrance.device).reshape(levels, q).to(dtype)
    offsets = torch.tensor([0.5 - GAUSS_OFFSET, 0.5 + GAUSS_OFFSET], dtype=dtype, device=entrance.device)
    return gauss_heights(entrance, leaves.step_nm.to(dtype), leaves.slices.to(dtype), number, offsets)


def field_at_gauss_points(
    field: LeafField, powers: torch.Tensor, z: torch.Tensor, half_z: torch.Tensor, leaves: Leaves
) -> torch.Tensor:
    """d(g.u)/dd (T, V, q, 2, P) at heights `z` of that shape; `half_z` (T, V)."""
    t, v, q, two, p = z.shape
    beta = horner(powers, (z / half_z[:, :, None, None, None]).reshape(t, v, q * two, p))
    beta, points = beta.reshape(t * v, q * two, p), z.reshape(t * v, q * two, p)
    boxes, lengths = torch.unique_consecutive(field.leaf, return_counts=True)
    x, y = leaves.x_nm.to(z.dtype), leaves.y_nm.to(z.dtype)
    for runs, entries in chunks(lengths, CHUNK_VALUES[z.device.type] // (q * two * p)):
        leaf = field.leaf[entries]
        of_image = leaf // (leaves.patches_an_image * v)
        near = pair_field(field.packed[entries], x[of_image][:, None], y[of_image][:, None], points[leaf])
        # A leaf stands once in `boxes`: no two additions meet in one place, whose order a GPU would leave open.
        beta = beta.index_add(0, boxes[runs], reduce_runs(near, lengths[runs], "sum"))
    return beta.reshape(z.shape)
