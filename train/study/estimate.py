"""What a study will cost, before it is spent.

Rates are processor seconds on one core; those of training are in train/README.md, and what was already done in the same
cache says better: its own cost is taken where it is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from train.settings import TrainSettings
from train.study.work import RenderTask, ScoreTask, Task, TrainTask, core_seconds

MPX = 1e6
RENDER_S_PER_MPX = 9.0  # realistic scenes, surfaces relaxed
STEP_S_PER_MPX = 1.8  # `small`, with views and disturbances
TRAINING_START_S = 8.0
SMALL_PARAMETERS = 1.6e6
SCORE_S_PER_MPX = 1.6  # inference 0.66 (train/README.md), tracing and judging
IMAGE_BYTES_PER_PX = 1.7  # 16 bits, compressed, with labels
BYTES_PER_PARAMETER = 24  # averaged, last and resumable weights with two moments
SCORE_BYTES_PER_IMAGE = 400


@dataclass(frozen=True, kw_only=True)
class Cost:
    core_seconds: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(core_seconds=self.core_seconds + other.core_seconds, bytes=self.bytes + other.bytes)


def cost_of(task: Task, images: int, shape: tuple[int, int], known_s: dict[type, float] | None = None) -> Cost:
    """What is left to spend on a piece of work: nothing where it is done. `images` are those it renders or judges."""
    if task.done:
        return Cost()
    mpx = images * shape[0] * shape[1] / MPX
    if isinstance(task, RenderTask):
        seconds = (known_s or {}).get(RenderTask)
        return Cost(core_seconds=mpx * (RENDER_S_PER_MPX if seconds is None else seconds), bytes=mpx * MPX * IMAGE_BYTES_PER_PX)
    if isinstance(task, ScoreTask):
        return Cost(core_seconds=mpx * SCORE_S_PER_MPX, bytes=images * SCORE_BYTES_PER_IMAGE)
    parameters = parameters_of(task.settings)
    seconds = (known_s or {}).get(TrainTask)
    if seconds is None:
        seconds = training_seconds(task.settings, shape, parameters)
    return Cost(core_seconds=seconds, bytes=parameters * BYTES_PER_PARAMETER)


def training_seconds(settings: TrainSettings, shape: tuple[int, int], parameters: int) -> float:
    """Processor seconds of a whole run: of its examples by their pixels and the network's size, or `max_seconds` if less."""
    crop_px = min(settings.view.crop_px, min(shape))
    ends = [settings.max_steps and settings.max_steps * settings.batch, settings.max_images]
    examples = min((n for n in ends if n), default=None)
    if examples is None:
        return float(settings.max_seconds)
    seconds = TRAINING_START_S + examples * crop_px**2 / MPX * STEP_S_PER_MPX * max(0.2, parameters / SMALL_PARAMETERS)
    return min(seconds, settings.max_seconds) if settings.max_seconds else seconds


def known_rates(tasks: list[tuple[Task, int]], shape: tuple[int, int]) -> dict[type, float]:
    """From what is done: seconds a Mpx of rendering, seconds of one training."""
    known: dict[type, float] = {}
    for kind in (RenderTask, TrainTask):
        spent = [(core_seconds(task.path), images) for task, images in tasks if isinstance(task, kind) and task.done]
        spent = [(seconds, images) for seconds, images in spent if seconds]
        if spent and kind is RenderTask:
            known[kind] = sum(s for s, _ in spent) / sum(n * shape[0] * shape[1] / MPX for _, n in spent)
        elif spent:
            known[kind] = sum(s for s, _ in spent) / len(spent)
    return known


def parameters_of(settings: TrainSettings) -> int:
    from train.checkpoint import network_of

    return sum(p.numel() for p in network_of(settings).parameters())


def size_of(path: Path) -> int:
    """Bytes of a file, or of everything under a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.exists() else 0
