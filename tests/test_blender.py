"""Blender: its tubes against the rasteriser, its files and its process."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from physics.beam import BeamCondition, foil_normal_image, image_from_crystal
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.errors import InputError
from physics.fault import StackingFault
from physics.foil import Foil
from physics.frames import image_from_pixel, pixel_from_image
from render.blender import line_masks, process, write_blend
from render.blender.foil import cast_buffers
from render.blender.names import burgers_name, burgers_text
from render.blender.plan import View, clipped, outside_excess, plan_of
from render.foil import FoilShape, foil_maps
from render.rasterise import line_mask
from render.scene import Scene
from render.scene_rules import plane_normal_image
from render.view import picture

needs_bpy = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed")
AL = Crystal.from_material("al")
BEAM = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 1, 2), s_inv_nm=0.01)
SHAPE, PIXEL_NM = (96, 128), 4.0


def foil_shape(**fields) -> FoilShape:
    foil = Foil(thickness_nm=100.0, **fields)
    return FoilShape(foil=foil, normal_image=foil_normal_image(AL, BEAM, foil))


def specimen(**foil) -> Scene:
    """A line from face to face, a loop, and one that leaves the field; the foil thick enough to hold them."""
    turn = np.linspace(0, 2 * np.pi, 25)
    loop = np.stack([40 * np.cos(turn), 30 * np.sin(turn), 10 * np.sin(turn)], axis=-1)
    loop[-1] = loop[0]
    inclined = np.array([[-60.0, -30.0, 200.0], [0.0, 10.0, 0.0], [60.0, -10.0, -200.0]])
    level = np.array([[-900.0, 40.0, 5.0], [900.0, 50.0, -5.0]])
    lines = (
        Dislocation(burgers_uvw=(0.5, 0.5, 0), points_nm=inclined),
        Dislocation(burgers_uvw=(0.5, 0, 0.5), points_nm=loop, kind="loop"),
        Dislocation(burgers_uvw=(0, -0.5, 0.5), points_nm=level, plane_hkl=(1, 1, 1)),
    )
    return Scene(
        crystal=AL, foil=Foil(thickness_nm=100.0, **foil), beam=BEAM, dislocations=lines, shape=SHAPE, pixel_nm=2.0
    )


def wavy_curves(rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Smooth curves (K, 2) in pixels that cross the whole frame, with half-widths (K,) that change along them."""
    points_px, half_width_px = [], []
    along = np.linspace(-120, 120, 90)
    for _ in range(8):
        angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        forward = np.array([np.cos(angle), np.sin(angle)])
        left = np.array([-forward[1], forward[0]])
        wave_px = 8 * np.sin(along / 25 + phase)
        points_px.append(np.outer(along, forward) + np.outer(wave_px, left) + [63.5, 47.5] + rng.uniform(-15, 15, 2))
        half_width_px.append(np.linspace(*rng.uniform(1.5, 5, 2), len(along)))
    return points_px, half_width_px


@needs_bpy
def test_heights_are_the_same_bytes_from_another_child():
    placed = foil_shape(curvature_inv_um=1.0, cross_curvature_inv_um=-0.5, curvature_azimuth_deg=20.0)
    first, again = (cast_buffers(placed, SHAPE, PIXEL_NM) for _ in range(2))
    process.blender().close()
    fresh = cast_buffers(placed, SHAPE, PIXEL_NM)
    assert sorted(first) == ["entrance", "exit", "normals"]
    for name, buffer in first.items():
        assert buffer.tobytes() == again[name].tobytes() == fresh[name].tobytes()


@needs_bpy
def test_rasterised_masks_are_those_of_bevelled_tubes():
    points_px, half_width_px = wavy_curves(np.random.default_rng(5))
    tubes = line_masks(points_px, half_width_px, SHAPE, bevel_resolution=16)
    for tube, points, half_width in zip(tubes, points_px, half_width_px):
        mask = line_mask(points, half_width, SHAPE)
        assert mask.sum() > 300
        assert (tube & mask).sum() / (tube | mask).sum() >= 0.995  # issue: without end caps, bevel resolution 16


@needs_bpy
def test_masks_of_crossing_lines_keep_the_shared_pixels():
    cross = [np.array([[-20.0, -20.0], [150.0, 120.0]]), np.array([[-20.0, 120.0], [150.0, -20.0]])]
    masks = line_masks(cross, [np.full(2, 3.0)] * 2, SHAPE)
    assert (masks[0] & masks[1]).sum() > 20


@needs_bpy
def test_blender_stays_out_of_this_process():
    process.blender()
    assert "bpy" not in sys.modules


