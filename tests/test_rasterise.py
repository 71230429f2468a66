import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render.rasterise import line_mask


def brute_force(points, half_width, shape):
    """Pixels that are surely inside and surely outside: where equally near points disagree, neither."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    distances, widths = [], []
    for a, b, wa, wb in zip(points[:-1], points[1:], half_width[:-1], half_width[1:]):
        d = b - a
        n = d @ d
        t = np.clip(((x - a[0]) * d[0] + (y - a[1]) * d[1]) / n, 0, 1) if n else np.zeros(shape)
        distances.append(np.hypot(x - a[0] - t * d[0], y - a[1] - t * d[1]))
        widths.append(wa + t * (wb - wa))
    distances, widths = np.array(distances), np.array(widths)
    nearest = distances <= distances.min(axis=0) + 1e-9
    margin = np.where(nearest, widths - distances, np.nan)
    return np.nanmin(margin, axis=0) > 1e-9, np.nanmax(margin, axis=0) < -1e-9


coordinate = st.floats(-15, 45, allow_nan=False)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(coordinate, coordinate, st.floats(1, 9)), min_size=2, max_size=8))
def test_mask_is_the_set_of_pixels_within_the_half_width_of_the_nearest_point(vertices):
    vertices = np.array(vertices)
    points, half_width = vertices[:, :2], vertices[:, 2]
    mask = line_mask(points, half_width, (24, 31))
    inside, outside = brute_force(points, half_width, (24, 31))
    assert mask[inside].all() and not mask[outside].any()


def test_area_of_a_capsule_is_that_of_the_closed_form():
    mask = line_mask([[40.2, 50.7], [160.9, 90.1]], [20.0, 20.0], (160, 220))
    length = np.hypot(160.9 - 40.2, 90.1 - 50.7)
    assert mask.sum() == pytest.approx(2 * 20 * length + np.pi * 20**2, rel=2e-3)  # rectangle + two half discs


def test_a_line_along_the_beam_is_a_disc():
    mask = line_mask([[10.0, 10.0], [10.0, 10.0]], [3.0, 3.0], (21, 21))
    y, x = np.mgrid[:21, :21]
    assert np.array_equal(mask, np.hypot(x - 10, y - 10) <= 3)


def test_a_line_outside_the_frame_has_an_empty_mask():
    assert not line_mask([[-50.0, -50.0], [-40.0, -20.0]], [3.0, 3.0], (21, 21)).any()
