"""Blender files as Scenes: written, edited by hand, rendered by the engine TEM, read back."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import stat
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from physics.beam import BeamCondition, image_from_crystal
from physics.boundary import GrainBoundary
from physics.crystal import Crystal
from physics.deposit import Deposit
from physics.dislocation import Dislocation
from physics.errors import InputError
from physics.fault import StackingFault
from physics.foil import Foil
from physics.opening import Opening
from physics.particle import Particle
from physics.relief import Relief
from physics.tear import Tear
from render.blender import write_blend
from render.detector import Detector
from render.sample import under_condition
from render.scene import Scene
from render.scene_rules import plane_normal_image
from render.simulate import simulate

pytestmark = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed")
AL = Crystal.from_material("al")
BEAM = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1), s_inv_nm=0.004)
SHAPE, PIXEL_NM = (48, 64), 2.1
FLOAT32_NM = 1e-4


def _run(script: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def full_scene() -> Scene:
    """One of everything that a Scene can hold, in a wedged foil with a rough face and a hole."""
    foil = Foil(thickness_nm=80.0, wedge_deg=3.0, wedge_azimuth_deg=30.0, openings=(Opening(outline_nm=[[50, 30], [90, 30], [90, 90]], taper_nm=5.0),),
                relief=Relief(roughness_nm=0.4, correlation_nm=20.0, seed=3), tears=(Tear(tips_nm=[[-60, 35], [-48, 42]], width_nm=3.0, lip_nm=6.0),),
                twins=(GrainBoundary(point_nm=(48, -40, 0), normal=(1, -0.4, 0.3), width_nm=4.0, s_inv_nm=0.05, xi_g_nm=60.0),))  # fmt: skip
    turn = np.linspace(0, 2 * np.pi, 13)
    loop = np.stack([15 * np.cos(turn) - 30, 10 * np.sin(turn), 5 * np.sin(turn)], axis=-1)
    loop[-1] = loop[0]
    outline = np.array([[-500.0, -500.0, 0.0], [500.0, -500.0, 0.0], [500.0, 500.0, 0.0], [-500.0, 500.0, 0.0]])
    n = plane_normal_image((1, 1, 1), AL, image_from_crystal(AL, BEAM))
    outline[:, 2] = -(outline[:, 0] * n[0] + outline[:, 1] * n[1]) / n[2]
    lines = (
        Dislocation(burgers_uvw=(-0.5, -0.5, 0), points_nm=[[-30.123456789, -10, 70], [1 / 3, 5, 0], [25, 0, -70]], plane_hkl=(1, -1, 1)),
        Dislocation(burgers_uvw=(0.5, 0, 0.5), points_nm=loop, kind="loop"),
        Dislocation(burgers_uvw=(0, 0.5, 0.5), points_nm=[[-900, 3, 0], [0, 4, 0], [0, 5, 1], [900, 4, 0]],
                    segment_planes_hkl=[[1, 1, -1], [1, -1, 1], [1, 1, -1]]),
        Dislocation(burgers_uvw=(1, 1, 0), points_nm=[[-40, -20, 56], [0, -20, 33], [30, -20, 65]], kind="slip_trace"),
    )  # fmt: skip
    return Scene(
        crystal=AL, foil=foil, beam=BEAM, dislocations=lines, shape=SHAPE, pixel_nm=PIXEL_NM, detector=Detector(noise_seed=5), surfaces=False,
        faults=(StackingFault(plane_hkl=(1, 1, 1), shift_uvw=(1 / 6, 1 / 6, -1 / 3), outline_nm=outline),),
        particles=(Particle(kind="coherent_sphere", centre_nm=(10.1, -20.2, 5.3), radius_nm=6.0, misfit=0.01, xi_ratio=1.4),
                   Particle(kind="plate", centre_nm=(-20, 25, 0), radius_nm=9.0, misfit=0.02, plane_hkl=(0, 0, 1), thickness_nm=1.5)),
        deposits=(Deposit(centre_nm=(5.7, 30.1), radius_nm=8.0, thickness_nm=4.0, aspect=0.7, turn_deg=20.0, lobes=(0.1, -0.05)),
                  Deposit(kind="flake", centre_nm=(-40, -30), radius_nm=12.0, thickness_nm=3.0, profile=0.0, side=-1)),
    )  # fmt: skip


def plain_scene() -> Scene:
    """One line from face to face of a flat foil of an endless crystal: moved with the line, the image is the same."""
    line = Dislocation(burgers_uvw=(0.5, 0.5, 0), points_nm=[[-45, -8, 30], [-30, 2, 0], [-20, 12, -30]])
    return Scene(crystal=AL, foil=Foil(thickness_nm=60.0), beam=BEAM, dislocations=(line,), shape=SHAPE, pixel_nm=PIXEL_NM,
                 surfaces=False, detector=Detector(noise_seed=9))  # fmt: skip


EDIT = """
import bpy, json, os, sys
from mathutils import Matrix, Vector
source, folder = sys.argv[1:3]
def edit(name):
    def run(work):
        bpy.ops.wm.open_mainfile(filepath=source, use_scripts=False)
        o = bpy.data.objects
        work(o, bpy.data.scenes["micrograph"])
        bpy.ops.wm.save_as_mainfile(filepath=os.path.join(folder, name + ".blend"), copy=True)
    return run
