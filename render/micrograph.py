"""What a simulation returns: an image and everything that is known of it.

Axes: L lines, K vertices of one line, (Y, X) image rows and columns.
Pixel coordinates: x right, y down, (0, 0) at the centre of the top-left pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from render.rasterise import line_mask

if TYPE_CHECKING:
    from render.scene import Scene


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """The label of one dislocation: its curve, and what is known of it.

    `points_px` (K, 2) is the line's curve in the image; image positions beside the core are not computed yet, so that
    it equals the projected core (off the dark ridge by up to its width where s is not 0). In float32 (so that a stored label is the label);
    it runs on beyond the frame by two half-widths or to the line's end, and a loop repeats its first vertex.
    `core_px` (K, 2) is the projected core, `half_width_px` (K,) half the FWHM of the contrast, at least 1,
    `contrast` (K,) signed and relative to the local background, `depth_nm` (K,) along the beam from the
    entrance face, `visible` (K,) is |contrast| >= scene.visible_contrast.
    """

    points_px: np.ndarray
    half_width_px: np.ndarray
    contrast: np.ndarray
    depth_nm: np.ndarray
    core_px: np.ndarray
    burgers_uvw: tuple[float, float, float]
    plane_hkl: tuple[int, int, int]
    g_dot_b: float
    visible: np.ndarray
    kind: str

    @property
    def length_px(self) -> float:
        return float(np.linalg.norm(np.diff(self.points_px.astype(np.float64), axis=0), axis=1).sum())

    def mask(self, shape: tuple[int, int]) -> np.ndarray:
        """Exact mask (Y, X) bool: pixel centres within `half_width_px` of the nearest point of the curve."""
        return line_mask(self.points_px, self.half_width_px, shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Distractor:
    """Something that is not a dislocation but looks like one: a curve `points_px` (K, 2) or a `mask` (Y, X)."""

    kind: str
    points_px: np.ndarray | None = None
    mask: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Micrograph:
    """An image `image` (Y, X) uint16 in counts with its labels and the Scene it was made from.

    `intensity` (Y, X) float32 is noise-free with the incident beam as 1, or None where it was not kept.
    """

    image: np.ndarray
    intensity: np.ndarray | None
    lines: tuple[Line, ...]
    scene: Scene
    distractors: tuple[Distractor, ...] = field(default=())

    @property
    def pixel_nm(self) -> float:
        return self.scene.pixel_nm

    @property
    def shape(self) -> tuple[int, int]:
        return self.image.shape

    @cached_property
    def masks(self) -> np.ndarray:
        """Exact instance masks (L, Y, X) bool; where lines overlap, each keeps its pixels."""
        masks = np.zeros((len(self.lines), *self.shape), dtype=bool)
        for mask, line in zip(masks, self.lines):
            mask[:] = line.mask(self.shape)
        return masks
