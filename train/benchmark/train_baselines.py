"""`python -m train.benchmark.train_baselines data=A.zarr out=DIR`: trains the learned rivals, each for the same budget."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from physics.errors import require
from render.cli import run_command

USAGE = """\
python -m train.benchmark.train_baselines data=A.zarr out=DIR [kinds=[centreline,index_map]] [budget_seconds=3600]

Trains the benchmark's learned rivals on the train split of a dataset (or of several, data=A.zarr,B.zarr): a U-Net that
draws the centreline, and one that draws a flat map of instances at quarter resolution. Each sees the views and disturbances
that `python -m train` makes and is moved by its optimiser, rate and average, for budget_seconds of processor time (3600: half
an hour of two cores), and is left as DIR/KIND.safetensors. A kind that is there already is left alone.
"""
PATH_KEYS = ("data", "out")


def main(argv: list[str]) -> None:
    # As in `python -m train`: spinning threads would starve the process that prepares the next batch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from render.config import compose

    config = compose("benchmark_baselines", argv, PATH_KEYS)
    from train.benchmark.networks import KINDS, RivalSettings
    from train.dataset import stored_images

    kinds, budget = config["kinds"], config["budget_seconds"]
    require(isinstance(kinds, list) and bool(kinds) and all(k in KINDS for k in kinds), "kinds", f"be a list of {', '.join(KINDS)}", kinds)
    number = isinstance(budget, int | float) and not isinstance(budget, bool) and budget > 0
    require(number and math.isfinite(budget), "budget_seconds", "be a number > 0", budget)
    for key in ("batch", "crop_px", "seed", "workers"):
        whole = isinstance(config[key], int) and not isinstance(config[key], bool) and config[key] >= (0 if key in ("seed", "workers") else 1)
        require(whole, key, "be a whole number", config[key])
    require(config["crop_px"] % 64 == 0, "crop_px", "be a multiple of 64", config["crop_px"])
    source, _ = stored_images(config["data"], config["seed"])
    out = Path(config["out"])
    require(not out.exists() or out.is_dir(), "out", "be a folder or not exist", out)
    out.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        file = out / f"{kind}.safetensors"
        if file.exists():
            print(f"{file}: there already")
            continue
        settings = RivalSettings(kind=kind, batch=config["batch"], seed=config["seed"])
        card = train_rival(source, file, settings, budget, config["crop_px"], config["workers"])
        print(f"{file}: {card['steps']} batches of {settings.batch} in {card['seconds']:.0f} s, loss {card['loss']:.3f}")


def train_rival(
    source: Any, file: Path, settings: Any, budget_seconds: float, crop_px: int = 256, workers: int = 1, progress: bool = True
) -> dict[str, Any]:
    """Train one rival on the images of `source` (a `train.dataset.Source`) for `budget_seconds` of processor time and write `file`; returns its card.

    Processor time of the steps, all threads together: other work on the machine would take its share of wall time. What batches
    cost to prepare, here or by `workers`, is not counted.
    """
    import torch
    from torch.optim.swa_utils import AveragedModel
    from tqdm import tqdm

    from train.benchmark.networks import CENTRELINE, centreline_loss, index_map_loss, network_of, save_rival
    from train.model import computes_in_bf16
    from train.optimiser import learning_rate, moving_average, optimiser_of

    torch.manual_seed(settings.seed)
    network = network_of(settings).train()
    average = AveragedModel(network, multi_avg_fn=moving_average(settings.optimiser.ema_decay))
    optimiser = optimiser_of(network, settings.optimiser)
    bf16 = computes_in_bf16(torch.device("cpu"))
    loss_of = centreline_loss if settings.kind == CENTRELINE else index_map_loss
    spent, step, smoothed = 0.0, 0, None
    bar = tqdm(total=round(budget_seconds), desc=settings.kind, unit="s", disable=not progress, file=sys.stderr)
    for image, target, heard in _batches(source, settings, crop_px, workers):
        if spent >= budget_seconds and step:
            break
        begin = time.process_time()
        rate = learning_rate(settings.optimiser, step, spent / budget_seconds)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            logits = network(image)
        loss = loss_of(logits.float(), target, heard)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.optimiser.clip_norm)
        optimiser.step()
        average.update_parameters(network)
        step += 1
        value = float(loss.detach())
        require(math.isfinite(value), "the loss", "be finite", value, "a lower learning rate may help")
        smoothed = value if smoothed is None else 0.95 * smoothed + 0.05 * value
        spent += time.process_time() - begin
        bar.update(min(bar.total, int(spent)) - bar.n)
        bar.set_postfix(loss=f"{smoothed:.3f}")
    bar.close()
    card = {
        "steps": step, "seconds": spent, "loss": smoothed, "budget_seconds": budget_seconds, "crop_px": crop_px, "data": source.identity(),
    }  # fmt: skip
    save_rival(file, settings, average.module.state_dict(), card)
    return card


def _batches(source: Any, settings: Any, crop_px: int, workers: int) -> Iterator[Sequence[Any]]:
    """Batches (image (B, 1, Y, X), target, heard (B, 1, Yh, Xh)) without end; example n depends on the seed and n alone."""
    from torch.utils.data import DataLoader

    from train.benchmark.views import RivalViews

    views = RivalViews(source, settings.kind, settings.seed, crop_px)
    return iter(DataLoader(
        views, batch_size=settings.batch, num_workers=workers, multiprocessing_context="spawn" if workers else None,
        prefetch_factor=4 if workers else None, worker_init_fn=_one_thread if workers else None,
    ))  # fmt: skip


def _one_thread(worker: int) -> None:
    import numba
    import torch

    torch.set_num_threads(1)
    numba.set_num_threads(1)


def usage() -> str:
    from render.config import describe

    return f"{USAGE}\n{describe('benchmark_baselines')}"


if __name__ == "__main__":
    sys.exit(run_command(main, usage))
