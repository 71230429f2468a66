"""report.html and the same as Markdown, with the numbers beside them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from train.report import Page
from train.study.pictures import EXAMPLES, effect_plot, example_frames, heat_map, learning_curves
from train.study.results import MEASURE_TEXT, results_of
from train.tables import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from train.study.__main__ import Work

LIMITS = ("An interval adds the spread of the seeds (new training images and new weights; Student's t) and that of the test images "
          "(bootstrap, the same images for every network). Frames of one video are not independent, so that for them it is too narrow. "
          "As many effects as there are here are not corrected for their number. Effects are those of one small network under one budget, traced with one set of thresholds.")  # fmt: skip


def write_report(out: Path, work: Work) -> dict[str, Any]:
    """Write report.html, report.md, study.json, matrix.csv and the pictures into `out`; what they tell, as `results_of`."""
    from train.evaluate import write_text

    results = results_of(work)
    measure = MEASURE_TEXT[results["measure"]]
    own = len(results["conditions"])
    # Where only some lines are labelled completeness takes the measure's place.
    tested = [name if of == results["measure"] else f"{name} ({MEASURE_TEXT[of]})" for name, of in zip(results["tests"], results["measures"])]
    of_all = measure if tested == results["tests"] else f"{measure} or what is named"
    figures: list[tuple[str, Figure, str]] = [(
        "matrix", heat_map(results["matrix"], results["conditions"], tested, "every network on every test set", of_all),
        f"{measure[0].upper()}{measure[1:]}, mean over {len(results['seeds'])} seeds: a row is what was trained on, a column what was tested on.",
    )]  # fmt: skip
    if len(work.study.factors) > 1:
        for name, of_factor in results["marginals"].items():
            figures.append((f"matrix_{name}", heat_map(of_factor["matrix"], of_factor["levels"], of_factor["levels"], name, measure),
                            f"{name}: the same, mean over the levels of the other factors."))  # fmt: skip
    figures.append(("effects", effect_plot(results["effects"], of_all), "Effect of training at a level instead of at the first one, 95 % intervals; full: 0 is left out."))
    runs = [(condition, [seed[0].model for seed in of_condition]) for condition, of_condition in zip(results["conditions"], work.scores)]
    figures.append(("learning", learning_curves(runs), "Training loss; losses of different images cannot be compared, their shape can."))
    figures.append(("examples", example_frames(_frames(work, results)), "One test frame of each condition's own, and what its network of the first seed found."))
    if len(results["tests"]) > own:
        figures.append(("real", example_frames(_frames(work, results, own)), "A real frame, and what each condition's network of the first seed found."))
    pictures = {name: _png(figure) for name, figure, _ in figures}
    for name, png in pictures.items():
        _write(out / f"{name}.png", png)

    page = Page(f"{results['study']}: {results['title']}")
    header, rows = _table(results)
    budget = _budget(results)
    page.text(budget)
    page.heading("What was found")
    for sentence in results["sentences"]:
        page.text(sentence)
    page.text(LIMITS)
    page.heading("Numbers")
    for name, _, caption in figures:
        page.picture(out / f"{name}.png", caption)
    page.table(header, rows)
    page.write(out / "report.html")
    markdown = [f"# {results['study']}: {results['title']}\n", budget + "\n", "## What was found\n", *(f"- {s}" for s in results["sentences"]), "",
                LIMITS + "\n", "## Numbers\n", f"{measure[0].upper()}{measure[1:]}, mean over the seeds:\n",
                markdown_table(["trained on", *tested], _matrix_rows(results)), markdown_table(header, rows),
                *(f"![{caption}]({name}.png)\n" for name, _, caption in figures)]  # fmt: skip
    write_text(out / "report.md", "\n".join(markdown))
    table = io.StringIO(newline="")
    csv.writer(table, lineterminator="\n").writerows([["trained on", *results["tests"]], *_matrix_rows(results, "")])
    _write(out / "matrix.csv", table.getvalue().encode())
    write_text(out / "study.json", json.dumps({key: value for key, value in results.items() if key != "examples"}, indent=1))
    return results


def _budget(results: dict[str, Any]) -> str:
    images, budget = results["images"], {k: v for k, v in results["budget"].items() if v is not None}
    real = f", and {images['real']} real frames" if images["real"] else ""
    return (f"{len(results['conditions'])} conditions, {len(results['seeds'])} seeds each, {images['train']} training images a network; "
            f"the same budget for all: {', '.join(f'{k} {v:g}' for k, v in budget.items())}. Judged on {images['test']} images of each condition{real}.")  # fmt: skip


def _table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    header = ["trained at", "instead of", "tested on", "measure", "difference", "95 % interval", "of it seeds", "of it images", "seeds"]
    rows = []
    for e in results["effects"]:
        low, high = e["interval"]
        rows.append([f"{e['factor']}={e['level']}", e["reference"], e["on"], MEASURE_TEXT[e["measure"]], _signed(e["difference"]),
                     f"{_signed(low)} to {_signed(high)}", "–" if e["half_from_seeds"] is None else f"±{e['half_from_seeds']:.3f}",
                     "–" if e["half_from_images"] is None else f"±{e['half_from_images']:.3f}", str(e["seeds"])])  # fmt: skip
    return header, rows


def _matrix_rows(results: dict[str, Any], nothing: str = "–") -> list[list[str]]:
    return [[name, *(nothing if v is None else f"{v:.4f}" for v in row)] for name, row in zip(results["conditions"], results["matrix"])]


def _frames(work: Work, results: dict[str, Any], test: int | None = None) -> list[tuple[str, np.ndarray, dict[str, Any]]]:
    """(condition, image (Y, X), example) of each condition's first network: on its own test set, or on `test`."""
    from train.samples import samples_of

    frames = []
    for c, name in enumerate(results["conditions"][:EXAMPLES]):
        t = c if test is None else test
        sample = next(iter(samples_of(work.scores[c][0][t].data, "all")))
        frames.append((name, sample.image, results["examples"][c][t]))
    return frames


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    from train.checkpoint import replace_file

    replace_file(path, content)
