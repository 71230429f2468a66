"""Inelastic scattering: mean free paths, angles, and what they do to fringes."""

import numpy as np
import pytest

from physics.absorption import absorption_lengths_nm
from physics.beam import BeamCondition
from physics.contrast.two_beam import TwoBeam, perfect_crystal
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.errors import InputError
from physics.foil import Foil
from physics.inelastic import (
    density_g_per_cm3,
    inelastic_mean_free_path_nm,
    inelastic_share,
    inelastic_turns,
    thermal_diffuse_share,
)
from render.intensity import noise_free_intensity
from render.scene import Scene
from render.specimen import Specimen


@pytest.mark.parametrize(
    ("material", "density", "path_nm"),
    # density: CRC Handbook, 98th ed.; path: measured at 200 kV without aperture, Iakoubovskii et al. (2008), table 1
    [("al", 2.70, 134), ("au", 19.3, 84), ("si", 2.33, 145)],
)
def test_mean_free_path_is_near_the_measured_one(material: str, density: float, path_nm: float) -> None:
    crystal = Crystal.from_material(material)
    assert density_g_per_cm3(crystal) == pytest.approx(density, rel=0.01)
    assert inelastic_mean_free_path_nm(crystal, 200, 1000) == pytest.approx(path_nm, rel=0.1)


def test_a_wider_aperture_collects_more_inelastic_electrons() -> None:
    crystal = Crystal.from_material("cu")
    paths = [inelastic_mean_free_path_nm(crystal, 200, aperture) for aperture in (1, 5, 10, 20)]
    assert np.all(np.diff(paths) < 0)
    with pytest.raises(InputError, match="aperture_mrad must be > 0"):
        inelastic_mean_free_path_nm(crystal, 200, 0)


def test_shares_follow_poissons_law() -> None:
    crystal = Crystal.from_material("al")
    path_nm = inelastic_mean_free_path_nm(crystal, 200, 5)
    assert inelastic_share(crystal, 200, 5, np.array([0.0, path_nm])) == pytest.approx([0, 1 - np.exp(-1)])


def test_turns_are_even_and_grow_with_thickness() -> None:
    crystal = Crystal.from_material("fe_gamma")
    thin, thick = (inelastic_turns(crystal, 200, 5, t) for t in (20, 300))
    for turns in (thin, thick):
        assert turns.weight.sum() == pytest.approx(1)
        np.testing.assert_allclose(turns.angle_mrad, -turns.angle_mrad[::-1])
        assert np.abs(turns.angle_mrad).max() < 8 * 5
    assert np.abs(thick.angle_mrad).mean() > 1.2 * np.abs(thin.angle_mrad).mean()


def test_single_events_of_a_thin_foil_follow_the_projected_lorentzian() -> None:
    """Independent of the convolution: angles drawn at random from the Lorentzian, projected, scaled by the depth."""
    crystal, aperture = Crystal.from_material("al"), 5.0
    theta_e = 0.060  # mrad, 5.5 rho^0.3 / (F E0) with rho = 2.70, F = 0.618, E0 = 200
    rng = np.random.default_rng(0)
    theta = theta_e * np.sqrt((1 + (aperture / theta_e) ** 2) ** rng.random(400_000) - 1)
    along_g = theta * np.cos(2 * np.pi * rng.random(theta.size)) * rng.random(theta.size)
    turns = inelastic_turns(crystal, 200, aperture, 0.05)
    classes = np.sort(along_g).reshape(len(turns.weight), -1).mean(axis=1)
    np.testing.assert_allclose(turns.angle_mrad, classes, atol=0.012)


def test_inelastic_electrons_wash_out_thickness_fringes() -> None:
    two_beam, g_inv_nm = TwoBeam(xi_g_nm=36), 4.8
    turns = inelastic_turns(Crystal.from_material("fe_gamma"), 200, 5, 200)
    thickness = np.linspace(100, 300, 400)
    s = g_inv_nm * 1e-3 * turns.angle_mrad
    washed = sum(w * perfect_crystal(two_beam, o, thickness)[0] for o, w in zip(s, turns.weight))
    assert 0.3 < np.ptp(washed) < 0.95  # without: 1, fringes from 0 to 1
    assert washed.mean() == pytest.approx(0.5, abs=0.1)


