"""A Plan as a Blender file: foil slab, bevelled lines, sheets, micrograph, cameras and light; its picture and .blend.

Axes: K vertices, (N, M) grid of a face, (Y, X) image rows and columns.
"""

from __future__ import annotations

import os
import tempfile

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from physics.frames import field_nm
from physics.slip_trace import SLIP_TRACE
from render.blender.materials import glass, matte, screen, tinted
from render.blender.objects import add_curve, add_mesh, add_top_camera, grid_faces
from render.blender.plan import Plan, Sheet, Tube, View, linear_rgb
from render.blender.solids import Solid
from render.camera import scale_bar_nm
from render.caption import LONGEST_BAR

BEVEL_RESOLUTION = 6
OUTCROP_RADIUS = 2.0  # in tube radii
FRAME_MARGIN = 1.03
BEAM_CAMERA = "camera down the beam"
VIEW_CAMERA = "camera of the picture"


def render_plan(plan: Plan, view: View) -> tuple[np.ndarray, dict[str, tuple[float, float]]]:
    """Picture (Y, X, 4) uint8, transparent around the specimen, and the pixel (x, y) of every anchor."""
    from PIL import Image

    anchors = build(plan, view)
    scene = bpy.context.scene
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = os.path.join(folder, "picture.png")
        bpy.ops.render.render(write_still=True)
        picture = np.asarray(Image.open(scene.render.filepath).convert("RGBA"))
    places = {}
    for name, point in anchors.items():
        seen = world_to_camera_view(scene, scene.camera, Vector(point))
        places[name] = (float(seen.x * view.width_px), float((1 - seen.y) * view.height_px))
    return picture, places


def build(plan: Plan, view: View) -> dict[str, np.ndarray]:
    """Build everything in the open (empty) file; returns named points of the image frame."""
    scene = bpy.context.scene
    scene.name = "micrograph"
    scene.unit_settings.system = "NONE"
    for name, value in plan.properties.items():
        scene[name] = value
    bpy.data.texts.new("scene.json").write(plan.scene_json)
    names = ("foil", "dislocations", "outcrops", "planes", "frame")
    foil, lines, outcrops, planes, frame = (_collection(name) for name in names)
    _add_slab(plan, foil)
    for tube in plan.tubes:
        _add_line(tube, plan, lines, outcrops)
    for sheet in plan.sheets:
        _add_sheet(sheet, planes)
    for solid in plan.solids:
        _add_solid(solid)
    if plan.micrograph is not None:
        _add_micrograph(plan, frame)
    anchors = _add_arrows(plan, frame)
    heights_nm = plan.entrance_nm[..., 2].max(), plan.exit_nm[..., 2].min()
    add_top_camera(BEAM_CAMERA, plan.shape, plan.pixel_nm, heights_nm[1] - 10, heights_nm[0] + 10)
    _add_light()
    _configure_cycles(view)
    _add_view_camera(view, np.array([*_corners(plan), *anchors.values()]))
    return anchors


def _collection(name: str) -> bpy.types.Collection:
    collection = bpy.data.collections.new(name)
    bpy.context.scene.collection.children.link(collection)
    return collection


def _add_slab(plan: Plan, collection: bpy.types.Collection) -> None:
    """Both faces and the four cut sides as one closed mesh, with its edges drawn."""
    rows, columns = plan.entrance_nm.shape[:2]
    count = rows * columns
    number = np.arange(count).reshape(rows, columns)
    rim = np.concatenate([number[0, :-1], number[:-1, -1], number[-1, :0:-1], number[:0:-1, 0]])
    sides = np.stack([rim, np.roll(rim, -1), np.roll(rim, -1) + count, rim + count], axis=-1)
    vertices = np.concatenate([plan.entrance_nm.reshape(-1, 3), plan.exit_nm.reshape(-1, 3)])
    faces = np.concatenate([grid_faces(rows, columns), grid_faces(rows, columns, count)[:, ::-1], sides[:, ::-1]])
    slab = add_mesh("foil", vertices, faces, collection)
    slab.data.materials.append(glass("foil"))
    ink = matte("foil edge", (0.10, 0.16, 0.24))
    pieces = [vertices[np.append(rim, rim[0])], vertices[np.append(rim, rim[0]) + count]]
    pieces += [
        vertices[[corner, corner + count]] for corner in (number[0, 0], number[0, -1], number[-1, -1], number[-1, 0])
    ]
    edges = add_curve(
        "foil edges", pieces, 0.3 * plan.tube_radius_nm, bevel_resolution=2, caps=True, collection=collection
    )
    edges.data.materials.append(ink)


