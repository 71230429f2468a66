"""The page of a tableau: frames of one thickness, a row a reflection, a column an excitation error."""

from __future__ import annotations

from typing import Any

import numpy as np

from physics.gdotb import _fraction
from render.caption import MATERIAL_TEXT, draw_caption, indices_text
from render.tableau import Frame
from render.tableau_conditions import StraightLine

PANEL_IN, BESIDE_IN, BELOW_IN, TOP_IN, BOTTOM_IN = 2.6, 1.75, 0.5, 0.52, 0.56
WHITE = 2.0  # times the background, which then is the middle grey
SHOWN_PERCENT = 99.5  # of dark fields, where lines are far brighter than that


def page(frames: list[Frame], line: StraightLine) -> Any:
    """A matplotlib Figure of the frames of one thickness, which run over g, then s."""
    from matplotlib.figure import Figure

    reflections = list(dict.fromkeys((f.scene.beam.g_hkl, f.scene.beam.zone_axis_uvw) for f in frames))
    columns = len(frames) // len(reflections)
    shape = frames[0].scene.shape
    high_in = PANEL_IN * shape[0] / shape[1]
    size = BESIDE_IN + columns * (PANEL_IN + 0.12), TOP_IN + len(reflections) * (high_in + BELOW_IN) + BOTTOM_IN
    figure = Figure(figsize=size, dpi=150)
    for k, frame in enumerate(frames):
        row, column = divmod(k, columns)
        left, top = BESIDE_IN + column * (PANEL_IN + 0.12), TOP_IN + row * (high_in + BELOW_IN)
        axes = figure.add_axes((left / size[0], 1 - (top + high_in) / size[1], PANEL_IN / size[0], high_in / size[1]))
        axes.imshow(frame.ratio, cmap="gray", vmin=0, vmax=white_of(frame), interpolation="bilinear")
        axes.set_axis_off()
        draw_caption(axes, frame.scene, size=6, wrap=True)
        axes.text(1, -0.015, label_text(frame), transform=axes.transAxes, fontsize=6, weight="bold", va="top", ha="right")
        axes.set_xlim(-0.5, shape[1] - 0.5)
        axes.set_ylim(shape[0] - 0.5, -0.5)
        if column == 0:
            figure.text(0.1 / size[0], 1 - (top + 0.02) / size[1], beside_text(frame), fontsize=8, va="top", linespacing=1.45)
    figure.text(0.1 / size[0], 1 - 0.1 / size[1], title_text(frames[0], line), fontsize=9, weight="bold", va="top")
    dark = "" if frames[0].scene.beam.image == "bf" else f", or the {SHOWN_PERCENT:g}th percentile of the frame where that is more"
    figure.text(0.1 / size[0], 0.07 / size[1], f"Grey: intensity over that of the foil without the line, black 0, white {WHITE:g}{dark}.\n"
                f"Right below each frame: the label's strongest contrast,\nand the share of the line where it exceeds {frames[0].scene.visible_contrast:g}."
                + ("\nOf what the faces add labels hold the half-spaces at the two outcrops." if frames[0].scene.surfaces else ""),
                fontsize=6, va="bottom")  # fmt: skip
    return figure


def white_of(frame: Frame) -> float:
    """The ratio shown in white."""
    return WHITE if frame.scene.beam.image == "bf" else max(WHITE, float(np.percentile(frame.ratio, SHOWN_PERCENT)))


def title_text(frame: Frame, line: StraightLine) -> str:
    """Material, b, line and foil."""
    crystal = frame.scene.crystal
    b_nm = crystal.direction_nm(line.burgers_uvw)
    angle = float(np.degrees(np.arccos(np.clip(b_nm @ line.sense_crystal / np.linalg.norm(b_nm), -1, 1))))
    angle = min(angle, 180 - angle)
    kind = "screw" if angle < 0.05 else "edge" if angle > 89.95 else f"{angle:.0f}° mixed"
    normal = crystal.direction_nm(frame.scene.foil.normal_uvw)
    inclined = float(np.degrees(np.arcsin(min(1.0, abs(normal @ line.sense_crystal) / np.linalg.norm(normal)))))
    plane = f" on ({indices_text(line.plane_hkl)})" if any(line.plane_hkl) else ""
    faces = "relaxed faces" if frame.scene.surfaces else "endless crystal"
    return (f"{MATERIAL_TEXT.get(crystal.material, crystal.material.capitalize())}: {kind}, b = {_fraction(np.array(line.burgers_uvw))}{plane}, inclined {inclined:.0f}° to the foil\n"
            f"{frame.scene.foil.thickness_nm:g} nm, {frame.scene.beam.image.upper()}, {frame.scene.elasticity}, {faces}")  # fmt: skip


def beside_text(frame: Frame) -> str:
    """What the criterion says, for the row of a reflection."""
    told, beam = frame.predicted, frame.scene.beam
    return (f"g = {indices_text(beam.g_hkl)}\nB = [{indices_text(beam.zone_axis_uvw)}], tilted {frame.tilt_deg:.0f}°\n"
            f"g·b = {told.g_dot_b:.3g}\ng·bₑ = {told.g_dot_b_edge:.2f}\ng·(b × u) = {told.g_dot_b_cross_u:.2f}\nrule: {told.rule}")  # fmt: skip


def label_text(frame: Frame) -> str:
    if frame.contrast is None:
        return "not in the frame"
    strongest = f"{frame.contrast:+.2f}" if abs(frame.contrast) >= 0.005 else "0.00"
    return f"{strongest}, {'invisible' if frame.visible_share == 0 else f'visible {frame.visible_share:.0%}'}"
