"""The few kinds of Blender objects a specimen is made of. One Blender unit is one nanometre (or one pixel).

Axes: K vertices of a curve, (N, M) grid of a surface.
"""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np

from physics.frames import field_nm


def link(object_: bpy.types.Object, collection: bpy.types.Collection | None = None) -> bpy.types.Object:
    (collection or bpy.context.scene.collection).objects.link(object_)
    return object_


def add_mesh(
    name: str, vertices: np.ndarray, faces: np.ndarray | Sequence[Sequence[int]],
    collection: bpy.types.Collection | None = None,
) -> bpy.types.Object:  # fmt: skip
    """A mesh object of `vertices` (V, 3) and `faces`: lists of vertex numbers, or an array (F, corners) of them, which is
    handed over at once."""
    mesh = bpy.data.meshes.new(name)
    if isinstance(faces, np.ndarray):
        corners = np.ascontiguousarray(faces, dtype=np.int32)
        mesh.vertices.add(len(vertices))
        mesh.attributes["position"].data.foreach_set("vector", np.ascontiguousarray(vertices, dtype=np.float32).ravel())
        mesh.loops.add(corners.size)
        numbers = mesh.attributes.get(".corner_vert") or mesh.attributes.new(".corner_vert", "INT", "CORNER")
        numbers.data.foreach_set("value", corners.ravel())
        mesh.polygons.add(len(corners))
        mesh.polygons.foreach_set("loop_start", np.arange(0, corners.size, corners.shape[1], dtype=np.int32))
    else:
        mesh.from_pydata(np.asarray(vertices, dtype=np.float64).tolist(), [], [list(map(int, face)) for face in faces])
    mesh.update()
    return link(bpy.data.objects.new(name, mesh), collection)


def grid_faces(rows: int, columns: int, first: int = 0) -> np.ndarray:
    """Quads (cells, 4) of a grid whose vertices are numbered row by row from `first`."""
    number = first + np.arange(rows * columns).reshape(rows, columns)
    return np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]], axis=-1).reshape(-1, 4)


def add_grid(name: str, points: np.ndarray) -> bpy.types.Object:
    """A surface through a grid of points (N, M, 3)."""
    rows, columns = points.shape[:2]
    return add_mesh(name, points.reshape(-1, 3), grid_faces(rows, columns))


def add_curve(
    name: str, pieces: Sequence[np.ndarray], radius: np.ndarray | float, *, bevel_resolution: int, caps: bool,
    closed: bool = False, collection: bpy.types.Collection | None = None,
) -> bpy.types.Object:  # fmt: skip
    """One bevelled curve object with a poly spline for each of `pieces` (K, 3); `radius` a number, or (K,) for one piece."""
    curve = bpy.data.curves.new(name, "CURVE")
    curve.dimensions = "3D"
    curve.twist_mode = "MINIMUM"
    curve.bevel_depth = 1.0
    curve.bevel_resolution = bevel_resolution
    curve.use_fill_caps = caps
    for piece in pieces:
        spline = curve.splines.new("POLY")
        points = piece[:-1] if closed else piece
        spline.points.add(len(points) - 1)
        spline.points.foreach_set("co", np.column_stack([points, np.ones(len(points))]).astype(np.float32).ravel())
        spline.points.foreach_set("radius", np.broadcast_to(np.float32(radius), (len(points),)).copy())
        spline.use_cyclic_u = closed
    return link(bpy.data.objects.new(name, curve), collection)


def add_top_camera(
    name: str, shape: tuple[int, int], pixel_nm: float, lowest_nm: float, highest_nm: float
) -> bpy.types.Object:
    """An orthographic camera at the gun, looking down the beam: pixel centres are those of the micrograph."""
    render = bpy.context.scene.render
    render.resolution_y, render.resolution_x = shape
    render.resolution_percentage = 100
    camera = bpy.data.cameras.new(name)
    camera.type = "ORTHO"
    camera.sensor_fit = "HORIZONTAL"
    camera.ortho_scale = field_nm(shape, pixel_nm)[0]
    camera.clip_start = 0.5
    camera.clip_end = highest_nm - lowest_nm + 1.0
    object_ = link(bpy.data.objects.new(name, camera))
    object_.location = (0.0, 0.0, highest_nm)
    bpy.context.scene.camera = object_
    return object_
