"""Precipitates and voids under many beams, and the tables of layers that may not lose accuracy."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from physics.beam import BeamCondition, excitation_error_of_ng
from physics.boundary import GrainBoundary
from physics.contrast import many_beam
from physics.contrast.beams import beam_set
from physics.contrast.columns import column_values
from physics.contrast.two_beam import TwoBeam
from physics.crystal import Crystal
from physics.particle import Particle
from physics.strain.segments import Segments

AL = Crystal.from_material("al")
ELASTIC = {"poisson_ratio": 0.33, "core_nm": 0.5}
LINE = Segments(start_nm=[[-3e5, -8e5, -5.5e5]], end_nm=[[3e5, 8e5, 5.5e5]], burgers_nm=[[0.2, 0.15, 0.1]], line=[0])
NOTHING = Segments(start_nm=np.empty((0, 3)), end_nm=np.empty((0, 3)), burgers_nm=np.empty((0, 3)), line=[])
SPHERE = Particle(kind="coherent_sphere", centre_nm=[4.0, -3.0, 12.0], radius_nm=6.0, misfit=0.015, xi_ratio=1.6)
FAR_SPHERE = Particle(kind="coherent_sphere", centre_nm=[-180.0, 40.0, -5.0], radius_nm=10.0, misfit=-0.02)
VOID = Particle(kind="void", centre_nm=[-6.0, 2.0, -20.0], radius_nm=9.0)
TWIN = GrainBoundary(point_nm=(14, 0, 0), normal=(1, 0.3, 0.8), width_nm=9.0, s_inv_nm=0.1, xi_g_nm=60.0)
PARTICLES = (SPHERE, FAR_SPHERE, VOID, TWIN)
X = np.linspace(-28, 28, 57)
TOP, BOTTOM = 50.0, -50.0


def beams_of(n=2.4, **options):
    s = excitation_error_of_ng(AL, (1, 1, 1), 200, n)
    return beam_set(AL, BeamCondition(g_hkl=(1, 1, 1), zone_axis_uvw=(1, -1, 0), s_inv_nm=s, image="df", **options))


def values(beams, particles=PARTICLES, segments=LINE, x=X, y=1.0, **options):
    return column_values(
        segments, np.zeros(3), TwoBeam(xi_g_nm=50), x, y, TOP, BOTTOM, beams.reference_s_inv_nm, beams=beams, every_beam=True,
        particles=particles, **ELASTIC | options,
    )  # fmt: skip


@pytest.mark.parametrize(("reference", "allowed"), [(True, 1e-11), (False, 2e-5)])  # two float32 kernels of 1e-5 each
def test_particles_under_000_and_g_are_the_two_beam_case(reference, allowed):
    beams = beams_of(row=(0, 1), n=1.5)
    q = beams.coupling_inv_nm[1, 0]
    two = TwoBeam(xi_g_nm=1 / q.real, xi_g_prime_nm=1 / q.imag, xi_0_prime_nm=beams.xi_0_prime_nm)
    plain = column_values(
        LINE, beams.g_image_inv_nm[1], two, X, 1.0, TOP, BOTTOM, beams.s_inv_nm[1], particles=PARTICLES, reference=reference, **ELASTIC
    )
    assert np.ptp(np.array(plain), axis=1).min() > 0.05
    assert np.abs(values(beams, reference=reference) - np.array(plain)).max() < allowed


@pytest.mark.parametrize("options", [{"row": (-1, 0, 1, 2, 3)}, {"beams_hkl": ((0, 0, 0), (1, 1, 1), (0, 0, 2), (1, 1, -1))}])
def test_tiles_agree_with_direct_double_summation(options):
    beams = beams_of(**options)
    exact = values(beams, reference=True, slice_nm=1 / 8)
    scale = exact.max(axis=1, keepdims=True)  # the brightest column of each beam
    error = (values(beams) - exact) / scale
    # A tenth of the 1e-3 rms and 1e-2 at most that an image is allowed.
    assert np.sqrt(np.mean(error**2, axis=1)).max() < 1e-4 and np.abs(error).max() < 1e-3
    assert (np.abs(values(beams, particles=()) - exact) / scale).max(axis=1).min() > 0.05


def test_void_is_a_piece_in_which_the_beams_do_not_couple():
    beams = beams_of(row=(-1, 0, 1, 2, 3))
    matrix, chord_nm = beams.matrix_inv_nm(), 18.0  # through the centre of VOID
    crystal = [expm(1j * math.pi * t * matrix) for t in (TOP + 11, -29 - BOTTOM)]  # VOID is from -11 to -29
    vacuum = np.diag(np.exp(1j * math.pi * chord_nm * np.diag(matrix)))
    phi = crystal[1] @ vacuum @ crystal[0][:, beams.origin]
    wanted = np.abs(phi) ** 2 * math.exp(-2 * math.pi * (TOP - BOTTOM - chord_nm) / beams.xi_0_prime_nm)
    for reference, allowed in ((True, 1e-10), (False, 2e-5)):  # float32
        found = values(beams, (VOID,), NOTHING, x=[-6.0], y=2.0, reference=reference)[:, 0]
        assert np.abs(found - wanted).max() < allowed


def test_precipitate_agrees_with_an_integration_of_its_closed_form():
    """Ashby & Brown (1963): u = epsilon R^3 r / r^3 outside, epsilon r inside; equations of `beams` by an ODE solver."""
    beams, x, y = beams_of(row=(-1, 0, 1, 2, 3)), 7.0, 1.0
    coupling, s = beams.coupling_inv_nm, beams.s_inv_nm
    offset = np.array([x, y]) - SPHERE.centre_nm[:2]
    half = math.sqrt(SPHERE.radius_nm**2 - offset @ offset)

    def displacement(depth):
        r = np.array([*offset, TOP - depth - SPHERE.centre_nm[2]])
        return SPHERE.misfit * r * min(1.0, SPHERE.radius_nm**3 / np.linalg.norm(r) ** 3)

    def slope(depth):
        return beams.g_image_inv_nm @ (displacement(depth + 1e-4) - displacement(depth - 1e-4)) / 2e-4

    phi, depths = np.eye(len(beams))[beams.origin].astype(complex), [0, *(TOP - SPHERE.centre_nm[2] + np.array([-half, half])), TOP - BOTTOM]
    for piece, (begin, end) in enumerate(zip(depths[:-1], depths[1:])):
        share = 1 / SPHERE.xi_ratio if piece == 1 else 1.0

        def equations(depth, phi, share=share):
            return 1j * math.pi * (share * coupling @ phi + 2 * (s + slope(depth)) * phi) - share * math.pi / beams.xi_0_prime_nm * phi

        phi = solve_ivp(equations, (begin, end), phi, rtol=1e-8, atol=1e-10).y[:, -1]
    for reference, options, allowed in ((True, {"slice_nm": 1 / 8}, 1e-5), (False, {}, 2e-3)):
        found = values(beams, (SPHERE,), NOTHING, x=[x], y=y, reference=reference, **options)[:, 0]
        assert np.abs(found - np.abs(phi) ** 2).max() < allowed * (np.abs(phi) ** 2).max()


@pytest.mark.parametrize("most_powers", [1, 2])
def test_too_few_powers_shorten_the_table_and_cost_no_accuracy(most_powers, monkeypatch):
    beams = beams_of(row=(-1, 0, 1, 2, 3))
    full = many_beam.beam_table(beams, 1.0, (0.0, 0.0), 0.05, np.empty((0, 5)), np.zeros((1, 5)), np.ones(1))
    usual = values(beams, ())
    monkeypatch.setattr(many_beam, "MOST_POWERS", most_powers)
    short = many_beam.beam_table(beams, 1.0, (0.0, 0.0), 0.05, np.empty((0, 5)), np.zeros((1, 5)), np.ones(1))
    assert short.range_inv_nm[1] < 0.9 * full.range_inv_nm[1]
    u = np.linspace(-1, 1, 7)
    matrix = short.generator[0, 0] + 1j * short.generator[0, 1].astype(float)
    table = (short.layer[0, 0] + 1j * short.layer[0, 1]).reshape(5, -1, 5)
    for share in u:
        beta = share * short.range_inv_nm[1]
        n = np.arange(5)  # multiples from the first beam on
        back = np.diag(np.exp(-1j * math.pi * beta * n))
        exact = back @ expm(1j * math.pi * (matrix + 2 * beta * np.diag(n))) @ back
        tabulated = np.eye(5) + np.einsum("gkh,k->gh", table, share ** np.arange(table.shape[1]))
        assert np.abs(tabulated - exact).max() < 1.1 * (many_beam.TABLE_TOLERANCE + many_beam.TABLE_TOLERANCE_NEAR)
    assert np.abs(values(beams, ()) - usual).max() < 100 * many_beam.TABLE_TOLERANCE  # of 100 layers


def test_long_steps_through_strong_crystals_are_taken_in_parts(monkeypatch):
    """One layer of gold 4 nm thick with 17 beams: the norm of its matrix is some 40, for which one series would fail in float32."""
    gold = Crystal.from_material("au")
    beams = beam_set(gold, BeamCondition(g_hkl=(1, 1, 1), zone_axis_uvw=(1, -1, 0), row=tuple(range(-8, 9))))
    monkeypatch.setattr(many_beam, "WIDEST_TURN", 1e-6)  # a table of no width: every layer by series
    monkeypatch.setattr("physics.contrast.columns.WIDEST_STEP_MANY", 1e3)
    x = np.array([0.0, 20.0])
    found = column_values(
        LINE, np.zeros(3), TwoBeam(xi_g_nm=50), x, 60.0, 20.0, -20.0, 0.0, beams=beams, every_beam=True, slice_nm=4.0, **ELASTIC
    )
    exact = column_values(
        LINE, np.zeros(3), TwoBeam(xi_g_nm=50), x, 60.0, 20.0, -20.0, 0.0, beams=beams, every_beam=True, slice_nm=0.5, reference=True,
        **ELASTIC,
    )  # fmt: skip
    assert np.abs(found - exact).max() < 2e-3
