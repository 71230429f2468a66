"""Labels of many images as flat arrays with offsets, and back without loss.

Axes: N images of one shard, L lines of all of them, V vertices of all lines, D distractors, W their vertices,
B bytes. The lines of image i are line_offsets[i] … line_offsets[i + 1]; the vertices of line l are
vertex_offsets[l] … vertex_offsets[l + 1]; the same for bytes. Offsets have one entry more than their axis.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from render.micrograph import Distractor, Line, Micrograph

# Name: (dtype, axes, what it is). Written into the dataset, so that it explains itself.
LABEL_ARRAYS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "line_offsets": ("int64", ("image+1",), "first line of each image, in this shard"),
    "vertex_offsets": ("int64", ("line+1",), "first vertex of each line"),
    "points_px": ("float32", ("vertex", "xy"), "where the line's image runs: x right, y down, (0, 0) the centre of the top-left pixel"),
    "half_width_px": ("float32", ("vertex",), "half the FWHM of the contrast, at least 1"),
    "contrast": ("float32", ("vertex",), "signed, relative to the local background"),
    "depth_nm": ("float32", ("vertex",), "along the beam from the entrance face"),
    "core_px": ("float32", ("vertex", "xy"), "where the core projects"),
    "visible": ("bool", ("vertex",), "|contrast| >= visible_contrast of the scene"),
    "burgers_uvw": ("float64", ("line", "uvw"), "Burgers vector in lattice vectors, FS/RH, line sense = vertex order"),
    "plane_hkl": ("int32", ("line", "hkl"), "plane of the line's longest part; 0 0 0: none declared"),
    "g_dot_b": ("float64", ("line",), "h u + k v + l w"),
    "kind": ("int16", ("line",), "index into the attribute `names`"),
    "mask_rle": ("uint8", ("byte",), "COCO compressed RLE (the `counts` bytes) of each line's exact mask"),
    "mask_rle_offsets": ("int64", ("line+1",), "first byte of each line's mask"),
    "scene_json": ("uint8", ("byte",), "zlib-compressed JSON of each image's Scene"),
    "scene_json_offsets": ("int64", ("image+1",), "first byte of each image's Scene"),
    "pixel_nm": ("float64", ("image",), "pixel size"),
}
# Only in shards that have distractors.
DISTRACTOR_ARRAYS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "distractor_offsets": ("int64", ("image+1",), "first distractor of each image"),
    "distractor_kind": ("int16", ("distractor",), "index into the attribute `names`"),
    "distractor_vertex_offsets": ("int64", ("distractor+1",), "first vertex of each distractor"),
    "distractor_points_px": ("float32", ("vertex", "xy"), "its curve, if it is one"),
    "distractor_mask_rle": ("uint8", ("byte",), "COCO compressed RLE of its mask, if it is an area"),
    "distractor_mask_rle_offsets": ("int64", ("distractor+1",), "first byte of each distractor's mask"),
}


def pack(micrographs: Sequence[Micrograph]) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Labels and scenes of `micrographs` as the arrays above, and the names that `kind` arrays index.

    Raises TypeError for a label that would lose digits in store: masks must come back the same.
    """
    lines = [line for m in micrographs for line in m.lines]
    names = sorted({line.kind for line in lines})
    masks = [_rle(line.mask(m.shape)) for m in micrographs for line in m.lines]
    scenes = [zlib.compress(m.scene.to_json().encode(), 6) for m in micrographs]
    arrays = {
        "line_offsets": _offsets([len(m.lines) for m in micrographs]),
        "vertex_offsets": _offsets([len(line.points_px) for line in lines]),
        "burgers_uvw": np.array([line.burgers_uvw for line in lines], np.float64).reshape(-1, 3),
        "plane_hkl": np.array([line.plane_hkl for line in lines], np.int32).reshape(-1, 3),
        "g_dot_b": np.array([line.g_dot_b for line in lines], np.float64),
        "kind": np.array([names.index(line.kind) for line in lines], np.int16),
        "mask_rle": _joined_bytes(masks),
        "mask_rle_offsets": _offsets([len(counts) for counts in masks]),
        "scene_json": _joined_bytes(scenes),
        "scene_json_offsets": _offsets([len(text) for text in scenes]),
        "pixel_nm": np.array([m.pixel_nm for m in micrographs], np.float64),
    }
    for name in ("points_px", "core_px", "half_width_px", "contrast", "depth_nm", "visible"):
        dtype, axes, _ = LABEL_ARRAYS[name]
        empty = np.zeros((0, 2) if len(axes) == 2 else 0, dtype)
        arrays[name] = np.concatenate([empty, *(_lossless(getattr(line, name), dtype, name) for line in lines)])
    distractors, distractor_names = _pack_distractors(micrographs)
    return arrays | distractors, {"kind": names} | distractor_names


