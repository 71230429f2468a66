import math

import numba
import numpy as np
import pytest

from physics.beam import BeamCondition
from physics.contrast.columns import ColumnGrid, column_image, column_values
from physics.contrast.two_beam import TwoBeam
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.errors import InputError
from physics.foil import Foil
from physics.strain.foil_frame import FoilFaces, monomials
from physics.strain.isotropic import DOWN, depth_gradient, distortion, isotropic_stiffness
from physics.strain.outcrop import from_table, place_in_table
from physics.strain.plate import plate_correction
from physics.strain.plate_field import add_plate_points
from physics.strain.segments import Segments
from physics.strain.through import through_field, through_profiles, through_tractions
from render.foil import foil_heights
from render.intensity import core_pixels, noise_free_intensity
from render.scene import Scene
from render.specimen import Specimen, column_grid, segments

NU, CORE_NM = 0.33, 0.5
G = np.array([1.0, 0.3, 0.2])
BEAM = TwoBeam(xi_g_nm=70, xi_g_prime_nm=700, xi_0_prime_nm=700)


def endless(direction, burgers_nm, through_nm=(0, 0, 0)):
    direction = np.asarray(direction) / np.linalg.norm(direction)
    ends = np.asarray(through_nm, float) + 1e5 * np.array([-direction, direction])
    return Segments(start_nm=ends[:1], end_nm=ends[1:], burgers_nm=[burgers_nm], line=[0])


MIXED = endless([0.5, 0.3, 0.8], [0.2, 0.15, 0.1], (3.0, 5, 0))


def correction(segments, faces, points, g=G, direction=DOWN, **options):
    plate = plate_correction(segments, g, faces, poisson_ratio=NU, core_nm=CORE_NM, direction=direction, **options)
    basis, values = monomials(points[:, 0], points[:, 1]), np.zeros(len(points))
    for i, (entrance, exit_) in enumerate(zip(basis @ faces.entrance, basis @ faces.exit)):
        column = np.array([*points[i, :2], entrance, exit_, 0.0])
        add_plate_points(plate.compiled(), column, points[i, 2:3].copy(), values[i : i + 1])
    return values, plate


def total(segments, faces, points, g=G, direction=DOWN, **options):
    values, plate = correction(segments, faces, points, g, direction, **options)
    return values + depth_gradient(plate.segments, g, points, NU, CORE_NM, direction)


def inside(faces, count=150, seed=0, half_nm=100):
    points = np.random.default_rng(seed).uniform(-half_nm, half_nm, (count, 3))
    basis = monomials(points[:, 0], points[:, 1])
    top, bottom = basis @ faces.entrance, basis @ faces.exit
    points[:, 2] = bottom + (top - bottom) * (points[:, 2] + half_nm) / (2 * half_nm)
    return points


def twist_series(x, y, z, half_nm):
    """d u_x/dd of an end-on screw, b = 1, in a plate |z| < h: Eshelby & Stroh, Phil. Mag. 42 (1951) 1401.

    du_theta/dz = -(1/2 pi) int J_1(kr) cosh(kz)/cosh(kh) dk, cosh ratio as an alternating series of images.
    """
    r = np.hypot(x, y)
    images = 0.0
    for n in range(2001):
        depths = half_nm * (2 * n + 1) + np.array([-1, 1])[:, None] * z
        term = (-1) ** n * ((1 - depths / np.hypot(r, depths)) / r).sum(axis=0)
        images = images + (term if n < 2000 else term / 2)
    return -images / (2 * math.pi) * y / r


def test_end_on_screw_follows_the_eshelby_stroh_series():
    rng = np.random.default_rng(0)
    line, faces = endless([0, 0, 1], [0, 0, 1.0], (0.3, 0.7, 0)), FoilFaces.flat(100, (256, 256))
    for r in (2.0, 4.0, 9.0, 30.0, 80.0):
        angle, z = rng.uniform(0, 2 * math.pi, 60), rng.uniform(-50, 50, 60)
        z[:20] = 50 - rng.uniform(0, 5, 20)
        x, y = r * np.cos(angle), r * np.sin(angle)
        values, _ = correction(line, faces, np.stack([x + 0.3, y + 0.7, z], axis=1), g=[1, 0, 0])
        error = np.abs(values - twist_series(x, y, z, 50)).max() * 2 * math.pi
        # Twist of a thin foil: b/(2 pi r); to 1e-3 of that 2 nm from the line everywhere, to 1e-2 of the local one.
        assert error < 1e-3 / 2 and error < 1e-2 / r


