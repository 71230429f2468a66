import dataclasses
import math

import numpy as np
import pytest
from scipy.linalg import expm

import physics.parallel
from physics.beam import BeamCondition, excitation_error_of_ng
from physics.contrast import columns
from physics.contrast.beams import BeamSet, beam_set
from physics.contrast.columns import ColumnGrid, column_image, column_values, perfect_columns
from physics.contrast.many_beam import perfect_crystal
from physics.contrast.two_beam import TwoBeam
from physics.contrast.two_beam import perfect_crystal as two_beam_crystal
from physics.crystal import Crystal
from physics.errors import InputError
from physics.strain.segments import Segments

ELASTIC = {"poisson_ratio": 0.33, "core_nm": 0.5}
NOTHING = Segments(start_nm=np.empty((0, 3)), end_nm=np.empty((0, 3)), burgers_nm=np.empty((0, 3)), line=[])
INF = math.inf
ROW = (-1, 0, 1, 2, 3)


def endless(direction, burgers_nm, through_nm=(0, 0, 0)):
    direction = np.asarray(direction) / np.linalg.norm(direction)
    ends = np.asarray(through_nm, float) + 1e6 * np.array([-direction, direction])
    return Segments(start_nm=ends[:1], end_nm=ends[1:], burgers_nm=[burgers_nm], line=[0])


MIXED = endless([0.3, 0.8, 0.55], [0.2, 0.15, 0.1])


def inclined_lines(lines=6, field_nm=128):
    """Straight lines through the foil at random, |b| of aluminium."""
    rng = np.random.default_rng(0)
    direction, place, burgers = rng.normal(size=(lines, 3)), rng.uniform(-field_nm / 2, field_nm / 2, (lines, 3)), rng.normal(size=(lines, 3))
    direction *= 1e5 / np.abs(direction[:, 2:])
    place[:, 2] = 0
    burgers *= 0.286 / np.linalg.norm(burgers, axis=1)[:, None]  # a/sqrt 2 of aluminium
    return Segments(start_nm=place - direction, end_nm=place + direction, burgers_nm=burgers, line=np.arange(lines))


def condition(name="al", g=(1, 1, 1), n=3.0, row=ROW, zone=(1, -1, 0), **options):
    s = excitation_error_of_ng(Crystal.from_material(name), g, 200, n)
    return BeamCondition(**({"g_hkl": g, "zone_axis_uvw": zone, "row": row, "s_inv_nm": s, "image": "df"} | options))


def beams_of(name="al", **options):
    return beam_set(Crystal.from_material(name), condition(name, **options))


def two(beams):
    """The two-beam system of a set's 000 and dark-field beam."""
    q = beams.coupling_inv_nm[beams.dark, beams.origin]
    inverse = 1 / np.abs(q.imag) if q.imag else INF
    return TwoBeam(xi_g_nm=1 / abs(q.real), xi_g_prime_nm=inverse, xi_0_prime_nm=beams.xi_0_prime_nm)


def values(beams, segments=MIXED, x=None, y=3.0, entrance=50.0, exit_=-50.0, s=None, **options):
    x = np.linspace(-30, 30, 41) if x is None else x
    s = beams.reference_s_inv_nm if s is None else s
    options = {"every_beam": True} | options
    return column_values(segments, np.zeros(3), TwoBeam(xi_g_nm=50), x, y, entrance, exit_, s, beams=beams, **ELASTIC | options)


@pytest.mark.parametrize("n", [1.0, 3.0])
def test_the_set_of_000_and_g_is_the_two_beam_case(n):
    beams = beams_of(row=(0, 1), n=n)
    g, x = beams.g_image_inv_nm[1], np.linspace(-30, 30, 41)
    for reference, allowed in ((True, 1e-12), (False, 1e-5)):  # two float32 kernels with errors of 1e-5 of their own
        options = ELASTIC | {"reference": reference}
        plain = column_values(MIXED, g, two(beams), x, 3, 50, -50, beams.s_inv_nm[1], **options)
        assert np.ptp(plain[0]) > 0.01
        assert np.abs(values(beams, x=x, reference=reference) - np.array(plain)).max() < allowed
    t = np.linspace(1, 300, 50)
    assert np.abs(perfect_crystal(beams, 0.0, t) - np.array(two_beam_crystal(two(beams), beams.s_inv_nm[1], t))).max() < 1e-12


