"""A whole Scene for a Blender file: every line and fault entire, under its name, with what it is as custom properties.

The picture of `render.blender.plan` shows what lies in the field; here nothing is cut off, because the file is read back
(`render.blender.scene_of`). No bpy here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from physics.beam import foil_normal_image, image_from_crystal
from physics.foil import Foil
from render.blender.names import burgers_name
from render.blender.plan import FAULT_COLOUR, Plan, Sheet, Tube, burgers_colours, line_colour, plan_of
from render.blender.solids import solids_of
from render.foil import FoilShape
from render.picture import display_range
from render.scene import PARTS

if TYPE_CHECKING:
    from physics.dislocation import Dislocation
    from physics.fault import StackingFault
    from render.scene import Scene

GEOMETRY = ("dislocations", "faults", "deposits", "particles")
FOIL_NUMBERS = tuple(f.name for f in fields(Foil) if f.name not in PARTS[Foil])
CONDITION = ("g_hkl", "zone_axis_uvw", "s_inv_nm", "image")
COUNTS_WHITE, RECORDED_WHITE = 65535, 255


@dataclass(frozen=True, kw_only=True, eq=False)
class ScenePlan:
    """What is drawn, what the file's scene and its foil carry as custom properties, and how the micrograph is shown.

    `white` is the grey level that a file written from the rendered micrograph maps to its largest number, `levels` the
    grey levels shown as black and white (None: as recorded).
    """

    plan: Plan
    settings: Mapping[str, Any]
    foil: Mapping[str, Any]
    white: int
    levels: tuple[float, float] | None


def scene_plan(scene: Scene, image: np.ndarray) -> ScenePlan:
    """The file of `scene`, with `image` (Y, X) as the micrograph under the foil."""
    rotation = image_from_crystal(scene.crystal, scene.beam)
    placed = FoilShape(foil=scene.foil, normal_image=foil_normal_image(scene.crystal, scene.beam, scene.foil))
    drawn = plan_of(scene, image)
    colours = burgers_colours(scene.dislocations)
    tubes = [_tube(line, i, scene, colours) for i, line in enumerate(scene.dislocations)]
    faults = [_sheet(fault, i) for i, fault in enumerate(scene.faults)]
    others = [sheet for sheet in drawn.sheets if "shift_uvw" not in sheet.properties]
    plan = replace(drawn, tubes=tuple(tubes), sheets=(*faults, *others), properties={},
                   solids=solids_of(scene, placed, rotation, within_field=False))  # fmt: skip
    recorded = scene.detector.recording is not None
    foil = {name: getattr(scene.foil, name) for name in FOIL_NUMBERS}
    return ScenePlan(
        plan=plan,
        settings={
            "gdotb_scene": json.dumps({k: v for k, v in json.loads(scene.to_json()).items() if k not in GEOMETRY}),
            "material": scene.crystal.material, "blender_unit": "1 nm",
        } | {name: _listed(getattr(scene.beam, name)) for name in CONDITION},
        foil={name: _listed(value) for name, value in foil.items() if value is not None},
        white=RECORDED_WHITE if recorded else COUNTS_WHITE,
        levels=None if recorded else display_range(image),
    )  # fmt: skip


def _tube(line: Dislocation, i: int, scene: Scene, colours: Mapping[tuple[float, ...], str]) -> Tube:
    word = "slip trace" if line.kind == "slip_trace" else "dislocation"
    # b belongs to the order of the vertices, so both are those of the Scene and not the form that labels use.
    properties = {
        "gdotb": "dislocation", "index": i, "burgers_uvw": [float(u) for u in line.burgers_uvw],
        "plane_hkl": list(line.plane_hkl), "g_dot_b": float(np.dot(scene.beam.g_hkl, line.burgers_uvw)), "kind": line.kind,
        "glissile": line.glissile,
    }  # fmt: skip
    if line.segment_planes_hkl is not None:
        properties["segment_planes_hkl"] = [int(h) for h in line.segment_planes_hkl.ravel()]
    return Tube(name=f"{word} {i:03d} {burgers_name(line.burgers_uvw, scene.crystal)}", pieces=(line.points_nm,),
                outcrops_nm=np.zeros((0, 3)), closed=line.closed, display_colour=line_colour(line, colours),
                properties=properties)  # fmt: skip


def _sheet(fault: StackingFault, i: int) -> Sheet:
    properties = {"gdotb": "fault", "index": i, "plane_hkl": list(fault.plane_hkl), "shift_uvw": [float(u) for u in fault.shift_uvw]}
    return Sheet(name=f"stacking fault {i:03d}", outline_nm=fault.outline_nm, colour=FAULT_COLOUR, shown=True, properties=properties)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
