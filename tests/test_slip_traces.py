"""Slip traces: straight, in pairs, only where lines have passed, growing with their number; what they do to the image."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from physics.beam import BeamCondition, image_from_crystal
from physics.contrast.two_beam import perfect_crystal
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.foil import Foil
from physics.frames import pixel_from_image
from physics.slip_step import swept_areas
from physics.slip_trace import SLIP_TRACE, held_traces, under_film
from physics.sources import GlidePlane, LineShape, pile_up
from render.config import compose
from render.labels import label_lines
from render.sample import sample
from render.sample_config import BULK_KEYS
from render.scene import Scene
from render.scene_rules import plane_normal_image
from render.simulate import simulate
from render.specimen import Specimen

AL = Crystal.from_material("al")
BEAM = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1), s_inv_nm=0.004)
THICKNESS_NM, FILM_NM, LENGTH_NM, GAP_NM = 120.0, 5.0, 90.0, 40.0
PLANE = GlidePlane(plane_hkl=(1, 1, 1), burgers_uvw=(0.5, 0, -0.5), normal_image=plane_normal_image((1, 1, 1), AL, image_from_crystal(AL, BEAM)),
                   point_nm=(0, 0, 0))  # fmt: skip
BURGERS_FROM_UVW = image_from_crystal(AL, BEAM) @ AL.lattice_nm


def flat(x_nm, y_nm):
    return np.full_like(x_nm, THICKNESS_NM / 2), np.full_like(x_nm, -THICKNESS_NM / 2)


def held(count, toward=1.0, sag_nm=12.0):
    """`count` lines on one plane that have glided toward +along, and the traces behind them."""
    places = toward * (100 - GAP_NM * np.arange(count))
    lines = pile_up(PLANE, under_film(flat, FILM_NM), positions_nm=places, shapes=[LineShape(sag_nm=toward * sag_nm)] * count, step_nm=4, reach_nm=2000)
    return lines, held_traces(lines, PLANE, flat, toward=toward, film_depth_nm=FILM_NM, length_nm=LENGTH_NM, step_nm=4)


def scene(lines=(), **changes):
    fields = {"crystal": AL, "foil": Foil(thickness_nm=THICKNESS_NM), "beam": BEAM, "shape": (220, 220), "pixel_nm": 2.0}
    return Scene(**(fields | changes), dislocations=tuple(line.canonical() for line in lines))


@pytest.fixture(scope="module")
def images():
    """Noise-free bright fields of 0 to 3 held lines."""
    return [simulate(scene([*sum(held(count), [])])) if count else simulate(scene()) for count in range(4)]


def across_nm(micrograph):
    """Positions of the pixels (Y, X) along and across the traces, and the distance of the entrance trace across."""
    m = micrograph.scene
    x = (np.arange(m.shape[1]) - (m.shape[1] - 1) / 2) * m.pixel_nm
    y = ((m.shape[0] - 1) / 2 - np.arange(m.shape[0])) * m.pixel_nm
    position = np.stack([*np.meshgrid(x, y), np.zeros(m.shape)], axis=-1)
    rise = np.array([*PLANE.rise[:2], 0.0])
    at_face = (THICKNESS_NM / 2 - FILM_NM) / PLANE.rise[2]
    return position @ PLANE.along, position @ rise / np.linalg.norm(rise), at_face * np.linalg.norm(rise)


def test_traces_are_straight_and_run_under_the_films():
    _, traces = held(3)
    for trace in traces:
        body = trace.points_nm[np.abs(trace.points_nm[:, 2]) < THICKNESS_NM / 2 - 1e-6]
        assert np.ptp(body[:, 2]) < 1e-3 and abs(body[0, 2]) == pytest.approx(THICKNESS_NM / 2 - FILM_NM, abs=1e-3)
        off_nm = np.cross(body - body[0], PLANE.along)
        assert np.abs(off_nm).max() < 1e-3  # on one line along the plane's meeting with the face


def test_traces_come_in_pairs_one_on_each_face():
    _, traces = held(3)
    sides = [np.sign(trace.points_nm[0, 2]) for trace in traces]
    assert sides.count(1.0) == sides.count(-1.0) == 3


@pytest.mark.parametrize("toward", [1.0, -1.0])
def test_traces_begin_at_the_ends_of_lines_and_lie_on_the_swept_side_only(toward):
    lines, traces = held(3, toward)
    foremost = max(toward * float(line.points_nm[0] @ PLANE.along) for line in lines)
    ends = {line.points_nm[end].tobytes() for line in lines for end in (0, -1)}
    for trace in traces:
        assert {trace.points_nm[end].tobytes() for end in (0, -1)} & ends
        assert (toward * (trace.points_nm @ PLANE.along) <= foremost + 1e-6).all()


def test_traces_hold_as_many_burgers_vectors_as_lines_have_passed():
    _, traces = held(3)
    strength = sorted(float(np.abs(trace.burgers_uvw).sum()) for trace in traces)
    assert strength == pytest.approx([1, 1, 2, 2, 3, 3])  # |u| + |v| + |w| of 1/2<110> is 1


def test_traces_are_labelled_as_such_and_never_as_dislocations(images):
    micrograph = images[3]
    assert len(micrograph.lines) == 3 and {line.kind for line in micrograph.lines} == {"perfect"}
    traces = [d for d in micrograph.distractors if d.kind == SLIP_TRACE]
    assert len(traces) == 6
    # Between its lines a trace ends where the line does.
    ends_px = np.concatenate([pixel_from_image(d.points_nm[[0, -1]], (220, 220), 2.0) for d in micrograph.scene.dislocations if d.kind == "perfect"])
    at_lines = [np.linalg.norm(ends_px - t.points_px[k], axis=1).min() < 1e-3 for t in traces for k in (0, -1)]
    assert sum(at_lines) == 10  # of 12 ends two run out at the back


def test_the_label_of_a_trace_lies_on_its_image(images):
    """The image of a line lies beside its core: with s > 0 by several px here."""
    micrograph = images[1]
    contrast = np.abs(micrograph.intensity / images[0].intensity - 1)
    lines = binary_dilation(np.any([line.mask(micrograph.shape) for line in micrograph.lines], axis=0), iterations=12)  # and their images' flanks
    for trace in (d for d in micrograph.distractors if d.kind == SLIP_TRACE):
        beside = binary_dilation(trace.mask, iterations=8) & ~lines
        assert trace.mask.ravel()[np.argmax(np.where(beside, contrast, 0))]
        # Of a black and white pair the mask is the stronger half, the other lies beside it.
        assert contrast[beside & trace.mask].mean() > 1.15 * contrast[beside & ~trace.mask].mean()


def behind(micrograph, from_nm=-80.0, to_nm=-30.0):
    """Profile of intensity over the perfect foil's across the traces, averaged along them where all lines have passed."""
    along, across, face = across_nm(micrograph)
    count = sum(d.kind == "perfect" for d in micrograph.scene.dislocations)
    last = 100 - GAP_NM * max(count - 1, 0)
    chosen = (along > last + from_nm) & (along < last + to_nm)
    bins = np.arange(-130, 131, 2.0)
    which = np.digitize(across[chosen], bins)
    background = perfect_crystal(Specimen.of(scene()).two_beam, BEAM.s_inv_nm, THICKNESS_NM)[0]
    profile = np.array([micrograph.intensity[chosen][which == k].mean() for k in range(1, len(bins))]) / background
    return (bins[1:] + bins[:-1]) / 2, profile, face


