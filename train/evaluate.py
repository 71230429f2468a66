"""`python -m train.evaluate model=RUN data=A.zarr out=metrics.json`: a network and its rivals against the truth."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from physics.errors import InputError, require
from render.cli import run_command
from train import baselines as rivals
from train.curves import TracedLine, is_closed, length_px, resample
from train.io import SUFFIXES, read_frames
from train.metrics import ImageScore, MetricSettings, Truth, score_image, summarise, truth_of
from train.predict import PATH_KEYS as PREDICT_PATH_KEYS
from train.predict import SHIPPED_WEIGHTS, trace_settings
from train.trace import TraceSettings, trace_lines

USAGE = """\
python -m train.evaluate data=A.zarr|FOLDER [model=RUN] [out=metrics.json] [baselines=true] [split=test] [limit=50]

Compares the lines a network finds with the true ones: instance F1 at 3 px, crossings resolved, false splits and
merges, completeness and correctness, length and density errors. FOLDER holds images with labelme JSON (linestrips)
beside them; where its flags say "complete": false, only recall is judged, and a polygon "roi" limits what is judged.
"""
PATH_KEYS = (*PREDICT_PATH_KEYS, "data")
SPLITS = ("train", "val", "test", "all")
TABLE = (
    ("instance F1", "instance_f1"),
    ("precision", "instance_precision"),
    ("recall", "instance_recall"),
    ("crossings", "crossings_resolved"),
    ("splits", "false_splits"),
    ("merges", "false_merges"),
    ("complete", "completeness"),
    ("correct", "correctness"),
    ("length err.", "length_error_median"),
    ("density err.", "density_error"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """An image (Y, X) and the lines in it; `roi_px` (V, 2) is the polygon outside which nothing is judged."""

    image: np.ndarray
    truth: Truth
    name: str
    roi_px: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledCurve:
    """A hand-drawn line, in the form of a label."""

    points_px: np.ndarray
    half_width_px: np.ndarray
    visible: np.ndarray


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
        image = chosen.image(i)
        yield Sample(image=image, truth=truth_of(chosen.lines(i), image.shape), name=str(chosen.index(i)))


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
        shapes = [(s["label"], s.get("shape_type", "polygon"), np.array(s["points"], dtype=np.float64)) for s in labels["shapes"]]
        flags = labels.get("flags") or {}
        complete, corner_px = bool(flags.get("complete", True)), 0.5 if flags.get("corner_origin", False) else 0.0
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{label_path} must be a labelme file, got {type(error).__name__}: {' '.join(str(error).split())}") from None
    roi, lines = None, []
    for label, kind, points in shapes:
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
            n = len(points)
            lines.append(LabelledCurve(points_px=points, half_width_px=np.full(n, 2.0), visible=np.ones(n, dtype=bool)))
    truth = truth_of(lines, frame.image.shape)
    curves, silent = truth.curves_px, truth.silent_px
    if roi is not None:
        curves, silent = (tuple(piece for c in group for piece in _pieces_within(c, roi)) for group in (curves, silent))
    truth = Truth(curves_px=curves, silent_px=silent, complete=complete)
    return Sample(image=frame.image, truth=truth, name=frame.name, roi_px=roi)


def _within_roi(lines: Sequence[TracedLine], roi_px: np.ndarray | None) -> list[TracedLine]:
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


def evaluate_dataset(
    model: str | Path | None,
    data: str | Path,
    split: str = "test",
    limit: int | None = None,
    baselines: bool = False,
    settings: TraceSettings | None = None,
    metric: MetricSettings | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Metrics of a network, by name, on a dataset or folder, with both kinds of baseline if asked for.

    Returns {"data", "split", "model", "images", "results": {decoder: metrics of `train.metrics.summarise`}}; the
    network with the tracer is first.
    """
    from train.checkpoint import load_model, predict_maps

    loaded = load_model(model if model is not None else SHIPPED_WEIGHTS)
    decoders: dict[str, Callable[..., Sequence[TracedLine]]] = {
        "network, traced": lambda image, maps: trace_lines(maps, settings),
    }
    if baselines:
        decoders["network centreline, skeleton, linked"] = lambda image, maps: rivals.centreline_linked(maps)
        decoders["ridge filter, skeleton, linked"] = lambda image, maps: rivals.ridge_linked(image)
        decoders["ridge filter, skeleton, branches"] = lambda image, maps: rivals.ridge_branches(image)
    scores: dict[str, list[ImageScore]] = {name: [] for name in decoders}
    names = []
    for sample in tqdm(samples_of(data, split, limit), desc="evaluate", unit="image", disable=not progress, file=sys.stderr):
        maps = predict_maps(loaded, sample.image)
        names.append(sample.name)
        for name, decode in decoders.items():
            lines = _within_roi(decode(sample.image, maps), sample.roi_px)
            scores[name].append(score_image(lines, sample.truth, sample.image.shape, metric))
    return {
        "data": str(Path(data).name),
        "split": split,
        "model": "default" if model is None else Path(model).name,
        "images": names,
        "results": {name: summarise(s) for name, s in scores.items()},
    }


def table_of(evaluation: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text, one row a decoder."""
    rows = []
    for name, metrics in evaluation["results"].items():
        rows.append([name, *(_cell(metrics.get(key)) for _, key in TABLE)])
    return ["decoder", *(title for title, _ in TABLE)], rows


def _cell(value: float | int | None) -> str:
    return "–" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    for row in [header, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        print("  ".join(cells))


def main(argv: list[str]) -> None:
    from render.config import compose

    config = compose("evaluate", argv, PATH_KEYS)
    require(isinstance(config["baselines"], bool), "baselines", "be true or false", config["baselines"])
    tolerance = config["tolerance_px"]
    require(isinstance(tolerance, int | float) and not isinstance(tolerance, bool), "tolerance_px", "be a number", repr(tolerance))
    require(np.isfinite(tolerance) and tolerance > 0, "tolerance_px", "be > 0 and finite", tolerance)
    limit = config["limit"]
    require(limit is None or (isinstance(limit, int) and not isinstance(limit, bool)), "limit", "be a whole number", limit)
    out = None if config["out"] is None else Path(config["out"])
    require(out is None or (not out.is_dir() and out.absolute().parent.is_dir()), "out", "be a file in a folder that exists", out)
    evaluation = evaluate_dataset(
        config["model"],
        config["data"],
        split=config["split"],
        limit=limit,
        baselines=config["baselines"],
        settings=trace_settings(config["trace"]),
        metric=MetricSettings(tolerance_px=float(tolerance)),
        progress=True,
    )
    print_table(*table_of(evaluation))
    if out is not None:
        part = out.with_name(f".{out.name}.part")
        part.write_text(json.dumps(evaluation, indent=1), encoding="utf-8")
        os.replace(part, out)


def usage() -> str:
    from render.config import describe

    return f"{USAGE}\n{describe('evaluate')}"


if __name__ == "__main__":
    sys.exit(run_command(main, usage))
