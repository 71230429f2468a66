"""Tableau: numbers of the invisibility criterion, a specimen that stays itself under tilt, contrast that follows the rule."""

import json

import numpy as np
import pytest

from physics.beam import BeamCondition, excitation_error, image_from_crystal
from physics.crystal import Crystal
from physics.electron import wavelength_nm
from physics.errors import InputError
from physics.frames import rotation_from_axes
from physics.gdotb import gdotb_table
from render.config import compose
from render.tableau import frame_of, tableau, write_tableau
from render.tableau_conditions import contrasts, foil_normal_crystal, straight_line, zone_axis_near

CU = Crystal.from_material("cu")


def planned(*overrides):
    return tableau(compose("tableau", ["out=none", *overrides], ("out",)))


def test_edge_lines_have_the_numbers_of_the_gdotb_table():
    for g in ((1, 1, 1), (2, 0, 0), (0, 2, 2)):
        for row in gdotb_table(CU, g):
            line = straight_line(CU, burgers_uvw=row.burgers_uvw, plane_hkl=row.plane_hkl, character_deg=90)
            told = contrasts(CU, line, g)
            assert told.g_dot_b == pytest.approx(row.g_dot_b) and told.g_dot_b_edge == pytest.approx(row.g_dot_b)
            assert abs(told.g_dot_b_cross_u) == pytest.approx(abs(row.g_dot_b_cross_xi)) and told.rule == row.edge


def test_g_dot_b_cross_u_of_an_edge_by_hand():
    # b = 1/2[1 -1 0], n = (111): u = n x b, b x u = |b| n^ up to sign; g = 111: |g| |b| = (sqrt 3 / a)(a / sqrt 2) = sqrt(3/2)
    told = contrasts(CU, straight_line(CU, burgers_uvw=(0.5, -0.5, 0), plane_hkl=(1, 1, 1), character_deg=90), (1, 1, 1))
    assert told.g_dot_b == 0 and abs(told.g_dot_b_cross_u) == pytest.approx(1.5**0.5) and told.rule == "residual"


def test_a_mixed_line_with_an_edge_part_along_g_is_not_invisible():
    line = straight_line(CU, burgers_uvw=(0.5, -0.5, 0), direction_uvw=(1, 0, 0))
    told = contrasts(CU, line, (2, 2, 0))
    # b_e = b - (b.u)u = 1/2[0 -1 0], so that g.b = 0 and g.b_e = -1
    assert told.g_dot_b == 0 and told.g_dot_b_edge == pytest.approx(-1) and told.rule == "residual"


def test_character_is_the_angle_from_b_to_the_line_in_the_plane():
    for degrees in (0, 30, 60, 90):
        line = straight_line(CU, character_deg=degrees)
        b_nm = CU.direction_nm(line.burgers_uvw)
        assert b_nm @ line.sense_crystal / np.linalg.norm(b_nm) == pytest.approx(np.cos(np.radians(degrees)), abs=1e-12)
        assert CU.reciprocal_vector_inv_nm(line.plane_hkl) @ line.sense_crystal == pytest.approx(0, abs=1e-12)


def test_the_specimen_stays_itself_while_it_is_tilted():
    line, normal, frames = planned("line=edge", "g=[[1,1,1],[2,0,0],[0,2,2]]", "s=[0,0.01]", "thickness=[90,150]")
    assert [scene.foil.thickness_nm for scene, _, _ in frames] == [90] * 6 + [150] * 6
    for scene, _, tilt in frames:
        rotation = image_from_crystal(CU, scene.beam)
        ends = scene.dislocations[0].points_nm
        along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
        np.testing.assert_allclose(rotation.T @ along, line.sense_crystal, atol=1e-12)
        foil = CU.direction_nm(scene.foil.normal_uvw)
        np.testing.assert_allclose(foil / np.linalg.norm(foil), normal, atol=1e-12)
        assert (rotation @ normal)[2] == pytest.approx(np.cos(np.radians(tilt)))
        k = np.array([0, 0, -1 / wavelength_nm(200)])
        assert excitation_error(k, rotation @ CU.reciprocal_vector_inv_nm(scene.beam.g_hkl)) == pytest.approx(scene.beam.s_inv_nm, abs=1e-9)
        relative = rotation @ rotation_from_axes(line.sense_crystal, normal).T
        assert relative[0, 1] == pytest.approx(relative[1, 0], abs=1e-9)  # a turn about an axis in the image: a tilt alone


