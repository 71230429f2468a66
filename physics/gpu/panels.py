"""Slices that one step does not pass: those near a line, in panels as fine as its distance asks, and those with a fault.

Axes: M such slices, F faults, I pieces of them between faults, N panels, L leaves; T, P, q, V as in `leaves`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from physics.contrast.slicing import GAUSS_OFFSET, PANEL_FRACTION
from physics.gpu.boxes import LeafField
from physics.gpu.device import CHUNK_VALUES
from physics.gpu.leaves import Leaves
from physics.gpu.ragged import chosen_runs, chunks, place_in_run, reduce_runs, run_of_each, starts
from physics.gpu.segment_field import pair_distance_sq, pair_field
from physics.gpu.smooth_field import smooth_at
from physics.gpu.two_beam import after, stacked_slice_matrix, times_phase


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Leaf, slice in the leaf and column in the patch of each entry."""

    leaf: torch.Tensor
    slice: torch.Tensor
    column: torch.Tensor

    def __getitem__(self, chosen: torch.Tensor) -> Places:
        return Places(leaf=self.leaf[chosen], slice=self.slice[chosen], column=self.column[chosen])

    def patch(self, leaves: Leaves) -> torch.Tensor:
        return self.leaf // leaves.grid[3]

    def number(self, leaves: Leaves) -> torch.Tensor:
        """Number of the slice in its column."""
        return self.leaf % leaves.grid[3] * leaves.patch_slices + self.slice

    def image(self, leaves: Leaves) -> torch.Tensor:
        return self.patch(leaves) // leaves.patches_an_image


@dataclass(frozen=True, kw_only=True, eq=False)
class Pieces:
    """Pieces (I,) of slices between faults: heights relative to the leaf's middle, the phase of the fault below."""

    slice: torch.Tensor
    top_nm: torch.Tensor
    length_nm: torch.Tensor
    phase_rad: torch.Tensor


