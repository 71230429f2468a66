"""The training loop, to be read from top to bottom.

Axes: B images of a batch, K orientation bins, (Y, X) image rows and columns, (Yh, Xh) those of the maps.
"""

from __future__ import annotations

import hashlib
import math
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from physics.errors import InputError, require
from render import Dataset
from train.checkpoint import (
    BEST_FILE,
    CARD_VERSION,
    LAST_FILE,
    load_state,
    may_stay,
    network_of,
    read_card,
    read_metrics,
    read_progress,
    save_model,
    save_state,
)
from train.checkpoint import LoadedModel as LoadedModel
from train.checkpoint import load_model as load_model
from train.checkpoint import predict_maps as predict_maps
from train.dataset import Examples, Source, StoredImages, batches, validation_batch, whole_target
from train.distributed import Group
from train.loss import loss_parts
from train.metrics import score_image, summarise, truth_of
from train.model import chosen_device, computes_in_bf16, infer
from train.optimiser import learning_rate, moving_average, optimiser_of
from train.pictures import maps_picture
from train.runlog import RunLog, require_mlflow
from train.settings import TrainSettings
from train.trace import trace_lines

SHOWN = 4  # validation images that TensorBoard shows


class TrainingFailed(InputError):
    """The loss is not a number; the message names the step and the images of the batch."""


