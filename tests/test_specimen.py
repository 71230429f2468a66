import numpy as np
import pytest

from physics.beam import BeamCondition, image_from_crystal
from physics.crystal import Crystal
from physics.fault import StackingFault
from physics.foil import Foil
from physics.frames import column_positions_nm
from physics.polygon import polygon_covers
from render.scene import Scene
from render.scene_rules import plane_normal_image
from render.simulate import simulate
from render.specimen import Specimen, fault_sheets

AL = Crystal.from_material("al")
BEAM = BeamCondition(g_hkl=(2, 2, 0), zone_axis_uvw=(0, 0, 1))
PLANE = (1, 1, 1)
SHIFT = np.array([1, 1, -2]) / 6  # g.R = 2/3, a phase of -120 degrees


def faulted(beam=BEAM, thickness_nm=100.0, **changes):
    """A fault on (111) that crosses a foil from face to face over the whole height of the field."""
    rotation = image_from_crystal(AL, beam)
    normal = plane_normal_image(PLANE, AL, rotation)
    down = np.cross(np.cross(normal, [0, 0, 1]), normal)  # steepest direction in the plane
    down /= np.abs(down[2])
    along = np.cross(normal, down)
    along /= np.linalg.norm(along)
    top, bottom = down * thickness_nm / 2, -down * thickness_nm / 2
    outline = [top - 900 * along, top + 900 * along, bottom + 900 * along, bottom - 900 * along]
    fault = StackingFault(plane_hkl=PLANE, shift_uvw=SHIFT, outline_nm=outline)
    return Scene(crystal=AL, foil=Foil(thickness_nm=thickness_nm), beam=beam, faults=[fault], shape=(64, 96), **changes)


def test_fault_sheet_lies_on_its_plane_and_covers_its_outline():
    scene = faulted()
    specimen = Specimen.of(scene)
    z_nm, phase_rad = fault_sheets(scene, specimen)
    assert phase_rad[0] == pytest.approx(-2 * np.pi / 3)  # 2 pi (2/3) modulo 2 pi
    x_nm, y_nm = column_positions_nm(scene.shape, scene.pixel_nm)
    covered = np.isfinite(z_nm[0])
    assert covered.any() and (~covered).any()
    points = np.stack([*np.meshgrid(x_nm, y_nm), z_nm[0]], axis=-1)[covered]
    normal = plane_normal_image(PLANE, AL, specimen.image_from_crystal)
    assert np.abs((points - scene.faults[0].outline_nm[0]) @ normal).max() < 1e-9
    assert np.abs(z_nm[0][covered]).max() <= 50 + 1e-9


def test_a_fault_with_whole_g_dot_r_leaves_no_fringes():
    beam = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1))
    visible = simulate(faulted(beam)).intensity  # g.R = 1/3
    assert np.ptp(visible) > 0.05
    beam = BeamCondition(g_hkl=(2, -2, 0), zone_axis_uvw=(0, 0, 1))
    assert np.ptp(simulate(faulted(beam)).intensity) < 1e-6  # g.R = 0


def test_polygon_cover_matches_its_area():
    triangle = np.array([[0.0, 0], [60, 10], [20, 50]])
    inside = polygon_covers(triangle, *np.meshgrid(np.arange(-10, 80) + 0.25, np.arange(-10, 80) + 0.25))
    area = 0.5 * abs(60 * 50 - 20 * 10)  # shoelace
    assert inside.sum() == pytest.approx(area, rel=0.02)
