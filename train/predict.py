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
from render.cli import counted, run_command
from train.curves import TracedLine, b_spline, find_crossings, point_at
from train.folder_report import Pictures, write_folder_report
from train.formats import FOLDER_FILES, coco, coco_annotations, frame_files, require_formats
from train.io import Frame, find_images, read_frames, readable
from train.lean_monai import lean_monai
from train.measure import Field, Thickness, field_of, measured
from train.overlay import overlay
from train.prepared import Prepared, PrepareSettings, is_writing, lines_in_micrograph, prepare
from train.trace import TraceSettings, trace_lines

if TYPE_CHECKING:
    from train.checkpoint import LoadedModel
    from train.samples import Sample
    from train.targets import Maps

USAGE = """\
python -m train.predict images=PATH out=DIR [model=RUN] [pixel_nm=1.2] [thickness_nm=150 thickness_sigma_nm=15]
    [polarity=auto|dark|bright|both] [width=auto|PX] [formats=[csv,geojson,svg,coco,labelme,napari]] …

Finds the dislocation lines of micrographs. PATH is a file (png, jpg, tif of 8, 16 or 32 bit, stacks; dm3, dm4, mrc, emd,
ser; videos where imageio-ffmpeg is installed), a folder, a glob, or [a,b]. For every image DIR gets NAME.json with the
curves in pixels, NAME_overlay.png and what formats= asks for; for all together summary.csv, folder.json and, of more
than one image, report.html. Lengths in nm and densities come from the pixel size in the file, or from pixel_nm=; a
density a volume needs thickness_nm=. Without model= the weights that come with the package are used.
Of several files those that cannot be read are left out, and said.
"""
PATH_KEYS = ("images", "out", "model")
LARGEST_WHOLE_PX = 1024  # larger images are looked at tile by tile, and traced in one piece
MEASURED = ("n_lines", "total_length_px", "total_length_nm", "areal_density_inv_px", "areal_density_inv_um", "volume_density_inv_m2",
            "volume_density_by_intercepts_inv_m2")  # fmt: skip
SUMMARY = (*MEASURED, "median_width_px", "mean_confidence")
SUMMARY_FILE, FOLDER_FILE, REPORT_FILE = "summary.csv", "folder.json", "report.html"
TEST_LINES_SEED = 1961  # of the lines that intercepts are counted on: the same for every image of a shape


def find_lines(model: LoadedModel, image: np.ndarray, settings: TraceSettings | None = None) -> tuple[TracedLine, ...]:
    """The lines of one image (Y, X), longest first."""
    return tuple(_inside(line, image.shape) for line in trace_lines(_maps(model, image), settings))


def _maps(model: LoadedModel, image: np.ndarray) -> Maps:
    from train.checkpoint import predict_maps
    from train.tiles import tiled_maps
    from train.turned import averaged_maps

    large = max(image.shape) > LARGEST_WHOLE_PX
    return averaged_maps(
        lambda seen: tiled_maps(model.module, seen) if large else predict_maps(model, seen), image, model.settings.targets.stride, model.views
    )


def _inside(line: TracedLine, shape: tuple[int, int]) -> TracedLine:
    """The maps of an odd-sized image reach up to stride - 1 px beyond it: pull the last vertices back in."""
    limit = np.array([shape[1] - 0.5, shape[0] - 0.5])
    if (line.points_px <= limit).all():
        return line
    return replace(line, points_px=np.minimum(line.points_px, limit))


def find_prepared_lines(
    model: LoadedModel, image: np.ndarray, settings: TraceSettings | None = None, prepare_settings: PrepareSettings | None = None,
    drawn: np.ndarray | None = None,
) -> tuple[tuple[TracedLine, ...], Prepared]:  # fmt: skip
    """The lines of a micrograph (Y, X) as it was taken, longest first, and how it was read (`train.prepared`)."""
    prepared = prepare(image, prepare_settings or PrepareSettings(), drawn)
    found = []
    for read in prepared.images:
        maps = _maps(model, read)
        lines = (_inside(line, read.shape) for line in trace_lines(maps, settings))
        found.append([line for line in lines if not is_writing(line, maps)])
    return lines_in_micrograph(found, prepared), prepared


def lines_in_sample(model: LoadedModel, sample: Sample, settings: TraceSettings | None = None) -> Sequence[TracedLine]:
    """The lines of what is to be judged: a micrograph as it was taken is read as `python -m train.predict` reads it."""
    if sample.as_taken:
        return find_prepared_lines(model, sample.image, settings, drawn=sample.drawn)[0]
    return find_lines(model, sample.image, settings)