@pytest.mark.parametrize(
    ("c44_GPa", "c66_GPa", "wrong"),
    [(16.4, 16.7, 0.004), (46.7, 35.1, 0.066), (38.3, 63.4, 0.135)],  # Mg, Ti, Zn: Simmons & Wang 1971
)
def test_what_isotropic_relaxation_costs_a_screw_end_on_along_c(c44_GPa, c66_GPa, wrong):
    # Torsion about the axis of a hexagonal crystal: the isotropic one with depth stretched by sqrt(c66/c44).
    points = inside(FoilFaces.flat(100, (256, 256)), 400, half_nm=120)
    points = points[np.hypot(points[:, 0], points[:, 1]) > 5]
    values, _ = correction(endless([0, 0, 1], [0, 0, 1.0]), FoilFaces.flat(100, (256, 256)), points, g=[1, 0, 0])
    x, y, z = points.T
    stretch = math.sqrt(c66_GPa / c44_GPa)
    exact = twist_series(x, y, stretch * z, 50 * stretch)
    assert np.sqrt(((values - exact) ** 2).mean() / (exact**2).mean()) == pytest.approx(wrong, rel=0.3, abs=0.003)


@pytest.mark.parametrize("normal", [(0, 0, 1), (0.3, -0.5, 1)])
def test_tractions_vanish_on_both_faces(normal):
    faces = FoilFaces.flat(100, (200, 200), normal)
    n = faces.normal_image
    rng = np.random.default_rng(1)
    along = np.cross(n, [[1, 0, 0], [0, 1, 0]])
    for side in (1, -1):
        points = rng.uniform(-60, 60, (40, 2)) @ along + side * 50 * n * (1 - 1e-9)
        gradient = np.stack([
            np.stack([total(MIXED, faces, points, g, e) for e in np.eye(3)], axis=-1) for g in np.eye(3)
        ], axis=1)  # fmt: skip
        sigma_n = np.einsum("ijms,j,pms->pi", isotropic_stiffness(NU), n, gradient)
        bulk = np.einsum("ijms,j,pms->pi", isotropic_stiffness(NU), n, distortion(MIXED, points, NU, CORE_NM))
        outcrop = MIXED.end_nm[0] - MIXED.start_nm[0]
        outcrop = MIXED.start_nm[0] + outcrop * ((side * 50 - MIXED.start_nm[0] @ n) / (outcrop @ n))
        off_core = np.linalg.norm(points - outcrop, axis=1) > 4 * CORE_NM  # within, H is that of a line without core
        residual = np.sqrt((sigma_n[off_core] ** 2).mean())
        assert residual < 0.02 * np.sqrt((bulk[off_core] ** 2).mean())


def test_correction_is_in_equilibrium():
    faces, h = FoilFaces.flat(100, (160, 160)), 1.5
    points = inside(faces, 12, half_nm=40) * [1, 1, 0.5]
    steps = np.concatenate([points + h * a * e for e in np.eye(3) for a in (1, -1)])
    beta = np.stack([
        np.stack([correction(MIXED, faces, steps, g, e)[0] for e in np.eye(3)], axis=-1) for g in np.eye(3)
    ], axis=1)  # fmt: skip
    sigma = np.einsum("ijms,pms->pij", isotropic_stiffness(NU), beta).reshape(3, 2, len(points), 3, 3)
    terms = np.stack([(sigma[j, 0, :, :, j] - sigma[j, 1, :, :, j]) / (2 * h) for j in range(3)])
    assert np.sqrt((terms.sum(axis=0) ** 2).mean()) < 0.05 * np.sqrt((terms**2).mean())


@pytest.mark.parametrize("normal", [(0, 0, 1), (0.3, -0.5, 1)])
def test_total_field_does_not_depend_on_the_continuation_outside(normal):
    faces = FoilFaces.flat(100, (256, 256), normal)
    points = inside(faces)
    a, b = (total(MIXED, faces, points, straight_on=on) for on in (False, True))
    # In an unbounded plate nothing is free, not even a turn or bend of the whole foil.
    assert np.sqrt(((a - b) ** 2).mean()) < 0.01 * a.std()
    bulk = depth_gradient(MIXED, G, points, NU, CORE_NM)
    assert (a - bulk).std() > 0.2 * a.std()


