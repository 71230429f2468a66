"""The rolled-up lips of a tear as a closed mesh.

Axes: M outline vertices, A steps of the arc.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from physics.tear import Tear
from render.blender.meshes import Solid

if TYPE_CHECKING:
    from render.foil import FoilShape

STEP_DEG = 3.0


def rolled_solid(tear: Tear, placed: FoilShape, group: str) -> Solid:
    """Foil of its full thickness on an arc of radius `lip_nm` about an axis along the border of the gap.

    At angle 0 it continues the foil toward the gap; it has turned by a share of `turn_deg` at its end.
    """
    outline_nm, turn_share = tear.outline()
    inward = _toward_the_gap(outline_nm)
    steps = max(2, math.ceil(tear.turn_deg / STEP_DEG))
    angle = np.multiply.outer(np.radians(tear.turn_deg) * turn_share, np.linspace(0, 1, steps + 1))
    middle_z = placed.mid_z_nm(outline_nm[:, 0], outline_nm[:, 1])
    half_nm = placed.half_thickness_nm(outline_nm[:, 0], outline_nm[:, 1])
    skins = []
    for which in (1, -1):  # the outer skin of the roll, then its inner one
        radius = (tear.lip_nm + which * half_nm)[:, None]
        across = radius * np.sin(angle)
        x, y = (outline_nm[:, i, None] + across * inward[:, i, None] for i in (0, 1))
        z = middle_z[:, None] + tear.side * (tear.lip_nm - radius * np.cos(angle))
        skins.append(np.stack([x, y, z], axis=-1))
    count, last = len(outline_nm) * (steps + 1), steps
    number = np.arange(count).reshape(len(outline_nm), steps + 1)
    beside = np.roll(number, -1, axis=0)
    skin = np.stack([number[:, :-1], beside[:, :-1], beside[:, 1:], number[:, 1:]], axis=-1).reshape(-1, 4)
    root = np.stack([number[:, 0], number[:, 0] + count, beside[:, 0] + count, beside[:, 0]], axis=-1)
    rim = np.stack([number[:, last], beside[:, last], beside[:, last] + count, number[:, last] + count], axis=-1)
    faces = np.concatenate([skin, skin[:, ::-1] + count, root, rim])
    if tear.side > 0:
        faces = faces[:, ::-1]
    triangles = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
    return Solid(vertices_nm=np.concatenate([skin_.reshape(-1, 3) for skin_ in skins]), faces=triangles, group=group)


def _toward_the_gap(outline_nm: np.ndarray) -> np.ndarray:
    """Unit vectors (M, 2) across a border that runs anticlockwise round the gap, to its left."""
    along = np.roll(outline_nm, -1, axis=0) - np.roll(outline_nm, 1, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    return np.stack([-along[:, 1], along[:, 0]], axis=-1)
