"""How a load is shared out among boxes: short waves on the fine grid, longer ones on ever coarser and larger grids.

A wave's share in what is left to coarser grids is exp(-x) sum_{m < FLATNESS} x^m / m!, x = (k a)^2 / 2: so near 1 for long
waves that what a level keeps is alone in its box, and near 0 from k = REACH / a on, which sets the next grid's step.

Lengths `a` are in thicknesses.
"""

from __future__ import annotations

import math

import numpy as np

from physics.strain.plate_grid import Box, coarser_box

FLATNESS = 3
REACH = 4.6
# For each hand-over its length; for each coarser level the border round the fine box; chords that stand for lines there.
SHARES = (0.35, 1.4, 5.6, 22.4)
BORDERS = (8.0, 22.0, 108.0, 440.0)
CHORD = 0.25


def long_share(k: np.ndarray, length_nm: float) -> np.ndarray:
    """The share of waves k that goes to coarser grids at a hand-over of that length."""
    x = (k * length_nm) ** 2 / 2
    return np.exp(-x) * sum(x**m / math.factorial(m) for m in range(FLATNESS)) * (k * length_nm < REACH)


def handed_on(level: int, k: np.ndarray, thickness_nm: float) -> np.ndarray:
    """`long_share` at the hand-over from one level to the next."""
    return long_share(k, SHARES[level] * thickness_nm)


def level_box(fine: Box, level: int, thickness_nm: float) -> Box:
    """The box of a level, 1 and more, of ever longer waves."""
    step = math.pi * SHARES[level - 1] * thickness_nm / REACH
    return coarser_box(fine, step, [n * fine.step_nm + BORDERS[level - 1] * thickness_nm for n in fine.counts])
