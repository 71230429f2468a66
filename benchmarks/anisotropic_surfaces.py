"""Claim: with its surfaces relaxed in its own stiffness, a 512 x 512 x 100 image of 30 curved lines in copper takes 0.6 s.

Errors are against direct double summation with all harmonics and the same plate on a much finer grid in a wider box.
"""

from __future__ import annotations

import numpy as np
from anisotropic import COPPER, OPTIONS
from specimens import BEAM, ELASTIC, G_INV_NM, THICKNESS_NM, curved_lines
from timing import Row, best_of

from physics.contrast.columns import ColumnGrid, column_image, column_values
from physics.contrast.two_beam import perfect_crystal
from physics.frames import column_positions_nm
from physics.strain.foil_frame import FoilFaces
from physics.strain.plate import PlateField, plate_correction

SIZE, LINES, PROBES = 512, 30, 1000
FINE_GRID_NM, WIDE = 1.5, 2.5


def rows() -> list[Row]:
    segments = curved_lines(LINES, 20, SIZE)
    grid, faces = ColumnGrid.flat((SIZE, SIZE), 1.0, THICKNESS_NM, 0.0), FoilFaces.flat(THICKNESS_NM, (SIZE, SIZE))

    def plate(**options: float) -> PlateField:
        return plate_correction(segments, G_INV_NM, faces, stiffness_image_GPa=COPPER, **ELASTIC, **options)

    def image() -> tuple[np.ndarray, np.ndarray]:
        return column_image(segments, G_INV_NM, BEAM, grid, plate=plate(), **OPTIONS)

    i, j = np.random.default_rng(1).integers(0, SIZE, (2, PROBES))
    x_nm, y_nm = column_positions_nm((SIZE, SIZE), 1.0)
    half = THICKNESS_NM / 2
    exact = column_values(
        segments, G_INV_NM, BEAM, x_nm[j], y_nm[i], half, -half, 0.0, slice_nm=0.25, reference=True,
        plate=plate(grid_nm=FINE_GRID_NM, padding=WIDE), **OPTIONS,
    )  # fmt: skip
    isotropic = column_image(segments, G_INV_NM, BEAM, grid, plate=plate_correction(segments, G_INV_NM, faces, **ELASTIC), **OPTIONS)
    case = f"{SIZE} x {SIZE} x 100, Cu, {LINES} curved lines x 20 segments, surfaces relaxed"
    return [
        Row(case=case, wall_s=wall, cpu_s=cpu, error=_error(values, exact, i, j), allowed_s=allowed)
        for case, (wall, cpu), values, allowed in (
            (case, best_of(image), image(), 0.6),
            (f"{case}: the correction alone", best_of(plate), image(), None),
            (f"{case} as if isotropic", (0.0, 0.0), isotropic, None),
        )
    ]  # fmt: skip


def _error(images: tuple[np.ndarray, ...], exact: tuple[np.ndarray, ...], i: np.ndarray, j: np.ndarray) -> str:
    parts = []
    for name, values, columns, level in zip(("BF", "DF"), images, exact, perfect_crystal(BEAM, 0.0, THICKNESS_NM)):
        error = (values[i, j] - columns) / max(float(level), float(columns.mean()))
        parts.append(f"{name} {np.sqrt(np.mean(error**2)):.0e} rms, {np.abs(error).max():.0e} max")
    return "; ".join(parts)