@pytest.mark.parametrize("depth_nm", [2.0, 4.0, 6.0])
@pytest.mark.parametrize("burgers", [(0.5, 0, 0.5), (0.5, 0.5, 0)])
def test_the_contrast_and_width_of_a_trace_follow_its_depth(depth_nm, burgers):
    """The label's line with its mirror image against the simulated image, whose faces are free of all tractions."""
    z_nm = THICKNESS_NM / 2 - depth_nm
    trace = Dislocation(burgers_uvw=burgers, points_nm=[[-500, 0, z_nm], [0, 0, z_nm], [500, 0, z_nm]], kind=SLIP_TRACE)
    drawn = scene([trace], shape=(80, 40), pixel_nm=1.0)
    image = simulate(drawn).intensity
    relative = image[:, 15:25].mean(axis=1) / image[[0, -1]].mean() - 1
    (label,) = label_lines(drawn, Specimen.of(drawn), traces=True)
    wanted = relative[np.abs(relative).argmax()]
    assert np.median(label.contrast) == pytest.approx(wanted, rel=0.12, abs=0.01)
    assert np.median(label.points_px[:, 1]) == pytest.approx(np.abs(relative).argmax(), abs=3.5)
    assert 2 * np.median(label.half_width_px) == pytest.approx((np.abs(relative) > abs(wanted) / 2).sum(), rel=0.6)


def test_traces_have_black_and_white_edges(images):
    at, profile, face = behind(images[1])
    for side in (1, -1):
        near = profile[np.abs(at - side * face) < 20]
        assert near.min() < 0.98 and near.max() > 1.005


