"""Absorption by thermal diffuse scattering: the integral, its limits and its scaling."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from physics.absorption import absorption_lengths_nm, absorptive_form_factor_nm, diffuse_integral
from physics.beam import BeamCondition, beam_absorption_nm
from physics.crystal import Crystal
from physics.electron import relativistic_factor, wavelength_nm
from physics.errors import InputError
from physics.scattering import electron_scattering_factor_nm, extinction_distance_nm

# f_e as a sum of Gaussians a exp(-b s^2), a in A and b in A^2: made up, of the size of a metal's.
A, B = np.array([2.0, 3.0, 1.0]), np.array([30.0, 6.0, 0.7])


def gaussians(s_inv_A):
    return (A[:, None, None] * np.exp(-B[:, None, None] * s_inv_A**2)).sum(axis=0)


@pytest.mark.parametrize("s", [0.0, 0.2, 0.6])
@pytest.mark.parametrize("debye_waller", [0.3, 1.5])
def test_integral_of_gaussian_form_factors_has_its_closed_form(s, debye_waller):
    both, product = B[:, None] + B, np.outer(B, B)
    elastic = np.exp(-product * s**2 / both) / both
    kept = 2 * debye_waller
    # Complete the square in exp(-b_i |s/2 + s'|^2 - b_j |s/2 - s'|^2 - 2 B (s'^2 - s^2/4)).
    thermal = np.exp(-both * s**2 / 4 + (B[:, None] - B) ** 2 * s**2 / (4 * (both + kept)) + debye_waller * s**2 / 2) / (both + kept)
    closed = math.pi * (np.outer(A, A) * (elastic - thermal)).sum()
    assert diffuse_integral(gaussians, s, debye_waller) == pytest.approx(closed, rel=1e-12)


def test_forward_absorption_is_the_optical_theorem_for_the_diffuse_cross_section():
    # sigma = 2 lambda Im f, f relativistic; dOmega = lambda^2 2 pi q dq, d sigma / d Omega = (gamma f_e)^2 (1 - exp(-2 B s^2))
    voltage_kV, b_nm2 = 200.0, 0.00526  # Cu: Peng et al. (1996), table 1
    wavelength, gamma = wavelength_nm(voltage_kV), relativistic_factor(voltage_kV)
    g = np.linspace(0.5, 120.0, 2000)
    f_nm = np.array([electron_scattering_factor_nm("Cu", q) for q in g])
    density = 2 * math.pi * g * (gamma * f_nm * wavelength) ** 2 * -np.expm1(-2 * b_nm2 * g**2 / 4)
    sigma_nm2 = float(((density[1:] + density[:-1]) / 2 * np.diff(g)).sum())
    sigma_nm2 += math.pi * (g[-1] * gamma * f_nm[-1] * wavelength) ** 2  # Rutherford's 1 / q^2 beyond, the exponential gone
    forward_nm = gamma * absorptive_form_factor_nm("Cu", 0.0, b_nm2, voltage_kV)
    assert 2 * wavelength * forward_nm == pytest.approx(sigma_nm2, rel=2e-3)  # the step and what lies below 0.5 1/nm


def test_absorption_falls_with_the_square_of_the_speed_and_grows_with_vibration():
    def beta(voltage_kV):
        return math.sqrt(1 - 1 / relativistic_factor(voltage_kV) ** 2)

    slow, fast = (absorptive_form_factor_nm("Al", 4.3, 0.0086, kV) for kV in (100.0, 300.0))
    assert slow / fast == pytest.approx(beta(300.0) / beta(100.0), rel=1e-9)
    # f' goes with 1 / v and so does lambda gamma: 1 / xi_g' goes with 1 / v^2.
    al = Crystal.from_material("al")
    at_100, at_300 = (absorption_lengths_nm(al, (2, 0, 0), kV)[1] for kV in (100.0, 300.0))
    assert at_300 / at_100 == pytest.approx((beta(300.0) / beta(100.0)) ** 2, rel=1e-4)
    small, large = (absorptive_form_factor_nm("Al", 4.3, b_nm2, 100.0) for b_nm2 in (0.004, 0.016))
    assert 2 < large / small < 4  # less than linear, the inner potential's share saturates


def test_ratio_of_absorption_and_potential_grows_about_linearly_with_atomic_number():
    # Radi, Acta Cryst. A26 (1970) 41, abstract: "increases about linearly with Z, for a given g"
    ratios = {}
    for name, charge in (("al", 13), ("cu", 29), ("ag", 47), ("au", 79)):
        crystal = Crystal.from_material(name)
        ratios[charge] = extinction_distance_nm(crystal, (1, 1, 1), 100.0) / absorption_lengths_nm(crystal, (1, 1, 1), 100.0)[1]
    slopes = np.array([ratio / charge for charge, ratio in ratios.items()])
    assert slopes.max() / slopes.min() < 1.6
    # ibid.: well above the 0.005 to 0.012 of excitation of electrons
    assert 0.015 < ratios[13] < 0.03 and 0.1 < ratios[79] < 0.2


@pytest.mark.parametrize(("name", "g_hkl"), [("al", (1, 1, 1)), ("w", (1, 1, 0)), ("mg", (1, 0, 1)), ("gaas", (2, 2, 0)), ("si", (1, 1, 1)), ("cocrfemnni", (2, 0, 0))])
def test_no_wave_grows(name, g_hkl):
    zero_nm, g_nm = absorption_lengths_nm(Crystal.from_material(name), g_hkl, 200.0)
    assert 0 < zero_nm < g_nm  # f'(s) exp(-B s^2) is largest at s = 0


def test_beam_takes_the_convention_unless_asked():
    al = Crystal.from_material("al")
    beam = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1))
    xi_nm = extinction_distance_nm(al, (2, 0, 0), 200.0)
    # One mean absorption for the crystal: that of its strongest reflection.
    strongest_nm = extinction_distance_nm(al, (1, 1, 1), 200.0)
    assert beam_absorption_nm(al, beam) == pytest.approx((10 * strongest_nm, 10 * xi_nm))
    other = replace(beam, g_hkl=(3, 1, 1), zone_axis_uvw=(0, 1, -1))
    assert beam_absorption_nm(al, other)[0] == beam_absorption_nm(al, beam)[0]
    given = replace(beam, xi_g_nm=60.0)
    assert beam_absorption_nm(al, given) == pytest.approx((600, 600))
    computed = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1), absorption="tds")
    assert beam_absorption_nm(al, computed) == absorption_lengths_nm(al, (2, 0, 0), 200.0)


def test_weak_difference_reflections_are_refused_where_a_length_cannot_say_their_absorption():
    # Arsenic scatters more than gallium; gallium that vibrates far more absorbs more.
    unequal = replace(Crystal.from_material("gaas"), debye_waller_nm2=(("As", 0.002), ("Ga", 0.01)))
    with pytest.raises(InputError, match=r"g_hkl must have an absorption in phase .*use absorption = convention"):
        absorption_lengths_nm(unequal, (2, 0, 0), 200.0)


@pytest.mark.parametrize(("changes", "message"), [
    ({"absorption": "none"}, 'beam.absorption must be "convention" or "tds"'),
    ({"absorption": "tds", "xi_g_prime_over_xi_g": 20}, 'beam.absorption must be "convention" where'),
    ({"xi_g_prime_over_xi_g": 8}, r"beam.xi_g_prime_over_xi_g must be >= xi_0_prime_over_shortest_xi = 10 .*got 8.0; raise it"),
    ({"xi_0_prime_over_shortest_xi": None}, "beam.xi_g_prime_over_xi_g must be >= xi_0_prime_over_shortest_xi = inf"),
])  # fmt: skip
def test_absorption_that_contradicts_itself_or_amplifies_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1), **changes)


def test_drawn_absorption_never_amplifies_and_fixed_absorption_is_judged():
    from render.conditions import draw_beam
    from render.sample_config import SampleConfig

    al, rng = Crystal.from_material("al"), np.random.Generator(np.random.Philox(5))
    drawn = [draw_beam(SampleConfig.from_dict({}).beam, al, rng) for _ in range(50)]
    assert all(beam.xi_g_prime_over_xi_g >= beam.xi_0_prime_over_shortest_xi for beam in drawn)
    assert len({beam.xi_g_prime_over_xi_g for beam in drawn}) == 50
    computed = SampleConfig.from_dict({"beam": {"absorption": "tds"}}).beam
    assert draw_beam(computed, al, rng).absorption == "tds"
    with pytest.raises(InputError, match="beam.xi_g_prime_over_xi_g must be >="):
        draw_beam(SampleConfig.from_dict({"beam": {"xi_0_prime_over_shortest_xi": 20, "xi_g_prime_over_xi_g": 10}}).beam, al, rng)
