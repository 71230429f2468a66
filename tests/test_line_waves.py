import numpy as np
import pytest

from physics.strain import plate
from physics.strain.foil_frame import ENDLESS_NM, FoilFaces
from physics.strain.isotropic import distortion, isotropic_stiffness
from physics.strain.line_waves import DEEPEST, line_waves
from physics.strain.outcrop import table_angles_rad
from physics.strain.outcrop_waves import add_differences, kinked_lines, kinked_transforms
from physics.strain.plate_grid import Box
from physics.strain.plate_levels import SHARES, handed_on
from physics.strain.plate_lines import PlateLines, led_off, squared
from physics.strain.plate_modes import isotropic_stress
from physics.strain.segments import Segments

NU, BURGERS_NM = 0.33, np.array([0.2, 0.15, 0.1])
SKEW = np.array([[-6.0, -4, 1], [7, -3, -2], [5, 6, 0.5], [-4, 5, -1]])
FLAT = np.array([[-6.0, -4, 1], [7, -4, 1], [7, 6, 1], [-6, 6, 1]])  # its sides have waves along which nothing decays


def tractions(start, end, points, core_nm):
    """sigma.Z (3, P) of a line's pieces, in units of the shear modulus."""
    line = Segments(start_nm=start, end_nm=end, burgers_nm=np.tile(BURGERS_NM, (len(start), 1)), line=np.zeros(len(start), int))
    return np.einsum("ims,pms->ip", isotropic_stiffness(NU)[:, 2], distortion(line, points, NU, core_nm))