LINE = "dislocation 000 -a/2[110]"
def line(o): return next(x for x in o if x.get("gdotb") == "dislocation" and x["index"] == 0)
def drawn(o, kind):
    curve = bpy.data.curves.new("drawn", "CURVE"); curve.dimensions = "3D"
    new = o.get("drawn") or bpy.data.objects.new("drawn", curve)
    bpy.data.collections["dislocations"].objects.link(new)
    new["burgers_uvw"] = [0.5, 0.5, 0.0]
    return new, curve.splines.new(kind)
@edit("without_text")
def _(o, s): bpy.data.texts.remove(bpy.data.texts["scene.json"])
@edit("moved")
def _(o, s):
    empty = bpy.data.objects.new("handle", None); s.collection.objects.link(empty)
    empty.location = (4.2, 0, 0); line(o).parent = empty
@edit("turned")
def _(o, s): line(o).matrix_basis = Matrix.Rotation(0.5, 4, "Z") @ Matrix.Diagonal((2.0, 2.0, 1.0, 1.0))
@edit("bezier")
def _(o, s):
    new, spline = drawn(o, "BEZIER")
    spline.bezier_points.add(1)
    for p, co, left, right in zip(spline.bezier_points, ((-30, 0, 60), (30, 0, -60)), ((-40, 0, 70), (20, 40, -20)), ((-20, 40, 20), (40, 0, -70))):
        p.co, p.handle_left, p.handle_right = co, left, right
@edit("nurbs")
def _(o, s):
    new, spline = drawn(o, "NURBS")
    spline.points.add(7)
    h = 0.5 ** 0.5
    for p, (x, y, w) in zip(spline.points, ((1, -1, h), (1, 0, 1), (1, 1, h), (0, 1, 1), (-1, 1, h), (-1, 0, 1), (-1, -1, h), (0, -1, 1))):
        p.co = (20 * x, 20 * y, 5, w)
    spline.order_u, spline.use_cyclic_u, spline.use_bezier_u, spline.use_endpoint_u = 3, True, True, False
    new["kind"] = "loop"
@edit("short")
def _(o, s):
    new, spline = drawn(o, "POLY")
    spline.points.add(1)
    spline.points[0].co, spline.points[1].co = (-30, 0, 37, 1), (30, 0, -60, 1)
