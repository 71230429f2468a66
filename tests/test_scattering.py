"""Structure factors and extinction distances (conventions, row 12)."""

import math

import numpy as np
import pytest

from physics.crystal import Crystal
from physics.electron import relativistic_factor, wavelength_nm
from physics.errors import InputError
from physics.material import material_names
from physics.scattering import (
    electron_scattering_factor_nm,
    extinction_distance_nm,
    shortest_extinction_distance_nm,
    structure_factor,
)

# xi_g in nm at 100, 200, 300 kV: mean of four modern factor sets, which agree within about 1 %
TABLE = [
    ("al", (1, 1, 1), (55.6, 70.6, 78.8)), ("al", (2, 0, 0), (66.8, 84.7, 94.6)),
    ("al", (2, 2, 0), (105.7, 134.1, 149.8)), ("cu", (1, 1, 1), (29.1, 36.9, 41.2)),
    ("cu", (2, 0, 0), (32.4, 41.1, 45.9)), ("ni", (1, 1, 1), (26.1, 33.1, 37.0)),
    ("au", (1, 1, 1), (17.8, 22.6, 25.2)), ("fe_alpha", (1, 1, 0), (28.0, 35.5, 39.7)),
    ("w", (1, 1, 0), (17.8, 22.5, 25.1)), ("si", (1, 1, 1), (61.7, 78.2, 87.4)),
    ("si", (2, 2, 0), (76.2, 96.7, 108.0)), ("gaas", (2, 2, 0), (51.1, 64.8, 72.4)),
    ("mg", (0, 0, 2), (80.6, 102.0, 114.0)), ("ti", (0, 0, 2), (37.5, 47.5, 53.1)),
]  # fmt: skip


@pytest.mark.parametrize("name, g_hkl, expected_nm", TABLE)
def test_extinction_distances_of_modern_factor_sets(name, g_hkl, expected_nm):
    crystal = Crystal.from_material(name)
    found_nm = [extinction_distance_nm(crystal, g_hkl, voltage_kV) for voltage_kV in (100, 200, 300)]
    np.testing.assert_allclose(found_nm, expected_nm, rtol=0.01)


def test_aluminium_111_at_100_kV():
    xi_nm = extinction_distance_nm(Crystal.from_material("al"), (1, 1, 1), 100)
    assert xi_nm == pytest.approx(55.6, rel=0.02)  # Hirsch et al. (1977)


def test_voltage_enters_through_lambda_gamma_and_the_bragg_angle():
    crystal = Crystal.from_material("au")
    g_inv_nm = np.linalg.norm(crystal.reciprocal_vector_inv_nm((2, 2, 0)))

    def factor(voltage_kV):
        lam = wavelength_nm(voltage_kV)
        return lam * relativistic_factor(voltage_kV) / math.sqrt(1 - (lam * g_inv_nm / 2) ** 2)

    products = [extinction_distance_nm(crystal, (2, 2, 0), v) * factor(v) for v in (80, 200, 300, 1000)]
    np.testing.assert_allclose(products, products[0], rtol=1e-12)


@pytest.mark.parametrize("name, g_hkl", [("al", (1, 1, 3)), ("ti", (1, 0, 1)), ("gaas", (1, 1, 1)), ("mgo", (1, 1, 1))])
def test_equivalent_reflections_and_friedel_pairs_have_one_extinction_distance(name, g_hkl):
    crystal = Crystal.from_material(name)
    planes = crystal.equivalent_planes(g_hkl)
    moduli = [abs(structure_factor(crystal, hkl)) for hkl in [*planes, *-planes]]
    np.testing.assert_allclose(moduli, moduli[0], rtol=1e-12)


@pytest.mark.parametrize("name", material_names())
def test_no_reflection_is_stronger_than_the_strongest(name):
    crystal = Crystal.from_material(name)
    hkl = [h for h in np.ndindex(9, 9, 9) if crystal.is_allowed_reflection(np.array(h) - 4) and h != (4, 4, 4)]
    every = [extinction_distance_nm(crystal, np.array(h) - 4, 200) for h in hkl]
    assert shortest_extinction_distance_nm(crystal, 200) == pytest.approx(min(every), rel=1e-12)


def test_structure_factor_of_fcc_is_four_atoms_and_of_hcp_what_its_phase_says():
    al, ti = Crystal.from_material("al"), Crystal.from_material("ti")
    # f_e = F / 4 for unmixed indices; hcp |F|^2 / f^2 = 4 cos^2(pi (h + 2k)/3 + pi l/2): 4, 3, 1 (Hirsch et al. 1977)
    assert structure_factor(al, (1, 1, 1)).imag == pytest.approx(0, abs=1e-12)
    assert abs(structure_factor(al, (1, 0, 0))) < 1e-12
    for hkl, intensity in [((0, 0, 2), 4), ((1, 0, 1), 3), ((1, 0, 0), 1), ((1, 1, 0), 4)]:
        f_nm = electron_scattering_factor_nm("Ti", float(np.linalg.norm(ti.reciprocal_vector_inv_nm(hkl))))
        assert abs(structure_factor(ti, hkl)) ** 2 / f_nm**2 == pytest.approx(intensity)


def test_scattering_factor_falls_off_as_rutherford_at_large_angle():
    # f_e -> Z / (8 pi^2 a0 s^2) once f_x << Z (Mott 1930): the s in it is g / 2, not g
    g_inv_nm = 100.0
    bohr_nm = 0.0529177
    rutherford_nm = 13 / (8 * math.pi**2 * bohr_nm * (g_inv_nm / 2) ** 2)
    assert electron_scattering_factor_nm("Al", g_inv_nm) == pytest.approx(
        rutherford_nm, rel=0.03
    )  # f_x / Z = 0.28 / 13


def test_debye_waller_only_when_asked():
    crystal = Crystal.from_material("al")
    plain, warm = (structure_factor(crystal, (4, 0, 0), debye_waller=asked) for asked in (False, True))
    s_inv_A = 4 / crystal.lattice_nm[0, 0] / 10 / 2
    assert abs(warm / plain) == pytest.approx(math.exp(-0.746 * s_inv_A**2))  # B of Al at 280 K, Peng et al. (1996)
    cold_nm, warm_nm = (extinction_distance_nm(crystal, (4, 0, 0), 200, debye_waller=asked) for asked in (False, True))
    assert warm_nm > cold_nm


def test_alloy_scatters_as_the_mean_of_its_elements():
    crystal = Crystal.from_material("cocrfemnni")
    g_inv_nm = float(np.linalg.norm(crystal.reciprocal_vector_inv_nm((1, 1, 1))))
    mean_nm = np.mean([electron_scattering_factor_nm(e, g_inv_nm) for e in ("Co", "Cr", "Fe", "Mn", "Ni")])
    assert structure_factor(crystal, (1, 1, 1)).real == pytest.approx(4 * mean_nm)


@pytest.mark.parametrize("name, g_hkl", [("al", (1, 1, 0)), ("w", (1, 0, 0)), ("si", (2, 2, 2)), ("ti", (0, 0, 1))])
def test_forbidden_reflections_have_no_extinction_distance(name, g_hkl):
    with pytest.raises(InputError, match="g_hkl must be allowed"):
        extinction_distance_nm(Crystal.from_material(name), g_hkl, 200)


def test_origin_has_no_structure_factor_and_far_reflections_no_bragg_angle():
    al = Crystal.from_material("al")
    with pytest.raises(InputError, match="000|0, 0, 0"):
        structure_factor(al, (0, 0, 0))
    with pytest.raises(InputError, match="lambda g / 2"):
        extinction_distance_nm(al, (80, 0, 0), 10)
