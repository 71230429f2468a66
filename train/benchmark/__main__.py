"""`python -m train.benchmark model=RUN out=DIR`: any model on the fixed test splits, beside rivals and oracles."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from physics.errors import require
from render.cli import run_command

USAGE = """\
python -m train.benchmark out=DIR [model=RUN] [baselines=DIR] [frames=100] [splits=[forest,sparse]] [data=data/benchmark-v3]

Renders the test splits of this version (sparse, pileup, forest, weakbeam, network; 100 frames each) where they are not
there yet, measures the model, ridge filters, trained rivals and oracle decoders on them, and writes DIR/benchmark.json and
DIR/benchmark.md. An interrupted command goes on where it stopped rendering. Split network needs the network itself:
network_file=rs1417.data, or GDOTB_REAL_DATA naming a folder with ddd/ParaDiS/rs1417.data; without it is left out.

  python -m train.benchmark.train_baselines data=A.zarr out=rivals    # the learned rivals, 30 minutes each
  python -m train.benchmark model=RUN baselines=rivals out=DIR
  python -m train.benchmark model=RUN out=DIR frames=10               # a quick look
"""
PATH_KEYS = ("model", "out", "data", "baselines", "network_file")
SPLITS_MESSAGE = "be a list of some of"


def main(argv: list[str]) -> None:
    from render.config import compose

    config = compose("benchmark", argv, PATH_KEYS)
    for key, least in (("frames", 1), ("workers", 0)):
        value = config[key]
        require(isinstance(value, int) and not isinstance(value, bool) and value >= least, key, f"be a whole number >= {least}", value)
    for key in ("frozen", "only_render"):
        require(isinstance(config[key], bool), key, "be true or false", config[key])
    from train.benchmark.report import table_of, verdict
    from train.benchmark.splits import FRAMES, VERSION, load_split, render_split
    from train.checkpoint import model_name
    from train.predict import trace_settings
    from train.tables import print_table

    require(config["frames"] <= FRAMES or not config["frozen"], "frames", f"be <= {FRAMES} of a frozen version", config["frames"])
    settings = trace_settings(config["trace"])
    out = Path(config["out"])
    require(not out.exists() or out.is_dir(), "out", "be a folder or not exist", out)
    baselines = None if config["baselines"] is None else Path(config["baselines"])
    require(baselines is None or baselines.is_dir(), "baselines", "be a folder", baselines)
    folder = Path(config["data"] or f"data/benchmark-v{VERSION}")
    chosen = chosen_splits(config)
    rows, seen = (None, {}) if config["only_render"] else _rows(config["model"], config["views"], baselines, settings)
    splits = {}
    for name, network_file in chosen:
        print(f"{name}: {folder}", file=sys.stderr)
        splits[name] = render_split(load_split(name, network_file), folder, config["frames"], config["workers"], config["frozen"])
    left_out = _left_out(config, chosen)
    if rows is None:
        print(f"{folder}: {', '.join(f'{name} {len(dataset)}' for name, dataset in splits.items())}")
        for name, reason in left_out.items():
            print(f"left out: {name}: {reason}")
        return
    benchmark = measure(splits, rows, model_name(config["model"]), config["frozen"], left_out)
    benchmark["views"], benchmark["views_of_training"] = config["views"], seen
    out.mkdir(parents=True, exist_ok=True)
    _write(out, benchmark)
    print_table(*table_of(benchmark))
    for line in verdict(benchmark):
        print(line)


def chosen_splits(config: dict[str, Any]) -> list[tuple[str, Path | None]]:
    """Splits asked for that can be rendered, with the network file of the one that needs it."""
    from train.benchmark.splits import NETWORK_FILE, NETWORK_SPLIT, SPLITS

    names = config["splits"]
    known = isinstance(names, list) and bool(names) and all(name in SPLITS for name in names)
    require(known, "splits", f"{SPLITS_MESSAGE} {', '.join(SPLITS)}", names)
    given, real = config["network_file"], os.environ.get("GDOTB_REAL_DATA")
    file = Path(given) if given is not None else Path(real) / NETWORK_FILE if real else None
    require(given is None or file.is_file(), "network_file", "be a ParaDiS .data file", given)
    there = file is not None and file.is_file()
    chosen = [(name, file if name == NETWORK_SPLIT else None) for name in SPLITS if name in names and (name != NETWORK_SPLIT or there)]
    require(bool(chosen), "network_file", "be given for split network alone", "nothing")
    return chosen


def _left_out(config: dict[str, Any], chosen: list[tuple[str, Path | None]]) -> dict[str, str]:
    from train.benchmark.rows import TRAINED
    from train.benchmark.splits import NETWORK_SPLIT

    out = {}
    if NETWORK_SPLIT in config["splits"] and NETWORK_SPLIT not in dict(chosen):
        out["split network"] = "no network: network_file=rs1417.data, or GDOTB_REAL_DATA"
    for kind, name in TRAINED.items():
        if config["baselines"] is None or not (Path(config["baselines"]) / f"{kind}.safetensors").is_file():
            out[name] = "not trained: python -m train.benchmark.train_baselines, then baselines=DIR"
    return out


def _rows(model: str | None, views: int, baselines: Path | None, settings: Any) -> tuple[dict[str, Any], dict[str, int]]:
    from train.benchmark.rows import decoders, trained_rivals, views_of_training
    from train.checkpoint import load_model

    loaded, rivals = load_model(model, views=views), trained_rivals(baselines)
    return decoders(loaded, rivals, settings), views_of_training(loaded, rivals)


def measure(splits: dict[str, Any], rows: dict[str, Any], model: str, frozen: bool, left_out: dict[str, str]) -> dict[str, Any]:
    """Every row on every split (datasets by name), and what follows from it all."""
    from train.benchmark.report import current_version, overall
    from train.evaluate import evaluate_samples, summarised
    from train.samples import sample_of

    images, results, scores = {}, {}, {}
    for name, dataset in splits.items():
        samples = (sample_of(dataset, i) for i in range(len(dataset)))
        images[name], scores[name], seconds = evaluate_samples(samples, rows, progress=name, total=len(dataset))
        results[name] = summarised(scores[name], seconds)
    return {
        "version": current_version(frozen), "model": model, "splits": list(splits), "images": images,
        "left_out": left_out, "overall": overall(scores), "results": results,
    }  # fmt: skip


def _write(out: Path, benchmark: dict[str, Any]) -> None:
    from train.benchmark.report import markdown
    from train.evaluate import write_text

    write_text(out / "benchmark.json", json.dumps(benchmark, indent=1))
    write_text(out / "benchmark.md", markdown(benchmark))


def usage() -> str:
    from render.config import describe

    return f"{USAGE}\n{describe('benchmark')}"


if __name__ == "__main__":
    sys.exit(run_command(main, usage))