def train(
    source: Source, out: Path, settings: TrainSettings, *, validation: Dataset | None = None, resume: str = "auto",
    progress: bool = True, begin_from: LoadedModel | None = None, group: Group | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train a network on `source`, leave it in the folder `out`, and return its card.

    The weights begin at random, or as those of `begin_from`, which must be a network of the same settings.

    `resume` "auto" goes on from the last checkpoint in `out`, if there is one, along the same loss curve; "false"
    refuses a folder that holds a run. Of a `group` of processes each calls this, and the first one writes.

    Raises InputError for a folder that holds another run and for a batch that does not fit into the GPU, and
    TrainingFailed where the loss is not finite.
    """
    group = group or Group(device=chosen_device(settings.device))
    device, gpu = group.device, group.device.type == "cuda"
    share = group.share(settings.batch)
    require_mlflow(settings)
    identity = _begun_from(source.identity(), settings, begin_from)
    reached = _reached(out, settings, identity, resume)
    step, seconds_before = reached["step"], reached["seconds"]
    stored = read_card(out) if step else None
    if stored and stored.get("steps") == step and _fraction_done(settings, step, seconds_before) >= 1:
        return stored
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if computes_in_bf16(device) else "fp32"

    monai.utils.set_determinism(seed=settings.seed, use_deterministic_algorithms=None)
    network = network_of(settings).to(device)
    if begin_from is not None:
        network.load_state_dict(begin_from.module.state_dict())
    average = AveragedModel(network, multi_avg_fn=moving_average(settings.optimiser.ema_decay))
    optimiser = optimiser_of(network, settings.optimiser)
    loaded = batches(Examples(source, settings), step, settings, share=share, pin_memory=gpu)
    # Bad input shows here, before anything is written.
    ready = next(loaded) if _fraction_done(settings, step, seconds_before) < 1 else None

    group.wait()  # until everybody has seen the folder as it was
    if group.leads:
        out.mkdir(parents=True, exist_ok=True)
    if step > 0:
        load_state(out, network, average, optimiser)
    whole = group.wrapped(network)
    log = RunLog(out, settings, last_step=step) if group.leads else None
    # What was last validated stays on the card until the next validation.
    card = (stored or {}) | _card(settings, identity, precision, network) | {"processes": group.size}
    best = read_card(out, BEST_FILE) if step else None
    if best:  # it may be younger than the checkpoint
        card["best"] = best["best"]
    checkpointed = validated = seconds_before
    started: float | None = None
    waited = 0.0
    running = {name: torch.tensor(value, device=device) for name, value in reached.get("running", {}).items()}
    ends = [n for n in (settings.max_steps, settings.max_images and math.ceil(settings.max_images / settings.batch)) if n]
    bar = tqdm(unit="step", initial=step, total=min(ends, default=None), disable=not (progress and group.leads), file=sys.stderr, desc="train")

    def seconds() -> float:
        return seconds_before + (0.0 if started is None else time.monotonic() - started)

    def checkpoint() -> dict[str, Any]:
        reached_s = seconds()
        written = card | {"steps": step, "seconds": round(reached_s, 1)}
        if group.leads:
            sums = {name: value.item() for name, value in running.items()}
            save_state(out, network, average, optimiser, _progress(settings, identity, step, reached_s) | {"running": sums})
            save_model(out, network.state_dict(), written, LAST_FILE)
            save_model(out, average.module.state_dict(), written)
        return written

    network.train()
    last = ready is None
    while not last:
        # The clock starts with the first batch: starting the loading processes is not training.
        started = started or time.monotonic()
        asked = time.monotonic()
        images, targets = ready or next(loaded)
        ready = None
        waited += time.monotonic() - asked
        rate = learning_rate(settings.optimiser, step, group.agreed(_fraction_done(settings, step, seconds())))
        for parameters in optimiser.param_groups:
            parameters["lr"] = rate
        try:
            images, targets = images.to(device, non_blocking=gpu), targets.to(device, non_blocking=gpu)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = whole(images)
            parts = loss_parts(logits, targets, settings.loss, group.total)
            optimiser.zero_grad(set_to_none=True)
            # Wrapped, gradients become the mean over the group; the loss is that of the sums over it.
            (parts["loss"] * group.size).backward()
        except torch.OutOfMemoryError:
            raise InputError(
                f"batch must fit into the memory of the GPU, got {settings.batch} views of {images.shape[-2]} x {images.shape[-1]} px; "
                "a smaller batch, view.crop_px or model may"
            ) from None
        gradient = torch.nn.utils.clip_grad_norm_(network.parameters(), settings.optimiser.clip_norm)
        if not (torch.isfinite(parts["loss"]) and torch.isfinite(gradient)):
            raise TrainingFailed(_not_finite(source, settings, step, parts["loss"].item(), gradient.item()))
        optimiser.step()
        average.update_parameters(network)
        step += 1

        for name, value in parts.items():
            running[name] = running.get(name, 0.0) + value.detach()
        bar.update()
        last = group.agreed(_fraction_done(settings, step, seconds())) >= 1
        if settings.log_every and (step % settings.log_every == 0 or last):
            since = (step - 1) % settings.log_every + 1
            means = {name: round(value.item() / since, 6) for name, value in running.items()}
            running = {}
            trained_s = max(seconds() - seconds_before, 1e-9)
            speed, share_waited = (step - reached["step"]) * settings.batch / trained_s, waited / trained_s
            card |= {"images_per_s": round(speed, 2), "wait_share": round(share_waited, 4)}
            if log:
                log.write({"step": step, "seconds": round(seconds(), 2), "learning_rate": rate, **means,
                           "images_per_s": round(speed, 2), "wait_share": round(share_waited, 4)}, "train")  # fmt: skip
            bar.set_postfix_str(f"loss {means['loss']:.3f}, {speed:.1f} images/s, waits {share_waited:.0%}", refresh=False)
        due = settings.validation_seconds and group.agreed(seconds()) - validated >= settings.validation_seconds
        if validation is not None and len(validation) and settings.validation_images and (due or last):
            paused = time.monotonic()
            if log:
                card["validation"], pictures = validate(average.module, validation, settings)
                log.write({"step": step, "seconds": round(seconds(), 2), **card["validation"]}, "val")
                log.show(pictures, step)
                if _merit(card["validation"]) > _merit(card.get("best")):
                    card["best"] = {"step": step, **card["validation"]}
                    save_model(out, average.module.state_dict(), card | {"steps": step, "seconds": round(seconds(), 1)}, BEST_FILE)
            group.wait()
            started += time.monotonic() - paused
            validated = group.agreed(seconds())
        if not last and seconds() - checkpointed >= settings.checkpoint_seconds:
            checkpoint()
            checkpointed = seconds()
    bar.close()
    written = checkpoint()
    if log:
        log.close()
    group.wait()
    return written


def _fraction_done(settings: TrainSettings, step: int, seconds: float) -> float:
    by_steps = step / settings.max_steps if settings.max_steps else 0.0
    by_time = seconds / settings.max_seconds if settings.max_seconds else 0.0
    by_images = step * settings.batch / settings.max_images if settings.max_images else 0.0
    return max(by_steps, by_time, by_images)


def _not_finite(source: Source, settings: TrainSettings, step: int, loss: float, gradient: float) -> str:
    """What a person needs to meet that batch again: example n is a function of the seed and n alone."""
    first, stop = step * settings.batch, (step + 1) * settings.batch
    return (
        f"loss must stay finite, got {loss} (gradient {gradient}) at step {step}, images {[source.of_example(n) for n in range(first, stop)]}, "
        f"examples {first} to {stop - 1} of seed {settings.seed}; a smaller optimiser.learning_rate may help"
    )


def _merit(validation: dict[str, Any] | None) -> tuple[float, float]:
    """By what validations are compared: instance F1, then loss."""
    if validation is None:
        return (-1.0, -math.inf)
    return (validation.get("val_instance_f1") or 0.0, -validation["val_loss"])


def validate(
    network: torch.nn.Module, dataset: Dataset, settings: TrainSettings
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Loss on the middles of the first validation images, and curve metrics of tracing them whole; pictures of some."""
    numbers = range(min(settings.validation_images, len(dataset)))
    source = StoredImages(dataset, settings.seed)
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    losses, scores, pictures = [], [], []
    with torch.no_grad():
        for number in numbers:
            images, targets = validation_batch(source, [number], settings)
            losses.append(loss_parts(network(images.to(device)), targets.to(device), settings.loss)["loss"].item())
            image = dataset.image(number)
            found = infer(network, image)
            scores.append(score_image(trace_lines(found), truth_of(dataset.lines(number), dataset.shape), dataset.shape))
            if len(pictures) < SHOWN:
                pictures.append(maps_picture(image, whole_target(source, number, settings), found))
    network.train(was_training)
    summary = summarise(scores, bootstrap=0)
    kept = ("instance_f1", "crossings_resolved", "completeness", "correctness", "centreline_f1")
    return {"val_loss": round(float(np.mean(losses)), 6), "val_images": len(scores)} | {
        f"val_{name}": summary.get(name) for name in kept
    }, pictures


def _begun_from(identity: dict[str, Any], settings: TrainSettings, model: LoadedModel | None) -> dict[str, Any]:
    """The identity of a run's data, with the weights that it begins from counted in."""
    if model is None:
        return identity
    same = (model.settings.network, model.settings.targets) == (settings.network, settings.targets)
    require(same, "init", "be a network of the same model and targets settings", model.settings.network)
    weights = hashlib.sha256()
    for name, tensor in sorted(model.module.state_dict().items()):
        weights.update(name.encode() + tensor.cpu().numpy().tobytes())
    together = hashlib.sha256((identity["sha256"] + weights.hexdigest()).encode()).hexdigest()
    return identity | {"begun_from_sha256": weights.hexdigest(), "begun_from": model.card.get("data"), "sha256": together}


def _reached(out: Path, settings: TrainSettings, identity: dict[str, Any], resume: str) -> dict[str, Any]:
    """Step and seconds that the run in `out` has reached; refuses a folder that this run must not touch."""
    require(resume in ("auto", "true", "false"), "resume", "be auto, true or false", resume)
    require(not out.exists() or out.is_dir(), "out", "be a folder or not exist", out)
    found = read_progress(out) if out.is_dir() else None
    read_metrics(out)
    if found is None:
        require(resume != "true", "out", "hold a run to resume", out)
        foreign = sorted(p.name for p in out.iterdir() if not may_stay(p.name)) if out.is_dir() else []
        require(not foreign, "out", "be empty or a training run", f"{out} with {foreign[0] if foreign else ''}")
        return {"step": 0, "seconds": 0.0}
    require(resume != "false", "out", "not hold a run already", out, "give another folder, or resume=auto")
    require(found["run"] == settings.run_hash(), "out", "hold a run of the same configuration", f"another one in {out}",
            "give another folder")  # fmt: skip
    require(found["data"] == identity["sha256"], "data", "be what the run began with", "other data", "give another out")
    return found


def _progress(settings: TrainSettings, identity: dict[str, Any], step: int, seconds: float) -> dict[str, Any]:
    return {"step": step, "seconds": seconds, "run": settings.run_hash(), "data": identity["sha256"]}


def _card(settings: TrainSettings, identity: dict[str, Any], precision: str, network: torch.nn.Module) -> dict[str, Any]:
    return {
        "version": CARD_VERSION,
        "settings": settings.to_dict(),
        "data": identity,
        "precision": precision,
        "parameters": sum(p.numel() for p in network.parameters()),
        "versions": {"python": platform.python_version()} | {n: version(n) for n in ("gdotb", "torch", "monai", "numpy")},
    }