def irregular_slices(
    close: LeafField, leaves: Leaves, fault_slice: torch.Tensor, core_nm: torch.Tensor
) -> Places:
    """Slices that need more than one panel, or that a fault crosses. `fault_slice` (T, F, P), -1 where there is none."""
    t, p = leaves.step_nm.shape
    levels, q = leaves.grid[3], leaves.patch_slices
    flagged = torch.zeros((t * levels, q, p), dtype=torch.bool, device=leaves.step_nm.device)
    dtype = close.packed.dtype
    boxes, lengths = torch.unique_consecutive(close.leaf, return_counts=True)
    for runs, entries in chunks(lengths, CHUNK_VALUES[flagged.device.type] // (q * p)):
        leaf = boxes[runs]
        patch, number = leaf // levels, leaf % levels * q
        step, counts = leaves.step_nm.detach()[patch][:, None], leaves.slices[patch][:, None]
        k = number[:, None, None] + torch.arange(q, device=leaf.device)[:, None]
        z = (leaves.entrance_z_nm.detach()[patch] - leaves.middle_z_nm.reshape(-1)[leaf][:, None])[:, None] - (k + 0.5) * step
        each, of_image = run_of_each(lengths[runs]), patch // leaves.patches_an_image
        x, y = (v.to(dtype)[of_image][each][:, None] for v in (leaves.x_nm, leaves.y_nm))
        distance_sq = reduce_runs(pair_distance_sq(close.packed[entries].detach(), x, y, z.to(dtype)[each]), lengths[runs], "min")
        flagged[leaf] = (_panel_counts(step, distance_sq, core_nm[of_image][:, None, None]) > 1) & (k < counts)
    crossed = torch.nonzero(fault_slice >= 0)
    k = fault_slice[crossed.unbind(1)]
    flagged[crossed[:, 0] * levels + k // q, k % q, crossed[:, 2]] = True
    leaf, within, column = torch.nonzero(flagged).unbind(1)
    return Places(leaf=leaf, slice=within, column=column)


def _panel_counts(length_nm: torch.Tensor, distance_sq: torch.Tensor, core_nm: torch.Tensor) -> torch.Tensor:
    """How many panels pieces of those lengths need: `slicing.panel_count`."""
    longest = PANEL_FRACTION * torch.sqrt(distance_sq.double() + core_nm * core_nm)
    return torch.ceil(length_nm / longest - 1e-9).clamp(min=1).long()


def pieces_of(
    places: Places, leaves: Leaves, fault_z_nm: torch.Tensor, fault_phase_rad: torch.Tensor, fault_slice: torch.Tensor
) -> Pieces:
    """Cut slices at the faults (T, F, P) in them. Of two faults at one height either may come first: phases add."""
    patch, number = places.patch(leaves), places.number(leaves)
    step = leaves.step_nm[patch, places.column]
    top = leaves.entrance_z_nm[patch, places.column] - number * step - leaves.middle_z_nm.reshape(-1)[places.leaf]
    bottom = top - step
    here = fault_slice[patch, :, places.column] == number[:, None]
    z = fault_z_nm[patch, :, places.column] - leaves.middle_z_nm.reshape(-1)[places.leaf][:, None]
    z = torch.minimum(torch.where(here, z, bottom[:, None]), top[:, None])
    phase = torch.where(here, fault_phase_rad[places.image(leaves)], 0.0)
    z, order = torch.sort(z, dim=1, descending=True)
    none = torch.zeros_like(top)[:, None]
    tops, bottoms = torch.cat([top[:, None], z], dim=1), torch.cat([z, bottom[:, None]], dim=1)
    phase = torch.cat([phase.gather(1, order), none], dim=1)
    kept = (tops > bottoms) | (phase != 0)
    of_slice = torch.arange(len(top), device=top.device)[:, None].expand(kept.shape)
    return Pieces(slice=of_slice[kept], top_nm=tops[kept], length_nm=(tops - bottoms)[kept], phase_rad=phase[kept])


def slice_matrices(
    places: Places, pieces: Pieces, field: LeafField, close: LeafField, powers: torch.Tensor, half_z: torch.Tensor,
    leaves: Leaves, core_nm: torch.Tensor, q: tuple[torch.Tensor, torch.Tensor], smooth: torch.Tensor | None,
) -> torch.Tensor:  # fmt: skip
    """Matrices (8, M), less 1, through irregular slices; `q` the two parts (B,) of the coupling, `smooth` (T, K, P)."""
    dtype = powers.dtype
    at = places[pieces.slice]
    core = core_nm[at.image(leaves)]
    with torch.no_grad():
        middle = pieces.top_nm - pieces.length_nm / 2
        distance_sq = _at_points(close, at, middle[:, None].to(dtype), leaves, pair_distance_sq, "min")[:, 0]
        counts = _panel_counts(pieces.length_nm, distance_sq, core)
    piece = run_of_each(counts)
    length = (pieces.length_nm / counts)[piece]
    centre = pieces.top_nm[piece] - (place_in_run(counts) + 0.5) * length
    offset = GAUSS_OFFSET * length
    z = torch.stack([centre + offset, centre - offset], dim=1).to(dtype)
    at = at[piece]
    beta = _at_points(field, at, z, leaves, pair_field, "sum")
    far = powers.flatten(0, 1)[at.leaf, :, at.column]
    zeta = z / half_z.reshape(-1)[at.leaf][:, None]
    total = far[:, -1:]
    for n in range(far.shape[1] - 2, -1, -1):
        total = total * zeta + far[:, n : n + 1]
    s = leaves.s_inv_nm[at.patch(leaves), at.column].to(dtype)
    of_image = at.image(leaves)
    beta = beta + total
    if smooth is not None:
        patch = at.patch(leaves)
        entrance, exit_ = leaves.entrance_z_nm[patch, at.column], leaves.exit_z_nm[patch, at.column]
        height = centre + leaves.middle_z_nm.reshape(-1)[at.leaf]
        depth = (entrance - height)[:, None] + torch.stack([-offset, offset], dim=1)
        beta = beta + smooth_at(smooth, patch, at.column, (depth / (entrance - exit_)[:, None]).to(dtype))
    m = stacked_slice_matrix(s + beta[:, 0], s + beta[:, 1], length.to(dtype), q[0][of_image], q[1][of_image])
    last = torch.zeros(len(piece), dtype=torch.bool, device=piece.device)
    last[torch.cumsum(counts, 0) - 1] = True
    m = times_phase(m, torch.where(last, pieces.phase_rad[piece], 0.0).to(dtype))
    panels = torch.bincount(pieces.slice[piece], minlength=len(places.leaf))
    return _product(m, panels)


def _at_points(
    field: LeafField, at: Places, z: torch.Tensor, leaves: Leaves, law: object, how: str
) -> torch.Tensor:
    """`law` of every segment listed for a point's leaf, summed or the least, at points (N, k) of columns `at` (N)."""
    leaf_count = leaves.middle_z_nm.numel()
    listed = torch.bincount(field.leaf, minlength=leaf_count)
    first, lengths = starts(listed)[at.leaf], listed[at.leaf]
    of_image = at.image(leaves)
    x = leaves.x_nm[of_image, at.column].to(z.dtype)
    y = leaves.y_nm[of_image, at.column].to(z.dtype)
    parts = [z.new_zeros((0, z.shape[1]))]
    for runs, _ in chunks(lengths, CHUNK_VALUES[z.device.type] // 8):
        pair, point = chosen_runs(first[runs], lengths[runs]), run_of_each(lengths[runs])
        values = law(field.packed[pair], x[runs][point][:, None], y[runs][point][:, None], z[runs][point])
        parts.append(reduce_runs(values, lengths[runs], how))
    return torch.cat(parts)


def _product(m: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Products (8, M) of runs of `counts` (M,) matrices (8, N), less 1, the first applied first."""
    nothing = m.shape[1]
    m = torch.cat([m, torch.zeros_like(m[:, :1])], dim=1)
    first = starts(counts)
    total = m[:, torch.where(counts > 0, first, nothing)]
    for r in range(1, int(counts.max()) if len(counts) else 0):
        total = after(m[:, torch.where(counts > r, first + r, nothing)], total)
    return total
