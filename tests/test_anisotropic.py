import math

import numpy as np
import pytest
from scipy.integrate import quad_vec

from physics.contrast.columns import ColumnGrid, column_image, column_values
from physics.contrast.two_beam import TwoBeam, perfect_crystal
from physics.crystal import Crystal
from physics.errors import InputError
from physics.frames import rotation_about
from physics.strain import isotropic
from physics.strain.anisotropic import DOWN, coefficients, depth_gradient, distortion
from physics.strain.green import green_derivative, rotated_stiffness, stiffness_tensor
from physics.strain.segments import Segments
from physics.strain.stroh import energy_factor_GPa, line_distortion

NU, SHEAR_GPA = 0.33, 48.0
CORE_NM = 0.5
LEVI_CIVITA = np.zeros((3, 3, 3))
for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    LEVI_CIVITA[i, j, k], LEVI_CIVITA[i, k, j] = 1, -1
ISOTROPIC = np.diag([2.0, 2, 2, 1, 1, 1]) * SHEAR_GPA
ISOTROPIC[:3, :3] += 2 * NU / (1 - 2 * NU) * SHEAR_GPA
CRYSTAL_COPPER = Crystal.from_material("cu").stiffness_GPa
# Some orientation without symmetry.
TURN = rotation_about(np.array([0.36, 0.48, 0.8]), 1.1)
COPPER = rotated_stiffness(CRYSTAL_COPPER, TURN)
ZINC = rotated_stiffness(Crystal.from_material("zn").stiffness_GPa, TURN)
BEAM = TwoBeam(xi_g_nm=36.9, xi_g_prime_nm=369, xi_0_prime_nm=369)  # Cu 111 at 200 kV
G = np.array([4.79, 0, 0])  # |g| of Cu 111


def polyline(points_nm, burgers_nm):
    points_nm = np.asarray(points_nm, float)
    count = len(points_nm) - 1
    return Segments(
        start_nm=points_nm[:-1], end_nm=points_nm[1:], burgers_nm=np.tile(burgers_nm, (count, 1)), line=np.zeros(count)
    )


def endless(direction, burgers_nm, half_nm=1e5):
    direction = np.asarray(direction) / np.linalg.norm(direction)
    return polyline([-half_nm * direction, half_nm * direction], burgers_nm)


def arc(pieces, radius_nm=60.0, angle_rad=1.6):
    angle = np.linspace(-angle_rad / 2, angle_rad / 2, pieces + 1)
    return radius_nm * np.stack([np.cos(angle) - 1, 0.6 * np.sin(angle), 0.8 * np.sin(angle)], axis=1)


def sextic_distortion(stiffness, t, burgers, separation):
    """Stroh's eigenvalue problem (Stroh 1958; Ting, Anisotropic Elasticity, 1996, ch. 5), nothing averaged."""
    c = stiffness_tensor(stiffness)
    m = np.linalg.svd(t[None])[2][1]
    n = np.cross(t, m)
    mm, nm, nn = (np.einsum("i,ijkl,l->jk", a, c, b) for a, b in ((m, m), (n, m), (n, n)))
    solve = np.linalg.inv(nn)
    p, vectors = np.linalg.eig(np.block([[-solve @ nm, -solve], [mm - nm.T @ solve @ nm, -nm.T @ solve]]))
    a, stress = vectors[:3], vectors[3:]
    scale = 2 * np.einsum("ik,ik->k", a, stress)
    strength = np.sign(p.imag) * (stress.T @ burgers) / scale / (2j * math.pi)
    x, y = separation @ m, separation @ n
    direction = m[None, :, None] + p[None, None] * n[None, :, None]
    return np.einsum("mk,k,psk,pk->pms", a, strength, direction + 0 * x[:, None, None], 1 / (x[:, None] + p * y[:, None])).real


