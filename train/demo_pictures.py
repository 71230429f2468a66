"""The pictures of the demo's report; each function returns a matplotlib Figure and writes it as a PNG too."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from physics.errors import InputError
from render import open_dataset, simulate
from render.micrograph import Micrograph
from render.picture import draw_distractors, draw_labels, draw_lines, draw_micrograph
from train.baselines import ridge_linked
from train.loop import load_model
from train.predict import find_lines

PANEL_IN = 3.2


def liveliest(dataset: Any, among: int = 16) -> Micrograph:
    """The micrograph with the most lines of visible contrast among the first few."""
    return max((dataset[i] for i in range(min(among, len(dataset)))), key=lambda m: sum(l.visible.mean() > 0.5 for l in m.lines))


def scene_in_3d(dataset: Path, path: Path) -> Path | None:
    """A picture of one scene by Blender, or None where bpy is not installed."""
    from render.view import picture

    micrograph = liveliest(open_dataset(dataset))
    try:
        picture(micrograph.scene, path, image=micrograph.image)
    except InputError:
        return None
    return path


def beam_pair(dataset: Path, path: Path) -> Figure:
    """The same scene in bright and in dark field, and its labels."""
    first = liveliest(open_dataset(dataset))
    figure, axes = _panels(1, 3)
    for panel, image in zip(axes[0], ("bf", "df")):
        beam = dataclasses.replace(first.scene.beam, image=image)
        micrograph = simulate(first.scene.replace(beam=beam))
        draw_micrograph(panel, micrograph.image, micrograph.scene)
    draw_micrograph(axes[0, 2], first.image, first.scene)
    draw_labels(axes[0, 2], first.lines, first.shape)
    return _saved(figure, path)


def front_picture(scene_picture: Path | None, dataset: Path, run: Path, path: Path) -> Figure:
    """One image told from left to right: the foil, its micrograph, the exact labels, what the network traces."""
    return one_image_told(scene_picture, liveliest(open_dataset(dataset)), run, path)


def one_image_told(scene_picture: Path | None, micrograph: Micrograph, run: Path | str, path: Path) -> Figure:
    """As `front_picture`, of a micrograph of one's own; `run` is what `load_model` takes."""
    figure, axes = _panels(1, 4)
    if scene_picture is not None:
        axes[0, 0].imshow(np.asarray(Image.open(scene_picture)))
        axes[0, 0].set_title("foil and lines, by Blender", fontsize=7, loc="left", pad=3)
    draw_micrograph(axes[0, 1], micrograph.image, micrograph.scene, wrap=True)
    draw_micrograph(axes[0, 2], micrograph.image, micrograph.scene, wrap=True)
    draw_distractors(axes[0, 2], micrograph.distractors, micrograph.shape)
    draw_labels(axes[0, 2], micrograph.lines, micrograph.shape)
    axes[0, 2].set_title(f"labels: {len(micrograph.lines)} lines (broken: no contrast)", fontsize=7, loc="left", pad=3)
    found = find_lines(load_model(run), micrograph.image)
    _lines_panel(axes[0, 3], micrograph, [line.points_px for line in found], f"network, traced: {len(found)} lines", wrap=True)
    return _saved(figure, path)


def contact_sheet(dataset: Path, path: Path, rows: int = 2, columns: int = 4) -> Figure:
    """Images of a dataset with their labels below."""
    opened = open_dataset(dataset)
    figure, axes = _panels(2 * rows, columns)
    for n in range(min(rows * columns, len(opened))):
        micrograph = opened[n]
        above, below = axes[2 * (n // columns), n % columns], axes[2 * (n // columns) + 1, n % columns]
        for panel in (above, below):
            draw_micrograph(panel, micrograph.image, micrograph.scene)
        draw_distractors(below, micrograph.distractors, micrograph.shape)
        draw_labels(below, micrograph.lines, micrograph.shape)
        below.set_title(f"{len(micrograph.lines)} lines", fontsize=7, loc="left", pad=3)
    return _saved(figure, path)


def learning_curve(run: Path, path: Path) -> Figure:
    """Training loss, validation loss and validation score of a run against seconds."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines() if line.strip()]
    figure = Figure(figsize=(8, 3.2))
    left, right = figure.subplots(1, 2)
    for panel, keys in ((left, ("loss", "val_loss")), (right, ("val_instance_f1",))):
        for key in keys:
            points = [(r["seconds"], r[key]) for r in records if r.get(key) is not None]
            if points:
                panel.plot(*zip(*points), marker="o" if len(points) < 20 else None, ms=3, label=key.replace("_", " "))
        panel.set_xlabel("training time (s)")
        panel.legend(frameon=False)
    right.set_ylim(0, 1)
    return _saved(figure, path)


def predictions_against_truth(run: Path, dataset: Path, count: int, path: Path) -> Figure:
    """Held-back images, one row each: micrograph, truth, the network's lines, the ridge filter's lines."""
    opened, model = open_dataset(dataset), load_model(run)
    figure, axes = _panels(count, 4)
    for row, n in zip(axes, np.linspace(0, len(opened) - 1, count).astype(int)):
        micrograph = opened[int(n)]
        draw_micrograph(row[0], micrograph.image, micrograph.scene)
        truth = [line.points_px for line in micrograph.lines]
        unseen = [line.visible.mean() < 0.5 for line in micrograph.lines]
        _lines_panel(row[1], micrograph, truth, f"truth: {len(truth)} lines (broken: no contrast)", unseen)
        for panel, name, lines in ((row[2], "network, traced", find_lines(model, micrograph.image)),
                                   (row[3], "ridge filter, skeleton", ridge_linked(micrograph.image))):  # fmt: skip
            _lines_panel(panel, micrograph, [line.points_px for line in lines], f"{name}: {len(lines)} lines")
    return _saved(figure, path)


def _lines_panel(
    axes: Any, micrograph: Micrograph, curves: list[np.ndarray], title: str, dashed: list[bool] | None = None, wrap: bool = False
) -> None:
    draw_micrograph(axes, micrograph.image, micrograph.scene, faint=True, wrap=wrap)
    draw_lines(axes, curves, dashed=dashed or [])
    axes.set_xlim(-0.5, micrograph.shape[1] - 0.5)
    axes.set_ylim(micrograph.shape[0] - 0.5, -0.5)
    axes.set_title(title, fontsize=7, loc="left", pad=3)


def _panels(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(PANEL_IN * columns, (PANEL_IN + 0.35) * rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel in axes.ravel():
        panel.set_axis_off()
    return figure, axes


def _saved(figure: Figure, path: Path) -> Figure:
    figure.tight_layout(pad=0.5)
    figure.savefig(path, dpi=110, bbox_inches="tight", pad_inches=0.05)  # whole captions, of two lines as of one
    return figure
