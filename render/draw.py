"""Distributions as frozen values, read from a config and drawn from with an explicit generator.

A config value is a fixed one (number, text, true/false, null or a list) or a mapping of one key:

    {uniform: [low, high]}        {log_uniform: [low, high]}      {normal: [mean, sigma]}
    {integers: [low, high]}       {choice: [value, value, ...]}   {weighted: [[value, weight], ...]}

`integers` includes both ends; the values of `choice` and `weighted` may be lists, null, or distributions again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from physics.errors import InputError, require

NAMES = ("uniform", "log_uniform", "normal", "integers", "choice", "weighted")


@dataclass(frozen=True)
class Fixed:
    """One value, always."""

    value: Any

    def draw(self, rng: np.random.Generator) -> Any:
        return self.value

    def values(self) -> Iterator[Any]:
        """The values that can come out and are known beforehand."""
        yield self.value


@dataclass(frozen=True)
class Between:
    """A number between two ends: `law` is "uniform", "log_uniform" or "integers" (ends included)."""

    law: str
    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float | int:
        if self.law == "integers":
            return int(rng.integers(int(self.low), int(self.high), endpoint=True))
        if self.law == "log_uniform":
            return float(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return float(rng.uniform(self.low, self.high))

    def values(self) -> Iterator[Any]:
        yield from (self.low, self.high)


@dataclass(frozen=True)
class Normal:
    """A Gaussian number."""

    mean: float
    sigma: float

    def draw(self, rng: np.random.Generator) -> float:
        return float(rng.normal(self.mean, self.sigma))

    def values(self) -> Iterator[Any]:
        yield self.mean


@dataclass(frozen=True)
class Choice:
    """One of several distributions or values, with probabilities that sum to 1."""

    options: tuple[Distribution, ...]
    probabilities: tuple[float, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        picked = int(np.searchsorted(np.cumsum(self.probabilities), rng.random(), side="right"))
        return self.options[min(picked, len(self.options) - 1)].draw(rng)

    def values(self) -> Iterator[Any]:
        for option in self.options:
            yield from option.values()


Distribution = Fixed | Between | Normal | Choice
# The type of a field that takes any value that `parse` reads; configurations are built by this name.
Draw = Distribution


def default_draw(value: Any) -> Any:
    """A field of a configuration, a dataclass, whose default is drawn from what `value` says."""
    return field(default_factory=lambda: parse(value, "default"))


def is_number(value: Any) -> bool:
    """Whether a value read from a configuration is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def require_within(where: str, value: Any, low: float, high: float) -> None:
    require(is_number(value) and low <= value <= high, where, f"lie in [{low:g}, {high:g}]", value)


def parse(value: Any, field: str) -> Distribution:
    """The distribution that a config value describes. Raises InputError naming `field`."""
    if isinstance(value, Fixed | Between | Normal | Choice):
        return value
    if not isinstance(value, dict):
        return Fixed(tuple(value) if isinstance(value, list) else value)
    names = ", ".join(NAMES)
    require(len(value) == 1, field, f"be a value or have exactly one key of {names}", ", ".join(map(str, value)) or "none")
    ((law, given),) = value.items()
    require(law in NAMES, field, f"have one key of {names}", law)
    require(isinstance(given, list | tuple) and len(given) > 0, f"{field}.{law}", "be a list", given)
    if law in ("choice", "weighted"):
        return _choice(law, list(given), field)
    a, b = _two_numbers(given, f"{field}.{law}")
    if law == "normal":
        require(b >= 0, f"{field}.normal", "have sigma >= 0", b)
        return Normal(a, b)
    require(a <= b, f"{field}.{law}", "have low <= high", list(given))
    require(law != "log_uniform" or a > 0, f"{field}.log_uniform", "have low > 0", a)
    require(law != "integers" or (a == int(a) and b == int(b)), f"{field}.integers", "be whole numbers", list(given))
    return Between(law, a, b)


def _two_numbers(given: Any, field: str) -> tuple[float, float]:
    try:
        a, b = (float(v) for v in given)
    except (TypeError, ValueError):
        raise InputError(f"{field} must be two numbers, got {list(given)}") from None
    require(math.isfinite(a) and math.isfinite(b), field, "be two finite numbers", list(given))
    return a, b


def _choice(law: str, given: list[Any], field: str) -> Choice:
    if law == "choice":
        return Choice(tuple(parse(v, field) for v in given), (1 / len(given),) * len(given))
    pairs_ok = all(isinstance(p, list | tuple) and len(p) == 2 for p in given)
    require(pairs_ok, f"{field}.weighted", "be a list of [value, weight]", given)
    weights = [p[1] for p in given]
    positive = all(isinstance(w, int | float) and w >= 0 for w in weights) and sum(weights) > 0
    require(positive, f"{field}.weighted", "have weights >= 0, not all 0", weights)
    total = float(sum(weights))
    return Choice(tuple(parse(p[0], field) for p in given), tuple(w / total for w in weights))
