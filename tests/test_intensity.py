"""The noise-free image: what stands for a pixel."""

import numpy as np
import pytest

from physics.beam import BeamCondition
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.foil import Foil
from render.intensity import core_pixels, noise_free_intensity
from render.scene import Scene
from render.specimen import Specimen


def image(shape, pixel_nm):
    line = Dislocation(burgers_uvw=(0.5, 0.5, 0), points_nm=[[-30, -21, 40], [30, 20, -40]])
    scene = Scene(crystal=Crystal.from_material("cu"), foil=Foil(thickness_nm=80), dislocations=(line,), shape=shape,
                  beam=BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1), s_inv_nm=0.003), pixel_nm=pixel_nm)  # fmt: skip
    return noise_free_intensity(scene, Specimen.of(scene)), core_pixels(scene)


def test_a_pixel_on_a_core_is_the_mean_over_its_area():
    coarse, near = image((32, 32), 2.0)
    fine, _ = image((256, 256), 0.25)
    means = fine.reshape(32, 8, 32, 8).mean(axis=(1, 3))
    error = np.abs(coarse - means)
    # Single columns at the pixels' centres are wrong by 0.3 of the background on the core.
    assert error[near].max() < 0.12 * np.median(means) and np.sqrt(np.mean(error[near] ** 2)) < 0.03 * np.median(means)
    assert np.sqrt(np.mean(error[~near] ** 2)) < 0.02 * np.median(means)


def test_core_pixels_follow_the_line():
    _, near = image((32, 32), 2.0)
    rows, columns = np.nonzero(near)
    x, y = 2 * (columns - 15.5), 2 * (15.5 - rows)
    assert np.abs((41 * x - 60 * (y + 0.5)) / np.hypot(41, 60)).max() < 2 * 1.2 + 0.1  # 1.2 px of 2 nm
    assert near.sum() == pytest.approx(2 * 1.2 * np.hypot(60, 41) / 2, rel=0.2)
