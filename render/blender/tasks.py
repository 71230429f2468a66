"""What the child can be asked to do, by name. Every task starts from an empty Blender and leaves one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy

from render.blender.buffers import foil_buffers, line_masks
from render.blender.build import render_plan
from render.blender.open_file import read_scene
from render.blender.write_scene import write_scene


def _in_empty_file(task: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        try:
            return task(*arguments)
        finally:
            bpy.ops.wm.read_factory_settings(use_empty=True)

    return run


TASKS = {task.__name__: _in_empty_file(task) for task in (foil_buffers, line_masks, read_scene, render_plan, write_scene)}
