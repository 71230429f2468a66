"""A second grain and twins by their orientation: shared reflections, own deviations, bending, inelastic and diffuse electrons."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from physics.beam import BeamCondition, excitation_error, image_from_crystal
from physics.boundary import GrainBoundary
from physics.contrast.two_beam import TwoBeam, perfect_crystal, scattering_matrix
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.electron import wavelength_nm
from physics.errors import InputError
from physics.foil import Foil
from physics.frames import column_positions_nm, rotation_about
from physics.misorientation import axis_and_angle, disorientation_deg, grain_reflections, misorientation
from physics.scattering import extinction_distance_nm
from physics.tear import Tear
from render import Scene, simulate
from render.draw import parse
from render.draw_grains import drawn_misorientation
from render.intensity import noise_free_intensity
from render.specimen import Specimen

CU = Crystal.from_material("cu")
SHAPE = (32, 96)
ON_111 = {"misorientation_uvw": (1, 1, 1), "misorientation_deg": 180.0}
# [1 1 -2] of the twin plane up the column, 2 -2 0 across it: the twin on (1 1 1) shares it, and stands edge-on but for the tilt to s.
SHARED = BeamCondition(g_hkl=(2, -2, 0), zone_axis_uvw=(1, 1, -2), s_inv_nm=0.004)
# g = 2 2 0 of [1 -1 2], at an angle to the plane: not shared.
APART = BeamCondition(g_hkl=(2, 2, 0), zone_axis_uvw=(1, -1, 2), s_inv_nm=0.004)


def scene(beam: BeamCondition, shape: tuple[int, int] = SHAPE, lines: tuple[Dislocation, ...] = (), **foil) -> Scene:
    return Scene(crystal=CU, foil=Foil(thickness_nm=100.0, **foil), beam=beam, shape=shape, pixel_nm=1.0, surfaces=False, dislocations=lines)


def image(s: Scene) -> np.ndarray:
    return noise_free_intensity(s, Specimen.of(s))


def mirrored_reflections(beam: BeamCondition) -> list[tuple[tuple[int, ...], float, float]]:
    """Reflections of the twin on (1 1 1), with s and s xi_g: the matrix mirrored in the plane instead of turned."""
    normal = np.ones(3) / math.sqrt(3)
    mirror = np.eye(3) - 2 * np.outer(normal, normal)
    wave_vector = np.array([0, 0, -1 / wavelength_nm(beam.voltage_kV)])
    found = []
    for hkl in np.ndindex(9, 9, 9):
        hkl = tuple(int(h) - 4 for h in hkl)
        if not any(hkl) or not CU.is_allowed_reflection(hkl):
            continue
        g = image_from_crystal(CU, beam) @ mirror @ CU.reciprocal_vector_inv_nm(hkl)
        s = excitation_error(wave_vector, g)
        if np.linalg.norm(g) < 12 and abs(s) < 0.5:
            found.append((hkl, s, s * extinction_distance_nm(CU, hkl, beam.voltage_kV)))
    return found


def standing_twin(beam: BeamCondition, normal: tuple[float, float, float] | None = None, width_nm: float = 20.0) -> GrainBoundary:
    """A lamella of the (1 1 1) twin, its plane as given in the image, or that of the crystal."""
    across = image_from_crystal(CU, beam) @ np.ones(3) if normal is None else np.array(normal, dtype=float)
    across /= np.linalg.norm(across)
    return GrainBoundary(point_nm=-across * width_nm / 2, normal=across, width_nm=width_nm, **ON_111)


@pytest.mark.parametrize("mode", ["bf", "df"])
def test_a_twin_that_shares_g_is_not_seen(mode):
    """The same g, the same s, planes a whole number of 1/|g| apart: a lamella without fringes, borders or a label."""
    beam = replace(SHARED, image=mode)
    line = Dislocation(burgers_uvw=(0.5, -0.5, 0), points_nm=[[-30, -6, 50], [30, 6, -50]])
    for normal in (None, (1, 0, 0), (1, 0.2, 0.9)):
        with_twin, alone = (scene(beam, lines=(line,), twins=twins) for twins in ((standing_twin(beam, normal),), ()))
        np.testing.assert_array_equal(image(with_twin), image(alone))
        assert not [d for d in simulate(with_twin).distractors if d.kind == "boundary"]
    half = GrainBoundary(point_nm=(10, 0, 0), normal=(1, 0, 1), **ON_111)
    np.testing.assert_array_equal(image(scene(beam, boundary=half)), image(scene(beam)))


def test_a_row_of_g_is_shared_as_g_is_and_another_beam_is_not():
    row = replace(SHARED, row=(-1, 0, 1, 2))
    np.testing.assert_array_equal(image(scene(row, twins=(standing_twin(row),))), image(scene(row)))
    both = replace(SHARED, beams_hkl=((0, 0, 0), (2, -2, 0), (1, 1, 1)))  # 1 1 1 is common to twins on (1 1 1) as well
    np.testing.assert_array_equal(image(scene(both, twins=(standing_twin(both),))), image(scene(both)))
    other = replace(SHARED, beams_hkl=((0, 0, 0), (2, -2, 0), (3, -1, 1), (1, 1, -1)))
    assert np.ptp(image(scene(other, twins=(standing_twin(other, (1, 0, 0)),)))) > 0.01


def test_a_twin_that_diffracts_into_no_reflection_only_absorbs_and_is_dark_in_dark_field():
    beam = replace(APART, zone_axis_uvw=(7, -7, 12))  # 4 degrees on, along the row of g
    near = [w for _, _, w in mirrored_reflections(beam)]
    assert min(abs(w) for w in near) > 10
    twin = standing_twin(beam, (1, 0, 0))
    x, _ = column_positions_nm(SHAPE, 1.0)
    inside, outside = np.abs(x) < 10, np.abs(x) > 10
    bright, dark = (image(scene(replace(beam, image=mode), twins=(twin,))) for mode in ("bf", "df"))
    absorbed = np.exp(-2 * np.pi * 100 / (10 * extinction_distance_nm(CU, (1, 1, 1), beam.voltage_kV)))  # xi_0' = 10 xi_111
    np.testing.assert_allclose(bright[:, inside], absorbed, atol=1e-5)
    assert np.abs(dark[:, inside]).max() < 1e-6 and dark[:, outside].min() > 0.01
    both = perfect_crystal(Specimen.of(scene(beam)).two_beam, beam.s_inv_nm, 100.0)
    for picture, value in zip((bright, dark), both):
        np.testing.assert_allclose(picture[:, outside], value, atol=1e-5)


def excited(beam: BeamCondition, at: float) -> GrainBoundary:
    """A grain beyond an edge-on boundary in which 2 2 0 alone counts, at s = `at`, in another direction of the image."""
    condition = replace(beam, s_inv_nm=at, image_rotation_deg=50.0)
    standing = image_from_crystal(CU, condition)
    for turn in np.arange(0.1, 3, 0.1):
        own = rotation_about(standing @ CU.reciprocal_vector_inv_nm(beam.g_hkl), turn) @ standing
        uvw, deg = axis_and_angle(CU, image_from_crystal(CU, beam).T @ own)
        grain = GrainBoundary(point_nm=(0, 0, 0), normal=(1, 0, 0), misorientation_uvw=uvw, misorientation_deg=deg)
        if [r.hkl for r in grain_reflections(CU, beam, grain, 0.0, 10.0)] == [(2, 2, 0)]:
            return grain
    raise AssertionError("no such orientation")


LOW_VOLTAGE = replace(APART, voltage_kV=100.0)  # where -g is far, |s| xi_g > 10, when g is at its Bragg angle


@pytest.mark.parametrize("spread", [{}, {"aperture_mrad": 6.0}, {"convergence_mrad": 1.0}, {"aperture_mrad": 5.0, "convergence_mrad": 2.0}])
def test_a_second_grain_in_the_condition_of_the_first_looks_like_it(spread):
    """Bragg, inelastic and diffuse electrons of the second grain, which 2 2 0 in another direction excites as the first."""
    beam = replace(LOW_VOLTAGE, **spread)
    grain = excited(beam, beam.s_inv_nm)
    (reflection,) = grain_reflections(CU, beam, grain, 0.0, 10.0)
    assert reflection.s_inv_nm == pytest.approx(beam.s_inv_nm, abs=1e-9)
    picture, (x, _) = image(scene(beam, boundary=grain)), column_positions_nm(SHAPE, 1.0)
    np.testing.assert_allclose(picture[:, x > 0], picture[0, 0], atol=4e-4)
    assert (picture[:, x < 0] == picture[0, 0]).all()


def test_the_diffuse_background_of_a_dark_field_goes_on_over_the_second_grain():
    beam = replace(LOW_VOLTAGE, image="df", aperture_mrad=6.0)
    grain = next(g for k in range(1, 40) if not grain_reflections(CU, beam, g := GrainBoundary(
        point_nm=(0, 0, 0), normal=(1, 0, 0), misorientation_uvw=(1, 2, 3), misorientation_deg=5.0 * k), 0.0, 10.0))  # fmt: skip
    picture, (x, _) = image(scene(beam, boundary=grain)), column_positions_nm(SHAPE, 1.0)
    assert 0 < picture[:, x > 0].max() < 0.3 * picture[:, x < 0].min()
    without = image(scene(replace(beam, aperture_mrad=None), boundary=grain))
    assert np.abs(without[:, x > 0]).max() < 1e-6


@pytest.mark.parametrize("thickness_nm", [100.0])
def test_fringes_along_an_inclined_twin_boundary_are_those_of_its_own_deviation(thickness_nm):
    """Each column is a perfect matrix over a perfect twin: s of the twin's reflections from its mirrored lattice."""
    beam = next(b for b in (replace(APART, zone_axis_uvw=(k, -k, 12)) for k in (3, 4, 5, 6, 7, 8, 9, 10))
                if sum(abs(w) < 10 for _, _, w in mirrored_reflections(b)) == 1 and min(abs(w) for _, _, w in mirrored_reflections(b)) < 5)  # fmt: skip
    (hkl, s, w), = [r for r in mirrored_reflections(beam) if abs(r[2]) < 10]
    boundary = GrainBoundary(point_nm=(0, 0, 0), normal=(1, 0, 0.7), **ON_111)
    x, _ = column_positions_nm(SHAPE, 1.0)
    own_nm = np.clip(50 + x / 0.7, 0, 100)  # above the plane x + 0.7 z = 0
    specimen = Specimen.of(scene(beam))
    xi_nm, mean_nm = extinction_distance_nm(CU, hkl, 200.0), specimen.two_beam.xi_0_prime_nm
    own = TwoBeam(xi_g_nm=xi_nm, xi_g_prime_nm=max(10 * xi_nm, mean_nm), xi_0_prime_nm=mean_nm)
    expected = perfect_crystal(specimen.two_beam, beam.s_inv_nm, 100 - own_nm)[0] * perfect_crystal(own, s, own_nm)[0]
    np.testing.assert_allclose(image(scene(beam, boundary=boundary)), np.broadcast_to(expected, SHAPE), atol=1e-4)
    # A lamella 21 nm wide: matrix, the phase 2 pi s h, matrix; times the twin's.
    twin = GrainBoundary(point_nm=(0, 0, 0), normal=(1, 0, 0.7), width_nm=21.0, **ON_111)
    lower, upper = (np.clip(z, -50, 50) for z in (-x / 0.7, -x / 0.7 + 21 * math.hypot(1, 0.7) / 0.7))
    gap = np.zeros((len(x), 2, 2), dtype=complex)
    gap[:, 0, 0], gap[:, 1, 1] = 1, np.exp(2j * np.pi * beam.s_inv_nm * (upper - lower))
    below, above = (scattering_matrix(specimen.two_beam, beam.s_inv_nm, t) for t in (lower + 50, 50 - upper))
    columns = np.abs((below @ gap @ above)[:, 0, 0]) ** 2 * perfect_crystal(own, s, upper - lower)[0]
    np.testing.assert_allclose(image(scene(beam, twins=(twin,))), np.broadcast_to(columns, SHAPE), atol=3e-4)


