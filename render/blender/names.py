"""Names of directions: as crystallographers print them, and as plain text for the objects of a Blender file."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from physics.crystal import Crystal
from physics.miller import bravais_from_direction

LARGEST_DENOMINATOR = 12
HEXAGONAL = "hcp"


def reduced(burgers_uvw: tuple[float, ...]) -> tuple[Fraction, list[int]]:
    """A vector as a factor and whole indices without a common divisor: (0.5, 0.5, 0) is 1/2 and [1, 1, 0]."""
    parts = [Fraction(float(u)).limit_denominator(LARGEST_DENOMINATOR) for u in burgers_uvw]
    denominator = int(np.lcm.reduce([part.denominator for part in parts]))
    whole = [int(part * denominator) for part in parts]
    common = int(np.gcd.reduce(whole)) or 1
    return Fraction(common, denominator), [n // common for n in whole]


def burgers_text(burgers_uvw: tuple[float, ...], crystal: Crystal | None = None) -> str:
    """A direction as it is printed: (0.5, 0.5, 0) is 1/2[110]; four indices where `crystal` is hexagonal."""
    factor, indices = reduced(_usual(burgers_uvw, crystal))
    # A bar over a digit, as for planes; numbers of two digits are kept apart.
    digits = [f"{abs(n)}" + "\u0305" * (n < 0) for n in indices]
    text = ("" if max(abs(n) for n in indices) < 10 else " ").join(digits)
    return f"[{text}]" if factor == 1 else f"{factor}[{text}]"


def burgers_name(burgers_uvw: tuple[float, ...], crystal: Crystal) -> str:
    """The same without bars, in lattice parameters: a/2[1-10]."""
    factor, indices = reduced(_usual(burgers_uvw, crystal))
    above = "" if factor.numerator == 1 else str(factor.numerator)
    below = "" if factor.denominator == 1 else f"/{factor.denominator}"
    return f"{above}a{below}[{('' if max(abs(n) for n in indices) < 10 else ' ').join(map(str, indices))}]"


def _usual(burgers_uvw: tuple[float, ...], crystal: Crystal | None) -> tuple[float, ...]:
    hexagonal = crystal is not None and crystal.structure == HEXAGONAL
    return tuple(bravais_from_direction(burgers_uvw)) if hexagonal else tuple(burgers_uvw)
