"""Maps averaged over the turns and flips of an image, which a network sees as so many images of the same lines.

A square has eight: quarter turns, each as it is and mirrored. What one view invents or misses, others often do not; the cost is
that of as many images.

Axes: K orientation bins, (Y, X) rows and columns of the image, (Yh, Xh) of the maps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from physics.errors import require
from train.targets import Maps

# Quarter turns anticlockwise, then whether the image is mirrored left to right.
VIEWS = {1: ((0, False),), 2: ((0, False), (2, False)), 4: tuple((q, False) for q in range(4)),
         8: tuple((q, mirrored) for mirrored in (False, True) for q in range(4))}  # fmt: skip
AVERAGED = ("mask", "centreline", "half_width_px", "ends", "lift", "offset_px", "distractors")


def require_views(views: object) -> int:
    """A number of views. Raises InputError for any but 1, 2, 4 and 8."""
    whole = isinstance(views, int) and not isinstance(views, bool)
    require(whole and views in VIEWS, "views", f"be one of {', '.join(map(str, VIEWS))}", repr(views))
    return views


def averaged_maps(maps_of: Callable[[np.ndarray], Maps], image: np.ndarray, stride: int, views: int) -> Maps:
    """Mean of the maps that `maps_of` draws of so many views of an image (Y, X), turned back.

    Raises InputError for an odd number of orientations and more than two views: a quarter turn is no whole number of bins.
    """
    if views == 1:
        return maps_of(image)
    # Turned, an image begins with what was its end: that too must be a whole pixel of the maps.
    padded = np.pad(image, [(0, -n % stride) for n in image.shape], mode="symmetric")
    total: dict[str, np.ndarray] = {}
    for quarters, mirrored in VIEWS[views]:
        seen = np.rot90(padded, quarters)
        maps = upright(maps_of(np.ascontiguousarray(seen[:, ::-1] if mirrored else seen)), quarters, mirrored)
        for name in AVERAGED:
            values = getattr(maps, name)
            if values is not None:
                total[name] = values / views if name not in total else total[name] + values / views
    return dataclasses.replace(maps, **total, ignore=np.zeros(total["mask"].shape, dtype=bool))


def upright(maps: Maps, quarters: int, mirrored: bool) -> Maps:
    """The maps of an image from those of its view: turned by quarters anticlockwise, then mirrored left to right."""
    if mirrored:
        maps = _of_planes(maps, lambda v: v[..., ::-1], (-np.arange(maps.orientations)) % maps.orientations, np.diag([-1.0, 1.0]))
    require(quarters % 2 == 0 or maps.orientations % 2 == 0, "views", "be 1 or 2 for an odd number of orientations", maps.orientations)
    # Each quarter turns directions (x, y), y down, from (dx, dy) to (dy, -dx).
    bins = (np.arange(maps.orientations) + quarters * maps.orientations // 2) % maps.orientations
    back = np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), quarters)
    return _of_planes(maps, lambda v: np.rot90(v, -quarters, axes=(-2, -1)), bins, back)


def _of_planes(maps: Maps, placed: Callable[[np.ndarray], np.ndarray], bins: np.ndarray, back: np.ndarray) -> Maps:
    """Maps with their planes `placed`, their orientations taken in the order `bins` and their offsets turned by `back`."""
    moved = {name: placed(value) for name in (*AVERAGED, "ignore") if (value := getattr(maps, name)) is not None}
    moved["lift"] = moved["lift"][bins]
    if "offset_px" in moved:
        moved["offset_px"] = np.einsum("ab,bij->aij", back, moved["offset_px"]).astype(np.float32)
    return dataclasses.replace(maps, **{name: np.ascontiguousarray(value) for name, value in moved.items()})