@pytest.mark.parametrize("name, options", [("al", {}), ("gaas", {"g": (1, 1, 1)}), ("al", {"row": None, "beams_hkl": ((0, 0, 0), (1, 1, 1), (2, 2, 0), (0, 0, 2))})])
def test_beams_add_to_one_without_absorption(name, options):
    """In strained crystals too, also without a centre of symmetry, also off one row."""
    beams = beams_of(name, **options, xi_0_prime_over_shortest_xi=INF, xi_g_prime_over_xi_g=INF)
    assert np.abs(perfect_crystal(beams, 0.0, np.linspace(5, 250, 20)).sum(axis=0) - 1).max() < 1e-11
    for reference, allowed in ((True, 1e-11), (False, 1e-5)):
        every = values(beams, reference=reference)
        assert every.std(axis=1).max() > 0.01 and np.abs(every.sum(axis=0) - 1).max() < allowed


@pytest.mark.parametrize("name", ["al", "gaas"])
@pytest.mark.parametrize("absorption", ["convention", "tds"])
def test_no_bloch_wave_grows(name, absorption):
    beams = beams_of(name, g=(2, 2, 0), row=tuple(range(-4, 6)), absorption=absorption)
    for turn in (-0.02, 0.0, 0.03):
        assert np.linalg.eigvals(beams.matrix_inv_nm(turn)).imag.min() + 1 / beams.xi_0_prime_nm > -1e-12


def test_three_symmetric_beams_are_two_with_a_coupling_larger_by_root_two():
    """-g, 0, g with 0 along the zone: phi_g = phi_-g = phi_+/sqrt 2, q_+ = sqrt 2 q_g, 2 s_+ = 2 s + q_2g."""
    beams = beams_of(row=(-1, 0, 1), n=0.0)
    assert beams.s_inv_nm[0] == pytest.approx(beams.s_inv_nm[2], rel=1e-3)
    beams = dataclasses.replace(beams, s_inv_nm=beams.s_inv_nm[2] * np.array([1, 0, 1]))
    q_g, q_2g = beams.coupling_inv_nm[1, 0], beams.coupling_inv_nm[2, 0]
    matrix = 1j * np.pi * np.array([[0, math.sqrt(2) * q_g], [math.sqrt(2) * q_g, 2 * beams.s_inv_nm[2] + q_2g]])
    for t in (30.0, 100.0, 240.0):
        expected = np.abs(expm(matrix * t)[:, 0]) ** 2 * math.exp(-2 * math.pi * t / beams.xi_0_prime_nm)
        found = perfect_crystal(beams, 0.0, t)
        assert found[1] == pytest.approx(expected[0], abs=1e-9) and found[0] == pytest.approx(expected[1] / 2, abs=1e-9)


@pytest.mark.parametrize("row", [(-1, 0, 1), (-2, -1, 0, 1, 2), (-3, -2, -1, 0, 1), (-1, 0, 1, 2, 3)])
def test_rows_on_either_side_of_the_incident_beam_agree_with_direct_integration(row):
    beams = beams_of(row=row, n=1.2)
    assert np.abs(values(beams) - values(beams, reference=True)).max() < 1e-3  # of the incident beam


def test_reversing_g_and_b_together_changes_nothing():
    beams = beams_of()
    reversed_ = dataclasses.replace(
        beams, hkl=-beams.hkl[::-1], g_image_inv_nm=-beams.g_image_inv_nm[::-1], s_inv_nm=beams.s_inv_nm[::-1],
        coupling_inv_nm=beams.coupling_inv_nm[::-1, ::-1], reference_hkl=(-1, -1, -1), dark=len(beams) - 1 - beams.dark,
    )  # fmt: skip
    turned = dataclasses.replace(MIXED, burgers_nm=-MIXED.burgers_nm)
    plain = values(beams, reference=True)
    assert np.abs(values(reversed_, turned, reference=True)[::-1] - plain).max() < 1e-12
    assert np.abs(values(reversed_, MIXED, reference=True)[::-1] - plain).max() > 0.01


def test_bright_field_is_that_of_the_foil_upside_down():
    """Reciprocity (Pogany & Turner, Acta Cryst. A24 (1968) 103): the 00 element of a product of symmetric matrices
    is that of the reversed product. A screw across the beam at z and at -z has reversed fields."""
    beams, x = beams_of(n=1.3), np.linspace(-20, 20, 41)
    beams = dataclasses.replace(beams, g_image_inv_nm=beams.g_image_inv_nm * [1, 1, 0])  # g_z u_z does not reverse
    up, down = (values(beams, endless([0.3, 1, 0], [0.08, 0.27, 0], (0, 0, z)), x=x, reference=True) for z in (17.0, -17.0))
    assert np.abs(up[1] - down[1]).max() < 1e-10
    assert np.abs(up[2] - down[2]).max() > 0.01