def _add_line(tube: Tube, plan: Plan, collection: bpy.types.Collection, outcrops: bpy.types.Collection) -> None:
    curve = add_curve(tube.name, list(tube.pieces), plan.tube_radius_nm, bevel_resolution=BEVEL_RESOLUTION, caps=True,
                      closed=tube.closed, collection=collection)  # fmt: skip
    for name, value in tube.properties.items():
        curve[name] = value
    # One material for each Burgers vector, so that a person can recolour a family at once.
    trace = tube.properties["kind"] == SLIP_TRACE
    name = "slip trace" if trace else f"b = {tube.properties['burgers_uvw']}"
    material = bpy.data.materials.get(name) or matte(name, linear_rgb(tube.display_colour))
    curve.data.materials.append(material)
    for k, place_nm in enumerate(tube.outcrops_nm):
        # A dot where the line meets a face: in a picture a line's end could be at any depth.
        dot = add_curve(f"{tube.name} outcrop {k}", [_disc(place_nm, plan)], OUTCROP_RADIUS * plan.tube_radius_nm,
                        bevel_resolution=BEVEL_RESOLUTION, caps=True, collection=outcrops)  # fmt: skip
        dot.data.materials.append(material)


def _disc(place_nm: np.ndarray, plan: Plan) -> np.ndarray:
    """The axis (2, 3) of a flat disc on a face."""
    return place_nm + np.array([[0, 0, -0.5], [0, 0, 0.5]]) * 0.4 * plan.tube_radius_nm


def _add_sheet(sheet: Sheet, collection: bpy.types.Collection) -> None:
    polygon = add_mesh(sheet.name, sheet.outline_nm, [range(len(sheet.outline_nm))], collection)
    for name, value in sheet.properties.items():
        polygon[name] = value
    polygon.data.materials.append(tinted(sheet.name, sheet.colour))
    polygon.hide_render = polygon.hide_viewport = not sheet.shown


def _add_solid(solid: Solid) -> None:
    collection = bpy.data.collections.get(solid.collection) or _collection(solid.collection)
    body = add_mesh(solid.name, solid.vertices_nm, solid.faces, collection)
    body.location = solid.location_nm
    for name, value in solid.properties.items():
        body[name] = value
    material = bpy.data.materials.get(solid.kind)
    body.data.materials.append(material or (tinted if solid.clear else matte)(solid.kind, solid.colour))


