"""From scores to a matrix, and to effects with intervals.

The value of a network on a test set is a ratio of sums over its images. The effect of a level is the mean difference to
the first level of its factor, everything else alike: the same other levels, the same seed, the same test images.

Its 95 % interval adds two independent errors in quadrature. *Seeds*: Student's t of the paired differences of the seeds
(Student 1908), which hold new training images and new weights; with the two or three seeds that a study has, resampling
seeds would give intervals that are too narrow. *Test images*: 1.96 times the standard deviation over resampled images, the
same images drawn for all networks (Efron 1979).

Axes: C conditions trained on, S seeds, T test sets, D draws (the first holds each image once), N images of a test set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

DRAWS = 1000
NORMAL_95 = 1.96
OF_COMPLETE = ("instance_f1", "centreline_f1", "correctness")  # say nothing where only some lines are labelled


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A mean difference of a measure; `half` is half its 95 % interval, of which `seeds_half` comes from the seeds and
    `images_half` from the test images. One seed has no `seeds_half`: then the interval holds the test images alone."""

    difference: float
    half: float
    seeds_half: float | None
    images_half: float
    seeds: int

    @property
    def interval(self) -> tuple[float, float]:
        return self.difference - self.half, self.difference + self.half

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out 0."""
        return abs(self.difference) > self.half


def image_draws(images: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each image counts (1 + D, N): once, then resampled with replacement."""
    rng = np.random.Generator(np.random.Philox(seed))
    times = np.zeros((draws + 1, images))
    times[0] = 1
    if images > 1:
        picked = rng.integers(0, images, (draws, images))
        np.add.at(times, (1 + np.arange(draws)[:, None], picked), 1.0)
    else:
        times[:] = 1
    return times


def measured(images: Sequence[Mapping[str, Any]], measure: str, draws: np.ndarray) -> np.ndarray:
    """The measure (D,) over the counts of N images, once for each draw (D, N); nan where there is nothing to measure."""

    def total(name: str) -> np.ndarray:
        return draws @ np.array([float(image[name]) for image in images])

    if measure == "instance_f1":
        return _ratio(2 * total("matched"), total("true_curves") + total("predicted_curves"))
    if measure == "crossings_resolved":
        return _ratio(total("crossings_resolved"), total("crossings"))
    completeness = _ratio(total("found_length_px"), total("true_length_px"))
    if measure == "completeness":
        return completeness
    correctness = _ratio(total("correct_length_px"), total("predicted_length_px"))
    if measure == "correctness":
        return correctness
    # Nothing predicted where there is something to find: correctness is unknown, and the harmonic mean 0.
    return np.where(np.isfinite(completeness) & ~np.isfinite(correctness), 0.0, _ratio(2 * completeness * correctness, completeness + correctness, 0.0))


def measure_for(images: Sequence[Mapping[str, Any]], measure: str) -> str:
    """The measure, or completeness on images of which only some lines are labelled."""
    return "completeness" if measure in OF_COMPLETE and not all(image["complete"] for image in images) else measure


def values_of(scores: Sequence[Sequence[Sequence[Sequence[Mapping[str, Any]]]]], measure: str, draws: int = DRAWS) -> np.ndarray:
    """The measure (C, S, T, 1 + D) from the counts of every image, scores[c][s][t][n]; every network sees the same draws.

    So do test sets of as many images: those of two conditions may hold the same scenes seen otherwise, which are not
    independent of each other.
    """
    tests = len(scores[0][0])
    drawn = [image_draws(len(scores[0][0][t]), draws) for t in range(tests)]
    return np.array([
        [[measured(seed[t], measure_for(seed[t], measure), drawn[t]) for t in range(tests)] for seed in condition] for condition in scores
    ])  # fmt: skip


def matrix_of(values: np.ndarray) -> np.ndarray:
    """The mean over the seeds (C, T): a row is what was trained on, a column what was tested on."""
    return _mean(values[..., 0], axis=1)


def marginal(matrix: np.ndarray, levels: Sequence[Sequence[str]], factor: int) -> tuple[list[str], np.ndarray]:
    """Of a matrix (C, C) the names of a factor's levels and their matrix: the mean over all other factors' levels."""
    names = list(dict.fromkeys(condition[factor] for condition in levels))
    of = np.array([names.index(condition[factor]) for condition in levels])
    return names, np.array([[_mean(matrix[np.ix_(of == a, of == b)].ravel(), axis=0) for b in range(len(names))] for a in range(len(names))])


def effect_of(values: np.ndarray, levels: Sequence[Sequence[str]], factor: int, level: str, tests: Sequence[int]) -> Effect:
    """The effect of training at `level` of a factor instead of at its first level, on the mean of the test sets `tests`."""
    chosen = values[:, :, list(tests), :]
    differences = _mean(np.stack([chosen[a] - chosen[b] for a, b in _pairs(levels, factor, level)]), axis=(0, 2))  # (S, 1 + D)
    return effect_from(differences)


def simple_effects(
    values: np.ndarray, levels: Sequence[Sequence[str]], factor: int, level: str, tests: Sequence[int]
) -> list[tuple[tuple[str, ...], Effect]]:
    """As `effect_of`, one by one: (levels of the other factors, effect). Their mean hides where they differ."""
    chosen = values[:, :, list(tests), :]
    return [
        ((*levels[a][:factor], *levels[a][factor + 1 :]), effect_from(_mean(chosen[a] - chosen[b], axis=1)))
        for a, b in _pairs(levels, factor, level)
    ]


def _pairs(levels: Sequence[Sequence[str]], factor: int, level: str) -> list[tuple[int, int]]:
    """Numbers of conditions at `level` and of those at the factor's first level that are like them in all else."""
    names = [list(condition) for condition in levels]
    reference = levels[0][factor]
    return [
        (c, names.index([*condition[:factor], reference, *condition[factor + 1 :]])) for c, condition in enumerate(names) if condition[factor] == level
    ]


def effect_from(differences: np.ndarray) -> Effect:
    """The effect of paired differences (S, 1 + D)."""
    seeds = len(differences)
    of_seeds = differences[:, 0]
    drawn = _mean(differences, axis=0)[1:]
    drawn = drawn[np.isfinite(drawn)]
    images_half = NORMAL_95 * float(drawn.std()) if len(drawn) else 0.0
    seeds_half = None
    if seeds > 1:
        seeds_half = float(student.ppf(0.975, seeds - 1) * of_seeds.std(ddof=1) / math.sqrt(seeds))
    return Effect(
        difference=float(of_seeds.mean()), half=math.hypot(seeds_half or 0.0, images_half), seeds_half=seeds_half, images_half=images_half, seeds=seeds
    )


def _ratio(part: np.ndarray, whole: np.ndarray, empty: float = math.nan) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), empty), where=np.asarray(whole) > 0)


def _mean(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """The mean of what is a number; nan of nothing."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    return np.divide(np.where(known, values, 0.0).sum(axis=axis), count, out=np.full(np.shape(count), np.nan), where=count > 0)
