"""`python -m train.average models=RUN,RUN out=FOLDER`: the mean of networks of which one was trained on from another.

After a training that goes on from other weights, on other images, the mean of both is often better than either on both
kinds of images (Wortsman et al. 2022, "Model soups"). That holds only within one line of descent: networks from
different random weights have nothing in common that a mean would keep.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from physics.errors import require
from render.cli import positional, run_command
from train.checkpoint import MODEL_FILE, load_model, save_model

USAGE = """\
python -m train.average models=RUN,RUN out=FOLDER

Writes model.safetensors with the mean of the weights of training runs or .safetensors files (shipped: those of the package), and its card: that of the
last one, with the cards' steps and data of all under "mean_of".
"""


def average(models: list[str], out: Path) -> None:
    """Write the mean of the weights of `models` to out/model.safetensors.

    Raises InputError for fewer than two models, networks of different settings, or a folder that holds weights already.
    """
    require(len(models) >= 2, "models", "name two or more, parted by commas", ",".join(models) or "none")
    require(not (out / MODEL_FILE).exists(), "out", "hold no weights yet", out)
    loaded = [load_model(name, device="cpu") for name in models]
    for name, other in zip(models[1:], loaded[1:]):
        same = other.settings.network == loaded[0].settings.network and other.settings.targets == loaded[0].settings.targets
        require(same, "models", "have one network and one kind of targets", f"others in {models[0]} and {name}")
    states = [each.module.state_dict() for each in loaded]
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(value.dtype)
        for name, value in states[-1].items()
    }
    told = [{key: each.card.get(key) for key in ("steps", "seconds", "data")} for each in loaded]
    out.mkdir(parents=True, exist_ok=True)
    save_model(out, mean, loaded[-1].card | {"mean_of": told})


def main(argv: list[str]) -> None:
    _, values = positional(argv, ("models", "out"), 0, USAGE)
    for key in ("models", "out"):
        require(bool(values.get(key)), key, "be given", "nothing")
    average([name for name in values["models"].split(",") if name], Path(values["out"]))


if __name__ == "__main__":
    sys.exit(run_command(main, USAGE))