def test_long_waves_do_not_depend_on_the_box_or_the_field():
    # A box of length L that keeps a foil from turning is wrong by g b / (2 pi L), here 1.5e-4 / nm and more.
    points = inside(FoilFaces.flat(100, (200, 200)), 100)
    one = correction(MIXED, FoilFaces.flat(100, (200, 200)), points)[0]
    for field_nm, options in (((200, 200), {"padding": 6}), ((480, 300), {}), ((200, 200), {"grid_nm": 3.0})):
        other = correction(MIXED, FoilFaces.flat(100, field_nm), points, **options)[0]
        assert np.median(np.abs(other - one)) < 1e-6


@pytest.mark.parametrize(("curvature_inv_um", "side"), [(0.0, -1), (1.5, -1), (-1.5, 1)])
def test_a_line_that_has_left_a_face_does_not_come_back(curvature_inv_um, side):
    """Its last piece rises from below the face to end on it: straight on, it would cross the foil once more."""
    foil = Foil(thickness_nm=150, curvature_inv_um=curvature_inv_um)
    crystal, beam = Crystal.from_material("al"), BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1))
    face = foil_heights(crystal, beam, foil, np.array([-60.0, 0, 10, 40]), np.zeros(4))[0 if side > 0 else 1]
    start = foil_heights(crystal, beam, foil, np.array([-60.0]), np.zeros(1))[1 if side > 0 else 0]
    points = [[-60, 0, *start], [0, 0, face[1] - 5 * side], [10, 0, face[2] + 3 * side], [40, 0, face[3]]]
    line = Dislocation(burgers_uvw=(0, 0.5, 0.5), points_nm=points)
    scene = Scene(crystal=crystal, beam=beam, foil=foil, dislocations=(line,), shape=(64, 64), pixel_nm=4)
    last = segments(scene, Specimen.of(scene))
    k = int(np.argmin(np.abs(last.start_nm - points[-1]).max(axis=1)))
    beyond = last.start_nm[k] + np.linspace(0.01, 1, 200)[:, None] * (last.end_nm[k] - last.start_nm[k]) * 1e-3
    entrance_nm, exit_nm = foil_heights(crystal, beam, foil, beyond[:, 0], beyond[:, 1])
    assert not ((beyond[:, 2] < entrance_nm) & (beyond[:, 2] > exit_nm)).any()


def test_waves_of_an_endless_normal_sum_to_its_tractions():
    count, length, core = 512, 60.0, 1.0
    k = 2 * np.pi * np.fft.fftfreq(count, length / count)
    kx, ky = np.meshgrid(k, k)
    kx[0, 0] = 1.0
    waves = through_tractions(kx, ky, core, NU)
    waves[..., 0, 0] = 0
    sheet = np.fft.ifft2(waves).real * (count / length) ** 2
    j, i = np.array([8, 20, 3, 15]), np.array([5, 0, 10, 17])
    points = np.stack([j, i, 0 * i], axis=1) * length / count
    for b in range(3):
        line = endless([0, 0, 1], np.eye(3)[b])
        exact = np.einsum("ims,pms->ip", isotropic_stiffness(NU)[:, 2], distortion(line, points, NU, core))
        assert np.abs(sheet[b][:, i, j] - exact).max() < 0.01 * np.abs(exact).max()  # 1/r, repeated every 60


def test_endless_normal_twists_as_eshelby_and_stroh_say():
    # Far out the core does not matter: b / (2 pi r) at any depth.
    r, depths = np.array([4.0, 10.0, 15.9, 40.0]), np.linspace(0.5, -0.5, 5)
    profiles = through_profiles(np.array([1.0, 0, 0]), np.array([0, 0, -1.0]), NU, depths)
    x, y = 0 * r[:, None] + 0 * depths, r[:, None] + 0 * depths
    values = through_field(np.zeros((1, 2)), np.array([[0, 0, 1.0]]), profiles, x, y)
    expected = np.stack([twist_series(0.0, radius, depths, 0.5) for radius in r])
    assert values == pytest.approx(expected, rel=0.02)


