import numpy as np

from physics.dislocation import Dislocation
from physics.junction import open_ends


def arm(burgers, end):
    return Dislocation(burgers_uvw=burgers, points_nm=[[0, 0, 0], end])


def test_a_balanced_node_is_not_an_open_end():
    arms = [arm((0.5, 0.5, 0), (50, 0, 0)), arm((-0.5, 0, 0.5), (0, 50, 0)), arm((0, -0.5, -0.5), (0, 0, 50))]
    assert open_ends(arms) == [(0, -1), (1, -1), (2, -1)]


def test_a_node_whose_burgers_vectors_do_not_sum_to_zero_is_open():
    arms = [arm((0.5, 0.5, 0), (50, 0, 0)), arm((-0.5, 0, 0.5), (0, 50, 0))]
    assert (0, 0) in open_ends(arms) and (1, 0) in open_ends(arms)


def test_a_loop_has_no_open_end():
    t = np.linspace(0, 2 * np.pi, 20)
    points = np.stack([30 * np.cos(t), 30 * np.sin(t), 0 * t], axis=-1)
    points[-1] = points[0]
    assert open_ends([Dislocation(burgers_uvw=(0.5, 0.5, 0), points_nm=points)]) == []


def test_canonical_form_keeps_the_dislocation():
    line = Dislocation(burgers_uvw=(0, -0.5, 0.5), points_nm=[[0, 0, 0], [1, 2, 3]])
    canonical = line.canonical()
    assert tuple(canonical.burgers_uvw) == (0, 0.5, -0.5)
    assert np.array_equal(canonical.points_nm, line.points_nm[::-1])
    assert canonical.canonical() is canonical