def test_green_derivative_of_an_isotropic_crystal_is_kelvins():
    """Kelvin's solution (Mura 1987, ch. 1), differentiated by hand."""
    r = np.random.default_rng(0).normal(size=(20, 3))
    length = np.linalg.norm(r, axis=1)
    n, delta = r / length[:, None], np.eye(3)
    expected = -(3 - 4 * NU) * np.einsum("ij,ps->pijs", delta, n) - 3 * np.einsum("pi,pj,ps->pijs", n, n, n)
    expected += np.einsum("is,pj->pijs", delta, n) + np.einsum("js,pi->pijs", delta, n)
    expected /= (16 * math.pi * SHEAR_GPA * (1 - NU) * length**2)[:, None, None, None]
    found = green_derivative(ISOTROPIC, r)
    assert np.abs(found - expected).max() < 1e-13 * np.abs(expected).max()


@pytest.mark.parametrize("stiffness", [COPPER, ZINC])
def test_force_of_greens_function_is_a_unit_point_force(stiffness):
    """C_ijkl G_km,lj = 0 off the point, and the traction over a sphere about it is -delta_im."""
    c, point, step = stiffness_tensor(stiffness), np.array([1.0, -0.4, 0.7]), 1e-4
    shifted = green_derivative(stiffness, np.concatenate([point + step * np.eye(3), point - step * np.eye(3)]))
    second = (shifted[:3] - shifted[3:]) / (2 * step)
    assert np.abs(np.einsum("ijkl,jkml->im", c, second)).max() < 1e-5 * np.abs(c).max() * np.abs(second).max()
    cosine, weight = np.polynomial.legendre.leggauss(40)
    phi = 2 * math.pi * np.arange(80) / 80
    n = np.stack([np.outer(np.sqrt(1 - cosine**2), np.cos(phi)), np.outer(np.sqrt(1 - cosine**2), np.sin(phi)),
                  np.outer(cosine, np.ones(80))], axis=-1).reshape(-1, 3)  # fmt: skip
    traction = np.einsum("ijkl,pkml,pj->pim", c, green_derivative(stiffness, n), n)
    total = np.einsum("p,pim->im", np.repeat(weight, 80) * 2 * math.pi / 80, traction)
    assert total == pytest.approx(-np.eye(3), abs=1e-9)


def test_rotating_a_stiffness_and_back_changes_nothing():
    assert rotated_stiffness(COPPER, TURN.T) == pytest.approx(CRYSTAL_COPPER, abs=1e-10)
    assert rotated_stiffness(CRYSTAL_COPPER, rotation_about(np.array([0, 0, 1.0]), math.pi / 2)) == pytest.approx(CRYSTAL_COPPER)
    assert rotated_stiffness(ISOTROPIC, TURN) == pytest.approx(ISOTROPIC, abs=1e-10)


@pytest.mark.parametrize("stiffness", [COPPER, ZINC])
def test_straight_line_by_averages_is_strohs_sextic_solution(stiffness):
    t, burgers = np.array([0.3, 0.8, 0.52]) / np.linalg.norm([0.3, 0.8, 0.52]), np.array([0.2, 0.1, -0.15])
    points = np.random.default_rng(1).normal(size=(50, 3))
    expected = sextic_distortion(stiffness, t, burgers, points)
    assert np.abs(line_distortion(stiffness, t, burgers, points) - expected).max() < 1e-9 * np.abs(expected).max()


def test_straight_line_closes_to_b_and_carries_no_force():
    t, burgers = np.array([0.0, 0.6, 0.8]), np.array([0.2, 0.1, -0.15])
    angle = 2 * math.pi * np.arange(200)[:, None] / 200
    e1, e2 = np.array([1.0, 0, 0]), np.cross(t, [1.0, 0, 0])
    out, turn = np.cos(angle) * e1 + np.sin(angle) * e2, np.cos(angle) * e2 - np.sin(angle) * e1
    beta = line_distortion(COPPER, t, burgers, 3.0 * out)
    assert np.einsum("pms,ps->m", beta, turn) * 3.0 * 2 * math.pi / 200 == pytest.approx(burgers, abs=1e-12)
    stress = np.einsum("ijkl,pkl->pij", stiffness_tensor(COPPER), beta)
    assert np.abs(np.einsum("pij,pj->i", stress, out)).max() < 1e-10 * np.abs(stress).sum()
    assert np.abs(stress - stress.transpose(0, 2, 1)).max() < 1e-12 * np.abs(stress).max()


