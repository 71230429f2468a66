import math

import numpy as np
import pytest
from scipy.integrate import quad_vec

from physics.dislocation import Dislocation
from physics.errors import InputError
from physics.strain.isotropic import DOWN, depth_gradient, distortion, rotation, strain
from physics.strain.segments import Segments, segments_of

NU = 0.33
CORE_NM = 0.5
LEVI_CIVITA = np.zeros((3, 3, 3))
for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    LEVI_CIVITA[i, j, k], LEVI_CIVITA[i, k, j] = 1, -1


def polyline(points_nm, burgers_nm):
    points_nm = np.asarray(points_nm, float)
    count = len(points_nm) - 1
    return Segments(
        start_nm=points_nm[:-1], end_nm=points_nm[1:], burgers_nm=np.tile(burgers_nm, (count, 1)), line=np.zeros(count)
    )


def endless(direction, burgers_nm, half_nm=1e7):
    direction = np.asarray(direction) / np.linalg.norm(direction)
    return polyline([-half_nm * direction, half_nm * direction], burgers_nm)


def mura_integrand(r, tangent, burgers_nm):
    """Mura 1987 eq. 37.9 with the Green's function of R_a (Cai et al. 2006), nothing simplified."""
    delta, a = np.eye(3), CORE_NM
    lame, shear = 2 * NU / (1 - 2 * NU), 1.0
    stiffness = lame * np.einsum("ij,kl->ijkl", delta, delta) + shear * (
        np.einsum("ik,jl->ijkl", delta, delta) + np.einsum("il,jk->ijkl", delta, delta)
    )
    radius = math.sqrt(r @ r + a * a)
    third = 3 * np.einsum("i,j,k->ijk", r, r, r) / radius**5 - (
        np.einsum("ij,k->ijk", delta, r) + np.einsum("ik,j->ijk", delta, r) + np.einsum("jk,i->ijk", delta, r)
    ) / radius**3
    green = np.einsum("km,l->kml", delta, np.einsum("ppl->l", third)) - third / (2 * (1 - NU))
    return -np.einsum("i,jsp,ijkl,kml,p->ms", burgers_nm, LEVI_CIVITA, stiffness, green, tangent) / (8 * math.pi * shear)


def mura_by_quadrature(start_nm, end_nm, burgers_nm, point_nm):
    length = np.linalg.norm(end_nm - start_nm)
    tangent = (end_nm - start_nm) / length
    return quad_vec(lambda l: mura_integrand(point_nm - start_nm - l * tangent, tangent, burgers_nm), 0, length, epsrel=1e-12)[0]


def test_closed_form_is_muras_integral():
    rng = np.random.default_rng(0)
    for _ in range(12):
        start, end, burgers, point = rng.normal(size=(4, 3)) * np.array([[8], [8], [0.3], [4]])
        expected = mura_by_quadrature(start, end, burgers, point)
        found = distortion(polyline([start, end], burgers), [point], NU, CORE_NM)[0]
        assert np.abs(found - expected).max() < 1e-10 * np.abs(expected).max()


def test_infinite_screw_edge_and_mixed_line():
    """Hirth & Lothe, Theory of Dislocations (1982), eqs 3-2 and 3-43, 3-44 (y, x-displacement of an edge)."""
    b_edge, b_screw = 0.2, 0.15
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 40)) * 5 + 3
    r_sq = x * x + y * y
    expected = np.zeros((40, 3, 3))
    k = b_edge / (2 * math.pi * (1 - NU))
    # u_x = b/2pi [atan(y/x) + xy / (2(1-nu) r^2)], u_y = -b/2pi [(1-2nu)/(4(1-nu)) ln r^2 + (x^2-y^2)/(4(1-nu) r^2)]
    expected[:, 0, 0] = b_edge / (2 * math.pi) * (-y / r_sq) + k / 2 * (y / r_sq - 2 * x * x * y / r_sq**2)
    expected[:, 0, 1] = b_edge / (2 * math.pi) * (x / r_sq) + k / 2 * (x / r_sq - 2 * x * y * y / r_sq**2)
    expected[:, 1, 0] = -k / 4 * ((1 - 2 * NU) * 2 * x / r_sq + 2 * x / r_sq - 2 * x * (x * x - y * y) / r_sq**2)
    expected[:, 1, 1] = -k / 4 * ((1 - 2 * NU) * 2 * y / r_sq - 2 * y / r_sq - 2 * y * (x * x - y * y) / r_sq**2)
    expected[:, 2, 0], expected[:, 2, 1] = -b_screw / (2 * math.pi) * y / r_sq, b_screw / (2 * math.pi) * x / r_sq
    found = distortion(endless([0, 0, 1], [b_edge, 0, b_screw]), np.stack([x, y, 0 * x], 1), NU, 1e-6)
    assert np.abs(found - expected).max() < 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("axis", range(3))
