"""Claim: with its surfaces relaxed, a 512 x 512 x 100 image of 30 curved lines takes 0.25 s."""

from __future__ import annotations

import numpy as np
from specimens import BEAM, ELASTIC, G_INV_NM, THICKNESS_NM, curved_lines
from timing import Row, best_of

from physics.contrast.columns import ColumnGrid, column_image, column_values
from physics.contrast.two_beam import perfect_crystal
from physics.frames import column_positions_nm
from physics.strain.foil_frame import FoilFaces
from physics.strain.plate import PlateField, plate_correction

PROBES = 1000
# The same plate and box on a much finer grid.
FINE_GRID_NM = 1.5


def rows() -> list[Row]:
    return [_row("512 x 512 x 100, 30 curved lines x 20 segments, surfaces relaxed", 512, 30, 0.25),
            _row("256 x 256 x 100, 8 curved lines x 20 segments, surfaces relaxed", 256, 8, None)]  # fmt: skip


def _row(case: str, size: int, lines: int, allowed_s: float | None) -> Row:
    segments = curved_lines(lines, 20, size)
    grid = ColumnGrid.flat((size, size), 1.0, THICKNESS_NM, 0.0)
    faces = FoilFaces.flat(THICKNESS_NM, (size, size))

    def plate(grid_nm: float = 4.0) -> PlateField:
        return plate_correction(segments, G_INV_NM, faces, grid_nm=grid_nm, **ELASTIC)

    def image() -> tuple[np.ndarray, np.ndarray]:
        return column_image(segments, G_INV_NM, BEAM, grid, plate=plate(), **ELASTIC)

    wall, cpu = best_of(image)
    i, j = np.random.default_rng(1).integers(0, size, (2, PROBES))
    x_nm, y_nm = column_positions_nm((size, size), 1.0)
    half = THICKNESS_NM / 2
    exact = column_values(
        segments, G_INV_NM, BEAM, x_nm[j], y_nm[i], half, -half, 0.0, slice_nm=0.25, reference=True,
        plate=plate(FINE_GRID_NM), **ELASTIC,
    )  # fmt: skip
    parts = []
    for name, values, columns, level in zip(("BF", "DF"), image(), exact, perfect_crystal(BEAM, 0.0, THICKNESS_NM)):
        error = (values[i, j] - columns) / max(float(level), float(columns.mean()))
        parts.append(f"{name} {np.sqrt(np.mean(error**2)):.0e} rms, {np.abs(error).max():.0e} max")
    return Row(case=case, wall_s=wall, cpu_s=cpu, error="; ".join(parts), allowed_s=allowed_s)