def test_energy_factor_of_isotropic_screw_and_edge():
    """mu and mu/(1 - nu) (Hirth & Lothe 1982, ch. 3); for a cubic <100> screw C44 (ibid., ch. 13)."""
    across = SHEAR_GPA / (1 - NU)
    assert energy_factor_GPa(ISOTROPIC, [0, 0, 1]) == pytest.approx(np.diag([across, across, SHEAR_GPA]))
    assert energy_factor_GPa(CRYSTAL_COPPER, [0, 0, 1])[2, 2] == pytest.approx(CRYSTAL_COPPER[3, 3])


def test_atomman_finds_the_same_straight_line():
    atomman = pytest.importorskip("atomman")
    burgers, points = np.array([0.2, 0.1, -0.15]), np.random.default_rng(2).normal(size=(20, 3))
    stroh = atomman.defect.Stroh(atomman.ElasticConstants(Cij=COPPER), burgers, m=[1, 0, 0], n=[0, 1, 0])
    expected = np.asarray(stroh.strain(points))
    found = line_distortion(COPPER, [0, 0, 1], burgers, points)
    assert (found + found.transpose(0, 2, 1)) / 2 == pytest.approx(expected, abs=1e-8)


def test_closed_form_is_muras_integral_of_barnetts_green_derivative():
    c = stiffness_tensor(COPPER)
    rng = np.random.default_rng(3)
    for _ in range(3):
        start, end, burgers, point = rng.normal(size=(4, 3)) * np.array([[8], [8], [0.3], [4]])
        length = np.linalg.norm(end - start)
        t = (end - start) / length

        def integrand(l):
            green = green_derivative(COPPER, point - start - l * t)[0]  # noqa: B023
            return -np.einsum("i,jsp,ijkl,kml,p->ms", burgers, LEVI_CIVITA, c, green, t, optimize=True)  # noqa: B023

        expected = quad_vec(integrand, 0, length, epsrel=1e-7)[0]
        found = distortion(polyline([start, end], burgers), [point], COPPER, 1e-5)[0]
        assert np.abs(found - expected).max() < 5e-5 * np.abs(expected).max()  # l <= 31 leaves out 3e-5 of copper


@pytest.mark.parametrize("stiffness, allowed", [(COPPER, 1e-4), (ZINC, 1e-6)])
def test_endless_line_is_strohs(stiffness, allowed):
    t, burgers = np.array([0.3, 0.8, 0.52]) / np.linalg.norm([0.3, 0.8, 0.52]), np.array([0.2, 0.1, -0.15])
    points = np.random.default_rng(4).normal(size=(50, 3)) * 10
    points -= np.multiply.outer(points @ t, t)
    found = distortion(endless(t, burgers), points, stiffness, 1e-6)
    expected = line_distortion(stiffness, t, burgers, points)
    error = np.abs(found - expected).max(axis=(1, 2)) / np.abs(expected).max(axis=(1, 2))
    assert error.max() < allowed


def test_isotropic_limit_is_the_isotropic_kernel_core_included():
    rng = np.random.default_rng(5)
    line, points = polyline(rng.normal(size=(6, 3)) * 10, [0.2, 0.1, -0.15]), rng.normal(size=(300, 3)) * 5
    expected = isotropic.distortion(line, points, NU, CORE_NM)
    assert np.abs(distortion(line, points, ISOTROPIC, CORE_NM) - expected).max() < 1e-12 * np.abs(expected).max()
    # A crystal nearly isotropic is near.
    nearly = ISOTROPIC + np.diag([0, 0, 0, 1, 1, 1]) * 1e-4 * SHEAR_GPA
    assert np.abs(distortion(line, points, nearly, CORE_NM) - expected).max() < 1e-3 * np.abs(expected).max()