def test_another_version_of_blender_is_refused():
    with pytest.raises(InputError, match="foil_renderer must be numpy"):
        foil_maps(AL, Foil(thickness_nm=100.0), BEAM, SHAPE, PIXEL_NM, "bpy 1.2.3")


def test_lines_are_drawn_only_inside_foil_and_field():
    scene = specimen(curvature_inv_um=0.3)
    excess = outside_excess(foil_shape(curvature_inv_um=0.3), 256.0, 192.0)
    plan = plan_of(scene)
    assert [tube.closed for tube in plan.tubes] == [False, True, False]
    assert all(excess(piece).max() < 0.01 for tube in plan.tubes for piece in tube.pieces)
    ends = plan.tubes[2].pieces[0][[0, -1], 0]
    np.testing.assert_allclose(ends, [-128, 128], atol=1e-6)  # the field's edges: 128 px of 2 nm


def test_a_line_that_leaves_and_returns_is_clipped_to_two_pieces():
    arch = np.stack([np.linspace(-50, 50, 60), np.zeros(60), 80 - 0.06 * np.linspace(-50, 50, 60) ** 2], axis=-1)
    pieces = clipped(arch, outside_excess(foil_shape(), 1000.0, 1000.0), 5.0)
    assert len(pieces) == 2
    np.testing.assert_allclose([pieces[0][-1, 2], pieces[1][0, 2]], 50, atol=1e-9)  # the entrance face


def test_faults_are_drawn_inside_the_foil():
    outline = np.array([[-500.0, -500.0, 0.0], [500.0, -500.0, 0.0], [500.0, 500.0, 0.0], [-500.0, 500.0, 0.0]])
    scene = specimen()
    n = plane_normal_image((1, 1, 1), AL, image_from_crystal(AL, BEAM))
    outline[:, 2] = -(outline[:, 0] * n[0] + outline[:, 1] * n[1]) / n[2]
    fault = StackingFault(plane_hkl=(1, 1, 1), shift_uvw=(1 / 6, 1 / 6, -1 / 3), outline_nm=outline)
    (sheet,) = plan_of(scene.replace(faults=(fault,))).sheets
    assert outside_excess(foil_shape(), 256.0, 192.0)(sheet.outline_nm).max() < 1e-9
    np.testing.assert_allclose(sheet.outline_nm @ n, 0, atol=1e-9)


@pytest.mark.parametrize(
    ("burgers", "text"),
    [((0.5, 0.5, 0), "1/2[110]"), ((0.5, -0.5, 0), "1/2[11\u03050]"), ((1, 0, 0), "[100]"),
     ((1 / 6, 1 / 6, -1 / 3), "1/6[112\u0305]"), ((0, 0, 2), "2[001]")],
)  # fmt: skip
def test_burgers_vectors_are_written_as_crystallographers_do(burgers, text):
    assert burgers_text(burgers) == text


@pytest.mark.parametrize(
    ("burgers", "material", "name"),
    [((0.5, -0.5, 0), "al", "a/2[1-10]"), ((1, 0, 0), "ta", "a[100]"), ((1, -1, 0), "al", "a[1-10]"), ((1.5, 1.5, 0), "al", "3a/2[110]"),
     ((1, 0, 0), "mg", "a/3[2-1-10]"), ((1, 0, 1), "mg", "a/3[2-1-13]"), ((0, 0, 1), "mg", "a[0001]")],
)  # fmt: skip
def test_names_of_objects_hold_b_in_the_usual_indices(burgers, material, name):
    assert burgers_name(burgers, Crystal.from_material(material)) == name  # 1/3[2-1-10] = [100] (conventions 11)


READ_BLEND = """
import json, os, sys, bpy
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
scene = bpy.context.scene
camera = bpy.data.objects["camera down the beam"]
scene.render.resolution_x, scene.render.resolution_y = 128, 96
lines = []
for o in bpy.data.collections["dislocations"].objects:
    points = [p.co[:3] for s in o.data.splines for p in s.points]
    seen = [world_to_camera_view(scene, camera, Vector(p)) for p in points]
    lines.append({"name": o.name, "type": o.type, "b": list(o["burgers_uvw"]), "g_dot_b": o["g_dot_b"],
                  "kind": o["kind"], "plane": list(o["plane_hkl"]), "points": [list(p) for p in points],
                  "seen": [[s.x * 128 - 0.5, (1 - s.y) * 96 - 0.5] for s in seen]})
slab = bpy.data.objects["foil"].data
edges = {}
for polygon in slab.polygons:
    for key in polygon.edge_keys:
        edges[key] = edges.get(key, 0) + 1
print("READ" + json.dumps({"lines": lines, "camera": camera.data.type, "scene": bpy.data.texts["scene.json"].as_string(),
      "material": scene["material"], "watertight": set(edges.values()) == {2}, "z": [min(v.co.z for v in slab.vertices),
      max(v.co.z for v in slab.vertices)], "image": list(bpy.data.images["micrograph"].size)}), flush=True)
os._exit(0)
"""


