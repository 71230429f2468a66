"""The learning-rate range test (Smith 2017): the loss while the rate grows from step to step.

One batch is used again and again: what images a batch happens to hold moves its loss more than a step does, and would
hide what the rate does.

`python -m train … lr_find=true` writes lr_find.png and lr_find.json to the run's folder and trains nothing.
"""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from monai.optimizers import LearningRateFinder
from scipy.ndimage import gaussian_filter1d
from torch.utils.data import DataLoader
from tqdm import tqdm

from physics.errors import require
from train.checkpoint import LR_FIND_FILES, network_of, replace_file
from train.dataset import Examples, Source, batches
from train.loss import loss_parts
from train.model import chosen_device, computes_in_bf16
from train.optimiser import optimiser_of
from train.settings import TrainSettings

FIRST_RATE, LAST_RATE, STEPS = 1e-5, 1.0, 100
SMOOTHING = 0.03  # sigma of the Gaussian over the losses, in the steps of the test


def find_learning_rate(source: Source, out: Path, settings: TrainSettings, progress: bool = True) -> dict[str, Any]:
    """Test rates from 1e-5 to 1 over `max_steps` batches (100 unless given); write picture and numbers to `out`.

    Returns "suggested", the rate at which the loss falls fastest a decade, with the tested rates and their losses.
    Raises InputError where the losses allow no suggestion.
    """
    steps = settings.max_steps or STEPS
    require(steps >= 10, "max_steps", "be >= 10 with lr_find", steps)
    require(not out.exists() or out.is_dir(), "out", "be a folder or not exist", out)
    device = chosen_device(settings.device)
    batch = next(batches(Examples(source, settings), 0, settings))
    monai.utils.set_determinism(seed=settings.seed, use_deterministic_algorithms=None)
    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and computes_in_bf16(device))
    network = _InPrecision(network_of(settings), bf16).to(device)
    optimiser = optimiser_of(network.network, replace(settings.optimiser, learning_rate=FIRST_RATE))
    with tqdm(total=steps, unit="step", disable=not progress, file=sys.stderr, desc="lr_find") as bar:

        def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            bar.update()
            return loss_parts(logits, targets, settings.loss)["loss"]

        finder = LearningRateFinder(network, optimiser, loss, verbose=False)
        finder.range_test(DataLoader([batch], batch_size=None), end_lr=LAST_RATE, num_iter=steps, smooth_f=0.0)
    rates, losses = np.array(finder.history["lr"]), np.array(finder.history["loss"])
    good = int(np.argmin(np.isfinite(losses))) if not np.isfinite(losses).all() else len(losses)
    rates, losses = rates[:good], losses[:good]
    smooth = gaussian_filter1d(losses, SMOOTHING * steps, mode="nearest") if good else losses
    found = {"suggested": suggestion(rates, smooth), "rates": rates.tolist(), "losses": losses.tolist(), "smooth": smooth.tolist()}
    out.mkdir(parents=True, exist_ok=True)
    picture, numbers = LR_FIND_FILES
    replace_file(out / picture, _picture(found))
    replace_file(out / numbers, (json.dumps(found) + "\n").encode())
    return found


def suggestion(rates: np.ndarray, losses: np.ndarray) -> float:
    """The rate of the steepest descent per decade, before the least loss. Raises InputError where nothing descends."""
    least = int(np.argmin(losses)) if len(losses) else 0
    require(least >= 3, "lr_find", "see the loss fall while the rate grows", f"its least after {least} steps",
            "more max_steps may help")  # fmt: skip
    slope = np.gradient(losses[: least + 1], np.log10(rates[: least + 1]))
    return float(rates[int(np.argmin(slope))])


class _InPrecision(torch.nn.Module):
    """The network under autocast: the finder calls it itself."""

    def __init__(self, network: torch.nn.Module, bf16: bool) -> None:
        super().__init__()
        self.network, self.bf16 = network, bf16

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            return self.network(images)


def _picture(found: dict[str, Any]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.plot(found["rates"], found["losses"], ".", color="0.6", ms=3, label="steps")
    axes.plot(found["rates"], found["smooth"], color="black", lw=1, label="smoothed")
    axes.axvline(found["suggested"], color="tab:red", lw=1, label=f"suggested: {found['suggested']:.1e}")
    low, first = min(found["losses"]), found["smooth"][0]
    axes.set_ylim(0.95 * low, max(1.2 * first, 1.05 * low))
    axes.legend(frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()