def test_displacement_jumps_by_b_around_a_closed_loop_in_copper():
    burgers = np.array([0.1, -0.2, 0.15])
    corners = [[0, 0, -30], [0, 0, 30], [80, 0, 30], [80, 0, -30], [0, 0, -30]]
    angle = 2 * math.pi * np.arange(400)[:, None] / 400
    x, y = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    circuit, step = 5 * (np.cos(angle) * x + np.sin(angle) * y), (np.cos(angle) * y - np.sin(angle) * x) * math.pi / 40
    beta = distortion(polyline(corners, burgers), circuit, COPPER, 1e-4)
    assert np.einsum("pms,ps->m", beta, step) == pytest.approx(burgers, abs=1e-7)
    beside = distortion(polyline(corners, burgers), circuit - 20 * x, COPPER, 1e-4)
    assert np.einsum("pms,ps->m", beside, step) == pytest.approx(0, abs=1e-7)


def test_stress_of_a_loop_in_copper_is_in_equilibrium():
    loop = polyline([[0, 0, 0], [10, 0, 2], [12, 9, 0], [-3, 8, 5], [0, 0, 0]], [0.2, 0.1, -0.1])
    point, step = np.array([4.0, 3.0, 6.0]), 1e-3
    beta = distortion(loop, point + step * np.concatenate([np.eye(3), -np.eye(3)]), COPPER, 1e-5)
    stress = np.einsum("ijkl,pkl->pij", stiffness_tensor(COPPER), beta)
    divergence = sum((stress[s] - stress[s + 3])[s] for s in range(3)) / (2 * step)
    assert np.abs(divergence).max() < 1e-4 * np.abs(stress).max()


def test_b_xi_and_minus_b_minus_xi_are_one_dislocation():
    points, corners = np.random.default_rng(6).normal(size=(50, 3)) * 20, [[0, 0, -60], [10, 5, 0], [12, 20, 60]]
    one = distortion(polyline(corners, [0.2, 0, 0.2]), points, COPPER, CORE_NM)
    other = distortion(polyline(corners[::-1], [-0.2, 0, -0.2]), points, COPPER, CORE_NM)
    assert np.abs(one - other).max() < 1e-12 * np.abs(one).max()


def test_a_segment_along_the_beam_contributes_nothing_and_cutting_one_changes_nothing():
    points = np.random.default_rng(7).normal(size=(50, 3)) * 20
    assert not depth_gradient(polyline([[1, 2, -40], [1, 2, 70]], [0.2, 0.1, 0.3]), G, points, COPPER, CORE_NM).any()
    whole, pieces = (polyline(np.linspace([0, 0, -50], [20, 10, 50], n), [0.2, 0.1, 0.3]) for n in (2, 9))
    a, b = (depth_gradient(line, G, points, COPPER, CORE_NM) for line in (whole, pieces))
    assert np.abs(a - b).max() < 1e-10 * np.abs(a).max()


def test_polygon_converges_to_the_curve_with_order_two():
    points = np.array([[3.0, 4, 0], [-10, 5, 8], [0, -12, 20], [-25, 6, -30]])
    fields = [depth_gradient(polyline(arc(n), [0.2, 0.1, -0.15]), G, points, COPPER, CORE_NM) for n in (16, 32, 64, 512)]
    errors = [np.abs(field - fields[-1]).max() for field in fields[:-1]]
    order = np.polyfit(np.log([16, 32, 64]), np.log(errors), 1)[0]
    assert order == pytest.approx(-2, abs=0.15)


