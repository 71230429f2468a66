"""Lists of unequal length one behind another: N entries in R runs of `lengths` (R,)."""

from __future__ import annotations

from collections.abc import Iterator

import torch


def run_of_each(lengths: torch.Tensor) -> torch.Tensor:
    """Number of the run (N,) that each entry belongs to."""
    return torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)


def starts(lengths: torch.Tensor) -> torch.Tensor:
    """Where each run begins (R,)."""
    return torch.cumsum(lengths, 0) - lengths


def place_in_run(lengths: torch.Tensor) -> torch.Tensor:
    """0, 1, 2 ... (N,) within each run."""
    run = run_of_each(lengths)
    return torch.arange(len(run), device=lengths.device) - starts(lengths)[run]


def chosen_runs(first: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Entries (N,) of runs that begin at `first` (R,), one run after another; a run may be chosen more than once."""
    return first[run_of_each(lengths)] + place_in_run(lengths)


def reduce_runs(values: torch.Tensor, lengths: torch.Tensor, how: str) -> torch.Tensor:
    """Sum or minimum (R, ...) over each run of `values` (N, ...), always in the same order: the same bits each time."""
    return torch.segment_reduce(values, how, lengths=lengths, axis=0, unsafe=True)


def chunks(lengths: torch.Tensor, most: int) -> Iterator[tuple[slice, slice]]:
    """Pieces (of runs, of entries) with at most `most` entries where runs allow it."""
    if len(lengths) == 0:
        return
    ends = torch.cumsum(lengths, 0).cpu()
    run, entry = 0, 0
    while run < len(ends):
        last = max(run + 1, int(torch.searchsorted(ends, entry + most, right=True)))
        end = int(ends[last - 1])
        yield slice(run, last), slice(entry, end)
        run, entry = last, end
