"""Convergence and energy spread: averages over plane waves."""

import math

import numpy as np
import pytest

from physics.beam import BeamCondition, excitation_error, excitation_error_of_ng, g_image_inv_nm
from physics.contrast.beams import beam_set
from physics.contrast.columns import ColumnGrid, column_image, column_values, perfect_columns
from physics.contrast.spread import Spread
from physics.contrast.two_beam import TwoBeam, perfect_crystal
from physics.crystal import Crystal
from physics.electron import wavelength_nm
from physics.errors import InputError
from physics.strain.segments import Segments
from render.scene import Scene
from render.simulate import simulate
from render.specimen import Specimen

ELASTIC = {"poisson_ratio": 0.33, "core_nm": 0.5}
BEAM = TwoBeam(xi_g_nm=70, xi_g_prime_nm=700, xi_0_prime_nm=700)
G = np.array([4.2, 0, 0])
DIRECTION = 1e6 * np.array([0.3, 0.8, 0.55])
LINE = Segments(start_nm=[-DIRECTION], end_nm=[DIRECTION], burgers_nm=[[0.2, 0.15, 0.1]], line=[0])
X = np.linspace(-30, 30, 25)
AL = Crystal.from_material("al")


def dense_disc(count=1500):
    """Points of [-1, 1] of equal weight under sqrt(1 - x^2)."""
    x = np.linspace(-1, 1, 200001)
    share = np.cumsum(np.sqrt(1 - x**2))
    return np.interp((np.arange(count) + 0.5) / count, share / share[-1], x)


@pytest.mark.parametrize("convergence_mrad", [0.3, 2.0, 8.0])
@pytest.mark.parametrize("thickness", [40.0, 130.0])
def test_average_over_a_cone_is_that_of_many_plane_waves(convergence_mrad, thickness):
    spread = Spread(voltage_kV=200, convergence_mrad=convergence_mrad)
    found = perfect_columns(BEAM, 0.004, thickness, g_image_inv_nm=G, spread=spread)
    s = 0.004 + 4.2 * convergence_mrad * 1e-3 * dense_disc()
    expected = np.array(perfect_crystal(BEAM, s, thickness)).mean(axis=1)
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("row", [None, (-1, 0, 1, 2)])
def test_images_of_plane_waves_add_up_to_the_image_of_the_cone(row):
    """With a line in the foil the rule is as good as without: the band limit does not know of strain."""
    beam = BeamCondition(g_hkl=(1, 1, 1), zone_axis_uvw=(1, -1, 0), row=row, s_inv_nm=0.01)
    beams, g = beam_set(AL, beam), g_image_inv_nm(AL, beam)
    spread = Spread(voltage_kV=200, convergence_mrad=1.5)
    s = 0.01 + np.linalg.norm(g) * 1.5e-3 * dense_disc(48)

    def of(s, **options):
        return np.array(column_values(LINE, g, BEAM, X, 3, 50, -50, s, beams=beams, **ELASTIC | options))

    expected = np.mean([of(each) for each in s], axis=0)
    assert np.abs(of(0.01) - expected).max() > 0.005
    for reference in (False, True):
        assert np.abs(of(0.01, spread=spread, reference=reference) - expected).max() < 1e-3


def test_wide_convergence_averages_thickness_fringes_to_their_mean():
    """Far from the Bragg angle DF = sin^2(pi s t)/(xi s)^2 -> 1/(2 xi^2 s^2); its fringes fade as J_1(w)/w."""
    beam, t = TwoBeam(xi_g_nm=400), np.linspace(200, 260, 121)
    s = 0.05
    fringes = perfect_columns(beam, s, t, g_image_inv_nm=G)[1]
    faded = perfect_columns(beam, s, t, g_image_inv_nm=G, spread=Spread(voltage_kV=200, convergence_mrad=2.0))[1]
    mean = 0.5 / (400 * s) ** 2
    assert np.ptp(fringes) == pytest.approx(2 * mean, rel=0.01)
    assert np.ptp(faded) < 0.2 * np.ptp(fringes) and faded.mean() == pytest.approx(mean, rel=0.1)  # <1/s^2> is larger


def test_without_spread_the_bytes_stay():
    grid = ColumnGrid.flat((40, 36), 1.0, 100, 0.01)
    plain = column_image(LINE, G, BEAM, grid, **ELASTIC)
    none = column_image(LINE, G, BEAM, grid, spread=Spread(voltage_kV=200), **ELASTIC)
    assert np.array(plain).tobytes() == np.array(none).tobytes()


