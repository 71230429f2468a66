"""Micrographs as a microscopist shows them: scale bar, g arrow, zone axis, s and thickness; labels in colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from physics.beam import g_image_inv_nm
from render.micrograph import Line, Micrograph
from render.scene import Scene

# Colours that stay apart on grey and for the colour-blind (Okabe & Ito 2008), then their lighter shades.
LINE_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
                "#F6C667", "#A8DAF5", "#66CDAA", "#7FB2E5", "#FF9A5C", "#E8B8D4")  # fmt: skip
MATERIAL_TEXT = {"fe_alpha": "α-Fe", "fe_gamma": "γ-Fe", "cocrfemnni": "CoCrFeMnNi", "gaas": "GaAs", "mgo": "MgO"}


def display_range(image: np.ndarray) -> tuple[float, float]:
    """Grey levels for display: the 0.5th to the 99.5th percentile."""
    low, high = np.percentile(image, [0.5, 99.5])
    return float(low), float(max(high, low + 1e-6))


def draw_micrograph(axes: Any, image: np.ndarray, scene: Scene) -> None:
    """Draw an image (Y, X) on matplotlib `axes` with its scale bar, g arrow and diffraction condition."""
    low, high = display_range(image)
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set_axis_off()
    _scale_bar(axes, scene)
    _g_arrow(axes, scene)
    axes.set_title(condition_text(scene), fontsize=5.5, loc="left", pad=3)


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


def labelled_micrograph(micrograph: Micrograph, path: str) -> None:
    """Write a PNG with the micrograph and, beside it, the same with its labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.8), dpi=150)
    left, right = figure.subplots(1, 2)
    draw_micrograph(left, micrograph.image, micrograph.scene)
    draw_micrograph(right, micrograph.image, micrograph.scene)
    draw_labels(right, micrograph.lines, micrograph.shape)
    right.set_title(f"{len(micrograph.lines)} lines; broken: no contrast", fontsize=7, loc="left", pad=3)
    figure.tight_layout()
    figure.savefig(path)


def condition_text(scene: Scene) -> str:
    """Material, mode, g, zone axis, s, thickness and voltage in one line."""
    beam, material = scene.beam, scene.crystal.material
    return (
        f"{MATERIAL_TEXT.get(material, material.capitalize())}  {beam.image.upper()}  g = {indices_text(beam.g_hkl)}  B = [{indices_text(beam.zone_axis_uvw)}]  "
        f"s = {beam.s_inv_nm:.3g} nm⁻¹  t = {scene.foil.thickness_nm:.0f} nm  {beam.voltage_kV:.0f} kV"
    )


def indices_text(indices: tuple[int, ...]) -> str:
    """Whole indices as they are printed, a bar over what is negative."""
    return "".join(f"{abs(i)}\u0305" if i < 0 else str(i) for i in indices)


def scale_bar_nm(width_nm: float) -> float:
    """The length 1, 2 or 5 times a power of ten that is at most 0.3 of a field's width."""
    longest_nm = 0.3 * width_nm
    decade = 10 ** np.floor(np.log10(longest_nm))
    return float(max(m for m in (1, 2, 5) if m * decade <= longest_nm) * decade)


def _scale_bar(axes: Any, scene: Scene) -> None:
    rows, columns = scene.shape
    bar_nm = scale_bar_nm(columns * scene.pixel_nm)
    bar_px = bar_nm / scene.pixel_nm
    x0, y0 = 0.05 * columns, 0.95 * rows
    for colour, width in (("black", 4.5), ("white", 2.5)):
        axes.plot([x0, x0 + bar_px], [y0, y0], color=colour, lw=width, solid_capstyle="butt")
    _outlined(axes, x0 + bar_px / 2, y0 - 0.02 * rows, f"{bar_nm:g} nm", ha="center", va="bottom")


def _g_arrow(axes: Any, scene: Scene) -> None:
    rows, columns = scene.shape
    g = g_image_inv_nm(scene.crystal, scene.beam)
    along = np.array([g[0], -g[1]]) / np.hypot(g[0], g[1])  # y runs down in pixels
    start = np.array([0.88 * columns, 0.12 * rows]) - 0.06 * min(rows, columns) * along
    end = start + 0.12 * min(rows, columns) * along
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=3.5, foreground="black")]
    style = {"arrowstyle": "-|>", "color": "white", "lw": 1.5, "path_effects": outline, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)
    beside = (start + end) / 2 + 0.05 * min(rows, columns) * np.array([-along[1], along[0]])
    _outlined(axes, *beside, "g", ha="center", va="center")


def _outlined(axes: Any, x: float, y: float, text: str, **where: str) -> None:
    from matplotlib.patheffects import withStroke

    axes.text(x, y, text, color="white", fontsize=7, path_effects=[withStroke(linewidth=1.8, foreground="black")], **where)


def _rgb(colour: str) -> tuple[float, float, float]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
