"""A folder of micrographs that a person annotated, as training images.

Beside NAME.png (or any other format): NAME.json of labelme, or NAME.csv of napari, with lines; or NAME_mask.png, white on
dislocations, which says where lines are but neither how many nor which is which. Each micrograph is prepared as
`train.predict` does, so that what is learnt is what is read. Axes: (Y, X) rows and columns, V vertices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from physics.errors import require
from render.frame_statistics import across_lines
from train.annotations import read_napari
from train.augment import noise_fraction_of
from train.curves import headings, resample
from train.geometry import CurveLabel
from train.io import MASK_ENDING, Frame, find_images, read_frames
from train.metrics import truth_of
from train.prepared import Prepared, PrepareSettings, prepare
from train.samples import HAND_DRAWN_HALF_WIDTH_PX, Sample, labelled_curve, read_labelme

JUDGED_PX = 12.0  # of partly labelled frames, so much to each side of a labelled line is known
WIDTH_RANGE_PX = (2.0, 24.0)
DRAWN_CONTRAST = 1.0  # what a person drew, a person saw: no disturbance makes it invisible


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotatedImage:
    """A micrograph as the network reads it, `image` (Y, X), with what is known of it.

    Either `curves`, or a `mask` (Y, X) bool of lines without instances. `silent` (Y, X) bool: nobody said. `sample` is
    the micrograph as it was taken with its truth, None for a mask.
    """

    name: str
    image: np.ndarray
    curves: tuple[CurveLabel, ...]
    mask: np.ndarray | None
    silent: np.ndarray
    noise_fraction: float
    sample: Sample | None


def read_annotated(folder: str | Path, settings: PrepareSettings | None = None) -> list[AnnotatedImage]:
    """The annotated images of a folder; those without annotations are left out, of a stack the first frame counts.

    Raises InputError where there is none, and for annotations that cannot be read.
    """
    folder = Path(folder)
    require(folder.is_dir(), "data", "be a folder of annotated images", folder)
    settings = settings or PrepareSettings()
    found = [image for path in find_images(str(folder)) if (image := _read(path, settings)) is not None]
    require(bool(found), "data", "hold images with NAME.json (labelme), NAME.csv (napari) or NAME_mask.png beside them", folder)
    return found


def _read(path: Path, settings: PrepareSettings) -> AnnotatedImage | None:
    labelme, napari = path.with_suffix(".json"), path.with_suffix(".csv")
    mask_path = path.with_name(f"{path.stem}{MASK_ENDING}.png")
    if not (labelme.is_file() or napari.is_file() or mask_path.is_file()):
        return None
    frame = next(read_frames(path))
    prepared = prepare(frame.image, settings, frame.drawn)
    if labelme.is_file():
        return _with_lines(frame, prepared, read_labelme(path))
    if napari.is_file():
        lines = [labelled_curve(points, width) for points, width in read_napari(napari)]
        sample = Sample(image=frame.image, truth=truth_of(lines, frame.image.shape), name=frame.name, lines=tuple(lines))
        return _with_lines(frame, prepared, sample)
    mask = next(read_frames(mask_path)).image
    require(mask.shape == frame.image.shape, str(mask_path), f"be as large as its image, {frame.image.shape[1]} x {frame.image.shape[0]} px",
            f"{mask.shape[1]} x {mask.shape[0]} px")  # fmt: skip
    shape = prepared.images[0].shape
    return AnnotatedImage(
        name=frame.name, image=prepared.images[0], curves=(), mask=_nearest(mask > 0.5 * mask.max(), shape),
        silent=_nearest(prepared.covered, shape), noise_fraction=noise_fraction_of(prepared.images[0]), sample=None,
    )  # fmt: skip


def _with_lines(frame: Frame, prepared: Prepared, sample: Sample) -> AnnotatedImage:
    """Lines as labels of the image that is read; where nobody looked, nothing is known."""
    silent = prepared.covered.copy()
    if not sample.truth.complete:
        silent |= _farther_than(JUDGED_PX, [line.points_px for line in sample.lines], silent.shape)
    if sample.roi_px is not None:
        silent |= ~_inside(sample.roi_px, silent.shape)
    shape = prepared.images[0].shape
    factors = np.array([shape[1] / silent.shape[1], shape[0] / silent.shape[0]])
    image = prepared.images[0]
    curves = tuple(_label(line, image, factors) for line in sample.lines)
    return AnnotatedImage(
        name=frame.name, image=image, curves=curves, mask=None, silent=_nearest(silent, shape),
        noise_fraction=noise_fraction_of(image), sample=sample,
    )  # fmt: skip


def _label(line, image: np.ndarray, factors: np.ndarray) -> CurveLabel:
    """A drawn line in the image that is read; a stroke of no stated width has the width that the image shows along it."""
    points = (np.asarray(line.points_px, dtype=np.float64) + 0.5) * factors - 0.5
    half = np.asarray(line.half_width_px, dtype=np.float64) * float(factors.mean())
    if (line.half_width_px == HAND_DRAWN_HALF_WIDTH_PX).all():
        half = np.full(len(points), 0.5 * _seen_width_px(points, image))
    n = len(points)
    return CurveLabel(points_px=points, half_width_px=half, contrast=np.full(n, -DRAWN_CONTRAST), visible=np.ones(n, dtype=bool))


def _seen_width_px(points_px: np.ndarray, image: np.ndarray) -> float:
    dense = resample(points_px, 1.0)
    places, tangents = dense[::3], headings(dense)[::3]
    inside = ((places >= 2) & (places <= np.array(image.shape[::-1]) - 3)).all(axis=1)
    if inside.sum() < 3:
        return 2 * HAND_DRAWN_HALF_WIDTH_PX
    normals = np.stack([-tangents[:, 1], tangents[:, 0]], axis=1)
    widths, _ = across_lines(image.astype(np.float64), places[inside], normals[inside])
    widths = widths[np.isfinite(widths)]
    return float(np.clip(np.median(widths), *WIDTH_RANGE_PX)) if len(widths) >= 3 else 2 * HAND_DRAWN_HALF_WIDTH_PX


def _farther_than(reach_px: float, curves_px: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    off = np.ones(shape, dtype=bool)
    for curve in curves_px:
        x, y = np.rint(resample(curve, 0.5)).astype(int).T
        there = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
        off[y[there], x[there]] = False
    return distance_transform_edt(off) > reach_px if not off.all() else off


def _inside(polygon_px: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    from skimage.draw import polygon2mask

    return polygon2mask(shape, polygon_px[:, ::-1])


def _nearest(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mask (Y, X) at another size."""
    if mask.shape == shape:
        return mask
    rows, columns = (np.minimum(((np.arange(n) + 0.5) * m / n).astype(int), m - 1) for n, m in zip(shape, mask.shape))
    return mask[np.ix_(rows, columns)]
