"""Rendering many images: serially, on the cores of this machine, or on an existing dask cluster.

One shard is one task. Image i is a function of the configuration, the seed and i alone, so that the bytes are
the same however the work is spread and however often it is interrupted.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from physics.errors import InputError, require
from render.card import card, check_same, header, split_indices, summary
from render.micrograph import Micrograph
from render.on_device import check_modelled
from render.sample import SampleConfig, sample
from render.sample_config import FileScene
from render.shards import (
    Plan,
    clear_staging,
    create_dataset,
    default_shard,
    finish_dataset,
    finished_shards,
    shard_attributes,
    write_shard,
)
from render.simulate import simulate, simulate_batch
from render.store import read_attributes

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """What a worker needs to know to render one shard."""

    path: Path
    plan: Plan
    config: SampleConfig
    seed: int
    shard: int
    device: str = "cpu"
    foil_library: Path | None = None


def render_dataset(
    config: Mapping[str, Any],
    out: str | os.PathLike[str],
    *,
    n: int,
    seed: int = 0,
    workers: int = 0,
    scheduler: str | None = None,
    shard: int | None = None,
    keep_intensity: bool = True,
    device: str = "cpu",
    foil_library: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Path:
    """Render `n` images of `config` (a plain mapping, see `SampleConfig.from_dict`) into the dataset `out`.

    `workers` 0: in this process; k: on k processes of one thread each; `scheduler` "tcp://…": on a running dask
    cluster that sees the same `out`. `shard` None: a size that suits n. What is already finished in `out` is kept.
    Image 0 is rendered before anything is written. `foil_library`: a folder of foils that Blender has cast, which workers
    share. `device` "cuda" computes the intensities of a shard together on a GPU.

    Raises InputError for a configuration without images, an `out` that holds something else, or a device that is not
    there or does not model what is asked for.
    """
    sampling = SampleConfig.from_dict(config)
    known = isinstance(device, str) and device.partition(":")[0] in ("cpu", "cuda") and not device.startswith("cpu:")
    require(known, "device", "be cpu, cuda or cuda:N", device)
    n, seed, workers = _whole(n, "n", 1), _whole(seed, "seed", 0), _whole(workers, "workers", 0)
    first_scene = sample(sampling, seed, 0)
    # A scene read from a file brings its own shape.
    shape = first_scene.shape
    plan = Plan(n=n, shape=shape, shard=default_shard(n, shape) if shard is None else shard, keep_intensity=keep_intensity)
    path = Path(out).absolute()
    library = None if foil_library is None else Path(foil_library).absolute()
    attributes = header(config, plan, seed, device)
    if device != "cpu" and not sampling.beam.series and not isinstance(sampling.scene, FileScene):
        # Else the run would end at the first frame that has one.
        require(not any(sampling.surroundings.twin_share.values()), "surroundings.twin_share", f"be 0 on {device}", "more",
                "twins are modelled on the CPU only")  # fmt: skip
        require(not any(sampling.beam.convergence_mrad.values()), "beam.convergence_mrad", f"be 0 on {device}", "more",
                "averages over plane waves are modelled on the CPU only")  # fmt: skip
    state = _state(path, attributes)
    if state == "complete":
        return path
    split = split_indices(plan.n, seed, max(1, len(sampling.beam.series)))
    ready = {} if state else {0: simulate_batch([first_scene], device, library)[0]}
    if state is None:
        create_dataset(path, plan, attributes, split)
    try:
        with dask_client(workers, scheduler) as client, _alone(path):
            _render_missing(path, plan, sampling, seed, device, library, client, ready, progress)
    except InputError:
        # The configuration draws a Scene that cannot be, and will at every attempt. Finished work stays. By now
        # the workers have stopped, so that none writes into what is removed.
        if state is None and not finished_shards(path, plan):
            shutil.rmtree(path)
        raise
    summaries = [shard_attributes(path, k) for k in range(plan.shards)]
    sizes = {name: len(members) for name, members in split.items()}
    with _alone(path):
        finish_dataset(path, {**attributes, "state": "complete", "card": card(attributes, summaries, sizes)})
    return path


def render_shard(task: ShardTask, ready: Mapping[int, Micrograph] | None = None,
                 count: Callable[[int], Any] = lambda images: None) -> None:  # fmt: skip
    """Render one shard and write it; images in `ready` are taken as they are, `count` is told how many have come.

    Raises InputError, naming the image, for a Scene that cannot be.
    """
    if task.device != "cpu":
        micrographs = _rendered_together(task)
        count(len(micrographs))
    else:
        micrographs = []
        for i in task.plan.images(task.shard):
            with _named(i):
                micrographs.append((ready or {}).get(i) or simulate(sample(task.config, task.seed, i), task.foil_library))
            count(1)
    write_shard(task.path, task.plan, task.shard, micrographs, summary(micrographs))


def _rendered_together(task: ShardTask) -> list[Micrograph]:
    """The images of a shard, all on one device: not one by one, which would change their last bits."""
    scenes = []
    for i in task.plan.images(task.shard):
        with _named(i):
            scenes.append(sample(task.config, task.seed, i))
            check_modelled(scenes[-1], task.device)
    return simulate_batch(scenes, task.device, task.foil_library)


@contextmanager
def _named(image: int) -> Iterator[None]:
    """Put the image's number before a refusal."""
    try:
        yield
    except InputError as error:
        raise InputError(f"image {image}: {error}") from None


