"""COCO: `annotations.json` with one annotation a line, `distractors.json` with one a distractor, 16-bit PNG images.

Masks are compressed RLE and overlap as the lines do. A line without contrast is there with `attributes.visible` false:
leave it out of a training target. Distractors, where there are any, are in a file of their own over the same images, their
kinds as categories; one that is a curve has it as `curve` and a mask of 1.5 px to either side. What COCO has no place
for stands in `attributes` and `curve`; readers pass over it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from render.export import image_name
from render.micrograph import Distractor, Line

if TYPE_CHECKING:
    from render.store import Dataset


def export(dataset: Dataset, out: Path) -> None:
    """Write annotations.json and images/ into the folder `out`."""
    (out / "images").mkdir()
    images, lines, others = [], [], []
    kinds = sorted({d.kind for i in range(len(dataset)) for d in dataset.distractors(i)})
    rows, columns = dataset.shape
    for i in range(len(dataset)):
        file = f"images/{image_name(dataset, i)}.png"
        Image.fromarray(dataset.image(i)).save(out / file)
        images.append({"id": dataset.index(i), "file_name": file, "width": columns, "height": rows,
                       "pixel_nm": dataset.pixel_nm(i)})  # fmt: skip
        for line, counts in zip(dataset.lines(i), dataset.mask_counts(i)):
            # pycocotools takes annotation 0 for "none".
            lines.append({"id": len(lines) + 1, "image_id": dataset.index(i), **_annotation(line, counts, dataset.shape)})
        for distractor in dataset.distractors(i):
            others.append({"id": len(others) + 1, "image_id": dataset.index(i),
                           **_distractor(distractor, kinds, dataset.shape)})  # fmt: skip
    common = {
        "info": {"description": dataset.card["about"], "conventions": dataset.card["conventions"]},
        "licenses": [],
        "images": images,
    }
    dislocation = [{"id": 1, "name": "dislocation", "supercategory": "defect"}]
    _write(out / "annotations.json", common | {"categories": dislocation, "annotations": lines})
    if others:
        categories = [{"id": k, "name": kind, "supercategory": "distractor"} for k, kind in enumerate(kinds, start=2)]
        _write(out / "distractors.json", common | {"categories": categories, "annotations": others})


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def _annotation(line: Line, counts: bytes, shape: tuple[int, int]) -> dict[str, Any]:
    return {
        **_region(1, counts, shape),
        "attributes": {
            "distractor": False,
            "visible": bool(line.visible.any()),
            "visible_fraction": round(float(np.mean(line.visible)), 4),
            "kind": line.kind,
            "burgers_uvw": list(line.burgers_uvw),
            "plane_hkl": list(line.plane_hkl),
            "g_dot_b": line.g_dot_b,
        },
        "curve": {
            "points_px": _rounded(line.points_px),
            "half_width_px": _rounded(line.half_width_px),
            "depth_nm": _rounded(line.depth_nm),
            "contrast": _rounded(line.contrast, 4),
            "visible": line.visible.tolist(),
        },
    }


def _distractor(distractor: Distractor, kinds: list[str], shape: tuple[int, int]) -> dict[str, Any]:
    counts = coco_mask.encode(np.asfortranarray(distractor.area(shape), dtype=np.uint8))["counts"]
    curve = {} if distractor.points_px is None else {"curve": {"points_px": _rounded(distractor.points_px)}}
    attributes = {"distractor": True, "visible": True, "kind": distractor.kind}
    return {**_region(2 + kinds.index(distractor.kind), counts, shape), "attributes": attributes, **curve}


def _region(category: int, counts: bytes, shape: tuple[int, int]) -> dict[str, Any]:
    rle = {"size": list(shape), "counts": counts}
    return {
        "category_id": category,
        "iscrowd": 0,
        "segmentation": {"size": list(shape), "counts": counts.decode("ascii")},
        "area": int(coco_mask.area(rle)),
        "bbox": [float(v) for v in coco_mask.toBbox(rle)],
    }


def _rounded(values: np.ndarray, digits: int = 3) -> list[Any]:
    return np.round(values.astype(np.float64), digits).tolist()
