"""A ScenePlan as a .blend file that can be edited, rendered by the engine TEM, and read back as a Scene.

The file holds two Blender scenes over the same objects: "micrograph", seen down the beam by the engine TEM, which carries
the Scene's settings, and "picture", the specimen from the side by Cycles. One Blender unit is 1 nm. Nothing in the file
runs by itself: the text `REGISTER` is for a person to run.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable

import bpy
import numpy as np

from physics.frames import field_nm
from render.blender.build import BEAM_CAMERA, VIEW_CAMERA, build
from render.blender.plan import View
from render.blender.scene_plan import ScenePlan

ENGINE = "GDOTB_TEM"
REGISTER = "register the engine TEM"
REGISTER_TEXT = """\
# Run this (Alt P) where gdotb is installed for Blender's Python; then F12 in the scene "micrograph" is the micrograph.
from render.blender import engine

engine.register()
"""
PICTURE = "picture"
COLLECTIONS = {"dislocation": "dislocations", "fault": "faults", "particle": "particles", "deposit": "deposits"}


class _Named(bpy.types.RenderEngine):
    """The name alone of the engine: a file can choose only one that Blender knows."""

    bl_idname, bl_label = ENGINE, "TEM"


def write_scene(whole: ScenePlan, path: str) -> None:
    """Write `whole` to `path` by way of a file beside it, so that nothing half-written is left."""
    beside = f"{path}.partial-{os.getpid()}"
    bpy.utils.register_class(_Named)
    try:
        fill(whole)
        bpy.ops.wm.save_as_mainfile(filepath=beside, copy=True, compress=True)
        os.replace(beside, path)
    finally:
        bpy.utils.unregister_class(_Named)
        if os.path.exists(beside):
            os.remove(beside)


def fill(whole: ScenePlan) -> None:
    """Build the Blender scenes of `whole` in the open, empty file, where the engine is known by name."""
    build(whole.plan, View())
    scene = bpy.context.scene
    for name, value in whole.settings.items():
        scene[name] = value
    _mark_parts(whole)
    _clear_beyond_the_foil(whole)
    _add_picture_scene(scene, whole.settings)
    _show_micrograph(scene, whole)
    bpy.data.texts.new(REGISTER).write(REGISTER_TEXT)
    _frame_viewports()


def mesh_mark(mesh: bpy.types.Mesh) -> int:
    """A number that changes where a vertex of `mesh` is moved."""
    points = np.empty(3 * len(mesh.vertices), dtype=np.float32)
    mesh.vertices.foreach_get("co", points)
    return zlib.crc32(points.tobytes()) >> 1  # custom properties are signed


def _mark_parts(whole: ScenePlan) -> None:
    """Say of every object what it is; each kind in a collection of its own, also where there is none yet."""
    for name in COLLECTIONS.values():
        if name not in bpy.data.collections:
            bpy.context.scene.collection.children.link(bpy.data.collections.new(name))
    for sheet in whole.plan.sheets:
        if "shift_uvw" in sheet.properties:
            _move(bpy.data.objects[sheet.name], "planes", "faults")
    for solid in whole.plan.solids:
        bpy.data.objects[solid.name]["gdotb"] = solid.collection.removesuffix("s")
    foil = bpy.data.objects["foil"]
    foil["gdotb"], foil["mesh_mark"] = "foil", mesh_mark(foil.data)
    for name, value in whole.foil.items():
        foil[name] = value
    bpy.data.objects[BEAM_CAMERA]["gdotb"] = "field of view"


def _move(object_: bpy.types.Object, source: str, target: str) -> None:
    bpy.data.collections[source].objects.unlink(object_)
    bpy.data.collections[target].objects.link(object_)


def _clear_beyond_the_foil(whole: ScenePlan) -> None:
    """Lines are clear where they run on outside the field or the foil, so that the picture shows what is imaged.

    The viewport's solid shading shows them whole.
    """
    plan = whole.plan
    half = np.array(field_nm(plan.shape, plan.pixel_nm)) / 2
    low = [*-half, float(plan.exit_nm[..., 2].min())]
    high = [*half, float(plan.entrance_nm[..., 2].max())]
    lines = bpy.data.collections["dislocations"].objects
    for material in {slot.material.name: slot.material for line in lines for slot in line.material_slots}.values():
        nodes, links = material.node_tree.nodes, material.node_tree.links
        output = next(node for node in nodes if node.type == "OUTPUT_MATERIAL")
        opaque = output.inputs["Surface"].links[0].from_socket
        place, split = nodes.new("ShaderNodeNewGeometry"), nodes.new("ShaderNodeSeparateXYZ")
        links.new(place.outputs["Position"], split.inputs[0])
        inside = None
        for axis in range(3):
            for operation, limit in (("LESS_THAN", high[axis] + 0.5), ("GREATER_THAN", low[axis] - 0.5)):
                test = _math(material, operation, split.outputs[axis], limit)
                inside = test if inside is None else _math(material, "MULTIPLY", inside, test)
        clear, mix = nodes.new("ShaderNodeBsdfTransparent"), nodes.new("ShaderNodeMixShader")
        links.new(inside, mix.inputs["Fac"])
        links.new(clear.outputs[0], mix.inputs[1])
        links.new(opaque, mix.inputs[2])
        links.new(mix.outputs[0], output.inputs["Surface"])


def _math(material: bpy.types.Material, operation: str, first: bpy.types.NodeSocket,
          second: bpy.types.NodeSocket | float) -> bpy.types.NodeSocket:  # fmt: skip
    node = material.node_tree.nodes.new("ShaderNodeMath")
    node.operation = operation
    material.node_tree.links.new(first, node.inputs[0])
    if isinstance(second, float):
        node.inputs[1].default_value = second
    else:
        material.node_tree.links.new(second, node.inputs[1])
    return node.outputs[0]


def _add_picture_scene(scene: bpy.types.Scene, settings: Iterable[str]) -> None:
    """The picture from the side, by Cycles, as a scene of its own that shares all objects."""
    picture = scene.copy()
    picture.name = PICTURE
    picture.use_fake_user = True  # a copy has no user, and would not be saved
    for name in settings:
        if name != "blender_unit":
            del picture[name]


def _show_micrograph(scene: bpy.types.Scene, whole: ScenePlan) -> None:
    """Let F12 in `scene` be the micrograph: its pixels, its grey levels on the screen, the recorded numbers in the file."""
    scene.name = "micrograph"
    render = scene.render
    render.engine = ENGINE
    scene.camera = bpy.data.objects[BEAM_CAMERA]
    render.resolution_y, render.resolution_x = whole.plan.shape
    render.resolution_percentage = 100
    render.use_compositing = render.use_sequencer = render.film_transparent = False
    render.dither_intensity = 0.0
    view = scene.view_settings
    view.view_transform = "Raw"
    if whole.levels is not None:
        view.use_curve_mapping = True
        low, high = (level / whole.white for level in whole.levels)
        view.curve_mapping.black_level, view.curve_mapping.white_level = (low,) * 3, (high,) * 3
        view.curve_mapping.update()
    file = render.image_settings
    file.file_format, file.color_mode = "PNG", "BW"
    file.color_depth = "8" if whole.white < 256 else "16"
    file.color_management = "OVERRIDE"
    file.view_settings.view_transform = "Raw"
    file.view_settings.use_curve_mapping = False


def _frame_viewports() -> None:
    """Let every 3-D viewport of the file open on the specimen, with its materials."""
    for screen in bpy.data.screens:
        for area in screen.areas:
            for space in area.spaces:
                if space.type == "VIEW_3D":
                    space.clip_start, space.clip_end = 1.0, 1e6
                    space.shading.type = "MATERIAL"
                    space.use_local_camera = True
                    space.camera = bpy.data.objects[VIEW_CAMERA]
                    space.region_3d.view_perspective = "CAMERA"
