"""Four-index notation of hexagonal crystals (conventions, row 11)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physics.crystal import Crystal
from physics.errors import InputError
from physics.miller import bravais_from_direction, bravais_from_plane, direction_from_bravais, plane_from_bravais

INDEX = st.integers(-9, 9)


def test_one_third_2_minus1_minus1_0_is_the_lattice_vector_100():
    np.testing.assert_array_equal(direction_from_bravais([2 / 3, -1 / 3, -1 / 3, 0]), [1, 0, 0])
    np.testing.assert_array_equal(direction_from_bravais([2, -1, -1, 0]), [3, 0, 0])  # no factor is dropped
    np.testing.assert_array_equal(direction_from_bravais([1 / 3, 1 / 3, -2 / 3, 1]), [1, 1, 1])
    np.testing.assert_array_equal(direction_from_bravais([0.333333333, 0.333333333, -0.666666666, -1]), [1, 1, -1])


def test_planes_lose_their_third_index():
    assert plane_from_bravais([1, 0, -1, 1]) == (1, 0, 1)
    assert plane_from_bravais([1, 1, -2, 2]) == (1, 1, 2)


@given(h=INDEX, k=INDEX, l=INDEX)
def test_four_indices_and_back(h, k, l):
    assert plane_from_bravais(bravais_from_plane((h, k, l))) == (h, k, l)
    np.testing.assert_allclose(direction_from_bravais(bravais_from_direction((h, k, l))), (h, k, l), atol=1e-12)


@given(h=INDEX, k=INDEX, l=INDEX, u=INDEX, v=INDEX, w=INDEX)
def test_the_scalar_product_is_the_same_in_three_and_four_indices(h, k, l, u, v, w):
    four = np.dot(bravais_from_plane((h, k, l)), bravais_from_direction((u, v, w)))
    assert four == pytest.approx(h * u + k * v + l * w, abs=1e-9)


def test_a_direction_points_along_its_four_axis_sum():
    lattice_nm = Crystal.from_material("ti").lattice_nm
    a1, a2, c = lattice_nm.T
    a3 = -(a1 + a2)
    four_axes_nm = 2 * a1 - 1 * a2 - 1 * a3 + 3 * c
    np.testing.assert_allclose(lattice_nm @ direction_from_bravais([2, -1, -1, 3]), four_axes_nm, atol=1e-14)


@pytest.mark.parametrize("hkil", [(1, 0, 0, 1), (1, 1, 2, 0), (1, 0, -1), (0.5, 0, -0.5, 1), (np.nan, 0, 0, 1)])
def test_inconsistent_planes_are_refused(hkil):
    with pytest.raises(InputError, match="hkil"):
        plane_from_bravais(hkil)


@pytest.mark.parametrize("uvtw", [(1, 0, 0, 0), (2, -1, 1, 3), (1, 0, 0)])
def test_inconsistent_directions_are_refused(uvtw):
    with pytest.raises(InputError, match="uvtw"):
        direction_from_bravais(uvtw)