@edit("hidden")
def _(o, s): line(o).hide_render = True
@edit("grown")
def _(o, s):
    o["particle 000 coherent_sphere"].scale = (1.5,) * 3; o["particle 000 coherent_sphere"].location.x += 3
    o["deposit 000 particle"].rotation_euler.z = 0.1; o["deposit 000 particle"].scale.z = 2
    o["foil"]["thickness_nm"] = 85.0
    s["image"] = "df"; s.render.resolution_percentage = 50
@edit("no_b")
def _(o, s): del line(o)["burgers_uvw"]
@edit("words_for_b")
def _(o, s): line(o)["burgers_uvw"] = "a/2[110]"
@edit("odd_b")
def _(o, s): line(o)["burgers_uvw"] = [0.4, 0.5, 0.0]
@edit("no_foil")
def _(o, s): bpy.data.objects.remove(o["foil"])
@edit("foil_scaled")
def _(o, s): o["foil"].scale.z = 2
@edit("foil_reshaped")
def _(o, s): o["foil"].data.vertices[3].co.z += 1
@edit("camera_moved")
def _(o, s): o["camera down the beam"].location.x += 5
@edit("not_a_curve")
def _(o, s): bpy.data.collections["dislocations"].objects.link(o["foil edges"]); bpy.data.collections["dislocations"].objects.link(bpy.data.objects.new("Cube", bpy.data.meshes.new("Cube")))
@edit("no_settings")
def _(o, s): del s["gdotb_scene"]
@edit("disc_turned")
def _(o, s): o["particle 001 plate"].rotation_euler.x = 0.2
@edit("evil")
def _(o, s):
    for k, code in enumerate(("text", "driver")):
        write = "open(" + repr(os.path.join(folder, "run by " + code)) + ", 'w')"
        if code == "text":
            t = bpy.data.texts.new("evil.py"); t.write(write); t.use_module = True
        else:
            s.frame_set(1)
            d = o["camera down the beam"].driver_add("location", 2).driver
            d.type = "SCRIPTED"; d.expression = "__import__('builtins')." + write
