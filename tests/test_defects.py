"""Scenes drawn with ribbons, faults, Frank loops and particles."""

import numpy as np
import pytest

from physics.errors import InputError
from physics.particle import DISCS
from render.sample import sample
from render.sample_config import SampleConfig
from render.simulate import simulate


def config(kind, scene=None, **more):
    return SampleConfig.from_dict({"shape": [128, 128], "scene": {"kind": kind} | (scene or {})} | more)


def test_dissociated_scenes_have_partials_in_pairs_about_their_fault():
    partials = 0
    for index in range(4):
        drawn = sample(config("dissociated", {"dissociation": {"share": 1, "stacking_fault_mJ_m2": 12, "narrowest_px": 0.5}}, material="cu"), 3, index)
        kinds = [line.kind for line in drawn.dislocations]
        partials += kinds.count("partial")
        # Cuts at the faces may leave more pieces than two a fault.
        assert kinds.count("partial") >= 2 * len(drawn.faults)
        assert sum(not drawn.crystal.is_lattice_vector(l.burgers_uvw) for l in drawn.dislocations) == kinds.count("partial")
    assert partials >= 8


def test_lines_held_under_a_film_split_and_keep_their_slip_traces():
    under = {"surroundings": {"film_depth_nm": 12}, "foil": {"thickness_nm": 150}}
    scene = {"dissociation": {"share": 1, "stacking_fault_mJ_m2": 10, "narrowest_px": 0.2}, "bowouts": {"count": 2}}
    drawn = [sample(config("dissociated", scene, material="cu", **under), 3, i) for i in range(4)]  # node balance is checked in every Scene
    kinds = {line.kind for s in drawn for line in s.dislocations}
    assert {"partial", "slip_trace"} <= kinds


def test_ribbons_of_a_scene_are_as_wide_as_its_elasticity_makes_them():
    """Between 0.73 (screw) and 1.05 (edge) of the isotropic width in copper, by the character of each line."""
    share = {"dissociation": {"share": 1, "stacking_fault_mJ_m2": 12, "narrowest_px": 0.5}, "visible_share": 1}
    isotropic, anisotropic = (sample(config("dissociated", share, material="cu", elasticity=e), 3) for e in ("isotropic", "anisotropic"))
    ratios = [a.mean_width_nm / i.mean_width_nm for i, a in zip(isotropic.faults, anisotropic.faults, strict=True)]
    assert 0.7 < min(ratios) and max(ratios) < 1.1 and abs(np.mean(ratios) - 1) > 0.005


def test_ribbons_narrower_than_asked_for_stay_one_line():
    drawn = sample(config("dissociated", {"dissociation": {"share": 1, "stacking_fault_mJ_m2": 45, "narrowest_px": 40}}, material="cu"), 3)
    assert not drawn.faults and {line.kind for line in drawn.dislocations}.isdisjoint({"partial"})


def test_scenes_about_faults_take_a_material_that_has_them():
    offered = {"choice": ["fe_alpha", "mo", "cu"]}
    assert {sample(config("stacking_fault", material=offered), 1, i).crystal.material for i in range(6)} == {"cu"}
    with pytest.raises(InputError, match="material must have close-packed planes for scene=frank"):
        sample(config("frank", material="fe_alpha"), 1)
    with pytest.raises(InputError, match=r"scene.fault_bands.extrinsic_share must lie in \[0, 1\], got 2"):
        config("stacking_fault", {"fault_bands": {"extrinsic_share": 2}})


def test_wide_faults_are_drawn_where_they_cost_little_or_are_asked_for():
    bands = {"fault_bands": {"count": 1, "bounded_share": 0}}
    everywhere = [len(sample(config("realistic", bands | {"dissociation": {"share": 0}}, material=name), 3).faults) for name in ("al", "ag")]
    assert everywhere[0] == everywhere[1] > 0  # a band for certain: a scene of faults
    drawn = {"fault_bands": {"count": {"weighted": [[0, 1e-9], [1, 1]]}, "bounded_share": 0}, "dissociation": {"share": 0}}
    by_chance = [len(sample(config("realistic", drawn, material=name), 3).faults) for name in ("al", "ag")]
    assert by_chance[0] == 0 < by_chance[1]


def test_fault_bands_show_fringes_and_are_distractors():
    drawn = sample(config("stacking_fault", {"fault_bands": {"count": 1, "bounded_share": 0, "faults": 1}}, material="cu", beam={"image": "bf", "s_xi": 0.2}), 2)
    micrograph = simulate(drawn)
    (mask,) = [d.mask for d in micrograph.distractors if d.kind == "fault_band"]
    change = np.abs(micrograph.intensity - simulate(drawn.replace(faults=())).intensity)
    assert not micrograph.lines and change[mask].max() > 0.05 and change[~mask].max() < 1e-5


def test_particles_have_the_asked_density_and_do_not_touch():
    dense = {"particles": {"spheres_inv_um3": 4000, "voids_inv_um3": 2000, "clusters_inv_um3": 4000, "plates_inv_um3": 500}}
    for material in ("al", "fe_alpha", "mg"):
        drawn = sample(config("particles", dense, material=material, surroundings={"edge_share": 0, "hole_share": 0}, pixel_nm=2), 4)
        volume_um3 = (128 * 2) ** 2 * drawn.foil.thickness_nm * 1e-9
        spheres = [p for p in drawn.particles if p.kind == "coherent_sphere"]
        assert len(spheres) == pytest.approx(4000 * volume_um3, abs=4 * np.sqrt(4000 * volume_um3) + 3)
        assert {p.kind for p in drawn.particles} == {"coherent_sphere", "void", "cluster", "plate"}
        centres, radii = np.array([p.centre_nm for p in drawn.particles]), np.array([p.radius_nm for p in drawn.particles])
        apart = np.linalg.norm(centres[:, None] - centres, axis=-1) - radii[:, None] - radii + 1e9 * np.eye(len(radii))
        assert apart.min() > 0
        assert all(p.thickness_nm <= p.radius_nm for p in drawn.particles if p.kind in DISCS)


def test_a_series_turns_particles_and_faults_with_the_specimen():
    # Faults and particles are checked against their planes and the faces in every Scene.
    series = {"beam": {"zone_axis_uvw": [0, 0, 1], "g_hkl": [2, 0, 0], "series": [[2, 0, 0], [0, 2, 0], {"g_hkl": [2, 2, 0], "s_inv_nm": 0.03}]}, "foil": {"wedge_deg": 0, "taper_nm": 0, "bend_mrad": 0}}
    for kind in ("frank", "particles"):
        drawn = [sample(config(kind, material="al", **series), 6, i) for i in range(3)]
        assert len({len(s.particles) + len(s.faults) for s in drawn}) == 1


def test_defects_leave_the_lines_of_a_seed_as_they_are():
    plain = sample(config("bowout", material="al"), 8)
    more = sample(config("bowout", {"particles": {"voids_inv_um3": 1000}, "frank_loops": {"count": 2}}, material="al"), 8)
    assert len(more.particles) > 0 and len(more.faults) == 2
    assert all(np.array_equal(a.points_nm, b.points_nm) for a, b in zip(plain.dislocations, more.dislocations))
