"""Which columns are computed together: tiles of neighbours, in Morton order so that any half of one is compact.

Axes: P columns, B tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

TILE_PX = 32
TILE_COLUMNS = TILE_PX * TILE_PX
TILE_NM = 64.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Tiling:
    """`order` (P,) lists columns tile by tile, tile i from first[i] to first[i + 1]; `cells` (B, 2) are places."""

    order: np.ndarray
    first: np.ndarray
    cells: np.ndarray


def image_tiling(shape: tuple[int, int]) -> Tiling:
    """Tiles of TILE_PX x TILE_PX pixels of an image."""
    order, first, cells = _image_order(*shape)
    return Tiling(order=order, first=first, cells=cells)


def scattered_tiling(x_nm: np.ndarray, y_nm: np.ndarray) -> Tiling:
    """Tiles of columns anywhere: squares of TILE_NM, of at most TILE_COLUMNS each."""
    if len(x_nm) == 0:
        return Tiling(order=np.empty(0, np.int64), first=np.zeros(1, np.int64), cells=np.empty((0, 2), np.int64))
    x, y = x_nm - x_nm.min(), y_nm - y_nm.min()
    cells = np.stack([x // TILE_NM, y // TILE_NM], axis=1).astype(np.int64)
    within = _morton((x % TILE_NM * (1024 / TILE_NM)).astype(np.int64), (y % TILE_NM * (1024 / TILE_NM)).astype(np.int64))
    order = np.lexsort((within, cells[:, 0], cells[:, 1]))
    cells = cells[order]
    starts = np.flatnonzero(np.r_[True, (cells[1:] != cells[:-1]).any(axis=1)])
    ends = np.r_[starts[1:], len(order)]
    first = np.concatenate([np.arange(a, b, TILE_COLUMNS) for a, b in zip(starts, ends)])
    return Tiling(order=order, first=np.r_[first, len(order)], cells=cells[first])


@numba.njit(cache=True)
def _image_order(rows, columns):
    down, across = (rows + TILE_PX - 1) // TILE_PX, (columns + TILE_PX - 1) // TILE_PX
    order = np.empty(rows * columns, np.int64)
    first = np.empty(down * across + 1, np.int64)
    cells = np.empty((down * across, 2), np.int64)
    count = 0
    for tile in range(down * across):
        first[tile] = count
        cells[tile, 0], cells[tile, 1] = tile % across, tile // across
        for code in range(TILE_COLUMNS):
            i, j = TILE_PX * (tile // across), TILE_PX * (tile % across)
            for bit in range(5):
                j += ((code >> (2 * bit)) & 1) << bit
                i += ((code >> (2 * bit + 1)) & 1) << bit
            if i < rows and j < columns:
                order[count] = i * columns + j
                count += 1
    first[-1] = count
    return order, first, cells


@numba.vectorize(cache=True)
def _morton(x, y):
    code = 0
    for bit in range(10):
        code |= ((x >> bit) & 1) << (2 * bit)
        code |= ((y >> bit) & 1) << (2 * bit + 1)
    return code
