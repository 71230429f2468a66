"""Maps of images larger than a network can hold: tile by tile with overlap, stitched, for tracing in one piece.

Neighbouring tiles fade into each other within their overlap, with weights that add up to 1 along each axis, so that
nothing but the stitched maps themselves has to be kept. The outer quarter of the overlap, where a network sees the
tile's border, has no weight. They are float32 with the orientations last, as the tracer
reads them: 4 (K + 4) bytes a map pixel, 335 MB for 4096 x 4096 px at stride 2 and K = 16. With `scratch` they lie in
a file that the system may take out of memory.

Axes: K orientation bins, (Y, X) rows and columns of the image, (Yh, Xh) of the maps, N tiles along one axis.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from physics.errors import require
from train.augment import standardised
from train.model import LiftedNetwork, maps_of
from train.targets import Maps

TILE_PX = 1152
OVERLAP_PX = 128


@torch.no_grad()
def tiled_maps(
    network: LiftedNetwork,
    image: np.ndarray,
    tile_px: int = TILE_PX,
    overlap_px: int = OVERLAP_PX,
    scratch: Path | None = None,
) -> Maps:
    """Maps of an image (Y, X) of any counts, by tiles of up to `tile_px` that overlap by `overlap_px` or more.

    The grey levels are standardised over the whole image. `scratch` is a folder for the large arrays; the files in it
    are the caller's to remove. Raises InputError for tiles or images that the network cannot take.
    """
    multiple, stride = network.multiple_px, network.stride
    require(tile_px % multiple == 0 and tile_px >= 2 * multiple, "tile_px", f"be a multiple of {multiple}, at least twice it", tile_px)
    require(0 <= overlap_px <= tile_px // 2 and overlap_px % multiple == 0, "overlap_px",
            f"be a multiple of {multiple}, at most half a tile", overlap_px)  # fmt: skip
    rows, columns = image.shape
    size = tuple(max(2 * multiple, -(-n // multiple) * multiple) for n in (rows, columns))
    padding = [(0, padded - n) for padded, n in zip(size, (rows, columns))]
    padded = np.pad(standardised(image.astype(np.float32)), padding, mode="symmetric")
    layouts = [tile_layout(n, tile_px, overlap_px, multiple) for n in size]
    fades = [fade_weights(starts, tile, n, overlap_px // 4, stride) for (tile, starts), n in zip(layouts, size)]
    device = next(network.parameters()).device
    whole: dict[str, np.ndarray] = {}
    (height, tops), (width, lefts) = layouts
    for y0, fade_y in zip(tops, fades[0]):
        for x0, fade_x in zip(lefts, fades[1]):
            tile = padded[y0 : y0 + height, x0 : x0 + width]
            logits = network(torch.from_numpy(tile)[None, None].to(device)).float()
            maps = maps_of(logits, tile.shape, network)
            j, i = y0 // stride, x0 // stride
            h, w = maps.shape
            fade = (fade_y[j : j + h, None] * fade_x[i : i + w]).astype(np.float32)
            for name, values in _images(maps).items():
                if name not in whole:
                    shape = (size[0] // stride, size[1] // stride, *values.shape[2:])
                    whole[name] = _blank(shape, scratch, name)
                whole[name][j : j + h, i : i + w] += fade.reshape(h, w, *(1,) * (values.ndim - 2)) * values
    cut = tuple(-(-n // stride) for n in (rows, columns))
    stitched = {name: values[: cut[0], : cut[1]] for name, values in whole.items()}
    stitched = {name: np.moveaxis(v, 2, 0) if v.ndim == 3 else v for name, v in stitched.items()}
    return Maps(**stitched, ignore=np.zeros(cut, dtype=bool), stride=stride)


def tile_layout(size: int, most: int, overlap: int, multiple: int) -> tuple[int, list[int]]:
    """Side and first pixels of the fewest tiles of at most `most` px that cover `size` px, evenly spread.

    All are multiples of `multiple`, and neighbours overlap by `overlap` px or more.
    """
    if size <= most:
        return size, [0]
    count = -(-(size - overlap) // (most - overlap))
    tile = min(most, -(-(size + (count - 1) * overlap) // (count * multiple)) * multiple)
    last = size - tile
    return tile, [n * last // ((count - 1) * multiple) * multiple for n in range(count)]


def fade_weights(starts: list[int], tile: int, size: int, silent: int, stride: int) -> np.ndarray:
    """Weights (N, size / stride) of the tiles along one axis: linear towards a tile's borders, adding up to 1.

    They are 0 within `silent` px of a border, except at the image's own.
    """
    at = np.arange(size // stride) * stride + 0.5 * (stride - 1)
    weights = []
    for start in starts:
        low = np.inf if start == 0 else at - start + 0.5 - silent
        high = np.inf if start + tile >= size else start + tile - at - 0.5 - silent
        inside = (at >= start) & (at < start + tile)
        weights.append(np.where(inside, np.clip(np.minimum(low, high), 0.0, 0.5 * tile), 0.0))
    total = np.array(weights)
    return total / total.sum(axis=0)


def _images(maps: Maps) -> dict[str, np.ndarray]:
    """The predicted maps by name, layers last: whatever this network draws."""
    found = {}
    for field in dataclasses.fields(maps):
        values = getattr(maps, field.name)
        if field.name != "ignore" and isinstance(values, np.ndarray):
            found[field.name] = np.moveaxis(values, 0, 2) if values.ndim == 3 else values
    return found


def _blank(shape: tuple[int, ...], scratch: Path | None, name: str) -> np.ndarray:
    if scratch is None:
        return np.zeros(shape, dtype=np.float32)
    return np.lib.format.open_memmap(scratch / f"{name}.npy", mode="w+", dtype=np.float32, shape=shape)
