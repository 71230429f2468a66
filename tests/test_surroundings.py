"""Relief, openings, a second grain, deposits: geometry, intensity, and what the labels say of them."""

import numpy as np
import pytest

from physics.beam import BeamCondition
from physics.boundary import GrainBoundary
from physics.contrast.two_beam import TwoBeam, perfect_crystal
from physics.crystal import Crystal
from physics.deposit import Deposit, covered, transmission
from physics.errors import InputError
from physics.foil import Foil
from physics.frames import column_positions_nm
from physics.opening import Opening
from physics.relief import Relief
from render.foil import foil_maps
from render.intensity import noise_free_intensity
from render.scene import Scene
from render.simulate import simulate
from render.specimen import Specimen

AL = Crystal.from_material("al")
BEAM = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1))
SHAPE = (64, 96)
SQUARE = [[-20.0, -20.0], [20.0, -20.0], [20.0, 20.0], [-20.0, 20.0]]


def scene(**fields) -> Scene:
    foil = Foil(thickness_nm=100.0, **fields.pop("foil", {}))
    return Scene(crystal=AL, foil=foil, beam=fields.pop("beam", BEAM), shape=SHAPE, pixel_nm=1.0, **fields)


def intensity(s: Scene) -> np.ndarray:
    return noise_free_intensity(s, Specimen.of(s))


def test_roughness_has_its_rms_and_two_independent_faces():
    relief = Relief(seed=5, roughness_nm=2.0, correlation_nm=20.0)
    x, y = np.meshgrid(np.arange(0, 3000, 4.0), np.arange(0, 3000, 4.0))
    entrance, exit_ = relief.height_nm(x, y, 1), relief.height_nm(x, y, -1)
    assert entrance.std() == pytest.approx(2.0, rel=0.05)  # the rms asked for
    assert abs(np.corrcoef(entrance.ravel(), exit_.ravel())[0, 1]) < 0.05
    assert abs(entrance.mean()) < 0.2


def test_relief_depends_on_position_alone():
    relief = Relief(seed=5, roughness_nm=2.0, terrace_step_nm=3.0)
    x, y = np.random.default_rng(0).uniform(-500, 500, (2, 9000))
    together = relief.height_nm(x, y, 1)
    assert np.array_equal(together[[7, 8000]], relief.height_nm(x[[7, 8000]], y[[7, 8000]], 1))


def test_terraces_step_by_their_height_and_do_not_wedge_the_foil():
    relief = Relief(seed=1, terrace_step_nm=3.0, terrace_period_nm=100.0, terrace_edge_nm=5.0, terrace_wander=0.0)
    x = np.arange(-1000.0, 1000.0, 0.5)
    height = relief.height_nm(x, np.zeros_like(x), 1)
    rise = height[np.searchsorted(x, 5.0)] - height[np.searchsorted(x, 0.0)]
    assert rise == pytest.approx(3.0 * 0.95, abs=1e-9)  # the step less the slope that takes it back over 5 of 100 nm
    assert np.polyfit(x, height, 1)[0] == pytest.approx(0, abs=1e-4)


def test_thickness_follows_the_relief_of_both_faces():
    relief = Relief(seed=2, roughness_nm=1.0, correlation_nm=30.0)
    flat, rough = (foil_maps(AL, Foil(thickness_nm=100.0, relief=r), BEAM, SHAPE, 1.0) for r in (None, relief))
    x, y = np.meshgrid(*column_positions_nm(SHAPE, 1.0))
    expected = relief.height_nm(x, y, 1) + relief.height_nm(x, y, -1)
    np.testing.assert_allclose(rough.thickness_nm - flat.thickness_nm, expected, atol=1e-9)


def test_an_opening_is_vacuum_and_the_foil_thins_exponentially_toward_it():
    opening = Opening(outline_nm=SQUARE, taper_nm=10.0)
    maps = foil_maps(AL, Foil(thickness_nm=100.0, openings=(opening,)), BEAM, SHAPE, 1.0)
    x, y = np.meshgrid(*column_positions_nm(SHAPE, 1.0))
    inside = (np.abs(x) < 20) & (np.abs(y) < 20)
    assert (maps.thickness_nm[inside] == 0).all()
    beside = (x > 20) & (np.abs(y) < 20)
    np.testing.assert_allclose(maps.thickness_nm[beside], 100 * (1 - np.exp(-(x[beside] - 20) / 10)), rtol=1e-9)
    image = intensity(scene(foil={"openings": (opening,)}))
    assert (image[inside] == 1).all()


