"""Blender behind one door: every function here works in a child process that owns bpy (see `render.blender.process`)."""

from render.blender.foil import blender_columns
from render.blender.process import line_masks, render_plan, renderer_name, write_blend

__all__ = ["blender_columns", "line_masks", "render_plan", "renderer_name", "write_blend"]
