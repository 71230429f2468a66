"""`python -m train.replay out=replay.npz`: the synthetic images that fine-tuning shows again, so that they are not forgotten.

The pool lies in the package beside the weights: rendering it anew would take longer than the fine-tuning itself.
Axes: N images, (Y, X) rows and columns, V vertices of all curves together, C curves.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np

from physics.errors import InputError, require
from render.cli import run_command
from train.checkpoint import replace_file
from train.dataset import Labelled, labelled_micrograph
from train.distractors import DistractorLabels
from train.geometry import CurveLabel

USAGE = """\
python -m train.replay out=FILE.npz [n=24] [seed=7] [shape=256]

Renders the pool of synthetic images that train.finetune mixes among real ones: the default scenes of python -m render.
"""
SHIPPED_POOL = Path(__file__).resolve().parent / "weights" / "replay.npz"
PER_CURVE, PER_VERTEX = ("curve_image", "curve_start"), ("half_width_px", "contrast", "visible", "vertex_noise")
LEVELS = 255


def save_pool(path: Path, images: list[Labelled]) -> None:
    """Write labelled images of one shape as arrays without objects; grey levels in 8 bits."""
    stacked, curves, of_image, noise = [], [], [], []
    for number, labelled in enumerate(images):
        low, high = (float(v) for v in np.percentile(labelled.image, (0.05, 99.95)))
        black = min(labelled.black, low)
        stacked.append(np.clip((labelled.image - black) / max(high - black, 1e-9) * LEVELS, 0, LEVELS).round().astype(np.uint8))
        noise.append(labelled.noise_fraction)
        curves += labelled.curves
        of_image += [number] * len(labelled.curves)
    starts = np.cumsum([0] + [len(c.points_px) for c in curves])
    distractors = [labelled.distractors for labelled in images]
    thin = [(n, group, points) for n, d in enumerate(distractors) if d is not None for group, points in d.curves]
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        images=np.stack(stacked),
        noise_fraction=np.array(noise, dtype=np.float32),
        curve_image=np.array(of_image, dtype=np.int32),
        curve_start=starts.astype(np.int32),
        points_px=np.concatenate([np.zeros((0, 2))] + [c.points_px for c in curves]).astype(np.float32),
        half_width_px=np.concatenate([np.zeros(0)] + [c.half_width_px for c in curves]).astype(np.float32),
        contrast=np.concatenate([np.zeros(0)] + [c.contrast for c in curves]).astype(np.float32),
        visible=np.concatenate([np.zeros(0, bool)] + [c.visible for c in curves]),
        vertex_noise=np.concatenate(
            [np.zeros(0)] + [np.broadcast_to(n if c.noise_fraction is None else c.noise_fraction, len(c.points_px)) for c, n in
                             zip(curves, np.array(noise)[np.array(of_image, dtype=int)])]
        ).astype(np.float32),
        areas=np.stack([np.zeros(stacked[0].shape, np.uint8) if d is None else d.areas for d in distractors]),
        thin_image=np.array([n for n, _, _ in thin], dtype=np.int32),
        thin_group=np.array([group for _, group, _ in thin], dtype=np.int32),
        thin_start=np.cumsum([0] + [len(points) for _, _, points in thin]).astype(np.int32),
        thin_px=np.concatenate([np.zeros((0, 2))] + [points for _, _, points in thin]).astype(np.float32),
    )  # fmt: skip
    replace_file(path, buffer.getvalue())


def load_pool(path: Path = SHIPPED_POOL) -> list[Labelled]:
    """The images of a pool. Raises InputError for what `save_pool` did not write."""
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
        curves = [
            CurveLabel(
                points_px=stored["points_px"][i:j].astype(np.float64), half_width_px=stored["half_width_px"][i:j].astype(np.float64),
                contrast=stored["contrast"][i:j].astype(np.float64), visible=stored["visible"][i:j],
                noise_fraction=stored["vertex_noise"][i:j].astype(np.float64),
            )
            for i, j in zip(stored["curve_start"][:-1], stored["curve_start"][1:])
        ]  # fmt: skip
        thin = [
            (int(group), stored["thin_px"][i:j].astype(np.float64))
            for group, i, j in zip(stored["thin_group"], stored["thin_start"][:-1], stored["thin_start"][1:])
        ]
        return [
            Labelled(
                image=image, curves=tuple(c for c, n in zip(curves, stored["curve_image"]) if n == number), noise_fraction=float(noise),
                distractors=DistractorLabels(
                    curves=tuple(t for t, n in zip(thin, stored["thin_image"]) if n == number), areas=stored["areas"][number]
                ),
            )
            for number, (image, noise) in enumerate(zip(stored["images"], stored["noise_fraction"]))
        ]  # fmt: skip
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise InputError(f"replay must be a pool that python -m train.replay wrote, got {path}: {type(error).__name__}") from None


def main(argv: list[str]) -> None:
    from tqdm import tqdm

    from render import sample, simulate
    from train.__main__ import _scenes

    values = {"n": "24", "seed": "7", "shape": "256"}
    for argument in argv:
        key, equals, value = argument.partition("=")
        require(bool(equals) and key in (*values, "out"), "an argument", f"be one of out=, {', '.join(f'{k}=' for k in values)}", argument)
        values[key] = value
    require("out" in values, "out", "be given", "nothing")
    for key in ("n", "seed", "shape"):
        require(values[key].isdigit() and int(values[key]) > 0, key, "be a whole number > 0", values[key])
    scenes = _scenes([f"shape=[{values['shape']},{values['shape']}]"])
    images = [labelled_micrograph(simulate(sample(scenes, int(values["seed"]), n))) for n in tqdm(range(int(values["n"])), unit="image")]
    save_pool(Path(values["out"]), images)


if __name__ == "__main__":
    sys.exit(run_command(main, USAGE))
