"""A Blender file as a Scene, read by the child process that owns bpy. No script of the file is run."""

from __future__ import annotations

import os

from physics.errors import require
from render.blender.process import blender
from render.scene import Scene


def scene_from_blend(path: str | os.PathLike[str]) -> Scene:
    """The Scene in the .blend file at `path`, as edited (see `render.blender.scene_of`).

    Raises InputError for what is no Blender file or holds no Scene, in one line that names the object.
    """
    path = os.path.abspath(path)
    require(os.path.isfile(path), "scene.file", "be a Blender file", f"{path}, which is not there")
    return Scene.from_json(blender().call("read_scene", path))
