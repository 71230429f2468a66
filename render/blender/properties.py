"""Custom properties of Blender objects and scenes as numbers, whole numbers, words and flags."""

from __future__ import annotations

import math
from typing import Any

import bpy

from physics.errors import require

Holder = bpy.types.ID


def numbers(holder: Holder, name: str, count: int | None, meaning: str = "") -> list[float]:
    """`count` finite numbers (None: any number of them).

    Raises InputError where the property is missing or something else.
    """
    where, rule = f'{_word(holder)} "{holder.name}"', f"have the custom property {name}"
    require(name in holder, where, rule, "none", meaning)
    value = _plain(holder[name])
    values = value if isinstance(value, list) else [value]
    good = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)
    good = good and (count is None or len(values) == count)
    what = "numbers" if count is None else "a number" if count == 1 else f"{count} numbers"
    require(good, where, f"{rule} as {what}", value, meaning)
    return [float(v) for v in values]


def whole_numbers(holder: Holder, name: str, count: int | None) -> list[int]:
    """The same for whole numbers. Raises InputError as `numbers` does."""
    values = numbers(holder, name, count)
    require(all(v == int(v) for v in values), f'{_word(holder)} "{holder.name}"', f"have the custom property {name} as whole numbers", values)
    return [int(v) for v in values]


def text(holder: Holder, name: str, default: str) -> str:
    """A word, `default` where there is none. Raises InputError for anything else."""
    value = _plain(holder.get(name, default))
    require(isinstance(value, str), f'{_word(holder)} "{holder.name}"', f"have the custom property {name} as text", value)
    return value


def flag(holder: Holder, name: str) -> bool:
    """True or false; false where there is none. Raises InputError for anything else."""
    value = _plain(holder.get(name, False))
    require(value in (True, False), f'{_word(holder)} "{holder.name}"', f"have the custom property {name} as true or false", value)
    return bool(value)


def _plain(value: Any) -> Any:
    return value.to_list() if hasattr(value, "to_list") else value


def _word(holder: Holder) -> str:
    return "scene" if isinstance(holder, bpy.types.Scene) else "object"