def shifted(crystal, by):
    return dataclasses.replace(crystal, basis_positions=crystal.basis_positions + np.asarray(by))


@pytest.mark.parametrize("name", ["gaas", "ti"])
def test_the_origin_of_the_cell_changes_no_intensity(name):
    g = {"gaas": (1, 1, 1), "ti": (1, 0, 1)}[name]
    beam = condition(name, g=g, zone={"gaas": (1, -1, 0), "ti": (0, 1, 0)}[name], n=1.4)
    crystal = Crystal.from_material(name)
    one, other = beam_set(crystal, beam), beam_set(shifted(crystal, [0.13, 0.31, -0.22]), beam)
    assert np.abs(one.coupling_inv_nm - other.coupling_inv_nm).max() > 1e-3
    assert np.abs(values(one, reference=True) - values(other, reference=True)).max() < 1e-11


@pytest.mark.parametrize("name", ["si", "gaas"])
def test_a_fault_is_the_lower_crystal_shifted_by_its_R(name):
    crystal, beam = Crystal.from_material(name), condition(name, g=(1, 1, 1), n=1.2)
    shift, t, depth = np.array([1, 1, 2]) / 6, 90.0, np.array([7.0, 31.0, 64.5])
    beams, below = beam_set(crystal, beam), beam_set(shifted(crystal, shift), beam)
    phase = 2 * np.pi * beams.hkl @ shift
    for reference in (True, False):
        found = values(beams, NOTHING, x=depth, y=0, entrance=45, exit_=-45, fault_z_nm=[45 - depth], fault_phase_rad=[phase], reference=reference)
        for k, d in enumerate(depth):
            phi = expm(1j * np.pi * (t - d) * below.matrix_inv_nm()) @ expm(1j * np.pi * d * beams.matrix_inv_nm())[:, beams.origin]
            expected = np.abs(phi) ** 2 * math.exp(-2 * math.pi * t / beams.xi_0_prime_nm)
            assert np.abs(found[:, k] - expected).max() < (1e-11 if reference else 3e-6)


def test_polarity_of_gaas_shows_only_with_several_beams():
    """g and -g of a row differ where the crystal has no centre; Friedel's law holds for two beams."""
    plus, minus = (beams_of("gaas", g=g, row=ROW, n=1.0) for g in ((1, 1, 1), (-1, -1, -1)))
    t = np.linspace(20, 150, 30)
    assert np.abs(perfect_crystal(plus, 0.0, t) - perfect_crystal(minus, 0.0, t)).max() > 1e-3
    plus, minus = (beams_of("gaas", g=g, row=(0, 1), n=1.0) for g in ((1, 1, 1), (-1, -1, -1)))
    assert np.abs(perfect_crystal(plus, 0.0, t) - perfect_crystal(minus, 0.0, t)).max() < 1e-12


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("options", [{}, {"row": None, "beams_hkl": ((0, 0, 0), (1, 1, 1), (0, 0, 2))}])
def test_integration_is_of_fourth_order(reference, options, monkeypatch):
    """A strong line well outside the foil: slices alone; fitted slope of the error."""
    monkeypatch.setattr(columns, "WIDEST_STEP_MANY", 10.0)  # slices as thick as asked for
    far = endless([0.2, 1, 0.3], [6.0, 3, 2], through_nm=(0, 0, 130))
    beams, x = beams_of(n=1.2, **options), np.linspace(-20, 20, 7)
    steps = np.array([12.0, 9.0, 6.0])
    settings = {"field_tolerance": 1e-9}
    exact = values(beams, far, x, 0, slice_nm=0.25, reference=True, **settings)
    errors = [np.abs(values(beams, far, x, 0, slice_nm=h, reference=reference, **settings) - exact).max() for h in steps]
    actual = 100 / np.ceil(100 / steps)
    assert np.polyfit(np.log(actual), np.log(errors), 1)[0] == pytest.approx(4, abs=0.6)


