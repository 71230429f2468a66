"""What a simulation returns: an image and everything that is known of it.

Axes: L lines, K vertices of one line, (Y, X) image rows and columns.
Pixel coordinates: x right, y down, (0, 0) at the centre of the top-left pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from physics.errors import require
from render.rasterise import line_mask, line_masks

if TYPE_CHECKING:
    from render.scene import Scene

CURVE_HALF_WIDTH_PX = 1.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """The label of one dislocation: its curve, and what is known of it.

    `points_px` (K, 2) is where the image of the line runs, what a person would trace, and `core_px` (K, 2) where its
    core projects, vertex by vertex; the image lies beside the core, by up to the width of its contrast where s is not 0
    (`render.image_curve`). Both are float32, so that a stored label is the label; they run on beyond the frame by two
    half-widths or to the line's end, and a loop repeats its first vertex. `half_width_px` (K,) is half the FWHM of the
    contrast, at least 1,
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

    def touches(self, shape: tuple[int, int]) -> bool:
        """Whether the mask holds any pixel."""
        x, y = self.points_px[:, 0], self.points_px[:, 1]
        # A vertex among pixel centres has one within 0.71 px, and no half-width is below 1.
        within = (x >= 0) & (x <= shape[1] - 1) & (y >= 0) & (y <= shape[0] - 1)
        return bool(within.any()) or bool(self.mask(shape).any())


@dataclass(frozen=True, kw_only=True, eq=False)
class Distractor:
    """Something that is not a dislocation but looks like one: a curve `points_px` (K, 2) float32, a `mask` (Y, X) bool, or both.

    `kind` is a word such as slip_trace, particle, fault_band, boundary, bend_contour, fringe, edge, text.
    """

    kind: str
    points_px: np.ndarray | None = None
    mask: np.ndarray | None = None

    def __post_init__(self) -> None:
        require(self.kind.isidentifier(), "distractor.kind", "be one word", repr(self.kind))
        require(self.points_px is not None or self.mask is not None, "distractor", "have points_px or a mask", "neither")
        points = self.points_px
        ok = points is None or (np.ndim(points) == 2 and np.shape(points)[1] == 2 and len(points) >= 2)
        require(ok, "distractor.points_px", "have shape (K, 2), K >= 2", np.shape(points))

    def area(self, shape: tuple[int, int]) -> np.ndarray:
        """Its mask (Y, X) bool; that of a curve alone is CURVE_HALF_WIDTH_PX to either side."""
        if self.mask is not None:
            return self.mask
        return line_mask(self.points_px, np.full(len(self.points_px), CURVE_HALF_WIDTH_PX), shape)


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
        return line_masks([(line.points_px, line.half_width_px) for line in self.lines], self.shape)
