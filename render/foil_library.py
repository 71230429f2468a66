"""A folder of foils that Cycles has cast, each under the hash of what it was cast from.

An entry is an npz file of plain float32 arrays, read without pickle, so that it never runs code. It is written whole under
another name and renamed, so that several processes may share a folder; the same foil gives the same bytes, whoever comes
first. Only the geometry counts: beams, excitation errors and extinction distances may differ between the Scenes that
share a foil.

Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physics.deposit import Deposit
from physics.errors import InputError
from physics.particle import Particle

if TYPE_CHECKING:
    from render.foil import FoilShape

# Of the foil and what is in it, what says how it diffracts and not where it is.
CONDITIONS = ("s_inv_nm", "xi_g_nm", "xi_prime_over_xi", "turn_inv_nm_per_um", "misorientation_uvw", "misorientation_deg",
              "normal_uvw", "misfit", "xi_ratio")  # fmt: skip
SOURCES = ("physics/boundary.py", "physics/deposit.py", "physics/frames.py", "physics/opening.py", "physics/relief.py",
           "physics/tear.py", "render/foil.py", "render/foil_library.py", "render/blender/buffers.py",
           "render/blender/foil.py", "render/blender/lips.py", "render/blender/materials.py", "render/blender/meshes.py",
           "render/blender/objects.py")  # fmt: skip


def content_key(
    placed: FoilShape, shape: tuple[int, int], pixel_nm: float, renderer: str, matter: Sequence[Deposit | Particle]
) -> str:
    """SHA-256 of the foil's geometry, the field, the versions of Blender and of the libraries and code that build meshes."""
    content = {
        "foil": _geometry(asdict(placed.foil)), "normal_image": placed.normal_image.tolist(),
        "matter": [[type(m).__name__, _geometry(asdict(m))] for m in matter], "shape": list(shape), "pixel_nm": pixel_nm,
        "renderer": renderer, "built_by": _builder(),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class FoilLibrary:
    """The entries in `folder`, which is made when the first is written."""

    folder: str | os.PathLike[str]

    def read(self, key: str, shape: tuple[int, int]) -> dict[str, np.ndarray] | None:
        """Buffers by name; None where there is no entry, or one that is damaged or foreign and so is to be cast again."""
        try:
            with np.load(self._path(key), allow_pickle=False) as entry:
                buffers = {name: entry[name] for name in entry.files}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, RuntimeError, AttributeError, TypeError, MemoryError, zlib.error):
            return None  # RuntimeError: one bit says that an array is encrypted
        told = buffers.pop("content", None)
        if told is None or told.dtype.kind != "U" or told.shape != () or str(told) != _digest(key, buffers):
            return None
        return buffers if {"entrance", "exit"} <= set(buffers) and buffers["entrance"].shape == tuple(shape) else None

    def write(self, key: str, buffers: Mapping[str, np.ndarray]) -> None:
        """Put an entry in place, whole. Raises InputError where the folder cannot be written."""
        path = self._path(key)
        beside = path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}-{os.urandom(4).hex()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(beside, "wb") as file:
                np.savez(file, content=np.array(_digest(key, buffers)), **buffers)
            os.replace(beside, path)
        except OSError as error:
            raise InputError(f"foil_library must be a folder that can be written, got {os.fspath(self.folder)}: {error.strerror}") from None
        finally:
            with contextlib.suppress(OSError):
                os.remove(beside)

    def _path(self, key: str) -> Path:
        return Path(self.folder) / key[:2] / f"{key}.npz"


def _digest(key: str, buffers: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over the key and every buffer: a bit that turned over is seen."""
    told = hashlib.sha256(key.encode())
    for name in sorted(buffers):
        told.update(f"{name} {buffers[name].dtype.str} {buffers[name].shape}".encode())
        told.update(np.ascontiguousarray(buffers[name]).tobytes())
    return told.hexdigest()


def _geometry(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _geometry(item) for key, item in value.items() if key not in CONDITIONS}
    if isinstance(value, list | tuple):
        return [_geometry(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


@functools.cache
def _builder() -> dict[str, str]:
    root, code = Path(__file__).resolve().parents[1], hashlib.sha256()
    for name in SOURCES:
        code.update((root / name).read_bytes())
    return {"code": code.hexdigest(), "machine": platform.machine()} | {name: version(name) for name in ("numpy", "scipy", "numba")}
