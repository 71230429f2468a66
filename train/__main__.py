"""`python -m train data=A.zarr out=RUN …`: train a network on a dataset, or on scenes rendered on the fly."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from physics.errors import require
from render.cli import run_command

USAGE = """\
python -m train data=A.zarr out=RUN [model=small|medium|large|basicunet] [max_seconds=360] [max_steps=…] [resume=auto] …

Trains a network that draws dislocation lines as maps lifted in orientation, and leaves it in the folder RUN:
model.safetensors with its card model.json, state.safetensors to go on from, metrics.jsonl. The same command goes on
with an interrupted run. data=stream renders scenes while training, from the render configuration and render=[…]:

  python -m train data=A.zarr out=RUN max_seconds=2400
  python -m train data=stream out=RUN 'render=["scene=pileup","shape=[256,256]"]' workers=2
"""
PATH_KEYS = ("data", "out", "init")
MOST_THREADS = 1024


def main(argv: list[str]) -> None:
    # Before torch is loaded: its threads wait asleep. Spinning ones starve the process that prepares the next batch
    # (on two busy cores: 4.3 images/s against 1.3).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from render.config import compose

    config = compose("train", argv, PATH_KEYS)
    data, out, resume = config.pop("data"), Path(config.pop("out")), config.pop("resume")
    overrides, threads, init = config.pop("render"), config.pop("threads"), config.pop("init")
    from train.settings import TrainSettings

    config["network"] = config.pop("model")
    settings = TrainSettings.from_dict(config)
    whole = isinstance(threads, int) and not isinstance(threads, bool)
    require(threads is None or (whole and 1 <= threads <= MOST_THREADS), "threads",
            f"be a whole number in [1, {MOST_THREADS}] or null", repr(threads))  # fmt: skip
    if threads:
        import torch

        torch.set_num_threads(threads)
    source, validation = _source(data, overrides, settings)
    from train.loop import train

    text = str(resume).lower()
    card = train(source, out, settings, validation=validation, resume=text, begin_from=_weights(init))
    print(f"{out}: {card['steps']} steps in {card['seconds']:.0f} s; {_summary(card)}")


def _weights(init: str | None) -> Any:
    """The network to begin from: None, the weights that come with the package ("shipped"), or those of a run."""
    if init is None:
        return None
    from train.checkpoint import load_model
    from train.predict import SHIPPED_WEIGHTS

    loaded = load_model(SHIPPED_WEIGHTS if init == "shipped" else init, device="cpu")
    if loaded.module.untaught:
        print(f"init={init}: weights of an older layout; new outputs begin untaught: {', '.join(loaded.module.untaught)}", file=sys.stderr)
    return loaded


def _source(data: str, overrides: list[str], settings: Any) -> tuple[Any, Any]:
    from train.dataset import RenderedImages, StoredImages

    if data == "stream":
        from render.config import compose

        lanes, workers = settings.stream.lanes, settings.workers
        require(workers == 0 or lanes % workers == 0, "workers", f"divide stream.lanes = {lanes}", workers)
        require(isinstance(overrides, list), "render", "be a list of overrides", overrides)
        config = compose("render", ["out=nowhere", *map(str, overrides)], ("out", "scene.file"))
        for key in ("out", "n", "seed", "workers", "scheduler", "shard", "keep_intensity"):
            config.pop(key, None)
        return RenderedImages(config, settings.seed, settings.stream, settings.batch), None
    from render import open_dataset

    require(not overrides, "render", "be left out unless data=stream", overrides)
    dataset = open_dataset(data)
    return StoredImages(dataset.split("train"), settings.seed), dataset.split("val")


def _summary(card: dict[str, Any]) -> str:
    validation = card.get("validation")
    if not validation:
        return "no validation images"
    f1 = validation["val_instance_f1"]
    return f"validation loss {validation['val_loss']:.3f}, instance F1 {f1 if f1 is None else format(f1, '.3f')}"


def usage() -> str:
    from render.config import describe

    return f"{USAGE}\n{describe('train')}"


if __name__ == "__main__":
    sys.exit(run_command(main, usage))
