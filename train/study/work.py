"""The work of a study: render, train, evaluate. Each piece is a function of what it is told, is written whole, and is done once.

A piece that was interrupted goes on where it stopped (datasets by shard, networks by checkpoint) and gives the same numbers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physics.errors import InputError
from train.settings import TrainSettings

DECIMALS = 1  # of the example's curves, px
SHOWN_IMAGE = 0
COUNTS = ("true_curves", "predicted_curves", "matched", "true_length_px", "found_length_px", "predicted_length_px", "correct_length_px", "complete")


@dataclass(frozen=True, kw_only=True, eq=False)
class RenderTask:
    """A set of images, rendered into `path`."""

    path: Path
    scenes: Mapping[str, Any]
    n: int
    seed: int

    @property
    def done(self) -> bool:
        return _record(self.path).is_file()


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainTask:
    """A network, trained on `data` into the folder `path`."""

    path: Path
    data: Path
    settings: TrainSettings
    threads: int

    @property
    def done(self) -> bool:
        return _record(self.path).is_file()


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreTask:
    """The scores of the network `model` on every image of `data`, a dataset or a folder, in the file `path`."""

    path: Path
    model: Path
    data: Path
    threads: int
    device: str

    @property
    def done(self) -> bool:
        return self.path.is_file()


Task = RenderTask | TrainTask | ScoreTask


def perform(task: Task) -> float:
    """Do a piece of work, unless it has been done; its core-seconds as far as one process knows them."""
    if task.done:
        return 0.0
    start = time.process_time()
    task.path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(task, RenderTask):
        from render.bulk import render_dataset

        render_dataset(task.scenes, task.path, n=task.n, seed=task.seed, keep_intensity=False, progress=False)
        _write_record(task.path, start)
    elif isinstance(task, TrainTask):
        from render import open_dataset
        from train.dataset import StoredImages
        from train.loop import train

        with _threads(task.threads):
            train(StoredImages(open_dataset(task.data), task.settings.seed), task.path, task.settings, progress=False)
        _write_record(task.path, start)
    else:
        with _threads(task.threads):
            _write_scores(task)
    return time.process_time() - start


def perform_all(tasks: list[Task], client: Any, count: Callable[[], Any]) -> None:
    """Do pieces that do not need one another, here or on the workers of a dask `client`; `count` is told of each.

    Raises what a piece raises; pieces already done stay.
    """
    if client is None:
        for task in tasks:
            perform(task)
            count()
        return
    from distributed import as_completed

    futures: list[Future] = [client.submit(_outcome, task, pure=False, retries=2) for task in tasks]
    try:
        for _, refusal in as_completed(futures, with_results=True):
            if refusal is not None:
                raise InputError(refusal)
            count()
    finally:
        client.cancel(futures)


def read_scores(path: Path) -> dict[str, Any]:
    """{"images": [counts of each image], "example": curves of one} as `ScoreTask` writes them."""
    return json.loads(path.read_text(encoding="utf-8"))


def core_seconds(path: Path) -> float | None:
    """What a finished dataset or network cost, as far as it was made in one go."""
    record = _record(path)
    return json.loads(record.read_text())["core_seconds"] if record.is_file() else None


def _outcome(task: Task) -> str | None:
    """On a worker: None, or a refusal; other errors travel as they are."""
    import numba

    numba.set_num_threads(1)
    try:
        perform(task)
    except InputError as error:
        return str(error)
    return None


def _write_scores(task: ScoreTask) -> None:
    from train.checkpoint import load_model
    from train.metrics import score_image
    from train.predict import lines_in_sample
    from train.samples import samples_of, within_roi

    model = load_model(task.model, device=task.device)
    images, example = [], None
    for n, sample in enumerate(samples_of(task.data, "all")):
        lines = within_roi(lines_in_sample(model, sample), sample.roi_px)
        score = score_image(lines, sample.truth, sample.image.shape)
        counts = {name: getattr(score, name) for name in COUNTS}
        images.append(counts | {"crossings": sum(score.crossings), "crossings_resolved": sum(score.crossings_resolved)})
        if n == SHOWN_IMAGE:
            curves = [line.points_px for line in lines]
            example = {"name": sample.name, "found_px": [c.round(DECIMALS).tolist() for c in curves],
                       "true_px": [c.round(DECIMALS).tolist() for c in sample.truth.curves_px]}  # fmt: skip
    _write(task.path, {"images": images, "example": example})


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """With so many threads of torch: another number may change the last bits of a network."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _record(path: Path) -> Path:
    """Beside what is finished: a run or a dataset holds nothing of ours."""
    return path.with_name(f"{path.name}.done.json")


def _write_record(path: Path, start: float) -> None:
    _write(_record(path), {"core_seconds": round(time.process_time() - start, 2)})


def _write(path: Path, values: Any) -> None:
    from train.evaluate import write_text

    write_text(path, json.dumps(values))