def test_traces_grow_with_the_number_of_lines_passed(images):
    depth = [np.ptp(behind(micrograph)[1]) for micrograph in images]
    assert depth[0] < 1e-5 and (np.diff(depth) > 0.02).all()


def test_nothing_is_seen_of_a_plane_ahead_of_the_foremost_line(images):
    along, across, face = across_nm(images[3])
    ahead = (along > 180) & (along < 210)
    on, beside = (np.abs(np.abs(across) - face) < 4) & ahead, (np.abs(np.abs(across) - face) > 30) & (np.abs(across) < 130) & ahead
    assert abs(images[3].intensity[on].mean() - images[3].intensity[beside].mean()) < 0.1 * np.ptp(behind(images[3])[1])


def test_the_swept_area_is_thicker_by_the_burgers_vectors_that_passed():
    lines, traces = held(3)
    areas = swept_areas([*lines, *traces], BURGERS_FROM_UVW)
    b_z_nm = abs((BURGERS_FROM_UVW @ PLANE.burgers_uvw)[2])
    assert sorted(abs(a.rise_nm) for a in areas) == pytest.approx([b_z_nm, 2 * b_z_nm, 3 * b_z_nm])
    assert len({np.sign(a.rise_nm) for a in areas}) == 1
    opposite = swept_areas([line.reversed() for line in (*lines, *traces)], BURGERS_FROM_UVW)
    assert [a.rise_nm for a in opposite] == pytest.approx([a.rise_nm for a in areas])  # (b, xi) and (-b, -xi) are one line


def test_the_sign_of_a_step_is_that_of_the_crystal_lifted_above_its_plane():
    """Swept by a line with the swept side on its left seen from the gun, the upper crystal moves by -b against the lower one."""
    for toward in (1.0, -1.0):
        lines, traces = held(1, toward, sag_nm=0.0)
        (area,) = swept_areas([*lines, *traces], BURGERS_FROM_UVW)
        xi = lines[0].points_nm[-1] - lines[0].points_nm[0]
        swept_side = -toward * PLANE.along
        left = np.cross(xi[:2], swept_side[:2]) > 0
        b_z = (BURGERS_FROM_UVW @ lines[0].burgers_uvw)[2]
        assert area.rise_nm == pytest.approx(-b_z if left else b_z)


def test_the_background_steps_over_the_swept_area():
    """The thickness map rises by N b_z inside the strip, and there only; the intensity follows the perfect foil's."""
    lines, traces = held(2)
    specimen = Specimen.of(scene([*lines, *traces]))
    along, across, face = across_nm(simulate(scene()))
    rise = specimen.foil.thickness_nm - THICKNESS_NM
    b_z_nm = abs((BURGERS_FROM_UVW @ PLANE.burgers_uvw)[2])
    inside = (np.abs(across) < face - 4) & (along > -20) & (along < 40)  # behind the second line, at 60 nm
    outside = (np.abs(across) > face + 4) | (along > 120)
    np.testing.assert_allclose(np.abs(rise[inside]), 2 * b_z_nm, rtol=1e-6)
    assert (rise[outside] == 0).all()


@pytest.mark.parametrize("image", ["bf", "df"])
def test_arms_of_a_half_loop_are_dislocations(image):
    """A half-loop's straight arms carry b and have masks; a film does not make traces of them."""
    beam = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1), s_inv_nm=0.004, image=image)
    lines = pile_up(PLANE, flat, positions_nm=[0.0], shapes=[LineShape(sag_nm=90)], step_nm=4, reach_nm=2000)
    micrograph = simulate(scene(lines, beam=beam))
    assert len(micrograph.lines) == 1 and not [d for d in micrograph.distractors if d.kind == SLIP_TRACE]
    assert micrograph.lines[0].mask((220, 220)).sum() > 100


def test_a_film_covers_the_faces_of_the_foil_and_no_boundary():
    # Scenes that once held traces along the boundary, which there bounds the first grain from above.
    config = compose("render", ["out=x", "scene=pileup", "shape=[256,256]", "surroundings.boundary_share=1"], ())
    drawn = [sample({k: v for k, v in config.items() if k not in BULK_KEYS}, 3, i) for i in range(12)]
    found = 0
    for held_scene in drawn:
        shape = Specimen.of(held_scene).foil_shape
        for trace in held_scene.dislocations:
            if trace.kind == SLIP_TRACE:
                found += 1
                x, y, z = trace.points_nm.T
                depth = np.minimum(shape.face_z_nm(x, y, 1) - z, z - shape.face_z_nm(x, y, -1))
                assert depth.max() < 10
    assert found > 0
