"""Sources: geometry of pile-ups, bow-outs, dipoles and loops against their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physics.clipping import between_faces
from physics.errors import InputError
from physics.sources import (
    GlidePlane,
    LineShape,
    bow_out,
    dipole,
    glide_loop,
    pile_up,
    pile_up_positions,
    prismatic_loop,
    threading_line,
)

THICKNESS_NM = 100.0
NORMAL = np.array([1.0, 1.0, 1.0]) / np.sqrt(3)
OPTIONS = {"step_nm": 4.0, "reach_nm": 2000.0}


def flat(x_nm, y_nm):
    return np.full_like(x_nm, THICKNESS_NM / 2), np.full_like(x_nm, -THICKNESS_NM / 2)


def bent(x_nm, y_nm):
    middle_nm = -1e-4 * (x_nm**2 + 0.3 * y_nm**2)
    return middle_nm + 50 + 0.05 * x_nm, middle_nm - 50


def glide_plane(point_nm=(0.0, 0.0, 0.0), normal=NORMAL):
    return GlidePlane(plane_hkl=(1, 1, 1), burgers_uvw=(0.5, -0.5, 0.0), normal_image=normal, point_nm=point_nm)


@pytest.mark.parametrize("count", [2, 3, 8, 25])
def test_every_free_dislocation_of_a_pile_up_feels_no_force(count):
    x = pile_up_positions(count)
    free = np.arange(1, count)
    pull = [sum(1 / (x[i] - x[j]) for j in range(count) if j != i) for i in free]
    # Equilibrium under a uniform stress: the repulsion by the others is the same for each (Eshelby et al. 1951, eq. 1).
    assert np.ptp(pull) <= 1e-9 * np.mean(pull) if count > 2 else len(pull) == 1


def test_the_pile_up_tightens_toward_the_lock():
    gaps = np.diff(pile_up_positions(12))
    assert (np.diff(gaps) > 0).all()


def test_two_free_dislocations_stand_at_the_roots_of_the_laguerre_derivative():
    # L_3'(x) = -(x^2 - 6 x + 6) / 2, roots 3 -+ sqrt 3.
    assert pile_up_positions(3) == pytest.approx([0, (3 - 3**0.5) / (3 + 3**0.5), 1], abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(chord=st.floats(-70, 70), sag=st.floats(-80, 80), wave=st.floats(-8, 8), x=st.floats(-150, 150), bent_foil=st.booleans())
def test_a_bow_out_lies_in_its_plane_and_ends_on_both_faces(chord, sag, wave, x, bent_foil):
    faces = bent if bent_foil else flat
    plane = glide_plane((x, 20.0, 0.0))
    lines = bow_out(plane, faces, along_nm=10.0, shape=LineShape(chord_deg=chord, sag_nm=sag, wave_nm=[0, wave]), **OPTIONS)
    assert lines
    for line in lines:
        assert line.glissile and line.plane_hkl == (1, 1, 1)
        assert np.abs((line.points_nm - plane.point_nm) @ NORMAL).max() < 1e-9
        for end in (line.points_nm[:1], line.points_nm[-1:]):
            entrance_nm, exit_nm = faces(end[:, 0], end[:, 1])
            assert min(abs(end[0, 2] - entrance_nm[0]), abs(end[0, 2] - exit_nm[0])) < 1e-6


def test_the_sag_of_a_bow_out_is_that_of_a_circular_arc():
    plane = glide_plane()
    (line,) = bow_out(plane, flat, along_nm=0.0, shape=LineShape(sag_nm=30.0), step_nm=0.5, reach_nm=2000)
    along = (line.points_nm - plane.point_nm) @ plane.along
    rise = (line.points_nm - plane.point_nm) @ plane.rise
    assert along.max() == pytest.approx(30.0, abs=0.01)  # the apex may lie between two vertices
    half_chord = THICKNESS_NM / 2 / plane.rise[2]
    radius = (half_chord**2 + 30.0**2) / 60.0  # chord and sagitta of a circle
    assert np.hypot(along - (30.0 - radius), rise) == pytest.approx(np.full(len(along), radius), abs=1e-6)


def test_a_line_that_meets_no_face_ends_at_the_reach():
    level = GlidePlane(plane_hkl=(1, 1, 1), burgers_uvw=(0.5, -0.5, 0.0), normal_image=(0, 0, 1), point_nm=(5, 5, 10))
    (line,) = bow_out(level, flat, along_nm=0.0, shape=LineShape(), step_nm=5.0, reach_nm=300.0)
    assert np.linalg.norm(line.points_nm[[0, -1], :2], axis=1) == pytest.approx([300.0, 300.0])  # reach_nm


def test_a_pile_up_keeps_its_order_and_spacing():
    positions = pile_up_positions(6) * 200
    lines = pile_up(glide_plane(), flat, positions_nm=positions, shapes=[LineShape(sag_nm=10)] * 6, **OPTIONS)
    middles = [line.points_nm[len(line.points_nm) // 2] @ glide_plane().along for line in lines]
    assert np.diff(middles) == pytest.approx(np.diff(positions), abs=1e-6)


def test_a_dipole_is_two_opposite_burgers_vectors_on_parallel_planes():
    first, second = dipole(glide_plane(), flat, height_nm=12.0, offset_nm=12.0, shape=LineShape(), **OPTIONS)
    assert np.array_equal(first.burgers_uvw, -second.burgers_uvw)
    assert (second.points_nm - first.points_nm[0]) @ NORMAL == pytest.approx(np.full(len(second.points_nm), 12.0))
    assert {first.kind, second.kind} == {"dipole"}


def test_loops_close_exactly_and_keep_their_radius():
    loop = glide_loop(glide_plane(), radius_nm=20.0, step_nm=2.0)
    assert loop.closed and loop.glissile
    assert np.linalg.norm(loop.points_nm, axis=1) == pytest.approx(np.full(len(loop.points_nm), 20.0))
    prismatic = prismatic_loop((0.5, 0.5, 0.0), (1, 1, 0), (1, 1, 0), (0, 0, 5), radius_nm=15, aspect=0.6, step_nm=1.0)
    assert prismatic.closed and not prismatic.glissile
    distance = np.linalg.norm(prismatic.points_nm - [0, 0, 5], axis=1)
    assert distance.max() == pytest.approx(15.0) and distance.min() == pytest.approx(9.0, rel=1e-2)  # 15 * aspect


def test_a_glide_source_outside_its_plane_is_refused():
    with pytest.raises(InputError, match=r"burgers_uvw must lie in its slip plane \[1, 1, 1\], got"):
        GlidePlane(plane_hkl=(1, 1, 1), burgers_uvw=(0.5, 0.5, 0.0), normal_image=NORMAL, point_nm=(0, 0, 0))


def test_a_prismatic_loop_with_b_in_its_plane_is_refused():
    with pytest.raises(InputError, match="leave the habit plane"):
        prismatic_loop((0.5, -0.5, 0.0), (1, 1, 1), NORMAL, (0, 0, 0), radius_nm=10, step_nm=1)


def test_a_line_that_leaves_the_foil_and_returns_becomes_two():
    x = np.linspace(-100, 100, 81)
    points = np.stack([x, np.zeros_like(x), 60 - x**2 / 100 - 0.0 * x], axis=1)
    pieces = between_faces(points, flat)
    assert len(pieces) == 2
    cut = np.sqrt(1000.0)  # z = 60 - x^2 / 100 = 50
    assert sorted(abs(piece[k, 0]) for piece in pieces for k in (0, -1))[:2] == pytest.approx([cut, cut], abs=0.05)


def test_a_closed_loop_cut_by_a_face_is_one_open_line_wherever_it_begins():
    phi = np.linspace(0, 2 * np.pi, 41)
    for turn in (0, 7, 20, 33):
        angle = np.roll(phi[:-1], turn)
        points = np.stack([30 * np.cos(angle), np.zeros(40), 40 + 30 * np.sin(angle)], axis=1)
        pieces = between_faces(np.concatenate([points, points[:1]]), flat)
        assert len(pieces) == 1
        assert pieces[0][[0, -1], 2] == pytest.approx([50, 50], abs=1e-6)  # the entrance face


def test_threading_lines_run_from_face_to_face():
    (line,) = threading_line((0.5, 0.5, 0), (-80, 0, -60), (90, 30, 60), flat, wave_nm=([0, 5, 2], [0, 3, 1]), step_nm=4)
    assert sorted(line.points_nm[[0, -1], 2]) == pytest.approx([-50, 50], abs=1e-6)  # the faces