def prediction(
    frame_name: str, shape: tuple[int, int], pixel_nm: float | None, model: str, lines: Sequence[TracedLine],
    field: Field | None = None, thickness: Thickness | None = None, prepared: Prepared | None = None, pixel_nm_from: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What is written of one image: plain numbers, positions to 0.01 px. `field` is `train.measure.field_of` of the lines."""
    rng = np.random.default_rng(TEST_LINES_SEED)
    field = field or field_of([line.points_px for line in lines], shape, pixel_nm, rng)
    crossings = [c for c in find_crossings([line.points_px for line in lines]) if c.first != c.second]
    of_line: dict[int, list[int]] = {n: [] for n in range(len(lines))}
    for number, crossing in enumerate(crossings):
        of_line[crossing.first].append(number)
        of_line[crossing.second].append(number)
    return {
        "image": frame_name,
        "shape": [int(shape[0]), int(shape[1])],
        "pixel_nm": pixel_nm,
        "pixel_nm_from": pixel_nm_from,
        "model": model,
        "read": None if prepared is None else {
            "polarity": "+".join(prepared.polarities),
            "scale": round(prepared.scale, 4),
            "width_px": None if prepared.width_px is None else round(prepared.width_px, 2),
            "covered_fraction": round(float(prepared.covered.mean()), 4),
        },
        "lines": [
            {
                "id": n,
                "points_px": np.round(line.points_px, 2).tolist(),
                # Standard deviation of each vertex across the line.
                "sigma_px": None if line.sigma_px is None else np.round(line.sigma_px, 2).tolist(),
                "spline": b_spline(line.points_px),
                "width_px": round(line.width_px, 2),
                "length_px": round(line.length_px, 2),
                "length_nm": None if pixel_nm is None else round(line.length_px * pixel_nm, 3),
                "confidence": round(line.confidence, 4),
                "flags": list(line.flags),
                "crossings": of_line[n],
            }
            for n, line in enumerate(lines)
        ],
        "crossings": [
            {
                "id": number,
                "lines": sorted((c.first, c.second)),
                "point_px": np.round(point_at(lines[c.first].points_px, c.at_first_px), 2).tolist(),
                "angle_deg": round(c.angle_deg, 1),
            }
            for number, c in enumerate(crossings)
        ],
        "summary": measured([field], thickness, rng) | {
            "median_width_px": round(float(np.median([line.width_px for line in lines])), 2) if lines else None,
            "mean_confidence": round(float(np.mean([line.confidence for line in lines])), 4) if lines else None,
        },
    }  # fmt: skip


def predict_files(
    images: str,
    out: str | Path,
    model: str | Path | None = None,
    pixel_nm: float | None = None,
    settings: TraceSettings | None = None,
    *,
    prepare_settings: PrepareSettings | None = None,
    thickness: Thickness | None = None,
    formats: Sequence[str] = (),
    report: bool | None = None,
    views: int = 1,
) -> list[dict[str, Any]]:
    """Predict every image that `images` names and write JSON, overlays, summary.csv and more to the folder `out`.

    `pixel_nm` stands in for what the files say. `report` None writes report.html of more than one frame. Everything is
    read once before anything is written: of several files those that cannot be read (a diffraction pattern among images,
    a broken file) are left out, said on stderr and in folder.json. Returns what was written of each image. Raises
    InputError where no file can be read, for other unusable input, and for weights that cannot be read.
    """
    from train.checkpoint import load_model, model_name

    number = isinstance(pixel_nm, int | float) and not isinstance(pixel_nm, bool)
    require(pixel_nm is None or number, "pixel_nm", "be a number", repr(pixel_nm))
    require(pixel_nm is None or (np.isfinite(pixel_nm) and pixel_nm > 0), "pixel_nm", "be > 0 and finite", pixel_nm)
    formats = require_formats(formats)
    out = Path(out)
    require(not out.exists() or out.is_dir(), "out", "be a folder or not exist", out)
    paths = find_images(images)
    for path in paths:
        # NAME.json beside NAME.png may be somebody's labels.
        require(path.resolve().parent != out.resolve() and path.absolute().parent.resolve() != out.resolve(), "out",
                "be another folder than that of the images", out, "the curves would replace label files")  # fmt: skip
    frames_of, left_out = readable(paths)
    for path, frames in frames_of.items():
        require(thickness is None or pixel_nm or all(known_nm for _, known_nm in frames), "thickness_nm", "come with a pixel size",
                f"none in {path}", "write pixel_nm=…")  # fmt: skip
    names = [name for frames in frames_of.values() for name, _ in frames]
    twice = {name for name in names if names.count(name) > 1}
    require(not twice, "images", "give every frame a name of its own", ", ".join(sorted(twice)))
    taken = {Path(file).stem for file in (FOLDER_FILE, *FOLDER_FILES.values())} & set(names)
    require(not taken, "images", "have other names than the files about the folder", ", ".join(sorted(taken)))
    loaded = load_model(model, views=views)
    label = model_name(model)
    out.mkdir(parents=True, exist_ok=True)
    for about_all in (SUMMARY_FILE, FOLDER_FILE, REPORT_FILE, *FOLDER_FILES.values()):  # of other images, from an earlier command
        (out / about_all).unlink(missing_ok=True)
    predictions, fields, annotated = [], [], []
    pictures = Pictures(len(names)) if report or (report is None and len(names) > 1) else None
    bar = tqdm(total=len(names), desc="predict", unit="image", disable=len(names) < 2, file=sys.stderr)
    for reason in left_out.values():
        print(f"left out: {reason}", file=sys.stderr)
    for path in frames_of:
        for frame in read_frames(path):
            lines, prepared = find_prepared_lines(loaded, frame.image, settings, prepare_settings, frame.drawn)
            size_nm, source = (pixel_nm, "argument") if pixel_nm else (frame.pixel_nm, "file" if frame.pixel_nm else None)
            shape = frame.image.shape
            field = field_of([line.points_px for line in lines], shape, size_nm, np.random.default_rng(TEST_LINES_SEED), prepared.covered)
            record = {"name": frame.name} | prediction(path.name, shape, size_nm, label, lines, field, thickness, prepared, source)
            drawn = _write_frame(out, frame, {k: v for k, v in record.items() if k != "name"}, lines)
            for file, content in frame_files(formats, record, frame.name, frame.image, lines).items():
                (out / file).parent.mkdir(exist_ok=True)
                _write(out / file, content)
            if "coco" in formats:
                annotated.append((_without_curves(record), coco_annotations(lines, shape)))
            if pictures is not None:
                pictures.add(frame.name, drawn, record)
            predictions.append(record)
            fields.append(field)
            bar.update()
    bar.close()
    together = measured(fields, thickness, np.random.default_rng(TEST_LINES_SEED)) | {"n_images": len(fields), "left_out": left_out}
    if thickness is not None:
        together |= {"thickness_nm": thickness.nm, "thickness_sigma_nm": thickness.sigma_nm}
    _write(out / SUMMARY_FILE, _csv(predictions).encode())
    _write(out / FOLDER_FILE, json.dumps(together, indent=1).encode())
    if annotated:
        _write(out / FOLDER_FILES["coco"], json.dumps(coco(annotated)).encode())
    if pictures is not None:
        write_folder_report(out / REPORT_FILE, predictions, together, pictures)
    return predictions


def _without_curves(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("lines", "crossings")}


def _write_frame(out: Path, frame: Frame, record: dict[str, Any], lines: Sequence[TracedLine]) -> np.ndarray:
    """Write NAME.json and NAME_overlay.png; returns the overlay, RGB."""
    png = io.BytesIO()
    drawn = overlay(frame.image, lines)
    Image.fromarray(drawn).save(png, format="png", compress_level=3)
    _write(out / f"{frame.name}_overlay.png", png.getvalue())
    _write(out / f"{frame.name}.json", json.dumps(record).encode())
    return drawn


def _csv(predictions: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    limits = [f"{name}_{side}" for name in MEASURED for side in ("low", "high")]
    table.writerow(["name", "image", "pixel_nm", *SUMMARY, *limits])
    for record in predictions:
        summary = record["summary"]
        values = [record["pixel_nm"], *(summary.get(key) for key in SUMMARY)]
        values += [limit for name in MEASURED for limit in summary.get(f"{name}_interval") or (None, None)]
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
    width = config["width"]
    prepare_settings = PrepareSettings(polarity=config["polarity"], width_px=None if width in ("auto", None) else width, ink=config["ink"])
    nm, sigma_nm = config["thickness_nm"], config["thickness_sigma_nm"]
    require(nm is not None or not sigma_nm, "thickness_sigma_nm", "come with thickness_nm", sigma_nm)
    report = config["report"]
    require(report is None or isinstance(report, bool), "report", "be true, false or null", repr(report))
    predictions = predict_files(
        config["images"], config["out"], config["model"], config["pixel_nm"], settings, prepare_settings=prepare_settings,
        thickness=None if nm is None else Thickness(nm=nm, sigma_nm=0.0 if sigma_nm is None else sigma_nm),
        formats=config["formats"], report=report, views=config["views"],
    )  # fmt: skip
    count = sum(record["summary"]["n_lines"] for record in predictions)
    unknown = sum(record["pixel_nm"] is None for record in predictions)
    in_px = "" if not unknown else f"; {'lengths' if unknown == len(predictions) else f'of {unknown} of them lengths'} in px: no pixel size in the file, pixel_nm= gives one"
    print(f"{config['out']}: {counted(count, 'line')} in {counted(len(predictions), 'image')}{in_px}")


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
    with lean_monai():
        sys.exit(run_command(main, usage))