def test_turning_foil_lines_and_beam_together_changes_nothing():
    faces = FoilFaces.flat(80, (160, 160))
    tilted = FoilFaces.flat(80, (160, 160), (0.5, 0.3, 1))
    turn = tilted.foil_from_image.T  # takes the foil frame to the tilted foil's place
    points = inside(tilted, half_nm=60)
    turned = Segments(
        start_nm=MIXED.start_nm @ turn.T, end_nm=MIXED.end_nm @ turn.T, burgers_nm=MIXED.burgers_nm @ turn.T, line=[0]
    )
    a = total(turned, tilted, points)
    b = total(MIXED, faces, points @ turn, G @ turn, DOWN @ turn)
    assert np.abs(a - b).max() < 0.02 * a.std()


def test_threads_do_not_matter():
    faces, plates = FoilFaces.flat(100, (128, 128)), []
    threads = numba.get_num_threads()
    for count in (1, threads):
        numba.set_num_threads(count)
        plates.append(plate_correction(MIXED, G, faces, poisson_ratio=NU, core_nm=CORE_NM))
    numba.set_num_threads(threads)
    assert plates[0].coefficients.tobytes() == plates[1].coefficients.tobytes()
    assert plates[0].tables.tobytes() == plates[1].tables.tobytes()


def test_field_near_an_outcrop_falls_as_one_over_r():
    plate = plate_correction(MIXED, G, FoilFaces.flat(100, (64, 64)), poisson_ratio=NU, core_nm=CORE_NM)
    wx, wy = np.empty(4), np.empty(4)
    values = []
    for scale in (1.0, 7.0):
        r, i, j = place_in_table(scale * 0.3, scale * 0.5, scale * 0.2, wx, wy)
        values.append(from_table(plate.tables[0], i, j, wx, wy) / r * scale)
    assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_tiles_agree_with_direct_summation_beside_an_outcrop():
    faces = FoilFaces.flat(80, (48, 40))
    line = endless([0.4, 0.1, 0.8], [0.2, 0.1, 0.15], (-16, 2, 0))
    plate = plate_correction(line, 4 * G, faces, poisson_ratio=NU, core_nm=CORE_NM)
    settings = {"poisson_ratio": NU, "core_nm": CORE_NM, "plate": plate}
    bright, dark = column_image(line, 4 * G, BEAM, ColumnGrid.flat((40, 48), 1.0, 80, 0.003), **settings)
    x, y = np.meshgrid(np.arange(48) - 23.5, 19.5 - np.arange(40))
    some = np.random.default_rng(0).integers(0, x.size, 200)
    exact = column_values(line, 4 * G, BEAM, x.ravel()[some], y.ravel()[some], 40, -40, 0.003, slice_nm=0.25,
                          reference=True, **settings)  # fmt: skip
    for image, columns in zip((bright, dark), exact):
        error = image.ravel()[some] - columns
        assert np.sqrt((error**2).mean()) < 1e-3 and np.abs(error).max() < 1e-2


def test_uneven_columns_take_the_same_path_as_even_ones():
    faces = FoilFaces.flat(80, (48, 40))
    plate = plate_correction(MIXED, 4 * G, faces, poisson_ratio=NU, core_nm=CORE_NM)
    settings = {"poisson_ratio": NU, "core_nm": CORE_NM, "plate": plate}
    x = np.linspace(-20, 20, 50)
    even = column_values(MIXED, 4 * G, BEAM, x, 3.0, 40, -40, 0.0, **settings)
    uneven = column_values(MIXED, 4 * G, BEAM, x, 3.0, 40 + 1e-6 * np.arange(50), -40, 0.0, **settings)
    assert np.abs(np.array(even) - np.array(uneven)).max() < 1e-4


@pytest.mark.parametrize("depth_nm", [0.0, 0.3, 1.0, 3.0])
def test_a_line_along_a_face_does_not_blow_up(depth_nm):
    faces = FoilFaces.flat(80, (128, 128))
    points = inside(faces, 80, half_nm=50)
    for tilt in (0.0, 0.005, 0.05):
        line = endless([1, 0.2, tilt], [0.1, 0.2, 0.1], (0, 0, 40 - depth_nm))
        values, plate = correction(line, faces, points)
        assert np.isfinite(values).all() and np.abs(values).max() < 0.286 / (2 * math.pi * 4)
    if depth_nm == 0.0:
        flat = endless([1, 0.2, 0], [0.1, 0.2, 0.1], (0, 0, 40))
        assert len(plate_correction(flat, G, faces, poisson_ratio=NU, core_nm=CORE_NM).segments) == 0


