"""`python -m train.evaluate model=RUN data=A.zarr out=metrics.json`: a network and its rivals against the truth."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from physics.errors import require
from render.cli import run_command
from train import baselines as rivals
from train.curves import TracedLine
from train.metrics import ImageScore, MetricSettings, score_image, summarise
from train.predict import PATH_KEYS as PREDICT_PATH_KEYS
from train.predict import lines_in_sample, trace_settings
from train.prepared import PrepareSettings, lines_in_micrograph, prepare
from train.samples import Sample, polygon_area, read_labelme, samples_of
from train.samples import within_roi as _within_roi
from train.tables import print_table, report_markdown, table_of
from train.trace import TraceSettings

__all__ = ["Decoder", "Sample", "evaluate_dataset", "evaluate_samples", "print_table", "read_labelme", "samples_of", "table_of"]

USAGE = """\
python -m train.evaluate data=A.zarr|FOLDER [model=RUN] [out=metrics.json] [baselines=true] [split=test] [limit=50]

Compares the lines a network finds with the true ones: instance F1 at 2, 3 and 5 px, crossings resolved by angle, false
splits and merges, completeness and correctness, length and density errors, COCO AP and PQ of overlapping masks, clDice,
and what else was called a line; by overlap, contrast and density, with 95 % intervals. out=metrics.json also writes
metrics.md beside it. FOLDER holds images with labelme JSON (linestrips) beside them; where its flags say
"complete": false, only recall is judged, and a polygon "roi" limits what is judged; frames are read as train.predict
reads them: polarity, width and writing first, for the baselines too.
"""
PATH_KEYS = (*PREDICT_PATH_KEYS, "data")


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoder:
    """A way from an image to lines: `decode(sample, maps)`; `maps(sample)`, if any, is computed once for all that share it."""

    decode: Callable[[Sample, Any], Sequence[TracedLine]]
    maps: Callable[[Sample], Any] | None = None


def evaluate_samples(
    samples: Iterable[Sample],
    decoders: Mapping[str, Decoder],
    metric: MetricSettings | None = None,
    progress: str | None = None,
    total: int | None = None,
) -> tuple[list[str], dict[str, list[ImageScore]], dict[str, list[float]]]:
    """Names of the images, scores of every decoder, and wall seconds it took for each, its maps included."""
    names: list[str] = []
    scores: dict[str, list[ImageScore]] = {name: [] for name in decoders}
    seconds: dict[str, list[float]] = {name: [] for name in decoders}
    for sample in tqdm(samples, desc=progress, total=total, unit="image", disable=progress is None, file=sys.stderr):
        names.append(sample.name)
        shared: dict[Callable[[Sample], Any], tuple[Any, float]] = {}
        for name, decoder in decoders.items():
            if decoder.maps is not None and decoder.maps not in shared:
                start = time.perf_counter()
                maps = decoder.maps(sample)
                shared[decoder.maps] = maps, time.perf_counter() - start
            maps, before = shared[decoder.maps] if decoder.maps is not None else (None, 0.0)
            start = time.perf_counter()
            lines = decoder.decode(sample, maps)
            seconds[name].append(before + time.perf_counter() - start)
            lines = _within_roi(lines, sample.roi_px)
            score = score_image(lines, sample.truth, sample.image.shape, metric, full=True)
            scores[name].append(score if sample.roi_px is None else replace(score, area_px2=polygon_area(sample.roi_px)))
    return names, scores, seconds


def _as_read(sample: Sample, lines_of: Callable[[np.ndarray], Sequence[TracedLine]]) -> Sequence[TracedLine]:
    """What a baseline finds in the same dark lines of a few px that the network is shown of a micrograph."""
    if not sample.as_taken:
        return lines_of(sample.image)
    prepared = prepare(sample.image, PrepareSettings(), sample.drawn)
    return lines_in_micrograph([lines_of(read) for read in prepared.images], prepared)


def summarised(scores: Mapping[str, Sequence[ImageScore]], seconds: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Metrics of every decoder with its median wall seconds an image."""
    return {name: summarise(s) | {"seconds_per_image": round(float(np.median(seconds[name])), 4)} for name, s in scores.items()}


def evaluate_dataset(
    model: str | Path | None,
    data: str | Path,
    split: str = "test",
    limit: int | None = None,
    baselines: bool = False,
    settings: TraceSettings | None = None,
    metric: MetricSettings | None = None,
    progress: bool = False,
    views: int = 1,
) -> dict[str, Any]:
    """Metrics of a network, by name, on a dataset or folder, with both kinds of baseline if asked for.

    Returns {"data", "split", "model", "views", "images", "results": {decoder: metrics of `train.summary.summarise`}}; the
    network with the tracer is first.
    """
    from train.checkpoint import load_model, model_name, predict_maps

    loaded = load_model(model, views=views)

    decoders = {"network, traced": Decoder(decode=lambda sample, _: lines_in_sample(loaded, sample, settings))}
    if baselines:
        for name, lines_of in (
            ("network centreline, skeleton, linked", lambda image: rivals.centreline_linked(predict_maps(loaded, image))),
            ("ridge filter, skeleton, linked", rivals.ridge_linked),
            ("ridge filter, skeleton, branches", rivals.ridge_branches),
        ):
            decoders[name] = Decoder(decode=lambda sample, _, lines_of=lines_of: _as_read(sample, lines_of))
    samples = samples_of(data, split, limit)
    names, scores, seconds = evaluate_samples(samples, decoders, metric, "evaluate" if progress else None)
    return {
        "data": str(Path(data).name),
        "split": split,
        "tolerance_px": (metric or MetricSettings()).tolerance_px,
        "model": model_name(model),
        "views": views,
        "images": names,
        "results": summarised(scores, seconds),
    }


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
    require(out is None or out.suffix != ".md", "out", "not end in .md, the name of the table written beside it", out)
    evaluation = evaluate_dataset(
        config["model"],
        config["data"],
        split=config["split"],
        limit=limit,
        baselines=config["baselines"],
        settings=trace_settings(config["trace"]),
        metric=MetricSettings(tolerance_px=float(tolerance)),
        progress=True,
        views=config["views"],
    )
    print_table(*table_of(evaluation))
    if out is not None:
        write_text(out, json.dumps(evaluation, indent=1))
        write_text(out.with_suffix(".md"), report_markdown(evaluation))


def write_text(path: Path, text: str) -> None:
    """A reader never meets half a file."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def usage() -> str:
    from render.config import describe

    return f"{USAGE}\n{describe('evaluate')}"


if __name__ == "__main__":
    sys.exit(run_command(main, usage))
