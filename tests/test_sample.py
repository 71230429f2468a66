"""Sampling: valid scenes of every kind, from a seed, and refusals in one line."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from physics.beam import BeamCondition, beam_absorption_nm, excitation_error_of_ng, image_from_crystal
from physics.crystal import Crystal
from physics.deposit import Deposit
from physics.errors import InputError
from physics.frames import pixel_from_image
from physics.junction import open_ends
from physics.network import Network
from physics.networkio import write_paradis
from physics.scattering import extinction_distance_nm
from render import simulate
from render.burn_in import Mark
from render.conditions import condition_of_series, draw_beam
from render.config import compose
from render.draw import Fixed
from render.foil import foil_heights
from render.mixture import crossing_pairs
from render.mixture_config import KINDS
from render.sample import sample, under_condition
from render.sample_config import BeamConfig, SampleConfig
from render.scene import Scene
from render.space import Space
from render.surroundings_config import CLEAN

SMALL = {"shape": [96, 128]}


def config(kind="realistic", **more):
    scene = {"kind": kind} | more.pop("scene", {})
    return SampleConfig.from_dict(SMALL | {"scene": scene} | more)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_lines_inside_the_field_that_end_on_faces_or_outside(kind):
    for index in range(3):
        scene = sample(config(kind), 11, index)
        entering = 0
        for line in scene.dislocations:
            points_px = pixel_from_image(line.points_nm, scene.shape, scene.pixel_nm)
            inside = ((points_px > -0.5) & (points_px < np.array(scene.shape[::-1]) - 0.5)).all(axis=1)
            entering += line.kind != "slip_trace" and inside.any()
        for i, end in open_ends(scene.dislocations):  # a line under a film ends in the node where its trace begins
            x, y, z = scene.dislocations[i].points_nm[end]
            entrance_nm, exit_nm = foil_heights(scene.crystal, scene.beam, scene.foil, np.array([x]), np.array([y]))
            on_face = min(abs(z - entrance_nm[0]), abs(z - exit_nm[0])) < 0.01
            place_px = pixel_from_image(scene.dislocations[i].points_nm[end][None], scene.shape, scene.pixel_nm)[0]
            assert on_face or not ((place_px > -0.5) & (place_px < np.array(scene.shape[::-1]) - 0.5)).all()
        assert entering >= KINDS[kind].min_lines


@pytest.mark.parametrize("kind", ["pileup", "bowout", "dipole"])
def test_glide_sources_lie_in_their_plane_with_b_in_it(kind):
    scene = sample(config(kind), 5)
    for line in scene.dislocations:
        if line.kind == "slip_trace":
            continue
        assert line.glissile and np.dot(line.plane_hkl, line.burgers_uvw) == pytest.approx(0, abs=1e-9)


def test_a_glide_source_moved_out_of_its_plane_is_refused():
    scene = sample(config("bowout"), 5)
    line = scene.dislocations[0]
    bent = line.points_nm + np.array([0, 0, 1]) * np.linspace(0, 1, len(line.points_nm))[:, None] ** 2 * 5
    fields = {"burgers_uvw": line.burgers_uvw, "plane_hkl": line.plane_hkl, "kind": line.kind, "glissile": True}
    with pytest.raises(InputError, match="must lie in the declared slip plane"):
        scene.replace(dislocations=(type(line)(points_nm=bent, **fields),))


def test_the_same_seed_and_index_give_the_same_scene_and_others_do_not():
    first = sample(config(), 7, 3).to_json()
    assert sample(config(), 7, 3).to_json() == first
    assert sample(config(), 7, 4).to_json() != first
    assert sample(config(), 8, 3).to_json() != first


def test_a_sampled_scene_survives_json():
    scene = sample(config(), 2, 1)
    assert Scene.from_json(scene.to_json()).to_json() == scene.to_json()


def test_crossings_cross():
    for index in range(4):
        scene = sample(config("crossings", shape=[192, 256]), 9, index)
        specimen = Space.of(scene.crystal, scene.foil, scene.beam, scene.shape, scene.pixel_nm)
        assert crossing_pairs(list(scene.dislocations), specimen) >= KINDS["crossings"].min_crossings


def test_lines_of_a_pile_up_on_one_plane_do_not_cross():
    for index in range(6):
        only = {"pileups": {"count": 1}, "min_lines": 2}
        scene = sample(config("pileup", scene=only, shape=[256, 256]), 21, index)
        specimen = Space.of(scene.crystal, scene.foil, scene.beam, scene.shape, scene.pixel_nm)
        assert crossing_pairs([line for line in scene.dislocations if line.kind != "slip_trace"], specimen) == 0


def test_random_lines_have_the_density_asked_for():
    """Mean length a volume over images; few lines an image, so that one image alone says little."""
    wanted_inv_m2 = 1e14
    fixed = {"foil": {"thickness_nm": 150, "tilt_deg": 0, "taper_nm": 0, "bend_mrad": 0}, "pixel_nm": 4.0, "material": "al"}
    source = {"glide": {"density_inv_m2": None}, "threading": {"density_inv_m2": wanted_inv_m2}, "min_lines": 0, "max_lines": 200}
    lengths_nm = []
    for index in range(12):
        scene = sample(config("random", scene=source, shape=[256, 256], **fixed), 1, index)
        specimen = Space.of(scene.crystal, scene.foil, scene.beam, scene.shape, scene.pixel_nm)
        lengths_nm.append(sum(specimen.length_in_field_nm(line.points_nm) for line in scene.dislocations))
    volume_nm3 = (256 * 4.0) ** 2 * 150
    assert np.mean(lengths_nm) / volume_nm3 * 1e18 == pytest.approx(wanted_inv_m2, rel=0.25)


def test_the_excitation_error_can_be_given_as_g_ng():
    scene = sample(config("loop", material="al", beam={"g_hkl": [2, 0, 0], "zone_axis_uvw": [0, 0, 1], "n": 3, "voltage_kV": 200}), 1)
    # s = (n - 1) lambda g^2 / 2 with lambda = 2.50793 pm and a = 0.40495 nm (conventions, rows 5 and 13).
    assert scene.beam.s_inv_nm == pytest.approx(2.50793e-3 * (2 / 0.40495) ** 2, rel=2e-3)


def test_hexagonal_indices_may_have_four_numbers():
    beam = {"g_hkl": [1, 0, -1, 0], "zone_axis_uvw": [0, 0, 0, 1]}
    scene = sample(config("loop", material="mg", beam=beam), 1)
    assert scene.beam.g_hkl == (1, 0, 0) and scene.beam.zone_axis_uvw == (0, 0, 1)


FLAT = {"tilt_deg": 0, "taper_nm": 0, "bend_mrad": 0}


def test_a_series_shows_one_specimen_under_several_reflections():
    beam = {"zone_axis_uvw": [0, 0, 1], "series": [[2, 0, 0], [0, 2, 0], {"g_hkl": [2, 2, 0], "image": "df"}]}
    scenes = [sample(config("loop", material="al", beam=beam, foil=FLAT), 4, index) for index in range(4)]
    assert [s.beam.g_hkl for s in scenes[:3]] == [(2, 0, 0), (0, 2, 0), (2, 2, 0)]
    assert scenes[2].beam.image == "df"
    crystal_frames = [
        np.concatenate([line.points_nm for line in s.dislocations]) @ image_from_crystal(s.crystal, s.beam) for s in scenes[:3]
    ]
    assert crystal_frames[1] == pytest.approx(crystal_frames[0], abs=1e-9)
    assert crystal_frames[2] == pytest.approx(crystal_frames[0], abs=1e-9)
    # The camera stays with the specimen: only the small tilt (degrees) is left between the images.
    middles = [np.concatenate([line.points_nm for line in s.dislocations])[:, :2] for s in scenes[:3]]
    assert np.abs(middles[1] - middles[0]).max() < 0.05 * np.abs(middles[0]).max() + 10
    assert scenes[0].detector.noise_seed != scenes[1].detector.noise_seed
    assert len(scenes[3].dislocations) > 0 and scenes[3].to_json() != scenes[0].to_json()


def test_no_specimen_of_a_series_has_surroundings_that_do_not_turn():
    beam = {"zone_axis_uvw": [0, 0, 1], "series": [[2, 0, 0], [0, 2, 0]]}
    assert all(sample(config("loop", material="al", beam=beam, foil=FLAT), 8, 2 * index).foil.smooth for index in range(40))


def test_deposits_turn_with_the_specimen_and_marks_of_the_first_condition_go(tmp_path):
    beam = {"zone_axis_uvw": [0, 0, 1], "g_hkl": [2, 0, 0], "s_inv_nm": 0.0}
    drawn = sample(config("loop", material="al", beam=beam, foil=FLAT, surroundings=None), 4)
    marks = (Mark(kind="text", at_px=(5, 5), size_px=8, text="g = 200"),)
    spot = Deposit(centre_nm=(100.0, 20.0), radius_nm=9, thickness_nm=20)
    first = drawn.replace(deposits=(spot,), detector=replace(drawn.detector, burn_in=marks))
    (tmp_path / "scene.json").write_text(first.to_json())
    series = {"beam": {"series": [[2, 0, 0], [0, 2, 0]]}}
    second = sample(SampleConfig.from_dict({"scene": {"kind": "file", "file": str(tmp_path / "scene.json")}} | series), 0, 1)
    turn = image_from_crystal(second.crystal, second.beam) @ image_from_crystal(first.crystal, first.beam).T
    height_nm = foil_heights(first.crystal, first.beam, first.foil, np.array([100.0]), np.array([20.0]))[0][0]
    assert second.deposits[0].centre_nm == pytest.approx((turn @ [100.0, 20.0, height_nm])[:2], abs=1e-9)
    # With this g on x the image is turned by far, and the spot's outline as its place.
    turned = under_condition(first, type(first.beam)(g_hkl=(0, 2, 0), zone_axis_uvw=(0, 0, 1))).deposits[0]
    spin = np.exp(1j * np.radians(turned.turn_deg - spot.turn_deg))
    assert abs(spin - 1) > 0.3 and complex(*turned.centre_nm) == pytest.approx(spin * complex(*spot.centre_nm), abs=4)
    assert first.detector.burn_in and not second.detector.burn_in


def test_an_entry_of_a_series_switches_the_row_on_and_off():
    entries = [{"row": None}, {"row": [0, 1, 2], "image": "df", "dark_field_of": 2}, {"g_hkl": [0, 2, 0]}]
    beam = {"zone_axis_uvw": [0, 0, 1], "g_hkl": [2, 0, 0], "row": [-1, 0, 1, 2], "image": "df", "dark_field_of": 1, "series": entries}
    beams = [sample(config("loop", material="al", beam=beam, foil=FLAT), 4, index).beam for index in range(3)]
    assert [(b.row, b.dark_field_of) for b in beams] == [(None, None), ((0, 1, 2), 2), ((-1, 0, 1, 2), 1)]
    assert all(b.beams_hkl is None and b.image == "df" for b in beams)


def test_a_tilted_specimen_keeps_its_line_ends_on_its_faces():
    beam = {"zone_axis_uvw": [0, 0, 1], "g_hkl": [2, 0, 0], "s_inv_nm": 0.0}
    scene = sample(config("pileup", material="al", beam=beam, foil=FLAT, surroundings=None), 3)
    other = under_condition(scene, type(scene.beam)(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1), s_inv_nm=0.05))
    assert other.foil.normal_uvw is not None  # would raise before this line if an end lay inside the foil


@pytest.mark.parametrize("shape", [{"bend_mrad": 30}, {"taper_nm": 60}])
def test_a_series_of_a_bent_or_wedged_foil_is_refused(shape):
    beam = {"zone_axis_uvw": [0, 0, 1], "series": [[2, 0, 0], [0, 2, 0]]}
    with pytest.raises(InputError, match="beam.series must look at a flat foil"):
        sample(config("pileup", material="al", beam=beam, foil=FLAT | shape), 1, 1)


def test_a_scene_file_is_read_again_when_it_changes(tmp_path):
    path = tmp_path / "scene.json"
    first, second = sample(config(), 2), sample(config(), 3)
    from_file = SampleConfig.from_dict({"scene": {"kind": "file", "file": str(path)}})
    for written_ns, scene in enumerate((first, second), start=10**9):
        path.write_text(scene.to_json(), encoding="utf-8")
        os.utime(path, ns=(written_ns, written_ns))
        assert sample(from_file, 9, 0).to_json() == scene.to_json()


def test_a_scene_file_is_rendered_as_it_stands(tmp_path):
    scene = sample(config(), 2)
    path = tmp_path / "scène #1 (a=b).json"
    path.write_text(scene.to_json(), encoding="utf-8")
    from_file = SampleConfig.from_dict({"scene": {"kind": "file", "file": str(path)}})
    assert sample(from_file, 9, 0).to_json() == scene.to_json()
    assert sample(from_file, 9, 1).detector.noise_seed != scene.detector.noise_seed
    path.write_text("{", encoding="utf-8")
    changed = SampleConfig.from_dict({"scene": {"kind": "file", "file": str(tmp_path / "other.json")}})
    with pytest.raises(InputError, match="scene.file must be a readable scene JSON file"):
        sample(changed, 9, 0)


def write_network(path):
    """A coarse wall of lines through a 600 nm box of aluminium, 1/2[1 1 0], closed through the box."""
    b_nm = np.array([0.5, 0.5, 0]) * 0.40495
    nodes, start, end = [], [], []
    for k in range(40):
        first = len(nodes)
        nodes += [[(k % 8) * 75 - 290, (k // 8) * 120 - 280 + 10 * m, z] for m, z in enumerate((-290, -140, 10, 160))]
        start += [first, first + 1, first + 2, first + 3]
        end += [first + 1, first + 2, first + 3, first]
    count = len(start)
    write_paradis(Network(
        nodes_nm=nodes, constraint=np.zeros(len(nodes), int), start=start, end=end, burgers_nm=np.tile(b_nm, (count, 1)),
        plane_normal=np.tile([1.0, -1.0, 1.0], (count, 1)), box_nm=[[-300] * 3, [300] * 3],
    ), path, 0.2863)  # fmt: skip


def test_views_of_a_network_are_redrawn_until_a_line_is_inside(tmp_path):
    write_network(tmp_path / "wall.data")
    scene = {"file": str(tmp_path / "wall.data"), "burgers_nm": 0.2863}
    for index in range(3):
        drawn = sample(config("network", scene=scene, pixel_nm=1.0, material="al"), 1, index)
        specimen = Space.of(drawn.crystal, drawn.foil, drawn.beam, drawn.shape, drawn.pixel_nm)
        assert max(specimen.length_in_field_nm(line.points_nm) for line in drawn.dislocations) >= 20
        assert all(np.array_equal(line.burgers_uvw, [0.5, 0.5, 0]) for line in drawn.dislocations)


def test_the_material_of_a_network_may_be_found_among_several(tmp_path):
    write_network(tmp_path / "wall.data")
    scene = {"file": str(tmp_path / "wall.data"), "burgers_nm": 0.2863}
    assert sample(config("network", scene=scene), 1).crystal.material == "al"
    with pytest.raises(InputError, match="fit .*al"):
        sample(config("network", scene=scene, material={"choice": ["ta", "w"]}), 1)


@pytest.mark.parametrize(
    ("scene", "more", "message"),
    [
        ({}, {}, "scene.file must name a ParaDiS"),
        ({"file": "WALL"}, {}, "scene.burgers_nm must be given"),
        ({"file": "WALL", "burgers_nm": -1}, {}, "scene.burgers_nm must lie in"),
        ({"file": "/nonexistent.data", "burgers_nm": 0.25}, {}, "scene.file must be a file that exists, got /nonexistent.data"),
        ({"file": "WALL", "burgers_nm": 0.2863}, {"pixel_nm": 6.0}, "no wider than the network's box"),
        ({"file": "WALL", "burgers_nm": 0.25}, {"pixel_nm": 1.0}, "lattice vector of al"),
        ({"file": "WALL", "burgers_nm": 0.2863}, {"pixel_nm": 1.0, "material": "ta"}, "lattice vector of ta"),
    ],
)
def test_networks_that_cannot_be_cut_are_refused(tmp_path, scene, more, message):
    write_network(tmp_path / "wall.data")
    scene = {k: str(tmp_path / "wall.data") if v == "WALL" else v for k, v in scene.items()}
    with pytest.raises(InputError, match=message) as error:
        sample(config("network", scene=scene, **({"material": "al"} | more)), 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"foil": {"thickness_nm": -20}}, "foil.thickness_nm must be > 0, got -20"),
        ({"foil": {"thicknes_nm": 20}}, "foil.thicknes_nm must be a known key, got an unknown one; did you mean foil.thickness_nm"),
        ({"no_such_key": 1}, "no_such_key must be a known key"),
        ({"beam": {"g_hkl": [0, 0, 0]}}, r"beam.g_hkl must not be \[0, 0, 0\]"),
        ({"beam": {"g_hkl": [1, 0, 0]}, "material": "al"}, "beam.g_hkl must be a reflection that the fcc lattice of al allows"),
        ({"beam": {"s_inv_nm": 0.1, "n": 3}}, "beam.n must be left out where beam.s_inv_nm is given"),
        ({"beam": {"image": "haadf"}}, 'beam.image must be "bf" or "df", got haadf'),
        ({"beam": {"series": [{"gg": 1}]}}, r"beam.series\[0\] must have only the keys"),
        ({"material": "unobtainium"}, "unobtainium"),
        ({"pixel_nm": 0}, "pixel_nm must be > 0, got 0"),
        ({"shape": [4, 4]}, "shape must be two whole numbers"),
        ({"scene": {"kind": "forest"}}, "scene.kind must be one of realistic"),
        ({"scene": {"pileups": {"lines": 0}}}, "scene.pileups.lines must be >= 1, got 0"),
        ({"scene": {"family": "bcc_110_111"}, "material": "al"}, "slip family must be one of"),
        ({"scene": 3}, "scene must be a mapping"),
    ],
)
def test_bad_values_are_refused_in_one_line_before_anything_is_drawn(values, message):
    with pytest.raises(InputError, match=message) as error:
        SampleConfig.from_dict(values)
    assert "\n" not in str(error.value)


def test_a_reflection_outside_its_zone_is_refused():
    beam = {"g_hkl": [2, 0, 0], "zone_axis_uvw": [1, 0, 0]}
    with pytest.raises(InputError, match=r"beam.g_hkl must lie in the zone \[1, 0, 0\]"):
        sample(config(material="al", beam=beam), 1)


@pytest.mark.parametrize("kind", ["default", *KINDS])
def test_the_configuration_files_show_the_defaults_of_the_code(kind):
    chosen = [] if kind == "default" else [f"scene={kind}"]
    from_files = SampleConfig.from_dict(compose("render", ["out=x", *chosen], ["out"]))
    assert from_files == SampleConfig.from_dict({} if kind == "default" else {"scene": {"kind": kind}})


def test_a_clean_foil_in_a_file_is_that_of_the_code():
    assert SampleConfig.from_dict(compose("render", ["out=x", "surroundings=none"], ["out"])).surroundings == CLEAN


def test_thicknesses_and_pixels_lie_within_their_limits_not_on_them():
    """What was held at a limit made one foil of many: 37 of 100 were 400 nm thick."""
    drawn = [sample(config("loop", shape=[64, 64]), 5, i) for i in range(60)]
    for values, (least, most) in (([s.foil.thickness_nm for s in drawn], (70, 400)), ([s.pixel_nm for s in drawn], (0.4, 5))):
        assert least < min(values) and max(values) < most and len(set(values)) == len(values)
    passing = [math.exp(-2 * math.pi * s.foil.thickness_nm / beam_absorption_nm(s.crystal, s.beam)[0]) for s in drawn]
    assert min(passing) >= 0.02


def test_a_fixed_number_beyond_its_limits_is_held_at_them():
    assert sample(config("loop", material="al", foil={"thickness_xi": 20, "least_transmission": 1e-9}), 1).foil.thickness_nm == 400
    assert sample(config("loop", material="al", line_width_px=0.2), 1).pixel_nm == 5


@pytest.mark.parametrize("material", ["mo", "ti", "al", "si", "gaas", "mgo"])
def test_no_reflection_of_two_beams_is_drawn_where_a_lower_order_is_excited_too(material):
    """Where ng satisfies Bragg's law, g has a share 1 / (1 + (s xi_g)^2): such reflections belong to rows, unless g is weak."""
    crystal, rng, drawn = Crystal.from_material(material), np.random.default_rng(2), set()
    for _ in range(200):
        beam = draw_beam(BeamConfig(voltage_kV=Fixed(200)), crystal, rng)
        g = np.array(beam.g_hkl)
        drawn.add(tuple(sorted(np.abs(g).tolist())))
        assert extinction_distance_nm(crystal, g, 200) < 200
        for n in range(2, int(np.gcd.reduce(np.abs(g))) + 1):
            if not (g % n).any() and crystal.is_allowed_reflection(g // n):
                w = excitation_error_of_ng(crystal, g // n, 200, n) * extinction_distance_nm(crystal, g // n, 200)
                assert 1 / (1 + w**2) < 0.1
    assert (0, 0, 4) in drawn or material != "gaas"  # 200 of GaAs is too weak to matter


def test_a_series_keeps_the_mean_absorption_of_its_specimen():
    al = Crystal.from_material("al")
    first = BeamCondition(g_hkl=(1, 1, 1), zone_axis_uvw=(0, 1, -1), xi_g_nm=100.0, xi_g_prime_over_xi_g=12)
    again = condition_of_series([2, 0, 0], al, first, "beam.series[1]")
    assert beam_absorption_nm(al, again)[0] == pytest.approx(beam_absorption_nm(al, first)[0]) == pytest.approx(1000)


@pytest.mark.parametrize("group", ["material=ti", "beam=bf", "beam=df", "beam=weak_beam", "foil=flat", "detector=clean"])
def test_every_choice_of_a_group_gives_a_scene(group):
    values = compose("render", ["out=x", "shape=[96,128]", "scene=bowout", group], ["out"])
    assert sample(SampleConfig.from_dict(values), 1).dislocations


@pytest.mark.skipif("GDOTB_REAL_DATA" not in os.environ, reason="GDOTB_REAL_DATA names no folder")
@pytest.mark.parametrize(
    ("file", "burgers_nm", "material", "shape"),
    [("ParaDiS/rs1417.data", 0.2856867, "ta", [192, 192]), ("OpenDiS/180chains_16.10e.data", 0.255, "cu", [512, 512])],
)
def test_foils_of_real_networks_have_lines_inside(file, burgers_nm, material, shape):
    path = Path(os.environ["GDOTB_REAL_DATA"]) / "ddd" / file
    drawn = sample(config("network", scene={"file": str(path), "burgers_nm": burgers_nm}, material=material, shape=shape), 3)
    specimen = Space.of(drawn.crystal, drawn.foil, drawn.beam, drawn.shape, drawn.pixel_nm)
    lengths_px = [specimen.length_in_field_nm(line.points_nm) / drawn.pixel_nm for line in drawn.dislocations]
    assert max(lengths_px) >= 20  # NetworkScene.shortest_px


def test_convergence_comes_by_chance_with_two_beams_alone():
    """More beams, or the inelastic electrons of an aperture, take hundreds of plane waves for each cone: asked for, not drawn."""
    drawn = [sample(config("loop"), 3, i).beam.convergence_mrad for i in range(12)]
    assert 2 < sum(c > 0 for c in drawn) < 11 and max(drawn) <= 5
    for more in ({"row": [-1, 0, 1]}, {"beams_hkl": [[0, 0, 0], [2, 0, 0], [0, 2, 0]], "g_hkl": [2, 0, 0], "zone_axis_uvw": [0, 0, 1]}, {"aperture_mrad": 3}):
        assert all(sample(config("loop", material="al", beam=more, foil={"bend_mrad": 0}), 3, i).beam.convergence_mrad == 0 for i in range(4))
        assert sample(config("loop", material="al", beam=more | {"convergence_mrad": 0.5}, foil={"bend_mrad": 0}), 3).beam.convergence_mrad == 0.5


def test_surroundings_leave_lines_and_beam_as_they_are():
    smooth = {"edge_share": 0, "boundary_share": 0, "roughness_nm": 0, "terrace_step_nm": 0, "hole_share": 0, "film_depth_nm": None}
    bare, full = (sample(config("pileup", surroundings=s), 3, 1) for s in (None, smooth | {"deposits": 200}))
    assert [line.points_nm.tolist() for line in bare.dislocations] == [line.points_nm.tolist() for line in full.dislocations]
    assert bare.beam == full.beam and not bare.deposits and full.deposits


def test_rough_and_torn_foils_hold_their_lines():
    """Lines cut at rough faces, ragged edges and boundaries end on them: a Scene refuses an open end inside."""
    rough = {"roughness_nm": 2, "terrace_step_nm": 4, "edge_share": 1, "hole_share": 1, "boundary_share": 1, "taper_px": 4}
    scenes = [sample(config("realistic", surroundings=rough), 5, index) for index in range(6)]
    assert all(len(s.foil.openings) == 2 and s.foil.boundary is not None and s.dislocations for s in scenes)


def test_slip_bands_run_through_the_field_on_both_faces_and_are_no_lines():
    """Their lines lie outside; in each band both traces hold the same whole number of b, and nothing without a film."""
    bare = {"hole_share": 0, "edge_share": 0, "boundary_share": 0, "tear_share": 0, "roughness_nm": 0, "terrace_step_nm": 0}
    sources = {"slip_bands": {"count": 1, "bands": 2, "spacing_px": 30, "lines": 3}, "min_lines": 0, "count_field_px": None, "visible_share": 1}
    none = {name: {"count": 0} for name in ("pileups", "bowouts", "glide", "threading", "dipoles", "loops", "fault_bands")}
    for film_nm, roughness_nm, index in ((1.5, 0, 0), (1.5, 0, 1), (1.5, 0.3, 1), (None, 0, 0)):
        around = bare | {"film_depth_nm": film_nm, "roughness_nm": roughness_nm}
        drawn = sample(config(material="al", scene=none | sources, foil={"bend_mrad": 0, "taper_nm": 0}, surroundings=around), 4, index)
        if film_nm is None:
            assert not drawn.dislocations
            continue
        traces = [d for d in drawn.dislocations if d.kind == "slip_trace"]
        lines = [d for d in drawn.dislocations if d.kind != "slip_trace"]
        assert len(traces) == 4 and len(lines) == 2
        half_nm = np.array(drawn.shape[::-1]) * drawn.pixel_nm / 2
        assert all((np.abs(line.points_nm[:, :2]) > half_nm).any(axis=1).all() for line in lines)
        for trace in traces:
            assert np.abs(trace.points_nm[[0, -1], :2] / half_nm).max(axis=1).min() > 1
            assert np.gcd.reduce(np.rint(2 * np.array(trace.burgers_uvw)).astype(int)) == 3  # three times a half <110>
        assert sorted(np.sign([trace.points_nm[len(trace.points_nm) // 2, 2] for trace in traces])) == [-1, -1, 1, 1]
        through = [trace for trace in traces if (np.abs(trace.points_nm[:, :2]) < half_nm).all(axis=1).any()]
        assert through and not simulate(drawn).lines
        assert any(distractor.kind == "slip_trace" for distractor in simulate(drawn).distractors)
