"""Foil height maps: closed forms of planes, parallel surfaces, and the bending of the lattice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from physics.beam import BeamCondition, foil_normal_image, g_image_inv_nm
from physics.crystal import Crystal
from physics.errors import InputError
from physics.foil import Foil
from physics.frames import column_positions_nm
from render.foil import FoilShape, foil_heights, foil_maps

AL = Crystal.from_material("al")
BEAM = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 1, 2), s_inv_nm=0.01)
SHAPE, PIXEL_NM = (61, 81), 4.0


def maps(beam: BeamCondition = BEAM, **foil):
    return foil_maps(AL, Foil(thickness_nm=100.0, **foil), beam, SHAPE, PIXEL_NM)


def grid():
    return np.meshgrid(*column_positions_nm(SHAPE, PIXEL_NM))


def slopes(z_nm: np.ndarray) -> tuple[float, float]:
    """dz/dx and dz/dy (y up) of the plane through `z_nm`; the residual must vanish."""
    x, y = grid()
    design = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=-1)
    fit, *_ = np.linalg.lstsq(design, z_nm.ravel(), rcond=None)
    assert np.abs(design @ fit - z_nm.ravel()).max() < 1e-9
    return fit[0], fit[1]


def test_untilted_flat_foil_runs_from_plus_to_minus_half_its_thickness():
    flat = maps()
    assert (flat.entrance_z_nm == 50).all() and (flat.exit_z_nm == -50).all()  # conventions 3
    assert (flat.thickness_nm == 100).all() and (flat.s_inv_nm == 0.01).all()


def test_thickness_of_a_tilted_foil_is_measured_along_its_normal():
    tilted = maps(normal_uvw=(1, 1, 3))
    cosine = foil_normal_image(AL, BEAM, Foil(thickness_nm=100.0, normal_uvw=(1, 1, 3)))[2]
    assert cosine < 0.99
    np.testing.assert_allclose(tilted.entrance_z_nm - tilted.exit_z_nm, 100 / cosine, rtol=1e-12)
    np.testing.assert_allclose(tilted.thickness_nm, 100, rtol=1e-12)
    assert (tilted.s_inv_nm == 0.01).all()


@pytest.mark.parametrize("normal_uvw", [None, (1, 1, 3)])
def test_faces_of_a_wedge_enclose_its_angle(normal_uvw):
    wedge = maps(wedge_deg=20.0, wedge_azimuth_deg=35.0, normal_uvw=normal_uvw)
    normals = [np.array([-sx, -sy, 1]) for sx, sy in (slopes(wedge.entrance_z_nm), slopes(wedge.exit_z_nm))]
    cosine = normals[0] @ normals[1] / np.linalg.norm(normals[0]) / np.linalg.norm(normals[1])
    assert np.degrees(np.arccos(cosine)) == pytest.approx(20, abs=1e-9)  # the angle asked for


def test_thickness_of_a_wedge_grows_along_its_azimuth_and_the_lattice_does_not_turn():
    wedge = maps(wedge_deg=10.0, wedge_azimuth_deg=35.0)
    sx, sy = slopes(wedge.thickness_nm)
    assert np.degrees(np.arctan2(sy, sx)) == pytest.approx(35, abs=1e-9)  # the azimuth asked for
    assert np.hypot(sx, sy) == pytest.approx(2 * np.tan(np.radians(5)), rel=1e-12)  # each face turns by half
    assert (wedge.s_inv_nm == 0.01).all()


def test_beyond_the_edge_of_a_wedge_there_is_no_foil():
    wedge = maps(wedge_deg=50.0)
    vacuum = wedge.thickness_nm == 0
    assert 0.05 < vacuum.mean() < 0.5
    assert (wedge.entrance_z_nm[vacuum] == wedge.exit_z_nm[vacuum]).all()
    assert (wedge.entrance_z_nm >= wedge.exit_z_nm).all() and not vacuum[:, -1].any()


def test_positive_curvature_is_a_dome_toward_the_gun():
    dome = maps(curvature_inv_um=0.5)
    x, _ = grid()
    middle_nm = (dome.entrance_z_nm + dome.exit_z_nm) / 2
    # z_mid = -k u^2 / 2 (physics/foil.py); the mean of the two faces differs from it by O(t^2 k^3 u^2).
    np.testing.assert_allclose(middle_nm, -0.5e-3 * x**2 / 2, atol=0.02)


@settings(max_examples=15, deadline=None)
@given(
    along=st.floats(-2, 2), across=st.floats(-2, 2), azimuth=st.floats(-180, 180),
    normal=st.sampled_from([None, (1, 1, 3), (0, 1, 1)]),
)  # fmt: skip
def test_faces_of_a_bent_foil_stand_half_a_thickness_off_its_mid_surface(along, across, azimuth, normal):
    foil = Foil(thickness_nm=100.0, curvature_inv_um=along, cross_curvature_inv_um=across,
                curvature_azimuth_deg=azimuth, normal_uvw=normal)  # fmt: skip
    placed = FoilShape(foil=foil, normal_image=foil_normal_image(AL, BEAM, foil))
    fine = np.stack(np.meshgrid(np.arange(-60, 60, 0.5), np.arange(-60, 60, 0.5)), axis=-1).reshape(-1, 2)
    surface = cKDTree(np.column_stack([fine, placed.mid_z_nm(fine[:, 0], fine[:, 1])]))
    x, y = np.array([-8.0, 0.0, 5.0]), np.array([3.0, 0.0, -9.0])
    for side in (1, -1):
        distance, _ = surface.query(np.column_stack([x, y, placed.face_z_nm(x, y, side)]))
        # A grid of 0.5 nm misses the nearest point by 0.5 nm at most: 0.5^2 / (2 * 50) = 0.0025 nm.
        np.testing.assert_allclose(distance, 50, atol=0.004)


def test_bent_faces_reach_the_flat_ones_as_the_curvature_vanishes():
    flat = maps(wedge_deg=12.0, wedge_azimuth_deg=70.0, normal_uvw=(1, 1, 3))
    bent = maps(wedge_deg=12.0, wedge_azimuth_deg=70.0, normal_uvw=(1, 1, 3), curvature_inv_um=1e-9)
    np.testing.assert_allclose(bent.entrance_z_nm, flat.entrance_z_nm, atol=1e-6)
    np.testing.assert_allclose(bent.exit_z_nm, flat.exit_z_nm, atol=1e-6)


@pytest.mark.parametrize("azimuth_deg", [0.0, 40.0])
def test_bending_changes_s_as_the_displacement_of_a_bent_plate_does(azimuth_deg):
    # A plate with z_mid = -k u^2 / 2 whose sections stay normal to it: displacement k u z along u, -k u^2 / 2 along z.
    # In the two-beam equations s + d(g.u)/dd, d = -z, stands for it (conventions 8): the change is -k u (g along u).
    bent = maps(curvature_inv_um=0.02, curvature_azimuth_deg=azimuth_deg)
    x, y = grid()
    direction = np.array([np.cos(np.radians(azimuth_deg)), np.sin(np.radians(azimuth_deg))])
    u = x * direction[0] + y * direction[1]
    expected = BEAM.s_inv_nm - 2e-5 * u * (g_image_inv_nm(AL, BEAM)[:2] @ direction)
    # second order in the slope (3e-3) and |g| lambda: 1 % of the largest change
    np.testing.assert_allclose(bent.s_inv_nm, expected, atol=0.01 * np.abs(expected - BEAM.s_inv_nm).max())


def test_local_s_is_that_of_a_beam_tilted_the_other_way():
    # Turning the lattice so that g sinks by k u is tilting the crystal: the exact s of a rotated g.
    from physics.beam import excitation_error
    from physics.electron import wavelength_nm
    from physics.frames import rotation_about

    bent = maps(curvature_inv_um=0.3)
    x, _ = grid()
    k = np.array([0, 0, -1 / wavelength_nm(BEAM.voltage_kV)])
    g = g_image_inv_nm(AL, BEAM)
    for column in (0, 20, 80):
        turn = rotation_about([0, 1, 0], np.arctan(0.3e-3 * x[0, column]))
        expected = excitation_error(k, turn @ g) - excitation_error(k, g) + BEAM.s_inv_nm
        np.testing.assert_allclose(bent.s_inv_nm[:, column], expected, rtol=0, atol=1e-12)


def test_heights_at_points_are_those_of_the_maps():
    foil = Foil(thickness_nm=100.0, curvature_inv_um=0.4, wedge_deg=5.0)
    x, y = grid()
    entrance_nm, exit_nm = foil_heights(AL, BEAM, foil, x[3, 7], y[3, 7])
    whole = foil_maps(AL, foil, BEAM, SHAPE, PIXEL_NM)
    assert (entrance_nm, exit_nm) == (whole.entrance_z_nm[3, 7], whole.exit_z_nm[3, 7])


@pytest.mark.parametrize(
    ("foil", "said"),
    [
        ({"curvature_inv_um": 10.0}, "foil.curvature_inv_um must be below 1/thickness = 10, got 10"),
        ({"normal_uvw": (0, -1, 0)}, "foil.normal_uvw must have n.B > 0"),
        (
            {"normal_uvw": (0, 1, 0), "wedge_deg": 60.0, "wedge_azimuth_deg": 90.0},
            "foil.wedge_deg must leave both faces",
        ),
    ],
)
def test_impossible_foils_are_refused_by_name(foil, said):
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        maps(**foil)


def test_maps_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        maps().s_inv_nm[0, 0] = 1.0