def test_a_second_grain_turns_with_the_foil_and_with_a_tears_lip():
    """Where a foil is bent by an angle about y the grain's s is that of one turned as much on a flat foil."""
    grain = excited(LOW_VOLTAGE, 0.004)
    allowed = [h for h in np.array(list(np.ndindex(11, 11, 11))) - 5 if CU.is_allowed_reflection(h) and np.linalg.norm(h) < 12 * 0.3615]  # a, nm
    for foil in ({"curvature_inv_um": 0.4}, {"tears": (Tear(tips_nm=[[0, -4000], [0, 4000]], width_nm=10.0, lip_nm=30.0, turn_deg=0.5, side=1),)}):
        bent = scene(LOW_VOLTAGE, boundary=replace(grain, point_nm=(-60, 0, 0)), **foil)
        specimen, x = Specimen.of(bent), column_positions_nm(SHAPE, 1.0)[0]
        picture, columns = image(bent), [20, 40, 60, 80]
        for column in columns:
            normal = specimen.foil_shape.mid_normal(np.array(x[column]), np.array(0.5))
            tilt = rotation_about((0, 1, 0), math.atan2(normal[0], normal[2]))
            g = image_from_crystal(CU, LOW_VOLTAGE) @ misorientation(CU, grain.misorientation_uvw, grain.misorientation_deg)
            # 2 2 0, and what comes in as the foil turns.
            expected = np.exp(-2 * np.pi * specimen.foil.second_grain_nm[16, column] / specimen.two_beam.xi_0_prime_nm)
            for hkl in allowed:
                s = excitation_error([0, 0, -1 / wavelength_nm(100.0)], tilt @ g @ CU.reciprocal_vector_inv_nm(hkl))
                if abs(s) > 0.5:
                    continue
                xi_nm = extinction_distance_nm(CU, hkl, 100.0)
                weight = math.cos(math.pi / 2 * min(max((abs(s) * xi_nm - 5) / 5, 0), 1)) ** 2
                beams = TwoBeam(xi_g_nm=xi_nm, xi_g_prime_nm=max(10 * xi_nm, specimen.two_beam.xi_0_prime_nm))
                expected *= perfect_crystal(beams, s, specimen.foil.second_grain_nm[16, column])[0] ** weight
            assert picture[15:17, column].mean() == pytest.approx(expected, rel=5e-3)
        assert np.ptp(picture[16, 10:90]) > 0.02


