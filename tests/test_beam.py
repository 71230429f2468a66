"""The two-beam orientation: axes, sense of rotation, sign of s (conventions, rows 1 to 5, 11, 12)."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physics.beam import (
    BeamCondition,
    check_reflection,
    excitation_error,
    excitation_error_of_ng,
    foil_normal_image,
    g_image_inv_nm,
    image_from_crystal,
    xi_g_nm,
)
from physics.contrast.beams import beam_set
from physics.crystal import Crystal
from physics.electron import wavelength_nm
from physics.errors import InputError
from physics.foil import Foil
from physics.scattering import extinction_distance_nm

CASES = [
    ("al", (2, 0, 0), (0, 1, 1)), ("al", (-1, 1, 1), (1, 0, 1)), ("w", (1, -1, 0), (1, 1, 1)),
    ("ti", (0, 0, 2), (1, 0, 0)), ("ti", (1, 0, 1), (0, 1, 0)), ("ti", (1, 1, -2), (1, 1, 1)), ("si", (2, -2, 0), (1, 1, 1)),
]  # fmt: skip
S = st.floats(-0.05, 0.05)


def beam_of(g_hkl=(2, 0, 0), zone=(0, 1, 1), **kwargs):
    return BeamCondition(g_hkl=g_hkl, zone_axis_uvw=zone, **kwargs)


def wave_vector_inv_nm(beam):
    """K along the propagation direction, down the column."""
    return np.array([0.0, 0.0, -1 / wavelength_nm(beam.voltage_kV)])


@pytest.mark.parametrize("name, g_hkl, zone", CASES)
@pytest.mark.parametrize("rotation_deg", [0.0, 33.0, -170.0])
def test_orientation_is_a_proper_rotation(name, g_hkl, zone, rotation_deg):
    beam = beam_of(g_hkl, zone, image_rotation_deg=rotation_deg, s_inv_nm=0.02)
    rotation = image_from_crystal(Crystal.from_material(name), beam)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize("name, g_hkl, zone", CASES)
def test_g_projects_on_plus_x_and_the_zone_axis_points_to_the_gun(name, g_hkl, zone):
    crystal = Crystal.from_material(name)
    beam = beam_of(g_hkl, zone)
    g = g_image_inv_nm(crystal, beam)
    assert g[0] > 0 and abs(g[1]) < 1e-12 * g[0]
    zone_image = image_from_crystal(crystal, beam) @ crystal.direction_nm(zone)
    tilt_rad = np.arccos(zone_image[2] / np.linalg.norm(zone_image))
    # at s = 0 the lattice planes stand at the Bragg angle to the beam
    assert np.sin(tilt_rad) == pytest.approx(wavelength_nm(200) * np.linalg.norm(g) / 2)


def test_crystal_at_the_zone_axis_is_seen_as_its_projection():
    # B = [001] up, g = 200 to the right: then [010] is up in the image, seen from the gun
    rotation = image_from_crystal(Crystal.from_material("al"), beam_of((2, 0, 0), (0, 0, 1)))
    np.testing.assert_allclose(rotation @ [0, 1, 0], [0, 1, 0], atol=1e-14)


@pytest.mark.parametrize("rotation_deg", [0, 10, 90, 200, -45])
def test_image_rotation_is_anticlockwise_as_seen(rotation_deg):
    g = g_image_inv_nm(Crystal.from_material("al"), beam_of(image_rotation_deg=rotation_deg))
    seen_deg = np.degrees(np.arctan2(g[1], g[0]))  # x right, y up, z toward the viewer
    assert (seen_deg - rotation_deg + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)


@settings(deadline=None)
@given(case=st.sampled_from(CASES), s=S, rotation_deg=st.floats(-180, 180), voltage_kV=st.sampled_from([80, 200, 300]))
def test_tilt_gives_exactly_the_excitation_error_asked_for(case, s, rotation_deg, voltage_kV):
    name, g_hkl, zone = case
    beam = beam_of(g_hkl, zone, s_inv_nm=s, image_rotation_deg=rotation_deg, voltage_kV=voltage_kV)
    g = g_image_inv_nm(Crystal.from_material(name), beam)
    # K + g cancels digits of |K| = 400 1/nm: 1e-12 of it is the floor
    assert excitation_error(wave_vector_inv_nm(beam), g) == pytest.approx(s, abs=1e-11)


@pytest.mark.parametrize("s", [-0.03, -0.001, 0.001, 0.03])
def test_s_is_positive_when_g_lies_inside_the_ewald_sphere(s):
    beam = beam_of(s_inv_nm=s)
    to_tip = wave_vector_inv_nm(beam) + g_image_inv_nm(Crystal.from_material("al"), beam)  # from the sphere's centre
    assert (np.linalg.norm(to_tip) < 1 / wavelength_nm(200)) == (s > 0)


def test_excitation_error_is_the_distance_to_the_sphere():
    beam = beam_of(s_inv_nm=0.02)
    k = wave_vector_inv_nm(beam)
    g = g_image_inv_nm(Crystal.from_material("al"), beam)
    radius = np.linalg.norm(k)
    distance = radius - np.linalg.norm(k + g)
    # s (|K| + |K + g|) / 2 |K + g| = distance exactly: they differ by s / 2 |K|
    assert excitation_error(k, g) == pytest.approx(distance, rel=1e-4)


def test_excitation_error_of_many_vectors_at_once():
    k = np.array([0.0, 0.0, -400.0])
    g = np.array([[5.0, 0.0, 0.0], [5.0, 0.0, 0.05], [-5.0, 0.0, 0.05]])
    s = excitation_error(k, g)
    assert s.shape == (3,) and s[0] < 0 < s[1] and s[1] == s[2]


def test_more_s_is_more_tilt_of_g_toward_the_gun():
    al = Crystal.from_material("al")
    heights = [g_image_inv_nm(al, beam_of(s_inv_nm=s))[2] for s in (-0.02, 0.0, 0.02)]
    assert heights[0] < heights[1] < heights[2] and heights[1] > 0


def test_minus_g_and_half_a_turn_of_the_image_are_the_same_orientation_at_the_zone_axis():
    # the half turn takes +g to where -g was; only the tilt to s differs, by twice the Bragg angle
    al = Crystal.from_material("al")
    half = image_from_crystal(al, beam_of((2, 0, 0), image_rotation_deg=180))
    minus = image_from_crystal(al, beam_of((-2, 0, 0)))
    angle_rad = np.arccos((np.trace(half @ minus.T) - 1) / 2)
    g_inv_nm = np.linalg.norm(al.reciprocal_vector_inv_nm((2, 0, 0)))
    assert angle_rad == pytest.approx(2 * np.arcsin(wavelength_nm(200) * g_inv_nm / 2))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5.5])
def test_in_g_ng_the_nth_reflection_is_on_the_sphere(n):
    al = Crystal.from_material("al")
    s = excitation_error_of_ng(al, (2, 2, 0), 200, n)
    g_inv_nm = np.linalg.norm(al.reciprocal_vector_inv_nm((2, 2, 0)))
    assert s == pytest.approx((n - 1) * wavelength_nm(200) * g_inv_nm**2 / 2)  # conventions, row 5
    beam = beam_of((2, 2, 0), (0, 0, 1), s_inv_nm=s)
    if n:
        s_ng = excitation_error(wave_vector_inv_nm(beam), n * g_image_inv_nm(al, beam))
        # (g, ng) is the lowest order in lambda g of the exact sphere
        assert abs(s_ng) <= n**2 * (wavelength_nm(200) * g_inv_nm) ** 2 * abs(s) + 1e-11


@given(uvw=st.tuples(*[st.integers(-4, 4)] * 3), case=st.sampled_from(CASES))
def test_g_dot_b_is_the_same_in_the_image_and_in_indices(uvw, case):
    name, g_hkl, zone = case
    crystal = Crystal.from_material(name)
    beam = beam_of(g_hkl, zone, image_rotation_deg=12.0)
    b_image_nm = image_from_crystal(crystal, beam) @ crystal.direction_nm(uvw)
    assert g_image_inv_nm(crystal, beam) @ b_image_nm == pytest.approx(np.dot(g_hkl, uvw), abs=1e-11)


def test_an_s_beyond_every_tilt_is_refused():
    # the longest step inside the sphere is g itself, here 0.28 1/nm < s
    beam = beam_of((1, 0, 0), (0, 0, 1), s_inv_nm=0.5)
    with pytest.raises(InputError, match="s_inv_nm"):
        image_from_crystal(_wide_crystal(3.6), beam)


def test_foil_normal_defaults_to_the_beam_and_turns_with_the_crystal():
    al = Crystal.from_material("al")
    beam = beam_of((2, 0, 0), (0, 1, 1))
    np.testing.assert_array_equal(foil_normal_image(al, beam, Foil(thickness_nm=100)), [0, 0, 1])
    normal = foil_normal_image(al, beam, Foil(thickness_nm=100, normal_uvw=(0, 1, 2)))
    assert np.linalg.norm(normal) == pytest.approx(1)
    # angle between [011] and [012] is acos(3 / sqrt(10)); the tilt to s turns about y and leaves n_y alone
    assert abs(normal[1]) == pytest.approx(1 / np.sqrt(10))
    wanted = image_from_crystal(al, beam) @ np.array([0, 1, 2]) / np.sqrt(5)
    np.testing.assert_allclose(normal, wanted, atol=1e-14)


@pytest.mark.parametrize("normal_uvw", [(0, -1, -1), (1, 0, 0), (0, 1, -1), (0, 0, -1)])
def test_a_foil_normal_that_does_not_point_up_the_column_is_refused(normal_uvw):
    with pytest.raises(InputError, match="normal_uvw must have n.B > 0"):
        foil_normal_image(Crystal.from_material("al"), beam_of(), Foil(thickness_nm=100, normal_uvw=normal_uvw))


def test_extinction_distance_is_computed_or_overridden():
    al = Crystal.from_material("al")
    assert xi_g_nm(al, beam_of()) == extinction_distance_nm(al, (2, 0, 0), 200)
    assert xi_g_nm(al, beam_of(xi_g_nm=50)) == 50.0


@pytest.mark.parametrize(
    "name, g_hkl, zone", [("al", (1, 0, 0), (0, 0, 1)), ("w", (1, 1, 1), (1, -1, 0)), ("ti", (0, 0, 1), (1, 0, 0))]
)
def test_forbidden_reflection_is_refused_with_field_rule_and_value(name, g_hkl, zone):
    with pytest.raises(InputError) as caught:
        check_reflection(Crystal.from_material(name), beam_of(g_hkl, zone))
    message = str(caught.value)
    assert "beam.g_hkl must be allowed in" in message and str(list(g_hkl)) in message and "\n" not in message


@pytest.mark.parametrize("name, g_hkl, zone", CASES)
def test_allowed_reflection_passes(name, g_hkl, zone):
    check_reflection(Crystal.from_material(name), beam_of(g_hkl, zone))


@pytest.mark.parametrize(
    "change, field",
    [
        ({"g_hkl": (0, 0, 0)}, "g_hkl"), ({"g_hkl": (0, 2, 0)}, "g_hkl"), ({"g_hkl": (0.5, 0, 0)}, "g_hkl"),
        ({"zone_axis_uvw": (0, 0, 0)}, "zone_axis_uvw"), ({"voltage_kV": -200}, "voltage_kV"),
        ({"s_inv_nm": float("nan")}, "s_inv_nm"), ({"image": "haadf"}, "image"), ({"xi_g_nm": 0}, "xi_g_nm"),
        ({"xi_g_prime_over_xi_g": 0.5}, "xi_g_prime_over_xi_g"),
    ],
)  # fmt: skip
def test_beam_condition_refuses_what_is_not_one(change, field):
    with pytest.raises(InputError, match=f"beam.{field} must"):
        BeamCondition(**{"g_hkl": (2, 0, 0), "zone_axis_uvw": (0, 1, 1), **change})


def _wide_crystal(a_nm: float) -> Crystal:
    """A simple cubic crystal of `a_nm`: nothing in the tables has so short a g."""
    al = Crystal.from_material("al")
    return Crystal(
        material="wide", structure="fcc", lattice_nm=a_nm * np.eye(3), basis_positions=[[0, 0, 0]],
        basis_compositions=al.basis_compositions[:1], stiffness_GPa=al.stiffness_GPa,
    )  # fmt: skip


def test_debye_waller_damps_elastic_couplings_and_is_off_unless_asked_for():
    cold, warm = (beam_of(debye_waller=asked) for asked in (False, True))
    crystal = Crystal.from_material("al")
    b_nm2 = dict(crystal.debye_waller_nm2)["Al"]
    s_sq = (np.linalg.norm(crystal.reciprocal_vector_inv_nm((2, 0, 0))) / 2) ** 2
    assert beam_of() == cold
    assert xi_g_nm(crystal, warm) == pytest.approx(xi_g_nm(crystal, cold) * math.exp(b_nm2 * s_sq), rel=1e-12)
    row = (0, 1, 2)
    still, moving = (beam_set(crystal, beam_of(debye_waller=asked, row=row)) for asked in (False, True))
    ratio = moving.coupling_inv_nm[0, 1:] / still.coupling_inv_nm[0, 1:]
    assert ratio == pytest.approx(np.exp(-b_nm2 * s_sq * np.array([1, 4])), rel=1e-12)


def test_debye_waller_is_refused_without_b_or_beside_a_given_extinction_distance():
    with pytest.raises(InputError, match="beam.debye_waller must be false where beam.xi_g_nm is given"):
        beam_of(debye_waller=True, xi_g_nm=50)
    bare = replace(Crystal.from_material("al"), debye_waller_nm2=())
    with pytest.raises(InputError, match="hold B of every element"):
        xi_g_nm(bare, beam_of(debye_waller=True))
