import numpy as np
import pytest

from physics.beam import BeamCondition, image_from_crystal
from physics.contrast.two_beam import perfect_crystal
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.fault import StackingFault
from physics.foil import Foil
from physics.frames import pixel_from_image
from render.labels import profile_contrast
from render.scene import Scene
from render.scene_rules import plane_normal_image
from render.simulate import simulate
from render.specimen import Specimen

AL = Crystal.from_material("al")
BEAM = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1))


def scene(*lines, **changes):
    fields = {"crystal": AL, "foil": Foil(thickness_nm=100), "beam": BEAM, "shape": (96, 128), "pixel_nm": 2.0}
    return Scene(**(fields | changes), dislocations=lines)


def straight(burgers, along, *, beam=BEAM, half_nm=2000.0, through=(0.0, 0.0, 0.0)):
    """A long straight line along a crystal direction."""
    xi = image_from_crystal(AL, beam) @ AL.direction_nm(along)
    xi /= np.linalg.norm(xi)
    return Dislocation(burgers_uvw=burgers, points_nm=[np.array(through) - half_nm * xi, np.array(through) + half_nm * xi])


def test_a_screw_with_g_dot_b_zero_is_labelled_and_invisible():
    lines = simulate(scene(straight((0, 0.5, 0.5), (0, 1, 1)))).lines
    assert len(lines) == 1 and lines[0].g_dot_b == 0
    assert not lines[0].visible.any() and np.abs(lines[0].contrast).max() < 1e-4
    assert np.all(lines[0].half_width_px == 1)  # no contrast, no width: the least


def test_a_screw_with_g_dot_b_one_is_visible():
    line = simulate(scene(straight((0.5, 0, 0.5), (1, 0, 1)))).lines[0]
    assert line.g_dot_b == 1 and line.visible.all()


def test_contrast_of_a_lone_line_is_what_the_picture_shows():
    specimen = scene(straight((0.5, 0.5, 0), (1, -1, 0)), pixel_nm=1.0)
    micrograph = simulate(specimen)
    background = perfect_crystal(Specimen.of(specimen).two_beam, 0.0, 100.0)[0]
    line = micrograph.lines[0]
    inside = line.mask(micrograph.shape)
    seen = np.abs(micrograph.intensity[inside] / background - 1).max()
    assert np.abs(line.contrast).max() == pytest.approx(seen, rel=0.03)  # columns of the label lie between pixels


@pytest.mark.parametrize("side", [1, -1])
def test_a_partial_is_labelled_with_its_fault(side):
    rotation = image_from_crystal(AL, BEAM)
    plane, shift = (1, 1, 1), np.array([1, 1, -2]) / 6  # g.R = 1/3
    normal = plane_normal_image(plane, AL, rotation)
    down = np.cross(np.cross(normal, [0, 0, 1]), normal)
    down *= -50 / down[2]
    across = side * np.cross(normal, down) / np.linalg.norm(down)
    left = (np.cross([0, 0, 1], down)[:2] @ across[:2]) > 0
    fault = StackingFault(plane_hkl=plane, shift_uvw=shift, outline_nm=[-down, down, down + 500 * across, -down + 500 * across])
    partial = Dislocation(burgers_uvw=shift if left else -shift, points_nm=[-down, down], plane_hkl=plane, kind="partial")
    specimen = scene(partial, faults=[fault], pixel_nm=1.0)
    micrograph = simulate(specimen)
    background = perfect_crystal(Specimen.of(specimen).two_beam, 0.0, 100.0)[0]
    seen = (micrograph.intensity / background - 1)[micrograph.lines[0].mask(micrograph.shape)]
    # Without the fault the strongest contrast would be -0.23.
    assert micrograph.lines[0].contrast.min() == pytest.approx(seen.min(), abs=0.05)


def test_half_width_is_half_the_full_width_at_half_maximum():
    across = np.linspace(-30, 30, 61)
    sigma = 5.0
    contrast, half = profile_contrast(across, -0.3 * np.exp(-((across[None] - 3) ** 2) / (2 * sigma**2)))
    assert contrast[0] == pytest.approx(-0.3)
    assert half[0] == pytest.approx(sigma * np.sqrt(2 * np.log(2)), rel=0.03)  # FWHM of a Gaussian


