"""The learned rivals: a U-Net that draws the centreline, and one that draws a flat map of instances at quarter resolution.

Both are MONAI's BasicUNet with group norms, of the width of `model=basicunet`. The first learns the centreline map of
`train.targets` and is read by a skeleton graph. The second learns which pixels are line and, of each, an embedding that is
alike within an instance and apart between instances (De Brabandere et al. 2017); pixels are clustered into one number
each, so that it can no more express two lines at one place than its target can.

Axes: B images, E embedding channels, (Yh, Xh) at half and (Yq, Xq) at quarter resolution.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.losses import DiceLoss
from monai.networks.nets import BasicUNet
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from torch.nn import functional

from physics.errors import InputError, require
from train import baselines as rivals
from train.augment import standardised
from train.benchmark.index_map import lines_of_index_map
from train.curves import TracedLine
from train.settings import OptimiserSettings
from train.targets import Maps

CENTRELINE, INDEX_MAP = "centreline", "index_map"
KINDS = (CENTRELINE, INDEX_MAP)
STRIDES = {CENTRELINE: 2, INDEX_MAP: 4}
EMBEDDING = 8
PULL, PUSH = 0.5, 1.5  # radii of the discriminative loss: within an instance, and half of that between two
LINE_LEVEL = 0.5
SMALLEST_INSTANCE = 4  # pixels of the quarter-resolution map
CARD_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class RivalSettings:
    """What a rival is and how it is trained: `width` channels, batches of `batch` views, by the optimiser of `python -m train`."""

    kind: str
    width: int = 24
    batch: int = 8
    optimiser: OptimiserSettings = OptimiserSettings()
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.kind in KINDS, "kind", f"be one of {', '.join(KINDS)}", self.kind)
        require(self.width >= 8 and self.width % 8 == 0, "width", "be a multiple of 8, at least 8", self.width)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rival:
    """A trained rival, its settings and the card that says where it comes from."""

    settings: RivalSettings
    module: nn.Module
    card: dict[str, Any] = field(default_factory=dict)

    def lines(self, image: np.ndarray) -> tuple[TracedLine, ...]:
        """The lines of an image (Y, X) of any counts."""
        logits = _logits(self.module, image, STRIDES[self.settings.kind])
        if self.settings.kind == CENTRELINE:
            return _centreline_lines(torch.sigmoid(logits[0]).numpy())
        chance = torch.sigmoid(logits[0]).numpy()
        flat, confidence = clustered(chance, logits[1:].numpy())
        return lines_of_index_map(flat, image.shape, confidence)


def network_of(settings: RivalSettings) -> nn.Module:
    """An untrained network; its weights depend on torch's random state."""
    w, stride = settings.width, STRIDES[settings.kind]
    channels = 1 if settings.kind == CENTRELINE else 1 + EMBEDDING
    body = BasicUNet(
        spatial_dims=2, in_channels=stride * stride, out_channels=channels, features=(w, w, 2 * w, 4 * w, 8 * w, w),
        norm=("group", {"num_groups": 8}),
    )  # fmt: skip
    return nn.Sequential(nn.PixelUnshuffle(stride), body)


