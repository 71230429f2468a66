"""A picture of a Scene in three dimensions: the foil, its dislocations, and the micrograph they make below it.

`python -m render.view A.zarr 3 out=picture.png` draws image 3 of a dataset. It takes Blender.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from fractions import Fraction

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from physics.errors import require
from physics.frames import field_nm
from render.blender import render_plan
from render.blender.plan import Plan, View, plan_of
from render.caption import condition_text
from render.cli import positional, run_command
from render.scene import Scene

USAGE = """usage: python -m render.view DATASET INDEX [out=PICTURE.png]

Draws the foil, the dislocations coloured by Burgers vector, and the micrograph of one image of a dataset.
Without out= the picture is DATASET_INDEX.png in the current folder."""
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


def burgers_text(burgers_uvw: tuple[float, ...]) -> str:
    """A direction in lattice vectors as crystallographers write it: (0.5, 0.5, 0) is 1/2[110]."""
    parts = [Fraction(float(u)).limit_denominator(12) for u in burgers_uvw]
    denominator = int(np.lcm.reduce([part.denominator for part in parts]))
    whole = [int(part * denominator) for part in parts]
    common = int(np.gcd.reduce(whole)) or 1
    factor = Fraction(common, denominator)
    # A bar over a digit, as for planes; numbers of two digits are kept apart.
    digits = [f"{abs(n) // common}" + "\u0305" * (n < 0) for n in whole]
    text = ("" if max(abs(n) // common for n in whole) < 10 else " ").join(digits)
    return f"[{text}]" if factor == 1 else f"{factor}[{text}]"


def _annotated(pixels: np.ndarray, anchors: dict[str, tuple[float, float]], scene: Scene, plan: Plan) -> Figure:
    rows, columns = pixels.shape[:2]
    figure = Figure(figsize=(columns / DPI, rows / DPI), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(pixels, interpolation="nearest")
    axes.set_axis_off()
    width_nm, height_nm = field_nm(scene.shape, scene.pixel_nm)
    where = " (centre)" if scene.foil.wedge_deg else ""
    texts = {
        "beam": ("  beam", "left"),
        "g": ("g", "center"),
        "thickness": (f"t = {_rounded(scene.foil.thickness_nm)} nm{where}", "right"),
        "width": (f"{_rounded(width_nm)} nm", "center"),
        "height": (f"{_rounded(height_nm)} nm", "left"),
    }
    for name, (text, side) in texts.items():
        weight = "bold" if name == "g" else "normal"
        axes.text(*anchors[name], text, color=INK, fontsize=12, ha=side, va="center", weight=weight)
    axes.text(0.02 * columns, 0.985 * rows, condition_text(scene), color=INK, fontsize=11, va="bottom")
    _legend(axes, plan)
    return figure


def _rounded(length_nm: float) -> str:
    return f"{length_nm:.0f}" if length_nm >= 100 else f"{length_nm:.3g}"


def _legend(axes, plan: Plan) -> None:
    count = Counter(tuple(tube.properties["burgers_uvw"]) for tube in plan.tubes)
    tubes = {tuple(tube.properties["burgers_uvw"]): tube for tube in plan.tubes}
    entries = []
    for burgers, lines in count.most_common(MOST_ENTRIES):
        g_dot_b = round(tubes[burgers].properties["g_dot_b"], 3) + 0.0
        text = f"{burgers_text(burgers)}   g·b = {Fraction(g_dot_b).limit_denominator(12)}   ×{lines}"
        entries.append(Line2D([], [], color=tubes[burgers].display_colour, lw=4, label=text))
    if len(count) > MOST_ENTRIES:
        entries.append(Line2D([], [], lw=0, label=f"and {len(count) - MOST_ENTRIES} more"))
    if entries:
        axes.legend(handles=entries, loc="upper left", frameon=False, fontsize=11, labelcolor=INK, title="Burgers vector",
                    title_fontsize=11, alignment="left", borderaxespad=1.0)  # fmt: skip


def _command(argv: list[str]) -> None:
    from render import open_dataset

    (dataset_path, index_text), pairs = positional(argv, {"out"}, 2, USAGE)
    dataset = open_dataset(dataset_path)
    index_ok = index_text.lstrip("-").isdecimal() and -len(dataset) <= int(index_text) < len(dataset)
    require(index_ok, "INDEX", f"be a whole number below {len(dataset)}", index_text)
    micrograph = dataset[int(index_text)]
    stem = os.path.basename(os.path.normpath(dataset_path)).removesuffix(".zarr")
    out = pairs.get("out") or f"{stem}_{int(index_text)}.png"
    picture(micrograph.scene, out, image=micrograph.image)
    print(out)


if __name__ == "__main__":
    sys.exit(run_command(_command, USAGE))
