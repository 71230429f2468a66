"""Float buffers from Cycles, in memory: what a ray meets in a foil, and coverage of tubes, one exact ray a pixel.

Axes: L lines, K vertices of one line, (N, M) grid of a mesh, (Y, X) image rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np
from cycles import CyclesRender

from render.blender.materials import LEAVING, clear, crossing_heights
from render.blender.meshes import CLEARANCE_NM, Solid, with_nearest
from render.blender.objects import add_curve, add_grid, add_mesh, add_top_camera, grid_faces

PIXEL_FILTER_WIDTH = 0.01  # Cycles' narrowest box: rays pass within 0.0005 px of the pixel's centre
# Of one sample Cycles takes this place in every pixel, right of and above its centre.
RAY_SHIFT_PX = 2**-11
# Beside the centres, on which vertices of worked faces stand; the later ones only where a ray has met an edge.
CAMERA_SHIFTS_PX = ((5e-5, 3e-5), (-7e-5, 4e-5), (4e-5, -8e-5), (-9e-5, -5e-5), (6e-4, 3e-4), (-5e-4, -7e-4))
# Of the rays, at most: what meets an edge from every side is taken as the nearest ray that does not.
MOST_TORN = 1e-3
MOST_CROSSINGS = 1024
LEVEL_GAP_NM = 1.0


def foil_buffers(
    faces: list[np.ndarray], middles: list[np.ndarray], solids: list[Solid], shape: tuple[int, int], pixel_nm: float
) -> dict[str, np.ndarray]:
    """Buffers (Y, X) float32 of a foil in one render, as `render.blender.foil.cast_buffers` tells.

    `faces` are the grids (N, M, 3) of entrance and exit. Every surface is clear and adds the height at which a ray crosses
    it to the light group of its own. Each stands on a level of its own above the last, since of two surfaces at one
    height a ray would meet one. Sheets of the mid-surface are highest: what a ray meets first gives the normal.

    Raises ArithmeticError where more rays than MOST_TORN leave a solid more or less often than they enter, from any of a few
    shifted places.
    """
    level_nm, lifts_nm, skirts_nm = 0.0, {}, {}
    for name, face in zip(("entrance", "exit"), faces):
        numbers = grid_faces(*face.shape[:2])
        vertices = face.reshape(-1, 3) + [0, 0, level_nm - float(face[..., 2].min())]
        _shine(add_mesh(name, vertices, numbers if name == "entrance" else numbers[:, ::-1]), name, level_nm)
        level_nm += float(np.ptp(face[..., 2])) + LEVEL_GAP_NM
    for group in dict.fromkeys(solid.group for solid in solids):
        members, vertices, triangles, first = [solid for solid in solids if solid.group == group], [], [], level_nm
        for solid in members:
            lifts_nm[group] = level_nm - float(solid.vertices_nm[:, 2].min())
            triangles.append(solid.faces + sum(map(len, vertices)))
            vertices.append(solid.vertices_nm + [0, 0, lifts_nm[group]])
            level_nm += float(np.ptp(solid.vertices_nm[:, 2])) + LEVEL_GAP_NM
        skirts_nm[group] = members[0].skirt_nm
        _shine(add_mesh(group, np.concatenate(vertices), np.concatenate(triangles)), group, first)
        lifts_nm[group] -= first
    for k, middle in enumerate(middles):
        sheet = add_grid(f"middle {k}", middle + [0, 0, level_nm - middle[..., 2].min()])
        sheet.data.shade_smooth()
        sheet.data.materials.append(clear("middle"))
        level_nm += float(np.ptp(middle[..., 2])) + LEVEL_GAP_NM
    _one_ray_a_pixel(shape, pixel_nm, -CLEARANCE_NM, level_nm + CLEARANCE_NM)
    scene, layer = bpy.context.scene, bpy.context.scene.view_layers[0]
    scene.cycles.transparent_max_bounces = MOST_CROSSINGS
    layer.use_pass_normal = True
    layer.pass_alpha_threshold = 0.0
    crossed, normals = _crossings(("entrance", "exit", *skirts_nm), shape, pixel_nm)
    buffers = {} if not middles else {"normals": normals}
    # On the level of a face its lowest vertex is at 0.
    buffers["entrance"] = crossed["entrance"][..., 0] + np.float32(faces[0][..., 2].min())
    buffers["exit"] = crossed["exit"][..., 1] + np.float32(faces[1][..., 2].min())
    for group, skirt_nm in skirts_nm.items():
        entered, left, times = np.moveaxis(crossed[group], -1, 0)
        buffers[f"{group}.thickness"] = entered - left - np.rint(times) % LEAVING * np.float32(skirt_nm)
        for name, height_nm in (("upper", entered), ("lower", left)):
            alone = np.rint(times) == 1 + LEAVING
            buffers[f"{group}.{name}"] = np.where(alone, height_nm - np.float32(lifts_nm[group]), np.float32(np.nan))
    return {name: np.ascontiguousarray(buffer, dtype=np.float32) for name, buffer in buffers.items()}


def _crossings(groups: tuple[str, ...], shape: tuple[int, int], pixel_nm: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Light (Y, X, 3) of every group, and normals (Y, X, 3) of what is met first; rays that met an edge are cast again."""
    camera, crossed, normals = bpy.context.scene.camera, {}, None
    for shift_px in CAMERA_SHIFTS_PX:
        camera.location.x, camera.location.y = (pixel_nm * (s - RAY_SHIFT_PX) for s in shift_px)
        with _kept_passes() as passes:
            bpy.ops.render.render()
        normals = passes["Normal"] if normals is None else normals
        for group in groups:
            light = passes[f"Combined_{_light_name(group)}"]
            kept = crossed.setdefault(group, light.copy())
            torn = ~_closed(kept, group)
            kept[torn] = light[torn]
        if all(_closed(kept, group).all() for group, kept in crossed.items()):
            return crossed, normals
    for group, kept in crossed.items():
        torn = ~_closed(kept, group)
        if torn.mean() > MOST_TORN:
            raise ArithmeticError(f"rays met the edges of meshes from every side: {int(torn.sum())} of {group}")
        kept[:] = with_nearest(kept, torn)
    return crossed, normals


