"""Intensities of batches of images in torch: `column_image` for many images, on a GPU, differentiable.

Isotropic segments, two beams, exact absorption, faults, any faces. Slices and panels follow the rule of the
double-precision reference (`physics.contrast.direct`), so that the two differ by rounding and the far field's
tolerance alone, by less than 1e-5 of the incident beam; they differ from `column_image` by that one's own error, too.

Work for 256 x 256 x 100 with 176 segments, counted: 31 M pairs of segment and node or Gauss point of 60 operations,
6.6 M slices of 130, together 3 G; 3 GB through memory where `device.fused` fuses, 32 GB where it cannot; 1700 kernels
a batch fused, 21,000 not. At 20 T operations and 3.5 TB a second and 8 us a kernel that is 1.4 ms an image for 32
together on an H200, some 12 ms unfused: an estimate, until benchmarks/gpu.py has run on one.

Not modelled here: anisotropy, more beams than two, convergence; the relaxation of faces and other strain sources only
as far as a `smooth_field_inv_nm` tells it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from physics.contrast.slicing import PANEL_FRACTION
from physics.errors import require
from physics.gpu.batch import ColumnBatch, ImageColumns
from physics.gpu.boxes import LeafField, Level, descend
from physics.gpu.device import CHUNK_VALUES, batch_bytes, torch_device
from physics.gpu.field import far_polynomials, field_at_gauss_points, gauss_point_heights
from physics.gpu.leaves import Leaves, leaves_of, patch_px
from physics.gpu.panels import Places, irregular_slices, pieces_of, slice_matrices
from physics.gpu.segment_field import segment_rows
from physics.gpu.smooth_field import smooth_at_gauss_points
from physics.gpu.two_beam import entering, pass_matrices, pass_slices, stacked_slice_matrix

# What the far field of one segment may err by, as a fraction of 1/xi_g.
FIELD_TOLERANCE = 1.5e-5
# Bytes a Gauss point takes at the peak, in units of its number's.
VALUES_A_POINT = 12


def column_images(
    batch: Sequence[ImageColumns], device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32,
    *, field_tolerance: float = FIELD_TOLERANCE,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Bright- and dark-field images (B, Y, X) on the device, incident beam 1.

    The images must have one shape. Raises InputError for a device that is not there.
    """
    found = torch_device(device)
    with torch.no_grad():
        return column_intensities(ColumnBatch.of(batch, found), dtype, field_tolerance=field_tolerance)


