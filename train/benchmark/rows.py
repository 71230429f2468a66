"""The rows of the benchmark's table: the model, its rivals, and oracles that decode the truth itself.

An oracle gets what a perfect network would draw. It says how much of an error is the decoder's, and for flat maps how much
no training can mend.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from train import baselines as rivals
from train.benchmark.index_map import index_map, lines_of_index_map
from train.evaluate import Decoder
from train.predict import find_lines
from train.samples import Sample
from train.targets import Maps, target_maps
from train.trace import TraceSettings, trace_lines

MODEL = "model, traced"
MODEL_CENTRELINE = "the model's centreline, skeleton, linked"
TRAINED = {
    "centreline": "U-Net centreline, skeleton, linked",
    "index_map": "flat index map at quarter resolution, trained",
}
RIDGE = "ridge filter, skan branches"
RIDGE_LINKED = "ridge filter, skan branches linked"
ORACLE = "oracle: perfect maps, traced"
ORACLE_CENTRELINE = "oracle: perfect centreline, skeleton, linked"
ORACLE_INDEX_MAP = "oracle: perfect index map at quarter resolution"


def trained_rivals(folder: Path | None) -> dict[str, Any]:
    """The rivals that `train.benchmark.train_baselines` left in a folder, by the names of their rows."""
    from train.benchmark.networks import load_rival

    if folder is None:
        return {}
    files = {name: folder / f"{kind}.safetensors" for kind, name in TRAINED.items()}
    return {name: load_rival(file) for name, file in files.items() if file.is_file()}


def decoders(loaded: Any, trained: Mapping[str, Any], settings: TraceSettings | None) -> dict[str, Decoder]:
    """All rows by name, those of the `trained` rivals among them."""
    from train.checkpoint import predict_maps

    targets = loaded.settings.targets

    def perfect(sample: Sample) -> Maps:
        return target_maps(sample.lines, sample.image.shape, targets)

    rows = {
        MODEL: Decoder(decode=lambda sample, _: find_lines(loaded, sample.image, settings)),
        MODEL_CENTRELINE: Decoder(
            maps=lambda sample: predict_maps(loaded, sample.image), decode=lambda _, maps: rivals.centreline_linked(maps)
        ),
    }
    for name, rival in trained.items():
        rows[name] = Decoder(decode=lambda sample, _, rival=rival: rival.lines(sample.image))
    return rows | {
        RIDGE_LINKED: Decoder(decode=lambda sample, _: rivals.ridge_linked(sample.image)),
        RIDGE: Decoder(decode=lambda sample, _: rivals.ridge_branches(sample.image)),
        ORACLE: Decoder(maps=perfect, decode=lambda _, maps: trace_lines(maps, settings)),
        ORACLE_CENTRELINE: Decoder(maps=perfect, decode=lambda _, maps: rivals.centreline_linked(maps)),
        ORACLE_INDEX_MAP: Decoder(decode=lambda sample, _: _flat(sample)),
    }


def views_of_training(loaded: Any, trained: Mapping[str, Any]) -> dict[str, int]:
    """How many views each trained row saw in the training that ended with its weights, those that it began from not counted."""
    seen = {name: rival.card.get("steps", 0) * rival.settings.batch for name, rival in trained.items()}
    return {MODEL: loaded.card.get("steps", 0) * loaded.settings.batch} | seen


def _flat(sample: Sample):
    shape = sample.image.shape
    return lines_of_index_map(index_map(sample.truth.curves_px, sample.truth.half_width_px, shape), shape)