def test_displacement_jumps_by_b_around_a_right_handed_circuit(axis):
    burgers = np.array([0.1, -0.2, 0.15])
    along, out, across = np.roll(np.eye(3), -axis, axis=0)
    corners = [out * u + along * v for u, v in ((0, -30), (0, 30), (80, 30), (80, -30), (0, -30))]
    angle = 2 * math.pi * np.arange(400) / 400
    # Right-handed about `along`: out x across = along turns out toward across.
    turn = np.sign(np.linalg.det([out, across, along]))
    circuit = 5 * (np.cos(angle)[:, None] * out + turn * np.sin(angle)[:, None] * across)
    step = 5 * (-np.sin(angle)[:, None] * out + turn * np.cos(angle)[:, None] * across) * (2 * math.pi / 400)
    beta = distortion(polyline(corners, burgers), circuit, NU, 1e-4)
    assert np.einsum("pms,ps->m", beta, step) == pytest.approx(burgers, abs=1e-9)
    beside = distortion(polyline(corners, burgers), circuit - 20 * out, NU, 1e-4)
    assert np.einsum("pms,ps->m", beside, step) == pytest.approx(0, abs=1e-9)


def test_stress_of_a_loop_is_in_equilibrium():
    loop = polyline([[0, 0, 0], [10, 0, 2], [12, 9, 0], [-3, 8, 5], [0, 0, 0]], [0.2, 0.1, -0.1])
    point, step = np.array([4.0, 3.0, 6.0]), 1e-3
    shifts = np.concatenate([np.eye(3), -np.eye(3)]) * step
    e = strain(distortion(loop, point + shifts, NU, CORE_NM))
    stress = 2 * NU / (1 - 2 * NU) * np.einsum("pii,jk->pjk", e, np.eye(3)) + 2 * e
    divergence = sum((stress[s] - stress[s + 3])[s] for s in range(3)) / (2 * step)
    assert np.abs(divergence).max() < 1e-6 * np.abs(stress).max()


def test_field_of_a_loop_falls_as_the_cube_of_the_distance():
    loop = polyline([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0], [-1, -1, 0]], [0, 0, 0.3])
    near, far = np.abs(distortion(loop, [[30, 40, 120], [60, 80, 240]], NU, CORE_NM)).max(axis=(1, 2))
    assert math.log2(near / far) == pytest.approx(3, abs=1e-3)


def test_b_xi_and_minus_b_minus_xi_are_one_dislocation():
    line = Dislocation(burgers_uvw=(0.5, 0, 0.5), points_nm=[[0, 0, -60], [10, 5, 0], [12, 20, 60]])
    points = np.random.default_rng(2).normal(size=(50, 3)) * 20
    fields = [
        distortion(segments_of([l], np.eye(3) * 0.4, 1e4), points, NU, CORE_NM) for l in (line, line.reversed())
    ]
    assert np.abs(fields[0] - fields[1]).max() < 1e-15 * np.abs(fields[0]).max() * 1e2


def test_a_segment_along_the_beam_contributes_nothing():
    points = np.random.default_rng(3).normal(size=(50, 3)) * 20
    assert not depth_gradient(polyline([[1, 2, -40], [1, 2, 70]], [0.2, 0.1, 0.3]), [3, 1, 0], points, NU, CORE_NM).any()


def test_cutting_a_segment_changes_nothing():
    points = np.random.default_rng(4).normal(size=(50, 3)) * 20
    whole = polyline([[0, 0, -50], [20, 10, 50]], [0.2, 0.1, 0.3])
    pieces = polyline(np.linspace([0, 0, -50], [20, 10, 50], 8), [0.2, 0.1, 0.3])
    a, b = (distortion(s, points, NU, CORE_NM) for s in (whole, pieces))
    assert np.abs(a - b).max() < 1e-12


def test_depth_gradient_is_minus_g_beta_z():
    points = np.random.default_rng(5).normal(size=(50, 3)) * 20
    line, g = polyline([[0, 0, -50], [20, 10, 50]], [0.2, 0.1, 0.3]), np.array([3.0, 1.0, 0.2])
    expected = -np.einsum("m,pm->p", g, distortion(line, points, NU, CORE_NM)[:, :, 2])
    assert np.abs(depth_gradient(line, g, points, NU, CORE_NM, DOWN) - expected).max() < 1e-14


def test_distortion_is_strain_and_rotation():
    beta = distortion(polyline([[0, 0, -50], [20, 10, 50]], [0.2, 0.1, 0.3]), [[3.0, 4, 5]], NU, CORE_NM)
    antisymmetric = np.einsum("mks,pk->pms", -LEVI_CIVITA.transpose(0, 2, 1), rotation(beta))
    assert np.abs(strain(beta) + antisymmetric - beta).max() < 1e-16


