import math

import numpy as np
import pytest

from physics.contrast.columns import column_values
from physics.contrast.straight import are_parallel_straight, straight_lines_image
from physics.contrast.two_beam import TwoBeam, perfect_crystal
from physics.crystal import Crystal
from physics.errors import InputError
from physics.frames import column_positions_nm, rotation_about
from physics.strain.green import rotated_stiffness
from physics.strain.segments import Segments

BEAM = TwoBeam(xi_g_nm=36.9, xi_g_prime_nm=369, xi_0_prime_nm=369)  # Cu 111 at 200 kV
G = np.array([4.79, 0, 0])  # |g| of Cu 111
ELASTIC = {"poisson_ratio": 0.33, "core_nm": 0.5}
COPPER = rotated_stiffness(Crystal.from_material("cu").stiffness_GPa, rotation_about(np.array([0.36, 0.48, 0.8]), 1.1))
SHAPE = (80, 96)


def lines(direction, burgers_nm, through_nm, senses=None):
    direction = np.asarray(direction) / np.linalg.norm(direction)
    through_nm = np.asarray(through_nm, float)
    senses = np.ones(len(through_nm)) if senses is None else np.asarray(senses)
    half = 1e6 * senses[:, None] * direction
    return Segments(start_nm=through_nm - half, end_nm=through_nm + half, burgers_nm=burgers_nm, line=np.arange(len(half)))


MIXED = lines([0.3, 0.8, 0.55], [[0.2, 0.15, 0.1]], [[3, 0, 5]])
DIPOLE = lines([1, 0.2, 0], [[0.2, 0.1, 0.1], [0.2, 0.1, 0.1]], [[0, -9, 12], [0, 6, -17]], senses=[1, -1])
STEEP = lines([0.2, -0.1, 1], [[0.1, 0.2, 0.1]], [[0, 0, 0]])


def reference(segments, rows, columns, thickness_nm, s, stiffness):
    x_nm, y_nm = column_positions_nm(SHAPE, 1.0)
    return column_values(
        segments, G, BEAM, x_nm[columns], y_nm[rows], thickness_nm / 2, -thickness_nm / 2, s, slice_nm=1 / 4, reference=True,
        stiffness_image_GPa=stiffness, **ELASTIC,
    )  # fmt: skip


@pytest.mark.parametrize(
    "segments, s, stiffness",
    [(MIXED, 0.0, COPPER), (MIXED, 0.05, COPPER), (MIXED, 0.0, None), (DIPOLE, 0.01, COPPER), (STEEP, 0.0, COPPER)],
)
def test_windows_of_the_cross_section_are_columns_summed_directly(segments, s, stiffness):
    images = straight_lines_image(segments, G, BEAM, SHAPE, 1.0, 100.0, s, stiffness_image_GPa=stiffness, **ELASTIC)
    # Half of the probes lie within 6 nm of a line at mid-foil.
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, SHAPE[0], 80), rng.integers(0, SHAPE[1], 80)
    x_nm, y_nm = column_positions_nm(SHAPE, 1.0)
    t, start = segments.end_nm[0] - segments.start_nm[0], segments.start_nm[0]
    if t[1] != 0:
        near = start[0] + (y_nm[rows[:40]] - start[1]) * t[0] / t[1] + rng.uniform(-6, 6, 40)
        columns[:40] = np.clip(np.round(near - x_nm[0]), 0, SHAPE[1] - 1)
    exact = reference(segments, rows, columns, 100.0, s, stiffness)
    for image, values, level in zip(images, exact, perfect_crystal(BEAM, s, 100.0)):
        error = (image[rows, columns] - values) / max(level, values.mean())
        assert np.sqrt(np.mean(error**2)) < 1e-3 and np.abs(error).max() < 1e-2 and np.ptp(values) > 0.05 * level


def test_line_sense_and_burgers_vector_reversed_together_change_nothing():
    turned = Segments(start_nm=MIXED.end_nm, end_nm=MIXED.start_nm, burgers_nm=-MIXED.burgers_nm, line=[0])
    one, other = (
        straight_lines_image(m, G, BEAM, SHAPE, 1.0, 100.0, 0.0, stiffness_image_GPa=COPPER, **ELASTIC)[0]
        for m in (MIXED, turned)
    )
    assert np.abs(one - other).max() < 1e-6


def test_only_whole_parallel_lines_across_the_beam_are_taken():
    assert are_parallel_straight(MIXED) and are_parallel_straight(DIPOLE)
    crossed = Segments(**{
        name: np.concatenate([getattr(MIXED, name), getattr(STEEP, name)])
        for name in ("start_nm", "end_nm", "burgers_nm", "line")
    })  # fmt: skip
    short = Segments(start_nm=[[-50, 0, 0]], end_nm=[[50, 0, 0]], burgers_nm=[[0.2, 0, 0]], line=[0])
    for refused in (crossed, short, lines([0, 0, 1], [[0.2, 0, 0]], [[0, 0, 0]])):
        assert not are_parallel_straight(refused)
        with pytest.raises(InputError, match="parallel endless lines"):
            straight_lines_image(refused, G, BEAM, SHAPE, 1.0, 100.0, 0.0, **ELASTIC)


def test_far_from_the_line_stands_the_perfect_crystal():
    far = lines([0, 1, 0], [[0.2, 0.1, 0]], [[3e4, 0, 0]])
    images = straight_lines_image(far, G, BEAM, SHAPE, 1.0, 87.0, 0.004, **ELASTIC)
    for image, level in zip(images, perfect_crystal(BEAM, 0.004, 87.0)):
        assert np.abs(image - level).max() < 5e-3 and math.isfinite(level)
