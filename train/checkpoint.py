"""What a run leaves on disk: weights, a card that says where they come from, and the state to go on from.

Everything is safetensors and JSON: reading a file from anywhere executes nothing. A file is replaced in one step,
and each carries its own description in its header, so that an interrupted run never leaves a pair that disagrees.

    RUN/model.safetensors   averaged weights at the last checkpoint, card in the header
    RUN/best.safetensors    averaged weights of the best validation
    RUN/last.safetensors    weights at the last checkpoint as they are, without averaging
    RUN/*.json              the cards of these, for people
    RUN/state.safetensors   weights, average, optimiser moments and random state at the last checkpoint
    RUN/metrics.jsonl       one line a logged step or validation
    RUN/tensorboard         the same, with pictures
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from physics.errors import InputError, require
from train.channels import LATER_OUTPUTS, LIFT, channel_count
from train.model import LiftedNetwork, chosen_device, infer
from train.settings import TrainSettings
from train.targets import Maps
from train.turned import require_views

CARD_VERSION = 2
FIRST_LAYOUT = 1  # cards of this version: weights without the outputs `train.channels.LATER_OUTPUTS`
MODEL_FILE, STATE_FILE, METRICS_FILE = "model.safetensors", "state.safetensors", "metrics.jsonl"
BEST_FILE, LAST_FILE = "best.safetensors", "last.safetensors"
CARD_FILES = tuple(Path(file).with_suffix(".json").name for file in (MODEL_FILE, BEST_FILE, LAST_FILE))
TENSORBOARD_FOLDER = "tensorboard"
LR_FIND_FILES = ("lr_find.png", "lr_find.json")
UNFINISHED = ".part"
METRICS_BEGIN = b'{"step": '
# The network that comes with the package, and what it is called.
SHIPPED, SHIPPED_WEIGHTS = "shipped", Path(__file__).resolve().parent / "weights" / "default.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """A network ready to infer, the settings it was trained with, its card, and how many views of an image it is to see."""

    module: LiftedNetwork
    settings: TrainSettings
    card: dict[str, Any]
    views: int = 1


def model_name(path: str | os.PathLike[str] | None) -> str:
    """What reports call the network that `load_model` reads from `path`."""
    return SHIPPED if path in (None, SHIPPED) else Path(path).name


def load_model(path: str | os.PathLike[str] | None, device: str = "auto", views: int = 1) -> LoadedModel:
    """The network of a run folder or of a .safetensors file; None or "shipped": the one that comes with the package.

    Lines are found on maps averaged over so many `views` (`train.turned`).
    Raises InputError for what is not there, is damaged, or does not fit the network that its card describes.
    """
    path = SHIPPED_WEIGHTS if path in (None, SHIPPED) else Path(path)
    file = path / MODEL_FILE if path.is_dir() else path
    require(file.is_file(), "model", "be a training run or a .safetensors file", path)
    weights, header = _read(file, "model")
    try:
        card = json.loads(header["card"])
        version, values = card["version"], card["settings"]
        # Cards of before there was a choice do not name the optimiser: it was AdamW.
        values = values | {"optimiser": {"kind": "adamw"} | values.get("optimiser", {})}
    except (KeyError, ValueError, TypeError, AttributeError):
        raise InputError(f"model must carry the card of a training run, got none in {file}") from None
    require(version in (FIRST_LAYOUT, CARD_VERSION), "model", f"have card version {CARD_VERSION} or {FIRST_LAYOUT}", version)
    settings = TrainSettings.from_dict(values)
    module = network_of(settings)
    if version == FIRST_LAYOUT:
        weights = _with_later_outputs(weights, module)
    try:
        module.load_state_dict(weights)
    except RuntimeError:
        raise InputError(f"model must have the weights that its card describes, got others in {file}") from None
    return LoadedModel(module=module.to(chosen_device(device)).eval(), settings=settings, card=card, views=require_views(views))


def _with_later_outputs(weights: dict[str, torch.Tensor], module: LiftedNetwork) -> dict[str, torch.Tensor]:
    """Weights of the first layout with rows of the head for the outputs they lack: what an untaught network has, without noise."""
    first = LIFT + module.orientations
    kernel, bias = weights.get("head.1.weight"), weights.get("head.1.bias")
    if kernel is None or bias is None or len(kernel) != first or len(bias) != first:
        return weights
    module.untaught = LATER_OUTPUTS
    missing = channel_count(module.orientations) - first
    return weights | {
        "head.1.weight": torch.cat([kernel, torch.zeros(missing, *kernel.shape[1:])]),
        "head.1.bias": torch.cat([bias, module.head[1].bias.detach()[first:]]),
    }


def predict_maps(loaded: LoadedModel, image: np.ndarray) -> Maps:
    """Maps of an image (Y, X) of any counts, in float32; large images in overlapping windows.

    Raises InputError for an image under 16 px a side.
    """
    return infer(loaded.module, image)


def network_of(settings: TrainSettings) -> LiftedNetwork:
    """An untrained network of these settings; its weights depend on torch's random state."""
    return LiftedNetwork(settings.network, settings.targets.stride, settings.targets.orientations)


