"""Precipitates, voids and clusters: closed forms, symmetries, and the fast path against the reference."""

import json
import math

import numpy as np
import pytest

import physics.parallel
from physics.beam import BeamCondition, image_from_crystal
from physics.contrast.columns import ColumnGrid, column_image, column_values
from physics.contrast.two_beam import TwoBeam, perfect_crystal, scattering_matrix
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.errors import InputError
from physics.fault_sources import frank_loop
from physics.foil import Foil
from physics.particle import Particle
from physics.particle_discs import disc_lines
from physics.strain.segments import Segments
from render.distractors import distractors
from render.intensity import noise_free_intensity
from render.scene import Scene
from render.scene_rules import plane_normal_image
from render.specimen import Specimen, fault_sheets, segments

ELASTIC = {"poisson_ratio": 0.33, "core_nm": 0.5}
ABSORBING = TwoBeam(xi_g_nm=40, xi_g_prime_nm=400, xi_0_prime_nm=400)
LOSSLESS = TwoBeam(xi_g_nm=40)
G = np.array([4.2, 0, 0])
NOTHING = Segments(start_nm=np.empty((0, 3)), end_nm=np.empty((0, 3)), burgers_nm=np.empty((0, 3)), line=[])
CU = Crystal.from_material("cu")
BEAM = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1))


def sphere(z_nm=0.0, radius_nm=5.0, misfit=0.01, **changes):
    return Particle(**({"kind": "coherent_sphere", "centre_nm": (0, 0, z_nm), "radius_nm": radius_nm, "misfit": misfit} | changes))


def void(z_nm=0.0, radius_nm=8.0, at=(0, 0)):
    return Particle(kind="void", centre_nm=(*at, z_nm), radius_nm=radius_nm)


def profile(particles, x_nm, beam=ABSORBING, thickness_nm=120.0, s=0.0, y_nm=0.0, reference=True):
    return column_values(NOTHING, G, beam, x_nm, y_nm, thickness_nm / 2, -thickness_nm / 2, s, particles=particles, reference=reference, **ELASTIC)


@pytest.mark.parametrize("reference, allowed", [(True, 1e-12), (False, 1e-6)])
@pytest.mark.parametrize("beam", [LOSSLESS, ABSORBING])
def test_a_void_at_the_bragg_condition_makes_the_foil_thinner(beam, reference, allowed):
    x = np.linspace(-12, 12, 49)
    chord = 2 * np.sqrt(np.maximum(8.0**2 - x**2, 0))
    bf, df = profile([void(13.0)], x, beam, reference=reference)
    bright, dark = perfect_crystal(beam, 0.0, 120 - chord)
    assert np.abs(bf - bright).max() < allowed and np.abs(df - dark).max() < allowed


@pytest.mark.parametrize("reference, allowed", [(True, 1e-12), (False, 1.5e-6)])
def test_off_the_bragg_condition_a_void_turns_the_phase_and_a_precipitate_scatters_by_its_own_length(reference, allowed):
    x, s, t, z, radius = np.linspace(-9.5, 9.5, 39), 0.021, 120.0, 13.0, 8.0
    chord = 2 * np.sqrt(np.maximum(radius**2 - x**2, 0))
    above, below = t / 2 - z - chord / 2, t / 2 + z - chord / 2
    own = TwoBeam(xi_g_nm=40 * 0.6, xi_g_prime_nm=400 * 0.6, xi_0_prime_nm=400 * 0.6)
    empty = np.zeros((len(x), 2, 2), complex)
    empty[:, 0, 0], empty[:, 1, 1] = 1, np.exp(2j * math.pi * s * chord)
    for particle, middle in ((void(z), empty), (sphere(z, radius, 0.0, xi_ratio=0.6), scattering_matrix(own, s, chord))):
        beams = scattering_matrix(ABSORBING, s, below) @ middle @ scattering_matrix(ABSORBING, s, above)
        for computed, amplitude in zip(profile([particle], x, s=s, reference=reference), (beams[:, 0, 0], beams[:, 1, 0])):
            assert np.abs(computed - np.abs(amplitude) ** 2).max() < allowed


def test_columns_in_a_plane_across_g_show_no_contrast():
    """g.u = 0 there: the line of no contrast between the lobes (Ashby & Brown 1963)."""
    y = np.linspace(-30, 30, 61)
    for s in (0.0, 0.015):
        bf, df = profile([sphere(20.0)], 0.0, s=s, y_nm=y)
        bright, dark = perfect_crystal(ABSORBING, s, 120)
        assert np.abs(bf - bright).max() < 1e-12 and np.abs(df - dark).max() < 1e-12
    assert np.ptp(profile([sphere(20.0)], np.linspace(-30, 30, 61))[0]) > 0.2


