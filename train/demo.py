"""`make demo`: the whole path on a small set, through the commands a user has, told in demo/report.html.

Renders images, trains the shipped network a little further on them, compares it with both baselines on images held back, and
traces the lines in any micrographs given. Every step is a command of the README, and the report shows it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from physics.errors import InputError, require
from render.cli import run_command
from train.report import Page

USAGE = """\
python -m train.demo out=demo [images=FOLDER] [train_images=…] [train_seconds=…]

Renders a small set, trains briefly, traces lines in a held-back synthetic set and in the micrographs of FOLDER, and
writes pictures and report.html to the folder out. A demo that was interrupted goes on where it stopped.
"""
SHOWN = 3
KEYS = {"out": "demo", "images": "", "train_images": "288", "test_images": "24", "train_seconds": "240"}


def main(argv: list[str]) -> None:
    options = _options(argv)
    out = Path(options["out"]).absolute()
    images = options["images"]
    if images:
        images = str(Path(images).expanduser().absolute())
        _read_everything(images)
    out.mkdir(parents=True, exist_ok=True)
    steps = Steps(out)
    counts = {key: _whole(options, key) for key in ("train_images", "test_images", "train_seconds")}
    workers = min(2, os.cpu_count() or 1)
    train_set, test_set, run = out / "train.zarr", out / "test.zarr", out / "run"
    render = ["shape=[256,256]", f"workers={workers}", "shard=16", "keep_intensity=false"]
    steps.run("render", f"out={train_set}", f"n={counts['train_images']}", "seed=1", *render)
    steps.run("render", f"out={test_set}", f"n={counts['test_images']}", "seed=2", *render)
    steps.run("render.check", str(test_set))
    steps.run("train", f"data={train_set}", f"out={run}", f"max_seconds={counts['train_seconds']}",
              "init=shipped", "optimiser.learning_rate=1e-3", "validation_seconds=60")
    steps.run("train.evaluate", f"model={run}", f"data={test_set}", "split=all", "baselines=true", f"out={out / 'metrics.json'}")
    real = _trace_real(steps, out, images, run) if images else None
    write_report(out, steps, real)
    print(f"{out / 'report.html'}: {_verdict(json.loads((out / 'metrics.json').read_text()))}")


def _read_everything(images: str) -> None:
    """Raise InputError for an image or a label that cannot be read: now rather than after minutes."""
    from train.evaluate import samples_of
    from train.io import find_images, read_frames

    for path in find_images(images):
        for _ in read_frames(path):
            pass
    if _has_labels(images):
        for _ in samples_of(images):
            pass


def _has_labels(images: str) -> bool:
    from train.io import SUFFIXES

    folder = Path(images)
    return folder.is_dir() and any(p.suffix.lower() in SUFFIXES and p.with_suffix(".json").exists() for p in folder.iterdir())


class Steps:
    """Runs commands and remembers them, with the seconds each took."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.lines: list[str] = []

    def run(self, module: str, *arguments: str) -> None:
        """Run `python -m module …`. Raises InputError with the command's own message if it fails."""
        shown = [f"{Path(a).relative_to(self.out.parent)}" if a.startswith(str(self.out)) else
                 a.replace(f"{self.out.parent}{os.sep}", "") for a in arguments]  # fmt: skip
        text = f"python -m {module} {' '.join(shlex.quote(a) for a in shown)}"
        print(f"\n$ {text}", flush=True)
        start = time.perf_counter()
        code = subprocess.run([sys.executable, "-m", module, *arguments]).returncode
        if code:
            raise InputError(f"the demo must run every command, got exit code {code} from: {text}")
        self.lines.append(f"{text:<100s} # {time.perf_counter() - start:.0f} s")


