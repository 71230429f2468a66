"""A picture of a Scene in three dimensions: the foil, its dislocations, and the micrograph they make below it.

`python -m render.view A.zarr 3 out=picture.png` draws image 3 of a dataset, `out=scene.blend` writes it for Blender.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from physics.errors import require
from physics.frames import field_nm
from physics.slip_trace import SLIP_TRACE
from render.blender import render_plan, write_blend
from render.blender.names import burgers_text
from render.blender.plan import TRACE_COLOUR, Plan, View, plan_of
from render.blender.solids import DEPOSITS
from render.camera import scale_bar_nm
from render.caption import LONGEST_BAR, condition_text, indices_text
from render.cli import positional, run_command
from render.scene import Scene

USAGE = """usage: python -m render.view DATASET INDEX [out=scene.png|scene.blend] [open=true|false]

Draws the foil, what is in it and on it, and the micrograph that it makes: one image of a dataset as a picture
(out=scene.png), or as a file for Blender (out=scene.blend) in which the specimen can be turned and edited. open=true opens
that file in Blender. Without either it is opened where there is a screen and a `blender` to be found, and drawn as
DATASET_INDEX.png in the current folder where not."""
INK = "#28303a"
DPI = 100
MOST_ENTRIES = 9


def picture(
    scene: Scene, path: str | os.PathLike[str], *, image: np.ndarray | None = None, view: View | None = None
) -> None:
    """Write a PNG of `scene` with `image` (Y, X) as its micrograph (None: simulated here) and a legend.

    Raises InputError where bpy is not installed.
    """
    if image is None:
        from render.simulate import simulate

        image = simulate(scene).image
    view = view or View()
    plan = plan_of(scene, image)
    pixels, anchors = render_plan(plan, view)
    figure = _annotated(pixels, anchors, scene, plan)
    beside = f"{os.fspath(path)}.partial-{os.getpid()}"
    try:
        figure.savefig(beside, format="png", dpi=DPI)
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)


def _annotated(pixels: np.ndarray, anchors: dict[str, tuple[float, float]], scene: Scene, plan: Plan) -> Figure:
    rows, columns = pixels.shape[:2]
    figure = Figure(figsize=(columns / DPI, rows / DPI), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(pixels, interpolation="nearest")
    axes.set_axis_off()
    width_nm, height_nm = field_nm(scene.shape, scene.pixel_nm)
    where = " (centre)" if scene.foil.wedge_deg else ""
    texts = {
        "beam": (f"  beam (B = [{indices_text(scene.beam.zone_axis_uvw)}] up)", "left"),
        "g": ("g", "center"),
        "thickness": (f"t = {_rounded(scene.foil.thickness_nm)} nm{where}", "right"),
        "width": (f"{_rounded(width_nm)} nm", "center"),
        "height": (f"{_rounded(height_nm)} nm", "left"),
    }
    for name, (text, side) in texts.items():
        weight = "bold" if name == "g" else "normal"
        axes.text(*anchors[name], text, color=INK, fontsize=12, ha=side, va="center", weight=weight)
    axes.text(0.02 * columns, 0.985 * rows, condition_text(scene), color=INK, fontsize=11, va="bottom")
    if plan.micrograph is not None:
        _scale_bar(axes, anchors, scale_bar_nm(LONGEST_BAR * width_nm))
    _legend(axes, plan, scene)
    return figure


def _scale_bar(axes, anchors: dict[str, tuple[float, float]], bar_nm: float) -> None:
    """A bar that lies on the micrograph, foreshortened with it."""
    (x0, y0), (x1, y1) = anchors["bar start"], anchors["bar end"]
    outline = [withStroke(linewidth=6, foreground="black")]
    axes.plot([x0, x1], [y0, y1], color="white", lw=3.5, solid_capstyle="butt", path_effects=outline)
    axes.text((x0 + x1) / 2, (y0 + y1) / 2 - 9, f"{bar_nm:g} nm", color="white", fontsize=11, ha="center", va="bottom",
              path_effects=[withStroke(linewidth=2.5, foreground="black")])  # fmt: skip


def _rounded(length_nm: float) -> str:
    return f"{length_nm:.0f}" if length_nm >= 100 else f"{length_nm:.3g}"


def _legend(axes, plan: Plan, scene: Scene) -> None:
    lines = [tube for tube in plan.tubes if tube.properties["kind"] != SLIP_TRACE]
    count = Counter(tuple(tube.properties["burgers_uvw"]) for tube in lines)
    tubes = {tuple(tube.properties["burgers_uvw"]): tube for tube in lines}
    entries = []
    for burgers, number in count.most_common(MOST_ENTRIES):
        g_dot_b = round(tubes[burgers].properties["g_dot_b"], 3) + 0.0
        product = str(Fraction(g_dot_b).limit_denominator(12)).replace("-", "\u2212")
        text = f"b = {burgers_text(burgers, scene.crystal)}   g·b = {product}   ×{number}"
        entries.append(Line2D([], [], color=tubes[burgers].display_colour, lw=4, label=text))
    if len(count) > MOST_ENTRIES:
        entries.append(Line2D([], [], lw=0, label=f"and {len(count) - MOST_ENTRIES} more"))
    traces = len(plan.tubes) - len(lines)
    if traces:
        entries.append(Line2D([], [], color=TRACE_COLOUR, lw=4, label=f"slip trace   ×{traces}"))
    shown = [(sheet.name.rstrip(" 0123456789").partition(" [")[0], sheet.colour, True) for sheet in plan.sheets if sheet.shown]
    shown += [(solid.kind.replace("_", " ") + " on a face" * (solid.collection == DEPOSITS), solid.colour, solid.clear) for solid in plan.solids]
    for (name, colour, clear), number in Counter(shown).items():
        face = (*np.clip(np.array(colour) ** (1 / 2.2), 0, 1), 0.5 if clear else 1.0)
        entries.append(Patch(facecolor=face, edgecolor=INK, lw=0.5, label=f"{name}   ×{number}" if number > 1 else name))
    if entries:
        axes.legend(handles=entries, loc="upper left", frameon=False, fontsize=11, labelcolor=INK, borderaxespad=1.0)


def open_in_blender(path: str | os.PathLike[str]) -> None:
    """Open a .blend file in Blender's own window, with the engine TEM where gdotb is installed for it.

    Raises InputError where no `blender` is on the PATH.
    """
    program = shutil.which("blender")
    require(program is not None, "open", "be false where no `blender` is on the PATH", True, "install Blender, or give out=scene.png")
    addon = Path(__file__).parent / "blender" / "addon.py"
    subprocess.Popen([program, os.path.abspath(path), "--python", str(addon)], stdin=subprocess.DEVNULL,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip


def _command(argv: list[str]) -> None:
    from render import open_dataset

    (dataset_path, index_text), pairs = positional(argv, {"out", "open"}, 2, USAGE)
    wanted = pairs.get("open", "").lower()
    require(wanted in ("", "true", "false"), "open", "be true or false", wanted)
    suffix = Path(pairs["out"]).suffix if pairs.get("out") else ""
    require(suffix in ("", ".png", ".blend") and bool(suffix) == bool(pairs.get("out")), "out", "end in .png or .blend", pairs.get("out"))
    require(wanted != "true" or suffix != ".png", "out", "end in .blend where open=true", pairs.get("out"))
    screen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform in ("darwin", "win32")
    opened = wanted == "true" or (not wanted and not suffix and screen and shutil.which("blender") is not None)
    require(not opened or shutil.which("blender") is not None, "open", "be false where no `blender` is on the PATH", wanted,
            "install Blender, or give out=scene.png")  # fmt: skip
    dataset = open_dataset(dataset_path)
    index_ok = index_text.lstrip("-").isdecimal() and -len(dataset) <= int(index_text) < len(dataset)
    require(index_ok, "INDEX", f"be a whole number below {len(dataset)}", index_text)
    micrograph = dataset[int(index_text)]
    stem = os.path.basename(os.path.normpath(dataset_path)).removesuffix(".zarr")
    out = pairs.get("out") or f"{stem}_{int(index_text)}{'.blend' if opened else '.png'}"
    if Path(out).suffix == ".blend":
        write_blend(micrograph.scene, micrograph.image, out)
    else:
        picture(micrograph.scene, out, image=micrograph.image)
    if opened:
        open_in_blender(out)
    print(out)


if __name__ == "__main__":
    sys.exit(run_command(_command, USAGE))
