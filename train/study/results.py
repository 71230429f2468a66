"""What follows from the scores of a study: matrix, effects, a sentence a factor, as plain values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from render.cli import counted
from train.study.effects import Effect, effect_of, marginal, matrix_of, measure_for, simple_effects, values_of
from train.study.work import read_scores

if TYPE_CHECKING:
    from train.study.__main__ import Work

MEASURE_TEXT = {"instance_f1": "instance F1", "centreline_f1": "centreline F1", "completeness": "completeness",
                "correctness": "correctness", "crossings_resolved": "the share of crossings resolved"}  # fmt: skip


def results_of(work: Work) -> dict[str, Any]:
    """Everything that the report tells, as JSON values; the same scores give the same numbers."""
    study = work.study
    read = [[[read_scores(task.path) for task in seed] for seed in condition] for condition in work.scores]
    counts = [[[test["images"] for test in seed] for seed in condition] for condition in read]
    values = values_of(counts, study.measure)
    levels = [condition.levels for condition in study.conditions]
    matrix, own = matrix_of(values), len(study.conditions)
    real = [own] if len(work.tests) > own else []
    effects, sentences, marginals = [], [], {}
    for f, factor in enumerate(study.factors):
        marginals[factor.name] = {"levels": [level.name for level in factor.levels],
                                  "matrix": _plain(marginal(matrix[:, :own], levels, f)[1])}  # fmt: skip
        for level in factor.levels[1:]:
            of_level = []
            for name, tests in _targets(work.tests, levels, f, (factor.levels[0].name, level.name), real):
                effect = effect_of(values, levels, f, f"{factor.name}={level.name}", tests)
                measure = measure_for(counts[0][0][tests[0]], study.measure)
                images = sum(len(counts[0][0][t]) for t in tests)
                single = simple_effects(values, levels, f, f"{factor.name}={level.name}", tests)
                of_level.append((name, effect, measure, images, [one.difference for _, one in single]))
                effects.append({
                    "factor": factor.name, "level": level.name, "reference": factor.levels[0].name, "on": name, "measure": measure,
                    "difference": _number(effect.difference), "interval": [_number(v) for v in effect.interval],
                    "half_from_seeds": None if effect.seeds_half is None else _number(effect.seeds_half), "half_from_images": _number(effect.images_half),
                    "seeds": effect.seeds, "images": images, "shown": effect.shown,
                    "one_by_one": [{"at": ", ".join(at), "difference": _number(one.difference), "interval": [_number(v) for v in one.interval]}
                                   for at, one in single],
                })  # fmt: skip
            sentences.append(sentence(factor.name, level.name, factor.levels[0].name, of_level))
    return {
        "study": study.name, "title": study.title, "measure": study.measure, "seeds": list(study.seeds),
        "images": {"train": study.train_images, "test": study.test_images, "real": work.real_images},
        "budget": {key: getattr(study.conditions[0].settings, key) for key in ("batch", "max_steps", "max_seconds", "max_images")},
        "conditions": [condition.name for condition in study.conditions], "tests": work.tests,
        "measures": [measure_for(counts[0][0][t], study.measure) for t in range(len(work.tests))],
        "matrix": _plain(matrix), "values": _plain(values[..., 0]), "marginals": marginals, "effects": effects, "sentences": sentences,
        "cells": [[task[0].model.name for task in condition] for condition in work.scores],
        "examples": [[test["example"] for test in condition[0]] for condition in read],
    }  # fmt: skip


def _targets(
    tests: list[str], levels: list[tuple[str, ...]], f: int, of_factor: tuple[str, str], real: list[int]
) -> list[tuple[str, list[int]]]:
    """What an effect is told on: all test sets of the study, those of either level, the real frames."""
    name = levels[0][f].partition("=")[0]
    either = [(f"{name}={level}", [t for t, condition in enumerate(levels) if condition[f] == f"{name}={level}"]) for level in of_factor]
    return [("all test conditions", list(range(len(levels)))), *either, *((tests[t], [t]) for t in real)]


def sentence(factor: str, level: str, reference: str, of_level: list[tuple[str, Effect, str, int, list[float]]]) -> str:
    """What training at a level does, in words: on each target the difference, its interval, and whether it is shown."""
    parts = [effect_text(name, effect, measure, images) + range_text(single) for name, effect, measure, images, single in of_level]
    return f"Training with {factor}={level} instead of {factor}={reference}: {'; '.join(parts)}."


def effect_text(name: str, effect: Effect, measure: str, images: int) -> str:
    where = f"on {name} ({counted(images, 'image')})"
    if not math.isfinite(effect.difference):
        return f"{where} {MEASURE_TEXT[measure]} cannot be told"
    low, high = effect.interval
    verb = "raises" if effect.difference > 0 else "lowers"
    told = f"{verb} {MEASURE_TEXT[measure]} by {abs(effect.difference):.3f}" if effect.shown else f"has no effect on {MEASURE_TEXT[measure]} that shows, {effect.difference:+.3f}"
    from_what = f"{effect.seeds} seeds" if effect.seeds > 1 else "one seed, so that the interval holds the choice of test images alone"
    return f"{where} it {told} (95 % interval {low:+.3f} to {high:+.3f}, {from_what})"


def range_text(single: list[float]) -> str:
    """Between what the effects lie that a mean stands for, and whether they go both ways."""
    known = [difference for difference in single if math.isfinite(difference)]
    if len(known) < 2:
        return ""
    both_ways = ", both ways" if min(known) < 0 < max(known) else ""
    return f", over the levels of the other factors from {min(known):+.3f} to {max(known):+.3f}{both_ways}"


def _plain(values: np.ndarray) -> Any:
    if values.ndim == 0:
        return _number(float(values))
    return [_plain(v) for v in values]


def _number(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None