@needs_bpy
def test_blend_file_holds_the_specimen_by_name(tmp_path):
    scene = specimen()
    path = tmp_path / "één #1 = (1).blend"
    write_blend(scene, np.random.default_rng(1).random(SHAPE), path)
    assert os.listdir(tmp_path) == [path.name]
    done = subprocess.run([sys.executable, "-c", READ_BLEND, str(path)], capture_output=True, text=True, check=True)
    held = json.loads(done.stdout.split("READ", 1)[1])
    assert [line["name"] for line in held["lines"]] == [
        "dislocation 000 a/2[110]", "dislocation 001 a/2[101]", "dislocation 002 a/2[0-11]",
    ]  # fmt: skip
    assert {line["type"] for line in held["lines"]} == {"CURVE"}
    for line, dislocation in zip(held["lines"], scene.dislocations):
        assert line["b"] == list(dislocation.burgers_uvw)  # b belongs to the order of the vertices (conventions 6)
        whole = dislocation.points_nm[:-1] if dislocation.closed else dislocation.points_nm
        np.testing.assert_allclose(line["points"], whole, rtol=1e-7)  # single precision
    assert [line["g_dot_b"] for line in held["lines"]] == [1, 1, 0]  # g = 200
    assert held["lines"][1]["kind"] == "loop" and held["lines"][2]["plane"] == [1, 1, 1]
    assert held["camera"] == "ORTHO" and held["material"] == AL.material and held["image"] == [128, 96]
    assert held["watertight"] and held["z"] == [-50, 50]
    assert Scene.from_json(held["scene"]).to_json() == scene.to_json()
    for line in held["lines"]:
        np.testing.assert_allclose(line["seen"], pixel_from_image(line["points"], SHAPE, 2.0), atol=1e-3)


@needs_bpy
def test_picture_is_written_with_its_micrograph(tmp_path):
    from PIL import Image

    path = tmp_path / "scene.png"
    image = np.random.default_rng(1).random(SHAPE)
    picture(specimen(), path, image=image, view=View(width_px=160, height_px=120, samples=1))
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert pixels.shape == (120, 160, 3)
    assert 0.1 < (pixels.min(axis=-1) < 250).mean() < 0.95  # a specimen on white paper
    assert os.listdir(tmp_path) == ["scene.png"]


@needs_bpy
def test_errors_of_the_child_come_back_in_one_line_and_it_lives_on(tmp_path):
    with pytest.raises(ChildProcessError, match="Blender failed during write_scene") as caught:
        write_blend(specimen(), np.zeros(SHAPE), tmp_path / "nowhere" / "a.blend")
    assert "\n" not in str(caught.value)
    assert line_masks([np.array([[0.0, 0.0], [9.0, 9.0]])], [np.ones(2)], (16, 16)).any()


@needs_bpy
def test_a_child_that_was_killed_is_replaced():
    child = process.blender()
    line = [np.array([[0.0, 0.0], [9.0, 9.0]])], [np.ones(2)], (16, 16)
    first = line_masks(*line)
    os.kill(child._child.pid, signal.SIGKILL)
    child._child.wait()
    np.testing.assert_array_equal(line_masks(*line), first)


@needs_bpy
def test_the_child_is_replaced_after_its_share_of_tasks(monkeypatch):
    monkeypatch.setattr(process, "TASKS_PER_CHILD", 1)
    line = [np.array([[0.0, 0.0], [9.0, 9.0]])], [np.ones(2)], (16, 16)
    line_masks(*line)
    first = process.blender()._child.pid
    line_masks(*line)
    assert process.blender()._child.pid != first


@needs_bpy
def test_the_child_ends_with_a_killed_parent():
    script = (
        "import numpy as np, os, signal\nfrom render.blender import line_masks, process\n"
        "line_masks([np.array([[0.0, 0.0], [9.0, 9.0]])], [np.ones(2)], (16, 16))\n"
        "print(process.blender()._child.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    child = int(done.stdout)
    deadline = time.monotonic() + 10
    while _running(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _running(child)


def _running(pid: int) -> bool:
    """Whether a process is alive, a zombie that nobody has buried yet not counted."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_pixel_coordinates_of_tubes_are_those_of_labels():
    points_px = np.array([[0.0, 0.0], [127.0, 95.0]])
    np.testing.assert_allclose(pixel_from_image(image_from_pixel(points_px, SHAPE, 1.0), SHAPE, 1.0), points_px)
