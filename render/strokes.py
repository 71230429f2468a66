"""Lines drawn with a pen on a picture: the contrast of a Scene that has `contrast` "stroke", without physics of lines.

This is the two-dimensional way of making training images (Govind, Oliveros, Dlouhy, Legros & Sandfeld 2023, Mach. Learn.:
Sci. Technol. 5, 015006), so that it can be compared with physics on the same lines: the Scene's dislocations are real ones,
from face to face of its foil, and the same Scene with `contrast` "physics" shows them as a microscope would. With "composite" the
same lines on the same backgrounds have their computed contrast: the intensity of the foil with them over that without.

Axes: L lines, K vertices, (Y, X) image rows and columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from physics.errors import require
from physics.frozen import frozen_array
from render.grey_image import grey_image
from render.micrograph import Distractor, Line
from render.optics import resampled
from render.rasterise import line_mask

if TYPE_CHECKING:
    from render.scene import Scene
    from render.specimen import Specimen

MASK_PX = 7.0  # the fixed width of a mask in the publication
FINENESS = 4  # quarters of a pixel along each side tell how much of it a stroke covers
LEAST_MEAN = 1e-9
# In the middle of a bend contour the foil without lines may be as dark as nothing, and its ratio to anything is noise.
LEAST_SHARE_OF_MEAN = 0.05
BRIGHTEST_RATIO = 4.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Backdrop:
    """One of the pictures that a background is blended of, with its `weight`.

    `file` is an image, its path from the working directory (or, where the folder has moved, from one that the environment names:
    `render.grey_image`), `sha256` that of its bytes; of it the window of the Scene's shape whose first pixel is `at_px` (row,
    column) is taken, of a smaller image after it was enlarged to cover the shape, then flipped left to right if `mirrored` and
    turned by `quarter_turns` (half turns only where the shape is no square). `scene` instead is another specimen, without lines. Neither: the
    Scene's own specimen without its lines.

    Raises InputError for both, or numbers out of range.
    """

    weight: float = 1.0
    file: str | None = None
    sha256: str | None = None
    at_px: tuple[int, int] = (0, 0)
    mirrored: bool = False
    quarter_turns: int = 0
    scene: Scene | None = None

    def __post_init__(self) -> None:
        require(math.isfinite(self.weight) and self.weight > 0, "strokes.backdrops.weight", "be > 0", self.weight)
        require(self.file is None or self.scene is None, "strokes.backdrops", "have a file or a scene, not both", "both")
        known = (self.file is None) == (self.sha256 is None)
        require(known, "strokes.backdrops.sha256", "be given with a file, and only with it", self.sha256)
        at = tuple(self.at_px)
        require(len(at) == 2 and all(n == int(n) and n >= 0 for n in at), "strokes.backdrops.at_px", "be two whole numbers >= 0", at)
        object.__setattr__(self, "at_px", tuple(int(n) for n in at))
        require(isinstance(self.mirrored, bool), "strokes.backdrops.mirrored", "be true or false", self.mirrored)
        require(self.quarter_turns in (0, 1, 2, 3), "strokes.backdrops.quarter_turns", "be 0, 1, 2 or 3", self.quarter_turns)


@dataclass(frozen=True, kw_only=True, eq=False)
class Strokes:
    """The pen of each line: `width_px` (L,) and `darkness` (L,), the share of light it takes away; masks are `mask_px` wide.

    Raises InputError for numbers out of range or no backdrop.
    """

    width_px: tuple[float, ...] = ()
    darkness: tuple[float, ...] = ()
    mask_px: float = MASK_PX
    backdrops: tuple[Backdrop, ...] = (Backdrop(),)

    def __post_init__(self) -> None:
        for name, low, high in (("width_px", 0.5, 100.0), ("darkness", 0.0, 1.0)):
            values = tuple(float(v) for v in frozen_array(getattr(self, name), (None,), f"strokes.{name}"))
            object.__setattr__(self, name, values)
            require(all(low <= v <= high for v in values), f"strokes.{name}", f"lie in [{low:g}, {high:g}]", list(values))
        require(len(self.width_px) == len(self.darkness), "strokes.darkness", f"be {len(self.width_px)} numbers, as width_px", len(self.darkness))
        require(2 <= self.mask_px <= 100, "strokes.mask_px", "lie in [2, 100]", self.mask_px)
        object.__setattr__(self, "backdrops", tuple(self.backdrops))
        require(len(self.backdrops) > 0, "strokes.backdrops", "hold one at least", "none")


def check_strokes(scene: Scene) -> None:
    """Raise InputError where a Scene's contrast and its strokes contradict each other."""
    strokes = scene.strokes
    drawn = scene.contrast != "physics"
    require(drawn == (strokes is not None), "strokes", 'be given with contrast "stroke" or "composite", and only with them',
            "none" if strokes is None else f'contrast "{scene.contrast}"')  # fmt: skip
    if strokes is None:
        return
    require(not scene.faults and not scene.particles, "contrast", 'be "physics" for a scene with faults or particles', scene.contrast)
    count = len(scene.dislocations)
    require(len(strokes.width_px) == count, "strokes.width_px", f"be {count} numbers, one a dislocation", len(strokes.width_px))
    for backdrop in strokes.backdrops:
        square = scene.shape[0] == scene.shape[1]
        require(square or backdrop.quarter_turns % 2 == 0, "strokes.backdrops.quarter_turns", "be 0 or 2 for a frame that is no square",
                backdrop.quarter_turns)  # fmt: skip
        other = backdrop.scene
        bare = other is None or (not other.dislocations and other.contrast == "physics" and other.shape == scene.shape)
        require(bare, "strokes.backdrops.scene", f"be a specimen without lines of shape {list(scene.shape)}", "another")


