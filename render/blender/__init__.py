"""Blender behind one door: every function here works in a child process that owns bpy (see `render.blender.process`)."""

from render.blender.process import face_heights_nm, line_masks, render_plan, renderer_name, write_blend

__all__ = ["face_heights_nm", "line_masks", "render_plan", "renderer_name", "write_blend"]