sys.stdout.flush(); os._exit(0)
"""


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """read(name): the Scene in a file that was edited in one way (see EDIT)."""
    from render.blender.read import scene_from_blend

    folder = tmp_path_factory.mktemp("edited")
    write_blend(full_scene(), simulate(full_scene()).image, folder / "whole.blend")
    _run(EDIT, folder / "whole.blend", folder)
    for run in folder.glob("run by *"):
        run.unlink()  # the edits themselves ran with trust
    read = lambda name: scene_from_blend(folder / f"{name}.blend")  # noqa: E731
    read.folder = folder
    return read


def test_a_scene_reads_back_from_its_file_to_the_last_bit(edited):
    assert edited("whole").to_json() == full_scene().to_json()


def test_positions_alone_are_good_to_single_precision_and_all_else_is_equal(edited):
    found, wanted = (json.loads(s.to_json()) for s in (edited("without_text"), full_scene()))
    assert found != wanted
    for name, key in (("dislocations", "points_nm"), ("faults", "outline_nm"), ("particles", "centre_nm"), ("deposits", "centre_nm")):
        assert len(found[name]) == len(wanted[name])
        for a, b in zip(found[name], wanted[name]):
            np.testing.assert_allclose(a.pop(key), b.pop(key), rtol=0, atol=FLOAT32_NM)
    assert found == wanted


def test_a_line_moved_by_its_parent_is_moved(edited):
    wanted = full_scene().dislocations[0].points_nm + [4.2, 0, 0]
    np.testing.assert_allclose(edited("moved").dislocations[0].points_nm, wanted, atol=FLOAT32_NM)


def test_rotation_and_scale_of_an_object_apply_to_its_line(edited):
    c, s = np.cos(0.5), np.sin(0.5)
    wanted = full_scene().dislocations[0].points_nm @ np.array([[2 * c, -2 * s, 0], [2 * s, 2 * c, 0], [0, 0, 1]]).T
    np.testing.assert_allclose(edited("turned").dislocations[0].points_nm, wanted, atol=FLOAT32_NM)


def test_bezier_curves_are_polylines_within_tolerance(edited):
    from scipy.interpolate import BPoly

    curve = BPoly(np.array([[[-30, 0, 60]], [[-20, 40, 20]], [[20, 40, -20]], [[30, 0, -60]]], float), [0, 1])
    points = edited("bezier").dislocations[-1].points_nm
    dense = curve(np.linspace(0, 1, 20001))
    np.testing.assert_allclose(points[[0, -1]], dense[[0, -1]], atol=FLOAT32_NM)
    assert _farthest(dense[::20], points) < 0.02  # nm: CURVE_TOLERANCE_NM
    assert len(points) < 100


def test_nurbs_circle_is_a_closed_loop_of_its_radius(edited):
    loop = edited("nurbs").dislocations[-1]
    assert loop.closed and loop.kind == "loop"
    radius = np.linalg.norm(loop.points_nm[:, :2], axis=1)
    np.testing.assert_allclose(radius, 20, atol=1e-3)  # a rational quadratic in eight points is a circle
    middles = np.linalg.norm((loop.points_nm[1:, :2] + loop.points_nm[:-1, :2]) / 2, axis=1)
    assert middles.min() > 20 - 0.02  # nm: CURVE_TOLERANCE_NM
    assert len(radius) < 200
    np.testing.assert_allclose(loop.points_nm[:, 2], 5, atol=FLOAT32_NM)


def _farthest(points, polyline):
    start, edge = polyline[:-1], np.diff(polyline, axis=0)
    t = np.clip(((points[:, None] - start) * edge).sum(-1) / (edge * edge).sum(-1), 0, 1)
    return np.linalg.norm(points[:, None] - start - t[..., None] * edge, axis=-1).min(axis=1).max()


def test_a_drawn_end_just_below_a_face_reaches_it(edited):
    from render.foil import foil_heights

    scene = edited("short")
    end = scene.dislocations[-1].points_nm[0]
    entrance_nm, _ = foil_heights(scene.crystal, scene.beam, scene.foil, end[:1], end[1:2])
    assert abs(end[2] - entrance_nm[0]) < 1e-5
    along = end - [-30, 0, 37]
    assert 0 < np.linalg.norm(along) < 5
    np.testing.assert_allclose(np.cross(along, [60, 0, -97]), 0, atol=1e-3)  # on the segment's own line


def test_what_is_left_out_of_renders_is_left_out_of_the_scene(edited):
    assert [line.kind for line in edited("hidden").dislocations] == ["loop", "perfect", "slip_trace"]


def test_sizes_fields_and_conditions_are_read_from_what_was_edited(edited):
    scene, before = edited("grown"), full_scene()
    assert scene.particles[0].radius_nm == pytest.approx(9.0, rel=1e-6)  # 1.5 * 6
    np.testing.assert_allclose(scene.particles[0].centre_nm, [13.1, -20.2, 5.3], atol=FLOAT32_NM)
    assert scene.deposits[0].turn_deg == pytest.approx(20 + np.rad2deg(0.1), abs=1e-4)
    assert scene.deposits[0].thickness_nm == pytest.approx(8.0, rel=1e-6) and scene.deposits[0].radius_nm == 8.0
    assert scene.foil.thickness_nm == 85.0 and scene.beam.image == "df"
    assert scene.shape == (24, 32) and scene.pixel_nm == pytest.approx(2 * before.pixel_nm, rel=1e-6)  # half the resolution


@pytest.mark.parametrize(
    ("name", "message"),
    [("no_b", r'object "dislocation 000 a/2\[-1-10\]" must have the custom property burgers_uvw, got none; three numbers'),
     ("words_for_b", r"burgers_uvw as 3 numbers, got a/2\[110\]"),
     ("odd_b", r'object "dislocation 000 .*"\.burgers_uvw must be a lattice vector'),
     ("no_foil", "must hold the foil once .* got none; undo its deletion"),
     ("foil_scaled", 'object "foil" must stay as it was drawn'),
     ("foil_reshaped", 'object "foil" must stay as it was drawn'),
     ("camera_moved", 'object "camera down the beam" must look down the beam'),
     ("not_a_curve", 'object "Cube" must .*'),
     ("no_settings", "must have the custom property gdotb_scene"),
     ("disc_turned", 'object "particle 001 plate" must not be turned')],
)  # fmt: skip
def test_what_cannot_be_a_scene_is_said_in_one_line(edited, name, message):
    with pytest.raises(InputError, match=message) as caught:
        edited(name)
    assert "\n" not in str(caught.value)


def test_no_script_of_a_file_is_run(edited):
    assert edited("evil").to_json() == full_scene().to_json()
    assert not list(edited.folder.glob("run by *"))


def test_the_command_renders_an_edited_file_and_refuses_what_is_none(edited, tmp_path):
    from render.config import compose
    from render.sample import sample

    config = compose("render", ["out=x.zarr", "scene=file", f"scene.file={edited.folder / 'moved.blend'}"], ("out", "scene.file"))
    config = {key: value for key, value in config.items() if key != "out"}
    assert sample(config, 0).to_json() == edited("moved").to_json()
    (tmp_path / "no.blend").write_text("hello")
    with pytest.raises(InputError, match="scene.file .*no.blend.* must be a Blender file"):
        sample(config | {"scene": config["scene"] | {"file": str(tmp_path / "no.blend")}}, 0)


RENDER = """
import bpy, os, sys
source, folder = sys.argv[1:3]
bpy.ops.wm.open_mainfile(filepath=source, use_scripts=False)
from render.blender import engine
engine.register()
s = bpy.data.scenes["micrograph"]
assert s.render.engine == "GDOTB_TEM" and not any(t.use_module for t in bpy.data.texts)
file = s.render.image_settings
def f12(name):
    s.render.filepath = os.path.join(folder, name)
    bpy.ops.render.render(write_still=True, scene="micrograph")
