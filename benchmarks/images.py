"""Claim: a 512 x 512 x 100 image, field included, takes 0.25 s for one straight line and 4 s for 30 curved ones."""

from __future__ import annotations

import numpy as np
from specimens import BEAM, ELASTIC, G_INV_NM, THICKNESS_NM, curved_lines, straight_mixed_line
from timing import Row, best_of

from physics.contrast.columns import ColumnGrid, column_image, column_values
from physics.contrast.two_beam import perfect_crystal
from physics.frames import column_positions_nm
from physics.strain.segments import Segments

PROBES = 1500


def rows() -> list[Row]:
    cases = [
        ("512 x 512 x 100, one straight mixed line", straight_mixed_line(), 512, 0.0, 0.25),
        ("512 x 512 x 100, 30 curved lines x 20 segments", curved_lines(30, 20, 512), 512, 0.0, 4.0),
        ("the same, weak beam s = 0.05 / nm", curved_lines(30, 20, 512), 512, 0.05, 4.0),
        ("256 x 256 x 100, 8 curved lines x 20 segments", curved_lines(8, 20, 256), 256, 0.0, None),
        ("512 x 512 x 100, 120 curved lines x 20 segments", curved_lines(120, 20, 512), 512, 0.0, None),
    ]
    return [_row(*case) for case in cases]


def _row(case: str, segments: Segments, size: int, s: float, allowed_s: float | None) -> Row:
    grid = ColumnGrid.flat((size, size), 1.0, THICKNESS_NM, s)
    wall, cpu = best_of(lambda: column_image(segments, G_INV_NM, BEAM, grid, **ELASTIC))
    images = column_image(segments, G_INV_NM, BEAM, grid, **ELASTIC)
    return Row(case=case, wall_s=wall, cpu_s=cpu, error=_error(segments, size, s, images), allowed_s=allowed_s)


def _error(segments: Segments, size: int, s: float, images: tuple[np.ndarray, np.ndarray]) -> str:
    """Rms and largest error over random columns against direct summation in double, finer slices, over background."""
    i, j = np.random.default_rng(1).integers(0, size, (2, PROBES))
    x_nm, y_nm = column_positions_nm((size, size), 1.0)
    exact = column_values(
        segments, G_INV_NM, BEAM, x_nm[j], y_nm[i], THICKNESS_NM / 2, -THICKNESS_NM / 2, s, slice_nm=0.25,
        reference=True, **ELASTIC,
    )  # fmt: skip
    background = perfect_crystal(BEAM, s, THICKNESS_NM)
    parts = []
    for name, image, columns, level in zip(("BF", "DF"), images, exact, background):
        # At s = 0 dark field is strong; in weak beam the background may nearly vanish and lines outshine it.
        error = (image[i, j] - columns) / max(float(level), float(columns.mean()))
        parts.append(f"{name} {np.sqrt(np.mean(error**2)):.0e} rms, {np.abs(error).max():.0e} max")
    return "; ".join(parts)