def _render_missing(
    path: Path, plan: Plan, sampling: SampleConfig, seed: int, device: str, library: Path | None, client: Client | None,
    ready: Mapping[int, Micrograph], progress: bool,
) -> None:  # fmt: skip
    clear_staging(path)
    done = set(finished_shards(path, plan))
    tasks = [
        ShardTask(path=path, plan=plan, config=sampling, seed=seed, shard=k, device=device, foil_library=library)
        for k in range(plan.shards)
        if k not in done
    ]
    finished = sum(len(plan.images(k)) for k in done)
    with tqdm(total=plan.n, initial=finished, unit="image", disable=not progress, dynamic_ncols=True) as bar:
        if client is None:
            for task in tasks:
                render_shard(task, ready, bar.update)
        else:
            for shard in _on_cluster(client, tasks):
                bar.update(len(plan.images(shard)))


def _on_cluster(client: Client, tasks: Sequence[ShardTask]) -> Iterator[int]:
    """Numbers of the shards as they are finished."""
    from distributed import CancelledError, KilledWorker, as_completed

    futures = client.map(_outcome, tasks, pure=False, key="shard")
    try:
        for _, (shard, refusal, failure) in as_completed(futures, with_results=True):
            if refusal is not None:
                raise InputError(refusal)
            if failure is not None:
                raise OSError(failure)
            yield shard
    except (KilledWorker, CancelledError) as error:
        raise OSError(f"workers died at their work, perhaps for want of memory; the same command resumes: {error}") from None
    finally:
        client.cancel(futures)


def _outcome(task: ShardTask) -> tuple[int, str | None, str | None]:
    """Render a shard on a worker: its number, a refusal, a failure of the machine. Other errors travel as they are."""
    import numba

    numba.set_num_threads(1)
    try:
        render_shard(task)
    except InputError as error:
        return task.shard, str(error), None
    except OSError as error:
        return task.shard, None, f"shard {task.shard}: {error}"
    return task.shard, None, None


@contextmanager
def dask_client(workers: int, scheduler: str | None) -> Iterator[Client | None]:
    """A client of `workers` processes of one thread each, or of a running cluster; None for neither.

    Raises InputError for a scheduler that does not answer.
    """
    if not workers and not scheduler:
        yield None
        return
    import dask
    from distributed import Client, LocalCluster

    if scheduler:
        try:
            client = Client(scheduler, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise InputError(f"scheduler must be the address of a running dask scheduler, got {scheduler}: {error}") from None
        with client:
            yield client
        return
    # numba is told in the task: it refuses another number once this process, which shares the variable, has used it.
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    # A worker that makes Blender's buffers has a child process of its own, which a daemon may not have.
    settings = {"distributed.worker.daemon": False, "distributed.nanny.pre-spawn-environ": threads,
                "distributed.worker.memory.terminate": False, "distributed.worker.memory.pause": False}  # fmt: skip
    with _environment_kept(), dask.config.set(settings):
        with LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0",
                          silence_logs="ERROR") as cluster, Client(cluster) as client:  # fmt: skip
            yield client


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Undo what happens to the environment: a nanny sets its workers' variables in this process and leaves them."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the dataset against a second render of it on this machine."""
    folder = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"out must not be rendered by two commands at once, got {path}, which one is rendering") from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(folder)


def _state(path: Path, attributes: Mapping[str, Any]) -> str | None:
    """ "rendering" or "complete" where `path` holds this very dataset, None where there is nothing yet."""
    if not path.exists() and not path.is_symlink():
        return None
    require(path.is_dir(), "out", "be a new path or a dataset", f"the file {path}")
    if not any(path.iterdir()):
        return None
    try:
        found = read_attributes(path)
    except InputError:
        raise InputError(f"out must be a new path or the dataset of this configuration, got {path}, which holds something else") from None
    check_same(found, attributes, path)
    return found["state"]


def _whole(value: Any, field: str, least: int) -> int:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least
    require(whole, field, f"be a whole number >= {least}", value)
    return int(value)
