"""Drawing cameras: every part in its share of the images, each with random numbers of its own, and told true."""

import json
import re

import numpy as np
import pytest

from physics.beam import g_image_inv_nm
from physics.errors import InputError
from render.burn_in import Mark
from render.camera import draw_detector, scale_bar_nm
from render.camera_config import DetectorConfig
from render.detector import PARTS, Detector
from render.noise import CorrelatedNoise
from render.optics import Blur
from render.recording import Recording
from render.sample import sample
from render.sample_config import SampleConfig
from render.scene import Scene
from render.simulate import simulate

SHAPE = (512, 512)
NONE = {name: {"share": 0} for name in (*PARTS, "burn_in")} | {"camera_pixel_px": 1}
CHEAP = {"shape": [64, 80], "material": "al", "scene": {"kind": "loop"}}


def config(**detector):
    return SampleConfig.from_dict(CHEAP | {"detector": detector})


def cameras(count=400, **detector):
    drawn = config(**detector).detector
    scene = sample(config(**NONE), 1)
    return [draw_detector(drawn, SHAPE, 1.7, scene.crystal, scene.beam, np.random.default_rng(k)) for k in range(count)]


def test_every_part_comes_in_its_share_of_the_images():
    found, defaults = cameras(), DetectorConfig()
    for name in PARTS:
        share = getattr(defaults, name).share
        assert np.mean([getattr(d, name) is not None for d in found]) == pytest.approx(share, abs=4 * (share * (1 - share) / 400) ** 0.5)
    # Each mark in a share of its own: 0.95 of those that have burn-in have any mark with shares .7, .4, .35, .3.
    assert np.mean([bool(d.burn_in) for d in found]) == pytest.approx(defaults.burn_in.share * 0.93, abs=0.1)


def test_no_part_is_there_where_its_share_is_nothing():
    for detector in cameras(20, **NONE):
        assert detector == Detector(**{f: getattr(detector, f) for f in ("dose_e_per_px", "gain_counts_per_e", "offset_counts", "mtf_sigma_px",
                                    "readout_noise_counts", "noise_seed", "illumination_centre_field", "illumination_sigma_field",
                                    "illumination_floor")})  # fmt: skip


def test_the_specimen_and_the_other_parts_do_not_depend_on_one_part():
    one = sample(config(), 5, 2)
    other = sample(config(noise={"share": 1, "fraction": 0.033}, burn_in={"share": 1}), 5, 2)
    assert [d.points_nm.tolist() for d in one.dislocations] == [d.points_nm.tolist() for d in other.dislocations]
    assert other.detector.noise.fraction == 0.033 and other.detector.burn_in
    for name in set(PARTS) - {"noise"}:
        assert getattr(one.detector, name) == getattr(other.detector, name)
    assert one.detector.noise_seed == other.detector.noise_seed


def test_a_scale_bar_is_as_long_as_its_words_say():
    for detector in cameras(40, burn_in={"share": 1, "bar_share": 1, "caption_share": 0, "letter_share": 0, "g_share": 0, "box_share": 0, "arrows": 0}):
        words, bar = detector.burn_in
        number, unit = re.fullmatch(r"([0-9.]+) (nm|µm)", words.text).groups()
        length_nm = float(number) * (1000 if unit == "µm" else 1)
        assert (bar.end_px[0] - bar.at_px[0]) * 1.7 == pytest.approx(length_nm, rel=1e-9)
        assert 0 <= bar.at_px[0] and bar.end_px[0] <= SHAPE[1] - 1


def test_scale_bars_are_one_two_or_five():
    assert [scale_bar_nm(x) for x in (1.0, 1.9, 4.99, 5.0, 87, 240, 2600)] == [1, 1, 2, 5, 50, 200, 2000]


def test_the_arrow_named_g_points_along_g():
    scene = sample(config(**NONE), 1)
    g = g_image_inv_nm(scene.crystal, scene.beam)
    only = {"share": 1, "bar_share": 0, "caption_share": 0, "letter_share": 0, "g_share": 1, "arrows": 0}
    arrow, letter = cameras(1, burn_in=only)[0].burn_in
    along = np.array(arrow.end_px) - arrow.at_px
    assert along / np.hypot(*along) == pytest.approx(np.array([g[0], -g[1]]) / np.hypot(g[0], g[1]), abs=1e-9)  # y down in pixels
    assert letter.text == "g"


