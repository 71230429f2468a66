"""The Scene that an open Blender file holds, as a person has edited it.

What is read: curves in the collection "dislocations", outlines in "faults", bodies in "particles" and "deposits", each with
its custom properties; the foil's properties; field and pixel from the camera down the beam and the resolution; the
condition from the Blender scene's own properties, the rest from the JSON in its property `gdotb_scene`. Objects that are
left out of renders are left out here.

Blender keeps positions in single precision. Where a curve, outline or centre still lies, within that precision, where it
was written, the double-precision positions of the file's text `scene.json` are taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import bpy
import numpy as np

from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.errors import InputError, require
from physics.fault import StackingFault
from physics.junction import open_ends
from render.blender.bodies import SINGLE_PRECISION, SQUARE, STILL_NM, Found, deposit, particle, still_there
from render.blender.curves import moved, polylines, without_repeats, world_matrix
from render.blender.properties import flag, numbers, text, whole_numbers
from render.blender.scene_plan import CONDITION, FOIL_NUMBERS
from render.blender.write_scene import COLLECTIONS, mesh_mark
from render.conditions import condition_of_series
from render.foil import foil_heights
from render.sample import under_condition
from render.scene import Scene

END_REACH_NM = 5.0  # a drawn end this close below a face is drawn out to it


def scene_of(blender_scene: bpy.types.Scene) -> Scene:
    """The Scene of `blender_scene`.

    Raises InputError, naming the object and the property, for what cannot be a Scene.
    """
    base, written = _settings(blender_scene), _as_written()
    shape, pixel_nm = _field(blender_scene, base)
    base = base.replace(shape=shape, pixel_nm=pixel_nm)
    base = base.replace(foil=_foil(blender_scene, base))
    found = {
        "dislocations": _read(blender_scene, "dislocation", written.dislocations if written else (), _dislocations),
        "faults": _read(blender_scene, "fault", written.faults if written else (), _fault),
        "particles": _read(blender_scene, "particle", written.particles if written else (), particle),
        "deposits": _read(blender_scene, "deposit", written.deposits if written else (), deposit),
    }
    found["dislocations"] = _drawn_out(found["dislocations"], base)
    try:
        scene = base.replace(**{kind: tuple(one.noun for one in ones) for kind, ones in found.items()})
        return _under_condition(blender_scene, scene)
    except InputError as error:
        names = {kind: [one.name for one in ones] for kind, ones in found.items()}
        raise InputError(_by_name(str(error), names)) from None


def _by_name(message: str, names: dict[str, list[str]]) -> str:
    """Put the object's name where a message of the Scene counts."""
    pattern = rf"\b({'|'.join(names)})\[(\d+)\]"
    return re.sub(pattern, lambda m: f'object "{names[m[1]][int(m[2])]}"', message)


def _settings(blender_scene: bpy.types.Scene) -> Scene:
    """The Scene without geometry."""
    held = blender_scene.get("gdotb_scene")
    require(isinstance(held, str), f'scene "{blender_scene.name}"', "have the custom property gdotb_scene", held,
            "take a file that `python -m render.export format=blend` has written, and its scene micrograph")  # fmt: skip
    try:
        scene = Scene.from_json(held)
        material = blender_scene.get("material", scene.crystal.material)
        return scene if material == scene.crystal.material else scene.replace(crystal=Crystal.from_material(material))
    except InputError as error:
        raise InputError(f'scene "{blender_scene.name}", property gdotb_scene: {error}') from None


def _as_written() -> Scene | None:
    held = bpy.data.texts.get("scene.json")
    try:
        return Scene.from_json(held.as_string()) if held else None
    except InputError:
        return None  # only its last digits are wanted


