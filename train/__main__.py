"""`python -m train data=A.zarr out=RUN …`: train a network on a dataset, or on scenes rendered on the fly."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from physics.errors import require
from render.cli import run_command
from render.sample_config import BULK_KEYS

USAGE = """\
python -m train data=A.zarr[,B.zarr] out=RUN [model=small|medium|large|basicunet] [max_seconds=360] [max_steps=…] [resume=auto] …

Trains a network that draws dislocation lines as maps lifted in orientation, and leaves it in the folder RUN:
model.safetensors with its card model.json, best.safetensors, state.safetensors to go on from, metrics.jsonl and
tensorboard/. The same command goes on with an interrupted run. data=stream renders scenes while training, from the
render configuration and render=[…]; stream.share mixes such scenes into a dataset; lr_find=true looks for a learning
rate; torchrun trains in several processes:

  python -m train data=A.zarr out=RUN max_seconds=2400
  python -m train data=A.zarr out=RUN stream.share=0.15 workers=4
  python -m train data=stream out=RUN 'render=["scene=pileup","shape=[256,256]"]' workers=2
  torchrun --nproc-per-node=8 -m train data=A.zarr out=RUN model=large batch=512 workers=8
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
    overrides, threads, init, lr_find = (config.pop(key) for key in ("render", "threads", "init", "lr_find"))
    from train.settings import TrainSettings

    config["network"] = config.pop("model")
    settings = TrainSettings.from_dict(config)
    whole = isinstance(threads, int) and not isinstance(threads, bool)
    require(threads is None or (whole and 1 <= threads <= MOST_THREADS), "threads",
            f"be a whole number in [1, {MOST_THREADS}] or null", repr(threads))  # fmt: skip
    if threads:
        import torch

        torch.set_num_threads(threads)
    require(isinstance(lr_find, bool), "lr_find", "be true or false", lr_find)
    source, validation = _source(data, overrides, settings)
    if lr_find:
        from train.lr_find import find_learning_rate

        found = find_learning_rate(source, out, settings)
        print(f"{out / 'lr_find.png'}: optimiser.learning_rate={found['suggested']:.1e} suggested")
        return
    from train.distributed import joined
    from train.loop import train

    with joined(settings.device) as group:
        card = train(source, out, settings, validation=validation, resume=str(resume).lower(), begin_from=_weights(init), group=group)
        if group.leads:
            print(f"{out}: {card['steps']} steps in {card['seconds']:.0f} s{_speed(card)}; {_summary(card)}")


def _weights(init: str | None) -> Any:
    """The network to begin from: None, the weights that come with the package ("shipped"), or those of a run."""
    if init is None:
        return None
    from train.checkpoint import load_model

    loaded = load_model(init, device="cpu")
    if loaded.module.untaught:
        print(f"init={init}: weights of an older layout; new outputs begin untaught: {', '.join(loaded.module.untaught)}", file=sys.stderr)
    return loaded


def _source(data: str, overrides: list[str], settings: Any) -> tuple[Any, Any]:
    from train.dataset import MixedImages, RenderedImages, stored_images

    lanes, workers, share = settings.stream.lanes, settings.workers, settings.stream.share
    if data == "stream" or share:
        require(workers == 0 or lanes % workers == 0, "workers", f"divide stream.lanes = {lanes}", workers)
    require(isinstance(overrides, list), "render", "be a list of overrides", overrides)
    if data == "stream":
        return RenderedImages(_scenes(overrides), settings.seed, settings.stream, settings.batch), None
    require(share or not overrides, "render", "be left out unless data=stream or stream.share > 0", overrides)
    training, dataset = stored_images(data, settings.seed)
    validation = dataset.split("val")
    if not share:
        return training, validation
    scenes = _scenes(overrides) if overrides else {k: v for k, v in dataset.config.items() if k not in BULK_KEYS}
    return MixedImages(training, RenderedImages(scenes, settings.seed, settings.stream, settings.batch), share, settings.seed), validation


def _scenes(overrides: list[str]) -> dict[str, Any]:
    """The render configuration with these overrides, without what concerns a dataset rather than its scenes."""
    from render.config import compose

    config = compose("render", ["out=nowhere", *map(str, overrides)], ("out", "scene.file"))
    return {key: value for key, value in config.items() if key not in BULK_KEYS}


def _speed(card: dict[str, Any]) -> str:
    if "wait_share" not in card:
        return ""
    return f", {card['images_per_s']:.1f} images/s, {card['wait_share']:.1%} of it waiting for images"


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
