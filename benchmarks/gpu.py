"""Claim: 500 images of 256 x 256 x 100 a second on one H200-class GPU, within 1e-5 of the double-precision reference.

Without a GPU the same code is timed on one image on the CPU, for its error and its work; no time is promised there.
"""

from __future__ import annotations

import numpy as np
from specimens import BEAM, ELASTIC, G_INV_NM, THICKNESS_NM, curved_lines
from timing import Row, best_of

from physics.contrast.columns import ColumnGrid, column_values
from physics.frames import column_positions_nm
from physics.gpu import ImageColumns, column_images

SIZE = 256
TOGETHER = 32
PROBES = 300
ALLOWED_S_AN_IMAGE = 1 / 500


def rows() -> list[Row]:
    import torch

    if not torch.cuda.is_available():
        return [_row("cpu", "the CPU", 1, 1)]
    return [_row("cuda", torch.cuda.get_device_name(), TOGETHER, 5)]


def _row(device: str, name: str, count: int, runs: int) -> Row:
    images = [_image(seed) for seed in range(count)]

    def render() -> np.ndarray:
        return np.stack([image.cpu().numpy() for image in column_images(images, device)])

    wall, cpu = best_of(render, runs)
    return Row(
        case=f"torch, {SIZE} x {SIZE} x 100, 8 curved lines x 20 segments, on {name}, {count} together: an image"
        f" ({count / wall:.3g} images/s)",
        wall_s=wall / count, cpu_s=cpu / count, error=_error(images[0], render()[:, 0]),
        allowed_s=ALLOWED_S_AN_IMAGE if device == "cuda" else None,
    )  # fmt: skip


def _image(seed: int) -> ImageColumns:
    grid = ColumnGrid.flat((SIZE, SIZE), 1.0, THICKNESS_NM, 0.0)
    return ImageColumns(segments=curved_lines(8, 20, SIZE, seed), g_image_inv_nm=G_INV_NM, two_beam=BEAM, grid=grid, **ELASTIC)


def _error(image: ImageColumns, found: np.ndarray) -> str:
    """Largest error over random columns against the reference with the same slices, and rms against finer ones."""
    i, j = np.random.default_rng(1).integers(0, SIZE, (2, PROBES))
    x_nm, y_nm = column_positions_nm((SIZE, SIZE), 1.0)
    same, fine = (
        np.stack(
            column_values(
                image.segments, G_INV_NM, BEAM, x_nm[j], y_nm[i], THICKNESS_NM / 2, -THICKNESS_NM / 2, 0.0,
                slice_nm=slice_nm, reference=True, **ELASTIC,
            )
        )
        for slice_nm in (image.slice_nm, 0.25)
    )  # fmt: skip
    probes = found[:, i, j]
    rms = np.sqrt(np.mean(((probes - fine) / fine.mean(axis=1, keepdims=True)) ** 2))
    return f"{np.abs(probes - same).max():.0e} max against double; {rms:.0e} rms of background, slicing included"
