"""The one exception that means "the input is wrong", and the shape of its message."""

from __future__ import annotations


class InputError(ValueError):
    """What a person gave cannot be used. The message is one line: field, rule, value, remedy.

    Command lines catch this class alone, so that a programming error keeps its traceback.
    """


def require(condition: bool, field: str, rule: str, value: object, remedy: str = "") -> None:
    """Raise InputError "`field` must `rule`, got `value`; `remedy`" unless `condition` holds."""
    if not condition:
        tail = f"; {remedy}" if remedy else ""
        raise InputError(f"{field} must {rule}, got {value}{tail}")