def stroke_intensity(scene: Scene, specimen: Specimen) -> np.ndarray:
    """Intensity (Y, X) float32 of the blended background with every line drawn over it; 1 is white or the incident beam."""
    light = background(scene, specimen)
    for line, width_px, darkness in zip(curves_px(scene), scene.strokes.width_px, scene.strokes.darkness):
        light *= 1 - darkness * covered_share(line, width_px, scene.shape)
    return light.astype(np.float32)


def composite_intensity(scene: Scene, specimen: Specimen) -> np.ndarray:
    """Intensity (Y, X) float32 of the blended background times the computed contrast of the lines.

    That is the intensity of the Scene's specimen over that of the same without lines, both taken as no less than a share
    of the mean where the latter is; on the specimen's own picture alone the product is elsewhere the specimen's image.
    """
    from render.intensity import noise_free_intensity

    plain = scene.replace(contrast="physics", strokes=None)
    without = noise_free_intensity(plain.replace(dislocations=()), specimen).astype(np.float64)
    floor = max(LEAST_SHARE_OF_MEAN * float(without.mean()), LEAST_MEAN)
    with_lines = noise_free_intensity(plain, specimen)
    ratio = np.where(without < floor, np.maximum(with_lines, floor), with_lines) / np.maximum(without, floor)
    return (background(scene, specimen) * np.minimum(ratio, BRIGHTEST_RATIO)).astype(np.float32)


def background(scene: Scene, specimen: Specimen) -> np.ndarray:
    """The blend (Y, X) of the backdrops, each first brought to its mean brightness, so that none outshines the others."""
    weights = np.array([backdrop.weight for backdrop in scene.strokes.backdrops])
    pictures = [_picture(backdrop, scene, specimen) for backdrop in scene.strokes.backdrops]
    means = np.array([max(float(picture.mean()), LEAST_MEAN) for picture in pictures])
    weights = weights / weights.sum()
    return sum(weight / mean * picture for weight, mean, picture in zip(weights, means, pictures)) * float(weights @ means)


def covered_share(curve_px: np.ndarray, width_px: float, shape: tuple[int, int]) -> np.ndarray:
    """Share (Y, X) of every pixel's area under a stroke along `curve_px` (K, 2), round ends included."""
    fine_px = FINENESS * curve_px + (FINENESS - 1) / 2
    half = np.full(len(curve_px), FINENESS * width_px / 2)
    fine = line_mask(fine_px, half, (FINENESS * shape[0], FINENESS * shape[1]))
    return fine.reshape(shape[0], FINENESS, shape[1], FINENESS).mean(axis=(1, 3))