def test_only_the_component_along_g_counts_for_a_row_and_both_for_a_zone():
    spread = Spread(voltage_kV=200, convergence_mrad=1.0)
    row, weights = spread.points([[0, 0, 0], G, 2 * G], 100)
    # s = -(2 K.g + g^2)/(2 |K + g|): |K + g| grows by 1e-4 from beam to beam
    np.testing.assert_allclose(row[:, 2], 2 * row[:, 1], rtol=1e-3)
    assert weights.sum() == pytest.approx(1)
    zone, weights = spread.points([[0, 0, 0], G, [0, 3.0, 0]], 100)
    assert weights.sum() == pytest.approx(1) and len(weights) > len(row)
    # a filled disc of radius 1: <x^2> = <y^2> = 1/4, <x y> = 0
    np.testing.assert_allclose(zone[:, 1:].T @ (weights[:, None] * zone[:, 1:]), np.diag([4.2e-3, 3e-3]) ** 2 / 4, atol=1e-9, rtol=1e-3)


def test_offset_of_an_energy_is_the_excitation_error_of_its_wavelength():
    crystal, volts = AL, 200.0
    s = excitation_error_of_ng(crystal, (2, 2, 0), volts, 3)
    g = g_image_inv_nm(crystal, BeamCondition(g_hkl=(2, 2, 0), zone_axis_uvw=(0, 0, 1), s_inv_nm=s))
    spread = Spread(voltage_kV=volts, energy_spread_eV=2000.0)  # far beyond any gun, to see a change
    offsets, weights = spread.points(np.array([np.zeros(3), g, 3 * g]), 300.0)
    assert len(weights) > 1 and (offsets[:, 0] == 0).all()
    sigma_keV = 2.0 / (2 * math.sqrt(2 * math.log(2)))
    nodes = np.polynomial.hermite_e.hermegauss(len(weights))[0]
    for node, found in zip(nodes, offsets):
        k = [np.array([0, 0, -1 / wavelength_nm(volts + e)]) for e in (0, node * sigma_keV)]
        for beam, n in ((1, 1), (2, 3)):
            change = excitation_error(k[1], n * g) - excitation_error(k[0], n * g)
            assert found[beam] == pytest.approx(change, rel=0.02, abs=1e-9)  # linear in the energy
    assert len(Spread(voltage_kV=volts, energy_spread_eV=1.0).points(np.array([np.zeros(3), g]), 100)[1]) == 1


def test_bad_spreads_are_refused():
    with pytest.raises(InputError, match=r"beam.convergence_mrad must lie in \[0, 50\]"):
        BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1), convergence_mrad=-1)
    with pytest.raises(InputError, match="plane waves"):
        Spread(voltage_kV=200, convergence_mrad=50).points([[0, 0, 0], [9, 0, 0], [0, 9, 0]], 1000)


SCENE = {
    "crystal": {"material": "al"}, "foil": {"thickness_nm": 90}, "shape": [24, 40], "pixel_nm": 1.0,
    "beam": {"g_hkl": [2, 0, 0], "zone_axis_uvw": [0, 0, 1], "s_inv_nm": 0.03, "image": "df", "row": [-1, 0, 1, 2, 3],
             "convergence_mrad": 0.5, "energy_spread_eV": 1.0},
    "dislocations": [{"burgers_uvw": [0.5, 0.5, 0], "points_nm": [[-200, -5, 0], [200, 5, 1]]}],
}  # fmt: skip


def test_a_scene_under_many_beams_reads_back_and_its_labels_know_the_beams():
    import json

    scene = Scene.from_json(json.dumps(SCENE))
    again = Scene.from_json(scene.to_json())
    assert again.beam == scene.beam and again.beam.row == (-1, 0, 1, 2, 3)
    specimen = Specimen.of(scene)
    micrograph = simulate(scene)
    assert micrograph.intensity.shape == (24, 40)
    background = float(specimen.perfect_columns(np.array(0.03), np.array(90.0))[1])
    line = micrograph.lines[0]
    assert np.abs(line.contrast).max() > 0.5 and micrograph.intensity.max() > 1.5 * background
    two = scene.replace(beam=BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1), s_inv_nm=0.03, image="df"))
    assert np.abs(simulate(two).intensity - micrograph.intensity).max() > 0.005


@pytest.mark.parametrize("changes, message", [
    ({"beam": {"row": [0, 2]}, "foil": {}}, "beam.dark_field_of must be one of the beams"),
    ({"beam": {"row": None, "beams_hkl": [[0, 0, 0], [2, 0, 0], [0, 2, 0]]}, "foil": {"curvature_inv_um": 0.1}}, "beam.beams_hkl must be multiples of g"),
    ({"beam": {"row": None, "beams_hkl": [[0, 0, 0], [2, 0, 0], [1, 0, 0]]}, "foil": {}}, "beam.beams_hkl must be fed from 000"),
])  # fmt: skip
def test_scenes_whose_beams_do_not_fit_are_refused(changes, message):
    import json

    scene = SCENE | {name: SCENE[name] | change for name, change in changes.items()}
    with pytest.raises(InputError, match=message):
        Scene.from_json(json.dumps(scene))