def test_screw_with_g_dot_b_zero_is_flat_only_along_a_symmetry_axis():
    """Stroh 1958: normal to a twofold axis antiplane and plane strain part, so that a <100> screw moves matter along
    itself alone; a copper <111>-type direction is no such axis."""
    column = np.stack([np.linspace(-20, 20, 41), np.full(41, 0.0), np.full(41, 7.0)], axis=1)
    symmetric = endless([0, 1, 0], [0, 0.25, 0])
    assert np.abs(depth_gradient(symmetric, G, column, CRYSTAL_COPPER, CORE_NM)).max() < 1e-7
    general = depth_gradient(symmetric, G, column, COPPER, CORE_NM)
    other = depth_gradient(endless([0, 1, 0], [0.25, 0, 0]), G, column, COPPER, CORE_NM)
    assert np.abs(general).max() > 0.02 * np.abs(other).max()


def network(lines=6, field_nm=96, seed=0):
    rng, parts = np.random.default_rng(seed), []
    for _ in range(lines):
        along = np.linspace(-55, 55, 10)[:, None]
        points = along * [*rng.uniform(-0.7, 0.7, 2), 1] + 8 * np.cos(along / 30) * [*rng.normal(size=2), 0]
        points[:, :2] += rng.uniform(-field_nm / 2, field_nm / 2, 2)
        far = [points[0] + 100 * (points[0] - points[1]), points[-1] + 100 * (points[-1] - points[-2])]
        parts.append(polyline(np.concatenate([far[:1], points, far[1:]]), 0.255 * rng.permutation([1, 1, 0]) / math.sqrt(2)))
    return Segments(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in ("start_nm", "end_nm", "burgers_nm", "line")})


def test_single_precision_rows_give_the_double_field():
    from physics.strain.anisotropic_kernel import BLOCK, WORK, add_packed, sum_blocks
    from physics.strain.boxes import pack

    rows = coefficients(network(), G, DOWN, COPPER, CORE_NM)
    points = np.ascontiguousarray(np.random.default_rng(8).uniform(-15, 15, (BLOCK, 3)))
    double, single = np.zeros(BLOCK), np.zeros(BLOCK, np.float32)
    sum_blocks(0, 1, rows, points, double)
    packed, work = np.empty(rows.shape[1], np.float32), np.empty(WORK, np.float32)
    for row in rows:
        pack(row, 0.0, 0.0, 0.0, packed)
        add_packed(packed, *np.ascontiguousarray(points.T, dtype=np.float32), single, work)
    assert np.abs(single - double).max() < 1e-5 * np.abs(double).max()


def test_tiles_agree_with_direct_double_summation():
    segments, options = network(), {"poisson_ratio": NU, "core_nm": CORE_NM, "stiffness_image_GPa": COPPER}
    images = column_image(segments, G, BEAM, ColumnGrid.flat((96, 96), 1.0, 100, 0.0), **options)
    rows, columns = np.random.default_rng(9).integers(0, 96, (2, 60))
    exact = column_values(
        segments, G, BEAM, columns - 47.5, 47.5 - rows, 50, -50, 0.0, slice_nm=0.25, reference=True, **options
    )
    for image, values, level in zip(images, exact, perfect_crystal(BEAM, 0.0, 100)):
        error = (image[rows, columns] - values) / level
        assert np.sqrt(np.mean(error**2)) < 3e-3 and np.abs(error).max() < 1e-2


def test_bad_stiffness_is_refused():
    with pytest.raises(InputError, match="positive definite"):
        depth_gradient(endless([0, 1, 0], [0.2, 0, 0]), G, [[1.0, 0, 0]], np.diag([1.0, 1, 1, 1, 1, -1]), CORE_NM)
    with pytest.raises(InputError, match="symmetric"):
        rotated = COPPER.copy()
        rotated[0, 5] += 5
        green_derivative(rotated, [[1.0, 0, 0]])