def test_lobes_of_a_sphere_in_the_middle_of_the_foil_are_symmetric_and_reverse_with_the_misfit():
    x = np.linspace(-30, 30, 61)
    bf, df = profile([sphere()], x)
    # Turning the column upside down leaves the bright field at s = 0, and d(g.u)/dd is odd in x and in z.
    assert np.abs(bf - bf[::-1]).max() < 1e-12 and np.abs(df - df[::-1]).max() > 0.02
    for z in (-31.0, 12.0):
        plus, minus = (profile([sphere(z, misfit=e)], x, s=0.01)[0] for e in (0.01, -0.01))
        assert np.abs(plus - minus[::-1]).max() < 1e-12 and np.abs(plus - plus[::-1]).max() > 0.02


def test_a_small_spheres_image_depends_on_its_volume_alone_and_scales_with_the_extinction_distance():
    """In units of xi_g it is a function of epsilon g R^3 / xi_g^2 (Ashby & Brown 1963, eq. 6)."""
    x = np.concatenate([np.linspace(-25, -4.5, 20), np.linspace(4.5, 25, 20)])
    first = profile([sphere(10.0, 4.0, 0.01)], x)
    assert np.abs(np.subtract(profile([sphere(10.0, 2.0, 0.08)], x), first)).max() < 1e-4  # columns beside both spheres
    wide = TwoBeam(xi_g_nm=80, xi_g_prime_nm=800, xi_0_prime_nm=800)
    doubled = column_values(NOTHING, G / 2, wide, 2 * x, 0, 120, -120, 0.0, particles=[sphere(20.0, 8.0, 0.01)], reference=True, slice_nm=2.0, **ELASTIC)
    assert np.abs(np.subtract(doubled, first)).max() < 1e-4
    widths = []
    for misfit in (0.002, 0.004, 0.008, 0.016):
        contrast = np.abs(profile([sphere(20.0, 4.0, misfit)], np.linspace(0, 40, 401))[0] / perfect_crystal(ABSORBING, 0.0, 120)[0] - 1)
        widths.append(np.flatnonzero(contrast > 0.02)[-1] * 0.1)  # where an observer still sees 2 %
    assert (np.diff(widths) > 1).all()


def black_white(depth_xi, misfit=0.02, thickness_nm=200.0):
    """Intensity on the side of +g less that on the other, relative to the background, of BF and DF."""
    x = np.linspace(-30, 30, 121)
    images = profile([sphere(thickness_nm / 2 - depth_xi * 40, 1.5, misfit)], x, thickness_nm=thickness_nm)
    return [float((np.sign(x) * (i / b - 1)).sum()) for i, b in zip(images, perfect_crystal(ABSORBING, 0.0, thickness_nm))]


def test_black_white_vector_reverses_every_half_extinction_distance_of_depth():
    """Layers of alternating contrast below either face (Ruehle, Wilkens & Essmann, phys. stat. sol. 11 (1965) 819); BF and
    DF alike at the entrance and complementary at the exit face, as for faults."""
    for order, depth in enumerate((0.1, 0.5, 1.0, 1.5)):
        entrance, exit_ = black_white(depth), black_white(5 - depth)
        assert np.sign(entrance[0]) == np.sign(entrance[1]) == (-1) ** (order + 1)
        assert np.sign(exit_[0]) == -np.sign(exit_[1]) and np.sign(exit_[1]) == np.sign(entrance[1])
        assert np.abs(np.add(black_white(depth, -0.02), entrance)).max() < 1e-6  # vacancy type: reversed
    assert abs(black_white(0.25)[0]) < 0.2 * abs(black_white(0.5)[0])  # between two layers


def crowd(count=12, field_nm=96.0):
    rng = np.random.default_rng(2)
    found = []
    for k in range(count):
        at = (*rng.uniform(-field_nm / 2, field_nm / 2, 2), rng.uniform(-35, 35))
        radius = rng.uniform(1.0, 9.0)
        found.append(void(at[2], radius, at[:2]) if k % 3 == 0 else sphere(radius_nm=radius, misfit=rng.uniform(-0.02, 0.02), centre_nm=at, xi_ratio=(1.0, 0.8)[k % 2]))
    return found