def waves(start, end, kx, ky, half_nm, outcrops=None):
    """`line_waves` for waves whose phase is kx X + ky Y of their own: one row, one column each."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    marked = np.zeros((2, len(start)), dtype=int) if outcrops is None else np.array(outcrops)
    parts = []
    for x, y in zip(kx, ky):
        # The second column of a row of two is the wave itself.
        grid = np.array([[0.0, x]]), np.array([[0.0, y]])
        shifts = np.stack([(p[:, :1] * x + p[:, 1:2] * y) / (2 * np.pi) * [1, 0] for p in (start, end)])
        both = line_waves(start, end, np.tile(BURGERS_NM, (len(start), 1)), marked, shifts, *grid, half_nm, NU)
        parts.append([part[:, :, 0, 1] for part in (both[0], *both[1])])
    return np.moveaxis(np.array(parts), 0, -1)


@pytest.mark.parametrize("loop", [SKEW, FLAT], ids=["skew", "flat"])
def test_waves_of_a_loop_are_those_of_its_tractions(loop):
    count, length, half = 240, 480.0, 9.0
    step = length / count
    start, end = loop, np.roll(loop, -1, axis=0)
    at = step * np.arange(count)
    x, y = (v.ravel() for v in np.meshgrid(at - length / 2, at - length / 2))
    kx, ky = np.meshgrid(2 * np.pi * np.fft.rfftfreq(count, step), 2 * np.pi * np.fft.fftfreq(count, step))
    shifts = np.stack([p[:, :2] / length + 0.5 for p in (start, end)])
    none = np.zeros((2, 4), dtype=int)
    closed, _ = line_waves(start, end, np.tile(BURGERS_NM, (4, 1)), none, shifts, kx, ky, half, NU)
    # The sums are those of a loop in a box: its tractions, which fall as 1/r^3, are missed there by 1e-3 of their sum.
    k = np.hypot(kx, ky)
    chosen = (k > 0.15) & (k * (half + 2) < DEEPEST)  # waves that decay by more are left out
    for face, z in enumerate((half, -half)):
        sheet = tractions(start, end, np.stack([x, y, 0 * x + z], axis=1), 1e-6).reshape(3, count, count)
        summed = np.fft.rfft2(sheet) * step**2
        for c in range(3):
            assert np.abs(closed[face, c] - summed[c])[chosen].max() < 1e-3 * np.abs(summed[c]).max()


def traction_transform(tau):
    """tau^ (..., A) of tractions tau(psi) / r (..., A): 2 pi sum_m (-i)^|m| tau_m e^{i m theta}."""
    m = np.abs(np.fft.fftfreq(tau.shape[-1], 1 / tau.shape[-1]))
    return 2 * np.pi * np.fft.ifft(np.fft.fft(tau, axis=-1) * (-1j) ** m, axis=-1)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_waves_of_an_endless_line_follow_its_tractions_round_the_outcrop(side):
    inner, outer = np.array([0.5, 0.3, 0.8 * side]) / np.linalg.norm([0.5, 0.3, 0.8]), np.array([0, 0, side])
    angles = table_angles_rad()
    circle = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    start, end = np.array([-ENDLESS_NM * inner, [0, 0, 0]]), np.array([[0, 0, 0], ENDLESS_NM * outer])
    expected = traction_transform(tractions(start, end, circle, 1e-4))
    lines = kinked_lines(inner[None], outer[None], BURGERS_NM[None], np.array([side]))
    assert np.abs(kinked_transforms(lines, angles, NU)[0] - expected).max() < 1e-6 * np.abs(expected).max()
    k, half = 0.3, 20.0
    lift = [0, 0, side * half]
    both, own, other = waves(start + lift, end + lift, k * np.cos(angles[:64]), k * np.sin(angles[:64]), half, [[0, 1], [1, 0]])
    face = 0 if side > 0 else 1
    for part in (both, own):
        assert np.abs(part[face] * k - expected[:, :64]).max() < 1e-6 * np.abs(expected).max()
    assert np.abs(own[1 - face]).max() == 0 and np.abs(other).max() == 0


def unbalanced(load, half, k, angle):
    """Net force across and along the plane, and net moment, of loads (2, 3, W) of waves k at an angle, per k."""
    along = np.cos(angle) * load[:, 0] + np.sin(angle) * load[:, 1]
    across = np.cos(angle) * load[:, 1] - np.sin(angle) * load[:, 0]
    moment = load[0, 2] - load[1, 2] + 1j * k * half * (along[0] + along[1])
    return np.abs(along[0] - along[1]), np.abs(across[0] - across[1]), np.abs(moment)


@pytest.mark.parametrize("case", ["closed", "endless"])
def test_long_waves_are_in_balance(case):
    # From d sigma_iz/dz = -ik sigma_ik over the depth: force as k and moment as k^2 times the stress within, which is that
    # of a loop's area for closed lines and 1/k for endless ones.
    half, k, angle = 50.0, np.geomspace(2e-5, 2e-3, 7), 0.7
    if case == "closed":
        start, end = 3 * SKEW, 3 * np.roll(SKEW, -1, axis=0)
    else:
        corners = np.array([[30.0, 10, -1e7], [30, 10, -half], [-3, 5, -7], [5, -20, half], [5, -20, 200], [30, 10, 200], [30, 10, 1e7]])
        start, end = corners[:-1], corners[1:]
    load, *_ = waves(start, end, k * np.cos(angle), k * np.sin(angle), half)
    order = 0 if case == "closed" else -1
    for size, power in zip(unbalanced(load, half, k, angle), (1, 1, 2)):
        slope = np.polyfit(np.log(k), np.log(size), 1)[0]
        assert slope > power + order - 0.1
    # What is so small are differences of much larger loads.
    assert unbalanced(load, half, k, angle)[2][0] < 0.05 * np.abs(load[:, 2, 0]).max()


def test_differences_of_half_space_fields_put_on_both_faces_what_their_stress_is():
    angles = table_angles_rad()[1:60]
    k, thickness, shift = 0.07, 40.0, 5.0
    kx, ky = (k * f(angles)[None] for f in (np.cos, np.sin))
    own = np.zeros((2, 3, 1, len(angles)), complex)
    own[0] = np.random.default_rng(0).normal(size=own[0].shape)
    weights, load = np.array([1.0, -2, 1]), np.zeros_like(own)
    add_differences(own, weights, shift, kx, ky, thickness, load)
    still, moving = isotropic_stress(angles, NU)
    for face, depth in enumerate((0.0, thickness)):
        expected = 0
        for j, weight in enumerate(weights):
            d = k * (depth + j * shift)
            expected = expected - weight * np.exp(-d) * np.einsum("aij,ja->ia", still + d * moving, own[0, :, 0])
        assert load[face, :, 0] == pytest.approx(expected, abs=1e-12)


def test_a_line_that_leaves_the_box_goes_on_along_the_normal_and_ends_nowhere():
    faces, box = FoilFaces.flat(80, (200, 160), (0.3, -0.2, 1)), Box(step_nm=4.0, padded=(80, 60), counts=(60, 50))
    corners = np.array([[-900.0, 60, -39], [-100, 0, -20], [40, 20, 0], [30, 300, 10], [-20, 10, 30], [700, -50, 39]])
    lines = led_off(
        PlateLines(start_nm=corners[:-1], end_nm=corners[1:], burgers_nm=np.tile(BURGERS_NM, (5, 1)), outcrops=np.zeros((2, 5), int)),
        box, faces,
    )  # fmt: skip
    places = np.concatenate([lines.start_nm, lines.end_nm])
    flow = np.concatenate([lines.burgers_nm, -lines.burgers_nm])
    far = np.abs(places[:, 2]) > 1e5
    assert far.sum() == 4  # it comes in and leaves twice: over the left side and the upper one, and again
    for place in places[~far]:
        here = np.linalg.norm(places - place, axis=1) < 1e-6
        assert np.abs(flow[here].sum(axis=0)).max() < 1e-12
    assert (np.abs(places[~far, :2]) < 200).all()


def test_what_levels_hand_on_is_flat_for_long_waves():
    k = np.geomspace(2e-3, 1e-2, 5)
    kept = 1 - handed_on(0, k, 100.0)
    assert np.polyfit(np.log(k), np.log(kept), 1)[0] > 5.8  # so that no force or moment of a level is amplified, as 1/k^3
    assert handed_on(0, np.array([10 / SHARES[0] / 100]), 100.0) == 0


def test_small_loops_count_by_their_area_and_others_stay():
    angles, tilt = 2 * np.pi * np.arange(10) / 10, np.array([[1, 0, 0.4], [0.2, 1, 0]])
    vertices = 2.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1) @ tilt + [3, 4, 5]
    open_line = np.array([[0.0, 0, 0], [1, 0, 0], [2, 1, 0], [2, 2, 1], [3, 2, 1], [3, 3, 1]])
    start = np.concatenate([open_line[:-1], vertices, 10 * vertices])
    end = np.concatenate([open_line[1:], np.roll(vertices, -1, axis=0), np.roll(10 * vertices, -1, axis=0)])
    lines = Segments(start_nm=start, end_nm=end, burgers_nm=np.tile(BURGERS_NM, (25, 1)), line=np.repeat([0, 1, 2], [5, 10, 10]))
    found, number = squared(lines, 8.0)
    kept = np.r_[0:5, 15:25]
    assert np.array_equal(found.start_nm[number[kept]], start[kept]) and np.array_equal(found.line[number[kept]], lines.line[kept])
    square = found.start_nm[found.line == 1]
    assert square.shape == (4, 3) and np.array_equal(found.end_nm[found.line == 1], np.roll(square, -1, axis=0))
    area, own = (np.cross(v - v.mean(axis=0), np.roll(v, -1, axis=0) - v.mean(axis=0)).sum(axis=0) / 2 for v in (vertices, square))
    assert np.allclose(own, area) and np.allclose(square.mean(axis=0), vertices.mean(axis=0), atol=0.3)


def test_a_foil_of_small_loops_is_relaxed_as_if_every_side_were_summed(monkeypatch):
    rng, faces, parts = np.random.default_rng(0), FoilFaces.flat(60, (80, 80)), []
    angles = 2 * np.pi * np.arange(12) / 12
    for n in range(40):
        u, v = np.linalg.qr(rng.normal(size=(3, 3)))[0][:2]
        circle = rng.uniform(1, 3) * (np.outer(np.cos(angles), u) + np.outer(np.sin(angles), v)) + rng.uniform(-1, 1, 3) * [35, 35, 26]
        parts.append((circle, np.roll(circle, -1, axis=0), np.tile(0.2 * np.cross(u, v), (12, 1)), np.full(12, n)))
    start, end, burgers, line = (np.concatenate(p) for p in zip(*parts))
    loops = Segments(start_nm=start, end_nm=end, burgers_nm=burgers, line=line)
    coefficients = []
    for steps in (plate.SQUARED_STEPS, 0.0):
        monkeypatch.setattr(plate, "SQUARED_STEPS", steps)
        coefficients.append(plate.plate_correction(loops, [4.0, 2, 1], faces, poisson_ratio=NU, core_nm=0.5).coefficients)
    error = coefficients[0] - coefficients[1]
    assert 0 < np.sqrt((error**2).mean()) < 0.15 * np.sqrt((coefficients[1] ** 2).mean())
