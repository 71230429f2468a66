import math

import numpy as np
import pytest
from scipy.linalg import expm

from physics.contrast.columns import ColumnGrid, column_image
from physics.contrast.two_beam import TwoBeam
from physics.crystal import Crystal
from physics.errors import InputError
from physics.strain.anisotropic import depth_gradient, distortion
from physics.strain.anisotropic_through import through_profiles
from physics.strain.anisotropic_waves import add_differences, kinked_transforms, line_waves
from physics.strain.foil_frame import ENDLESS_NM, FoilFaces, monomials
from physics.strain.green import rotated_stiffness, stiffness_tensor
from physics.strain.half_spaces import half_spaces
from physics.strain.line_waves import DEEPEST
from physics.strain.plate import plate_correction, plate_corrections
from physics.strain.plate_field import add_plate_points
from physics.strain.plate_impedance import impedance, plate_waves
from physics.strain.plate_modes import isotropic_plate
from physics.strain.segments import Segments
from physics.strain.through import THIN
from physics.strain.through import through_profiles as isotropic_profiles

NU, CORE_NM = 0.33, 0.5
G = np.array([1.0, 0.3, 0.2])


def isotropic_stiffness(mu=50.0, nu=NU):
    c = np.zeros((6, 6))
    c[:3, :3] = 2 * nu / (1 - 2 * nu)
    c[range(6), range(6)] += [2, 2, 2, 1, 1, 1]
    return mu * c


def turned_copper(seed=0):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return rotated_stiffness(Crystal.from_material("cu").stiffness_GPa, turn)


def endless(direction, burgers_nm, through_nm=(0, 0, 0)):
    direction = np.asarray(direction) / np.linalg.norm(direction)
    ends = np.asarray(through_nm, float) + 1e5 * np.array([-direction, direction])
    return Segments(start_nm=ends[:1], end_nm=ends[1:], burgers_nm=[burgers_nm], line=[0])


MIXED = endless([0.5, 0.3, 0.8], [0.2, 0.15, 0.1], (3.0, 5, 0))


def at_points(plate, faces, points):
    basis, values = monomials(points[:, 0], points[:, 1]), np.zeros(len(points))
    for i, (entrance, exit_) in enumerate(zip(basis @ faces.entrance, basis @ faces.exit)):
        column = np.array([*points[i, :2], entrance, exit_, 0.0])
        add_plate_points(plate.compiled(), column, points[i, 2:3].copy(), values[i : i + 1])
    return values


@pytest.mark.parametrize("stiffness", [turned_copper(), Crystal.from_material("zn").stiffness_GPa], ids=["cu", "zn"])
def test_impedance_is_that_of_strohs_eigenvalue_problem(stiffness):
    plate, c = impedance(stiffness), stiffness_tensor(stiffness)
    for a in range(3, len(plate.angles_rad), 37):
        m, n = np.array([math.cos(plate.angles_rad[a]), math.sin(plate.angles_rad[a]), 0]), np.array([0, 0, 1.0])
        q, r, t = (np.einsum("i,ijkl,l->jk", x, c, y) for x, y in ((m, m), (m, n), (n, n)))
        # u = v exp(i k (m.X + p Z)): [Q + p (R + R^T) + p^2 T] v = 0, linearised.
        companion = np.block([[np.zeros((3, 3)), np.eye(3)], [-np.linalg.solve(t, q), -np.linalg.solve(t, r + r.T)]])
        p, v = np.linalg.eig(companion)
        up = p.imag > 0
        displacement, p = v[:3, up], p[up]
        traction = r.T @ displacement + t @ displacement * p
        inverse = np.linalg.inv(traction)
        assert np.allclose(displacement @ inverse, plate.compliance[a], atol=1e-6 * np.abs(plate.compliance).max())
        assert np.allclose(traction @ np.diag(p) @ inverse, plate.decay[a], atol=1e-6)