def lines_of(arrays: dict[str, np.ndarray], names: dict[str, list[str]], image: int) -> tuple[Line, ...]:
    """Lines of the shard's image number `image`; their arrays are read-only views."""
    first, last = arrays["line_offsets"][image : image + 2]
    return tuple(_line(arrays, names["kind"], int(l)) for l in range(first, last))


def mask_counts(arrays: dict[str, np.ndarray], image: int) -> list[bytes]:
    """The stored RLE bytes of the masks of the shard's image number `image`, in the order of its lines."""
    first, last = arrays["line_offsets"][image : image + 2]
    return [_bytes(arrays, "mask_rle", l) for l in range(first, last)]


def scene_json_of(arrays: dict[str, np.ndarray], image: int) -> str:
    """The Scene, as JSON text, of the shard's image number `image`."""
    return zlib.decompress(_bytes(arrays, "scene_json", image)).decode()


def distractors_of(
    arrays: dict[str, np.ndarray], names: dict[str, list[str]], image: int, shape: tuple[int, int]
) -> tuple[Distractor, ...]:
    """Distractors of the shard's image number `image`."""
    if "distractor_offsets" not in arrays:
        return ()
    found = []
    for d in range(*arrays["distractor_offsets"][image : image + 2]):
        span = slice(*arrays["distractor_vertex_offsets"][d : d + 2])
        counts = _bytes(arrays, "distractor_mask_rle", d)
        points = arrays["distractor_points_px"][span]
        found.append(
            Distractor(
                kind=names["distractor_kind"][arrays["distractor_kind"][d]],
                points_px=points if len(points) else None,
                mask=decode_mask(counts, shape) if counts else None,
            )
        )
    return tuple(found)


def decode_mask(counts: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Mask (Y, X) bool of COCO compressed RLE bytes."""
    return coco_mask.decode({"size": list(shape), "counts": counts}).astype(bool)


def _line(arrays: dict[str, np.ndarray], names: list[str], l: int) -> Line:
    span = slice(*arrays["vertex_offsets"][l : l + 2])
    vertex_fields: dict[str, Any] = {
        name: arrays[name][span] for name, (_, axes, _) in LABEL_ARRAYS.items() if axes[0] == "vertex"
    }
    return Line(
        **vertex_fields,
        burgers_uvw=tuple(float(u) for u in arrays["burgers_uvw"][l]),
        plane_hkl=tuple(int(h) for h in arrays["plane_hkl"][l]),
        g_dot_b=float(arrays["g_dot_b"][l]),
        kind=names[arrays["kind"][l]],
    )


def _pack_distractors(micrographs: Sequence[Micrograph]) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    distractors = [d for m in micrographs for d in m.distractors]
    if not distractors:
        return {}, {}
    names = sorted({d.kind for d in distractors})
    nothing = np.zeros((0, 2), np.float32)
    points = [nothing if d.points_px is None else _lossless(d.points_px, "float32", "points_px") for d in distractors]
    masks = [b"" if d.mask is None else _rle(d.mask) for d in distractors]
    arrays = {
        "distractor_offsets": _offsets([len(m.distractors) for m in micrographs]),
        "distractor_kind": np.array([names.index(d.kind) for d in distractors], np.int16),
        "distractor_vertex_offsets": _offsets([len(p) for p in points]),
        "distractor_points_px": np.concatenate(points),
        "distractor_mask_rle": _joined_bytes(masks),
        "distractor_mask_rle_offsets": _offsets([len(counts) for counts in masks]),
    }
    return arrays, {"distractor_kind": names}


def _lossless(value: np.ndarray, dtype: str, name: str) -> np.ndarray:
    value = np.asarray(value)
    stored = value.astype(dtype)
    if not np.array_equal(stored, value):
        raise TypeError(f"{name} must be {dtype} to be stored without loss, got {value.dtype}")
    return stored


def _offsets(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _joined_bytes(pieces: Sequence[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(pieces), np.uint8)


def _bytes(arrays: dict[str, np.ndarray], name: str, i: int) -> bytes:
    return arrays[name][slice(*arrays[f"{name}_offsets"][i : i + 2])].tobytes()


def _rle(mask: np.ndarray) -> bytes:
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