def test_weak_beam_image_of_a_screw_peaks_where_the_kinematic_residue_does():
    """g.b = 2, s = 12/xi_g: behind surfaces averaged over a fringe each, |residue|^2 = x^2 exp(-4 pi s x) on one side."""
    xi, s = 70.0, 12 / 70.0
    q = np.array([[0, 1 / xi], [1 / xi, 0]])
    beams = BeamSet(hkl=[[0, 0, 0], [2, 0, 0]], g_image_inv_nm=[[0, 0, 0], [5, 0, 0]], s_inv_nm=[0, s], coupling_inv_nm=q,
                    xi_0_prime_nm=INF, reference_hkl=(2, 0, 0), reference_s_inv_nm=s, dark=1)  # fmt: skip
    screw = endless([1, 0, 0], [0.4, 0, 0])  # g.b = 2
    across = np.linspace(-3, 3, 61)
    period = 1 / math.hypot(s, 1 / xi)
    ends = 40 + period * np.arange(8) / 8
    y, top, bottom = (a.ravel() for a in np.meshgrid(across, ends, -ends, indexing="ij"))
    dark = column_values(
        screw, np.zeros(3), TwoBeam(xi_g_nm=xi), 0, y, top, bottom, s, beams=beams, slice_nm=1.0, reference=True,
        poisson_ratio=0.3, core_nm=0.02,
    )[1].reshape(61, -1).mean(axis=1)  # fmt: skip
    excess = dark - dark[[0, -1]].mean()
    peak = across[excess.argmax()]
    # int exp(-2 pi i (s d + g.u)) dd with u = b theta/2 pi, d = -z: (y - iz)/(y + iz) has its pole at z = iy, which
    # closing the path upward (s > 0) encloses for y > 0 only.
    assert peak == pytest.approx(1 / (2 * math.pi * s), abs=0.1)  # the columns stand 0.1 nm apart
    right = across > 0.3
    residue = across[right] ** 2 * np.exp(-4 * math.pi * s * across[right])
    assert np.corrcoef(excess[right], residue)[0, 1] > 0.99
    assert excess[across < -0.3].max() < 0.1 * excess.max()


def test_fringes_of_a_weak_beam_have_the_effective_extinction_distance():
    """Two beams at (g, 3g): xi_eff = xi/sqrt(1 + (s xi)^2). Five: second-order perturbation of the eigenvalues."""
    beams = beams_of("si", g=(2, 2, 0), row=(0, 1), xi_0_prime_over_shortest_xi=INF, xi_g_prime_over_xi_g=INF)
    xi, s = two(beams).xi_g_nm, beams.s_inv_nm[1]
    xi_eff = xi / math.hypot(1, s * xi)
    dark = perfect_crystal(beams, 0.0, xi_eff * np.array([0.5, 1, 2, 7.5]))[1]
    assert dark == pytest.approx((xi_eff / xi) ** 2 * np.array([1, 0, 0, 1]), abs=1e-10)
    five = beams_of("si", g=(2, 2, 0), n=4.4, xi_0_prime_over_shortest_xi=INF, xi_g_prime_over_xi_g=INF)
    m = five.matrix_inv_nm().real
    diagonal = m.diagonal()
    second = [diagonal[g] + sum(m[g, h] ** 2 / (diagonal[g] - diagonal[h]) for h in range(5) if h != g) for g in (1, 2)]
    exact = np.sort(np.linalg.eigvalsh(m))
    nearest = [exact[np.abs(exact - value).argmin()] for value in second]
    assert np.ptp(nearest) == pytest.approx(np.ptp(second), rel=2e-3)  # terms of third order, (1/(xi s))^3


@pytest.mark.parametrize("name, options", [("al", {}), ("cu", {"g": (2, 2, 0)}), ("al", {"row": None, "beams_hkl": ((0, 0, 0), (1, 1, 1), (2, 2, 2), (0, 0, 2))})])
def test_weak_beam_image_of_a_network_agrees_with_direct_summation_in_double(name, options):
    network, shape = inclined_lines(), (64, 64)
    beams = beams_of(name, **options)
    images = column_image(
        network, np.zeros(3), TwoBeam(xi_g_nm=50), ColumnGrid.flat(shape, 2.0, 100, beams.reference_s_inv_nm), beams=beams, **ELASTIC
    )
    i, j = np.random.default_rng(3).integers(0, 64, (2, 250))
    exact = values(beams, network, 2.0 * (j - 31.5), 2.0 * (31.5 - i), slice_nm=0.25, reference=True, every_beam=False)
    for image, single in zip(images, exact):
        error = (image[i, j] - single) / single.mean()
        assert np.sqrt(np.mean(error**2)) < 1e-3 and np.abs(error).max() < 1e-2


def test_single_precision_is_within_1e_5_of_double():
    """Slices so thin, and far fields so exact, that only rounding is left."""
    beams = beams_of(n=2.2)
    single, double = (values(beams, slice_nm=0.5, field_tolerance=1e-8, reference=r) for r in (False, True))
    assert np.abs(single - double).max() < 1e-5


def test_a_local_deviation_of_s_is_that_of_a_turned_crystal():
    """Column by column against sets made for their s: the n-th beam of the row follows n times."""
    here, there = beams_of(n=2.0), beams_of(n=2.5)
    turned = values(here, s=there.reference_s_inv_nm)
    assert np.abs(turned - values(there)).max() < 2e-4  # the row's s are linear in the tilt to 1e-4
    assert np.abs(turned - values(here)).max() > 0.01