LINE = Segments(start_nm=[[-500, -260, -40]], end_nm=[[500, 250, 45]], burgers_nm=[[0.2, 0.1, 0.05]], line=[0])


@pytest.mark.parametrize("s", [0.0, 0.02])
def test_images_with_particles_agree_with_the_reference(s):
    fault = np.broadcast_to(np.linspace(-60, 60, 96), (96, 96))
    options = {"particles": crowd(), "fault_phase_rad": [2 * math.pi / 3]} | ELASTIC
    images = column_image(LINE, G, ABSORBING, ColumnGrid.flat((96, 96), 1.0, 100, s), fault_z_nm=fault[None], **options)
    i, j = np.random.default_rng(1).integers(0, 96, (2, 600))
    exact = column_values(
        LINE, G, ABSORBING, j - 47.5, 47.5 - i, 50, -50, s, fault_z_nm=fault[i, j][None], reference=True, slice_nm=1 / 8, **options
    )
    for image, reference, background in zip(images, exact, perfect_crystal(ABSORBING, s, 100)):
        error = (image[i, j] - reference) / background
        assert np.sqrt(np.mean(error**2)) < 1e-3 and np.abs(error).max() < 1e-2


def test_images_with_particles_do_not_depend_on_threads_and_none_leave_the_bytes(monkeypatch):
    grid = ColumnGrid.flat((70, 70), 1.0, 100, 0.01)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(physics.parallel.numba, "get_num_threads", lambda n=threads: n)
        found.append(column_image(LINE, G, ABSORBING, grid, particles=crowd(), **ELASTIC))
    assert all(np.array_equal(a, b) for a, b in zip(*found))
    plain = column_image(LINE, G, ABSORBING, grid, **ELASTIC)
    assert all(np.array_equal(a, b) for a, b in zip(plain, column_image(LINE, G, ABSORBING, grid, particles=(), **ELASTIC)))
    # One out of reach changes nothing either.
    far = column_image(LINE, G, ABSORBING, grid, particles=[void(0.0, 5.0, (500, 0))], **ELASTIC)
    assert all(np.array_equal(a, b) for a, b in zip(plain, far))


def scene(**changes):
    return Scene(**({"crystal": CU, "foil": Foil(thickness_nm=100), "beam": BEAM, "shape": (64, 64)} | changes))


def disc(misfit, radius_nm=12.0, plane_hkl=(1, 1, 1), kind="cluster", at=(0, 0, 6)):
    return Particle(kind=kind, centre_nm=at, radius_nm=radius_nm, misfit=misfit, plane_hkl=plane_hkl, thickness_nm=CU.lattice_nm[0, 0] / 3**0.5)


def test_a_cluster_of_one_layer_is_the_frank_loop_of_its_kind():
    normal = plane_normal_image((1, 1, 1), CU, image_from_crystal(CU, BEAM))
    for misfit, interstitial in ((1.0, True), (-1.0, False)):
        loop, fault = frank_loop(CU, (1, 1, 1), normal, (0, 0, 6), radius_nm=12, interstitial=interstitial, step_nm=1.5)
        as_lines, as_particle = scene(dislocations=loop, faults=fault), scene(particles=[disc(misfit)])
        images = [noise_free_intensity(s, Specimen.of(s)) for s in (as_lines, as_particle)]
        other = scene(particles=[disc(-misfit)])
        # Polygons with other corners: pixels at the core differ.
        assert np.sqrt(np.mean((images[0] - images[1]) ** 2)) < 0.02
        assert np.sqrt(np.mean((images[0] - noise_free_intensity(other, Specimen.of(other))) ** 2)) > 0.06


def test_a_small_disc_of_interstitials_shows_the_lobes_of_a_dilated_sphere():
    """Both push matter outward along g: black and white fall on the same sides."""
    beam = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1))
    for at in ((0, 0, 46), (0, 0, 0)):
        signs = []
        for particle in (disc(1.0, 2.0, (1, 0, 0), at=at), Particle(kind="coherent_sphere", centre_nm=at, radius_nm=1.5, misfit=0.05)):
            shown = scene(particles=[particle], beam=beam)
            specimen = Specimen.of(shown)
            image = noise_free_intensity(shown, specimen) / perfect_crystal(specimen.two_beam, 0.0, 100)[0] - 1
            signs.append((np.sign(np.arange(64) - 31.5) * image).sum())
        assert signs[0] * signs[1] > 0 if at[2] else np.abs(signs).max() < 0.3  # centred: no black and white