def test_fringes_run_along_an_inclined_boundary_as_along_a_wedge():
    """Through the boundary's band each column is a perfect crystal of its own depth, times the second grain's."""
    boundary = GrainBoundary(point_nm=(0, 0, 0), normal=(1, 0, 1), s_inv_nm=0.2, xi_g_nm=60.0, xi_prime_over_xi=np.inf)
    s = scene(foil={"boundary": boundary})
    specimen = Specimen.of(s)
    x, _ = np.meshgrid(*column_positions_nm(SHAPE, 1.0))
    depth = np.clip(50 - x, 0, 100)  # the plane x + z = 0 between z = 50 and -50: the first grain lies below it
    second_nm = 100 - depth
    first = perfect_crystal(specimen.two_beam, 0.0, depth)[0]
    mean_nm = specimen.two_beam.xi_0_prime_nm  # of one material
    second = perfect_crystal(TwoBeam(xi_g_nm=60.0, xi_0_prime_nm=mean_nm), 0.2, second_nm)[0]
    np.testing.assert_allclose(intensity(s), first * second, atol=3e-6)


def test_an_edge_on_boundary_parts_the_image():
    boundary = GrainBoundary(point_nm=(0, 0, 0), normal=(1, 0, 0), s_inv_nm=0.05, xi_g_nm=60.0)
    s = scene(foil={"boundary": boundary})
    x, _ = np.meshgrid(*column_positions_nm(SHAPE, 1.0))
    specimen = Specimen.of(s)
    assert (specimen.foil.second_grain_nm[x > 0] == 100).all() and (specimen.foil.second_grain_nm[x < 0] == 0).all()
    (label,) = [d for d in simulate(s).distractors if d.kind == "boundary"]
    assert label.mask[:, np.abs(x[0]) > 2].sum() == 0 and label.mask.any(axis=1).all()


def test_deposits_absorb_by_their_mass_thickness():
    flake = Deposit(kind="flake", centre_nm=(3.0, -4.0), radius_nm=9.0, thickness_nm=25.0, mean_free_path_nm=50.0, profile=0.0)
    x, y = column_positions_nm(SHAPE, 1.0)
    ratio = intensity(scene(deposits=(flake,))) / intensity(scene())
    mask = covered(flake, x, y)
    assert abs(mask.sum() - np.pi * 81) < 25  # the disc's area, to its border pixels
    np.testing.assert_allclose(ratio[mask], np.exp(-0.5), rtol=1e-6)  # 25 nm of 50 nm
    assert (ratio[~mask] == 1).all()
    two = (flake, flake)
    np.testing.assert_allclose(transmission(two, x, y), transmission((flake,), x, y) ** 2)


def test_a_deposit_over_a_hole_has_fallen_through():
    flake = Deposit(centre_nm=(0.0, 0.0), radius_nm=9.0, thickness_nm=25.0)
    s = scene(deposits=(flake,), foil={"openings": (Opening(outline_nm=SQUARE),)})
    micrograph = simulate(s)
    assert micrograph.intensity[32, 48] == 1
    assert [d.kind for d in micrograph.distractors] == ["edge", "fringe"]  # its own border, no particle


def test_a_hole_has_no_border_within_another():
    inner = Opening(outline_nm=[[-8.0, -8.0], [8.0, -8.0], [8.0, 8.0], [-8.0, 8.0]])
    beside = Opening(outline_nm=[[10.0, -10.0], [35.0, -10.0], [35.0, 10.0], [10.0, 10.0]])
    edges = [d for d in simulate(scene(foil={"openings": (Opening(outline_nm=SQUARE), inner, beside)})).distractors if d.kind == "edge"]
    x_nm, y_nm = (np.concatenate([d.points_px for d in edges]) - [47.5, 31.5]).T
    assert (np.maximum(np.abs(x_nm), np.abs(y_nm)) > 19.9).all()  # none of the inner hole's, none of the third one's in the first
    assert (x_nm > 34.9).any() and not ((np.abs(x_nm - 20) < 0.1) & (np.abs(y_nm) < 9)).any()


def test_a_bend_contour_is_labelled_where_s_passes_zero():
    s = scene(foil={"curvature_inv_um": 0.3})
    (contour,) = [d for d in simulate(s).distractors if d.kind == "bend_contour"]
    x, _ = np.meshgrid(*column_positions_nm(SHAPE, 1.0))
    assert abs(x[contour.mask].mean()) < 2 and contour.mask.any(axis=1).all()


