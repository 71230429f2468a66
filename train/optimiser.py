"""How weights move: the step and its rate, what decays, and the average that is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from train.settings import OptimiserSettings

MOMENTUM = 0.95
# Of an odd polynomial whose iteration takes every singular value of a matrix of norm 1 to about 1 (Jordan 2024).
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
# An orthogonal step of this size moves weights about as far as one of AdamW does (Liu et al. 2025, eq. 4).
ADAMW_STEP = 0.2


def learning_rate(settings: OptimiserSettings, step: int, fraction_done: float) -> float:
    """The rate of a step: a linear warm-up times half a cosine from 1 to `final_fraction` over the run."""
    warm = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, fraction_done)))
    return settings.learning_rate * warm * (settings.final_fraction + (1 - settings.final_fraction) * cosine)


def decayed_groups(parameters: Iterable[torch.Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay acts on kernels, not on biases and norms."""
    parameters = list(parameters)
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def optimiser_of(network: torch.nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """What moves a network of convolutions: of kind "muon" AdamW moves only its first and last kernels, biases and norms."""
    parameters = list(network.parameters())
    if settings.kind == "adamw":
        return torch.optim.AdamW(decayed_groups(parameters, settings.weight_decay), lr=settings.learning_rate)
    inner = [p for p in parameters if p.ndim > 1][1:-1]
    known = {id(p) for p in inner}
    others = decayed_groups((p for p in parameters if id(p) not in known), settings.weight_decay)
    matrices = {"params": inner, "weight_decay": settings.weight_decay, "orthogonal": True}
    return Muon([matrices, *others], lr=settings.learning_rate)


class Muon(torch.optim.AdamW):
    """Steps of orthogonal matrices (Jordan 2024) for the groups that say `orthogonal`, of AdamW for the others.

    The momentum of a kernel, as a matrix of one row an output channel, is brought to singular values of about 1: every
    direction moves alike, also those that few pixels ask for. Scaled to the root mean square of AdamW's steps, so that
    one rate serves all groups.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: D102
        for group in self.param_groups:
            if group.get("orthogonal"):
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._step_orthogonally(parameter, group["lr"], group["weight_decay"])
                        parameter.grad = None  # AdamW passes over it
        super().step()

    def _step_orthogonally(self, parameter: torch.Tensor, rate: float, weight_decay: float) -> None:
        state = self.state[parameter]
        if "momentum" not in state:
            # AdamW asks every state that it loads for its step.
            state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(parameter)}
        momentum = state["momentum"]
        momentum.lerp_(parameter.grad, 1 - MOMENTUM)
        ahead = parameter.grad.lerp(momentum, MOMENTUM)  # Nesterov
        matrix = ahead.reshape(len(ahead), -1)
        step = orthogonalised(matrix) * (ADAMW_STEP * math.sqrt(max(matrix.shape)))
        parameter.mul_(1 - rate * weight_decay).sub_(step.view_as(parameter), alpha=rate)


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """A matrix (M, N) with its singular vectors, and singular values between about 0.7 and 1.2.

    Those that were under 2e-3 of the root of the sum of all squares stay smaller.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def moving_average(decay: float) -> Callable[..., None]:
    """An exponential average that forgets the beginning: decay (1 + n) / (10 + n) until that exceeds `decay`."""

    @torch.no_grad()
    def update(averaged: list[torch.Tensor], current: list[torch.Tensor], n: torch.Tensor | int) -> None:
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + int(n)) / (10 + int(n))))

    return update
