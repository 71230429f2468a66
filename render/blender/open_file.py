"""Opening a person's Blender file in the child: nothing that it holds is run."""

from __future__ import annotations

import bpy

from physics.errors import InputError
from render.blender.scene_of import scene_of


def read_scene(path: str) -> str:
    """The Scene in the file at `path`, as JSON.

    Raises InputError for what is no Blender file, or cannot be a Scene.
    """
    try:
        # Neither texts marked to be registered nor drivers run; window layouts are left alone.
        bpy.ops.wm.open_mainfile(filepath=path, load_ui=False, use_scripts=False)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("Error: ")
        raise InputError(f"scene.file must be a Blender file, got {path}: {reason}") from None
    holding = [scene for scene in bpy.data.scenes if "gdotb_scene" in scene]
    return scene_of(holding[0] if holding else bpy.context.scene).to_json()
