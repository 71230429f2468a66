"""What no micrograph is shown without: scale bar, g arrow, zone axis, s and thickness."""

from __future__ import annotations

from typing import Any

import numpy as np

from physics.beam import g_image_inv_nm
from physics.electron import wavelength_nm
from render.camera import scale_bar_nm
from render.scene import Scene

MATERIAL_TEXT = {"fe_alpha": "α-Fe", "fe_gamma": "γ-Fe", "cocrfemnni": "CoCrFeMnNi", "gaas": "GaAs", "mgo": "MgO"}
LONGEST_BAR = 0.3  # of the width
WEAK_BEAM_FROM = 1.8  # in the notation (g, ng), from which n is told


def draw_caption(axes: Any, scene: Scene, size: float = 5.5, wrap: bool = False) -> None:
    """Draw on matplotlib `axes` that show an image of `scene` its scale bar and g arrow, and its condition below the frame.

    `size` is that of the condition's letters in points; `wrap` breaks it into two lines, for narrow panels.
    """
    _scale_bar(axes, scene, size + 1.5)
    if not on_files(scene):
        _g_arrow(axes, scene, size + 1.5)
    text = condition_text(scene)
    text = text.replace("  s =", "\ns =") if wrap else text
    axes.text(0, -0.015, text, transform=axes.transAxes, fontsize=size, va="top", ha="left")


def condition_text(scene: Scene) -> str:
    """Material, mode, g, zone axis, s, thickness and voltage in one line; of drawn strokes those of their background."""
    if on_files(scene):
        lines = "drawn strokes" if scene.contrast == "stroke" else "computed lines"
        return f"{lines} on frames from files, of unknown condition"
    beam, foil, material = scene.beam, scene.foil, scene.crystal.material
    many = beam.row is not None or beam.beams_hkl is not None
    order = 1 + 2 * beam.s_inv_nm / (wavelength_nm(beam.voltage_kV) * float(np.sum(g_image_inv_nm(scene.crystal, beam) ** 2)))
    weak = f" (g, {order:.2g}g)" if beam.image == "df" and order >= WEAK_BEAM_FROM else ""
    centre = " (centre)" if foil.wedge_deg or foil.curvature_inv_um or foil.cross_curvature_inv_um else ""
    count = f"  {len(beam.row or beam.beams_hkl)} beams" if many else ""
    return (
        f"{'drawn strokes on ' if scene.contrast == 'stroke' else ''}{MATERIAL_TEXT.get(material, material.capitalize())}  {beam.image.upper()}  "
        f"g = {indices_text(beam.g_hkl)}{weak}  B = [{indices_text(beam.zone_axis_uvw)}]  s = {beam.s_inv_nm:.3g} nm⁻¹  "
        f"t = {foil.thickness_nm:.0f} nm{centre}  {beam.voltage_kV:.0f} kV{count}"
    )


def on_files(scene: Scene) -> bool:
    """Whether a Scene's background is of pictures whose scale and condition nobody has said."""
    return scene.strokes is not None and any(backdrop.file is not None for backdrop in scene.strokes.backdrops)


def indices_text(indices: tuple[int, ...]) -> str:
    """Whole indices as they are printed, a bar over what is negative."""
    return "".join(f"{abs(i)}\u0305" if i < 0 else str(i) for i in indices)


def _scale_bar(axes: Any, scene: Scene, size: float) -> None:
    rows, columns = scene.shape
    unit, pixel = ("px", 1.0) if on_files(scene) else ("nm", scene.pixel_nm)
    bar = scale_bar_nm(LONGEST_BAR * columns * pixel)
    bar_px = bar / pixel
    x0, y0 = 0.05 * columns, 0.95 * rows
    for colour, width in (("black", 0.64 * size), ("white", 0.36 * size)):
        axes.plot([x0, x0 + bar_px], [y0, y0], color=colour, lw=width, solid_capstyle="butt")
    _outlined(axes, x0 + bar_px / 2, y0 - 0.02 * rows, f"{bar:g} {unit}", size, ha="center", va="bottom")


def _g_arrow(axes: Any, scene: Scene, size: float) -> None:
    from matplotlib.patheffects import withStroke

    rows, columns = scene.shape
    g = g_image_inv_nm(scene.crystal, scene.beam)
    along = np.array([g[0], -g[1]]) / np.hypot(g[0], g[1])  # y runs down in pixels
    start = np.array([0.88 * columns, 0.12 * rows]) - 0.06 * min(rows, columns) * along
    end = start + 0.12 * min(rows, columns) * along
    outline = [withStroke(linewidth=0.5 * size, foreground="black")]
    style = {"arrowstyle": "-|>", "color": "white", "lw": 0.21 * size, "path_effects": outline, "shrinkA": 0, "shrinkB": 0,
             "mutation_scale": 1.4 * size}  # fmt: skip
    axes.annotate("", xy=end, xytext=start, arrowprops=style)
    beside = (start + end) / 2 + 0.05 * min(rows, columns) * np.array([-along[1], along[0]])
    _outlined(axes, *beside, "g", size, ha="center", va="center")


def _outlined(axes: Any, x: float, y: float, text: str, size: float, **where: str) -> None:
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=0.26 * size, foreground="black")]
    axes.text(x, y, text, color="white", fontsize=size, path_effects=outline, **where)