def test_fringes_are_labelled_where_the_thickness_of_a_wedge_makes_extremes():
    """Each half xi_eff of thickness a fringe, dark or bright; a flat foil has none, nor has a slope that is too gentle."""
    s_inv_nm = 0.01
    s = scene(foil={"wedge_deg": 45}, beam=BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1), s_inv_nm=s_inv_nm))
    (fringe,) = [d for d in simulate(s).distractors if d.kind == "fringe"]
    specimen = Specimen.of(s)
    xi_eff_nm = specimen.two_beam.xi_g_nm / np.hypot(1, s_inv_nm * specimen.two_beam.xi_g_nm)
    thickness_nm = specimen.foil.entrance_z_nm - specimen.foil.exit_z_nm
    beats = 2 * thickness_nm / xi_eff_nm
    middle = (np.abs(beats - np.rint(beats)) < 0.08) & (np.abs(thickness_nm - 100) < 30)
    between = (np.abs(beats - np.floor(beats) - 0.5) < 0.05) & (np.abs(thickness_nm - 100) < 30)
    assert fringe.mask[middle].mean() > 0.9 and fringe.mask[between].mean() < 0.5
    for foil in ({}, {"wedge_deg": 1}, {"curvature_inv_um": 0.002}):
        assert not [d for d in simulate(scene(foil=foil)).distractors if d.kind == "fringe"]


def test_steps_of_terraces_are_labelled_as_fringes():
    relief = Relief(seed=1, terrace_step_nm=3.0, terrace_period_nm=60.0, terrace_wander=0.0, terrace_edge_nm=2.0)
    s = scene(foil={"relief": relief})
    (fringe,) = [d for d in simulate(s).distractors if d.kind == "fringe"]
    steps = np.abs(np.gradient(Specimen.of(s).foil.thickness_nm, axis=1)) > 0.5
    assert steps.any() and fringe.mask[steps].mean() > 0.6
    # A line would be 20 px wide here.
    far = ~np.any([np.roll(steps, k, axis=1) for k in range(-20, 21)], axis=0)
    assert not fringe.mask[far].any()


@pytest.mark.parametrize("beam", [{"image": "df"}, {"row": (0, 1)}])
def test_fringes_are_those_of_the_first_grain_in_any_image(beam):
    boundary = GrainBoundary(point_nm=(10, 0, 0), normal=(1, 0, 0.5), s_inv_nm=0.1, xi_g_nm=50.0)
    of_beam = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1), s_inv_nm=0.01, **beam)
    s = Scene(crystal=AL, foil=Foil(thickness_nm=100.0, wedge_deg=45, boundary=boundary), beam=of_beam, shape=(61, 93), pixel_nm=1.0)
    (fringe,) = [d for d in simulate(s).distractors if d.kind == "fringe"]
    foil = Specimen.of(s).foil
    alone = (foil.second_grain_nm == 0) & (foil.thickness_nm > 0)
    assert fringe.mask.shape == s.shape and fringe.mask[alone].mean() > 0.3
    away = ~np.any([np.roll(alone, k, axis=1) for k in range(-4, 5)], axis=0)
    assert away.any() and not fringe.mask[away].any()


def test_surroundings_survive_json():
    s = scene(
        foil={"relief": Relief(seed=3, roughness_nm=1.0), "openings": (Opening(outline_nm=SQUARE, taper_nm=4.0),),
              "boundary": GrainBoundary(point_nm=(40, 0, 0), normal=(1, 0, 1), s_inv_nm=0.1, xi_g_nm=50.0)},
        deposits=(Deposit(centre_nm=(30.0, 1.0), radius_nm=5.0, thickness_nm=10.0, lobes=(0.1, 0.05)),),
    )  # fmt: skip
    again = Scene.from_json(s.to_json())
    assert again.to_json() == s.to_json()
    assert np.array_equal(intensity(again), intensity(s))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Relief(roughness_nm=-1), "relief.roughness_nm must be >= 0, got -1"),
        (lambda: Opening(outline_nm=[[0, 0], [1, 1]]), "openings.outline_nm must have at least 3 vertices, got 2"),
        (lambda: Deposit(kind="dust", centre_nm=(0, 0), radius_nm=1, thickness_nm=1), "deposits.kind must be one of"),
        (lambda: GrainBoundary(point_nm=(0, 0, 0), normal=(0, 0, 0), s_inv_nm=0, xi_g_nm=1), "boundary.normal must not be zero"),
    ],
)
def test_bad_surroundings_are_refused_in_one_line(make, said):
    with pytest.raises(InputError) as refused:
        make()
    assert said in str(refused.value) and "\n" not in str(refused.value)
