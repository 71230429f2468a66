"""Datasets in other people's formats: COCO, PNG, labelme, OME-NGFF, Blender files.

Every format is a module with `export(dataset, out)`, which fills the empty folder `out`.
"""

from __future__ import annotations

import os
import shutil
import uuid
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from physics.errors import require

if TYPE_CHECKING:
    from render.store import Dataset

FORMATS = ("coco", "ngff", "labelme", "png", "blend")


def export_dataset(dataset: Dataset, format: str, out: str | os.PathLike[str]) -> Path:
    """Write `dataset` as `format` into the new folder `out`, which appears when it is whole.

    Raises InputError for an unknown format or an `out` that holds something.
    """
    require(format in FORMATS, "format", f"be one of {', '.join(FORMATS)}", format)
    path = Path(out).absolute()
    free = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    require(free, "out", "be a new path or an empty folder", path)
    require(len(dataset) > 0, "the dataset", "have images", "none")
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        staged.mkdir()
        import_module(f"render.export.{format}").export(dataset, staged)
        os.rename(staged, path)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return path


def image_name(dataset: Dataset, i: int) -> str:
    """Name, without an ending, of image `i`: its index in the whole dataset."""
    return f"{dataset.index(i):06d}"
