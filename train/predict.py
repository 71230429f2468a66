"""`python -m train.predict images=PATH out=DIR`: the dislocations of micrographs as curves, lengths and densities."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from physics.errors import require
from render.cli import run_command
from train.curves import TracedLine
from train.io import Frame, find_images, read_frames
from train.overlay import overlay
from train.trace import TraceSettings, trace_lines

if TYPE_CHECKING:
    from train.checkpoint import LoadedModel

USAGE = """\
python -m train.predict images=PATH out=DIR [model=RUN] [pixel_nm=1.2] [trace.shortest_px=12] …

Finds the dislocation lines of micrographs. PATH is a file (png, jpg, tif of 8, 16 or 32 bit, stacks), a folder, a
glob, or [a,b]. For every image DIR gets NAME.json with the curves in pixels, NAME_overlay.png, and one summary.csv.
Without model= the weights that come with the package are used. pixel_nm= gives lengths in nm and densities in 1/um.
"""
PATH_KEYS = ("images", "out", "model")
SHIPPED_WEIGHTS = Path(__file__).resolve().parent / "weights" / "default.safetensors"
LARGEST_WHOLE_PX = 1024  # larger images are looked at tile by tile, and traced in one piece
SUMMARY = ("n_lines", "total_length_px", "total_length_nm", "areal_density_inv_um", "median_width_px", "mean_confidence")


def find_lines(model: LoadedModel, image: np.ndarray, settings: TraceSettings | None = None) -> tuple[TracedLine, ...]:
    """The lines of one image (Y, X), longest first."""
    from train.checkpoint import predict_maps
    from train.tiles import tiled_maps

    large = max(image.shape) > LARGEST_WHOLE_PX
    maps = tiled_maps(model.module, image) if large else predict_maps(model, image)
    return tuple(_inside(line, image.shape) for line in trace_lines(maps, settings))


def _inside(line: TracedLine, shape: tuple[int, int]) -> TracedLine:
    """The maps of an odd-sized image reach up to stride - 1 px beyond it: pull the last vertices back in."""
    limit = np.array([shape[1] - 0.5, shape[0] - 0.5])
    if (line.points_px <= limit).all():
        return line
    return replace(line, points_px=np.minimum(line.points_px, limit))


def prediction(
    frame_name: str, shape: tuple[int, int], pixel_nm: float | None, model: str, lines: Sequence[TracedLine]
) -> dict[str, Any]:
    """What is written of one image: plain numbers, positions to 0.01 px."""
    total_px = sum(line.length_px for line in lines)
    area_um2 = None if pixel_nm is None else shape[0] * shape[1] * pixel_nm**2 * 1e-6
    return {
        "image": frame_name,
        "shape": [int(shape[0]), int(shape[1])],
        "pixel_nm": pixel_nm,
        "model": model,
        "lines": [
            {
                "id": n,
                "points_px": np.round(line.points_px, 2).tolist(),
                # Standard deviation of each vertex across the line.
                "sigma_px": None if line.sigma_px is None else np.round(line.sigma_px, 2).tolist(),
                "width_px": round(line.width_px, 2),
                "length_px": round(line.length_px, 2),
                "length_nm": None if pixel_nm is None else round(line.length_px * pixel_nm, 3),
                "confidence": round(line.confidence, 4),
                "flags": list(line.flags),
            }
            for n, line in enumerate(lines)
        ],
        "summary": {
            "n_lines": len(lines),
            "total_length_px": round(total_px, 2),
            "total_length_nm": None if pixel_nm is None else round(total_px * pixel_nm, 3),
            # Projected length per area; times the foil thickness it would be a density per volume.
            "areal_density_inv_um": None if area_um2 is None else round(total_px * pixel_nm * 1e-3 / area_um2, 6),
            "median_width_px": round(float(np.median([line.width_px for line in lines])), 2) if lines else None,
            "mean_confidence": round(float(np.mean([line.confidence for line in lines])), 4) if lines else None,
        },
    }


def predict_files(
    images: str,
    out: str | Path,
    model: str | Path | None = None,
    pixel_nm: float | None = None,
    settings: TraceSettings | None = None,
) -> list[dict[str, Any]]:
    """Predict every image that `images` names and write JSON, overlays and summary.csv to the folder `out`.

    Everything is read once before anything is written, so that a broken file leaves nothing behind. Returns what
    was written of each image. Raises InputError for unusable images, and for weights that cannot be read.
    """
    from train.checkpoint import load_model

    number = isinstance(pixel_nm, int | float) and not isinstance(pixel_nm, bool)
    require(pixel_nm is None or number, "pixel_nm", "be a number", repr(pixel_nm))
    require(pixel_nm is None or (np.isfinite(pixel_nm) and pixel_nm > 0), "pixel_nm", "be > 0 and finite", pixel_nm)
    out = Path(out)
    require(not out.exists() or out.is_dir(), "out", "be a folder or not exist", out)
    paths = find_images(images)
    for path in paths:
        # NAME.json beside NAME.png may be somebody's labels.
        require(path.resolve().parent != out.resolve() and path.absolute().parent.resolve() != out.resolve(), "out",
                "be another folder than that of the images", out, "the curves would replace label files")  # fmt: skip
    names = [frame.name for path in paths for frame in read_frames(path)]
    twice = {name for name in names if names.count(name) > 1}
    require(not twice, "images", "give every frame a name of its own", ", ".join(sorted(twice)))
    loaded = load_model(model if model is not None else SHIPPED_WEIGHTS)
    label = "default" if model is None else Path(model).name
    out.mkdir(parents=True, exist_ok=True)
    predictions = []
    for path in tqdm(paths, desc="predict", unit="file", disable=len(paths) < 2, file=sys.stderr):
        for frame in read_frames(path):
            lines = find_lines(loaded, frame.image, settings)
            record = prediction(path.name, frame.image.shape, pixel_nm, label, lines)
            _write_frame(out, frame, record, lines)
            predictions.append({"name": frame.name, **record})
    _write(out / "summary.csv", _csv(predictions).encode())
    return predictions


def _write_frame(out: Path, frame: Frame, record: dict[str, Any], lines: Sequence[TracedLine]) -> None:
    png = io.BytesIO()
    Image.fromarray(overlay(frame.image, lines)).save(png, format="png")
    _write(out / f"{frame.name}_overlay.png", png.getvalue())
    _write(out / f"{frame.name}.json", json.dumps(record).encode())


def _csv(predictions: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", "image", *SUMMARY])
    for record in predictions:
        values = [record["summary"][key] for key in SUMMARY]
        table.writerow([record["name"], record["image"], *("" if v is None else v for v in values)])
    return text.getvalue()


def _write(path: Path, content: bytes) -> None:
    """A reader never meets half a file."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)


def main(argv: list[str]) -> None:
    from render.config import compose

    config = compose("predict", argv, PATH_KEYS)
    settings = trace_settings(config["trace"])
    predictions = predict_files(config["images"], config["out"], config["model"], config["pixel_nm"], settings)
    count = sum(record["summary"]["n_lines"] for record in predictions)
    print(f"{config['out']}: {count} lines in {len(predictions)} image{'s' if len(predictions) != 1 else ''}")


def trace_settings(values: dict[str, Any]) -> TraceSettings:
    """TraceSettings from a config; None leaves a default."""
    require(isinstance(values, dict), "trace", "be a mapping of settings", "null" if values is None else values, "give trace.shortest_px=12 and the like")
    given = {key: value for key, value in values.items() if value is not None}
    for key, value in given.items():
        require(isinstance(value, int | float) and not isinstance(value, bool), f"trace.{key}", "be a number", value)
        require(np.isfinite(value), f"trace.{key}", "be finite", value)
    return TraceSettings(**given)


def usage() -> str:
    from render.config import describe

    return f"{USAGE}\n{describe('predict')}"


if __name__ == "__main__":
    sys.exit(run_command(main, usage))
