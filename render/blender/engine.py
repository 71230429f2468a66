"""The render engine "TEM": in Blender, F12 is the micrograph of the scene as it stands, by `render.simulate`.

The pass Combined holds the camera's counts over 65535 (of a recorded picture the grey levels over 255), which the file's
settings write as they are; the pass Counts holds them unscaled, and Intensity the noise-free image, incident beam = 1. The
first row of the micrograph is the top row of the picture. The specimen is read before the simulation starts, so that
Blender can be used meanwhile.
"""

from __future__ import annotations

import time

import bpy
import numpy as np

from physics.errors import InputError
from render.blender.scene_of import scene_of
from render.blender.scene_plan import COUNTS_WHITE, RECORDED_WHITE
from render.blender.write_scene import ENGINE
from render.cli import one_line
from render.simulate import simulate

OWN_PASSES = ("Counts", "Intensity")
# Panels for what the engine does not do.
FOREIGN_PANELS = {"VIEWLAYER_PT_filter", "VIEWLAYER_PT_layer_passes"}


class TEMEngine(bpy.types.RenderEngine):
    """Reads the Blender scene back into a Scene and renders its micrograph; what cannot be one is reported in one line."""

    bl_idname = ENGINE
    bl_label = "TEM"
    bl_use_preview = False
    bl_use_eevee_viewport = True

    def update(self, data: bpy.types.BlendData, depsgraph: bpy.types.Depsgraph) -> None:
        self.specimen, self.problem = None, ""
        try:
            self.specimen = scene_of(depsgraph.scene.original)
        except InputError as error:
            self.problem = one_line(error)

    def update_render_passes(self, scene: bpy.types.Scene = None, renderlayer: bpy.types.ViewLayer = None) -> None:
        self.register_pass(scene, renderlayer, "Combined", 4, "RGBA", "COLOR")
        for name in OWN_PASSES:
            self.register_pass(scene, renderlayer, name, 1, "X", "VALUE")

    def render(self, depsgraph: bpy.types.Depsgraph) -> None:
        if self.specimen is None:
            self.report({"ERROR"}, self.problem)
            return
        self.update_stats("gdotb", f"{len(self.specimen.dislocations)} dislocations")
        start = time.monotonic()
        try:
            micrograph = simulate(self.specimen)
        except (InputError, OSError) as error:
            self.report({"ERROR"}, one_line(error))
            return
        white = COUNTS_WHITE if self.specimen.detector.recording is None else RECORDED_WHITE
        counts = micrograph.image.astype(np.float32)
        combined = np.ones((*counts.shape, 4), dtype=np.float32)
        combined[..., :3] = (counts / np.float32(white))[..., None]
        for name in OWN_PASSES:
            self.add_pass(name, 1, "X")
        result = self.begin_result(0, 0, counts.shape[1], counts.shape[0])
        passes = result.layers[0].passes
        for name, image in (("Combined", combined), ("Counts", counts), ("Intensity", micrograph.intensity)):
            # Blender's rows run upward.
            passes[name].rect.foreach_set(np.ascontiguousarray(image[::-1], dtype=np.float32).ravel())
        self.end_result(result)
        self.update_stats("gdotb", f"{len(micrograph.lines)} lines in {time.monotonic() - start:.1f} s")


def register() -> None:
    """Offer the engine, and let it have the panels that Blender's own engines share."""
    bpy.utils.register_class(TEMEngine)
    for panel in _shared_panels():
        panel.COMPAT_ENGINES.add(ENGINE)


def unregister() -> None:
    """Withdraw the engine. In a process without windows this must precede its end, or Blender 4.5 hangs."""
    for panel in _shared_panels():
        panel.COMPAT_ENGINES.discard(ENGINE)
    bpy.utils.unregister_class(TEMEngine)


def _shared_panels() -> list[type]:
    panels = bpy.types.Panel.__subclasses__()
    return [p for p in panels if "BLENDER_RENDER" in getattr(p, "COMPAT_ENGINES", ()) and p.__name__ not in FOREIGN_PANELS]
