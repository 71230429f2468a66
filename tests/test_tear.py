"""Tears and twins in the numpy path: geometry, bending of the lattice, and interrupted columns against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physics.beam import BeamCondition
from physics.boundary import GrainBoundary
from physics.contrast.columns import ColumnGrid, column_image, column_values
from physics.contrast.two_beam import TwoBeam, perfect_crystal
from physics.crystal import Crystal
from physics.errors import InputError
from physics.foil import Foil
from physics.frames import column_positions_nm
from physics.opening import Opening
from physics.particle import Particle
from physics.strain.segments import Segments
from physics.tear import Tear
from render.foil import foil_maps
from render.intensity import noise_free_intensity
from render.scene import Scene
from render.simulate import simulate
from render.specimen import Specimen

AL = Crystal.from_material("al")
BEAM = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1), s_inv_nm=0.004)
SHAPE = (64, 96)
TWO_BEAM = TwoBeam(xi_g_nm=70.6, xi_g_prime_nm=706.0, xi_0_prime_nm=706.0)  # Al 111 at 200 kV
NO_LINES = Segments(start_nm=np.empty((0, 3)), end_nm=np.empty((0, 3)), burgers_nm=np.empty((0, 3)), line=np.empty(0, int))
ELASTIC = {"poisson_ratio": 0.33, "core_nm": 0.5}


def scene(foil: dict | None = None, **fields) -> Scene:
    made = Foil(thickness_nm=100.0, **(foil or {}))
    return Scene(crystal=AL, foil=made, beam=fields.pop("beam", BEAM), shape=SHAPE, pixel_nm=1.0, **fields)


def intensity(s: Scene) -> np.ndarray:
    return noise_free_intensity(s, Specimen.of(s))


def test_the_gap_of_a_tear_is_an_ellipse():
    tear = Tear(tips_nm=[[-40.3, 0], [40.3, 0]], width_nm=20.0)
    maps = foil_maps(AL, Foil(thickness_nm=100.0, tears=(tear,)), BEAM, SHAPE, 1.0)
    x, y = np.meshgrid(*column_positions_nm(SHAPE, 1.0))
    inside = (x / 40.3) ** 2 + (y / 10) ** 2 < 1
    assert ((maps.thickness_nm == 0) != inside).sum() <= 8  # the outline has 96 sides
    assert inside.sum() > 1000


@settings(max_examples=40, deadline=None)
@given(st.floats(-1.2, 1.2), st.floats(-1.5, 1.5), st.floats(0, 6.28), st.floats(-30, 30), st.sampled_from([-1, 1]))
def test_slopes_of_bent_lips_are_the_derivatives_of_their_height(tau, across, turn, sag_nm, side):
    tips = 60 * np.array([[-np.cos(turn), -np.sin(turn)], [np.cos(turn), np.sin(turn)]]) + [3.0, -7.0]
    tear = Tear(tips_nm=tips, width_nm=16.0, sag_nm=sag_nm, lip_nm=30.0, turn_deg=40.0, side=side)
    along, aside = 60 * tau, sag_nm * (1 - tau**2) + 38 * across + 1e-3
    x, y = 3 + np.cos(turn) * along - np.sin(turn) * aside, -7 + np.sin(turn) * along + np.cos(turn) * aside
    if abs(abs(tau) - 1) < 0.02:
        return  # the border of the ellipse is steep at its tips
    _, slope_x, slope_y = tear.bend_nm(x, y)
    h = 1e-5
    assert (tear.bend_nm(x + h, y)[0] - tear.bend_nm(x - h, y)[0]) / (2 * h) == pytest.approx(slope_x, abs=1e-5)
    assert (tear.bend_nm(x, y + h)[0] - tear.bend_nm(x, y - h)[0]) / (2 * h) == pytest.approx(slope_y, abs=1e-5)


def test_a_lip_has_turned_by_its_angle_at_the_gap_and_keeps_its_thickness():
    tear = Tear(tips_nm=[[-4000, 0], [4000, 0]], width_nm=10.0, lip_nm=20.0, turn_deg=30.0, side=1, taper_nm=0.05)
    maps = foil_maps(AL, Foil(thickness_nm=100.0, tears=(tear,)), BEAM, SHAPE, 0.5)
    _, y = column_positions_nm(SHAPE, 0.5)
    raised, slope_x, slope_y = tear.bend_nm(0.0, 5.0 + 1e-9)
    assert slope_y == pytest.approx(-np.tan(np.radians(30)), rel=1e-6) and abs(slope_x) < 1e-3
    assert raised == pytest.approx(np.tan(np.radians(30)) * 20 / 3, rel=1e-6)  # toward the gun
    clear = np.abs(np.abs(y) - 5) > 0.5
    expected = np.where(np.abs(y) > 5, 100.0, 0.0)
    np.testing.assert_allclose(maps.thickness_nm[clear, 48], expected[clear], atol=0.02)


@pytest.mark.parametrize("normal_uvw", [(0, 0, 1), (1, 2, 6), (-2, 1, 4)])  # tilted by up to 29 degrees
def test_a_lip_of_a_tilted_foil_keeps_its_thickness(normal_uvw):
    tear = Tear(tips_nm=[[-4000, 0], [4000, 0]], width_nm=10.0, lip_nm=20.0, turn_deg=30.0, taper_nm=0.05)
    maps = foil_maps(AL, Foil(thickness_nm=60.0, normal_uvw=normal_uvw, tears=(tear,)), BEAM, SHAPE, 0.5)
    _, y = column_positions_nm(SHAPE, 0.5)
    np.testing.assert_allclose(maps.thickness_nm[np.abs(y) > 5.5], 60.0, atol=0.02)


def test_lips_turn_the_lattice_as_a_rigid_tilt_would():
    """g along the slope: s = s_0 - g tilt to first order, up on one lip and down on the other."""
    tear = Tear(tips_nm=[[0, -4000], [0, 4000]], width_nm=10.0, lip_nm=30.0, turn_deg=0.5, side=1)
    maps = foil_maps(AL, Foil(thickness_nm=100.0, tears=(tear,)), BEAM, SHAPE, 1.0)
    x, _ = column_positions_nm(SHAPE, 1.0)
    _, slope_x, _ = tear.bend_nm(x, np.zeros_like(x))
    g_inv_nm = 2 / AL.lattice_nm[0, 0]
    outside = np.abs(x) > 6
    # A lattice raised toward +x by the slope p has g turned up by p: toward the sphere's inside by g p.
    np.testing.assert_allclose(maps.s_inv_nm[32, outside], 0.004 + g_inv_nm * slope_x[outside], atol=2e-4)
    assert np.ptp(maps.s_inv_nm[32]) > 0.05


def test_columns_through_a_twin_are_two_crystals_a_phase_apart():
    """Scattering matrices of the parts above and below, with the phase 2 pi s h of the beam g in between."""
    twin = GrainBoundary(point_nm=(0, 0, 0), normal=(0, 0, 1), width_nm=20.0, s_inv_nm=0.1, xi_g_nm=60.0)
    s = 0.006

    def matrix(length_nm: float) -> np.ndarray:
        q = 1 / TWO_BEAM.xi_g_nm + 1j / TWO_BEAM.xi_g_prime_nm
        from scipy.linalg import expm

        return expm(1j * np.pi * length_nm * np.array([[1j / TWO_BEAM.xi_0_prime_nm, q], [q, 2 * s + 1j / TWO_BEAM.xi_0_prime_nm]]))

    gap = np.diag([1, np.exp(2j * np.pi * s * 20.0)])
    bright, dark = np.abs(matrix(50.0) @ gap @ matrix(30.0) @ [1, 0]) ** 2  # from +50 to 20, and from 0 to -50
    columns = ColumnGrid.flat((8, 8), 1.0, 100.0, s)
    images = column_image(NO_LINES, [4.27, 0, 0], TWO_BEAM, columns, particles=[twin], **ELASTIC)
    np.testing.assert_allclose(images[0], bright, atol=3e-6)
    np.testing.assert_allclose(images[1], dark, atol=3e-6)


@pytest.mark.parametrize("normal", [(1, 0.3, 0.8), (1, 0.2, 0.05), (1, 0.4, 0)])
def test_inclined_twins_are_the_same_by_tiles_and_by_direct_summation(normal):
    twin = GrainBoundary(point_nm=(-5, 3, 0), normal=normal, width_nm=17.0, s_inv_nm=0.1, xi_g_nm=60.0)
    line = Segments(start_nm=[[-300.0, -20, -40]], end_nm=[[300.0, 25, 30]], burgers_nm=[[0.2, 0.15, 0.1]], line=[0])
    columns = ColumnGrid.flat((40, 48), 2.0, 100.0, 0.005)
    image = column_image(line, [4.27, 0, 0], TWO_BEAM, columns, particles=[twin], **ELASTIC)[0]
    x, y = np.meshgrid(*column_positions_nm((40, 48), 2.0))
    chosen = np.random.default_rng(0).integers(0, image.size, 60)
    exact = column_values(line, [4.27, 0, 0], TWO_BEAM, x.ravel()[chosen], y.ravel()[chosen], 50.0, -50.0, 0.005, slice_nm=0.25,
                          particles=[twin], reference=True, **ELASTIC)[0]  # fmt: skip
    np.testing.assert_allclose(image.ravel()[chosen], exact, atol=2e-3)


def test_an_edge_on_twin_is_a_perfect_crystal_of_its_own():
    twin = GrainBoundary(point_nm=(-10, 0, 0), normal=(1, 0, 0), width_nm=20.0, s_inv_nm=0.02, xi_g_nm=60.0, xi_prime_over_xi=15.0)
    s = scene({"twins": (twin,)})
    image, (x, _) = intensity(s), column_positions_nm(SHAPE, 1.0)
    mean_nm = Specimen.of(s).two_beam.xi_0_prime_nm  # of one material
    own = perfect_crystal(TwoBeam(xi_g_nm=60.0, xi_g_prime_nm=900.0, xi_0_prime_nm=mean_nm), 0.02, 100.0)[0]
    np.testing.assert_allclose(image[:, np.abs(x) < 10], own, atol=3e-6)
    np.testing.assert_allclose(image[:, np.abs(x) > 10], intensity(scene())[0, 0], atol=3e-6)
    (label,) = [d for d in simulate(s).distractors if d.kind == "boundary"]
    assert label.mask.any(axis=1).all() and not label.mask[:, np.abs(np.abs(x) - 10) > 2].any()


def test_a_twin_beyond_a_boundary_leaves_the_second_grain_as_it_is():
    boundary = GrainBoundary(point_nm=(0, 0, 0), normal=(1, 0.2, 0.4), s_inv_nm=0.03, xi_g_nm=50.0)
    twin = GrainBoundary(point_nm=(-15, 0, 0), normal=(1, 0, 0), width_nm=50.0, s_inv_nm=0.02, xi_g_nm=60.0)
    foil = Specimen.of(scene({"boundary": boundary, "twins": (twin,)})).foil
    first_nm = foil.entrance_z_nm - foil.exit_z_nm
    np.testing.assert_allclose(first_nm + foil.second_grain_nm, 100.0)  # the whole foil, crossed once
    assert (foil.twins_nm[0] <= first_nm + 1e-9).all() and (foil.twins_nm[0] > 0).any()
    x, _ = column_positions_nm(SHAPE, 1.0)
    beyond = (first_nm == 0) & (x < 35)
    with_twin, alone = intensity(scene({"boundary": boundary, "twins": (twin,)})), intensity(scene({"boundary": boundary}))
    assert beyond.any()
    np.testing.assert_array_equal(with_twin[beyond], alone[beyond])


def test_crossing_twins_share_no_column():
    """The parts of a column in twins that cross add up to the height of their union, each place counted once."""
    twins = tuple(GrainBoundary(point_nm=(-20, 0, z), normal=n, width_nm=w, s_inv_nm=0.02, xi_g_nm=60.0)
                  for z, n, w in ((0, (1, 0.2, 0.4), 30.0), (10, (-1, 0.1, 0.9), 25.0), (-5, (0.2, 1, 0.5), 40.0)))  # fmt: skip
    lengths_nm = Specimen.of(scene({"twins": twins})).foil.twins_nm
    x, y = np.meshgrid(*column_positions_nm(SHAPE, 1.0))
    z = (np.arange(5000) + 0.5) * 0.02 - 50  # the 100 nm foil in steps of 0.02 nm
    inside = np.array([[np.abs((np.stack(np.broadcast_arrays(x[::8, ::8, None], y[::8, ::8, None], z), -1) - t.point_nm) @ t.unit_normal
                               - t.width_nm / 2) < t.width_nm / 2] for t in twins])[:, 0]  # fmt: skip
    first = np.argmax(inside, axis=0)
    for k, length_nm in enumerate(lengths_nm):
        own = inside[k] & (first == k)
        np.testing.assert_allclose(length_nm[::8, ::8], 0.02 * own.sum(axis=-1), atol=0.07)  # two ends of a stretch or of two
    assert (inside.sum(axis=0) == 3).any()
    one, same = (intensity(scene({"twins": twins[:1] * n})) for n in (1, 2))
    np.testing.assert_array_equal(one, same)


def test_a_tear_into_a_hole_has_no_border_there():
    """Border left of a slit and a square it opens into: neither runs on where the other is."""
    hole = Opening(outline_nm=[[0.0, -20.0], [30.0, -20.0], [30.0, 20.0], [0.0, 20.0]], taper_nm=2.0)
    tear = Tear(tips_nm=[[-30, 0], [20, 0]], width_nm=10.0, turn_deg=0.0)
    micrograph = simulate(scene({"openings": (hole,), "tears": (tear,)}))
    edges = [d for d in micrograph.distractors if d.kind == "edge"]
    assert len(edges) == 2
    points = np.concatenate([d.points_px for d in edges]) - [47.5, 31.5]
    in_slit = ((points[:, 0] + 5) / 25) ** 2 + (points[:, 1] / 5) ** 2 < 0.97
    in_hole = (points[:, 0] > 0.01) & (points[:, 0] < 29.99) & (np.abs(points[:, 1]) < 19.99)
    assert not (in_slit | in_hole).any()
    length = sum(np.linalg.norm(np.diff(d.points_px, axis=0), axis=1).sum() for d in edges)
    # Ramanujan's circumference of the slit, half axes 25 and 5, less its part in the hole; the hole's less the slit's mouth.
    around = np.linspace(0, np.arccos(5 / 25), 20000)  # the slit's middle is at -5: right of x = 0 lies cos > 5/25
    flank = np.linalg.norm(np.diff(np.stack([25 * np.cos(around), 5 * np.sin(around)]), axis=1), axis=0).sum()
    whole = np.pi * (3 * 30 - np.sqrt((3 * 25 + 5) * (25 + 3 * 5)))
    mouth = 2 * 5 * np.sqrt(1 - (5 / 25) ** 2)
    assert length == pytest.approx(whole - 2 * flank + 140 - mouth, abs=5)  # a step of 1 px at each of four ends


def test_flat_foil_beside_a_bent_lip_is_no_bend_contour():
    """s = 0 over the whole foil is no contour; on the lips, where it passes through 0, there is one."""
    tear = Tear(tips_nm=[[-25, 0], [25, 0]], width_nm=6.0, lip_nm=15.0, turn_deg=4.0)
    beam = replace(BEAM, s_inv_nm=0.0005, image_rotation_deg=90.0)
    micrograph = simulate(scene({"tears": (tear,)}, beam=beam))
    contours = [d.mask for d in micrograph.distractors if d.kind == "bend_contour"]
    _, y = np.meshgrid(*column_positions_nm(SHAPE, 1.0))
    assert contours and not any(mask[np.abs(y) > 19].any() for mask in contours)  # 3 + 15 nm, and the pixel of a gradient


def test_an_inclusion_is_a_void_that_absorbs():
    ball = {"centre_nm": (0.0, 0.0, 5.0), "radius_nm": 20.0}
    void, filled = (scene(particles=(Particle(kind=kind, **ball, **more),)) for kind, more in
                    (("void", {}), ("inclusion", {"mean_free_path_nm": 60.0})))  # fmt: skip
    x, y = np.meshgrid(*column_positions_nm(SHAPE, 1.0))
    chord_nm = 2 * np.sqrt(np.maximum(400 - x**2 - y**2, 0))
    np.testing.assert_allclose(intensity(filled), intensity(void) * np.exp(-chord_nm / 60), rtol=1e-6)


def test_tears_and_twins_survive_json():
    twin = GrainBoundary(point_nm=(0, 0, 0), normal=(1, 0, 1), width_nm=9.0, s_inv_nm=0.1, xi_g_nm=50.0)
    s = scene({"tears": (Tear(tips_nm=[[-20, 0], [20, 5]], width_nm=6.0, lips="bent"),), "twins": (twin,)})
    again = Scene.from_json(s.to_json())
    assert again.to_json() == s.to_json() and np.array_equal(intensity(again), intensity(s))
    assert [d.kind for d in simulate(s).distractors if d.kind in ("edge", "boundary")] == ["boundary", "edge"]


BOUNDARY = GrainBoundary(point_nm=(0, 0, 0), normal=(1, 0, 1), s_inv_nm=0.1, xi_g_nm=50.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Tear(tips_nm=[[0, 0], [10, 0]], width_nm=20), "tears.width_nm must be <= the tips' distance 10, got 20"),
        (lambda: Tear(tips_nm=[[0, 0], [10, 0]], width_nm=2, lips="torn"), "tears.lips must be one of bent, rolled, got torn"),
        (lambda: Tear(tips_nm=[[0, 0], [10, 0]], width_nm=2, turn_deg=80), "tears.turn_deg must lie in [0, 75] for bent lips"),
        (lambda: Foil(thickness_nm=100, twins=(BOUNDARY,)), "twins.width_nm must be given for a twin"),
        (lambda: Foil(thickness_nm=100, boundary=replace(BOUNDARY, width_nm=4)), "boundary.width_nm must be left out for a second grain"),
        (lambda: Foil(thickness_nm=100, tears=(Tear(tips_nm=[[0, 0], [90, 0]], width_nm=9, lips="rolled", lip_nm=40),)),
         "tears.lip_nm must be > thickness / 2 = 50 for rolled lips, got 40"),
    ],
)  # fmt: skip
def test_bad_tears_and_twins_are_refused_in_one_line(make, said):
    with pytest.raises(InputError) as refused:
        make()
    assert said in str(refused.value) and "\n" not in str(refused.value)
