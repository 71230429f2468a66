"""How weights move: the rate of a step, what decays, and the average that is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from train.settings import OptimiserSettings


def learning_rate(settings: OptimiserSettings, step: int, fraction_done: float) -> float:
    """The rate of a step: a linear warm-up times half a cosine from 1 to `final_fraction` over the run."""
    warm = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, fraction_done)))
    return settings.learning_rate * warm * (settings.final_fraction + (1 - settings.final_fraction) * cosine)


def decayed_groups(network: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay acts on kernels, not on biases and norms."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def moving_average(decay: float) -> Callable[..., None]:
    """An exponential average that forgets the beginning: decay (1 + n) / (10 + n) until that exceeds `decay`."""

    @torch.no_grad()
    def update(averaged: list[torch.Tensor], current: list[torch.Tensor], n: torch.Tensor | int) -> None:
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + int(n)) / (10 + int(n))))

    return update