def column_intensities(
    batch: ColumnBatch, dtype: torch.dtype = torch.float32, *, field_tolerance: float = FIELD_TOLERANCE
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bright- and dark-field images (B, Y, X), differentiable in every tensor of the batch but pixels and slices.

    What is differentiated is the discretised solution, its slices, panels and boxes held fixed. As many images as
    `device.batch_bytes` hold are computed at once; with gradients everything is kept until they are taken.
    """
    require(field_tolerance > 0, "field_tolerance", "be > 0", field_tolerance)
    groups = _alike(batch, dtype)
    parts = [_intensities(batch.part(group), dtype, field_tolerance) for group in groups]
    order = torch.argsort(torch.cat(groups))
    bright, dark = (torch.cat(images)[order] for images in zip(*parts))
    return bright, dark


@torch.no_grad()
def _alike(batch: ColumnBatch, dtype: torch.dtype) -> list[torch.Tensor]:
    """Numbers of the images that are computed at once: alike in pixel and number of slices, and few enough to fit."""
    thickness = (batch.entrance_z_nm - batch.exit_z_nm).clamp(min=0).amax(dim=(1, 2))
    slices = (thickness / batch.slice_nm).tolist()
    side = [patch_px(pixel_nm) for pixel_nm in batch.pixel_nm.tolist()]
    bytes_a_slice = 2 * batch.entrance_z_nm[0].numel() * VALUES_A_POINT * torch.finfo(dtype).bits / 8
    most = batch_bytes(batch.s_inv_nm.device) / bytes_a_slice
    groups: list[list[int]] = []
    for i in sorted(range(len(batch)), key=lambda i: (side[i], slices[i], i)):
        fits = groups and side[groups[-1][0]] == side[i] and (len(groups[-1]) + 1) * (slices[i] + 1) <= most
        if fits:
            groups[-1].append(i)
        else:
            groups.append([i])
    return [torch.tensor(group, device=batch.image.device) for group in groups]


def _intensities(batch: ColumnBatch, dtype: torch.dtype, field_tolerance: float) -> tuple[torch.Tensor, torch.Tensor]:
    leaves = leaves_of(batch)
    field, close = _fields(batch, leaves, dtype, field_tolerance)
    half_z = Level(low=leaves.box_low, high=leaves.box_high).half[:, 2].reshape(leaves.middle_z_nm.shape).to(dtype)
    powers = far_polynomials(field, leaves)
    beta = field_at_gauss_points(field, powers, gauss_point_heights(leaves, dtype), half_z, leaves)
    smooth = None
    if batch.smooth_field_inv_nm.shape[1]:
        smooth = _by_patch(leaves, batch.smooth_field_inv_nm).to(dtype)
        beta = beta + smooth_at_gauss_points(smooth, leaves)
    q = ((1 / batch.xi_g_nm).to(dtype), (1 / batch.xi_g_prime_nm).to(dtype))
    state = _pass_columns(beta, leaves, q)
    fault_z = _by_patch(leaves, batch.fault_z_nm)
    fault_slice = _fault_slices(fault_z, leaves)
    places = irregular_slices(close, leaves, fault_slice, batch.core_nm)
    if len(places.leaf):
        pieces = pieces_of(places, leaves, torch.nan_to_num(fault_z), batch.fault_phase_rad, fault_slice)
        matrices = slice_matrices(places, pieces, field, close, powers, half_z, leaves, batch.core_nm, q, smooth)
        state = _pass_irregular(state, beta, places, matrices, leaves, q)
    thickness = leaves.entrance_z_nm - leaves.exit_z_nm
    mean = (1 / batch.xi_0_prime_nm).repeat_interleave(leaves.patches_an_image)[:, None]
    absorbed = torch.exp(-2 * math.pi * thickness * mean).to(dtype)
    a, b, c, d = state
    shape = tuple(batch.entrance_z_nm.shape[1:])
    return leaves.as_image(absorbed * (a * a + b * b), shape), leaves.as_image(absorbed * (c * c + d * d), shape)


def _fields(
    batch: ColumnBatch, leaves: Leaves, dtype: torch.dtype, field_tolerance: float
) -> tuple[LeafField, LeafField]:
    """The field of every leaf, and of its near segments those close enough to set panels."""
    image = batch.image
    rows, kept = segment_rows(
        batch.start_nm, batch.end_nm, batch.burgers_nm, batch.g_inv_nm[image], batch.poisson_ratio[image], batch.core_nm[image]
    )
    with torch.no_grad():
        burgers = torch.linalg.vector_norm(batch.burgers_nm, dim=1)
        strongest = torch.zeros(len(batch), dtype=burgers.dtype, device=burgers.device)
        strongest = strongest.scatter_reduce(0, image, burgers, "amax")
        strength = torch.linalg.vector_norm(batch.g_inv_nm, dim=1) * strongest
        close_nm = 1.01 * batch.slice_nm / PANEL_FRACTION
    boxes = Level(low=leaves.box_low, high=leaves.box_high)
    field = descend(rows, image[kept], boxes, strength, field_tolerance / batch.xi_g_nm.detach(), close_nm, dtype)
    reach = torch.linalg.vector_norm(boxes.half, dim=1)[field.leaf] + close_nm[field.leaf // (len(boxes.half) // len(batch))]
    chosen = field.distance_nm < reach
    close = LeafField(
        values=field.values, leaf=field.leaf[chosen], packed=field.packed[chosen].detach(),
        distance_nm=field.distance_nm[chosen],
    )  # fmt: skip
    return field, close


def _by_patch(leaves: Leaves, images: torch.Tensor) -> torch.Tensor:
    """(B, n, Y, X) as (T, n, P)."""
    t, p = leaves.step_nm.shape
    return torch.stack([leaves.by_patch(i) for i in images.unbind(1)], dim=1) if images.shape[1] else images.new_zeros((t, 0, p))


def _fault_slices(fault_z: torch.Tensor, leaves: Leaves) -> torch.Tensor:
    """Number of the slice (T, F, P) that a fault crosses, -1 where it misses the foil."""
    with torch.no_grad():
        entrance, exit_ = leaves.entrance_z_nm[:, None], leaves.exit_z_nm[:, None]
        inside = (fault_z < entrance) & (fault_z > exit_)
        place = torch.where(inside, (entrance - fault_z) / leaves.step_nm[:, None], 0.0)
        last = (leaves.slices - 1).clamp(min=0)[:, None]
        return torch.where(inside, torch.minimum(place.long(), last), -1)


def _pass_columns(
    beta: torch.Tensor, leaves: Leaves, q: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """Amplitudes (T, P) behind the foil, one step a slice."""
    s, step = leaves.s_inv_nm.to(beta.dtype), leaves.step_nm.to(beta.dtype)
    q_re, q_im = (part.repeat_interleave(leaves.patches_an_image)[:, None] for part in q)
    state = entering(s)
    for v in range(leaves.grid[3]):
        first = torch.full((1, 1), v * leaves.patch_slices, device=s.device)
        state = pass_slices(*state, beta[:, v], s, step, first, leaves.slices, q_re, q_im)
    return state


def _pass_irregular(
    state: tuple[torch.Tensor, ...], beta: torch.Tensor, places: Places, matrices: torch.Tensor, leaves: Leaves,
    q: tuple[torch.Tensor, torch.Tensor],
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    """The amplitudes with columns that hold irregular slices passed again, `matrices` (8, M) for those slices."""
    width = beta.shape[-1]
    column = places.patch(leaves) * width + places.column
    columns, place = torch.unique(column, return_inverse=True)
    number, slices = places.number(leaves), beta.shape[1] * beta.shape[2]
    at_once = max(1, CHUNK_VALUES[beta.device.type] // slices)
    passed = []
    for begin in range(0, len(columns), at_once):
        chosen = columns[begin : begin + at_once]
        patch, within = chosen // width, chosen % width
        field = beta[patch, :, :, :, within].flatten(1, 2).transpose(0, 1)  # (K, C, 2)
        of_image = patch // leaves.patches_an_image
        there = torch.arange(slices, device=chosen.device)[:, None] < leaves.slices[patch, within]
        length = torch.where(there, leaves.step_nm[patch, within].to(beta.dtype), 0.0)
        s = leaves.s_inv_nm[patch, within].to(beta.dtype)
        m = stacked_slice_matrix(s + field[..., 0], s + field[..., 1], length, q[0][of_image], q[1][of_image])
        here = (place >= begin) & (place < begin + at_once)
        slot = number[here] * len(chosen) + place[here] - begin
        m = m.flatten(1).index_copy(1, slot, matrices[:, here]).reshape(m.shape)
        part = entering(s)
        for k in range(0, slices, 8):
            part = pass_matrices(*part, m[:, k : k + 8])
        passed.append(torch.stack(part))
    renewed = torch.stack(state).flatten(1).index_copy(1, columns, torch.cat(passed, dim=1))
    return tuple(renewed.reshape(4, *state[0].shape).unbind(0))