line = next(o for o in s.objects if o.get("gdotb") == "dislocation")
f12("unedited.png")
file.file_format, file.color_depth, file.exr_codec = "OPEN_EXR_MULTILAYER", "32", "NONE"
f12("unedited.exr")
line.location.x = 20 * PIXEL
f12("moved.exr")
line.location.x = 0
line["burgers_uvw"] = [0.0, 0.5, 0.5]
f12("other_b.exr")
line["burgers_uvw"] = [0.5, 0.5, 0.0]
s["g_hkl"] = [0, 2, 0]
f12("other_g.exr")
del line["burgers_uvw"]
try:
    f12("refused.exr")
except RuntimeError as error:
    print("REFUSED", str(error).strip())
engine.unregister()
sys.stdout.flush(); os._exit(0)
""".replace("PIXEL", str(PIXEL_NM))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered")
    write_blend(plain_scene(), simulate(plain_scene()).image, folder / "plain.blend")
    return folder, _run(RENDER, folder / "plain.blend", folder)


def passes(path) -> dict[str, np.ndarray]:
    """Channels (Y, X) float32 of an uncompressed scan-line OpenEXR file (openexr.com, "OpenEXR file layout")."""
    raw = path.read_bytes()
    place, channels, window = 8, [], None
    while raw[place]:
        name, kind = raw[place:].split(b"\0", 2)[:2]
        place += len(name) + len(kind) + 2
        size = struct.unpack_from("<i", raw, place)[0]
        value, place = raw[place + 4 : place + 4 + size], place + 4 + size
        if name == b"channels":
            while value[0]:
                channel, value = value.split(b"\0", 1)
                assert struct.unpack_from("<i", value)[0] == 2  # 32-bit float
                channels.append(channel.decode().split(".", 1)[-1])
                value = value[16:]
        elif name == b"dataWindow":
            window = struct.unpack("<4i", value)
    columns, rows = window[2] - window[0] + 1, window[3] - window[1] + 1
    place += 1 + 8 * rows
    lines = [np.frombuffer(raw, "<f4", len(channels) * columns, place + y * (8 + 4 * len(channels) * columns) + 8) for y in range(rows)]
    image = np.array(lines).reshape(rows, len(channels), columns)
    return {channel: image[:, i] for i, channel in enumerate(channels)}


def test_f12_is_the_micrograph_to_the_last_count_and_the_last_bit(rendered):
    from PIL import Image

    wanted = simulate(plain_scene())
    np.testing.assert_array_equal(np.asarray(Image.open(rendered[0] / "unedited.png")), wanted.image)  # 16 bit
    found = passes(rendered[0] / "unedited.exr")
    np.testing.assert_array_equal(found["Intensity.X"], wanted.intensity)
    np.testing.assert_array_equal(found["Counts.X"], wanted.image)
    np.testing.assert_array_equal(found["Combined.R"], wanted.image.astype(np.float32) / np.float32(65535))
    assert np.ptp(wanted.intensity) > 0.1  # there is something to compare
    assert not np.array_equal(wanted.intensity, wanted.intensity[::-1])


def test_f12_follows_a_line_that_was_moved(rendered):
    before, after = (passes(rendered[0] / f"{name}.exr")["Intensity.X"] for name in ("unedited", "moved"))
    np.testing.assert_allclose(after[:, 20:], before[:, :-20], atol=2e-4)  # 20 px to the right
    assert np.abs(after - before).max() > 0.1


def test_f12_follows_the_burgers_vector(rendered):
    line = dataclasses.replace(plain_scene().dislocations[0], burgers_uvw=np.array([0, 0.5, 0.5]))
    wanted = simulate(plain_scene().replace(dislocations=(line,))).intensity
    np.testing.assert_array_equal(passes(rendered[0] / "other_b.exr")["Intensity.X"], wanted)
    assert np.ptp(wanted) < 0.8 * np.ptp(simulate(plain_scene()).intensity)  # g.b = 0 instead of 1


def test_f12_tilts_the_specimen_to_another_g(rendered):
    from render.conditions import condition_of_series

    scene = plain_scene()
    tilted = under_condition(scene, condition_of_series({"g_hkl": [0, 2, 0]}, AL, scene.beam, "beam"))
    np.testing.assert_array_equal(passes(rendered[0] / "other_g.exr")["Intensity.X"], simulate(tilted).intensity)


def test_f12_of_what_cannot_be_a_scene_says_so(rendered):
    folder, said = rendered
    assert 'REFUSED Error: object "dislocation 000 a/2[110]" must have the custom property burgers_uvw' in said
    assert not (folder / "refused.exr").exists()


def test_the_view_opens_what_it_wrote_in_blender(tmp_path, monkeypatch, write, micrographs):
    from render.view import _command

    dataset = write(tmp_path / "a.zarr", micrographs)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="open must be false where no `blender` is on the PATH"):
        _command([str(dataset), "0", "open=true"])
    program = tmp_path / "blender"
    program.write_text(f'#!{sys.executable}\nimport sys, os\nopen("called.part", "w").write("\\n".join(sys.argv[1:]))\nos.rename("called.part", "called")\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    _command([str(dataset), "0", "open=true"])
    called = tmp_path / "called"
    for _ in range(100):
        if not called.exists():
            time.sleep(0.05)
    file, flag, addon = called.read_text().splitlines()
    assert file == str(tmp_path / "a_0.blend") and os.path.exists(file)
    assert flag == "--python" and os.path.basename(addon) == "addon.py" and os.path.exists(addon)
