"""Maps of turned and mirrored views, turned back, are those of the image."""

from dataclasses import dataclass

import numpy as np
import pytest

from physics.errors import InputError
from train.targets import TargetSettings, target_maps
from train.turned import AVERAGED, VIEWS, averaged_maps, require_views, upright

SHAPE = (64, 48)


@dataclass
class Label:
    points_px: np.ndarray
    half_width_px: np.ndarray
    visible: np.ndarray


def label(points):
    points = np.asarray(points, float)
    return Label(points_px=points, half_width_px=np.full(len(points), 2.0), visible=np.ones(len(points), bool))


LINES = [[[5.0, 7.0], [20.0, 30.0], [40.0, 33.0]], [[8.0, 60.0], [30.0, 12.0]]]


def turned(points, quarters, mirrored):
    """Where pixels of np.rot90 and a mirrored image come from."""
    points, (rows, columns) = np.asarray(points), SHAPE
    for _ in range(quarters):
        points, (rows, columns) = np.stack([points[:, 1], columns - 1 - points[:, 0]], axis=1), (columns, rows)
    return (np.stack([columns - 1 - points[:, 0], points[:, 1]], axis=1) if mirrored else points), (rows, columns)


@pytest.mark.parametrize(("quarters", "mirrored"), VIEWS[8])
def test_the_maps_of_a_view_turned_back_are_those_of_the_image(quarters, mirrored):
    straight = target_maps([label(line) for line in LINES], SHAPE)
    placed = [turned(line, quarters, mirrored) for line in LINES]
    seen = target_maps([label(points) for points, _ in placed], placed[0][1])
    back = upright(seen, quarters, mirrored)
    for name in AVERAGED:
        if getattr(straight, name) is not None:
            near = straight.centreline > 0.3 if name == "offset_px" else np.ones(straight.shape, bool)
            assert np.abs((getattr(back, name) - getattr(straight, name))[..., near]).max() < 1e-4, name


@pytest.mark.parametrize("shape", [(64, 48), (63, 47)])
@pytest.mark.parametrize("views", VIEWS)
def test_maps_are_averaged_where_they_belong(shape, views):
    """Of a stand-in that marks bright pixels: the mean is what one view shows, at every size."""
    image, asked = np.zeros(shape, np.float32), []
    image[40, 10] = 1.0

    def maps_of(seen):
        asked.append(seen.shape)
        blocks = np.pad(seen, [(0, n % 2) for n in seen.shape])
        blocks = blocks.reshape(blocks.shape[0] // 2, 2, -1, 2).max(axis=(1, 3))
        maps = target_maps([], seen.shape)
        maps.mask[:] = blocks
        return maps

    mean = averaged_maps(maps_of, image, 2, views)
    assert len(asked) == views and mean.shape == (32, 24)
    assert np.array_equal(np.argwhere(mean.mask > 0), [[20, 5]]) and mean.mask[20, 5] == pytest.approx(1.0)


def test_quarter_turns_want_an_even_number_of_orientations():
    maps = target_maps([], (32, 32), TargetSettings(orientations=9))
    assert upright(maps, 2, False).orientations == 9
    with pytest.raises(InputError, match="views must be 1 or 2 for an odd number of orientations"):
        upright(maps, 1, False)
    for wrong in (3, True, "8", 0):
        with pytest.raises(InputError, match="views must be one of 1, 2, 4, 8"):
            require_views(wrong)
