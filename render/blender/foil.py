"""The columns of a foil, ray-cast by Cycles: meshes go to the child that owns bpy, float buffers come back; no bpy here.

Axes: (Y, X) image rows and columns.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from physics.deposit import Deposit
from physics.errors import require
from physics.particle import Particle
from render.blender.lips import rolled_solid
from render.blender.meshes import deposit_solid, face_grid, grain_solid, middle_grids, sphere_solid
from render.blender.process import blender, renderer_name
from render.foil import FoilColumns
from render.foil_library import FoilLibrary, content_key

if TYPE_CHECKING:
    from render.foil import FoilShape

GRAIN, ROLLED = "grain", "rolled"


def blender_columns(
    placed: FoilShape,
    shape: tuple[int, int],
    pixel_nm: float,
    renderer: str,
    matter: Sequence[Deposit | Particle] = (),
    library: str | os.PathLike[str] | None = None,
) -> FoilColumns:
    """What rays along the beam meet in every pixel, from the `library` if it holds it, else cast and put there.

    Raises InputError unless `renderer` is the bpy that is installed.
    """
    require(renderer == renderer_name(), "foil_renderer", f"be numpy or the version installed ({renderer_name()})",
            renderer, "the bytes of another version of Blender may differ")  # fmt: skip
    if library is None:
        return _columns(placed, shape, matter, cast_buffers(placed, shape, pixel_nm, matter))
    kept, key = FoilLibrary(library), content_key(placed, shape, pixel_nm, renderer, matter)
    buffers = kept.read(key, shape)
    if buffers is None:
        buffers = cast_buffers(placed, shape, pixel_nm, matter)
        kept.write(key, buffers)
    return _columns(placed, shape, matter, buffers)


def cast_buffers(
    placed: FoilShape, shape: tuple[int, int], pixel_nm: float, matter: Sequence[Deposit | Particle] = ()
) -> dict[str, np.ndarray]:
    """Float32 buffers by name: entrance, exit (Y, X), normals (Y, X, 3) if the foil is bent, and of every group of solids
    `GROUP.upper`, `GROUP.lower` (nan where a ray misses it; for one convex solid) and `GROUP.thickness` (their sum).

    Groups are the second grain, the twins, the rolled lips, and matter of one kind and mean free path.
    """
    faces = [face_grid(placed, shape, pixel_nm, side) for side in (1, -1)]
    lowest_nm, highest_nm = (float(f([face[..., 2] for face in faces])) for f in (_lowest, _highest))
    foil = placed.foil
    grains = [(GRAIN, foil.boundary)] if foil.boundary is not None else []
    grains += [(f"twin{k}", twin) for k, twin in enumerate(foil.twins)]
    convex = [grain_solid(grain, shape, pixel_nm, lowest_nm, highest_nm, group) for group, grain in grains]
    summed = [rolled_solid(tear, placed, ROLLED) for tear in foil.tears if tear.lips == "rolled"]
    for m in matter:
        is_deposit = isinstance(m, Deposit)
        summed.append(deposit_solid(m, placed, pixel_nm, _group(m)) if is_deposit else sphere_solid(m.centre_nm, m.radius_nm, _group(m)))
    solids = [solid for solid in convex if solid is not None] + summed
    middles = middle_grids(placed, shape, pixel_nm)
    return blender().call("foil_buffers", faces, middles, solids, tuple(shape), float(pixel_nm))


def _columns(
    placed: FoilShape, shape: tuple[int, int], matter: Sequence[Deposit | Particle], buffers: dict[str, np.ndarray]
) -> FoilColumns:
    buffers = {name: np.asarray(buffer, dtype=np.float64) for name, buffer in buffers.items()}
    normals = buffers.get("normals")
    if normals is None:
        normals = np.broadcast_to(placed.normal_image, (*shape, 3))
    else:
        normals = normals / np.linalg.norm(normals, axis=-1, keepdims=True)

    def extent(group: str) -> tuple[np.ndarray, np.ndarray]:
        missed = np.full(shape, np.nan)
        return buffers.get(f"{group}.upper", missed), buffers.get(f"{group}.lower", missed)

    paths_nm = {_group(m): m.mean_free_path_nm for m in matter}
    return FoilColumns(
        entrance_z_nm=buffers["entrance"],
        exit_z_nm=buffers["exit"],
        normals=normals,
        grain_z_nm=None if placed.foil.boundary is None else extent(GRAIN),
        twins_z_nm=tuple(extent(f"twin{k}") for k in range(len(placed.foil.twins))),
        rolled_nm=buffers.get(f"{ROLLED}.thickness", np.zeros(shape)),
        free_paths=sum((buffers[f"{group}.thickness"] / path_nm for group, path_nm in sorted(paths_nm.items())), np.zeros(shape)),
    )


def _group(matter: Deposit | Particle) -> str:
    return f"{type(matter).__name__} {matter.mean_free_path_nm!r}"


def _lowest(heights: list[np.ndarray]) -> float:
    return min(height.min() for height in heights)


def _highest(heights: list[np.ndarray]) -> float:
    return max(height.max() for height in heights)
