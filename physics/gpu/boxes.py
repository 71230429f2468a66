"""Boxes within boxes, as in `physics.strain.boxes`, level by level: each level is one list of (box, segment) pairs.

A segment far from a box is evaluated at the box's Chebyshev nodes, whose polynomial is handed down by matrix
products; a near one is left to the box's eight children, in the smallest boxes ("leaves") to the points themselves.

Axes: L leaves, N pairs, boxes (B, y, x, z) of one level; nodes run z, y, x (fastest), ORDER of them each way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from physics.gpu.device import CHUNK_VALUES
from physics.gpu.ragged import chunks, reduce_runs
from physics.gpu.segment_field import packed_rows, pair_distance_sq, pair_field
from physics.strain.boxes import TOLERANCE_AT_NM

ORDER = 6
CHEBYSHEV = np.cos(math.pi * (np.arange(ORDER) + 0.5) / ORDER)


@dataclass(frozen=True, kw_only=True, eq=False)
class Level:
    """Boxes of one size: `low`, `high` (B, y, x, z, 3) in nm, low > high where a box holds no point."""

    low: torch.Tensor
    high: torch.Tensor

    @property
    def grid(self) -> tuple[int, ...]:
        return tuple(self.low.shape[:4])

    @property
    def centre(self) -> torch.Tensor:
        """(boxes, 3), 0 for an empty box."""
        return torch.nan_to_num((self.low + self.high) / 2, nan=0.0).reshape(-1, 3)

    @property
    def half(self) -> torch.Tensor:
        """Half-sides (boxes, 3), 1 for an empty box."""
        half = (self.high - self.low) / 2
        return torch.where(torch.isfinite(half), half, 1.0).reshape(-1, 3)

    @property
    def holds(self) -> torch.Tensor:
        return (self.low <= self.high).all(dim=-1).reshape(-1)

    def parents(self) -> Level:
        """Boxes of two by two by two of these."""
        low, high = self.low, self.high
        pad = tuple(n for size in low.shape[3:0:-1] for n in (0, size % 2))
        low = torch.nn.functional.pad(low, (0, 0, *pad), value=torch.inf)
        high = torch.nn.functional.pad(high, (0, 0, *pad), value=-torch.inf)
        b, y, x, z, _ = low.shape
        parts = (b, y // 2, 2, x // 2, 2, z // 2, 2, 3)
        return Level(low=low.reshape(parts).amin(dim=(2, 4, 6)), high=high.reshape(parts).amax(dim=(2, 4, 6)))


@dataclass(frozen=True, kw_only=True, eq=False)
class LeafField:
    """Far field at the nodes (L, ORDER, ORDER, ORDER) of every leaf, and its near segments as pairs (N,) sorted by leaf.

    `packed` (N, PACKED) is relative to the leaf's centre, `distance_nm` (N,) that of the segment from it.
    """

    values: torch.Tensor
    leaf: torch.Tensor
    packed: torch.Tensor
    distance_nm: torch.Tensor


def descend(
    rows: torch.Tensor, image: torch.Tensor, leaves: Level, strength: torch.Tensor, tolerance_inv_nm: torch.Tensor,
    close_nm: torch.Tensor, dtype: torch.dtype,
) -> LeafField:  # fmt: skip
    """Far field and near segments of every leaf.

    `rows` (S, WIDTH) sorted by `image` (S,); `strength` (B,) is |g||b|, `tolerance_inv_nm` (B,) the far field's error,
    `close_nm` (B,) how near to a point of a leaf a segment must be to be near for certain.
    """
    levels = [leaves]
    while max(levels[-1].grid[1:]) > 1:
        levels.append(levels[-1].parents())
    pair_box, pair_row = image, torch.arange(len(rows), device=rows.device)
    values = torch.zeros((leaves.grid[0], ORDER, ORDER, ORDER), dtype=dtype, device=rows.device)
    for depth in range(len(levels) - 1, -1, -1):
        level = levels[depth]
        centre, half = level.centre, level.half
        if depth + 1 < len(levels):
            parent = _parent_of_each(level, levels[depth + 1])
            values = _hand_down(values, parent, levels[depth + 1], centre, half)
            pair_box, pair_row = _children(pair_box, pair_row, parent, level)
        of_image = torch.arange(len(centre), device=rows.device) // (len(centre) // level.grid[0])
        diagonal = torch.linalg.vector_norm(half, dim=1)
        reach = torch.maximum(
            far_distance_nm(diagonal, strength[of_image], tolerance_inv_nm[of_image]), diagonal + close_nm[of_image]
        )
        with torch.no_grad():
            zero = torch.zeros(1, dtype=torch.float64, device=rows.device)
            packed = packed_rows(rows[pair_row], centre[pair_box], torch.float64)
            distance = torch.sqrt(pair_distance_sq(packed, zero, zero, zero))
            is_far = distance >= reach[pair_box]
        far_box, far_row = pair_box[is_far], pair_row[is_far]
        values = _add_far(values, rows, far_box, far_row, centre, half)
        pair_box, pair_row, distance = pair_box[~is_far], pair_row[~is_far], distance[~is_far]
    return LeafField(
        values=values, leaf=pair_box, packed=packed_rows(rows[pair_row], centre[pair_box], dtype), distance_nm=distance
    )


def far_distance_nm(half_diagonal_nm: torch.Tensor, strength: torch.Tensor, tolerance_inv_nm: torch.Tensor) -> torch.Tensor:
    """Distance from a box's centre beyond which a segment's polynomial errs by less than the tolerance (rms).

    As `boxes.far_distance_nm`, whose error law 0.03 (r/D)^6.5 for order 5 becomes FAR_ERROR (r/D)^(ORDER + 1.5).
    """
    r, power = half_diagonal_nm, ORDER + 1.5
    tolerance = tolerance_inv_nm * (TOLERANCE_AT_NM / r) ** 2
    distance = (FAR_ERROR * strength * r**power / (2 * math.pi * tolerance)) ** (1 / (power + 1))
    return torch.maximum(distance, 1.1 * r)


# The error of a polynomial relative to the field of a line, strength / (2 pi D), is this times (r/D)^(ORDER + 1.5).
FAR_ERROR = 0.03


def lagrange(x: torch.Tensor) -> torch.Tensor:
    """Values (..., ORDER) at x (...) in [-1, 1] of the polynomials that are 1 at one node and 0 at the others."""
    nodes = torch.as_tensor(CHEBYSHEV, device=x.device)
    itself = torch.eye(ORDER, dtype=torch.bool, device=x.device)
    above = torch.where(itself, 1.0, x[..., None, None] - nodes)
    below = torch.where(itself, 1.0, nodes[:, None] - nodes)
    return (above / below).prod(dim=-1)


def _parent_of_each(level: Level, parent: Level) -> torch.Tensor:
    """Number of the parent box of every box of a level."""
    b, y, x, z = (torch.arange(n, device=level.low.device) for n in level.grid)
    _, py, px, pz = parent.grid
    number = b[:, None, None, None] * py + y[:, None, None] // 2
    return (((number * px + x[:, None] // 2) * pz) + z // 2).reshape(-1)


def _children(
    pair_box: torch.Tensor, pair_row: torch.Tensor, parent: torch.Tensor, level: Level
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of a level from those of its parents, sorted by box; empty boxes have none."""
    order = torch.argsort(parent, stable=True)
    boxes = int(parent.max()) + 1
    number = torch.bincount(parent, minlength=boxes)
    first = torch.cumsum(number, 0) - number
    slot = torch.arange(8, device=parent.device)
    there = slot < number[pair_box][:, None]
    child = order[torch.where(there, first[pair_box][:, None] + slot, 0)]
    there = there & level.holds[child]
    box, row = child[there], pair_row[:, None].expand(-1, 8)[there]
    order = torch.argsort(box, stable=True)
    return box[order], row[order]