def _shine(object_: bpy.types.Object, group: str, lowest_nm: float) -> None:
    bpy.context.scene.view_layers[0].lightgroups.add(name=_light_name(group))
    object_.lightgroup = _light_name(group)
    object_.data.materials.append(crossing_heights(group, lowest_nm))


def _light_name(group: str) -> str:
    """Blender allows no dots in the names of light groups."""
    return group.replace(".", "-").replace(" ", "_")


def _closed(light: np.ndarray, group: str) -> np.ndarray:
    """Whether rays (Y, X) have met a face once, or have left solids as often as they entered."""
    times = np.rint(light[..., 2]).astype(np.int64)
    if group in ("entrance", "exit"):
        return times == (1 if group == "entrance" else LEAVING)
    return times % LEAVING == times // LEAVING


def line_masks(tubes: list[tuple[np.ndarray, np.ndarray]], shape: tuple[int, int], bevel_resolution: int) -> np.ndarray:
    """Coverage (L, Y, X) bool of tubes (points (K, 3), radius (K,)) without caps, each alone, seen along -z."""
    curves = [
        add_curve(f"line {i}", [points], radius, bevel_resolution=bevel_resolution, caps=False)
        for i, (points, radius) in enumerate(tubes)
    ]
    reach_px = max(float(radius.max()) for _, radius in tubes) + CLEARANCE_NM
    _one_ray_a_pixel(shape, 1.0, -reach_px, reach_px)
    return np.stack([passes["Depth"][..., 0] < 3 * reach_px for passes in _each_alone(curves)])


def _one_ray_a_pixel(shape: tuple[int, int], pixel_nm: float, lowest_nm: float, highest_nm: float) -> None:
    scene = bpy.context.scene
    add_top_camera("beam", shape, pixel_nm, lowest_nm, highest_nm)
    scene.render.engine = "CYCLES"
    scene.render.use_compositing = False
    scene.render.use_sequencer = False
    scene.render.film_transparent = True
    scene.render.threads_mode = "FIXED"
    scene.render.threads = 1  # many workers render at once; one ray a pixel is little work
    scene.cycles.device = "CPU"
    scene.cycles.samples = 1
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.use_denoising = False
    scene.cycles.pixel_filter_type = "BOX"
    scene.cycles.filter_width = PIXEL_FILTER_WIDTH
    scene.cycles.max_bounces = 0
    layer = scene.view_layers[0]
    layer.use_pass_position = True
    layer.use_pass_z = True


def _each_alone(objects: list[bpy.types.Object]) -> Iterator[dict[str, np.ndarray]]:
    for shown in objects:
        for other in objects:
            other.hide_render = other is not shown
        with _kept_passes() as passes:
            bpy.ops.render.render()
        yield passes


@contextmanager
def _kept_passes() -> Iterator[dict[str, np.ndarray]]:
    """Passes (Y, X, channels) float32 of the renders inside, first row on top, by name.

    Cycles hands its buffers over inside `CyclesRender.render`; a subclass of it crashes, so the method is wrapped.
    """
    passes: dict[str, np.ndarray] = {}
    original = CyclesRender.render

    def render(engine: CyclesRender, depsgraph: bpy.types.Depsgraph) -> None:
        original(engine, depsgraph)
        result = engine.get_result()
        size = (result.resolution_y, result.resolution_x)
        for render_pass in result.layers[0].passes:
            flat = np.empty(size[0] * size[1] * render_pass.channels, dtype=np.float32)
            render_pass.rect.foreach_get(flat)
            passes[render_pass.name] = flat.reshape(*size, -1)[::-1].copy()

    CyclesRender.render = render
    try:
        yield passes
    finally:
        CyclesRender.render = original
