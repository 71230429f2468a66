"""Lines that a person can correct, out and back: labelme and napari files.

Open polylines stay open, loops closed, and each line keeps its width: labelme keeps the text of `description`, and
beside napari's own CSV, which has no place for it, NAME_widths.csv says which line had which. Axes: V vertices.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from physics.errors import InputError, require
from train.curves import TracedLine, distance_px, is_closed, resample

LABELME_VERSION = "5.5.0"
CORNER_PX = 0.5  # labelme counts from the corner of the top-left pixel, this project from its centre
KEPT_OFF_PX = 0.3  # a person moves vertices 1 px apart badly: they are thinned as far as the curve stays so near
NAPARI_HEADER = ["index", "shape-type", "vertex-index", "axis-0", "axis-1"]
WIDTHS_ENDING = "_widths.csv"
SAME_LINE_PX = 6.0  # a line that was corrected is one whose vertices lie so near, in the median, to an old one
_WIDTH = re.compile(r"width_px\s*=\s*([0-9.]+)")


def thinned(points_px: np.ndarray) -> np.ndarray:
    """A curve with few vertices, nowhere farther than KEPT_OFF_PX from the given one (Douglas & Peucker 1973); a loop stays closed."""
    from skimage.measure import approximate_polygon

    points = np.asarray(points_px, dtype=np.float64)
    if not is_closed(points):
        return approximate_polygon(points, KEPT_OFF_PX)
    half = len(points) // 2
    return np.concatenate([approximate_polygon(points[: half + 1], KEPT_OFF_PX)[:-1], approximate_polygon(points[half:], KEPT_OFF_PX)])


def labelme_text(lines: Sequence[TracedLine], image_name: str, shape: tuple[int, int]) -> str:
    """A labelme document of an image (Y, X): linestrips, polygons for loops; width and confidence in `description`."""
    shapes = []
    for n, line in enumerate(lines):
        points, loop = thinned(line.points_px), line.is_loop
        shapes.append({
            "label": "dislocation", "points": np.round((points[:-1] if loop else points) + CORNER_PX, 2).tolist(), "group_id": n,
            "description": f"width_px={line.width_px:.2f} confidence={line.confidence:.3f}",
            "shape_type": "polygon" if loop else "linestrip", "flags": {}, "mask": None,
        })  # fmt: skip
    document = {"version": LABELME_VERSION, "flags": {"complete": True, "corner_origin": True}, "shapes": shapes,
                "imagePath": image_name, "imageData": None, "imageHeight": shape[0], "imageWidth": shape[1]}  # fmt: skip
    return json.dumps(document, indent=1)


def width_px_in(shape: dict[str, Any]) -> float | None:
    """The width that the description of a labelme shape states."""
    found = _WIDTH.search(str(shape.get("description") or ""))
    return float(found.group(1)) if found and float(found.group(1)) > 0 else None


def napari_text(lines: Sequence[TracedLine], name: str) -> dict[str, str]:
    """NAME.csv as napari saves a Shapes layer (paths; axis-0 is y, axis-1 x), and NAME_widths.csv."""
    shapes, widths = io.StringIO(newline=""), io.StringIO(newline="")
    table, beside = csv.writer(shapes, lineterminator="\n"), csv.writer(widths, lineterminator="\n")
    table.writerow(NAPARI_HEADER)
    beside.writerow(["index", "width_px", "confidence", "x_px", "y_px"])
    for n, line in enumerate(lines):
        for v, (x, y) in enumerate(thinned(line.points_px)):
            table.writerow([n, "path", v, round(float(y), 3), round(float(x), 3)])
        for x, y in resample(line.points_px, 8.0):
            beside.writerow([n, round(line.width_px, 2), round(line.confidence, 4), round(float(x), 2), round(float(y), 2)])
    return {f"{name}.csv": shapes.getvalue(), f"{name}{WIDTHS_ENDING}": widths.getvalue()}


def read_napari(path: Path) -> list[tuple[np.ndarray, float | None]]:
    """The curves (V, 2) of a napari Shapes CSV and their widths, None where nobody said.

    "path" and "line" are lines, "polygon" a loop; other shapes are left out. A line has the width of the nearest one in
    NAME_widths.csv, if it runs along it. Raises InputError for a file of another layout.
    """
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        require(bool(rows) or NAPARI_HEADER == path.read_text(encoding="utf-8").strip().split(","), str(path), "hold shapes of napari", "none")
        shapes: dict[int, tuple[str, list[list[float]]]] = {}
        for row in rows:
            kind, points = shapes.setdefault(int(float(row["index"])), (row["shape-type"], []))
            points.append([float(row["axis-1"]), float(row["axis-0"])])
    except (KeyError, ValueError, TypeError, UnicodeDecodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be a Shapes CSV of napari (index, shape-type, vertex-index, axis-0, axis-1), got {type(error).__name__}") from None
    known = _widths(path.with_name(path.stem + WIDTHS_ENDING))
    found = []
    for kind, corners in shapes.values():
        points = np.array(corners)
        require(bool(np.isfinite(points).all()), f"{path}: every vertex", "be finite", "nan or inf")
        if kind not in ("path", "line", "polygon") or len(points) < 2:
            continue
        if kind == "polygon":
            points = np.concatenate([points, points[:1]])
        found.append((points, _nearest_width(points, known)))
    return found


def _widths(path: Path) -> list[tuple[np.ndarray, float]]:
    if not path.is_file():
        return []
    lines: dict[str, tuple[list[list[float]], float]] = {}
    try:
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
            lines.setdefault(row["index"], ([], float(row["width_px"])))[0].append([float(row["x_px"]), float(row["y_px"])])
    except (KeyError, ValueError, TypeError):
        raise InputError(f"{path} must have the columns index, width_px, x_px, y_px, got others") from None
    return [(np.array(points), width) for points, width in lines.values() if len(points) > 1]


def _nearest_width(points_px: np.ndarray, known: Sequence[tuple[np.ndarray, float]]) -> float | None:
    at = resample(points_px, 4.0)
    distances = [(float(np.median(distance_px(at, curve))), width) for curve, width in known]
    near = min(distances, default=(np.inf, 0.0))
    return near[1] if near[0] <= SAME_LINE_PX else None
