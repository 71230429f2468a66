"""Stroke scenes: what is drawn, what the labels say of it, and that nothing is left to chance."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from physics.errors import InputError
from render import sample, simulate
from render.bulk import render_dataset
from render.check import check_dataset
from render.config import compose
from render.grey_image import read_grey
from render.on_device import check_modelled
from render.sample_config import SampleConfig
from render.scene import Scene
from render.specimen import Specimen
from render.stroke_config import StrokeScene
from render.strokes import BRIGHTEST_RATIO, Backdrop, background, covered_share, curves_px

SMALL = {"shape": [256, 256], "surroundings": None}


def config(scene=None, **more):
    return SampleConfig.from_dict(SMALL | {"scene": {"kind": "stroke2d"} | (scene or {})} | more)


@pytest.fixture
def frames(tmp_path):
    """Two grey frames in a folder with an awkward name, one smaller than the images asked for, and a mask."""
    folder = tmp_path / "frames (é)"
    folder.mkdir()
    ramp = np.add.outer(np.arange(200), np.arange(230)) * 0.4 + 20
    Image.fromarray(ramp.astype(np.uint8)).save(folder / "a.png")
    Image.fromarray(np.full((300, 400), 120, np.uint8) + np.arange(400, dtype=np.uint8)[None] % 7).save(folder / "b.png")
    Image.fromarray(np.eye(300, dtype=np.uint8) * 255).save(folder / "mask.png")
    return folder


def test_a_stroke_of_width_w_covers_w_pixels_across():
    for width in (1.1, 2.0, 3.4):
        curve = np.array([[-20.0, 7.3], [120.0, 31.9]])
        share = covered_share(curve, width, (48, 96))
        slope = np.hypot(140.0, 24.6) / 140.0  # a column cuts an inclined stroke over w / cos(angle)
        assert share[:, 10:86].sum(axis=0).mean() == pytest.approx(width * slope, rel=0.03)
        assert share.min() == 0 and share.max() <= 1


def test_scenes_keep_to_the_published_ranges():
    drawn = [sample(config(shape=[512, 512], scene={"darkness": 0.5}), 5, i) for i in range(6)]
    for scene in drawn:
        assert scene.contrast == "stroke" and 7 <= len(scene.dislocations) <= 8  # 7-8 lines
        assert all(1.1 <= w <= 3.4 for w in scene.strokes.width_px) and len(scene.strokes.backdrops) == 2  # drawn width, two pictures
        assert scene.strokes.backdrops[0].weight + scene.strokes.backdrops[1].weight == pytest.approx(1)
    gaps = np.concatenate([_gaps_px(sample(config(scene={"pileups": 1, "slant_deg": 0, "wave_fraction": 0}), 2, i)) for i in range(4)])
    assert gaps.min() > 7 * 0.85 and gaps.max() < 29 * 1.15  # 7-29 px, less or more the lines' own waviness


def _gaps_px(scene):
    middles = np.array([curve[len(curve) // 2] for curve in curves_px(scene)])
    return np.linalg.norm(np.diff(middles, axis=0), axis=1)


def test_masks_are_7_px_wide_and_curves_lie_in_the_middle_of_the_stroke():
    scene = sample(config(), 3)
    micrograph = simulate(scene)
    assert all((line.half_width_px == 3.5).all() and line.visible.all() for line in micrograph.lines)
    light = micrograph.intensity / background(scene, Specimen.of(scene))
    for line, darkness in zip(micrograph.lines, scene.strokes.darkness):
        assert np.array_equal(line.points_px, line.core_px) and line.contrast[0] == pytest.approx(-darkness)
        cells = np.rint(line.points_px).astype(int)
        cells = cells[((cells >= 0) & (cells < 256)).all(axis=1)]
        assert light[cells[:, 1], cells[:, 0]].max() < 1 - 0.4 * darkness  # a stroke 1.1 px wide may share its pixels
        length_px = np.linalg.norm(np.diff(line.points_px, axis=0), axis=1).sum()
        inside = (line.points_px > 5).all() and (line.points_px < 250).all()
        if inside:
            assert line.mask(scene.shape).sum() == pytest.approx(7 * length_px + np.pi * 3.5**2, rel=0.03)  # a capsule's area
    away = ~np.any(micrograph.masks, axis=0)
    np.testing.assert_allclose(light[away], 1, rtol=1e-6)


def test_the_same_lines_can_be_imaged_by_physics():
    scene = sample(config(), 4)
    physical = simulate(scene.replace(contrast="physics", strokes=None, surfaces=False))
    drawn = simulate(scene)
    assert len(physical.lines) == len(drawn.lines)
    for a, b in zip(physical.lines, drawn.lines):
        assert a.burgers_uvw == b.burgers_uvw and a.g_dot_b == b.g_dot_b != 0
        assert a.depth_nm[0] == pytest.approx(b.depth_nm[0], abs=0.5)  # both begin on a face


@pytest.mark.parametrize("real", [False, True])
def test_a_stroke_scene_holds_every_random_number(real, frames):
    more = {"scene": {"backgrounds": str(frames)}} if real else {"surroundings": {"deposits": 30}}
    scene = sample(config(**more), 8)
    again = Scene.from_json(scene.to_json())
    assert again.to_json() == scene.to_json()
    first, second = simulate(scene), simulate(again)
    assert np.array_equal(first.image, second.image) and np.array_equal(first.intensity, second.intensity)


def test_frames_keep_their_grey_levels_away_from_the_strokes(frames):
    scene = sample(config({"backgrounds": str(frames), "blend": 0.5}), 8)
    assert {Path(b.file).name for b in scene.strokes.backdrops} == {"a.png", "b.png"}  # never the mask
    micrograph = simulate(scene)
    away = ~np.any(micrograph.masks, axis=0)
    grey = 255 * background(scene, Specimen.of(scene))
    assert np.abs(micrograph.image[away] - grey[away]).max() <= 0.6  # rounding, and 0.01 of shot noise
    assert not micrograph.distractors


def test_a_frame_whose_bytes_have_changed_is_refused(frames):
    scene = sample(config({"backgrounds": str(frames)}), 8)
    Image.fromarray(np.full((300, 400), 9, np.uint8)).save(frames / "b.png")
    with pytest.raises(InputError, match="must hold the bytes of SHA-256"):
        simulate(scene)


def test_a_stroke_scene_can_be_moved_with_its_frames(frames, tmp_path, monkeypatch):
    """Files are named from the working directory; the same tree elsewhere, or a folder named, gives the same picture."""
    monkeypatch.chdir(tmp_path)
    scene = sample(config({"backgrounds": frames.name}), 8)
    assert {b.file for b in scene.strokes.backdrops} == {f"{frames.name}/a.png", f"{frames.name}/b.png"}
    assert str(tmp_path) not in sample(config({"backgrounds": str(frames)}), 8).to_json()
    there = background(scene, Specimen.of(scene))
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    frames.rename(moved / frames.name)
    with pytest.raises(InputError, match="GDOTB_BACKGROUNDS") as refused:
        background(scene, Specimen.of(scene))
    assert "\n" not in str(refused.value)
    for folder in (moved, moved / frames.name):
        monkeypatch.setenv("GDOTB_BACKGROUNDS", str(folder))
        np.testing.assert_array_equal(background(scene, Specimen.of(scene)), there)
    monkeypatch.delenv("GDOTB_BACKGROUNDS")
    monkeypatch.chdir(moved)
    np.testing.assert_array_equal(background(scene, Specimen.of(scene)), there)
    # Scenes of before name them from the root.
    old = json.loads(scene.to_json())
    for backdrop in old["strokes"]["backdrops"]:
        backdrop["file"] = str(moved / backdrop["file"])
    old = Scene.from_json(json.dumps(old))
    np.testing.assert_array_equal(background(old, Specimen.of(old)), there)
    (moved / frames.name).rename(moved / "again")
    monkeypatch.setenv("GDOTB_BACKGROUNDS", str(moved / "again"))
    np.testing.assert_array_equal(background(old, Specimen.of(old)), there)


def test_a_frame_too_large_to_be_opened_is_refused_in_one_line(frames, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(InputError, match="must be an image that can be read") as refused:
        read_grey(frames / "a.png")
    assert "\n" not in str(refused.value)


def test_a_dataset_of_strokes_is_sound(tmp_path, frames):
    for name, scene in (("s", {}), ("r", {"backgrounds": str(frames)})):
        values = {"shape": [128, 128], "scene": {"kind": "stroke2d"} | scene}
        path = render_dataset(values, tmp_path / f"{name}.zarr", n=3, seed=2, progress=False)
        assert list(check_dataset(path, resimulate=2)) == []
        assert str(frames) not in json.dumps(json.loads((path / "zarr.json").read_text())["attributes"])  # the folder's name only


def test_the_configuration_file_shows_the_defaults_of_the_code():
    values = compose("render", ["out=x", "scene=stroke2d"], ["out"])
    assert SampleConfig.from_dict(values).scene == StrokeScene()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scene": {"kind": "stroke2d", "width_px": 0.1}}, "scene.width_px must lie in"),
        ({"scene": {"kind": "stroke2d", "backgrounds": "/nowhere"}}, "scene.backgrounds must be a folder of images that exists"),
        ({"scene": {"kind": "stroke2d"}, "beam": {"series": [[2, 0, 0]]}}, "beam.series must be empty for scene=stroke2d"),
        ({"scene": {"kind": "stroke2d", "gaps": 3}}, "did you mean scene.gap_px"),
    ],
)
def test_bad_stroke_configurations_are_refused_in_one_line(change, said):
    with pytest.raises(InputError) as refused:
        SampleConfig.from_dict(SMALL | change)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_strokes_and_contrast_must_agree():
    scene = sample(config(), 3)
    for changes in ({"contrast": "physics"}, {"strokes": None}, {"dislocations": scene.dislocations[1:]}):
        with pytest.raises(InputError, match="strokes"):
            scene.replace(**changes)
    with pytest.raises(InputError, match="device must be cpu for a scene with contrast"):
        check_modelled(scene.replace(surfaces=False), "cuda")


def test_a_composite_on_its_own_specimen_is_the_image_that_physics_makes():
    drawn = sample(config(material="al", surfaces=False, beam={"s_xi": 0.8}, foil={"bend_mrad": 0, "tilt_deg": 0}), 3, 0)
    strokes = dataclasses.replace(drawn.strokes, backdrops=(Backdrop(),))
    composite = simulate(drawn.replace(contrast="composite", strokes=strokes))
    physical = simulate(drawn.replace(contrast="physics", strokes=None))
    bare = simulate(drawn.replace(contrast="physics", strokes=None, dislocations=())).intensity
    dim = physical.intensity < 0.999 * BRIGHTEST_RATIO * bare  # what is brighter is held back
    assert dim.mean() > 0.9
    np.testing.assert_allclose(composite.intensity[dim], physical.intensity[dim], rtol=1e-4)
    assert [line.contrast.tolist() for line in composite.lines] == [line.contrast.tolist() for line in physical.lines]


def test_composite_and_stroke_have_the_same_lines_on_the_same_background():
    pen, computed = (sample(config(scene={"contrast": c}, surfaces=False), 4, 1) for c in ("stroke", "composite"))
    assert computed.contrast == "composite" and len(pen.dislocations) == len(computed.dislocations)
    for k, (a, b) in enumerate(zip(pen.dislocations, computed.dislocations)):
        np.testing.assert_array_equal(a.points_nm, b.points_nm if k % 2 == 0 else b.points_nm[::-1])  # neighbours have opposite b
        np.testing.assert_array_equal(a.burgers_uvw, b.burgers_uvw)  # as labels write it
    np.testing.assert_array_equal(background(pen, Specimen.of(pen)), background(computed, Specimen.of(computed)))
    assert Scene.from_json(computed.to_json()).to_json() == computed.to_json()
