"""Float buffers from Cycles, in memory: heights of surfaces and coverage of tubes, one exact ray a pixel.

Axes: L lines, K vertices of one line, (N, M) grid of a mesh, (Y, X) image rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np
from cycles import CyclesRender

from render.blender.objects import add_curve, add_grid, add_top_camera

PIXEL_FILTER_WIDTH = 0.01  # Cycles' narrowest box: rays pass within 0.0005 px of the pixel's centre
CLEARANCE_NM = 10.0


def face_heights(meshes: list[np.ndarray], shape: tuple[int, int], pixel_nm: float) -> tuple[np.ndarray, ...]:
    """Heights (Y, X) float32 of surfaces given as grids (N, M, 3), each alone, seen along -z."""
    surfaces = [add_grid(f"face {i}", points) for i, points in enumerate(meshes)]
    heights_nm = np.concatenate([points[..., 2].ravel() for points in meshes])
    _one_ray_a_pixel(shape, pixel_nm, heights_nm.min() - CLEARANCE_NM, heights_nm.max() + CLEARANCE_NM)
    images = [passes["Position"][..., 2] for passes in _each_alone(surfaces)]
    return tuple(np.ascontiguousarray(image) for image in images)


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