def test_vacuum_columns_stay_vacuum():
    x = np.arange(-31.5, 32)
    top = np.maximum(0.6 * (x + 10), 0)[None, :] + np.zeros((48, 1))
    faces = FoilFaces.of_maps(x, np.arange(48) - 23.5, top, -top, (48.0, 48.0))
    line = endless([0.1, 0, 1], [0.2, 0.1, 0.1], (15, 0, 0))
    plate = plate_correction(line, 4 * G, faces, poisson_ratio=NU, core_nm=CORE_NM)
    grid = ColumnGrid(shape=(48, 64), pixel_nm=1.0, entrance_z_nm=top, exit_z_nm=-top, s_inv_nm=0.0)
    bright, dark = column_image(line, 4 * G, BEAM, grid, poisson_ratio=NU, core_nm=CORE_NM, plate=plate)
    assert (bright[:, x <= -10] == 1).all() and (dark[:, x <= -10] == 0).all()
    assert np.isfinite(bright).all() and bright.min() >= 0 and bright.max() <= 1.001


AL = Crystal.from_material("al")


def scene(burgers_uvw, direction, **changes):
    """One straight line through the middle of a 100 nm foil, g = 220."""
    ends = [sign * 50 / direction[2] * np.array(direction, float) for sign in (-1, 1)]
    line = Dislocation(burgers_uvw=burgers_uvw, points_nm=ends)
    parts = {"dislocations": (line,), "shape": (64, 64), "pixel_nm": 2.0}
    return Scene(crystal=AL, foil=Foil(thickness_nm=100), beam=BeamCondition(g_hkl=(2, 2, 0), zone_axis_uvw=(0, 0, 1)),
                 **parts | changes)  # fmt: skip


def noise_free(drawn):
    return noise_free_intensity(drawn, Specimen.of(drawn))


def test_end_on_screw_shows_the_eshelby_twist_though_g_dot_b_is_zero():
    on, off = (noise_free(scene((0, 0, 1), (0, 0, 1), surfaces=on)) for on in (True, False))
    assert np.ptp(off) < 1e-6 * off.mean() and np.ptp(on) > 0.5 * off.mean()
    # The twist moves u along g across g alone: du_x/dz goes as y/r^2, and vanishes on the line y = 0 (g along x).
    y, x = np.mgrid[31.5:-32:-1, -31.5:32]
    weak = (np.abs(y) < 1) & (np.abs(x) > 5)
    assert np.abs(on - off)[weak].max() < 0.2 * np.abs(on - off).max()


def test_surfaces_change_an_inclined_line_by_a_good_part_of_its_own_contrast():
    on, off = (noise_free(scene((0.5, 0.5, 0), (1, 0.3, 1.4), surfaces=on)) for on in (True, False))
    background = noise_free(scene((0.5, 0.5, 0), (1, 0.3, 1.4), dislocations=()))
    own = np.sqrt(((off - background) ** 2).mean())
    assert 0.2 < np.sqrt(((on - off) ** 2).mean()) / own < 0.6  # 25-40 % over a field, more near the ends


def test_switched_off_surfaces_leave_the_bytes_of_the_bulk_field():
    drawn = scene((0.5, 0.5, 0), (1, 0.3, 1.4), surfaces=False)
    specimen = Specimen.of(drawn)
    bright, _ = column_image(
        segments(drawn, specimen), specimen.g_image_inv_nm, specimen.two_beam, column_grid(drawn, specimen),
        poisson_ratio=specimen.poisson_ratio, core_nm=drawn.core_nm, slice_nm=drawn.slice_nm,
    )  # fmt: skip
    beside_cores = ~core_pixels(drawn)  # the others are means over the pixel
    assert noise_free(drawn)[beside_cores].tobytes() == bright[beside_cores].tobytes()


def test_a_scene_without_lines_stays_the_perfect_crystal():
    a, b = (noise_free(scene((0, 0, 1), (0, 0, 1), dislocations=(), surfaces=on)) for on in (True, False))
    assert a.tobytes() == b.tobytes()


def test_surfaces_are_kept_in_json():
    for on in (True, False):
        assert Scene.from_json(scene((0, 0, 1), (0, 0, 1), surfaces=on).to_json()).surfaces is on
    with pytest.raises(InputError, match="surfaces must be true or false"):
        scene((0, 0, 1), (0, 0, 1), surfaces=1)
