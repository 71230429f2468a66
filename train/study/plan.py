"""What a study is: factors with their levels, crossed to conditions, each trained on with several seeds.

Nouns: a *condition* is one level of every factor; a *cell* is a condition and a seed, one network. A key is the hash of
everything that the numbers depend on, so that equal work is done once, and work is found again after it was interrupted.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from physics.errors import InputError, require
from render.config import compose
from render.sample_config import BULK_KEYS, SampleConfig
from train.settings import NOT_PART_OF_A_RUN, TrainSettings

MEASURES = ("instance_f1", "centreline_f1", "completeness", "correctness", "crossings_resolved")
BACKGROUNDS = "BACKGROUNDS"  # in a level: the folder given as backgrounds=
TEST_SEED = 2_000_000  # of test images; those to train on have the seed of their cell
STUDY_KEYS = ("title", "factors", "seeds", "images", "render", "train", "measure")
RENDER_PATH_KEYS = ("out", "scene.file", "scene.backgrounds")
ENDS = ("max_steps", "max_seconds", "max_images")


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of a factor: overrides of the render configuration, and of the training configuration."""

    name: str
    render: tuple[str, ...] = ()
    train: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Factor:
    """What is varied. Effects are those of every other level against the first."""

    name: str
    levels: tuple[Level, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Condition:
    """One level of every factor, with the render configuration and the training settings that it makes."""

    levels: tuple[str, ...]
    scenes: Mapping[str, Any]
    settings: TrainSettings

    @property
    def name(self) -> str:
        return ", ".join(self.levels)


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """A study as it is planned. `train_images`, `test_images` are those of one condition; `measure` is what is compared."""

    name: str
    title: str
    factors: tuple[Factor, ...]
    seeds: tuple[int, ...]
    train_images: int
    test_images: int
    measure: str
    conditions: tuple[Condition, ...]

    def cells(self) -> list[tuple[int, int]]:
        """(number of the condition, seed) of every network, seeds outermost: a study cut short has whole replicates."""
        return [(c, seed) for seed in self.seeds for c in range(len(self.conditions))]


def study_of(name: str, given: Mapping[str, Any], backgrounds: str | None = None) -> Study:
    """The study that a configuration of configs/study describes.

    Raises InputError, naming the field, for what is missing or cannot be composed into scenes and training settings.
    """
    unknown = sorted(set(given) - set(STUDY_KEYS))
    require(not unknown, "study", f"have only the keys {', '.join(STUDY_KEYS)}", ", ".join(map(str, unknown)))
    missing = [key for key in STUDY_KEYS if key not in given]
    require(not missing, "study", f"have {', '.join(STUDY_KEYS)}", f"none of {', '.join(missing)}")
    factors = tuple(_factor(factor, levels) for factor, levels in _mapping(given["factors"], "study.factors").items())
    require(bool(factors), "study.factors", "hold one factor at least", "none")
    seeds = given["seeds"]
    whole = isinstance(seeds, list) and bool(seeds) and all(type(s) is int and 0 <= s < TEST_SEED for s in seeds)
    require(whole and len(set(seeds)) == len(seeds), "study.seeds", f"be different whole numbers in [0, {TEST_SEED})", seeds)
    images = _mapping(given["images"], "study.images")
    require(set(images) == {"train", "test"}, "study.images", "have train and test", list(images))
    for key, value in images.items():
        require(type(value) is int and value >= 1, f"study.images.{key}", "be a whole number >= 1", repr(value))
    require(given["measure"] in MEASURES, "study.measure", f"be one of {', '.join(MEASURES)}", given["measure"])
    render, train = _overrides(given["render"], "study.render"), _overrides(given["train"], "study.train")
    conditions = tuple(
        _condition(factors, levels, render, train, backgrounds) for levels in itertools.product(*(f.levels for f in factors))
    )
    ends = {tuple(getattr(c.settings, end) for end in ENDS) + (c.settings.batch,) for c in conditions}
    require(len(ends) == 1, "study.factors", "leave every cell the same budget (batch, max_steps, max_seconds, max_images)", sorted(map(str, ends)))
    shapes = {tuple(c.scenes["shape"]) for c in conditions}
    require(len(shapes) == 1, "study.factors", "leave every condition the same shape", sorted(shapes))
    return Study(
        name=name, title=str(given["title"]), factors=factors, seeds=tuple(seeds), train_images=images["train"], test_images=images["test"],
        measure=given["measure"], conditions=conditions,
    )  # fmt: skip


def dataset_key(condition: Condition, n: int, seed: int) -> str:
    """Hash of what the bytes of a rendered set depend on; of files that scenes are made from their content, not their place."""
    scenes = {**condition.scenes, "scene": dict(condition.scenes["scene"])}
    for key in ("file", "backgrounds"):
        if scenes["scene"].get(key) is not None:
            scenes["scene"][key] = content_hash(Path(scenes["scene"][key]))
    return _hash({"scenes": scenes, "n": n, "seed": seed, "gdotb": version("gdotb")})


def cell_key(study: Study, condition: Condition, seed: int, threads: int, device: str) -> str:
    """Hash of what a trained network depends on."""
    settings = condition.settings.to_dict()
    kept = {key: value for key, value in settings.items() if key not in NOT_PART_OF_A_RUN or key in ENDS}
    data = dataset_key(condition, study.train_images, seed)
    return _hash({"data": data, "settings": kept | {"seed": seed}, "threads": threads, "device": device, "gdotb": version("gdotb")})


def score_key(cell: str, data: str) -> str:
    """Hash of what the scores of a network on a test set depend on; the code that traces and judges is part of it."""
    return _hash({"cell": cell, "data": data, "code": _judging_code()})


@cache
def _judging_code() -> str:
    """Of the sources of `train`: judging again costs little, and another tracer gives other scores."""
    package = Path(__file__).resolve().parent.parent
    return _hash([file.read_text(encoding="utf-8") for file in sorted(package.glob("*.py"))])


def content_hash(path: Path) -> str:
    """Of a file, or of all files of a folder by name."""
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def settings_of(condition: Condition, seed: int, device: str = "cpu") -> TrainSettings:
    """The training settings of a cell; its batches are prepared in its own process, for there is one cell a core."""
    return replace(condition.settings, seed=seed, workers=0, tensorboard=False, device=device)


def _condition(
    factors: Sequence[Factor], levels: Sequence[Level], render: tuple[str, ...], train: tuple[str, ...], backgrounds: str | None
) -> Condition:
    named = [f"{factor.name}={level.name}" for factor, level in zip(factors, levels)]
    overrides = [*render, *(text for level in levels for text in level.render)]
    if any(BACKGROUNDS in text for text in overrides):
        require(backgrounds is not None, "backgrounds", f"be a folder of real frames without lines for {', '.join(named)}", "nothing")
        overrides = [text.replace(BACKGROUNDS, str(backgrounds)) for text in overrides]
    try:
        scenes = _composed("render", ("out=nowhere", *_latest(overrides)))
        scenes = {key: value for key, value in scenes.items() if key not in BULK_KEYS}
        SampleConfig.from_dict(scenes)
        settings = dict(_composed("train", ("data=nowhere", "out=nowhere", *_latest([*train, *(text for level in levels for text in level.train)]))))
        for key in ("data", "out", "resume", "render", "threads", "init", "lr_find"):
            settings.pop(key)
        settings["network"] = settings.pop("model")
        return Condition(levels=tuple(named), scenes=scenes, settings=TrainSettings.from_dict(settings))
    except InputError as error:
        raise InputError(f"study, {', '.join(named)}: {error}") from None


@lru_cache(maxsize=64)
def _composed(name: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Composing takes a while, and most conditions train alike; the caller changes nothing in it."""
    return compose(name, overrides, RENDER_PATH_KEYS if name == "render" else ())


def _latest(overrides: Sequence[str]) -> list[str]:
    """Of several overrides of one key the last, in its place: a level may say otherwise than the study."""
    last: dict[str, str] = {}
    for text in overrides:
        key = text.partition("=")[0]
        last.pop(key, None)  # what is said later of a part of it, or of what it is a part of, decides
        last[key] = text
    return list(last.values())


def _factor(name: str, levels: Any) -> Factor:
    where = f"study.factors.{name}"
    read = []
    for level, value in _mapping(levels, where).items():
        require(not isinstance(level, bool), where, "have names for levels", level, "YAML reads on, off, yes and no as true and false: quote them")
        if isinstance(value, Mapping):
            unknown = sorted(set(value) - {"render", "train"})
            require(not unknown, f"{where}.{level}", "have only render and train", ", ".join(map(str, unknown)))
            parts = {key: _overrides(value[key], f"{where}.{level}.{key}") for key in value}
        else:
            parts = {"render": _overrides(value, f"{where}.{level}")}
        read.append(Level(name=str(level), **parts))
    require(len(read) >= 2, where, "have two levels at least", [level.name for level in read])
    return Factor(name=str(name), levels=tuple(read))


def _overrides(value: Any, where: str) -> tuple[str, ...]:
    ok = isinstance(value, list) and all(isinstance(text, str) and "=" in text for text in value)
    require(ok, where, "be a list of overrides such as [foil.bend_mrad=0]", value)
    return tuple(value)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    require(isinstance(value, Mapping), where, "be a mapping", value)
    return value


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:20]
