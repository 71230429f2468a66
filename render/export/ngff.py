"""OME-NGFF 0.5 (https://ngff.openmicroscopy.org/0.5): one OME-Zarr an image, zarr v3.

A label image holds one number a pixel, so lines that overlap go into different label images: lines_0, lines_1, …
Pixel value l + 1 is line l of the micrograph in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from render.export import image_name
from render.micrograph import Line

if TYPE_CHECKING:
    from render.store import Dataset

VERSION = "0.5"
SMALLEST_PX = 128


def export(dataset: Dataset, out: Path) -> None:
    """Write <image>.ome.zarr for every image into the folder `out`."""
    for i, micrograph in enumerate(dataset):
        name = image_name(dataset, i)
        root = zarr.open_group(LocalStore(out / f"{name}.ome.zarr"), mode="w-")
        pyramid = _pyramid(micrograph.image, _mean_of_four)
        _write_multiscale(root, name, pyramid, micrograph.pixel_nm, {})
        layers = disjoint_layers(micrograph.masks)
        labels = root.create_group("labels")
        labels.attrs["ome"] = {"version": VERSION, "labels": [f"lines_{k}" for k in range(len(layers))]}
        for k, members in enumerate(layers):
            picture = np.zeros(micrograph.shape, np.uint32)
            for l in members:
                picture[micrograph.masks[l]] = l + 1
            properties = [_properties(micrograph.lines[l], l) for l in members]
            image_label = {"image-label": {"properties": properties, "source": {"image": "../../"}}}
            group = labels.create_group(f"lines_{k}")
            _write_multiscale(group, f"lines_{k}", _pyramid(picture, _every_second), micrograph.pixel_nm, image_label)


def disjoint_layers(masks: np.ndarray) -> list[list[int]]:
    """Numbers of the masks (L, Y, X) in as few layers as a greedy choice finds, without an overlap inside a layer."""
    layers: list[tuple[np.ndarray, list[int]]] = []
    for l, mask in enumerate(masks):
        for taken, members in layers:
            if not (taken & mask).any():
                taken |= mask
                members.append(l)
                break
        else:
            layers.append((mask.copy(), [l]))
    return [members for _, members in layers]


def _write_multiscale(
    group: zarr.Group, name: str, pyramid: Sequence[np.ndarray], pixel_nm: float, extra: dict[str, Any]
) -> None:
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "yx"]
    levels = []
    for level, pixels in enumerate(pyramid):
        group.create_array(str(level), data=pixels, chunks=pixels.shape, dimension_names=("y", "x"))
        # The first pixel of a level is centred in the middle of the ones it is the mean of.
        scale, shift = pixel_nm * 2**level, pixel_nm * (2**level - 1) / 2
        levels.append({"path": str(level), "coordinateTransformations": [
            {"type": "scale", "scale": [scale, scale]}, {"type": "translation", "translation": [shift, shift]}]})  # fmt: skip
    group.attrs["ome"] = {"version": VERSION, "multiscales": [{"name": name, "axes": axes, "datasets": levels}], **extra}


def _pyramid(pixels: np.ndarray, halve: Any) -> list[np.ndarray]:
    levels = [pixels]
    while min(levels[-1].shape) >= 2 * SMALLEST_PX:
        levels.append(halve(levels[-1]))
    return levels


def _mean_of_four(pixels: np.ndarray) -> np.ndarray:
    rows, columns = (n // 2 * 2 for n in pixels.shape)
    blocks = pixels[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2)
    return np.rint(blocks.mean(axis=(1, 3))).astype(pixels.dtype)


def _every_second(labels: np.ndarray) -> np.ndarray:
    rows, columns = (n // 2 * 2 for n in labels.shape)
    return labels[:rows:2, :columns:2]


def _properties(line: Line, l: int) -> dict[str, Any]:
    return {"label-value": l + 1, "kind": line.kind, "visible": bool(line.visible.any()), "burgers_uvw": list(line.burgers_uvw),
            "plane_hkl": list(line.plane_hkl), "g_dot_b": line.g_dot_b}  # fmt: skip