def curves_px(scene: Scene) -> list[np.ndarray]:
    """The lines' curves (K, 2) in pixels, in the sense that labels write them."""
    from physics.frames import pixel_from_image

    return [pixel_from_image(line.canonical().points_nm, scene.shape, scene.pixel_nm) for line in scene.dislocations]


def stroke_lines(scene: Scene, specimen: Specimen) -> tuple[Line, ...]:
    """The labels of the strokes: fixed width, the pen's darkness as contrast, image and core in one place."""
    labels = []
    for line, curve_px, darkness in zip(scene.dislocations, curves_px(scene), scene.strokes.darkness):
        line, curve_px = line.canonical(), curve_px.astype(np.float32)
        entrance_nm = specimen.foil_shape.face_z_nm(line.points_nm[:, 0], line.points_nm[:, 1], 1)
        contrast = np.full(len(curve_px), -darkness, dtype=np.float32)
        label = Line(
            points_px=curve_px, core_px=curve_px, half_width_px=np.full(len(curve_px), scene.strokes.mask_px / 2, dtype=np.float32),
            contrast=contrast, depth_nm=(entrance_nm - line.points_nm[:, 2]).astype(np.float32),
            burgers_uvw=tuple((line.burgers_uvw + 0.0).tolist()), plane_hkl=line.plane_hkl,
            g_dot_b=float(np.dot(scene.beam.g_hkl, line.burgers_uvw)), visible=np.abs(contrast) >= scene.visible_contrast, kind=line.kind,
        )  # fmt: skip
        if label.touches(scene.shape):
            labels.append(label)
    return tuple(labels)


def backdrop_distractors(scene: Scene) -> tuple[Distractor, ...]:
    """What other specimens in the background hold that looks like a line; files are known to hold nothing."""
    from render.distractors import distractors
    from render.specimen import Specimen

    others = [b.scene for b in scene.strokes.backdrops if b.scene is not None]
    return tuple(found for other in others for found in distractors(other, Specimen.of(other)))


def _picture(backdrop: Backdrop, scene: Scene, specimen: Specimen) -> np.ndarray:
    from render.intensity import noise_free_intensity
    from render.specimen import Specimen

    if backdrop.scene is not None:
        picture = noise_free_intensity(backdrop.scene, Specimen.of(backdrop.scene))
    elif backdrop.file is None:
        picture = noise_free_intensity(scene.replace(dislocations=(), contrast="physics", strokes=None), specimen)
    else:
        picture = _window(grey_image(backdrop.file, backdrop.sha256), backdrop, scene.shape)
    picture = np.rot90(picture[:, ::-1] if backdrop.mirrored else picture, backdrop.quarter_turns)
    return np.asarray(picture, dtype=np.float64)


def enlarged_size(size: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """The size of a picture, or where it is smaller than `shape` that to which it is enlarged to cover it."""
    factor = max(1.0, *(wanted / length for wanted, length in zip(shape, size)))
    return tuple(max(wanted, round(factor * length)) for wanted, length in zip(shape, size)) if factor > 1 else tuple(size)


def _window(picture: np.ndarray, backdrop: Backdrop, shape: tuple[int, int]) -> np.ndarray:
    """The part (Y, X) of a picture that begins at `at_px`, of one smaller than `shape` after it was enlarged."""
    size = enlarged_size(picture.shape, shape)
    whole = picture if size == picture.shape else np.maximum(resampled(picture, size, 1), 0.0)
    (row, column), (rows, columns) = backdrop.at_px, shape
    fits = row + rows <= size[0] and column + columns <= size[1]
    require(fits, "strokes.backdrops.at_px", f"leave {list(shape)} pixels of the {list(size)} of {backdrop.file}", list(backdrop.at_px))
    return whole[row : row + rows, column : column + columns]
