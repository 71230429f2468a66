"""How columns are cut into slices and gathered into small boxes ("leaves").

Unlike the layers of absolute height of `physics.contrast.tiles`, slices follow each column from face to face, as in
`physics.contrast.direct`: a wedge or a bent foil has no cut slices, and all columns pass slice k together.

Axes: B images, T patches of P = p x p columns, K = V q slices, V of them in each leaf's height, so that leaf
(T, V) holds P columns and q slices; two Gauss points a slice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from physics.contrast.columns import WIDEST_STEP
from physics.gpu.batch import ColumnBatch
from physics.strain.boxes import MINIMUM_HALF_NM

# The side of a leaf: smaller ones spare pairs of near segment and point, larger ones spare boxes.
LEAF_NM = 8.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Leaves:
    """Columns by patch: heights, excitation error and slice thickness (T, P), `slices` (T, P) of each.

    `grid` is (B, patches down, patches across, V); `box_low`, `box_high` (*grid, 3) bound a leaf's points, low > high
    where it holds none; `middle_z_nm` (T, V) is the height that a leaf's points are relative to. x and y of a patch's
    columns relative to its middle are (B, P).
    """

    patch_px: int
    patch_slices: int
    grid: tuple[int, int, int, int]
    entrance_z_nm: torch.Tensor
    exit_z_nm: torch.Tensor
    s_inv_nm: torch.Tensor
    step_nm: torch.Tensor
    slices: torch.Tensor
    x_nm: torch.Tensor
    y_nm: torch.Tensor
    box_low: torch.Tensor
    box_high: torch.Tensor
    middle_z_nm: torch.Tensor

    @property
    def patches_an_image(self) -> int:
        return self.grid[1] * self.grid[2]

    def by_patch(self, image: torch.Tensor) -> torch.Tensor:
        """(B, Y, X) as (T, P); what is added at the edges is 0."""
        return _by_patch(image, self.patch_px)

    def as_image(self, columns: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """(T, P) as (B, Y, X)."""
        b, down, across, _ = self.grid
        p = self.patch_px
        image = columns.reshape(b, down, across, p, p).transpose(2, 3).reshape(b, down * p, across * p)
        return image[:, : shape[0], : shape[1]]


def patch_px(pixel_nm: float) -> int:
    """Columns along a side of a leaf."""
    return min(16, max(2, 2 ** round(math.log2(LEAF_NM / pixel_nm))))


def leaves_of(batch: ColumnBatch) -> Leaves:
    """Slice the columns of a batch. A slice is at most `slice_nm` thick, and pi h (|s| + 1/xi_g) <= WIDEST_STEP."""
    b, rows, columns = batch.entrance_z_nm.shape
    with torch.no_grad():
        p = patch_px(float(batch.pixel_nm.median()))
        widest = WIDEST_STEP / (math.pi * (batch.s_inv_nm.abs().amax(dim=(1, 2)) + 1 / batch.xi_g_nm))
        longest = torch.minimum(batch.slice_nm, widest)
        thickness = torch.clamp(batch.entrance_z_nm - batch.exit_z_nm, min=0)
        counts = torch.ceil(thickness / longest[:, None, None] - 1e-9).clamp(min=1)
        counts = torch.where(thickness > 0, counts, 0).long()
        most = max(1, int(counts.max()))
        q = min(16, max(2, round(LEAF_NM / float(longest.median()))), most)
        # Equal heights: 100 slices are 13 leaves of 8, and 104 in all.
        levels = -(-most // q)
        q = -(-most // levels)
    filled = _by_patch(counts, p) > 0
    entrance, exit_, s = (_by_patch(v, p) for v in (batch.entrance_z_nm, batch.exit_z_nm, batch.s_inv_nm))
    slices = _by_patch(counts, p)
    # A column of vacuum is a column of no height.
    exit_ = torch.where(filled, exit_, entrance)
    step = (entrance - exit_) / slices.clamp(min=1)
    down, across = -(-rows // p), -(-columns // p)
    within = torch.arange(p, device=s.device) - (p - 1) / 2
    x, y = within.repeat(p), -within.repeat_interleave(p)
    x, y = x * batch.pixel_nm[:, None], y * batch.pixel_nm[:, None]
    low, high, middle = _boxes(batch, entrance.detach(), step.detach(), slices, filled, (b, down, across, levels), p, q)
    return Leaves(
        patch_px=p, patch_slices=q, grid=(b, down, across, levels), entrance_z_nm=entrance, exit_z_nm=exit_, s_inv_nm=s,
        step_nm=step, slices=slices, x_nm=x, y_nm=y, box_low=low, box_high=high, middle_z_nm=middle,
    )  # fmt: skip


def _by_patch(image: torch.Tensor, p: int) -> torch.Tensor:
    b, rows, columns = image.shape
    down, across = -(-rows // p), -(-columns // p)
    padded = torch.nn.functional.pad(image, (0, across * p - columns, 0, down * p - rows))
    return padded.reshape(b, down, p, across, p).transpose(2, 3).reshape(b * down * across, p * p)


@torch.no_grad()
def _boxes(
    batch: ColumnBatch, entrance: torch.Tensor, step: torch.Tensor, slices: torch.Tensor, filled: torch.Tensor,
    grid: tuple[int, int, int, int], p: int, q: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    b, down, across, levels = grid
    rows, columns = batch.entrance_z_nm.shape[1:]
    edge = q * torch.arange(levels + 1, device=step.device)
    heights = entrance[:, None] - torch.minimum(edge[:, None], slices[:, None]) * step[:, None]
    reached = filled[:, None] & (edge[:-1, None] < slices[:, None])
    low_z = torch.where(reached, heights[:, 1:], torch.inf).amin(dim=2)
    high_z = torch.where(reached, heights[:, :-1], -torch.inf).amax(dim=2)
    holds = low_z <= high_z
    middle = torch.where(holds, (low_z + high_z) / 2, entrance[:, :1])
    half_z = ((high_z - low_z) / 2).clamp(min=MINIMUM_HALF_NM)
    low_z, high_z = torch.where(holds, middle - half_z, torch.inf), torch.where(holds, middle + half_z, -torch.inf)
    x = (p * torch.arange(across, device=step.device) + (p - columns) / 2) * batch.pixel_nm[:, None]
    y = ((rows - p) / 2 - p * torch.arange(down, device=step.device)) * batch.pixel_nm[:, None]
    half = ((p - 1) / 2 * batch.pixel_nm).clamp(min=MINIMUM_HALF_NM)[:, None, None, None]
    x, y = x[:, None, :, None].expand(grid), y[:, :, None, None].expand(grid)
    low = torch.stack([x - half, y - half, low_z.reshape(grid)], dim=-1)
    high = torch.stack([x + half, y + half, high_z.reshape(grid)], dim=-1)
    return low, high, middle
