"""Claim: training on two cores never waits for its images (share of the time under 5 %); images/s of training and inference.

Every time is that of one image. Loading is one process, as `workers=1` starts it; training and inference have the rest.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path

import torch
from timing import Row, best_of

from render.config import compose
from train.__main__ import BULK_KEYS
from train.checkpoint import network_of
from train.dataset import Examples, RenderedImages
from train.loop import train
from train.loss import loss_parts
from train.model import NetworkSettings, chosen_device, computes_in_bf16, infer
from train.settings import StreamSettings, TrainSettings
from train.trace import trace_lines

SCENES, SEED, SECONDS = 6, 5, 25.0
LARGEST_WAIT = 0.05
SMALL = TrainSettings(max_seconds=SECONDS, validation_images=0, tensorboard=False, checkpoint_seconds=1e9, device="cpu")
BASICUNET = NetworkSettings(family="basicunet", width=24, blocks_down=(1, 1, 1, 1, 1), head=48)


class KeptImages:
    """A few realistic scenes of 256 x 256 px, with their distractors, held in memory."""

    def __init__(self) -> None:
        config = compose("render", ["out=nowhere", "shape=[256,256]", "surfaces=false"], ("out",))
        scenes = RenderedImages({k: v for k, v in config.items() if k not in BULK_KEYS}, SEED, StreamSettings(), 1)
        self.shape = scenes.shape
        self._images = [scenes.labelled(n) for n in range(SCENES)]

    def of_example(self, n: int) -> int:
        return n % SCENES

    def labelled(self, number: int) -> object:
        return self._images[number]

    def identity(self) -> dict[str, object]:
        return {"source": "benchmark", "sha256": str(SEED)}


def rows() -> list[Row]:
    kept = KeptImages()
    precision = "bf16" if computes_in_bf16(chosen_device("cpu")) else "fp32"
    return [
        _example_row(kept),
        *(_step_row(kept, name, settings, precision) for name, settings in (("segresnet, small", SMALL.network), ("basicunet", BASICUNET))),
        *_inference_rows(),
        _run_row(kept, precision),
    ]


def _example_row(kept: KeptImages) -> Row:
    examples = Examples(kept, SMALL)
    count = 4 * SCENES

    def prepare() -> None:
        for n in range(count):
            examples[n]

    wall, cpu = (seconds / count for seconds in best_of(prepare, runs=3))
    return Row(case="training example of 256 x 256, one process", wall_s=wall, cpu_s=cpu, error=f"{1 / cpu:.0f} images/s of processor time")


def _step_row(kept: KeptImages, name: str, network_settings: NetworkSettings, precision: str) -> Row:
    settings = dataclasses.replace(SMALL, network=network_settings)
    network = network_of(settings)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    pairs = [Examples(kept, settings)[n] for n in range(settings.batch)]
    images, targets = (torch.stack(parts) for parts in zip(*pairs))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = network(images)
        optimiser.zero_grad(set_to_none=True)
        loss_parts(logits, targets, settings.loss)["loss"].backward()
        optimiser.step()

    wall, cpu = (seconds / settings.batch for seconds in best_of(step, runs=3))
    return Row(case=f"training step, {name}, batch of 8, {precision}", wall_s=wall, cpu_s=cpu,
               error=f"{1 / wall:.1f} images/s; {sum(p.numel() for p in network.parameters()) / 1e6:.1f} M parameters")  # fmt: skip


def _inference_rows() -> list[Row]:
    from train.checkpoint import load_model

    loaded = load_model("shipped", device="cpu")
    image = RenderedImages({"shape": [512, 512], "material": "al", "scene": {"kind": "random"}}, SEED, StreamSettings(), 1).labelled(0).image
    wall, cpu = best_of(lambda: infer(loaded.module, image), runs=3)
    maps = infer(loaded.module, image)
    traced_wall, traced_cpu = best_of(lambda: trace_lines(maps), runs=3)
    return [
        Row(case="inference of maps, 512 x 512, small, fp32", wall_s=wall, cpu_s=cpu, error=f"{1 / wall:.1f} images/s"),
        Row(case="tracing its lines", wall_s=traced_wall, cpu_s=traced_cpu, error=f"{len(trace_lines(maps))} lines"),
    ]


def _run_row(kept: KeptImages, precision: str) -> Row:
    """A run of the loop itself, loader and all."""
    before = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        card = train(kept, Path(folder) / "run", SMALL, progress=False)
    cpu_s = time.process_time() - before
    images = card["steps"] * SMALL.batch
    verdict = "" if card["wait_share"] <= LARGEST_WAIT else f", more than {LARGEST_WAIT:.0%}"
    # The loading process's own processor time is that of the first row.
    return Row(case=f"training run, small, one loading process, {precision}", wall_s=card["seconds"] / images, cpu_s=cpu_s / images,
               error=f"{card['images_per_s']:.1f} images/s; waits {card['wait_share']:.1%} of the time{verdict}")  # fmt: skip


if __name__ == "__main__":
    for row in rows():
        print(row)
