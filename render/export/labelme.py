"""labelme: an 8-bit PNG and a JSON with linestrips beside it, as a person would have traced the image.

Only visible parts inside the frame are there; the parts of one line share a `group_id`. Coordinates count from the
centre of the top-left pixel, as everywhere in this project.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from render.export import image_name
from render.micrograph import Line

if TYPE_CHECKING:
    from render.store import Dataset

LABELME_VERSION = "5.5.0"


def export(dataset: Dataset, out: Path) -> None:
    """Write <image>.png and <image>.json into the folder `out`."""
    from render.picture import display_range

    rows, columns = dataset.shape
    for i in range(len(dataset)):
        name, counts = image_name(dataset, i), dataset.image(i)
        low, high = display_range(counts)
        grey = np.clip((counts - low) / (high - low) * 255, 0, 255).round().astype(np.uint8)
        Image.fromarray(grey).save(out / f"{name}.png")
        shapes = [s for l, line in enumerate(dataset.lines(i)) for s in _shapes(line, l, dataset.shape)]
        document = {"version": LABELME_VERSION, "flags": {"complete": True}, "shapes": shapes, "imagePath": f"{name}.png",
                    "imageData": None, "imageHeight": rows, "imageWidth": columns}  # fmt: skip
        (out / f"{name}.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


def visible_parts(line: Line, shape: tuple[int, int]) -> list[np.ndarray]:
    """Curves (K, 2) of the parts of a line that are visible and inside the frame of `shape` (Y, X)."""
    upper = np.array([shape[1] - 0.5, shape[0] - 0.5])
    points = line.points_px.astype(np.float64)
    parts: list[list[np.ndarray]] = []
    joined = False
    for k in range(len(points) - 1):
        span = _inside(points[k], points[k + 1], upper) if line.visible[k] and line.visible[k + 1] else None
        if span is None or span[1] <= span[0]:
            joined = False
            continue
        step = points[k + 1] - points[k]
        if not joined or span[0] > 0:
            parts.append([points[k] + span[0] * step])
        parts[-1].append(points[k] + span[1] * step)
        joined = span[1] == 1
    return [np.array(part) for part in parts]


def _shapes(line: Line, number: int, shape: tuple[int, int]) -> list[dict[str, Any]]:
    return [
        {
            "label": "dislocation",
            "points": np.round(part, 3).tolist(),
            "group_id": number,
            "description": f"{line.kind}, b = {list(line.burgers_uvw)}, g.b = {line.g_dot_b:g}",
            "shape_type": "linestrip",
            "flags": {},
            "mask": None,
        }
        for part in visible_parts(line, shape)
    ]


def _inside(a: np.ndarray, b: np.ndarray, upper: np.ndarray) -> tuple[float, float] | None:
    """Span of the segment a-b, in its parameter, inside -0.5 <= x, y <= upper (Liang & Barsky 1984)."""
    low, high = 0.0, 1.0
    for rate, room in (*zip(a - b, a + 0.5), *zip(b - a, upper - a)):
        if rate == 0 and room < 0:
            return None
        if rate < 0:
            low = max(low, room / rate)
        elif rate > 0:
            high = min(high, room / rate)
    return (low, high) if low <= high else None
