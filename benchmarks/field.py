"""Claim: the closed form of a segment's field takes a few ns a segment and point.

The error here is only that of the contraction against the full distortion; that both are Mura's integral is
shown by quadrature in tests/test_strain.py.
"""

from __future__ import annotations

import numpy as np
from specimens import ELASTIC, G_INV_NM, curved_lines
from timing import Row, best_of

from physics.strain.isotropic import DOWN, depth_gradient, distortion


def rows() -> list[Row]:
    segments = curved_lines(8, 20, 128)
    points = np.random.default_rng(0).uniform(-50, 50, (20_000, 3))
    wall, cpu = best_of(lambda: depth_gradient(segments, G_INV_NM, points, **ELASTIC))
    found = depth_gradient(segments, G_INV_NM, points, **ELASTIC)
    by_parts = distortion(segments, points[:2000], **ELASTIC) @ DOWN @ G_INV_NM
    error = np.abs(found[:2000] - by_parts).max() / np.abs(by_parts).max()
    pairs = len(segments) * len(points)
    return [
        Row(
            case=f"d(g.u)/dd, direct sum in double, {pairs / 1e6:.1f} M pairs ({cpu / pairs * 1e9:.1f} ns CPU each)",
            wall_s=wall, cpu_s=cpu, error=f"{error:.0e} against the full distortion",
        )
    ]  # fmt: skip