def test_vacuum_holds_the_direct_beam_alone():
    beams = beams_of()
    every = values(beams, x=np.array([0.0, 1.0]), entrance=np.array([-5.0, 20.0]), exit_=np.array([5.0, -20.0]))
    assert every[:, 0].tolist() == [0, 1, 0, 0, 0] and every[1, 1] < 0.9


def test_forbidden_beams_are_fed_through_others_or_refused():
    assert beams_of("si", g=(1, 1, 1)).coupling_inv_nm[3, 1] == 0  # 222 of diamond: by 111 twice
    with pytest.raises(InputError, match=r"beam.beams_hkl must be fed from 000 .*\[1, 1, 0\]"):
        beams_of("al", row=None, beams_hkl=((0, 0, 0), (1, 1, 1), (1, 1, 0)))


@pytest.mark.parametrize("options, message", [
    ({"row": (1, 2, 3)}, "beam.row must hold 0"),
    ({"row": (0, 1, 1)}, "beam.row must hold each beam once"),
    ({"row": (0, 0.5)}, "beam.row must be whole multiples of g"),
    ({"row": (0,)}, "beam.row must hold 2 to"),
    ({"row": (0, 1), "beams_hkl": ((0, 0, 0), (1, 1, 1))}, "beam.beams_hkl must be left out"),
    ({"row": None, "beams_hkl": ((1, 1, 1), (2, 2, 2))}, r"beam.beams_hkl must hold \[0, 0, 0\]"),
    ({"row": None, "beams_hkl": ((0, 0, 0), (1, 1))}, "beam.beams_hkl must"),
    ({"dark_field_of": 7}, "beam.dark_field_of must be one of the beams"),
    ({"dark_field_of": 2, "image": "bf"}, "beam.dark_field_of must be left out"),
    ({"dark_field_of": 2, "row": None}, "beam.dark_field_of must be g"),
    ({"xi_g_nm": 50.0}, "beam.xi_g_nm must be left out"),
])  # fmt: skip
def test_bad_beams_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        beams_of(**options)


@pytest.mark.parametrize("wanted, index", [(None, 2), (2, 3), ((3, 3, 3), 4), (-1, 0)])
def test_the_dark_field_is_formed_by_the_beam_asked_for(wanted, index):
    beams = beams_of(dark_field_of=wanted)
    assert beams.dark == index
    bright, dark = perfect_columns(TwoBeam(xi_g_nm=50), beams.reference_s_inv_nm, 80.0, beams=beams)
    assert (bright, dark) == tuple(perfect_crystal(beams, 0.0, 80.0)[[1, index]])


def test_segments_without_effect_on_any_beam_leave_the_crystal_perfect():
    beams = beams_of()
    g = beams.directions[0][0]
    b = np.cross(g, [0.1, 0.5, 1.0])
    flat = values(beams, Segments(start_nm=[-1e5 * b], end_nm=[1e5 * b], burgers_nm=[0.2 * b / np.linalg.norm(b)], line=[0]))
    assert np.abs(flat - perfect_crystal(beams, 0.0, 100.0)[:, None]).max() < 2e-6


def test_a_bent_wedge_agrees_with_direct_summation_and_threads_do_not_matter(monkeypatch):
    beams, network = beams_of(), inclined_lines()
    y, x = (np.mgrid[0:64, 0:64] - 31.5) * [[[-1]], [[1]]]
    s = beams.reference_s_inv_nm + 3e-4 * x
    grid = ColumnGrid(shape=(64, 64), pixel_nm=1.0, entrance_z_nm=45 + 0.2 * x - 0.013 * y, exit_z_nm=-50 + 0.1 * y, s_inv_nm=s)
    images = []
    for threads in (1, 3):
        monkeypatch.setattr(physics.parallel.numba, "get_num_threads", lambda n=threads: n)
        images.append(column_image(network, np.zeros(3), TwoBeam(xi_g_nm=50), grid, beams=beams, every_beam=True, **ELASTIC))
    assert images[0].tobytes() == images[1].tobytes()
    i, j = np.random.default_rng(0).integers(0, 64, (2, 150))
    exact = values(beams, network, x[i, j], y[i, j], grid.entrance_z_nm[i, j], grid.exit_z_nm[i, j], s[i, j], slice_nm=0.25, reference=True)
    error = (images[0][:, i, j] - exact) / exact.mean(axis=1, keepdims=True)
    assert np.sqrt(np.mean(error**2)) < 1e-3 and np.abs(error).max() < 1e-2