def _add_micrograph(plan: Plan, collection: bpy.types.Collection) -> None:
    """The image as a lit screen under the foil, each pixel below the column it shows."""
    rows, columns = plan.shape
    half_x, half_y = (side / 2 for side in field_nm(plan.shape, plan.pixel_nm))
    z = plan.micrograph_z_nm
    corners = [(-half_x, -half_y, z), (half_x, -half_y, z), (half_x, half_y, z), (-half_x, half_y, z)]
    plane = add_mesh("micrograph", np.array(corners), [(0, 1, 2, 3)], collection)
    layer = plane.data.uv_layers.new(name="image")
    layer.data.foreach_set("uv", [0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    image = bpy.data.images.new("micrograph", columns, rows)
    pixels = np.ones((rows, columns, 4), dtype=np.float32)
    pixels[..., :3] = plan.micrograph[::-1, :, None]
    image.pixels.foreach_set(pixels.ravel())
    image.pack()
    plane.data.materials.append(screen("micrograph", image))
    ink = matte("projection", (0.45, 0.5, 0.56))
    for k, (x, y, _) in enumerate(corners):
        foot_nm = plan.exit_nm[0 if y < 0 else -1, 0 if x < 0 else -1, 2]
        line = np.array([(x, y, foot_nm), (x, y, z)])
        edge = add_curve(f"projection {k}", [line], 0.12 * plan.tube_radius_nm, bevel_resolution=2, caps=False,
                         collection=collection)  # fmt: skip
        edge.data.materials.append(ink)


def _add_arrows(plan: Plan, collection: bpy.types.Collection) -> dict[str, np.ndarray]:
    """The incident beam and g; returns where their names, and the sizes of the foil, belong."""
    half_x, half_y = (side / 2 for side in field_nm(plan.shape, plan.pixel_nm))
    longer = max(half_x, half_y)
    top = plan.entrance_nm[..., 2].max()
    beam_start, beam_end = np.array([0, 0, top + 0.52 * longer]), np.array([0, 0, top + 0.08 * longer])
    _arrow("beam", beam_start, beam_end, (0.75, 0.12, 0.10), longer, collection)
    level = plan.micrograph_z_nm if plan.micrograph is not None else plan.exit_nm[..., 2].min()
    along = np.array([*plan.g_image[:2], 0.0])
    along /= np.linalg.norm(along)
    centre = np.array([-half_x + 0.25 * longer, -half_y - 0.32 * longer, level])
    g_start, g_end = centre - 0.22 * longer * along, centre + 0.22 * longer * along
    _arrow("g", g_start, g_end, (0.05, 0.25, 0.65), longer, collection)
    front_left_nm = (plan.entrance_nm[0, 0] + plan.exit_nm[0, 0]) / 2
    bar_nm = scale_bar_nm(LONGEST_BAR * 2 * half_x)
    bar_end = np.array([0.94 * half_x, -0.92 * half_y, level])
    return {
        "bar start": bar_end - [bar_nm, 0, 0],
        "bar end": bar_end,
        "beam start": beam_start,
        "beam": 0.8 * beam_start + 0.2 * beam_end,
        "g": g_end + 0.07 * longer * along,
        "thickness": front_left_nm - np.array([0.03 * longer, 0, 0]),
        "width": np.array([0, -half_y - 0.14 * longer, level]),
        "height": np.array([half_x + 0.10 * longer, 0, level]),
    }


def _arrow(
    name: str, start: np.ndarray, end: np.ndarray, colour: tuple[float, float, float], longer: float,
    collection: bpy.types.Collection,
) -> None:  # fmt: skip
    """A tapered poly curve: shaft and head in one object."""
    direction = (end - start) / np.linalg.norm(end - start)
    neck = end - 0.12 * longer * direction
    points = np.array([start, neck, neck + 1e-3 * longer * direction, end])
    shaft = 0.011 * longer
    arrow = add_curve(name, [points], np.array([shaft, shaft, 3.2 * shaft, 1e-3 * shaft]), bevel_resolution=8, caps=True,
                      collection=collection)  # fmt: skip
    arrow.data.materials.append(matte(name, colour))


def _corners(plan: Plan) -> list[np.ndarray]:
    corners = [face[i, j] for face in (plan.entrance_nm, plan.exit_nm) for i in (0, -1) for j in (0, -1)]
    if plan.micrograph is not None:
        corners += [np.array([*corner[:2], plan.micrograph_z_nm]) for corner in corners[:4]]
    return corners


def _add_light() -> None:
    """One sun without extent, so that its light has no noise; `materials.ROOM_LIGHT` does the rest."""
    sun = bpy.data.lights.new("sun", "SUN")
    sun.energy = 2.4
    sun.angle = 0.0
    lamp = bpy.data.objects.new("sun", sun)
    lamp.rotation_euler = (0.75, 0.15, 0.5)
    bpy.context.scene.collection.objects.link(lamp)


def _configure_cycles(view: View) -> None:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.film_transparent = True
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.view_settings.view_transform = "Standard"
    scene.cycles.device = "CPU"
    scene.cycles.samples = view.samples
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.use_denoising = False
    scene.cycles.max_bounces = 0
    # Rays through the foil must not be ended at random: that would be the picture's only noise.
    scene.cycles.transparent_max_bounces = scene.cycles.min_transparent_bounces = 64


def _add_view_camera(view: View, points: np.ndarray) -> None:
    """A perspective camera that looks at the specimen and has all of `points` (K, 3) in its frame."""
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = view.width_px, view.height_px
    scene.render.resolution_percentage = 100
    camera = bpy.data.cameras.new(VIEW_CAMERA)
    camera.lens = 70.0
    camera.clip_start, camera.clip_end = 1.0, 1e6
    object_ = bpy.data.objects.new(VIEW_CAMERA, camera)
    scene.collection.objects.link(object_)
    scene.camera = object_
    azimuth, elevation = np.deg2rad(view.azimuth_deg), np.deg2rad(view.elevation_deg)
    outward = Vector((np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)))
    object_.rotation_euler = outward.to_track_quat("Z", "Y").to_euler()
    bpy.context.view_layer.update()
    place, _ = object_.camera_fit_coords(bpy.context.evaluated_depsgraph_get(), points.ravel().tolist())
    centre = Vector(points.mean(axis=0))
    object_.location = centre + (place - centre) * FRAME_MARGIN
    bpy.context.view_layer.update()
