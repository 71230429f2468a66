"""Which device the torch path runs on, and what it can fuse there."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from physics.errors import InputError, require

# Values of one intermediate array: enough to fill a GPU, few enough to stay in a processor's cache.
CHUNK_VALUES = {"cuda": 2**25, "cpu": 2**18}
# Memory that the images computed at once may take: of a processor's, and as a share of what a GPU has free.
BATCH_BYTES = 2**29
BATCH_SHARE = 0.4


def torch_device(device: str | torch.device) -> torch.device:
    """The torch device named "cpu", "cuda" or "cuda:1".

    Raises InputError for another name, or a GPU that is not there.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise InputError(f'device must be "cpu", "cuda" or "cuda:N", got {device}') from None
    require(found.type in CHUNK_VALUES, "device", 'be "cpu", "cuda" or "cuda:N"', device)
    if found.type == "cuda":
        require(torch.cuda.is_available(), "device", "be one that torch finds here", f"{device}, and torch finds no GPU",
                "use device=cpu")  # fmt: skip
        count = torch.cuda.device_count()
        require((found.index or 0) < count, "device", f"be one of {count} GPUs, counted from 0", device)
    return found


def batch_bytes(device: torch.device) -> float:
    """How much memory the images computed at once may take."""
    return BATCH_SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else BATCH_BYTES


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` on tensors, its elementwise arithmetic fused by torch.compile where that is on a GPU and can be.

    Unfused, each operation passes through memory: three to ten times the time, the same numbers to rounding.
    """

    def call(*tensors: torch.Tensor) -> Any:
        on_gpu = any(t.is_cuda for t in tensors)
        return (_compiled(function) if on_gpu and _can_fuse() else function)(*tensors)

    return call


@cache
def _can_fuse() -> bool:
    """Whether torch.compile works here: it wants triton, a C compiler and a GPU that both know."""
    try:
        torch.compile(lambda x: x * x + 1)(torch.ones(2, device="cuda"))
    except Exception:  # noqa: BLE001 - whatever is missing, the unfused functions give the same
        return False
    return True


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)