@pytest.mark.parametrize(
    ("uvw", "deg", "least"),
    [((1, 1, 1), 180, 60), ((1, 1, 1), 60, 60), ((1, 1, 0), 70.5288, 60), ((0, 0, 1), 90, 0), ((0, 0, 1), 36.87, 36.87), ((1, 0, 0), 91, 1)],
)
def test_the_disorientation_of_cubic_crystals_is_the_least_angle(uvw, deg, least):
    """Sigma 3 is 60 about <111>, Sigma 5 36.87 about <100> (Brandon 1966); a quarter turn about <100> is none."""
    assert disorientation_deg(CU, misorientation(CU, uvw, deg)) == pytest.approx(least, abs=1e-3)


def test_axis_and_angle_give_the_rotation_back():
    for crystal in (CU, Crystal.from_material("mg")):
        turn = misorientation(crystal, (1, 2, -0.5), 137.0)
        np.testing.assert_allclose(misorientation(crystal, *axis_and_angle(crystal, turn)), turn, atol=1e-12)


@pytest.mark.parametrize("material", ["cu", "mg", "gaas", "w"])
def test_drawn_grains_hold_a_low_reflection_at_the_deviation_drawn(material):
    crystal = Crystal.from_material(material)
    g_hkl, zone = {"mg": ((1, 0, 0), (0, 0, 1)), "w": ((1, 1, 0), (0, 0, 1))}.get(material, ((2, 2, 0), (0, 0, 1)))
    beam = BeamCondition(g_hkl=g_hkl, zone_axis_uvw=zone)
    rng = np.random.default_rng(1)
    for wanted in (-0.5, 0.3, 4.0):
        grain = GrainBoundary(point_nm=(0, 0, 0), normal=(1, 0, 0), **drawn_misorientation(crystal, beam, parse(wanted, "s_xi"), rng))
        found = [r.s_inv_nm * r.two_beam.xi_g_nm for r in grain_reflections(crystal, beam, grain, 0.0, 10.0)]
        assert min(abs(w - wanted) for w in found) < 1e-6
        assert all(r.two_beam.xi_g_prime_nm >= r.two_beam.xi_0_prime_nm for r in grain_reflections(crystal, beam, grain, 0.0, 10.0))


