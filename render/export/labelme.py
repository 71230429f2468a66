"""labelme: an 8-bit PNG and a JSON with linestrips beside it, as a person would have traced the image.

Only visible parts inside the frame are there; the parts of one line share a `group_id`. labelme draws with (0, 0) at the
corner of the top-left pixel, half a pixel from its centre, where this project has its own: 0.5 is added here. The flag
`corner_origin` says so to a reader (`train.evaluate`), and labelme keeps it when a person corrects the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from physics.clipping import span_in_box
from render.export import image_name
from render.micrograph import Line

if TYPE_CHECKING:
    from render.store import Dataset

LABELME_VERSION = "5.5.0"
CORNER_PX = 0.5


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
        document = {"version": LABELME_VERSION, "flags": {"complete": True, "corner_origin": True}, "shapes": shapes, "imagePath": f"{name}.png",
                    "imageData": None, "imageHeight": rows, "imageWidth": columns}  # fmt: skip
        (out / f"{name}.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


def visible_parts(line: Line, shape: tuple[int, int]) -> list[np.ndarray]:
    """Curves (K, 2) of the parts of a line that are visible and inside the frame of `shape` (Y, X)."""
    points = line.points_px.astype(np.float64)
    parts: list[list[np.ndarray]] = []
    joined = False
    for k in range(len(points) - 1):
        seen = line.visible[k] and line.visible[k + 1]
        span = span_in_box(*points[k], *points[k + 1], -0.5, -0.5, shape[1] - 0.5, shape[0] - 0.5) if seen else (1.0, 0.0)
        if span[1] <= span[0]:
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
            "points": np.round(part + CORNER_PX, 3).tolist(),
            "group_id": number,
            "description": f"{line.kind}, b = {list(line.burgers_uvw)}, g.b = {line.g_dot_b:g}",
            "shape_type": "linestrip",
            "flags": {},
            "mask": None,
        }
        for part in visible_parts(line, shape)
    ]