def test_an_open_end_continues_straight():
    line = Dislocation(burgers_uvw=(1, 0, 0), points_nm=[[0, 0, 0], [0, 30, 40]])
    segments = segments_of([line], 0.3 * np.eye(3), 500)
    assert segments.start_nm[0] == pytest.approx([0, -300, -400]) and segments.end_nm[-1] == pytest.approx([0, 330, 440])
    assert segments.burgers_nm == pytest.approx(np.tile([0.3, 0, 0], (3, 1))) and not segments.line.any()


def test_an_open_end_continues_as_it_is_told():
    line = Dislocation(burgers_uvw=(1, 0, 0), points_nm=[[-60, 0, 75], [10, 0, -78], [40, 0, -75]])

    def onward(places_nm, along):
        assert places_nm.tolist() == [[-60, 0, 75], [40, 0, -75]]
        assert along[1] == pytest.approx(np.array([30, 0, 3]) / np.hypot(30, 3))
        return np.array([along[0], [0, 0, -1]])

    segments = segments_of([line], 0.3 * np.eye(3), 500, onward=onward)
    assert segments.end_nm[-1] == pytest.approx([40, 0, -575])
    assert segments.start_nm[0] - [-60, 0, 75] == pytest.approx(500 * np.array([-70, 0, 153]) / np.hypot(70, 153))


def test_a_polygonised_loop_converges_to_the_circle_with_order_two():
    """The circle is Mura's integral round it, to which the trapezium rule converges exponentially."""
    radius_nm, burgers = 20.0, np.array([0.2, 0.0, 0.15])
    points = np.array([[3.0, -4, 6], [26, 2, -5], [-12, 9, 0], [0, 0, 30]])
    angle = 2 * math.pi * np.arange(400) / 400
    circle, along = radius_nm * np.stack([np.cos(angle), np.sin(angle), 0 * angle]).T, np.stack([-np.sin(angle), np.cos(angle), 0 * angle]).T
    exact = np.array([sum(mura_integrand(p - c, t, burgers) for c, t in zip(circle, along)) for p in points]) * 2 * math.pi * radius_nm / 400
    sides, error = np.array([12, 24, 48, 96, 192]), []
    for n in sides:
        corners = radius_nm * np.stack([np.cos(2 * math.pi * np.arange(n + 1) / n), np.sin(2 * math.pi * np.arange(n + 1) / n), np.zeros(n + 1)]).T
        corners[-1] = corners[0]
        error.append(np.abs(distortion(polyline(corners, burgers), points, NU, CORE_NM) - exact).max() / np.abs(exact).max())
    order = -np.polyfit(np.log(sides), np.log(error), 1)[0]
    assert order == pytest.approx(2, abs=0.1) and error[-1] < 1e-3


def test_balanced_nodes_and_loops_do_not_continue():
    node = [0, 0, 0]
    arms = [
        Dislocation(burgers_uvw=b, points_nm=[node, end])
        for b, end in (((1, 0, 0), [90, 0, 0]), ((0, 1, 0), [0, 90, 0]), ((-1, -1, 0), [-90, -90, 0]))
    ]
    loop = Dislocation(burgers_uvw=(0, 0, 1), points_nm=[[0, 0, 9], [9, 0, 9], [0, 9, 9], [0, 0, 9]])
    segments = segments_of([*arms, loop], np.eye(3), 1000)
    assert len(segments) == 3 * 2 + 3
    assert (segments.of_line(3).start_nm == loop.points_nm[:-1]).all()


def test_an_end_left_open_disturbs_columns_beside_it():
    """An end 20 nm from a column gives a screw with g.b = 0 a field that its continuation takes away."""
    screw = Dislocation(burgers_uvw=(0, 1, 0), points_nm=[[0, -2000, 0], [0, 20, 0]])
    g, column = [4, 0, 0], [[0, 0, z] for z in range(-50, 51, 10)]
    cut, whole = (
        np.abs(depth_gradient(segments_of([screw], 0.286 * np.eye(3), far), g, column, NU, CORE_NM)).max()
        for far in (0, 1e7)
    )
    assert cut > 1e-4 and whole < 1e-8


def test_bad_segments_are_refused():
    with pytest.raises(InputError, match="length > 0"):
        Segments(start_nm=[[0, 0, 0]], end_nm=[[0, 0, 0]], burgers_nm=[[1, 0, 0]], line=[0])
    with pytest.raises(InputError, match="poisson_ratio"):
        depth_gradient(polyline([[0, 0, 0], [1, 0, 0]], [1, 0, 0]), [1, 0, 0], [[0, 0, 1]], 0.5, CORE_NM)