def centreline_loss(logits: torch.Tensor, target: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
    """Cross entropy weighted 1 + 4 y, as the headline's, plus soft Dice; (B, 1, Yh, Xh) each."""
    weight = heard * (1 + 4 * target)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum") / weight.sum().clamp_min(1.0)
    dice = DiceLoss(batch=True, smooth_nr=1.0, smooth_dr=1.0)
    return entropy + dice(torch.sigmoid(logits) * heard, target * heard)


def index_map_loss(logits: torch.Tensor, flat: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
    """Line or not (B, 1 + E, Yq, Xq), and the discriminative loss on the numbers `flat` (B, Yq, Xq) of instances."""
    line = (flat > 0).float()[:, None]
    loss = centreline_loss(logits[:, :1], line, heard)
    for embedding, numbers in zip(logits[:, 1:], flat):
        if (numbers > 0).any():
            loss = loss + discriminative_loss(embedding, numbers) / len(flat)
    return loss


def discriminative_loss(embedding: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Pull the pixels of an instance to their mean, push the means of two apart (De Brabandere et al. 2017, eqs 1-3).

    `embedding` (E, Yq, Xq), `numbers` (Yq, Xq), 0 where there is no instance.
    """
    pixels = embedding[:, numbers > 0].T
    _, own, count = torch.unique(numbers[numbers > 0], return_inverse=True, return_counts=True)
    means = torch.zeros(len(count), pixels.shape[1], dtype=pixels.dtype).index_add(0, own, pixels) / count[:, None]
    off = (pixels - means[own]).square().sum(dim=1).add(1e-12).sqrt()
    pull = torch.zeros(len(count), dtype=pixels.dtype).index_add(0, own, functional.relu(off - PULL).square()) / count
    between = (means[:, None] - means[None]).square().sum(dim=2).add(1e-12).sqrt()
    push = functional.relu(2 * PUSH - between).square() * (1 - torch.eye(len(count), dtype=pixels.dtype))
    pairs = max(1, len(count) * (len(count) - 1))
    return pull.mean() + push.sum() / pairs + 1e-3 * means.square().sum(dim=1).add(1e-12).sqrt().mean()


def clustered(chance: np.ndarray, embedding: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Numbers (Yq, Xq) from 1 of the instances, and their mean chance of being a line.

    From the surest free pixel on: its embedding's neighbours within PUSH, moved to their mean twice, are one instance.
    """
    flat = np.zeros(chance.shape, dtype=np.int32)
    rows, columns = np.nonzero(chance > LINE_LEVEL)
    points = embedding[:, rows, columns].T.astype(np.float64)
    free = np.ones(len(points), dtype=bool)
    confidence: list[float] = []
    for seed in np.argsort(-chance[rows, columns], kind="stable"):
        if not free[seed]:
            continue
        centre = points[seed]
        for _ in range(2):
            near = free & (((points - centre) ** 2).sum(axis=1) < PUSH**2)
            centre = points[near].mean(axis=0) if near.any() else centre
        near = free & (((points - centre) ** 2).sum(axis=1) < PUSH**2)
        near[seed] = True
        free &= ~near
        if near.sum() >= SMALLEST_INSTANCE:
            confidence.append(float(chance[rows[near], columns[near]].mean()))
            flat[rows[near], columns[near]] = len(confidence)
    return flat, confidence


def _centreline_lines(chance: np.ndarray) -> tuple[TracedLine, ...]:
    empty = np.zeros_like(chance)
    maps = Maps(mask=empty, centreline=chance, half_width_px=empty, ends=empty, lift=empty[None],
                ignore=empty.astype(bool), stride=STRIDES[CENTRELINE])  # fmt: skip
    return rivals.centreline_linked(maps)


@torch.no_grad()
def _logits(module: nn.Module, image: np.ndarray, stride: int) -> torch.Tensor:
    """Logits (C, Yh, Xh) of one image, mirrored to a size the network takes and cut again."""
    multiple = 16 * stride
    size = [max(2, math.ceil(n / multiple)) * multiple for n in image.shape]
    padded = np.pad(standardised(np.asarray(image, dtype=np.float32)), [(0, s - n) for s, n in zip(size, image.shape)], mode="symmetric")
    logits = module(torch.from_numpy(padded)[None, None]).float()[0]
    return logits[:, : -(-image.shape[0] // stride), : -(-image.shape[1] // stride)]


def save_rival(file: Path, settings: RivalSettings, weights: Mapping[str, torch.Tensor], card: Mapping[str, Any]) -> None:
    """Write weights with their card in the header, in one step."""
    text = json.dumps({"version": CARD_VERSION, "settings": asdict(settings), **card})
    content = save({k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}, metadata={"rival": text})
    part = file.with_name(f".{file.name}.part")
    part.write_bytes(content)
    os.replace(part, file)


def load_rival(file: Path) -> Rival:
    """A rival ready to infer. Raises InputError for a file that is not there, damaged, or no rival's."""
    try:
        with safe_open(file, framework="pt") as opened:
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            card = json.loads((opened.metadata() or {})["rival"])
            values = card["settings"]
            settings = RivalSettings(**values | {"optimiser": OptimiserSettings(**values["optimiser"])})
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"baselines must hold readable {file.name}, got {file}: {' '.join(str(error).split())}") from None
    module = network_of(settings)
    try:
        module.load_state_dict(weights)
    except RuntimeError:
        raise InputError(f"baselines must have the weights that their card describes, got others in {file}") from None
    return Rival(settings=settings, module=module.eval(), card=card)