def test_waves_of_an_isotropic_plate_are_the_closed_ones():
    rng = np.random.default_rng(0)
    kx, ky = np.meshgrid(2 * np.pi * np.fft.rfftfreq(24, 4.0), 2 * np.pi * np.fft.fftfreq(24, 4.0))
    load = rng.normal(size=(2, 2, 3, *kx.shape))
    load = load[0] + 1j * load[1]
    e, z, drift = np.array([0.1, 0.2, -1]), np.linspace(50, -50, 9), np.array([0.1, 0.2])
    closed = np.empty((9, *kx.shape), dtype=complex)
    isotropic_plate(0, len(kx), load[0], load[1], kx, ky, 50.0, NU, G, e, drift, z, closed)
    waves = plate_waves(impedance(isotropic_stiffness(1.0)), load[None], kx, ky, 50.0, G, e, drift, z)[0, 0]
    assert np.abs(waves - closed).max() < 1e-6 * np.abs(closed).max()  # cubic between 512 directions


@pytest.mark.parametrize("k_h", [0.3, 2.0, 8.0])
def test_waves_solve_equilibrium_in_depth_by_chebyshev_collocation(k_h):
    """An independent solution of the boundary-value problem of one wave: no modes, no impedance."""
    stiffness, h, angle, count = turned_copper(), 50.0, 0.7, 64
    c, k = stiffness_tensor(stiffness), k_h / h
    m, n = np.array([math.cos(angle), math.sin(angle), 0]), np.array([0, 0, 1.0])
    q, r, t = (np.einsum("i,ijkl,l->jk", x, c, y) for x, y in ((m, m), (m, n), (n, n)))
    # Chebyshev points and their differentiation matrix (Trefethen, Spectral Methods in MATLAB, 2000, p. 54).
    x = np.cos(np.pi * np.arange(count + 1) / count)
    weight = np.r_[2, np.ones(count - 1), 2] * (-1.0) ** np.arange(count + 1)
    d = np.outer(weight, 1 / weight) / (x[:, None] - x + np.eye(count + 1))
    d = (d - np.diag(d.sum(axis=1))) / h
    system = np.kron(d @ d, t) + 1j * k * np.kron(d, r + r.T) - k * k * np.kron(np.eye(count + 1), q)
    face = np.kron(d, t) + 1j * k * np.kron(np.eye(count + 1), r.T)
    tau = np.random.default_rng(1).normal(size=(2, 3)) + 1j * np.random.default_rng(2).normal(size=(2, 3))
    right = np.zeros(3 * (count + 1), dtype=complex)
    for rows, load in ((slice(0, 3), tau[0]), (slice(-3, None), tau[1])):
        system[rows], right[rows] = face[rows], load
    u = np.linalg.solve(system, right).reshape(-1, 3)
    e = np.array([0.1, 0.2, -1])
    expected = (1j * k * (e @ m) * u + e[2] * (d @ u)) @ G
    z = np.linspace(h, -h, 21)
    kx, ky = (np.array([[k * v]]) for v in m[:2])
    waves = plate_waves(impedance(stiffness), tau[None, :, :, None, None], kx, ky, h, G, e, np.zeros(2), z)[0, 0, :, 0, 0]
    on_nodes = np.polynomial.chebyshev.Chebyshev.fit(x, expected.real, count)(z / h)
    on_nodes = on_nodes + 1j * np.polynomial.chebyshev.Chebyshev.fit(x, expected.imag, count)(z / h)
    assert np.abs(waves - on_nodes).max() < 1e-5 * np.abs(on_nodes).max()


LOOPS = {
    "skew": np.array([[-6.0, -4, 1], [7, -3, -2], [5, 6, 0.5], [-4, 5, -1]]),
    "flat": np.array([[-6.0, -4, 1], [7, -4, 1], [7, 6, 1], [-6, 6, 1]]),  # its sides have waves along which nothing decays
}
LOOP_BURGERS_NM = np.array([[0.2, 0.15, 0.1], [0.2, 0.15, 0.1], [0.2, 0.15, 0.1], [0.2, 0.15, 0.1]])
METALS = {"cu": turned_copper(), "w": Crystal.from_material("w").stiffness_GPa, "zn": Crystal.from_material("zn").stiffness_GPa, "isotropic": isotropic_stiffness()}


def tractions(start, end, burgers_nm, points, stiffness):
    """sigma.Z (3, P) of a line's pieces."""
    line = Segments(start_nm=start, end_nm=end, burgers_nm=burgers_nm, line=np.zeros(len(start), int))
    return np.einsum("ams,pms->ap", stiffness_tensor(stiffness)[:, 2], distortion(line, points, stiffness, 1e-6))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("metal", METALS)
