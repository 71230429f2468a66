"""What the torch path is given: the columns of several images, as numbers or as tensors.

Axes: B images, S segments of all images, F faults, (Y, X) image rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import ArrayLike

from physics.contrast.columns import ColumnGrid
from physics.contrast.two_beam import TwoBeam
from physics.errors import require
from physics.frozen import frozen_array
from physics.gpu.smooth_field import LEAST_HEIGHTS
from physics.strain.segments import Segments


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageColumns:
    """The arguments of `physics.contrast.columns.column_image`, for one image of a batch.

    `smooth_field_inv_nm` (K, Y, X) is a further d(g.u)/dd, at K >= 4 heights of equal spacing from entrance to exit face.
    """

    segments: Segments
    g_image_inv_nm: ArrayLike
    two_beam: TwoBeam
    grid: ColumnGrid
    poisson_ratio: float
    core_nm: float
    slice_nm: float = 1.0
    fault_z_nm: ArrayLike | None = None
    fault_phase_rad: ArrayLike | None = None
    smooth_field_inv_nm: ArrayLike | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "g_image_inv_nm", frozen_array(self.g_image_inv_nm, (3,), "g_image_inv_nm"))
        require(-1 < self.poisson_ratio < 0.5, "poisson_ratio", "lie in (-1, 0.5)", self.poisson_ratio)
        require(self.core_nm > 0, "core_nm", "be > 0", self.core_nm)
        require(self.slice_nm > 0, "slice_nm", "be > 0", self.slice_nm)
        alone = (self.fault_z_nm is None) != (self.fault_phase_rad is None)
        require(not alone, "fault_z_nm", "come with fault_phase_rad", "one alone")
        if self.fault_z_nm is not None:
            phase = frozen_array(self.fault_phase_rad, (None,), "fault_phase_rad")
            z, shape = np.asarray(self.fault_z_nm, dtype=np.float64), (len(phase), *self.grid.shape)
            require(z.shape == shape, "fault_z_nm", f"have shape {shape}", z.shape)
        if self.smooth_field_inv_nm is not None:
            given = frozen_array(self.smooth_field_inv_nm, (None, *self.grid.shape), "smooth_field_inv_nm")
            require(len(given) >= LEAST_HEIGHTS, "smooth_field_inv_nm", f"have at least {LEAST_HEIGHTS} heights", len(given))


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnBatch:
    """The same for several images as float64 tensors of one device; intensities are differentiable in all of them.

    Faces, `s_inv_nm` (B, Y, X); `g_inv_nm` (B, 3); lengths and ratios (B,); `start_nm`, `end_nm`, `burgers_nm` (S, 3)
    of segments sorted by `image` (S,), the number of the image that a segment belongs to; `fault_z_nm` (B, F, Y, X),
    nan where a fault misses a column, `fault_phase_rad` (B, F); `smooth_field_inv_nm` (B, K, Y, X), K = 0 for none.
    """

    pixel_nm: torch.Tensor
    slice_nm: torch.Tensor
    entrance_z_nm: torch.Tensor
    exit_z_nm: torch.Tensor
    s_inv_nm: torch.Tensor
    g_inv_nm: torch.Tensor
    xi_g_nm: torch.Tensor
    xi_g_prime_nm: torch.Tensor
    xi_0_prime_nm: torch.Tensor
    poisson_ratio: torch.Tensor
    core_nm: torch.Tensor
    start_nm: torch.Tensor
    end_nm: torch.Tensor
    burgers_nm: torch.Tensor
    image: torch.Tensor
    fault_z_nm: torch.Tensor
    fault_phase_rad: torch.Tensor
    smooth_field_inv_nm: torch.Tensor

    @classmethod
    def of(cls, images: Sequence[ImageColumns], device: torch.device) -> ColumnBatch:
        """Raises InputError for no image, or images of unequal shape or heights."""
        require(len(images) > 0, "batch", "hold an image", "none")
        shapes = sorted({image.grid.shape for image in images})
        require(len(shapes) == 1, "batch", "hold images of one shape", shapes)

        def tensor(values: object) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values, dtype=np.float64), device=device)

        faults = max(0 if i.fault_z_nm is None else len(i.fault_z_nm) for i in images)
        fault_z, phase = np.full((len(images), faults, *shapes[0]), np.nan), np.zeros((len(images), faults))
        for n, i in enumerate(images):
            if i.fault_z_nm is not None:
                fault_z[n, : len(i.fault_z_nm)], phase[n, : len(i.fault_z_nm)] = i.fault_z_nm, i.fault_phase_rad
        smooth = [i.smooth_field_inv_nm for i in images]
        heights = sorted({len(field) for field in smooth if field is not None})
        require(len(heights) <= 1, "smooth_field_inv_nm", "have one number of heights in a batch", heights)
        nothing = np.zeros((heights[0] if heights else 0, *shapes[0]))
        counts = [len(i.segments) for i in images]
        return cls(
            pixel_nm=tensor([i.grid.pixel_nm for i in images]),
            slice_nm=tensor([i.slice_nm for i in images]),
            entrance_z_nm=tensor([i.grid.entrance_z_nm for i in images]),
            exit_z_nm=tensor([i.grid.exit_z_nm for i in images]),
            s_inv_nm=tensor([i.grid.s_inv_nm for i in images]),
            g_inv_nm=tensor([i.g_image_inv_nm for i in images]),
            xi_g_nm=tensor([i.two_beam.xi_g_nm for i in images]),
            xi_g_prime_nm=tensor([i.two_beam.xi_g_prime_nm for i in images]),
            xi_0_prime_nm=tensor([i.two_beam.xi_0_prime_nm for i in images]),
            poisson_ratio=tensor([i.poisson_ratio for i in images]),
            core_nm=tensor([i.core_nm for i in images]),
            start_nm=tensor(np.concatenate([i.segments.start_nm for i in images])),
            end_nm=tensor(np.concatenate([i.segments.end_nm for i in images])),
            burgers_nm=tensor(np.concatenate([i.segments.burgers_nm for i in images])),
            image=torch.as_tensor(np.repeat(np.arange(len(images)), counts), device=device),
            fault_z_nm=tensor(fault_z), fault_phase_rad=tensor(phase),
            smooth_field_inv_nm=tensor([nothing if field is None else field for field in smooth]),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.pixel_nm)

    @property
    def faults(self) -> int:
        return self.fault_phase_rad.shape[1]

    def part(self, images: torch.Tensor) -> ColumnBatch:
        """The images of those numbers alone, in that order."""
        own = [torch.nonzero(self.image == i).squeeze(1) for i in images]
        segments = {name: getattr(self, name)[torch.cat(own)] for name in ("start_nm", "end_nm", "burgers_nm")}
        others = {f.name: getattr(self, f.name)[images] for f in fields(self) if f.name not in (*segments, "image")}
        counts = torch.tensor([len(each) for each in own], device=images.device)
        return ColumnBatch(**segments, **others, image=torch.repeat_interleave(counts))

    def replace(self, **tensors: torch.Tensor) -> ColumnBatch:
        """A copy with some tensors changed, to differentiate in them."""
        return replace(self, **tensors)
