"""Reading a dataset: `open_dataset("A.zarr")[i]` is a Micrograph.

Axes: N images, (Y, X) image rows and columns.
"""

from __future__ import annotations

import json
import operator
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from physics.errors import InputError, require
from render.micrograph import Distractor, Line, Micrograph
from render.ragged import distractors_of, lines_of, mask_counts, scene_json_of
from render.scene import Scene
from render.shards import SCHEMA, Plan

LABEL_CACHE_BYTES = 2**30


def open_dataset(path: str | os.PathLike[str]) -> Dataset:
    """The dataset at `path`, for reading.

    Raises InputError for what is not a dataset, is not finished, or has another schema.
    """
    return Dataset(_Store(Path(path)))


class Dataset:
    """A sequence of Micrographs on disk; a slice, a list of indices or a split of one is one too.

    Images are read when asked for. It can be pickled and shared between threads and forked processes.
    `image`, `lines`, `intensity` and `scene` read one thing without the others.
    """

    def __init__(self, store: _Store, indices: Sequence[int] | None = None) -> None:
        self._store = store
        self._indices = range(store.plan.n) if indices is None else indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, i: int | slice | Sequence[int]) -> Any:
        if isinstance(i, slice):
            return Dataset(self._store, self._indices[i])
        if not hasattr(i, "__index__"):
            return Dataset(self._store, [self.index(k) for k in i])
        store, n = self._store, self.index(i)
        return Micrograph(
            image=store.pixels("image", n),
            intensity=store.pixels("intensity", n) if store.plan.keep_intensity else None,
            lines=self.lines(i),
            scene=self.scene(i),
            distractors=self.distractors(i),
        )

    def __iter__(self) -> Iterator[Micrograph]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<gdotb dataset {str(self.path)!r}: {len(self)} images of {self.shape[0]} x {self.shape[1]} px>"

    @property
    def path(self) -> Path:
        return self._store.path

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X) of every image."""
        return self._store.plan.shape

    @property
    def card(self) -> dict[str, Any]:
        """The dataset card: what was varied, counts, conventions."""
        return self._store.attributes["card"]

    @property
    def config(self) -> dict[str, Any]:
        """The configuration the dataset was made from."""
        return self._store.attributes["config"]

    @property
    def attributes(self) -> dict[str, Any]:
        """All that the dataset says of itself: schema, config and its hash, versions, card."""
        return self._store.attributes

    def index(self, i: int) -> int:
        """Index in the whole dataset of image `i`, which may count from the end."""
        i = operator.index(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"image index must lie in [{-len(self)}, {len(self) - 1}], got {i}")
        return int(self._indices[i])

    def split(self, name: str) -> Dataset:
        """The images of split "train", "val" or "test"."""
        names = self._store.splits()
        require(name in names, "split", f"be one of {', '.join(names)}", name)
        return Dataset(self._store, self._kept(self._store.split(name)))

    def image(self, i: int) -> np.ndarray:
        """Counts (Y, X) uint16."""
        return self._store.pixels("image", self.index(i))

    def intensity(self, i: int) -> np.ndarray | None:
        """Noise-free intensity (Y, X) float32, or None where it was not kept."""
        return self._store.pixels("intensity", self.index(i)) if self._store.plan.keep_intensity else None

    def lines(self, i: int) -> tuple[Line, ...]:
        return lines_of(*self._store.labels(self.index(i)))

    def distractors(self, i: int) -> tuple[Distractor, ...]:
        return distractors_of(*self._store.labels(self.index(i)), self.shape)

    def mask_counts(self, i: int) -> list[bytes]:
        """COCO compressed RLE of every line's mask, as stored."""
        arrays, _, place = self._store.labels(self.index(i))
        return mask_counts(arrays, place)

    def pixel_nm(self, i: int) -> float:
        arrays, _, place = self._store.labels(self.index(i))
        return float(arrays["pixel_nm"][place])

    def scene(self, i: int) -> Scene:
        return Scene.from_json(self.scene_json(i))

    def scene_json(self, i: int) -> str:
        arrays, _, place = self._store.labels(self.index(i))
        return scene_json_of(arrays, place)

    def _kept(self, indices: np.ndarray) -> list[int]:
        mine = set(self._indices)
        return [int(i) for i in indices if int(i) in mine]