def test_waves_of_a_loop_are_those_of_its_tractions(metal, loop):
    count, length, half, stiffness = 192, 384.0, 9.0, METALS[metal]
    plate, step = impedance(stiffness), length / count
    start, end = LOOPS[loop], np.roll(LOOPS[loop], -1, axis=0)
    at = step * np.arange(count)
    x, y = (v.ravel() for v in np.meshgrid(at - length / 2, at - length / 2))
    kx, ky = np.meshgrid(2 * np.pi * np.fft.rfftfreq(count, step), 2 * np.pi * np.fft.fftfreq(count, step))
    shifts = np.stack([p[:, :2] / length + 0.5 for p in (start, end)])
    none = np.zeros((2, 4), dtype=int)
    closed, _ = line_waves(start, end, LOOP_BURGERS_NM, none, shifts, kx, ky, half, plate)
    single, _ = line_waves(start, end, LOOP_BURGERS_NM, none, shifts, kx, ky, half, plate, 0.3)
    assert np.abs(single - closed).max() < 1e-5 * np.abs(closed).max()
    # The sums are those of a loop in a box: its tractions, which fall as 1/r^3, are missed there by 1e-3 of their sum.
    k = np.hypot(kx, ky)
    chosen = (k > 0.15) & (k * (half + 2) < DEEPEST)  # waves that decay by more are left out
    for face, z in enumerate((half, -half)):
        sheet = tractions(start, end, LOOP_BURGERS_NM, np.stack([x, y, 0 * x + z], axis=1), stiffness).reshape(3, count, count)
        summed = np.fft.rfft2(sheet) * step**2
        assert np.abs(closed[face] - summed)[:, chosen].max() < 2e-3 * np.abs(summed).max()


