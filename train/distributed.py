"""Several processes that train one network, started by `torchrun`: one process is the group of size 1.

The batch of the settings is that of the whole group; each process loads and computes its share of it. The loss is
made of sums over the batch, and those sums are taken over the group before anything is divided by anything, so that
any number of processes takes the same steps, to rounding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from physics.errors import InputError, require
from train.model import chosen_device


@dataclass(frozen=True, kw_only=True)
class Group:
    """This process among those that train together; `rank` 0 writes, validates and decides."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """Which examples of a batch are this process's. Raises InputError where they cannot be divided evenly."""
        require(batch % self.size == 0, "batch", f"be a multiple of the number of processes, {self.size}", batch)
        each = batch // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def total(self, sums: torch.Tensor) -> torch.Tensor:
        """The sums over the group, in the gradient of this process's own part of them."""
        if self.size == 1:
            return sums
        whole = sums.detach().clone()
        dist.all_reduce(whole)
        return sums + (whole - sums.detach())

    def agreed(self, value: float) -> float:
        """The value that the process of rank 0 has: clocks differ."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, src=0)
        return float(shared.item())

    def wrapped(self, network: nn.Module) -> nn.Module:
        """The network, whose gradients are the mean over the group from now on."""
        if self.size == 1:
            return network
        return nn.parallel.DistributedDataParallel(network, device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """The group that `torchrun` started this process in: nccl between GPUs, gloo between CPUs; else a group of one.

    Raises InputError where there are more processes than GPUs on a machine, or the processes cannot reach each other.
    """
    size, rank, local = (int(os.environ.get(name, default)) for name, default in (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0")))
    chosen = chosen_device(device)
    if size == 1:
        yield Group(device=chosen)
        return
    if chosen.type == "cuda":
        require(local < torch.cuda.device_count(), "torchrun --nproc-per-node", "be at most the number of GPUs",
                f"process {local} on {torch.cuda.device_count()}")  # fmt: skip
        chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    try:
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        raise InputError(f"torchrun must connect its processes, got: {error}") from None
    try:
        yield Group(rank=rank, size=size, device=chosen)
    finally:
        dist.destroy_process_group()