class _Store:
    """The open zarr hierarchy and the labels read from it; opened again in each process."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.attributes = read_attributes(path)
        require(self.attributes.get("state") == "complete", str(path), "be a finished dataset",
                "one that is still being rendered", "run the same render command again to resume it")  # fmt: skip
        self.plan = plan_of(self.attributes)
        self._reset()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "attributes": self.attributes, "plan": self.plan}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def pixels(self, name: str, n: int) -> np.ndarray:
        """Image or intensity number `n` (Y, X)."""
        try:
            pixels = np.asarray(self._array(name)[n])
        except Exception as error:
            raise self._damaged(f"{name} {n}", error) from None
        # zarr reads zeros where a shard's file is gone.
        if not pixels.any() and not (self.path / name / "c" / str(n // self.plan.shard) / "0" / "0").exists():
            raise self._damaged(f"{name} {n}", "its file is missing")
        return pixels

    def labels(self, n: int) -> tuple[dict[str, np.ndarray], dict[str, list[str]], int]:
        """Label arrays and names of the shard of image `n`, and the place of the image in it."""
        shard = n // self.plan.shard
        self._own()
        with self._lock:
            if shard in self._labels:
                self._labels.move_to_end(shard)
            else:
                self._labels[shard] = self._read_labels(shard)
                self._label_bytes += _size(self._labels[shard])
                while self._label_bytes > LABEL_CACHE_BYTES and len(self._labels) > 1:
                    self._label_bytes -= _size(self._labels.popitem(last=False)[1])
            arrays, names = self._labels[shard]
        return arrays, names, n - shard * self.plan.shard

    def splits(self) -> list[str]:
        return sorted(self._group()["split"].array_keys())

    def split(self, name: str) -> np.ndarray:
        return np.asarray(self._array(f"split/{name}")[...])

    def _read_labels(self, shard: int) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
        place = f"labels/{shard:05d}"
        try:
            arrays, names = {}, {}
            for name, stored in self._group()[place].arrays():
                arrays[name] = np.asarray(stored[...])
                arrays[name].setflags(write=False)
                if "names" in stored.attrs:
                    names[name] = list(stored.attrs["names"])
                chunk = self.path / place / name / "c" / "/".join("0" * stored.ndim)
                if stored.size and not chunk.exists():
                    raise FileNotFoundError(f"{name} is missing")
        except Exception as error:
            raise self._damaged(place, error) from None
        return arrays, names

    def _array(self, name: str) -> zarr.Array:
        self._own()
        if name not in self._arrays:
            self._arrays[name] = self._group()[name]
        return self._arrays[name]

    def _group(self) -> zarr.Group:
        self._own()
        if self._root is None:
            self._root = zarr.open_group(LocalStore(self.path), mode="r")
        return self._root

    def _own(self) -> None:
        # After a fork, locks and zarr's event loop belong to the parent.
        if self._pid != os.getpid():
            self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._root: zarr.Group | None = None
        self._arrays: dict[str, zarr.Array] = {}
        self._labels: OrderedDict[int, tuple[dict[str, np.ndarray], dict[str, list[str]]]] = OrderedDict()
        self._label_bytes = 0
        self._lock = threading.Lock()

    def _damaged(self, what: str, reason: object) -> InputError:
        reason = " ".join(str(reason).split())
        return InputError(f"{self.path.name}: {what} must be readable, got: {reason}; render.check lists all damage")


def read_attributes(path: Path) -> dict[str, Any]:
    """What the dataset at `path` says of itself, finished or not.

    Raises InputError for what is not a dataset of this schema.
    """
    require(path.is_dir(), str(path), "be a dataset", "a file" if path.exists() else "nothing there")
    try:
        attributes = json.loads((path / "zarr.json").read_bytes())["attributes"]["gdotb"]
        schema = attributes["schema"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} must be a dataset written by python -m render, got a folder without its header") from None
    require(schema == SCHEMA, str(path), f"have schema {SCHEMA}", schema, "read it with the version of gdotb that wrote it, or render it again")
    return attributes


def plan_of(attributes: dict[str, Any]) -> Plan:
    """The layout that a dataset's attributes describe."""
    return Plan(
        n=attributes["n"], shape=tuple(attributes["shape"]), shard=attributes["shard"],
        keep_intensity=attributes["keep_intensity"],
    )  # fmt: skip


def _size(labels: tuple[dict[str, np.ndarray], dict[str, list[str]]]) -> int:
    return sum(array.nbytes for array in labels[0].values())