def test_the_line_is_inclined_as_asked_for():
    line = straight_line(CU, character_deg=90)
    for degrees in (0.0, 25.0, 60.0):
        for zone in (None, (0, 1, -1)):
            normal = foil_normal_crystal(CU, line, [(1, 1, 1), (2, 0, 0)], degrees, zone)
            assert np.degrees(np.arcsin(abs(normal @ line.sense_crystal))) == pytest.approx(degrees, abs=1e-6)


def test_one_zone_axis_is_kept_and_must_hold_every_g():
    _, _, frames = planned("zone_axis=[0,1,-1]", "g=[[1,1,1],[2,0,0],[0,2,2]]")
    assert {scene.beam.zone_axis_uvw for scene, _, _ in frames} == {(0, 1, -1)}
    with pytest.raises(InputError, match="zone"):
        planned("zone_axis=[0,0,1]", "g=[[1,1,1]]")


def test_a_zone_axis_holds_g_and_is_the_nearest_within_the_detour():
    normal = CU.direction_nm((0, 0, 1))
    assert zone_axis_near(CU, normal, (2, 0, 0)) == (0, 0, 1)
    axis = zone_axis_near(CU, normal, (1, 1, 1))  # least tilt is 35.3 deg, to [-1 -1 2]
    assert axis == (-1, -1, 2)
    with pytest.raises(InputError, match="90 deg"):
        zone_axis_near(CU, normal, (0, 0, 2))


def test_labels_follow_the_rule_and_the_page_is_written(tmp_path):
    line, _, frames = planned("g=[[1,1,1],[2,0,0]]", "s=[0]", "thickness=[80]", "shape=[32,48]", "surfaces=false")
    made = [frame_of(*parts) for parts in frames]
    assert made[0].predicted.rule == "invisible" and made[0].contrast == pytest.approx(0, abs=1e-4) and made[0].visible_share == 0
    assert np.abs(made[0].ratio - 1).max() < 1e-4  # a screw with g.b = 0 in an endless crystal leaves no trace
    assert made[1].predicted.g_dot_b == 1 and made[1].contrast < -0.3 and made[1].ratio.min() < 0.7
    written = {path.name for path in write_tableau(tmp_path, line, made)}
    assert written == {"tableau_80nm.png", "tableau.json", "tableau.csv"}
    table = json.loads((tmp_path / "tableau.json").read_text())
    assert [row["g_dot_b"] for row in table["frames"]] == [0, 1] and len((tmp_path / "tableau.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("override, message", [
    ("line=foo", "screw, edge"), ("g=[[1,0,0]]", "structure factor"), ("s=[a]", "s must be a number"), ("thickness=-5", "thickness must be"),
    ("line={plane_hkl:[1,1,1],burgers_uvw:[0.5,0.5,0]}", "lie in the plane"), ("line={burgers_uvw:[0.3,0.1,0]}", "lattice vector"),
    ("material=varied", "material must be one of"), ("line={colour:red}", "only the keys"), ("line={inclination_deg:89}", "inclination_deg"),
])  # fmt: skip
def test_bad_input_is_refused_in_one_line(override, message):
    with pytest.raises(InputError, match=message):
        planned(override)


def test_the_beam_is_what_was_asked_for():
    _, _, frames = planned("g=[[2,0,0]]", "n=[1,3]", "image=df", "row=[-1,0,1,2,3]")
    beams = [scene.beam for scene, _, _ in frames]
    assert all(isinstance(beam, BeamCondition) and beam.row == (-1, 0, 1, 2, 3) and beam.image == "df" for beam in beams)
    g_inv_nm = 2 / CU.lattice_nm[0, 0]
    assert [beam.s_inv_nm for beam in beams] == pytest.approx([0, wavelength_nm(200) * g_inv_nm**2])  # (n - 1) lambda g^2 / 2, n = 3
