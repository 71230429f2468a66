"""PNG: counts as 16-bit images, a picture with the labels drawn in, and one mask a line, so that overlaps are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from render.export import image_name

if TYPE_CHECKING:
    from render.store import Dataset


def export(dataset: Dataset, out: Path) -> None:
    """Write images/, pictures/ and masks/<image>/<line>_<kind>[_invisible].png into the folder `out`."""
    from render.picture import labelled_micrograph

    for folder in ("images", "pictures", "masks"):
        (out / folder).mkdir()
    for i, micrograph in enumerate(dataset):
        name = image_name(dataset, i)
        Image.fromarray(micrograph.image).save(out / "images" / f"{name}.png")
        labelled_micrograph(micrograph, str(out / "pictures" / f"{name}.png"))
        masks = out / "masks" / name
        masks.mkdir()
        for l, (line, mask) in enumerate(zip(micrograph.lines, micrograph.masks)):
            seen = "" if line.visible.any() else "_invisible"
            Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(masks / f"{l:03d}_{line.kind}{seen}.png")