def save_model(run: Path, weights: Mapping[str, torch.Tensor], card: Mapping[str, Any], name: str = MODEL_FILE) -> None:
    """Write a model file and its card."""
    text = json.dumps(card, indent=1, ensure_ascii=False)
    _write(run / name, weights, {"card": text})
    replace_file((run / name).with_suffix(".json"), (text + "\n").encode())


def save_state(
    run: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, progress: Mapping[str, Any]
) -> None:
    """Write all that a run needs to go on; `progress` holds what is JSON."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    state = optimiser.state_dict()
    for index, moments in state["state"].items():
        tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in moments.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    _write(run / STATE_FILE, tensors, {"progress": json.dumps(dict(progress))})


def read_progress(run: Path) -> dict[str, Any] | None:
    """The `progress` of the last checkpoint in a run folder, or None where there is none."""
    file = run / STATE_FILE
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as opened:
            return json.loads((opened.metadata() or {})["progress"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"out must have a readable {STATE_FILE}, got: {error}; resume=false in another folder starts anew") from None


def read_card(run: Path, name: str = MODEL_FILE) -> dict[str, Any] | None:
    """The card of weights in a run folder, or None where there are none yet."""
    file = run / name
    return json.loads(_read(file, "out")[1].get("card", "{}")) if file.is_file() else None


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl; a last line that was cut short is left out.

    Raises InputError for a file that no run wrote.
    """
    file = run / METRICS_FILE
    lines = file.read_bytes().splitlines() if file.is_file() else []
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
            ours = isinstance(records[-1], dict) and isinstance(records[-1].get("step"), int)
        except ValueError:
            begun = line[: len(METRICS_BEGIN)]
            ours = number == len(lines) and METRICS_BEGIN.startswith(begun)
        require(ours, "out", f"hold a {METRICS_FILE} that a training run wrote", f"another one, line {number}, in {run}",
                "give another folder")  # fmt: skip
    return records


def is_unfinished(name: str) -> bool:
    """Whether a file of this name is what a killed run leaves of a file it was writing."""
    return name in [file + UNFINISHED for file in (MODEL_FILE, BEST_FILE, LAST_FILE, *CARD_FILES, STATE_FILE, METRICS_FILE)]


def may_stay(name: str) -> bool:
    """Whether a run may begin beside a file or folder of this name: a killed run or an lr_find left it."""
    return name in (METRICS_FILE, TENSORBOARD_FOLDER, BEST_FILE, *CARD_FILES[1:2], *LR_FIND_FILES) or is_unfinished(name)


def replace_metrics(run: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write metrics.jsonl anew."""
    replace_file(run / METRICS_FILE, "".join(json.dumps(record) + "\n" for record in records).encode())


def load_state(run: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Restore what `save_state` wrote, random state included."""
    tensors, _ = _read(run / STATE_FILE, "out")

    def part(name: str) -> dict[str, torch.Tensor]:
        return {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}

    network.load_state_dict(part("network"))
    average.load_state_dict(part("average"))
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in part("optimiser").items():
        index, _, what = name.partition(".")
        moments.setdefault(int(index), {})[what] = value
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])


def _read(file: Path, field: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{field} must be a readable safetensors file, got {file}: {error}") from None


def _write(file: Path, tensors: Mapping[str, torch.Tensor], header: dict[str, str]) -> None:
    # Tensors that share memory are refused by safetensors.
    kept = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    replace_file(file, save(kept, metadata=header))


def replace_file(file: Path, content: bytes) -> None:
    """Write a file in one step: a reader never meets half of it."""
    unfinished = file.with_name(file.name + UNFINISHED)
    unfinished.write_bytes(content)
    os.replace(unfinished, file)
