"""Pictures of a study: heat maps, effects, learning curves, an example frame of each network."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

NAME_CHARACTERS = 26
EXAMPLES = 12  # networks shown


def heat_map(matrix: Sequence[Sequence[float | None]], rows: Sequence[str], columns: Sequence[str], title: str, measure: str) -> Figure:
    """Trained on (rows) against tested on (columns), one number a cell."""
    values = np.array([[np.nan if v is None else v for v in row] for row in matrix], dtype=float)
    figure = Figure(figsize=(2.6 + 0.85 * len(columns), 1.9 + 0.5 * len(rows)), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if np.isfinite(values).any() else (0.0, 1.0)
    shown = axes.imshow(values, cmap="cividis", vmin=low, vmax=max(high, low + 1e-6), aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        bright = np.isfinite(value) and value > (low + high) / 2
        axes.text(column, row, "–" if not np.isfinite(value) else f"{value:.3f}", ha="center", va="center", fontsize=8, color="black" if bright else "white")
    axes.set_xticks(range(len(columns)), [_wrapped(name) for name in columns], fontsize=7, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), [_wrapped(name) for name in rows], fontsize=7)
    axes.set_xlabel("tested on", fontsize=8)
    axes.set_ylabel("trained on", fontsize=8)
    axes.set_title(title, fontsize=9, loc="left")
    figure.colorbar(shown, ax=axes, label=measure, shrink=0.9)
    return figure


def effect_plot(effects: Sequence[dict[str, Any]], measure: str) -> Figure:
    """Every effect with its interval; full circles where it leaves out 0."""
    known = [effect for effect in effects if effect["difference"] is not None]
    figure = Figure(figsize=(8, 0.9 + 0.38 * max(1, len(known))), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for place, effect in enumerate(known[::-1]):
        low, high = effect["interval"]
        axes.plot([low, high], [place, place], color="#0072B2", lw=2)
        axes.plot(effect["difference"], place, "o", color="#0072B2", mfc="#0072B2" if effect["shown"] else "white")
    axes.set_yticks(range(len(known)), [f"{e['factor']}: {e['level']} − {e['reference']}, on {e['on']}" for e in known[::-1]], fontsize=7)
    axes.axvline(0, color="0.4", lw=0.8)
    axes.set_xlabel(f"difference in {measure}, 95 % interval", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    return figure


def learning_curves(runs: Sequence[tuple[str, Sequence[Path]]]) -> Figure:
    """Training loss against the step, a colour a condition, a line a seed."""
    from train.checkpoint import read_metrics

    figure = Figure(figsize=(8, 3.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    colours = [f"C{k % 10}" for k in range(len(runs))]
    for (name, seeds), colour in zip(runs, colours):
        for k, run in enumerate(seeds):
            records = [record for record in read_metrics(run) if "loss" in record]
            axes.plot([r["step"] for r in records], [r["loss"] for r in records], color=colour, lw=1, alpha=0.8, label=name if k == 0 else None)
    axes.set_xlabel("step", fontsize=8)
    axes.set_ylabel("training loss", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=6, ncols=1 + len(runs) // 8, frameon=False)
    return figure


def example_frames(frames: Sequence[tuple[str, np.ndarray, dict[str, Any]]], columns: int = 2) -> Figure:
    """Frames with the true lines (left) and those that a network found (right), `columns` pairs beside each other."""
    from train.overlay import overlay

    rows = -(-len(frames) // columns)
    tallest = max((image.shape[0] / image.shape[1] for _, image, _ in frames), default=1.0)
    figure = Figure(figsize=(4.6 * columns, (0.35 + 2.2 * tallest) * rows), dpi=110, layout="constrained")
    panels = figure.subplots(rows, 2 * columns, squeeze=False)
    for axes in panels.ravel():
        axes.set_axis_off()
    for n, (name, image, example) in enumerate(frames):
        row, column = divmod(n, columns)
        for side, (curves, told) in enumerate(((example["true_px"], "true"), (example["found_px"], "found"))):
            axes = panels[row, 2 * column + side]
            axes.imshow(overlay(image, [np.array(curve) for curve in curves], smallest_px=384))
            axes.set_title(f"{_wrapped(name) + chr(10) if side == 0 else chr(10)}{told}: {len(curves)}", fontsize=6, loc="left", pad=2)
    return figure


def _wrapped(name: str) -> str:
    return textwrap.fill(name.replace(", ", ",\n"), NAME_CHARACTERS, replace_whitespace=False)
