"""Read-only arrays for frozen dataclasses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from physics.errors import InputError


def frozen_array(value: ArrayLike, shape: tuple[int | None, ...], field: str) -> np.ndarray:
    """Return `value` as a read-only float64 array of `shape` (None: any length).

    Raises InputError if it is not numeric, not finite, or of another shape.
    """
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{field} must be numbers of shape {_text(shape)}, got {value!r}") from None
    if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape)):
        raise InputError(f"{field} must have shape {_text(shape)}, got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{field} must be finite, got {array[~np.isfinite(array)].ravel()[0]}")
    array.setflags(write=False)
    return array


def _text(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
