import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physics.beam import BeamCondition, image_from_crystal
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.errors import InputError
from physics.fault import StackingFault
from physics.foil import Foil
from render.detector import Detector
from render.scene import Scene
from render.scene_rules import plane_normal_image

AL = Crystal.from_material("al")
BEAM = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1))
SMALL = {"crystal": AL, "foil": Foil(thickness_nm=100), "beam": BEAM, "shape": (64, 64)}
THROUGH = [[-10.0, 0, 60], [15, 5, -60]]


def line(**changes):
    return Dislocation(**({"burgers_uvw": (0.5, 0.5, 0), "points_nm": THROUGH} | changes))


def in_plane_rhombus(plane, half_nm, rotation):
    """A rhombus with corners on the axes of a plane's own frame, in the image frame."""
    normal = plane_normal_image(plane, AL, rotation)
    u = np.cross(normal, [0.3, 0.2, 0.9])
    u /= np.linalg.norm(u)
    v = np.cross(normal, u)
    return half_nm * np.array([u, v, -u, -v])


number = st.floats(-1e4, 1e4, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(
    points=st.lists(st.tuples(number, number, number), min_size=1, max_size=6, unique=True),
    thickness=st.floats(1, 500),
    s=st.floats(-0.1, 0.1),
    dose=st.floats(0.1, 1e6),
    seed=st.integers(0, 2**63 - 1),
    absorption=st.one_of(st.just(float("inf")), st.floats(1, 100)),
)
def test_scene_survives_json(points, thickness, s, dose, seed, absorption):
    inside_out = [(-2e4, 0.0, 0.0), *points, (2e4, 1.0, 0.0)]
    scene = Scene(
        crystal=AL, foil=Foil(thickness_nm=thickness, wedge_deg=1.5), shape=(32, 48), pixel_nm=0.7,
        beam=BeamCondition(g_hkl=(1, 1, 1), zone_axis_uvw=(0, 1, -1), s_inv_nm=s, xi_0_prime_over_shortest_xi=absorption,
                           xi_g_prime_over_xi_g=2 * absorption),
        dislocations=[line(points_nm=inside_out, kind="random")],
        detector=Detector(dose_e_per_px=dose, noise_seed=seed, illumination_sigma_field=0.4),
    )  # fmt: skip
    again = Scene.from_json(scene.to_json())
    assert again.to_json() == scene.to_json()
    assert np.array_equal(again.dislocations[0].points_nm, scene.dislocations[0].points_nm)
    assert again.foil == scene.foil and again.beam == scene.beam and again.detector == scene.detector


def test_json_is_standard():
    text = Scene(**SMALL, dislocations=[line()]).to_json()
    assert "Infinity" not in text and "NaN" not in text
    assert set(json.loads(text)) >= {"crystal", "foil", "dislocations", "beam", "detector", "shape", "pixel_nm", "visible_contrast"}


@pytest.mark.parametrize("edit, message", [
    (lambda s: s["foil"].update(thickness_nm=-20), "foil.thickness_nm must be > 0, got -20"),
    (lambda s: s["beam"].update(g_hkl=[0, 0, 0]), "beam.g_hkl must not be"),
    (lambda s: s["beam"].update(g_hkl=[1, 0, 0]), "beam.g_hkl must"),  # 100 is forbidden in fcc: mixed indices
    (lambda s: s["beam"].update(g_hkl=[0, 0, 2]), "beam.g_hkl must lie in the zone"),
    (lambda s: s["beam"].update(image="xx"), 'beam.image must be "bf" or "df", got xx'),
    (lambda s: s["crystal"].update(material="unobtainium"), "unobtainium"),
    (lambda s: s.update(colour="blue"), "scene must have only the keys .*got colour"),
    (lambda s: s["foil"].update(colour="blue"), "foil must have only the keys .*got colour"),
    (lambda s: s["dislocations"][0].update(burgers_uvw=[0.5, 0.4, 0]), r"dislocations\[0\].burgers_uvw must be a lattice vector"),
    (lambda s: s["dislocations"][0].update(points_nm=[[0, 0, 60], [0, 0, 10]]), r"dislocations\[0\].points_nm must end on a surface"),
    (lambda s: s["dislocations"][0].update(points_nm=[[0, 0, 60]]), r"dislocations\[0\].*at least 2 vertices"),
    (lambda s: s["dislocations"][0].update(points_nm=[[0, 0, None], [0, 0, 1]]), r"dislocations\[0\].*points_nm must be"),
    (lambda s: s["dislocations"][0].update(plane_hkl=[1, 1, 1], glissile=True), r"dislocations\[0\].burgers_uvw must lie in its slip plane"),
    (lambda s: s.update(shape=[3, 3]), "shape must be two whole numbers"),
    (lambda s: s.update(pixel_nm=0), "pixel_nm must be > 0"),
    (lambda s: s.update(foil_renderer=3), "foil_renderer must be text, got 3"),
    (lambda s: s.update(shape=3), "shape must be two whole numbers"),
    (lambda s: s.update(slice_nm=1e-9), "slice_nm must be >= 0.01"),
    (lambda s: s["detector"].update(dose_e_per_px=1e20), "detector.dose_e_per_px must be <= 1e[+]12"),
    (lambda s: s.update(version=99), "version must be 1, got 99"),
    (lambda s: s.pop("foil"), "scene must have foil"),
])  # fmt: skip
def test_contradictions_are_refused_with_field_rule_and_value(edit, message):
    fields = json.loads(Scene(**SMALL, dislocations=[line()]).to_json())
    edit(fields)
    with pytest.raises(InputError, match=message) as caught:
        Scene.from_json(json.dumps(fields))
    assert "\n" not in str(caught.value)


def test_text_that_is_not_json_is_refused():
    with pytest.raises(InputError, match="scene must be JSON"):
        Scene.from_json('{"crystal": ')


def test_a_glissile_line_outside_its_plane_is_refused():
    off_plane = line(burgers_uvw=(0.5, -0.5, 0), plane_hkl=(1, 1, 1), glissile=True)
    with pytest.raises(InputError, match=r"points_nm must lie in the declared slip plane \[1, 1, 1\]"):
        Scene(**SMALL, dislocations=[off_plane])


def test_lines_may_end_in_a_balanced_node_inside_the_foil():
    node = [0.0, 0, 0]
    arms = [
        line(burgers_uvw=(0.5, 0.5, 0), points_nm=[node, [20, 0, 60]]),
        line(burgers_uvw=(-0.5, 0, 0.5), points_nm=[node, [-20, 10, 60]]),
        line(burgers_uvw=(0, -0.5, -0.5), points_nm=[node, [0, -10, -60]]),
    ]
    assert len(Scene(**SMALL, dislocations=arms).dislocations) == 3
    with pytest.raises(InputError, match="open end inside the foil"):
        Scene(**SMALL, dislocations=arms[:2])


def test_a_partial_needs_the_fault_it_bounds():
    rotation = image_from_crystal(AL, BEAM)
    plane = (1, 1, 1)
    outline = in_plane_rhombus(plane, 25.0, rotation)
    shift = np.array([1, 1, -2]) / 6
    loop = np.concatenate([outline, outline[:1]])
    normal = plane_normal_image(plane, AL, rotation)
    anticlockwise = normal @ np.cross(outline[1] - outline[0], outline[2] - outline[1]) * np.sign(normal[2]) > 0
    # Around the border the fault stays on the left (anticlockwise as the gun sees it) or on the right.
    burgers = shift if anticlockwise else -shift
    fault = StackingFault(plane_hkl=plane, shift_uvw=shift, outline_nm=outline)
    partial = line(burgers_uvw=burgers, points_nm=loop, plane_hkl=plane, kind="partial", glissile=True)
    Scene(**SMALL, dislocations=[partial], faults=[fault])
    with pytest.raises(InputError, match="be a lattice vector, or a partial on the border of a declared fault"):
        Scene(**SMALL, dislocations=[partial])
    wrong_sense = line(burgers_uvw=-burgers, points_nm=loop, plane_hkl=plane, kind="partial", glissile=True)
    with pytest.raises(InputError, match="be a lattice vector, or a partial"):
        Scene(**SMALL, dislocations=[wrong_sense], faults=[fault])
    longer = np.concatenate([loop, loop[-1:] + [15, 25, 0], loop[-1:] + [900, 900, 0]])
    with pytest.raises(InputError, match="be a lattice vector, or a partial|slip plane"):
        Scene(**SMALL, dislocations=[line(burgers_uvw=burgers, points_nm=longer, plane_hkl=plane)], faults=[fault])
    elsewhere = line(burgers_uvw=burgers, points_nm=loop + [5, 0, 0], plane_hkl=plane, kind="partial")
    with pytest.raises(InputError, match="be a lattice vector, or a partial"):
        Scene(**SMALL, dislocations=[elsewhere], faults=[fault])


def test_planes_of_segments_survive_json():
    points = [(-2e4, 0.0, 0.0), (-100.0, 3.0, 0.0), (2e4, 1.0, 0.0)]
    planes = [(1, 1, 1), (1, 1, -1)]
    scene = Scene(
        crystal=AL, foil=Foil(thickness_nm=100), beam=BeamCondition(g_hkl=(1, 1, 1), zone_axis_uvw=(0, 1, -1)), shape=(32, 48),
        dislocations=[Dislocation(burgers_uvw=(0.5, -0.5, 0.0), points_nm=points, segment_planes_hkl=planes)],
    )  # fmt: skip
    again = Scene.from_json(scene.to_json())
    assert again.to_json() == scene.to_json() and again.dislocations[0].plane_hkl == (1, 1, -1)
    assert np.array_equal(again.dislocations[0].segment_planes_hkl, planes)
