"""Best time of several runs, wall clock and processor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. `allowed_s` is the wall time that the project promises on two free cores, or None."""

    case: str
    wall_s: float
    cpu_s: float
    error: str
    allowed_s: float | None = None


def best_of(call: Callable[[], object], runs: int = 5) -> tuple[float, float]:
    """Least wall and least processor time in s; one run before counts for compilation and is not timed."""
    call()
    wall, cpu = [], []
    for _ in range(runs):
        wall_0, cpu_0 = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - wall_0)
        cpu.append(time.process_time() - cpu_0)
    return min(wall), min(cpu)