def test_thermal_diffuse_share_is_a_share_of_all_directions() -> None:
    crystal = Crystal.from_material("al")
    assert thermal_diffuse_share(crystal, 200, 1000) == pytest.approx(1, abs=1e-6)
    at_beam, at_g = (thermal_diffuse_share(crystal, 200, 5, offset) for offset in (0.0, 4.28))
    # Thermal scattering is weak forward, 1 - exp(-2 B s^2): more of it surrounds a diffracted beam's aperture.
    assert 0 < at_beam < at_g < 0.05


def two_beam_scene(**beam) -> Scene:
    condition = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1), **beam)
    return Scene(crystal=Crystal.from_material("al"), foil=Foil(thickness_nm=150.0), beam=condition, shape=(8, 8), pixel_nm=1.0)


def test_a_perfect_foils_image_is_that_of_elastic_inelastic_and_diffuse_electrons() -> None:
    """Put together here from closed forms: the column code and the mixture must agree with it."""
    scene = two_beam_scene(s_inv_nm=0.004, aperture_mrad=6.0)
    specimen = Specimen.of(scene)
    crystal, t = scene.crystal, 150.0
    turns, share = inelastic_turns(crystal, 200, 6.0, t), float(inelastic_share(crystal, 200, 6.0, t))
    g = float(np.linalg.norm(specimen.g_image_inv_nm[:2]))  # |K| / |K + g| is 1 to 1e-4
    elastic = np.array(perfect_crystal(specimen.two_beam, 0.004, t))
    turned = sum(w * np.array(perfect_crystal(specimen.two_beam, 0.004 + 1e-3 * a * g, t)) for a, w in zip(turns.angle_mrad, turns.weight))
    every = (1 - share) * elastic + share * turned
    g_length = float(np.linalg.norm(specimen.g_image_inv_nm))
    from_g = every[1] / every.sum() / 2  # half of the way the electrons are distributed as at the exit
    passing = [thermal_diffuse_share(crystal, 200, 6.0, d) for d in (0, g_length)]
    xi_0_prime_nm = absorption_lengths_nm(crystal, (2, 0, 0), 200)[0]
    diffuse = ((1 - from_g) * passing[0] + from_g * passing[1]) * (1 - np.exp(-2 * np.pi * t / xi_0_prime_nm))
    np.testing.assert_allclose(noise_free_intensity(scene, specimen), every[0] + diffuse, rtol=1e-4)


def test_without_an_aperture_only_bragg_electrons_form_the_image() -> None:
    scene = two_beam_scene(s_inv_nm=0.004)
    specimen = Specimen.of(scene)
    np.testing.assert_allclose(noise_free_intensity(scene, specimen), perfect_crystal(specimen.two_beam, 0.004, 150.0)[0], rtol=1e-5)
    again = Scene.from_json(two_beam_scene(aperture_mrad=5.0).to_json())
    assert again.beam.aperture_mrad == 5.0
    with pytest.raises(InputError, match=r"beam.aperture_mrad must lie in \(0, 100\], got 0"):
        two_beam_scene(aperture_mrad=0.0)


def test_inelastic_scattering_weakens_the_contrast_of_a_line() -> None:
    line = Dislocation(burgers_uvw=(0.5, 0.5, 0), points_nm=[[-40, -40, 0], [40, 40, 0]])
    contrast = []
    for aperture in (None, 8.0):
        scene = two_beam_scene(aperture_mrad=aperture)
        scene = scene.replace(dislocations=(line,), shape=(48, 48), surfaces=False)
        image = noise_free_intensity(scene, Specimen.of(scene))
        contrast.append(float(np.ptp(image) / np.median(image)))
    assert contrast[1] < 0.95 * contrast[0]