def test_oriented_grains_survive_json():
    s = scene(APART, boundary=GrainBoundary(point_nm=(20, 0, 0), normal=(1, 0, 1), misorientation_uvw=(1, 2, 3), misorientation_deg=40),
              twins=(standing_twin(APART),))  # fmt: skip
    again = Scene.from_json(s.to_json())
    assert again.to_json() == s.to_json() and np.array_equal(image(again), image(s))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "boundary.misorientation_uvw must be given with misorientation_deg, or s_inv_nm and xi_g_nm instead, got neither"),
        ({"s_inv_nm": 0.1}, "misorientation_deg, or s_inv_nm and xi_g_nm instead, got s_inv_nm"),
        ({"misorientation_uvw": (1, 1, 1)}, "boundary.misorientation_deg must be given with misorientation_uvw"),
        (ON_111 | {"s_inv_nm": 0.1}, "boundary.s_inv_nm must be left out where misorientation_uvw is given"),
        (ON_111 | {"turn_inv_nm_per_um": (0.1, 0)}, "boundary.turn_inv_nm_per_um must be left out where misorientation_uvw is given"),
        (ON_111 | {"misorientation_uvw": (0, 0, 0)}, "boundary.misorientation_uvw must not be [0, 0, 0]"),
        ({"misorientation_uvw": (1, 0, 0), "misorientation_deg": 91}, "foil.boundary.misorientation_deg must turn the crystal by 2 degrees or more"),
    ],
)
def test_bad_orientations_are_refused_in_one_line(given, said):
    with pytest.raises(InputError) as refused:
        scene(APART, boundary=GrainBoundary(point_nm=(0, 0, 0), normal=(1, 0, 0), **given))
    assert said in str(refused.value) and "\n" not in str(refused.value)
