"""Tears and twins as the sampler draws them: crystallography of the lamellae, streams of their own, frames that can be."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from physics.beam import BeamCondition, image_from_crystal
from physics.crystal import Crystal
from physics.errors import InputError
from physics.foil import Foil
from physics.misorientation import continues_beams
from physics.twin import shared_with_twin, twin_rotation
from render import sample, simulate
from render.bulk import render_dataset
from render.config import compose
from render.draw import Fixed
from render.draw_twins import draw_twins, twin_planes
from render.sample_config import SampleConfig

SHARES = ("surroundings.tear_share", "surroundings.twin_share")
FCC = Crystal.from_material("cu")


def config(*more: str) -> SampleConfig:
    return SampleConfig.from_dict(compose("render", ["out=x", "shape=[128,128]", "surfaces=false", *more], ("out",)))


def test_a_twin_is_the_mirror_image_in_its_plane():
    rotation = twin_rotation(FCC, (1, 1, 1))
    normal = np.ones(3) / np.sqrt(3)
    mirror = np.eye(3) - 2 * np.outer(normal, normal)
    np.testing.assert_allclose(rotation, -mirror, atol=1e-15)  # the inversion brings the lattice onto itself
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(rotation @ [1, -1, 0], [-1, 1, 0], atol=1e-12)  # a direction in the plane is turned round


@pytest.mark.parametrize(
    ("g_hkl", "shared"),
    [((1, 1, 1), True), ((2, -2, 0), True), ((3, 1, -1), True), ((1, 1, -1), False), ((2, 0, 0), False), ((2, 2, 0), False), ((3, 1, 1), False)],
)
def test_reflections_with_h_k_l_adding_up_to_a_multiple_of_three_are_shared_with_the_twin(g_hkl, shared):
    """Pashley & Stowell (1963) for the twin on (1 1 1)."""
    assert shared_with_twin(FCC, (1, 1, 1), g_hkl) == shared == (sum(g_hkl) % 3 == 0)


@pytest.mark.parametrize("material", ["cu", "si", "gaas"])
@pytest.mark.parametrize(("g_hkl", "zone"), [((2, 0, 0), (0, 1, 1)), ((2, -2, 0), (1, 1, 2)), ((1, -1, 1), (1, 1, 0)), ((2, 2, 0), (0, 0, 1))])
def test_twins_lie_on_the_close_packed_planes_of_the_crystal_as_it_stands(material, g_hkl, zone):
    crystal, foil = Crystal.from_material(material), Foil(thickness_nm=100.0)
    if not crystal.is_allowed_reflection(g_hkl):
        pytest.skip("silicon forbids 200")
    beam = BeamCondition(g_hkl=g_hkl, zone_axis_uvw=zone, image_rotation_deg=33.0, s_inv_nm=0.01)
    planes = twin_planes(crystal, foil, beam)
    possible = [p for p in ((1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1)) if np.dot(p, g_hkl) % 3]
    assert 1 <= len(planes) <= len(possible)
    drawing = SampleConfig.from_dict({"surroundings": {"twin_share": 1, "twin_count": 3}}).surroundings
    twins = draw_twins(drawing, foil, crystal, beam, (256, 256), 1.0, np.random.default_rng(3))
    assert len(twins) == 3 and {t.misorientation_deg for t in twins} == {180.0}
    # Turned about the normal of its own plane, as wide as a whole number of three planes, a sqrt(3) apart.
    for t in twins:
        about = image_from_crystal(crystal, beam) @ t.misorientation_uvw
        np.testing.assert_allclose(np.cross(about, t.unit_normal), 0, atol=1e-12)
        periods = t.width_nm / (crystal.lattice_nm[0, 0] * np.sqrt(3))
        assert periods == pytest.approx(round(periods)) and periods > 0.5
    in_crystal = image_from_crystal(crystal, beam).T @ twins[0].unit_normal
    np.testing.assert_allclose(np.abs(in_crystal), 1 / np.sqrt(3), atol=1e-12)  # <111>
    # Side by side: each begins beyond the end of the one before.
    along = [float(t.unit_normal @ t.point_nm) for t in twins]
    assert all(a + t.width_nm < b for a, b, t in zip(along, along[1:], twins))


def test_crystals_without_close_packed_twin_planes_have_none():
    for material, g_hkl, zone in (("fe_alpha", (1, 1, 0), (0, 0, 1)), ("mg", (1, 0, 0), (0, 0, 1)), ("mgo", (2, 0, 0), (0, 0, 1))):
        assert not twin_planes(Crystal.from_material(material), Foil(thickness_nm=100.0), BeamCondition(g_hkl=g_hkl, zone_axis_uvw=zone))


def test_the_trace_of_a_twin_in_the_image_is_that_of_its_plane():
    """[0 1 1] with g = 2 0 0 along x, no deviation but a Bragg angle: (1 1 -1) and (1 -1 1) are edge-on, 54.7 degrees to g."""
    beam = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 1, 1))
    planes = twin_planes(FCC, Foil(thickness_nm=100.0), beam)
    upright = [normal for _, normal in planes if abs(normal[2]) < 0.02]
    assert len(planes) == 4 and len(upright) == 2
    for normal in upright:
        assert np.degrees(np.arccos(abs(normal[0]))) == pytest.approx(54.74, abs=0.02)  # between <100> and <111>


def test_shares_of_zero_draw_neither_tears_nor_twins_and_disturb_nothing():
    full = SampleConfig.from_dict(compose("render", ["out=x", "shape=[128,128]", *(f"{s}=1" for s in SHARES), "material=cu"], ("out",)))
    at_zero = SampleConfig.from_dict(compose("render", ["out=x", "shape=[128,128]", *(f"{s}=0" for s in SHARES)], ("out",)))
    for index in range(3):
        none = sample(at_zero, 5, index)
        assert not none.foil.tears and not none.foil.twins
        bare = sample(replace(full, surroundings=replace(full.surroundings, tear_share=Fixed(0), twin_share=Fixed(0))), 5, index)
        foil = json.loads(sample(full, 5, index).to_json())["foil"]
        assert foil["tears"] and foil | {"tears": [], "twins": []} == json.loads(bare.to_json())["foil"]


def test_torn_and_twinned_frames_can_be_drawn_and_are_labelled():
    drawn = [sample(config(*(f"{s}=1" for s in SHARES), "material=cu"), 2, index) for index in range(8)]
    assert all(len(s.foil.tears) == 1 for s in drawn) and sum(bool(s.foil.twins) for s in drawn) >= 6
    assert not any(continues_beams(s.crystal, s.beam, t) for s in drawn for t in s.foil.twins)
    kinds = {d.kind for d in simulate(drawn[0]).distractors}
    assert {"edge", "boundary"} <= kinds


def test_a_tear_starts_at_a_rim_where_there_is_one():
    scene = sample(config("surroundings.tear_share=1", "surroundings.hole_share=1", "surroundings.edge_share=0", "surroundings.hole_radius_px=30"), 4, 0)
    (hole,), (tear,) = scene.foil.openings, scene.foil.tears
    away = np.linalg.norm(hole.outline_nm - tear.tips_nm.mean(axis=0), axis=1).min()
    assert away < 1e-9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"twin_share": 1.5}, "surroundings.twin_share must lie in [0, 1]"),
        ({"tear_turn_deg": 80}, "surroundings.tear_turn_deg must lie in [0, 75]"),
        ({"twin_widht_nm": 3}, "did you mean surroundings.twin_width_nm"),
    ],
)
def test_bad_tear_and_twin_configurations_are_refused_in_one_line(change, said):
    with pytest.raises(InputError) as refused:
        SampleConfig.from_dict({"surroundings": change})
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("field", "changes"),
    [("surroundings.twin_share", ["surroundings.twin_share=0.01", "beam.convergence_mrad=0"]), ("beam.convergence_mrad", ["surroundings.twin_share=0"])],
)
def test_a_run_on_a_gpu_is_refused_before_it_starts_where_it_may_draw_what_is_not_modelled_there(tmp_path, monkeypatch, field, changes):
    monkeypatch.setattr("render.card.device_name", lambda device: device)  # as if there were one
    values = compose("render", ["out=x", "surfaces=false", *changes], ("out",))
    with pytest.raises(InputError, match=f"{field} must be 0 on cuda") as refused:
        render_dataset(values, tmp_path / "a.zarr", n=2, device="cuda", progress=False)
    assert "\n" not in str(refused.value) and not (tmp_path / "a.zarr").exists()