def test_captions_tell_the_mode_and_the_voltage_of_the_image():
    only = {"share": 1, "bar_share": 0, "caption_share": 1, "letter_share": 0, "g_share": 0, "arrows": 0}
    for image, kV in (("bf", 120), ("df", 300)):
        drawn = config(**NONE | {"burn_in": only})
        scene = sample(config(**NONE), 1)
        beam = type(scene.beam)(g_hkl=scene.beam.g_hkl, zone_axis_uvw=scene.beam.zone_axis_uvw, voltage_kV=kV, image=image)
        texts = {draw_detector(drawn.detector, SHAPE, 1.0, scene.crystal, beam, np.random.default_rng(k)).burn_in[0].text for k in range(150)}
        assert image.upper() in texts and f"{kV} kV" in texts and not any("{" in t for t in texts)
        assert not texts & {"BF", "DF", "120 kV", "300 kV"} - {image.upper(), f"{kV} kV"}


def test_under_a_series_nothing_is_drawn_in_that_would_tell_of_another_condition():
    beam = {"zone_axis_uvw": [0, 0, 1], "series": [[2, 0, 0], [0, 2, 0]]}
    flat = {"tilt_deg": 0, "taper_nm": 0, "bend_mrad": 0}
    drawn = SampleConfig.from_dict(CHEAP | {"beam": beam, "foil": flat, "detector": {"burn_in": {"share": 1, "bar_share": 1}}})
    assert all(sample(drawn, 1, i).detector.burn_in == () for i in range(2))


def test_a_scene_with_every_part_survives_json_and_renders_the_same_bytes():
    detector = {name: {"share": 1} for name in PARTS} | {"burn_in": {"share": 1, "bar_share": 1, "arrows": 2}, "camera_pixel_px": 1.2}
    scene = sample(config(**detector), 3)
    assert all(getattr(scene.detector, name) is not None for name in PARTS) and scene.detector.burn_in
    again = Scene.from_json(scene.to_json())
    assert again.detector == scene.detector and again.to_json() == scene.to_json()
    first, second = simulate(scene), simulate(again)
    assert np.array_equal(first.image, second.image)
    kinds = [d.kind for d in first.distractors]
    assert kinds.count("text") == len(scene.detector.burn_in) and "edge" in kinds


def test_a_scene_written_before_cameras_had_parts_is_read_as_it_was():
    scene = sample(config(**NONE), 3)
    fields = json.loads(scene.to_json())
    for name in (*PARTS, "burn_in", "camera_pixel_px"):
        del fields["detector"][name]
    assert Scene.from_json(json.dumps(fields)).detector == scene.detector


def test_blur_is_in_the_labels_and_not_in_the_stored_intensity():
    scene = sample(config(**NONE), 4)
    sharp = simulate(scene)
    soft = simulate(scene.replace(detector=Detector(noise_seed=1, blur=Blur(defocus_sigma_px=2.0))))
    assert np.array_equal(sharp.intensity, soft.intensity)
    for a, b in zip(sharp.lines, soft.lines):
        assert (b.half_width_px > a.half_width_px).all() and (np.abs(b.contrast) <= np.abs(a.contrast)).all()


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        ({"noise": {"fracton": 0.1}}, "detector.noise.fracton must be a known key, got an unknown one; did you mean detector.noise.fraction"),
        ({"noise": 3}, "detector.noise must be a mapping"),
        ({"noise": {"share": 2}}, r"detector.noise.share must lie in \[0, 1\], got 2"),
        ({"burn_in": {"size_fraction": {"uniform": [-1, 2]}}}, "detector.burn_in.size_fraction must be a number >= 0, got -1"),
        ({"recording": {"gamma": "x"}}, "detector.recording.gamma must be a number >= 0, got x"),
    ],
)
def test_bad_cameras_are_refused_before_anything_is_drawn(detector, message):
    with pytest.raises(InputError, match=message) as error:
        config(**detector)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        ({"noise": {"fraction": 5}}, r"detector.noise.fraction must lie in \[0, 1\], got 5"),
        ({"noise": {"fraction": 0.1, "colour": 1}}, "detector.noise must have only the keys"),
        ({"noise": 5}, "detector.noise must be a JSON object"),
        ({"burn_in": [{"kind": "text", "text": "a", "at_px": [1, 2]}]}, r"detector.burn_in\[0\] must have size_px"),
        ({"burn_in": {"kind": "text"}}, "detector.burn_in must be a list"),
        ({"recording": {"gamma": 0}}, "detector.recording.gamma must lie in"),
    ],
)
def test_bad_parts_of_a_scene_file_are_refused_by_name(detector, message):
    fields = json.loads(sample(config(**NONE), 3).to_json())
    fields["detector"] |= detector
    with pytest.raises(InputError, match=message):
        Scene.from_json(json.dumps(fields))


def test_detectors_take_only_their_own_nouns():
    with pytest.raises(InputError, match="detector.noise must be a CorrelatedNoise or null"):
        Detector(noise=Recording())
    with pytest.raises(InputError, match="detector.burn_in must be a list of marks"):
        Detector(burn_in=(CorrelatedNoise(fraction=0.1),))
    assert Detector(burn_in=[Mark(kind="text", text="a", at_px=(1, 1), size_px=9)]).burn_in[0].text == "a"