def _trace_real(steps: Steps, out: Path, images: str, run: Path) -> dict[str, Any]:
    real: dict[str, Any] = {"images": images, "folders": {}, "metrics": {}}
    for name, model in (("the network trained above", [f"model={run}"]), ("the shipped weights", [])):
        folder = out / ("real_demo" if model else "real_shipped")
        shutil.rmtree(folder, ignore_errors=True)  # another folder's pictures must not show in this report
        steps.run("train.predict", f"images={images}", f"out={folder}", *model)
        real["folders"][name] = folder
        if _has_labels(images):
            path = out / f"{folder.name}_metrics.json"
            steps.run("train.evaluate", *model, f"data={images}", "baselines=true", f"out={path}")
            real["metrics"][name] = path
    return real


def write_report(out: Path, steps: Steps, real: dict[str, Any] | None) -> None:
    """Write out/report.html and its pictures from what the commands left in `out`."""
    from train.demo_pictures import (
        beam_pair,
        contact_sheet,
        front_picture,
        learning_curve,
        predictions_against_truth,
        scene_in_3d,
    )

    page = Page("gdotb: from a crystal to measured lines")
    page.text("Everything on this page was computed on this machine by the commands below.")
    page.commands(steps.lines)
    page.heading("One scene")
    picture = scene_in_3d(out / "test.zarr", out / "scene_3d.png")
    if picture is not None:
        page.picture(picture, "The foil in 3-D, with its dislocations and below it the micrograph they make.")
    page.figure(beam_pair(out / "test.zarr", out / "bf_df.png"),
                "Bright field, dark field, and the exact labels: every line has its own mask, overlaps kept; a broken "
                "line is there but leaves no contrast.")  # fmt: skip
    page.figure(front_picture(picture, out / "test.zarr", out / "run", out / "front.png"), "From the foil to measured lines.")
    page.heading("What the network was trained on")
    page.figure(contact_sheet(out / "train.zarr", out / "contact_sheet.png"), "Training images with their labels.")
    page.text("Training went on from the weights that come with the package, which have seen other synthetic images and no real one.")
    page.figure(learning_curve(out / "run", out / "learning_curve.png"), "Loss and validation score against time.")
    page.heading("Held-back synthetic images: predictions against truth")
    _metric_table(page, json.loads((out / "metrics.json").read_text()))
    page.figure(predictions_against_truth(out / "run", out / "test.zarr", SHOWN, out / "predictions.png"),
                "Held-back images: the micrograph, the true lines, the network's lines, the ridge filter's.")  # fmt: skip
    if real is not None:
        page.heading("Your micrographs")
        for name, folder in real["folders"].items():
            page.text(f"Traced by {name} (no real image was used in training):")
            if name in real["metrics"]:
                _metric_table(page, json.loads(real["metrics"][name].read_text()))
            for overlay in sorted(folder.glob("*_overlay.png")):
                page.picture(overlay, overlay.name.removesuffix("_overlay.png"))
    page.write(out / "report.html")


def _metric_table(page: Page, evaluation: dict[str, Any]) -> None:
    from train.evaluate import table_of

    scores = [metrics.get("instance_f1") for metrics in evaluation["results"].values()]
    known = [s for s in scores if s is not None]
    best = scores.index(max(known)) if known else None
    page.table(*table_of(evaluation), best=best)
    page.text(f"{len(evaluation['images'])} images; a line counts as found when 70 % of it and of its prediction lie within 3 px "
              "of each other, one to one.")  # fmt: skip


def _verdict(evaluation: dict[str, Any]) -> str:
    scores = {name: metrics["instance_f1"] for name, metrics in evaluation["results"].items()}
    return "instance F1 " + ", ".join(f"{name} {score:.3f}" for name, score in scores.items() if score is not None)


def _options(argv: Sequence[str]) -> dict[str, str]:
    options = dict(KEYS)
    for argument in argv:
        key, equals, value = argument.partition("=")
        require(bool(equals) and key in KEYS, "an argument", f"be one of {', '.join(f'{k}=…' for k in KEYS)}", argument)
        options[key] = value
    return options


def _whole(options: dict[str, str], key: str) -> int:
    text = options[key]
    require(text.isdigit() and int(text) > 0, key, "be a whole number > 0", text)
    return int(text)


if __name__ == "__main__":
    sys.exit(run_command(main, USAGE))
