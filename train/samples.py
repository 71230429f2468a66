"""Images with the truth of their lines: those of a dataset, or of a folder with labelme JSON beside them.

Axes: (Y, X) image rows and columns, V vertices.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from physics.errors import InputError, require
from train.annotations import width_px_in
from train.curves import TracedLine, is_closed, length_px, resample
from train.io import SUFFIXES, read_frames
from train.metrics import MetricSettings, Truth, truth_of

if TYPE_CHECKING:
    from render import Dataset
    from train.targets import Curve

SPLITS = ("train", "val", "test", "all")
HAND_DRAWN_HALF_WIDTH_PX = 2.0  # a stroke has no width; masks of it are for metrics that want some


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """An image (Y, X) and the lines in it; `roi_px` (V, 2) is the polygon outside which nothing is judged.

    `lines` are the labels from which the truth comes: what an oracle decoder sees. `as_taken` is a micrograph of unknown
    polarity and width of lines, `drawn` (Y, X) what is drawn on it in colour.
    """

    image: np.ndarray
    truth: Truth
    name: str
    roi_px: np.ndarray | None = None
    lines: tuple[Curve, ...] = ()
    as_taken: bool = False
    drawn: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledCurve:
    """A hand-drawn line, in the form of a label."""

    points_px: np.ndarray
    half_width_px: np.ndarray
    visible: np.ndarray


def labelled_curve(points_px: np.ndarray, width_px: float | None) -> LabelledCurve:
    """A curve (V, 2) as a label; of a stroke without a width a width is assumed."""
    half = HAND_DRAWN_HALF_WIDTH_PX if width_px is None else max(1.0, 0.5 * width_px)
    n = len(points_px)
    return LabelledCurve(points_px=points_px, half_width_px=np.full(n, half), visible=np.ones(n, dtype=bool))


def samples_of(data: str | Path, split: str = "test", limit: int | None = None) -> Iterator[Sample]:
    """The images of a dataset's split, or of a folder, with their truth. Raises InputError where there is none."""
    path = Path(data)
    require(split in SPLITS, "split", f"be one of {', '.join(SPLITS)}", split)
    require(limit is None or limit >= 1, "limit", "be >= 1", limit)
    require(path.exists(), "data", "be a dataset or a folder", path)
    found = _dataset_samples(path, split, limit) if (path / "zarr.json").exists() else _folder_samples(path)
    for n, sample in enumerate(found):
        if limit is not None and n >= limit:
            break
        yield sample


def _dataset_samples(path: Path, split: str, limit: int | None) -> Iterator[Sample]:
    from render import open_dataset

    dataset = open_dataset(path)
    chosen = dataset if split == "all" else dataset.split(split)
    require(len(chosen) > 0, "split", "hold images", f"{split} of {path}, which holds none", "use split=all")
    for i in range(len(chosen)):
        yield sample_of(chosen, i)


def sample_of(dataset: Dataset, i: int) -> Sample:
    """Image `i` of a dataset with its truth."""
    image, lines = dataset.image(i), dataset.lines(i)
    truth = truth_of(lines, image.shape, distractors=dataset.distractors(i), pixel_nm=dataset.pixel_nm(i))
    return Sample(image=image, truth=truth, name=str(dataset.index(i)), lines=lines)


def _folder_samples(path: Path) -> Iterator[Sample]:
    require(path.is_dir(), "data", "be a dataset or a folder", path)
    images = [p for p in sorted(path.iterdir()) if p.suffix.lower() in SUFFIXES and p.with_suffix(".json").exists()]
    require(bool(images), "data", "hold images with a labelme .json of the same name beside them", path)
    for image in images:
        yield read_labelme(image)


def read_labelme(image_path: Path) -> Sample:
    """An image and its labelme file: linestrips and lines are dislocations, a polygon labelled "roi" the judged part.

    A closed polygon with any other label is a loop. Flag "complete": false says that only some lines are labelled.
    Coordinates count from the centre of the top-left pixel, unless the flag "corner_origin" is true: labelme itself and
    `render.export` count from its corner, and half a pixel is taken off.
    """
    frame = next(read_frames(image_path))
    label_path = image_path.with_suffix(".json")
    try:
        labels = json.loads(label_path.read_text(encoding="utf-8"))
        shapes = [
            (s["label"], s.get("shape_type", "polygon"), np.array(s["points"], dtype=np.float64), width_px_in(s)) for s in labels["shapes"]
        ]
        flags = labels.get("flags") or {}
        complete, corner_px = bool(flags.get("complete", True)), 0.5 if flags.get("corner_origin", False) else 0.0
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{label_path} must be a labelme file, got {type(error).__name__}: {' '.join(str(error).split())}") from None
    roi, lines = None, []
    for label, kind, points, width_px in shapes:
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2:
            continue
        points = points - corner_px
        finite = np.isfinite(points).all(axis=1)
        require(bool(finite.all()), f"{label_path}: every vertex", "be finite", points[int(np.argmin(finite))].tolist())
        if label == "roi":
            require(len(points) > 2, f"{label_path}: the roi", "be a polygon of three vertices or more", len(points))
            roi = points
            continue
        if kind == "polygon":
            points = np.concatenate([points, points[:1]])
        if kind in ("polygon", "linestrip", "line"):
            lines.append(labelled_curve(points, width_px))
    truth = truth_of(lines, frame.image.shape)
    curves, silent = truth.curves_px, truth.silent_px
    if roi is not None:
        curves, silent = (tuple(piece for c in group for piece in _pieces_within(c, roi)) for group in (curves, silent))
        widths = tuple(np.full(len(c), HAND_DRAWN_HALF_WIDTH_PX) for c in curves)
    else:
        widths = truth.half_width_px
    truth = Truth(curves_px=curves, silent_px=silent, complete=complete, half_width_px=widths)
    return Sample(image=frame.image, truth=truth, name=frame.name, roi_px=roi, lines=tuple(lines), as_taken=True, drawn=frame.drawn)


def polygon_area(points: np.ndarray) -> float:
    """The area of a polygon (V, 2), by the shoelace formula."""
    x, y = np.asarray(points, dtype=float).T
    return float(0.5 * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def within_roi(lines: Sequence[TracedLine], roi_px: np.ndarray | None) -> list[TracedLine]:
    """The parts of lines inside a polygon (V, 2)."""
    if roi_px is None:
        return list(lines)
    return [
        TracedLine(points_px=piece, half_width_px=np.full(len(piece), line.width_px / 2), confidence=line.confidence)
        for line in lines
        for piece in _pieces_within(line.points_px, roi_px)
    ]


def _pieces_within(points_px: np.ndarray, roi_px: np.ndarray) -> list[np.ndarray]:
    """The pieces of a curve (V, 2) inside a polygon, cut to 1 px; those shorter than a true instance are dropped."""
    from matplotlib.path import Path as Outline

    closed = is_closed(points_px)
    points = resample(points_px, 1.0)
    if closed:
        points[-1] = points[0]
    inside = Outline(roi_px).contains_points(points)
    if inside.all():
        return [points]
    if closed and inside.any():
        # A loop that is cut starts at a cut, not at its seam.
        first = int(np.flatnonzero(~inside)[0])
        points = np.concatenate([points[first:-1], points[: first + 1]])
        inside = np.concatenate([inside[first:-1], inside[: first + 1]])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    pieces = [points[first:last] for first, last in zip(edges[::2], edges[1::2])]
    return [piece for piece in pieces if len(piece) > 1 and length_px(piece) >= MetricSettings().shortest_truth_px]
