"""Micrographs with their captions, and their labels over them: lines in colour, what only looks like one in white."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from render.caption import draw_caption
from render.cli import counted
from render.micrograph import Distractor, Line, Micrograph
from render.scene import Scene

# Colours that stay apart on grey and for the colour-blind (Okabe & Ito 2008), then their lighter shades.
LINE_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
                "#F6C667", "#A8DAF5", "#66CDAA", "#7FB2E5", "#FF9A5C", "#E8B8D4")  # fmt: skip


def display_range(image: np.ndarray) -> tuple[float, float]:
    """Grey levels for display: the 0.5th to the 99.5th percentile."""
    low, high = np.percentile(image, [0.5, 99.5])
    return float(low), float(max(high, low + 1e-6))


def draw_micrograph(axes: Any, image: np.ndarray, scene: Scene, *, faint: bool = False, size: float = 5.5, wrap: bool = False) -> None:
    """Draw an image (Y, X) on matplotlib `axes` with its caption (`render.caption`); `faint` leaves room for lines over it."""
    low, high = display_range(image)
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest", alpha=0.6 if faint else 1.0)
    axes.set_axis_off()
    draw_caption(axes, scene, size, wrap)
    axes.set_xlim(-0.5, image.shape[1] - 0.5)
    axes.set_ylim(image.shape[0] - 0.5, -0.5)


def draw_lines(axes: Any, curves_px: Sequence[np.ndarray], *, width: float = 1.2, dashed: Sequence[bool] = ()) -> None:
    """Draw curves (K, 2), each in a colour of its own; those marked `dashed` are broken."""
    for i, curve in enumerate(curves_px):
        style = (0, (2, 2)) if len(dashed) and dashed[i] else "solid"
        axes.plot(curve[:, 0], curve[:, 1], color=LINE_COLOURS[i % len(LINE_COLOURS)], lw=width, ls=style)


def draw_labels(axes: Any, lines: Sequence[Line], shape: tuple[int, int]) -> None:
    """Draw the masks of `lines`, visible ones filled, with the curves on top; a line that leaves no contrast is broken."""
    overlay = np.zeros((*shape, 4))
    for i, line in enumerate(lines):
        if not line.visible.any():
            continue
        colour = np.array(_rgb(LINE_COLOURS[i % len(LINE_COLOURS)]))
        mask = line.mask(shape)
        overlay[mask, :3] = np.where(overlay[mask, 3:] > 0, (overlay[mask, :3] + colour) / 2, colour)
        overlay[mask, 3] = np.minimum(overlay[mask, 3] + 0.35, 0.8)
    axes.imshow(overlay, interpolation="nearest")
    draw_lines(axes, [line.points_px for line in lines], width=0.8, dashed=[not line.visible.any() for line in lines])
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(shape[0] - 0.5, -0.5)


def draw_distractors(axes: Any, distractors: Sequence[Distractor], shape: tuple[int, int]) -> None:
    """Draw what is no dislocation in white: curves dotted, areas hatched within a thin outline."""
    from matplotlib import rc_context

    for distractor in distractors:
        if distractor.mask is None:
            axes.plot(*distractor.points_px.T, color="white", lw=0.8, ls=(0, (1, 1.5)))
            continue
        # Whole frames and one-pixel specks have no outline that could be seen.
        if distractor.mask.all():
            continue
        level = np.pad(distractor.mask.astype(float), 1)
        x, y = np.arange(-1, shape[1] + 1), np.arange(-1, shape[0] + 1)
        with rc_context({"hatch.linewidth": 0.35, "hatch.color": "white"}):
            axes.contourf(x, y, level, levels=[0.5, 1.5], colors="none", hatches=["////////"])
        axes.contour(x, y, level, levels=[0.5], colors="white", linewidths=0.5)
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(shape[0] - 0.5, -0.5)


def labelled_micrograph(micrograph: Micrograph, path: str) -> None:
    """Write a PNG with the micrograph and, beside it, the same with its labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.8), dpi=150)
    left, right = figure.subplots(1, 2)
    draw_micrograph(left, micrograph.image, micrograph.scene)
    draw_micrograph(right, micrograph.image, micrograph.scene)
    draw_distractors(right, micrograph.distractors, micrograph.shape)
    draw_labels(right, micrograph.lines, micrograph.shape)
    right.set_title(f"{counted(len(micrograph.lines), 'line')} (broken: no contrast); white: no dislocations", fontsize=7, loc="left", pad=3)
    figure.tight_layout()
    figure.savefig(path)


def _rgb(colour: str) -> tuple[float, float, float]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
