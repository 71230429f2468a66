"""Counts, lengths, densities and their intervals."""

import numpy as np
import pytest

from physics.errors import InputError
from train.measure import Thickness, field_of, measured
from train.measure import test_lines as random_lines

SHAPE = (300, 400)


def field(curves, pixel_nm=2.0, shape=SHAPE, covered=None, seed=0):
    return field_of([np.array(c, float) for c in curves], shape, pixel_nm, np.random.default_rng(seed), covered)


def isotropic(count, thickness_px, rng, shape=SHAPE):
    """Straight lines of random position and direction through a foil, projected, and their true length inside the frame (px)."""
    centre = 0.5 * np.array([shape[1], shape[0], thickness_px])
    radius = np.linalg.norm(centre) + 1
    curves, length = [], 0.0
    while len(curves) < count:
        # A line isotropic uniform random through a ball: direction uniform, foot uniform on the disc across it.
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        across = np.linalg.svd(direction[None])[2][1:]
        r, turn = radius * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        foot = centre + r * (np.cos(turn) * across[0] + np.sin(turn) * across[1])
        with np.errstate(divide="ignore"):
            t = np.sort(np.array([(np.zeros(3) - foot) / direction, (2 * centre - foot) / direction]), axis=0)
        enter, leave = t[0].max(), t[1].min()
        if leave > enter:
            ends = foot + np.outer([enter, leave], direction)
            curves.append(ends[:, :2] - 0.5)
            length += leave - enter
    return curves, length


def test_both_methods_give_the_true_density_of_lines_of_all_directions():
    thickness_px = 60.0
    curves, length_px = isotropic(1500, thickness_px, np.random.default_rng(3))
    record = measured([field(curves)], Thickness(nm=thickness_px * 2.0), np.random.default_rng(0))
    true_inv_m2 = length_px / (SHAPE[0] * SHAPE[1] * thickness_px) / (2e-9) ** 2
    # 1500 lines: 3 % by counting; the test lines add about as much.
    assert record["volume_density_inv_m2"] == pytest.approx(true_inv_m2, rel=0.06)
    assert record["volume_density_by_intercepts_inv_m2"] == pytest.approx(true_inv_m2, rel=0.10)


def test_one_straight_line_has_its_length_and_density():
    record = measured([field([[[10, 20], [110, 20]]])], None, np.random.default_rng(0))
    assert record["n_lines"] == 1 and record["total_length_px"] == 100 and record["total_length_nm"] == 200
    # 0.2 um in 0.6 um x 0.8 um
    assert record["areal_density_inv_um"] == pytest.approx(0.2 / 0.48, abs=1e-6)
    assert record["n_lines_interval"] == [0.0, 5.6]  # Garwood 1936: 0.0253 to 5.572 for a count of 1
    assert "volume_density_inv_m2" not in record


def test_test_lines_are_uniform_and_isotropic():
    """Cauchy-Crofton: N / M = 2 L / (pi A) on the mean over random lines."""
    ratios = [f.hits.sum() / f.test_px.sum() for f in (field([[[50, 150], [350, 150]]], seed=s) for s in range(300))]
    assert np.mean(ratios) == pytest.approx(2 * 300 / (np.pi * SHAPE[0] * SHAPE[1]), rel=0.05)
    normals, _ = random_lines(SHAPE, np.random.default_rng(0))
    assert np.linalg.norm((normals[:, :, None] * normals[:, None]).mean(axis=0) - np.eye(2) / 2) < 1e-12


def test_without_a_pixel_size_all_is_in_px():
    record = measured([field([[[10, 20], [110, 20]]], pixel_nm=None)], None, np.random.default_rng(0))
    assert record["total_length_nm"] is None and record["areal_density_inv_um"] is None
    assert record["areal_density_inv_px"] == pytest.approx(100 / (300 * 400), abs=1e-8)
    with pytest.raises(InputError, match="thickness_nm must come with pixel_nm"):
        measured([field([], pixel_nm=None)], Thickness(nm=100), np.random.default_rng(0))


def test_covered_area_counts_neither_as_area_nor_for_test_lines():
    covered = np.zeros(SHAPE, bool)
    covered[:, 200:] = True
    half, whole = field([], covered=covered), field([])
    assert half.area_px2 == 0.5 * whole.area_px2
    assert half.test_px.sum() == pytest.approx(0.5 * whole.test_px.sum(), rel=0.2)


def test_the_interval_of_one_image_is_that_of_independent_lines():
    """A compound Poisson sum of equal lengths has a relative deviation of 1 / sqrt(n)."""
    curves = [[[10, 3 * n], [110, 3 * n]] for n in range(64)]
    record = measured([field(curves)], None, np.random.default_rng(0))
    low, high = record["total_length_px_interval"]
    assert (high - low) / (2 * 1.96 * 6400) == pytest.approx(1 / 8, rel=0.1)


def test_five_images_and_more_are_drawn_whole():
    images = [field([[[10, 20], [10 + 20 * n, 20]]]) for n in range(1, 7)]
    record = measured(images, None, np.random.default_rng(0))
    assert record["interval_from"] == "images" and record["total_length_px"] == 420
    low, high = record["areal_density_inv_um_interval"]
    assert low < record["areal_density_inv_um"] < high
    assert measured(images[:4], None, np.random.default_rng(0))["interval_from"] == "lines"


def test_an_uncertain_thickness_widens_the_interval():
    curves = [[[10, n], [390, n]] for n in range(290)]

    def relative_width(sigma_nm):
        record = measured([field(curves)], Thickness(nm=100, sigma_nm=sigma_nm), np.random.default_rng(0))
        low, high = record["volume_density_inv_m2_interval"]
        return (high - low) / (2 * 1.96 * record["volume_density_inv_m2"])

    assert relative_width(0) == pytest.approx(290**-0.5, rel=0.1)
    # 95 % of 1/t of a normal t of 20 % deviation lie between 1/1.392 and 1/0.608.
    of_thickness = (1 / (1 - 1.96 * 0.2) - 1 / (1 + 1.96 * 0.2)) / (2 * 1.96)
    assert relative_width(20) == pytest.approx(np.hypot(290**-0.5, of_thickness), rel=0.06)


def test_no_line_has_no_upper_limit_but_of_its_count():
    record = measured([field([])], Thickness(nm=100), np.random.default_rng(0))
    assert record["n_lines_interval"] == [0.0, 3.7]  # Garwood 1936: 3.689 for a count of 0
    assert record["volume_density_inv_m2"] == 0 and record["volume_density_inv_m2_interval"] == [0, None]


@pytest.mark.parametrize(("values", "message"), [
    ({"nm": 0}, "thickness_nm must be > 0"), ({"nm": "thin"}, "thickness_nm must be a number"),
    ({"nm": 100, "sigma_nm": 60}, r"thickness_sigma_nm must lie in \[0, 0.4 thickness_nm\]"),
])  # fmt: skip
def test_a_thickness_is_checked(values, message):
    with pytest.raises(InputError, match=message):
        Thickness(**values)
