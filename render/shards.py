"""Writing a dataset: zarr v3, one shard a task, each shard appearing whole or not at all.

A shard is built in a staging folder of its own. Its image files are then moved into place, and last its
label group labels/<shard>, by one rename. The metadata of that group holds the SHA-256 of every file of the
shard: a shard is finished if and only if its group is there. No file belongs to two shards.

Layout: image, intensity (N, Y, X), one inner chunk an image; labels/<shard>/… (see `render.ragged`); split/….
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from physics.errors import require
from render.micrograph import Micrograph
from render.ragged import DISTRACTOR_ARRAYS, LABEL_ARRAYS, pack

# 2: distractors in every dataset, images in grey levels where the Scene's detector has a recording.
SCHEMA = 2
STAGING = ".staging"
SHARD_BYTES = 256 * 2**20
# Stores are opened as LocalStore: zarr reads a path given as text as a URL, in which # and :: mean something.
# A missing chunk would read as zeros without an error: every chunk is written, even one of zeros.
WRITE_ALL = {"write_empty_chunks": True}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How `n` images of `shape` (Y, X) lie in shards of `shard` images."""

    n: int
    shape: tuple[int, int]
    shard: int
    keep_intensity: bool = True

    def __post_init__(self) -> None:
        for name in ("n", "shard"):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            require(whole and value >= 1, name, "be a whole number >= 1", value)
        require(isinstance(self.keep_intensity, bool), "keep_intensity", "be true or false", self.keep_intensity)

    @property
    def shards(self) -> int:
        return -(-self.n // self.shard)

    def images(self, shard: int) -> range:
        """Indices of the images of shard number `shard`."""
        return range(shard * self.shard, min(self.n, (shard + 1) * self.shard))


def default_shard(n: int, shape: tuple[int, int]) -> int:
    """Images a shard: at least 32 shards for workers to share, 4 to 64 images, at most 256 MiB uncompressed."""
    by_count = min(64, max(4, -(-n // 32)))
    return max(1, min(by_count, SHARD_BYTES // (6 * shape[0] * shape[1])))


def create_dataset(path: Path, plan: Plan, attributes: Mapping[str, Any], split: Mapping[str, np.ndarray]) -> None:
    """Create the empty dataset at `path` in one rename; an empty folder that stands there is replaced."""
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        root = zarr.open_group(LocalStore(staged), mode="w-", attributes={"gdotb": dict(attributes)})
        _create_images(staged, plan)
        root.create_group("labels", attributes={"arrays": _descriptions()})
        indices = root.create_group("split")
        for name, members in split.items():
            _write_array(indices, name, np.asarray(members, np.int64), ("image",))
        os.rename(staged, path)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def write_shard(path: Path, plan: Plan, shard: int, micrographs: Sequence[Micrograph], summary: Mapping[str, Any]) -> None:
    """Write shard number `shard`; any number of processes may write different shards at the same time.

    `summary` joins the checksums in the metadata of the shard's label group.
    """
    staged = path / STAGING / f"{shard:05d}-{uuid.uuid4().hex[:8]}"
    staged.mkdir(parents=True)
    try:
        images = _create_images(staged, plan)
        span = slice(plan.images(shard).start, plan.images(shard).stop)
        images["image"][span] = np.stack([m.image for m in micrographs])
        if plan.keep_intensity:
            images["intensity"][span] = np.stack([m.intensity for m in micrographs])
        group = zarr.create_group(LocalStore(staged), path=f"labels/{shard:05d}")
        arrays, names = pack(micrographs)
        for name, array in arrays.items():
            axes = (LABEL_ARRAYS | DISTRACTOR_ARRAYS)[name][1]
            _write_array(group, name, array, axes, {"names": names[name]} if name in names else {})
        files = {place: file_sha256(staged / place) for place in _shard_files(staged, plan, shard)}
        group.update_attributes({"first_image": span.start, "images": len(micrographs), **summary, "sha256": files})
        _commit(staged, path, plan, shard)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def finished_shards(path: Path, plan: Plan) -> list[int]:
    """Numbers of the shards that are whole."""
    present = {entry.name for entry in (path / "labels").iterdir() if (entry / "zarr.json").is_file()}
    return [shard for shard in range(plan.shards) if f"{shard:05d}" in present]


def shard_attributes(path: Path, shard: int) -> dict[str, Any]:
    """Summary and checksums of one finished shard."""
    return json.loads((path / "labels" / f"{shard:05d}" / "zarr.json").read_bytes())["attributes"]


def finish_dataset(path: Path, attributes: Mapping[str, Any]) -> None:
    """Write the final attributes, consolidate the metadata, and leave nothing that is not the dataset's."""
    clear_staging(path)
    with warnings.catch_warnings():
        # zarr says that consolidated metadata is not in the v3 specification yet; readers without it still work.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        root = zarr.consolidate_metadata(LocalStore(path))
    # Last, in one write: a dataset that calls itself complete has its consolidated metadata.
    root.update_attributes({"gdotb": dict(attributes)})


def clear_staging(path: Path) -> None:
    """Remove what a killed run left half-written."""
    shutil.rmtree(path / STAGING, ignore_errors=True)
    for leftover in path.glob("zarr.*.partial"):
        leftover.unlink(missing_ok=True)


def image_files(plan: Plan, shard: int) -> list[str]:
    """The files, relative to the dataset, that hold the pixels of shard number `shard`."""
    return [f"{name}/c/{shard}/0/0" for name in ("image", "intensity")[: 1 + plan.keep_intensity]]


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shard_files(root: Path, plan: Plan, shard: int) -> list[str]:
    labels = root / "labels" / f"{shard:05d}"
    marker = labels / "zarr.json"
    found = [p.relative_to(root).as_posix() for p in labels.rglob("*") if p.is_file() and p != marker]
    return image_files(plan, shard) + sorted(found)


def _commit(staged: Path, path: Path, plan: Plan, shard: int) -> None:
    for place in image_files(plan, shard):
        (path / place).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged / place, path / place)
    target = path / "labels" / f"{shard:05d}"
    try:
        os.rename(staged / "labels" / f"{shard:05d}", target)
    except OSError:
        # A worker that was thought dead has finished the same shard; its bytes are the same.
        if not (target / "zarr.json").is_file():
            raise


def _create_images(root: Path, plan: Plan) -> dict[str, zarr.Array]:
    kinds = {"image": "uint16", "intensity": "float32"} if plan.keep_intensity else {"image": "uint16"}
    return {
        name: zarr.create_array(
            LocalStore(root), name=name, shape=(plan.n, *plan.shape), chunks=(1, *plan.shape), shards=(plan.shard, *plan.shape),
            dtype=dtype, fill_value=0, compressors=_compressors(np.dtype(dtype).itemsize, "bitshuffle"),
            dimension_names=("image", "y", "x"), config=WRITE_ALL,
        )
        for name, dtype in kinds.items()
    }  # fmt: skip


def _write_array(
    group: zarr.Group, name: str, array: np.ndarray, axes: tuple[str, ...], attributes: Mapping[str, Any] | None = None
) -> None:
    # RLE and zlib bytes do not shrink further.
    compressors = [Crc32cCodec()] if array.dtype == np.uint8 else _compressors(array.dtype.itemsize, "shuffle")
    stored = group.create_array(
        name, shape=array.shape, chunks=tuple(max(1, n) for n in array.shape), dtype=array.dtype, fill_value=0,
        compressors=compressors, dimension_names=axes, attributes=dict(attributes or {}), config=WRITE_ALL,
    )  # fmt: skip
    if array.size:
        stored[...] = array


def _compressors(typesize: int, shuffle: str) -> list[Any]:
    return [BloscCodec(typesize=typesize, cname="zstd", clevel=3, shuffle=shuffle), Crc32cCodec()]


def _descriptions() -> dict[str, str]:
    return {name: text for name, (_, _, text) in (LABEL_ARRAYS | DISTRACTOR_ARRAYS).items()}
