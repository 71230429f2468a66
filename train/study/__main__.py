"""`python -m train.study study=NAME out=DIR`: which imaging conditions a network must have seen."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physics.errors import require
from render.cli import run_command

USAGE = """\
python -m train.study study=NAME out=DIR [workers=2] [data=FOLDER] [backgrounds=FOLDER] [dry=true] …

Renders images for every level of the study's factors, trains a network on each with each seed under one budget, and judges
every network on the images of every level, and on data=, a folder of real frames with labelme JSON beside them. DIR gets
report.html and report.md, study.json with every number, matrix.csv, and the pictures. The same command goes on with an interrupted study.
dry=true says what there is to do and what it costs, and does nothing.

  python -m train.study study=smoke out=SMOKE
  python -m train.study study=deviation out=S dry=true
  python -m train.study study=ablation out=A workers=2 backgrounds=EMPTY_FRAMES data=ANNOTATED_FRAMES
  python -m train.study study=dose out=D 'study.seeds=[0,1,2,3]' study.images.train=400
"""
PATH_KEYS = ("out", "data", "backgrounds", "cache", "scheduler")


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """The pieces of a study. `scores` are by condition, seed and test set; `tests` are the names of the latter."""

    study: Any
    renders: list[Any]
    trainings: list[Any]
    scores: list[list[list[Any]]]
    tests: list[str]
    real_images: int

    @property
    def all_scores(self) -> list[Any]:
        return [task for condition in self.scores for seed in condition for task in seed]

    def images_of(self, task: Any) -> int:
        """How many images a piece renders or judges."""
        from train.study.work import RenderTask, ScoreTask

        if isinstance(task, RenderTask):
            return task.n
        real = isinstance(task, ScoreTask) and task.data.suffix != ".zarr"
        return self.real_images if real else self.study.test_images


def work_of(study: Any, cache: Path, data: Path | None, threads: int, device: str) -> Work:
    """Everything that has to be done for a study, with the places where it is kept."""
    from train.io import find_images
    from train.study.plan import TEST_SEED, cell_key, content_hash, dataset_key, score_key, settings_of
    from train.study.work import RenderTask, ScoreTask, TrainTask

    renders: dict[str, RenderTask] = {}

    def rendered(condition: Any, n: int, seed: int) -> tuple[str, Path]:
        key = dataset_key(condition, n, seed)
        path = cache / "datasets" / f"{key}.zarr"
        renders.setdefault(key, RenderTask(path=path, scenes=condition.scenes, n=n, seed=seed))
        return key, path

    tests = [(c.name, *rendered(c, study.test_images, TEST_SEED)) for c in study.conditions]
    real_images = 0
    if data is not None:
        real_images = sum(path.with_suffix(".json").exists() for path in find_images(str(data)))
        tests.append((f"real: {data.name}", content_hash(data), data))
    trainings: dict[str, TrainTask] = {}
    scores: list[list[list[ScoreTask]]] = []
    for condition in study.conditions:
        of_condition = []
        for seed in study.seeds:
            key = cell_key(study, condition, seed, threads, device)
            path = cache / "runs" / key
            _, images = rendered(condition, study.train_images, seed)
            trainings[key] = TrainTask(path=path, data=images, settings=settings_of(condition, seed, device), threads=threads)
            of_condition.append([
                ScoreTask(path=cache / "scores" / f"{score_key(key, data_key)}.json", model=path, data=place, threads=threads, device=device)
                for _, data_key, place in tests
            ])  # fmt: skip
        scores.append(of_condition)
    order = [cell_key(study, study.conditions[c], seed, threads, device) for c, seed in study.cells()]
    return Work(
        study=study, renders=list(renders.values()), trainings=[trainings[key] for key in dict.fromkeys(order)], scores=scores,
        tests=[name for name, _, _ in tests], real_images=real_images,
    )  # fmt: skip


def run(work: Work, workers: int, scheduler: str | None, progress: bool = True) -> None:
    """Do what has not been done: images, then networks, then their scores."""
    from tqdm import tqdm

    from render.bulk import dask_client
    from train.study.work import perform_all

    stages = {"render": work.renders, "train": work.trainings, "score": list({task.path: task for task in work.all_scores}.values())}
    left = {name: [task for task in tasks if not task.done] for name, tasks in stages.items()}
    if not any(left.values()):
        return
    with dask_client(workers, scheduler) as client:
        for name, tasks in left.items():
            with tqdm(total=len(stages[name]), initial=len(stages[name]) - len(tasks), desc=name, unit="task", file=sys.stderr, disable=not progress) as bar:
                perform_all(tasks, client, bar.update)


def dry_text(work: Work) -> str:
    """The cells, what of them there is, and what the rest costs."""
    from train.study.estimate import Cost, cost_of, known_rates, size_of

    study, shape = work.study, tuple(work.study.conditions[0].scenes["shape"])
    stages = {"render": work.renders, "train": work.trainings, "score": list({task.path: task for task in work.all_scores}.values())}
    known = known_rates([(task, work.images_of(task)) for tasks in stages.values() for task in tasks], shape)
    lines = [f"{study.name}: {study.title}", f"{len(study.conditions)} conditions x {len(study.seeds)} seeds = {len(study.conditions) * len(study.seeds)} cells"]
    for c, seed in study.cells():
        s = study.seeds.index(seed)
        first = work.scores[c][s][0]
        training = next(task for task in work.trainings if task.path == first.model)
        done = sum(task.done for task in work.scores[c][s])
        state = "trained" if training.done else "begun" if training.path.exists() else "to train"
        lines.append(f"  {first.model.name}  seed {seed}  {study.conditions[c].name}: {state}, judged on {done} of {len(work.tests)} sets")
    total = Cost()
    for name, tasks in stages.items():
        cost = sum((cost_of(task, work.images_of(task), shape, known) for task in tasks), Cost())
        total += cost
        cached = sum(task.done for task in tasks)
        lines.append(f"{name}: {len(tasks)} tasks, {cached} cached, {cost.core_seconds / 3600:.3g} core-hours and {_bytes(cost.bytes)} to come")
    kept = sum(size_of(task.path) for tasks in stages.values() for task in tasks if task.done)
    lines.append(f"together: {total.core_seconds / 3600:.3g} core-hours, {_bytes(total.bytes)}; cached: {_bytes(kept)}")
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in `train`
    from render.config import compose

    config = compose("study", argv, PATH_KEYS)
    for key, least in (("workers", 0), ("threads", 1)):
        require(type(config[key]) is int and config[key] >= least, key, f"be a whole number >= {least}", repr(config[key]))
    require(isinstance(config["dry"], bool), "dry", "be true or false", config["dry"])
    require(config["device"] in ("auto", "cpu", "cuda"), "device", "be auto, cpu or cuda", config["device"])
    out = Path(config["out"])
    require(not out.exists() or out.is_dir(), "out", "be a folder or not exist", out)
    for key in ("data", "backgrounds"):
        require(config[key] is None or Path(config[key]).is_dir(), key, "be a folder", config[key])
    data = None if config["data"] is None else Path(config["data"]).absolute()
    from train.model import chosen_device
    from train.study.plan import study_of

    names = [argument.partition("=")[2] for argument in argv if argument.startswith("study=")]
    backgrounds = None if config["backgrounds"] is None else str(Path(config["backgrounds"]).absolute())
    study = study_of(names[-1] if names else "smoke", config["study"], backgrounds)
    if data is not None:
        from train.samples import samples_of

        for _ in samples_of(data, "all"):  # a label that cannot be read shows now, not after hours
            pass
    cache = Path(config["cache"]).absolute() if config["cache"] is not None else out.absolute() / "cache"
    work = work_of(study, cache, data, config["threads"], chosen_device(config["device"]).type)
    if config["dry"]:
        print(dry_text(work))
        return
    out.mkdir(parents=True, exist_ok=True)
    run(work, config["workers"], config["scheduler"])
    from train.study.report import write_report

    results = write_report(out, work)
    for sentence in results["sentences"]:
        print(sentence)
    print(f"{out / 'report.html'}: {len(study.conditions) * len(study.seeds)} cells")


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def usage() -> str:
    from render.config import describe

    return f"{USAGE}\n{describe('study')}"


if __name__ == "__main__":
    sys.exit(run_command(main, usage))