def _field(blender_scene: bpy.types.Scene, base: Scene) -> tuple[tuple[int, int], float]:
    """Shape and pixel of the image: the camera's width on the specimen, in as many pixels as will be rendered."""
    render = blender_scene.render
    camera = _only(blender_scene, "field of view", "the camera down the beam")
    where = f'object "{camera.name}"'
    orthographic = camera.type == "CAMERA" and camera.data.type == "ORTHO" and camera.data.sensor_fit == "HORIZONTAL"
    require(orthographic, where, "be an orthographic camera with horizontal sensor fit", camera.type.lower())
    require(not render.use_border, "the render region", "be off", "a part of the field", "Output > Format > Render Region")
    matrix = world_matrix(camera)
    upright = np.allclose(matrix[:3, :3], np.eye(3), atol=SQUARE) and np.abs(matrix[:2, 3]).max() < STILL_NM
    shifted = bool(camera.data.shift_x or camera.data.shift_y)
    require(upright and not shifted, where, "look down the beam onto the origin", "a moved or turned one",
            "move the objects instead; its orthographic scale is the width of the field in nm")  # fmt: skip
    shape = tuple(n * render.resolution_percentage // 100 for n in (render.resolution_y, render.resolution_x))
    width_nm = float(camera.data.ortho_scale)
    as_it_was = shape == base.shape and abs(width_nm / (base.pixel_nm * base.shape[1]) - 1) < SINGLE_PRECISION
    return shape, base.pixel_nm if as_it_was else width_nm / shape[1]


def _foil(blender_scene: bpy.types.Scene, base: Scene) -> Any:
    foil = _only(blender_scene, "foil", "the foil")
    where = f'object "{foil.name}"'
    still = np.allclose(world_matrix(foil), np.eye(4), atol=SQUARE)
    still = still and foil.type == "MESH" and foil.get("mesh_mark") == mesh_mark(foil.data)
    require(still, where, "stay as it was drawn", "a moved, turned, scaled or reshaped one",
            "edit its custom properties thickness_nm, wedge_deg, …; the next export draws it anew")  # fmt: skip
    changes: dict[str, Any] = {"normal_uvw": None}
    for name in FOIL_NUMBERS:
        if name in foil:
            changes[name] = tuple(numbers(foil, name, 3)) if name == "normal_uvw" else numbers(foil, name, 1)[0]
    return replace(base.foil, **changes)


def _only(blender_scene: bpy.types.Scene, role: str, words: str) -> bpy.types.Object:
    found = [o for o in blender_scene.objects if o.get("gdotb") == role]
    require(len(found) == 1, "the file", f'hold {words} once (an object with the custom property gdotb = "{role}")',
            f"it {len(found)} times" if found else "none", "undo its deletion, or export the scene again" if not found else "delete the others")  # fmt: skip
    return found[0]


def _read(blender_scene: bpy.types.Scene, role: str, written: Sequence[Any],
          read: Callable[[bpy.types.Object, Any], list[Found]]) -> list[Found]:  # fmt: skip
    """Everything of one kind, in the order in which it was written; what was added comes last, by name."""
    collection = bpy.data.collections.get(COLLECTIONS[role])
    inside = set(collection.all_objects) if collection else set()
    objects = [o for o in blender_scene.objects if (o.get("gdotb") == role or o in inside) and _rendered(o)]
    found = []
    for object_ in sorted(objects, key=lambda o: (_index(o) is None, _index(o) or 0, o.name)):
        index = _index(object_)
        try:
            found += read(object_, written[index] if index is not None and index < len(written) else None)
        except InputError as error:
            message = str(error)
            raise InputError(message if message.startswith("object ") else f'object "{object_.name}": {message}') from None
    return found


def _index(object_: bpy.types.Object) -> int | None:
    index = object_.get("index")
    return index if isinstance(index, int) and index >= 0 else None


def _rendered(object_: bpy.types.Object) -> bool:
    collections = object_.users_collection
    return not object_.hide_render and not (collections and all(c.hide_render for c in collections))


def _dislocations(object_: bpy.types.Object, written: Dislocation | None) -> list[Found]:
    fields = {
        "burgers_uvw": numbers(object_, "burgers_uvw", 3, "three numbers in lattice vectors, 1/2[110] is 0.5, 0.5, 0"),
        "plane_hkl": tuple(whole_numbers(object_, "plane_hkl", 3)) if "plane_hkl" in object_ else (0, 0, 0),
        "kind": text(object_, "kind", "perfect"),
        "glissile": flag(object_, "glissile"),
    }
    found = []
    for points_nm in polylines(object_):
        still = written is not None and still_there(points_nm, written.points_nm)
        points_nm = written.points_nm if still else without_repeats(points_nm)
        if "segment_planes_hkl" in object_:
            planes = np.array(whole_numbers(object_, "segment_planes_hkl", None))
            require(planes.size == 3 * (len(points_nm) - 1), "segment_planes_hkl", f"hold three indices for each of {len(points_nm) - 1} segments",
                    planes.size, "delete it and give plane_hkl")  # fmt: skip
            fields["segment_planes_hkl"] = planes.reshape(-1, 3)
        found.append(Found(noun=Dislocation(points_nm=points_nm, **fields), name=object_.name, still=still))
    return found


def _fault(object_: bpy.types.Object, written: StackingFault | None) -> list[Found]:
    one_face = object_.type == "MESH" and len(object_.data.polygons) == 1
    require(one_face, f'object "{object_.name}"', "be a mesh with one face", object_.type.lower())
    corners = [object_.data.vertices[v].co for v in object_.data.polygons[0].vertices]
    outline_nm = moved(np.array(corners, dtype=np.float64), world_matrix(object_))
    still = written is not None and still_there(outline_nm, written.outline_nm)
    fault = StackingFault(plane_hkl=tuple(whole_numbers(object_, "plane_hkl", 3)), shift_uvw=numbers(object_, "shift_uvw", 3),
                          outline_nm=written.outline_nm if still else outline_nm)  # fmt: skip
    return [Found(noun=fault, name=object_.name, still=still)]


def _drawn_out(found: list[Found], base: Scene) -> list[Found]:
    """Lengthen edited lines, along their last segment, to the face that an end misses by less than END_REACH_NM."""
    lines = [one.noun for one in found]
    ends = [(i, end) for i, end in open_ends(lines) if not found[i].still]
    for i, end in ends:
        points_nm = lines[i].points_nm
        last_nm, before_nm = (points_nm[0], points_nm[1]) if end == 0 else (points_nm[-1], points_nm[-2])
        out_nm = _at_face(last_nm, (last_nm - before_nm) / np.linalg.norm(last_nm - before_nm), base)
        if out_nm is not None:
            points_nm = points_nm.copy()
            points_nm[end] = out_nm  # on the line through the last segment, whose direction stays
            lines[i] = replace(lines[i], points_nm=points_nm)
    return [replace(one, noun=line) for one, line in zip(found, lines)]


def _at_face(point_nm: np.ndarray, direction: np.ndarray, base: Scene) -> np.ndarray | None:
    """Where a straight line from a point inside the foil leaves it, if within END_REACH_NM (bisection); None otherwise."""

    def inside(length_nm: float) -> bool:
        x, y, z = point_nm + length_nm * direction
        entrance_nm, exit_nm = foil_heights(base.crystal, base.beam, base.foil, np.array([x]), np.array([y]))
        return bool(exit_nm[0] < z < entrance_nm[0])

    if not inside(0.0) or inside(END_REACH_NM):
        return None
    near, far = 0.0, END_REACH_NM
    while far - near > 1e-6:
        middle = (near + far) / 2
        near, far = (middle, far) if inside(middle) else (near, middle)
    return point_nm + far * direction


def _under_condition(blender_scene: bpy.types.Scene, scene: Scene) -> Scene:
    """The specimen tilted to the condition that the Blender scene's properties give; the objects stand in that of the JSON."""
    readers = {"g_hkl": lambda: whole_numbers(blender_scene, "g_hkl", 3), "image": lambda: text(blender_scene, "image", "bf"),
               "zone_axis_uvw": lambda: whole_numbers(blender_scene, "zone_axis_uvw", 3),
               "s_inv_nm": lambda: numbers(blender_scene, "s_inv_nm", 1)[0]}  # fmt: skip
    given = {name: readers[name]() for name in CONDITION if name in blender_scene}
    now = {name: getattr(scene.beam, name) for name in CONDITION}
    changed = {name: value for name, value in given.items() if value != (list(now[name]) if isinstance(now[name], tuple) else now[name])}
    if not changed:
        return scene
    # What is drawn into the picture tells of the old condition.
    scene = scene.replace(detector=replace(scene.detector, burn_in=()))
    where = f'scene "{blender_scene.name}"'
    if set(changed) == {"image"}:
        other = None if changed["image"] != "df" else scene.beam.dark_field_of
        return scene.replace(beam=replace(scene.beam, image=changed["image"], dark_field_of=other))
    try:
        return under_condition(scene, condition_of_series(changed, scene.crystal, scene.beam, where))
    except InputError as error:
        raise InputError(str(error).replace("beam.series", f"{where}: a changed g_hkl, zone_axis_uvw or s_inv_nm")) from None