def test_discs_of_one_phase_share_a_sheet():
    shown = scene(particles=[disc(-1.0, 4.0, at=(12 * i - 24, 12 * j - 24, 0)) for i in range(5) for j in range(5)])
    specimen = Specimen.of(shown)
    z_nm, phase_rad = fault_sheets(shown, specimen)
    assert len(z_nm) == 1 and phase_rad[0] == pytest.approx(-2 * math.pi / 3)  # g.R = 2/3
    lines, sheets = disc_lines(shown.particles, CU, specimen.image_from_crystal)
    assert len(lines) == len(sheets) == 25 and len(segments(shown, specimen)) == sum(len(l.points_nm) - 1 for l in lines)
    area_nm2 = np.isfinite(z_nm[0]).sum() / abs(plane_normal_image((1, 1, 1), CU, specimen.image_from_crystal)[2])
    assert area_nm2 == pytest.approx(25 * math.pi * 16, rel=0.03)


def test_particles_survive_json_and_are_labelled_as_distractors():
    particles = [sphere(radius_nm=4.0), void(20.0), disc(-1.0, at=(20, 10, 0)), disc(0.05, kind="plate", at=(-20, 0, 0))]
    shown = scene(particles=particles, dislocations=[Dislocation(burgers_uvw=(0.5, 0.5, 0), points_nm=[[0, -20, 60], [0, 20, -60]])])
    again = Scene.from_json(shown.to_json())
    assert again.to_json() == shown.to_json() and len(again.particles) == 4
    kinds = [d.kind for d in distractors(shown, Specimen.of(shown))]
    assert sorted(kinds) == ["cluster", "precipitate", "void"]


@pytest.mark.parametrize("edit, message", [
    ({"kind": "egg"}, "particles.kind must be one of coherent_sphere, plate, cluster, void, inclusion, got egg"),
    ({"radius_nm": -3}, "particles.radius_nm must lie in"),
    ({"misfit": 0.5}, r"particles.misfit must lie in \[-0.2, 0.2\], got 0.5"),
    ({"kind": "plate"}, "particles.plane_hkl must be given for a plate"),
    ({"thickness_nm": 2.0}, "particles.thickness_nm must be left out for a coherent_sphere"),
    ({"centre_nm": [0, 0, 48]}, r"particles\[0\].centre_nm must leave the particle inside the foil"),
    ({"colour": 1}, r"particles\[0\] must have only the keys"),
])  # fmt: skip
def test_particles_that_cannot_be_are_refused(edit, message):
    fields = json.loads(scene(particles=[sphere(0.0, 5.0)]).to_json())
    fields["particles"][0].update(edit)
    with pytest.raises(InputError, match=message):
        Scene.from_json(json.dumps(fields))


def test_columns_take_spheres_only():
    with pytest.raises(InputError, match="discs are lines and sheets"):
        profile([disc(1.0)], [0.0])


@pytest.mark.parametrize("misfit", [0.1, -0.1])
@pytest.mark.parametrize("depth_nm", [45.0, 60.0, 75.0])
def test_behind_a_wide_plate_the_diffracted_beam_is_late_by_its_opening(misfit, depth_nm):
    """Far from its edge a plate of misfit delta and thickness t is a fault of R = -delta t n (Whelan & Hirsch 1957)."""
    plate = Particle(kind="plate", centre_nm=(0, 0, 60 - depth_nm), radius_nm=250.0, thickness_nm=2.0, misfit=misfit, plane_hkl=(1, 1, 9))
    shown = Scene(crystal=CU, beam=BEAM, foil=Foil(thickness_nm=120), shape=(9, 9), pixel_nm=1.0, particles=(plate,), surfaces=False)
    specimen = Specimen.of(shown)
    normal = plane_normal_image((1, 1, 9), CU, image_from_crystal(CU, BEAM))
    normal = normal if normal[2] > 0 else -normal
    alpha = 2 * math.pi * specimen.g_image_inv_nm @ (-misfit * 2.0 * normal)
    above, below = (scattering_matrix(specimen.two_beam, 0.0, t) for t in (depth_nm, 120 - depth_nm))
    turned, other_way = ((below @ np.diag([1, np.exp(1j * a)]) @ above)[0, 0] for a in (alpha, -alpha))
    middle = noise_free_intensity(shown, specimen)[4, 4]
    assert abs(alpha) > 0.5 and middle == pytest.approx(abs(turned) ** 2, rel=0.03)
    assert abs(middle - abs(other_way) ** 2) > 5 * abs(middle - abs(turned) ** 2)