def test_depth_runs_from_the_entrance_face_along_the_beam():
    line = simulate(scene(Dislocation(burgers_uvw=(0.5, 0.5, 0), points_nm=[[-60, 0, 50], [60, 0, -50]]))).lines[0]
    assert line.depth_nm[0] == pytest.approx(0, abs=1e-3) and line.depth_nm[-1] == pytest.approx(100, abs=1e-3)
    assert np.all(np.diff(line.depth_nm) > 0)


def test_curve_is_the_projection_with_y_down():
    ends = np.array([[-60.0, 20, 50], [60, -30, -50]])
    line = simulate(scene(Dislocation(burgers_uvw=(0.5, 0.5, 0), points_nm=ends))).lines[0]
    assert np.allclose(line.points_px[[0, -1]], pixel_from_image(ends, (96, 128), 2.0), atol=1e-4)
    assert line.points_px[0, 1] < line.points_px[-1, 1]  # up in the image frame is a smaller row


def test_curve_runs_on_outside_the_frame_by_two_half_widths():
    line = simulate(scene(straight((0.5, 0.5, 0), (1, -1, 0)))).lines[0]
    margin = 2 * line.half_width_px.max()
    for x, y in line.points_px[[0, -1]]:
        outside = max(-0.5 - x, x - 127.5, -0.5 - y, y - 95.5)
        assert outside >= margin


def test_a_line_that_leaves_the_foil_and_returns_is_two_instances():
    points = [[-120, 0, -50], [-60, 0, 45], [-20, 0, 70], [20, 0, 70], [60, 0, 45], [120, 0, -50]]
    lines = simulate(scene(Dislocation(burgers_uvw=(0.5, 0.5, 0), points_nm=points))).lines
    assert len(lines) == 2
    for line in lines:
        assert line.depth_nm.min() >= -1e-3 and line.depth_nm.max() <= 100 + 1e-3


def test_a_loop_repeats_its_first_vertex():
    t = np.linspace(0, 2 * np.pi, 33)
    points = np.stack([30 * np.cos(t), 20 * np.sin(t), 5 * np.cos(t)], axis=-1)
    points[-1] = points[0]
    line = simulate(scene(Dislocation(burgers_uvw=(0.5, 0.5, 0), points_nm=points, kind="loop"))).lines[0]
    assert np.array_equal(line.points_px[0], line.points_px[-1]) and line.kind == "loop"


def test_a_line_outside_the_frame_has_no_label():
    far = Dislocation(burgers_uvw=(0.5, 0.5, 0), points_nm=[[900, 0, 50], [900, 0, -50]])
    assert simulate(scene(far)).lines == ()


def test_overlapping_lines_keep_their_pixels():
    crossing = [straight((0.5, 0.5, 0), (1, -1, 0)), straight((0.5, -0.5, 0), (1, 1, 0), through=(0, 0, 20))]
    micrograph = simulate(scene(*crossing))
    masks = micrograph.masks
    assert masks.shape == (2, 96, 128) and (masks.sum(axis=0) == 2).any()
    for mask, line in zip(masks, micrograph.lines):
        assert np.array_equal(mask, line.mask((96, 128)))


def test_labels_do_not_depend_on_how_b_and_line_sense_are_written():
    line = straight((-0.5, 0, -0.5), (1, 0, 1))
    first, second = simulate(scene(line)).lines[0], simulate(scene(line.reversed())).lines[0]
    assert first.burgers_uvw == second.burgers_uvw == (0.5, 0, 0.5)
    assert np.array_equal(first.points_px, second.points_px)


def test_same_scene_same_bytes():
    specimen = scene(straight((0.5, 0, 0.5), (1, 0, 1)))
    first, second = simulate(specimen), simulate(Scene.from_json(specimen.to_json()))
    assert first.image.tobytes() == second.image.tobytes() and first.intensity.tobytes() == second.intensity.tobytes()