@pytest.mark.parametrize("metal", METALS)
def test_waves_of_a_deep_loop_are_those_of_matrix_exponentials(metal):
    """Mura's integral with the Green function's transform as it stands, no eigenvalues: quadrature along the sides of a loop."""
    half, stiffness = 30.0, METALS[metal]
    plate, c, permutation = impedance(stiffness), stiffness_tensor(stiffness), np.zeros((3, 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        permutation[i, j, k], permutation[i, k, j] = 1, -1
    start = 3 * LOOPS["skew"] + [0, 0, 5]
    end, nodes, weights = np.roll(start, -1, axis=0), *np.polynomial.legendre.leggauss(24)
    angle_numbers, sizes = [5, 77, 140, 301], np.array([0.05, 0.15, 0.3])
    for number in angle_numbers:
        angle, p, y = plate.angles_rad[number], plate.decay[number], plate.compliance[number]
        m, up = np.array([math.cos(angle), math.sin(angle), 0]), np.array([0, 0, 1.0])
        force = -np.linalg.solve(y.conj() - y, y.conj())
        for k in sizes:
            closed, _ = line_waves(start, end, LOOP_BURGERS_NM, np.zeros((2, 4), int),
                                   np.stack([(v[:, :2] @ m[:2])[:, None] * k / (2 * np.pi) * [1, 0] for v in (start, end)]),
                                   np.array([[0.0, k * m[0]]]), np.array([[0.0, k * m[1]]]), half, plate)  # fmt: skip
            expected = np.zeros((2, 3), complex)
            for a, b in zip(start, end):
                for x, w in zip((nodes + 1) / 2, weights / 2):
                    at, t = a + x * (b - a), b - a
                    for face, z in enumerate((half, -half)):
                        above = face == 0
                        p_, y_, force_ = (v if above else v.conj() for v in (p, y, force))
                        wave = expm(1j * k * p_ * (z - at[2])) * np.exp(-1j * k * (m @ at)) * (1 if above else -1)
                        middle = np.einsum("ir,nrs,sp->inp", y_, np.einsum("n,rs->nrs", m, wave) + np.einsum("n,rs->nrs", up, p_ @ wave), force_)
                        expected[face] += w * np.einsum("aij,jnh,h,imp,pmqn,q->a", c[:, 2], permutation, t, middle, c, LOOP_BURGERS_NM[0])
            assert np.abs(closed[:, :, 0, 1] - expected).max() < 5e-4 * max(np.abs(expected).max(), 1e-2)


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("metal", METALS)
def test_waves_of_an_endless_line_follow_its_tractions_round_the_outcrop(metal, side):
    stiffness, burgers = METALS[metal], LOOP_BURGERS_NM[:1]
    plate, k, half = impedance(stiffness), 0.3, 20.0
    inner, outer = np.array([0.5, 0.3, 0.8 * side]) / np.linalg.norm([0.5, 0.3, 0.8]), np.array([0, 0, side])
    angles = plate.angles_rad
    circle = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    start, end = np.array([-ENDLESS_NM * inner, [0, 0, 0]]), np.array([[0, 0, 0], ENDLESS_NM * outer])
    # Tractions tau(psi)/r have the transform tau^(theta)/k, tau^ = 2 pi sum_m (-i)^|m| tau_m e^{i m theta}.
    m = np.abs(np.fft.fftfreq(len(angles), 1 / len(angles)))
    tau = tractions(start, end, np.tile(burgers, (2, 1)), circle, stiffness)
    expected = 2 * np.pi * np.fft.ifft(np.fft.fft(tau, axis=-1) * (-1j) ** m, axis=-1)
    closed = kinked_transforms(inner[None], outer[None], burgers, np.array([side]), plate)[0]
    # The endless lines end at 100 um, and what is nudged apart is 1e-4 off.
    assert np.abs(closed - expected).max() < 2e-4 * np.abs(expected).max()
    kx, ky = (np.array([k * v(angles[:1])]) for v in (np.cos, np.sin))
    lift, marked = [0, 0, side * half], np.array([[0, 1], [1, 0]])
    both, own = line_waves(start + lift, end + lift, np.tile(burgers, (2, 1)), marked, np.zeros((2, 2, 2)), kx, ky, half, plate)
    face = 0 if side > 0 else 1
    for part in (both, own[0]):
        assert np.abs(part[face, :, 0, 0] * k - closed[:, 0]).max() < 1e-6 * np.abs(closed).max()
    assert np.abs(own[0, 1 - face]).max() == 0 and np.abs(own[1]).max() == 0


@pytest.mark.parametrize("face", [0, 1])
def test_differences_of_half_space_fields_put_on_both_faces_what_equilibrium_in_depth_says(face):
    stiffness, weights, shift, thickness, angle, k = turned_copper(), np.array([1.0, -2, 1]), 3.0, 20.0, 0.7, 0.15
    plate, kx, ky = impedance(stiffness), np.array([[k * math.cos(angle)]]), np.array([[k * math.sin(angle)]])
    tau = np.random.default_rng(0).normal(size=(2, 3))
    own, load = np.zeros((2, 3, 1, 1), complex), np.zeros((2, 3, 1, 1), complex)
    own[face, :, 0, 0] = tau[0] + 1j * tau[1]
    add_differences(own, weights, shift, kx, ky, thickness, plate, load)
    # Waves of Stroh's eigenvalue problem that decay away from the face.
    c, m, n = stiffness_tensor(stiffness), np.array([math.cos(angle), math.sin(angle), 0]), np.array([0, 0, 1.0])
    q, r, t = (np.einsum("i,ijkl,l->jk", x, c, y) for x, y in ((m, m), (m, n), (n, n)))
    p, v = np.linalg.eig(np.block([[np.zeros((3, 3)), np.eye(3)], [-np.linalg.solve(t, q), -np.linalg.solve(t, r + r.T)]]))
    chosen = p.imag < 0 if face == 0 else p.imag > 0
    p, traction = p[chosen], r.T @ v[:3, chosen] + t @ v[:3, chosen] * p[chosen]
    away, amplitudes = -1 if face == 0 else 1, np.linalg.solve(traction, own[face, :, 0, 0])
    for at, far in ((face, 0.0), (1 - face, thickness)):
        depth = far + shift * np.arange(len(weights))
        expected = -sum(w * traction @ (amplitudes * np.exp(1j * k * p * away * d)) for w, d in zip(weights, depth))
        assert np.abs(load[at, :, 0, 0] - expected).max() < 1e-6 * np.abs(tau).max()


def test_half_spaces_of_an_isotropic_stiffness_are_the_isotropic_ones():
    faces, options = FoilFaces.flat(100, (160, 160), (0.1, -0.2, 1)), {"poisson_ratio": NU, "core_nm": CORE_NM}
    closed = half_spaces(MIXED, 1, [G], faces, **options)[0]
    mine = half_spaces(MIXED, 1, [G], faces, stiffness_image_GPa=isotropic_stiffness(), **options)[0]
    assert np.allclose(mine.places, closed.places) and closed.tables.shape == mine.tables.shape == (2, *mine.tables.shape[1:])
    assert np.abs(mine.tables - closed.tables).max() < 1e-3 * np.abs(closed.tables).max()


def test_endless_normal_of_an_isotropic_plate_is_the_isotropic_one():
    stiffness, heights, e = isotropic_stiffness(), np.linspace(0.5, -0.5, 7), np.array([0.1, 0.3, -1])
    mine = through_profiles(G[None], e, impedance(stiffness), heights)[0]
    closed = isotropic_profiles(G, e, NU, heights, THIN)
    half = closed.shape[-1] // 2
    for part, first in ((closed[..., :half], 0), (closed[..., half:], mine.shape[-1] // 2)):
        assert np.abs(mine[..., first : first + half] - part).max() < 5e-4 * np.abs(closed).max()  # eigenvalues nudged apart


@pytest.mark.parametrize("normal", [(0, 0, 1), (0.3, -0.5, 1)])
def test_isotropic_stiffness_gives_the_isotropic_correction(normal):
    faces = FoilFaces.flat(100, (160, 160), normal)
    points = np.random.default_rng(0).uniform(-70, 70, (400, 3)) * [1, 1, 0.6]
    points[:, 2] += monomials(points[:, 0], points[:, 1]) @ (faces.entrance + faces.exit) / 2
    options = {"core_nm": CORE_NM, "poisson_ratio": NU}
    mine = plate_corrections(MIXED, G, faces, stiffness_image_GPa=isotropic_stiffness(), **options)[0]
    closed = at_points(plate_correction(MIXED, G, faces, **options), faces, points)
    error = at_points(mine, faces, points) - closed
    assert np.sqrt((error**2).mean()) < 3e-4 * np.sqrt((closed**2).mean())


def twist_series(x, y, z, half_nm):
    """d u_x/dd of an end-on screw, b = 1, in a plate |z| < h: Eshelby & Stroh, Phil. Mag. 42 (1951) 1401."""
    r, images = np.hypot(x, y), 0.0
    for n in range(2001):
        depths = half_nm * (2 * n + 1) + np.array([-1, 1])[:, None] * z
        term = (-1) ** n * ((1 - depths / np.hypot(r, depths)) / r).sum(axis=0)
        images = images + (term if n < 2000 else term / 2)
    return -images / (2 * math.pi) * y / r


@pytest.mark.parametrize("metal", ["mg", "zn"])
def test_end_on_screw_along_c_follows_the_series_with_stretched_depth(metal):
    # Torsion about the axis of a hexagonal crystal: Eshelby and Stroh's with depth stretched by sqrt(c66/c44).
    stiffness, rng = Crystal.from_material(metal).stiffness_GPa, np.random.default_rng(0)
    faces, line = FoilFaces.flat(100, (256, 256)), endless([0, 0, 1], [0, 0, 1.0], (0.3, 0.7, 0))
    plate = plate_corrections(line, [1, 0, 0], faces, poisson_ratio=NU, stiffness_image_GPa=stiffness, core_nm=CORE_NM)[0]
    stretch = math.sqrt(stiffness[5, 5] / stiffness[3, 3])
    for r in (2.0, 4.0, 9.0, 30.0, 80.0):
        angle, z = rng.uniform(0, 2 * math.pi, 60), rng.uniform(-50, 50, 60)
        z[:20] = 50 - rng.uniform(0, 5, 20)
        x, y = r * np.cos(angle), r * np.sin(angle)
        values = at_points(plate, faces, np.stack([x + 0.3, y + 0.7, z], axis=1))
        error = np.abs(values - twist_series(x, y, stretch * z, 50 * stretch)).max() * 2 * math.pi
        # As in the isotropic case: of b/(2 pi r) to 1e-3 of that 2 nm from the line, to 2e-2 of the local one.
        assert error < 1e-3 / 2 and error < 2e-2 / r


@pytest.mark.parametrize("metal", ["cu", "zn", "w"])
@pytest.mark.parametrize("normal", [(0, 0, 1), (0.3, -0.5, 1)])
def test_tractions_vanish_on_both_faces(normal, metal):
    stiffness, faces = METALS[metal], FoilFaces.flat(100, (200, 200), normal)
    n, rng, c = faces.normal_image, np.random.default_rng(1), stiffness_tensor(stiffness)
    along = np.cross(n, [[1, 0, 0], [0, 1, 0]])
    plates = [
        plate_corrections(MIXED, np.eye(3), faces, poisson_ratio=NU, stiffness_image_GPa=stiffness, core_nm=CORE_NM, direction=e)
        for e in np.eye(3)
    ]  # fmt: skip
    for side in (1, -1):
        points = rng.uniform(-60, 60, (60, 2)) @ along + side * 50 * n * (1 - 1e-9)
        outcrop = MIXED.end_nm[0] - MIXED.start_nm[0]
        outcrop = MIXED.start_nm[0] + outcrop * ((side * 50 - MIXED.start_nm[0] @ n) / (outcrop @ n))
        points = points[np.linalg.norm(points - outcrop, axis=1) > 8 * CORE_NM]  # near it H is that of a line without core
        lines = plates[0][0].segments
        gradient = np.stack([
            np.stack([at_points(plates[s][m], faces, points) for s in range(3)], axis=-1) for m in range(3)
        ], axis=1) + distortion(lines, points, stiffness, CORE_NM)  # fmt: skip
        left = np.einsum("ijms,j,pms->pi", c, n, gradient)
        bulk = np.einsum("ijms,j,pms->pi", c, n, distortion(MIXED, points, stiffness, CORE_NM))
        assert np.sqrt((left**2).mean()) < 0.03 * np.sqrt((bulk**2).mean())


def test_several_contractions_are_each_alone_and_bad_input_is_refused():
    faces, stiffness = FoilFaces.flat(60, (60, 60)), turned_copper()
    points = np.random.default_rng(0).uniform(-25, 25, (40, 3))
    both = plate_corrections(MIXED, [G, 2 * G[::-1]], faces, poisson_ratio=NU, stiffness_image_GPa=stiffness, core_nm=CORE_NM)
    alone = plate_corrections(MIXED, 2 * G[::-1], faces, poisson_ratio=NU, stiffness_image_GPa=stiffness, core_nm=CORE_NM)
    assert np.allclose(at_points(both[1], faces, points), at_points(alone[0], faces, points), rtol=1e-5, atol=1e-8)
    assert np.abs(depth_gradient(both[0].segments, G, points, stiffness, CORE_NM)).max() > 0
    for change in ({"grid_nm": 0}, {"stiffness_image_GPa": -stiffness}):
        with pytest.raises(InputError):
            plate_corrections(MIXED, G, faces, **{"poisson_ratio": NU, "stiffness_image_GPa": stiffness, "core_nm": CORE_NM, **change})


def test_isotropic_relaxation_shows_in_an_image_of_copper():
    stiffness, faces = turned_copper(), FoilFaces.flat(100, (96, 96))
    beam, g = TwoBeam(xi_g_nm=29, xi_g_prime_nm=290, xi_0_prime_nm=290), np.array([4.79, 0, 0])
    grid = ColumnGrid.flat((96, 96), 1.0, 100, 0.0)
    own = plate_corrections(MIXED, g, faces, poisson_ratio=NU, stiffness_image_GPa=stiffness, core_nm=CORE_NM)
    isotropic = plate_correction(MIXED, g, faces, poisson_ratio=0.34, core_nm=CORE_NM)
    images = [
        column_image(MIXED, g, beam, grid, poisson_ratio=0.34, core_nm=CORE_NM, stiffness_image_GPa=stiffness, plate=plate)[0]
        for plate in (own, isotropic)
    ]  # fmt: skip
    assert np.sqrt(((images[0] - images[1]) ** 2).mean()) > 0.01 * images[0].mean()
