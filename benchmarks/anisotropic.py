"""Claim: in anisotropic copper a 512 x 512 x 100 image takes 0.05 s for straight lines and 0.6 s for 30 curved ones.

Field included, no free surfaces; errors are against direct double summation with all harmonics and 16 slices a nm.
"""

from __future__ import annotations

import numpy as np
from specimens import BEAM, ELASTIC, G_INV_NM, THICKNESS_NM, curved_lines, straight_mixed_line
from timing import Row, best_of

from physics.contrast.columns import ColumnGrid, column_image, column_values
from physics.contrast.straight import straight_lines_image
from physics.contrast.two_beam import perfect_crystal
from physics.crystal import Crystal
from physics.frames import column_positions_nm, rotation_from_axes
from physics.strain.anisotropic import DOWN, coefficients, medium
from physics.strain.anisotropic_kernel import BLOCK, WORK, add_packed
from physics.strain.boxes import pack
from physics.strain.green import rotated_stiffness
from physics.strain.segments import Segments

SIZE = 512
PROBES, NEAR_PROBES = 300, 100
# Copper with the beam along [110] and g along [1 -1 1].
COPPER = rotated_stiffness(
    Crystal.from_material("cu").stiffness_GPa, rotation_from_axes(np.array([1.0, -1, 1]), np.array([1.0, 1, 0]))
)
OPTIONS = {**ELASTIC, "stiffness_image_GPa": COPPER}


def rows() -> list[Row]:
    line, lines = straight_mixed_line(), curved_lines(30, 20, SIZE)
    flat = {s: ColumnGrid.flat((SIZE, SIZE), 1.0, THICKNESS_NM, s) for s in (0.0, 0.05)}
    fast = [
        _image_row(
            f"Cu, one straight line, generalised cross-section, s = {s:g} / nm", line, s, 0.05,
            lambda s=s: straight_lines_image(line, G_INV_NM, BEAM, (SIZE, SIZE), 1.0, THICKNESS_NM, s, **OPTIONS),
        )
        for s in flat
    ]  # fmt: skip
    curved = [
        _image_row(
            f"Cu, 30 curved lines x 20 segments, s = {s:g} / nm", lines, s, 0.6,
            lambda grid=grid: column_image(lines, G_INV_NM, BEAM, grid, **OPTIONS),
        )
        for s, grid in flat.items()
    ]  # fmt: skip
    return [*fast, *curved, _medium_row(), _kernel_row(lines)]


def _image_row(case: str, segments: Segments, s: float, allowed_s: float, call) -> Row:  # noqa: ANN001
    wall, cpu = best_of(call)
    return Row(case=f"{SIZE} x {SIZE} x 100, {case}", wall_s=wall, cpu_s=cpu, error=_error(segments, s, call()), allowed_s=allowed_s)


def _error(segments: Segments, s: float, images: tuple[np.ndarray, np.ndarray]) -> str:
    """Rms over random columns, largest over these and columns that a line passes within 3 nm, over background."""
    rng = np.random.default_rng(1)
    i, j = rng.integers(0, SIZE, (2, PROBES))
    on_lines = _pixels_on_lines(segments, rng)
    i, j = np.r_[i, on_lines[:, 1]], np.r_[j, on_lines[:, 0]]
    x_nm, y_nm = column_positions_nm((SIZE, SIZE), 1.0)
    exact = column_values(
        segments, G_INV_NM, BEAM, x_nm[j], y_nm[i], THICKNESS_NM / 2, -THICKNESS_NM / 2, s, slice_nm=1 / 16,
        reference=True, **OPTIONS,
    )  # fmt: skip
    background, parts = perfect_crystal(BEAM, s, THICKNESS_NM), []
    for name, image, columns, level in zip(("BF", "DF"), images, exact, background):
        error = (image[i, j] - columns) / max(float(level), float(columns[:PROBES].mean()))
        parts.append(f"{name} {np.sqrt(np.mean(error[:PROBES] ** 2)):.0e} rms, {np.abs(error).max():.0e} max")
    return "; ".join(parts)


def _pixels_on_lines(segments: Segments, rng: np.random.Generator) -> np.ndarray:
    """Pixels (N, 2: column, row) within 3 nm of a line inside the foil."""
    k, share = rng.integers(0, len(segments), 400 * NEAR_PROBES), rng.uniform(0, 1, (400 * NEAR_PROBES, 1))
    points = segments.start_nm[k] + share * (segments.end_nm[k] - segments.start_nm[k])
    half = (SIZE - 1) / 2
    pixels = np.round(np.stack([points[:, 0] + half, half - points[:, 1]], axis=1) + rng.uniform(-3, 3, (len(k), 2)))
    inside = (pixels >= 0).all(axis=1) & (pixels < SIZE).all(axis=1) & (np.abs(points[:, 2]) < THICKNESS_NM / 2)
    return pixels[inside][:NEAR_PROBES].astype(int)


def _medium_row() -> Row:
    """A new orientation of the crystal: Green's function and its harmonics, and the rows of 600 segments."""
    lines, turn = curved_lines(30, 20, SIZE), iter(range(1000))

    def call() -> None:
        stiffness = COPPER * (1 + 1e-9 * next(turn))
        coefficients(lines, G_INV_NM, DOWN, stiffness, ELASTIC["core_nm"])

    wall, cpu = best_of(call)
    kept = medium(COPPER)
    return Row(case="Cu, harmonics of a new orientation and rows of 660 segments", wall_s=wall, cpu_s=cpu,
               error=f"l <= {kept.end_degree} (ends), {kept.line_degree} (line) of {kept.degree}")  # fmt: skip


def _kernel_row(lines: Segments) -> Row:
    rows = coefficients(lines, G_INV_NM, DOWN, COPPER, ELASTIC["core_nm"])
    points = np.random.default_rng(0).uniform(-16, 16, (3, BLOCK)).astype(np.float32)
    packed, work = np.empty((len(rows), rows.shape[1]), np.float32), np.empty(WORK, np.float32)
    for row, out in zip(rows, packed):
        pack(row, 0.0, 0.0, 0.0, out)
    total = np.zeros(BLOCK, np.float32)

    def call() -> None:
        total[:] = 0
        for row in packed:
            add_packed(row, *points, total, work)

    wall, cpu = best_of(call)
    pairs = len(rows) * BLOCK
    return Row(case=f"Cu, one segment and voxel in float32 ({cpu / pairs * 1e9:.1f} ns CPU each)", wall_s=wall, cpu_s=cpu,
               error="")  # fmt: skip
