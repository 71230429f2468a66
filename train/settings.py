"""What a training run is told: frozen values built from a configuration."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from physics.errors import require
from train.augment import AugmentSettings
from train.geometry import ViewSettings
from train.model import NetworkSettings
from train.targets import TargetSettings

Noun = TypeVar("Noun")

# What may differ between a run and its resumption without making it another run.
NOT_PART_OF_A_RUN = (
    "max_steps", "max_seconds", "max_images", "checkpoint_seconds", "workers", "device", "log_every", "tensorboard", "mlflow",
)  # fmt: skip


OPTIMISERS = ("muon", "adamw")


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """`kind` muon (Jordan 2024) or adamw (Loshchilov & Hutter 2019), warmed up linearly, then a cosine down to
    `final_fraction` of the rate."""

    kind: str = "muon"
    learning_rate: float = 8e-3
    warmup_steps: int = 50
    final_fraction: float = 0.02
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.998

    def __post_init__(self) -> None:
        require(self.kind in OPTIMISERS, "optimiser.kind", f"be one of {', '.join(OPTIMISERS)}", self.kind)
        for name in ("learning_rate", "clip_norm"):
            require(getattr(self, name) > 0, f"optimiser.{name}", "be > 0", getattr(self, name))
        for name in ("warmup_steps", "weight_decay"):
            require(getattr(self, name) >= 0, f"optimiser.{name}", "be >= 0", getattr(self, name))
        require(0 <= self.final_fraction <= 1, "optimiser.final_fraction", "lie in [0, 1]", self.final_fraction)
        require(0 <= self.ema_decay < 1, "optimiser.ema_decay", "lie in [0, 1)", self.ema_decay)


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Weights of the parts of the loss; `positive`, `crossing` and `hard_negative` weigh pixels (`train.loss`)."""

    lift: float = 3.0
    lift_dice: float = 1.0
    mask: float = 0.3
    centreline: float = 0.5
    ends: float = 0.3
    half_width: float = 0.1
    offset: float = 0.1
    distractors: float = 0.5
    positive: float = 4.0
    crossing: float = 8.0
    hard_negative: float = 2.0
    end_positive: float = 20.0

    def __post_init__(self) -> None:
        for name, weight in dataclasses.asdict(self).items():
            require(weight >= 0, f"loss.{name}", "be >= 0", weight)


@dataclass(frozen=True, kw_only=True)
class StreamSettings:
    """Scenes rendered while training: `lanes` independent streams (workers must divide them).

    Each batch of a lane brings `fresh` new scenes and draws from the last `pool` ones. `share` is the part of the
    examples that are such scenes where a dataset is trained on; a scene that no example draws is not rendered.
    """

    lanes: int = 4
    fresh: int = 1
    pool: int = 48
    share: float = 0.0

    def __post_init__(self) -> None:
        for name in ("lanes", "fresh", "pool"):
            require(getattr(self, name) >= 1, f"stream.{name}", "be >= 1", getattr(self, name))
        require(0 <= self.share < 1, "stream.share", "lie in [0, 1)", self.share)


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """One training run. It ends after `max_steps` batches, `max_images` examples or `max_seconds` of training, whichever
    comes first. `batch` is that of all processes together.

    `precision` is "bf16" (autocast), "fp32", or "auto": bf16 where the processor computes in it.
    `validation_images` of the val split are looked at every `validation_seconds`; 0 switches that off. `mlflow` is a
    tracking URI.
    """

    seed: int = 0
    batch: int = 8
    max_steps: int | None = None
    max_seconds: float | None = 360.0
    max_images: int | None = None
    workers: int = 1
    device: str = "auto"
    precision: str = "auto"
    log_every: int = 20
    checkpoint_seconds: float = 60.0
    validation_seconds: float = 120.0
    validation_images: int = 16
    tensorboard: bool = True
    mlflow: str | None = None
    network: NetworkSettings = field(default_factory=NetworkSettings)
    targets: TargetSettings = field(default_factory=TargetSettings)
    view: ViewSettings = field(default_factory=ViewSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    stream: StreamSettings = field(default_factory=StreamSettings)

    def __post_init__(self) -> None:
        require(self.batch >= 1, "batch", "be >= 1", self.batch)
        require(0 <= self.seed < 2**32, "seed", "lie in [0, 2^32)", self.seed)
        require(self.workers >= 0, "workers", "be >= 0", self.workers)
        ends = ("max_steps", "max_seconds", "max_images")
        require(any(getattr(self, name) is not None for name in ends), " or ".join(ends), "be given", "none of them")
        for name in ends:
            value = getattr(self, name)
            require(value is None or value > 0, name, "be > 0", value)
        require(self.precision in ("auto", "bf16", "fp32"), "precision", "be auto, bf16 or fp32", self.precision)
        require(self.device in ("auto", "cpu", "cuda"), "device", "be auto, cpu or cuda", self.device)
        for name in ("log_every", "validation_images", "checkpoint_seconds", "validation_seconds"):
            require(getattr(self, name) >= 0, name, "be >= 0", getattr(self, name))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainSettings:
        """Build the settings; raises InputError for an unknown key or a value of the wrong type or out of range."""
        return build(cls, values, "")

    def to_dict(self) -> dict[str, Any]:
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def run_hash(self) -> str:
        """SHA-256 of all settings that make this run what it is."""
        kept = {k: v for k, v in self.to_dict().items() if k not in NOT_PART_OF_A_RUN}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def build(noun: type[Noun], values: Mapping[str, Any], where: str) -> Noun:
    """A frozen dataclass, and those inside it, from plain values.

    Raises InputError naming the dotted field for an unknown key or a value of the wrong type.
    """
    require(isinstance(values, Mapping), where or "settings", "be a mapping", repr(values))
    hints = typing.get_type_hints(noun)
    unknown = sorted(set(values) - set(hints))
    prefix = f"{where}." if where else ""
    require(not unknown, f"{prefix}{unknown[0]}" if unknown else "", f"be one of {', '.join(hints)}", "an unknown key")
    return noun(**{name: _typed(hints[name], value, f"{prefix}{name}") for name, value in values.items()})


def _typed(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _typed(next(a for a in arguments if a is not type(None)), value, where)
    if origin is tuple:
        require(isinstance(value, list | tuple), where, "be a list", repr(value))
        if Ellipsis not in arguments:
            require(len(value) == len(arguments), where, f"have {len(arguments)} values", list(value))
        return tuple(_typed(arguments[0], v, where) for v in value)
    if hint is bool:
        require(isinstance(value, bool), where, "be true or false", repr(value))
        return value
    if hint in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        require(number, where, "be a number", repr(value))
        require(math.isfinite(value), where, "be finite", value)
        require(hint is float or value == int(value), where, "be a whole number", value)
        return hint(value)
    require(isinstance(value, str), where, "be text", repr(value))
    return value
