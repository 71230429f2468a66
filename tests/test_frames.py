"""The one place where y is flipped, and rotations that are what they are named for (conventions, rows 1 and 3)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physics.frames import (
    column_positions_nm,
    field_nm,
    image_from_pixel,
    pixel_from_image,
    rotation_about,
    rotation_from_axes,
)

LENGTH = st.floats(-500, 500)


def test_centre_of_the_top_left_pixel_is_the_origin_of_pixel_coordinates():
    x_nm, y_nm = column_positions_nm((3, 5), 2.0)
    np.testing.assert_array_equal(pixel_from_image([x_nm[0], y_nm[0]], (3, 5), 2.0), [0, 0])
    np.testing.assert_array_equal(pixel_from_image([x_nm[-1], y_nm[-1]], (3, 5), 2.0), [4, 2])


def test_image_y_is_up_and_pixel_y_is_down():
    low_px, high_px = pixel_from_image([[0.0, -1.0], [0.0, 1.0]], (64, 64), 1.0)
    assert high_px[1] < low_px[1]
    left_px, right_px = pixel_from_image([[-1.0, 0.0], [1.0, 0.0]], (64, 64), 1.0)
    assert left_px[0] < right_px[0]


@pytest.mark.parametrize("shape", [(4, 6), (5, 7)])
def test_the_field_is_centred_on_the_origin(shape):
    x_nm, y_nm = column_positions_nm(shape, 0.5)
    assert x_nm.mean() == y_nm.mean() == 0
    np.testing.assert_array_equal(pixel_from_image([0, 0], shape, 0.5), [(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    width_nm, height_nm = field_nm(shape, 0.5)
    assert width_nm == x_nm[-1] - x_nm[0] + 0.5 and height_nm == y_nm[0] - y_nm[-1] + 0.5


@given(x=LENGTH, y=LENGTH, z=LENGTH, pixel_nm=st.floats(0.1, 10))
def test_pixel_coordinates_and_back(x, y, z, pixel_nm):
    there = pixel_from_image([[x, y, z]], (128, 96), pixel_nm)
    np.testing.assert_allclose(image_from_pixel(there, (128, 96), pixel_nm), [[x, y]], atol=1e-9)


def test_rotation_about_an_axis_is_right_handed():
    np.testing.assert_allclose(rotation_about([0, 0, 2], np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(rotation_about([1, 0, 0], np.pi / 2) @ [0, 1, 0], [0, 0, 1], atol=1e-15)


@given(axis=st.tuples(LENGTH, LENGTH, LENGTH).filter(lambda v: np.linalg.norm(v) > 1), angle=st.floats(-7, 7))
def test_rotations_are_proper_and_compose(axis, angle):
    rotation = rotation_about(axis, angle)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(rotation @ rotation, rotation_about(axis, 2 * angle), atol=1e-12)
    np.testing.assert_allclose(rotation @ axis, axis, atol=1e-9)


def test_axes_become_x_and_z_as_v_image_is_rotation_times_v_crystal():
    rotation = rotation_from_axes([1, 1, 0.3], [0, 0, 5])
    np.testing.assert_allclose(rotation @ [0, 0, 1], [0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(rotation @ (np.array([1, 1, 0]) / np.sqrt(2)), [1, 0, 0], atol=1e-15)
    assert np.linalg.det(rotation) == pytest.approx(1)
