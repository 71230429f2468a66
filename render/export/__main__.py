"""`python -m render.export A.zarr format=coco out=DIR`: a dataset in another format."""

from __future__ import annotations

import sys

from physics.errors import InputError, require
from render.cli import counted, positional, run_command
from render.export import FORMATS, export_dataset
from render.store import Dataset, open_dataset

USAGE = f"""\
python -m render.export A.zarr format={"|".join(FORMATS)} out=DIR [split=train|val|test] [images=0,3,8:12]

coco     one annotations.json with exact masks as compressed RLE, every line with its attribute `visible`, 16-bit PNG
ngff     one OME-Zarr 0.5 an image, labels in as many layers as overlaps need
labelme  8-bit PNG with labelme JSON beside it: the visible parts of every line as linestrips
png      16-bit images, a picture with labels, one mask a line
blend    a Blender file of every scene
"""


def main(argv: list[str]) -> None:
    places, pairs = positional(argv, ("format", "out", "split", "images"), 1, USAGE)
    for key in ("format", "out"):
        require(bool(pairs.get(key)), key, "be given", "nothing", f"write {key}=…")
    dataset = open_dataset(places[0])
    if "split" in pairs:
        dataset = dataset.split(pairs["split"])
    if "images" in pairs:
        dataset = dataset[_selected(pairs["images"], dataset)]
    path = export_dataset(dataset, pairs["format"], pairs["out"])
    print(f"{path}: {counted(len(dataset), 'image')} as {pairs['format']}")


def _selected(text: str, dataset: Dataset) -> list[int]:
    """Indices of "0,3,8:12"."""
    indices: list[int] = []
    for part in text.strip("[]").split(","):
        try:
            bounds = [int(number) for number in part.split(":")]
        except ValueError:
            raise InputError(f"images must be indices such as 0,3,8:12, got {text}") from None
        require(len(bounds) <= 2, "images", "be indices such as 0,3,8:12", text)
        indices += range(*bounds) if len(bounds) == 2 else bounds
    inside = bool(indices) and all(0 <= i < len(dataset) for i in indices)
    require(inside, "images", f"lie in [0, {len(dataset) - 1}]", text)
    return indices


if __name__ == "__main__":
    sys.exit(run_command(main, USAGE))
