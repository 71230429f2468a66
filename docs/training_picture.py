"""The picture of train/README.md: `python docs/training_picture.py`, docs/training.png, from one synthetic frame."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np

from render import sample, simulate
from render.caption import condition_text
from render.config import compose
from train.__main__ import BULK_KEYS
from train.channels import DISTRACTOR_GROUPS
from train.dataset import labelled_micrograph
from train.distractors import distractor_maps
from train.geometry import as_it_is
from train.overlay import grey_levels, line_colour
from train.pictures import DISTRACTOR_COLOURS, distractor_picture, lift_picture
from train.targets import TargetSettings, target_maps
from train.trace import trace_lines

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

PATH = Path(__file__).resolve().parent / "training.png"
SEED, NUMBER = 0, 40  # a pile-up, loops, deposits, a foil edge, text


def main() -> int:
    config = compose("render", ["out=nowhere", "shape=[256,256]", "surfaces=false"], ("out",))
    micrograph = simulate(sample({k: v for k, v in config.items() if k not in BULK_KEYS}, SEED, NUMBER))
    labelled, settings = labelled_micrograph(micrograph), TargetSettings()
    maps = target_maps(labelled.curves, micrograph.shape, settings)
    distractors = distractor_maps(labelled.distractors, as_it_is(micrograph.shape), settings)
    grey = np.repeat(grey_levels(micrograph.image)[..., None], 3, axis=2)
    first, second = _two_layers(maps.lift)
    figure, axes = plt.subplots(2, 4, figsize=(12, 6.5), layout="constrained")
    panels = [
        ("micrograph", grey), ("mask (white), silent (grey)", np.maximum(maps.mask, 0.4 * maps.ignore)), ("centreline", maps.centreline),
        ("no dislocation: " + ", ".join(g for g, m in zip(DISTRACTOR_GROUPS, distractors) if m.any()), distractor_picture(grey[::2, ::2], distractors, 0.7)),
        (f"all {settings.orientations} orientation layers, hue = direction", lift_picture(maps.lift)),
        (f"layer {first}: {180 * first / settings.orientations:.0f}°", maps.lift[first]),
        (f"layer {second}: {180 * second / settings.orientations:.0f}°", maps.lift[second]), ("curves traced from these maps", grey),
    ]  # fmt: skip
    for ax, (title, picture) in zip(axes.ravel(), panels):
        ax.imshow(picture, cmap="gray", vmin=0, vmax=1 if picture.ndim == 2 else None, interpolation="nearest")
        ax.set_title(title, fontsize=9)
        ax.set_axis_off()
    for group, colour, chance in zip(DISTRACTOR_GROUPS, DISTRACTOR_COLOURS, distractors):
        if chance.any():
            axes[0, 3].plot([], [], "s", color=colour / 255, label=group)
    axes[0, 3].legend(fontsize=7, loc="center right")
    for number, line in enumerate(trace_lines(maps)):
        axes[1, 3].plot(*line.points_px.T, color=np.array(line_colour(number)) / 255, lw=1.5)
    axes[1, 3].set(xlim=(-0.5, 255.5), ylim=(255.5, -0.5))
    figure.supxlabel(f"the micrograph: {condition_text(micrograph.scene)}", fontsize=9, x=0.005, ha="left")
    figure.savefig(PATH, dpi=90)
    return 0


def _two_layers(lift: np.ndarray) -> tuple[int, int]:
    """The fullest layer, and the fullest among those about at right angles to it."""
    filled = lift.sum(axis=(1, 2))
    first, bins = int(np.argmax(filled)), len(lift)
    across = [(first + k) % bins for k in range(3 * bins // 8, 5 * bins // 8 + 1)]
    return first, max(across, key=lambda k: filled[k])


if __name__ == "__main__":
    sys.exit(main())
