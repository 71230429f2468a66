"""Blender files: one .blend a scene, its lines as curve objects with b, plane, g.b and kind as custom properties.

Such a file can be edited in Blender and read back (`render.blender.read`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from render.blender import write_blend
from render.export import image_name

if TYPE_CHECKING:
    from render.store import Dataset


def export(dataset: Dataset, out: Path) -> None:
    """Write `out`/<index>.blend for every image. Raises InputError where bpy is not installed."""
    for i, micrograph in enumerate(dataset):
        write_blend(micrograph.scene, micrograph.image, Path(out) / f"{image_name(dataset, i)}.blend")
