"""Traced lines for other programs: CSV, GeoJSON, SVG, COCO, labelme, napari.

Curves count from the centre of the top-left pixel in JSON, CSV, GeoJSON, COCO's `curve` and napari, and from that pixel's
corner in SVG and labelme, as these programs draw. Axes: (Y, X) image rows and columns, V vertices.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from physics.errors import require
from train.annotations import labelme_text, napari_text
from train.curves import TracedLine
from train.overlay import grey_levels, line_colour

FORMATS = ("csv", "geojson", "svg", "coco", "labelme", "napari")
FOLDER_FILES = {"coco": "annotations.json"}


def require_formats(formats: Any) -> tuple[str, ...]:
    """The names as a tuple. Raises InputError for what is no list of known formats."""
    require(isinstance(formats, list | tuple), "formats", f"be a list of {', '.join(FORMATS)}", repr(formats), f"write formats=[{FORMATS[0]}]")
    for name in formats:
        require(name in FORMATS, "formats", f"be among {', '.join(FORMATS)}", name)
    return tuple(dict.fromkeys(formats))


def frame_files(
    formats: Sequence[str], record: Mapping[str, Any], name: str, image: np.ndarray, lines: Sequence[TracedLine]
) -> dict[str, bytes]:
    """Files of one frame, relative to the output folder, without those that are one for all frames."""
    writers: dict[str, Callable[[], dict[str, bytes]]] = {
        "csv": lambda: {f"{name}_lines.csv": lines_csv(record).encode()},
        "geojson": lambda: {f"{name}.geojson": json.dumps(geojson(record)).encode()},
        "svg": lambda: {f"{name}.svg": svg(image, lines).encode()},
        "labelme": lambda: {
            f"labelme/{name}.png": _png(image),
            f"labelme/{name}.json": labelme_text(lines, f"{name}.png", image.shape).encode(),
        },
        "napari": lambda: {f"napari/{name}.png": _png(image), **{f"napari/{k}": v.encode() for k, v in napari_text(lines, name).items()}},
    }  # fmt: skip
    return {file: content for chosen in formats if chosen in writers for file, content in writers[chosen]().items()}


def lines_csv(record: Mapping[str, Any]) -> str:
    """One row a line."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["id", "length_px", "length_nm", "width_px", "confidence", "flags", "crossings", "x_first_px", "y_first_px", "x_last_px", "y_last_px"])
    for line in record["lines"]:
        length_nm = "" if line["length_nm"] is None else line["length_nm"]
        flags, crossings = " ".join(line["flags"]), " ".join(map(str, line["crossings"]))
        first, last = line["points_px"][0], line["points_px"][-1]
        table.writerow([line["id"], line["length_px"], length_nm, line["width_px"], line["confidence"], flags, crossings, *first, *last])
    return text.getvalue()


def geojson(record: Mapping[str, Any]) -> dict[str, Any]:
    """A FeatureCollection of LineStrings in px, x right and y down (RFC 7946, without its globe)."""
    kept = ("id", "length_px", "length_nm", "width_px", "confidence", "flags", "crossings")
    return {
        "type": "FeatureCollection",
        "image": record["image"],
        "pixel_nm": record["pixel_nm"],
        "coordinates": "px, x right, y down, (0, 0) at the centre of the top-left pixel",
        "features": [
            {
                "type": "Feature",
                "id": line["id"],
                "geometry": {"type": "LineString", "coordinates": line["points_px"]},
                "properties": {"classification": "dislocation", **{key: line[key] for key in kept}},
            }
            for line in record["lines"]
        ],
    }


def svg(image: np.ndarray, lines: Sequence[TracedLine]) -> str:
    """The micrograph (Y, X) embedded, each line a path as wide as the line."""
    rows, columns = image.shape
    picture = base64.b64encode(_png(image)).decode("ascii")
    paths = []
    for n, line in enumerate(lines):
        at = " L".join(f"{x:.2f} {y:.2f}" for x, y in line.points_px + 0.5)
        colour = "#{:02x}{:02x}{:02x}".format(*line_colour(n))
        paths.append(
            f'<path id="line{n}" d="M{at}" stroke="{colour}" stroke-width="{line.width_px:.2f}" stroke-opacity="0.6" '
            f'data-confidence="{line.confidence:.3f}"/>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {columns} {rows}" '
        f'width="{columns}" height="{rows}"><image width="{columns}" height="{rows}" xlink:href="data:image/png;base64,{picture}"/>'
        f'<g fill="none" stroke-linecap="round" stroke-linejoin="round">{"".join(paths)}</g></svg>\n'
    )


def coco(frames: Sequence[tuple[Mapping[str, Any], Sequence[dict[str, Any]]]]) -> dict[str, Any]:
    """One annotations.json: frames as (record, `coco_annotations` of its lines)."""
    images, annotations = [], []
    for number, (record, found) in enumerate(frames, start=1):
        rows, columns = record["shape"]
        images.append({"id": number, "file_name": record["image"], "frame": record["name"], "width": columns, "height": rows,
                       "pixel_nm": record["pixel_nm"]})  # fmt: skip
        for annotation in found:
            # pycocotools takes annotation 0 for "none".
            annotations.append({"id": len(annotations) + 1, "image_id": number, **annotation})
    categories = [{"id": 1, "name": "dislocation", "supercategory": "defect"}]
    return {"info": {"description": "dislocations traced by gdotb"}, "licenses": [], "images": images, "categories": categories,
            "annotations": annotations}  # fmt: skip


def coco_annotations(lines: Sequence[TracedLine], shape: tuple[int, int]) -> list[dict[str, Any]]:
    """Lines as COCO annotations with compressed RLE masks; overlaps are kept."""
    from pycocotools import mask as coco_mask

    found = []
    for n, line in enumerate(lines):
        encoded = coco_mask.encode(np.asfortranarray(line.mask(shape).astype(np.uint8)))
        found.append({
            "category_id": 1, "iscrowd": 0, "area": int(coco_mask.area(encoded)), "bbox": [float(v) for v in coco_mask.toBbox(encoded)],
            "segmentation": {"size": list(shape), "counts": encoded["counts"].decode("ascii")}, "score": round(line.confidence, 4),
            "curve": np.round(line.points_px, 2).tolist(), "attributes": {"line": n, "width_px": round(line.width_px, 2), "flags": list(line.flags)},
        })  # fmt: skip
    return found


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(grey_levels(image)).save(buffer, format="png")
    return buffer.getvalue()