def _hand_down(
    values: torch.Tensor, parent: torch.Tensor, parents: Level, centre: torch.Tensor, half: torch.Tensor
) -> torch.Tensor:
    """Values at the nodes of the boxes of a level of the polynomials through those of their parents."""
    nodes = torch.as_tensor(CHEBYSHEV, device=centre.device)
    place = (centre[..., None] + half[..., None] * nodes - parents.centre[parent][..., None]) / parents.half[parent][..., None]
    # An empty box lies nowhere near its parent; its values are never used, but must not overflow.
    basis = lagrange(place.clamp(-2, 2)).to(values.dtype)  # (boxes, axis, own node, parent's node)
    x, y, z = basis.unbind(1)
    v = values[parent]
    v = (v.reshape(-1, ORDER * ORDER, ORDER) @ x.transpose(1, 2)).reshape(-1, ORDER, ORDER, ORDER)
    v = y[:, None] @ v
    return (z @ v.reshape(-1, ORDER, ORDER * ORDER)).reshape(-1, ORDER, ORDER, ORDER)


def _add_far(
    values: torch.Tensor, rows: torch.Tensor, box: torch.Tensor, row: torch.Tensor, centre: torch.Tensor, half: torch.Tensor
) -> torch.Tensor:
    dtype = values.dtype
    nodes = torch.as_tensor(CHEBYSHEV, device=rows.device).to(dtype)
    boxes, lengths = torch.unique_consecutive(box, return_counts=True)
    for runs, entries in chunks(lengths, CHUNK_VALUES[rows.device.type] // ORDER**3):
        packed = packed_rows(rows[row[entries]], centre[box[entries]], dtype)
        x, y, z = (half[box[entries]].to(dtype)[..., None] * nodes).unbind(1)
        field = pair_field(packed, x[:, None, None, :], y[:, None, :, None], z[:, :, None, None])
        values = values.index_add(0, boxes[runs], reduce_runs(field, lengths[runs], "sum"))
    return values
