"""Maps of what looks like a line and is none: the targets by which hard negatives are learnt by name.

The renderer says of everything it puts beside the dislocations what it is; four groups of it (`train.channels`) are
maps of the network. Curves are drawn after augmentation like the lines; areas are looked up through the view.

Axes: (Y, X) image rows and columns, (Yh, Xh) those of the maps, V vertices of a curve, D distractor groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numba
import numpy as np

from render import Distractor, line_mask
from train.channels import DISTRACTOR_GROUPS
from train.geometry import View
from train.targets import TargetSettings

GROUP_OF_KIND = {
    "slip_trace": "thin", "edge": "thin", "particle": "spot", "precipitate": "spot", "void": "spot", "cluster": "spot",
    "fault_band": "band", "boundary": "band", "bend_contour": "band", "fringe": "band", "text": "text",
}  # fmt: skip
UNKNOWN = -1.0  # in a target: nobody knows whether there is a distractor


@dataclass(frozen=True, kw_only=True, eq=False)
class DistractorLabels:
    """`curves` as (group number, points_px (V, 2)); `areas` (Y, X) uint8 with bit d set where group d has an area."""

    curves: tuple[tuple[int, np.ndarray], ...]
    areas: np.ndarray


def distractor_labels(distractors: Iterable[Distractor], shape: tuple[int, int]) -> DistractorLabels:
    """The distractors of an image of `shape` (Y, X), by group; an unknown kind is a band where it has a mask, else thin."""
    areas = np.zeros(shape, dtype=np.uint8)
    curves = []
    for distractor in distractors:
        fallback = "thin" if distractor.mask is None else "band"
        group = DISTRACTOR_GROUPS.index(GROUP_OF_KIND.get(distractor.kind, fallback))
        if distractor.mask is not None:
            areas[distractor.mask] |= np.uint8(1 << group)
        else:
            curves.append((group, np.asarray(distractor.points_px, dtype=np.float64)))
    return DistractorLabels(curves=tuple(curves), areas=areas)


def distractor_maps(labels: DistractorLabels, view: View, settings: TargetSettings) -> np.ndarray:
    """Targets (D, Yh, Xh) float32 of what a view shows: 1 on a distractor of the group, else 0.

    A map pixel belongs to an area when any of the image pixels under it does (their nearest source pixels); a curve is
    `distractor_half_width_px` of the seen image wide to each side, whatever the magnification.
    """
    stride, shift = settings.stride, 0.5 * (settings.stride - 1)
    size = (-(-view.shape[0] // stride), -(-view.shape[1] // stride))
    bits = np.zeros(size, dtype=np.uint8)
    if labels.areas.any():
        _look_up(labels.areas, view.linear, view.offset, view.shape[0], view.shape[1], stride, bits)
    maps = np.stack([(bits >> d) & 1 for d in range(len(DISTRACTOR_GROUPS))]).astype(np.float32)
    seen_from_source = view.seen_from_source
    for group, points_px in labels.curves:
        seen_px = (points_px - view.offset) @ seen_from_source.T
        width = np.full(len(seen_px), settings.distractor_half_width_px / stride)
        maps[group][line_mask((seen_px - shift) / stride, width, size)] = 1.0
    return maps


@numba.njit(cache=True, error_model="numpy", nogil=True)
def _look_up(areas, linear, offset, rows, columns, stride, bits):
    for y in range(rows):
        for x in range(columns):
            i = int(np.rint(linear[0, 0] * x + linear[0, 1] * y + offset[0]))
            j = int(np.rint(linear[1, 0] * x + linear[1, 1] * y + offset[1]))
            if 0 <= i < areas.shape[1] and 0 <= j < areas.shape[0]:
                bits[y // stride, x // stride] |= areas[j, i]
