import numpy as np
import pytest
from matplotlib.figure import Figure

from physics.beam import BeamCondition
from physics.crystal import Crystal
from physics.foil import Foil
from render.caption import condition_text
from render.picture import display_range, draw_micrograph
from render.scene import Scene


def scene(**beam):
    condition = BeamCondition(**({"g_hkl": (0, -2, 2), "zone_axis_uvw": (1, 1, 1), "s_inv_nm": 0.01} | beam))
    return Scene(crystal=Crystal.from_material("fe_gamma"), foil=Foil(thickness_nm=120), beam=condition, shape=(100, 200), pixel_nm=1.5)


def test_condition_names_what_a_microscopist_asks_for():
    assert condition_text(scene()) == "γ-Fe  BF  g = 02\u03052  B = [111]  s = 0.01 nm⁻¹  t = 120 nm  200 kV"


def test_scale_bar_is_as_long_as_it_says():
    axes = Figure().subplots()
    draw_micrograph(axes, np.zeros((100, 200)), scene())
    bar = axes.lines[0].get_xdata()
    text = next(t.get_text() for t in axes.texts if t.get_text().endswith(" nm"))
    assert (bar[1] - bar[0]) * 1.5 == pytest.approx(float(text.split()[0]))


@pytest.mark.parametrize("rotation_deg, direction", [(0, (1, 0)), (90, (0, -1)), (180, (-1, 0))])  # pixels: y down
def test_g_arrow_points_along_g(rotation_deg, direction):
    axes = Figure().subplots()
    draw_micrograph(axes, np.zeros((100, 200)), scene(image_rotation_deg=rotation_deg))
    arrow = next(t for t in axes.texts if getattr(t, "arrow_patch", None) is not None)
    along = np.subtract(arrow.xy, arrow.xyann)
    assert np.allclose(along / np.linalg.norm(along), direction, atol=1e-6)


def test_display_range_ignores_single_hot_pixels():
    image = np.ones((100, 100))
    image[0, 0] = 1e6
    assert display_range(image)[1] < 2
