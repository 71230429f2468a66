"""Partials and ribbons: which fault lies between them, in which order they stand, how far apart."""

import itertools
import math

import numpy as np
import pytest

from physics.beam import BeamCondition, image_from_crystal
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.dissociation import anisotropic_energy_factor, dissociated, ribbon_width_nm, separation_nm
from physics.errors import InputError
from physics.foil import Foil
from physics.partials import dissociates, fault_shifts, frank_shift, shockley_partials
from physics.slip import slip_systems
from physics.sources import GlidePlane, LineShape, bow_out, glide_loop
from physics.strain.green import stiffness_tensor
from physics.strain.stroh import line_distortion
from render.intensity import noise_free_intensity
from render.scene import Scene
from render.scene_rules import plane_normal_image
from render.specimen import Specimen

CU, MG, SI = (Crystal.from_material(name) for name in ("cu", "mg", "si"))
BEAM = BeamCondition(g_hkl=(2, -2, 0), zone_axis_uvw=(0, 0, 1), s_inv_nm=0.005)
THICKNESS_NM = 100.0


def flat(x_nm, y_nm):
    return np.full_like(x_nm, THICKNESS_NM / 2), np.full_like(x_nm, -THICKNESS_NM / 2)


def closest_approach_nm(crystal, plane_hkl, up, cut, shift_uvw):
    """Least distance between atoms of the upper half and of the lower half that has moved by a shift."""
    cells = np.array(list(itertools.product(range(-3, 4), repeat=3)))
    atoms = (cells[:, None] + crystal.basis_positions).reshape(-1, 3)
    height = atoms @ np.array(plane_hkl) * up
    upper, lower = atoms[(height > cut) & (height < cut + 1.6)], atoms[(height < cut) & (height > cut - 1.6)] + shift_uvw
    upper = upper[np.abs(upper).max(axis=1) < 1.5]
    apart = crystal.direction_nm(upper[:, None] - lower[None])
    return np.linalg.norm(apart, axis=-1).min()


@pytest.mark.parametrize("crystal, plane_hkl, up, cut, layer", [
    *[(CU, plane, up, 0.5, 0) for plane in ((1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)) for up in (1, -1)],
    # Layers of Mg stand at z = 1/4 and 3/4: the gap above layer 0 is at 1/2, above layer 1 at 1; from below, at -1/2.
    (MG, (0, 0, 1), 1, 0.5, 0), (MG, (0, 0, 1), 1, 1.0, 1), (MG, (0, 0, 1), -1, -0.5, 0), (MG, (0, 0, 1), -1, 0.0, 1),
])  # fmt: skip
def test_a_fault_keeps_the_distance_of_nearest_neighbours_and_the_opposite_shear_does_not(crystal, plane_hkl, up, cut, layer):
    perfect = closest_approach_nm(crystal, plane_hkl, up, cut, np.zeros(3))
    for shift in fault_shifts(crystal, plane_hkl, up=up, layer=layer):
        assert np.dot(plane_hkl, shift) == pytest.approx(0, abs=1e-12)
        assert closest_approach_nm(crystal, plane_hkl, up, cut, shift) == pytest.approx(perfect, rel=1e-9)
        assert closest_approach_nm(crystal, plane_hkl, up, cut, -shift) < 0.87 * perfect  # atoms on top of each other


@pytest.mark.parametrize("crystal, family, bp_over_a", [
    (CU, "fcc_111_110", 1 / 6**0.5), (SI, "fcc_111_110", 1 / 6**0.5), (MG, "hcp_basal_a", 1 / 3**0.5)])  # fmt: skip
def test_all_systems_split_into_two_partials_around_one_low_energy_fault(crystal, family, bp_over_a):
    systems = slip_systems(crystal, family)
    assert len(systems) == (12 if crystal is not MG else 3)
    for system, up, sense in itertools.product(systems, (1, -1), (1, -1)):
        burgers = sense * np.array(system.burgers_uvw)
        pair = shockley_partials(crystal, burgers, system.plane_hkl, up=up)
        assert pair.left_uvw + pair.right_uvw == pytest.approx(burgers)
        lengths = np.linalg.norm(crystal.direction_nm([pair.left_uvw, pair.right_uvw]), axis=1)
        assert lengths == pytest.approx(np.full(2, bp_over_a * crystal.lattice_nm[0, 0]))
        # The fault on the left of the right-hand partial has R = b; on the right of the left-hand one R = -b.
        assert crystal.is_lattice_vector(pair.right_uvw - pair.shift_uvw) and crystal.is_lattice_vector(pair.left_uvw + pair.shift_uvw)
        low_energy = fault_shifts(crystal, system.plane_hkl, up=up)
        assert min(np.abs(low_energy - pair.shift_uvw).max(axis=1)) < 1e-12


def test_thompson_rule_of_the_tetrahedron():
    """Seen along -[111] from outside, 1/2[-110] on (111) has 1/6[-211] on its right; left is 1/6[-12-1]."""
    pair = shockley_partials(CU, (-0.5, 0.5, 0), (1, 1, 1), up=1)
    # A fault on (111) whose lower side moves by R = +1/3[111] modulo the lattice is the vacancy-type, intrinsic one.
    assert CU.is_lattice_vector(pair.shift_uvw - np.full(3, 1 / 3)) and not CU.is_lattice_vector(pair.shift_uvw + np.full(3, 1 / 3))
    assert pair.right_uvw == pytest.approx(np.array([-1, 2, -1]) / 6) and pair.left_uvw == pytest.approx(np.array([-2, 1, 1]) / 6)


def test_frank_shifts_close_a_missing_layer_or_make_room_for_one():
    for up in (1, -1):
        vacancy, interstitial = (frank_shift(CU, (1, 1, -1), extrinsic=e, up=up) for e in (False, True))
        assert up * np.dot((1, 1, -1), vacancy) > 0 > up * np.dot((1, 1, -1), interstitial)
        assert CU.is_lattice_vector(vacancy - fault_shifts(CU, (1, 1, -1), up=up)[0])
        # Two different shears on neighbouring planes: the extrinsic fault.
        assert CU.is_lattice_vector(interstitial - fault_shifts(CU, (1, 1, -1), up=up)[:2].sum(axis=0))
    # 1/6[20-23] of hcp is half the cell high.
    assert frank_shift(MG, (0, 0, 1), extrinsic=False)[2] == 0.5


@pytest.mark.parametrize("beta_deg", [0, 17, 30, 60, 90, 140])
def test_ribbon_width_balances_the_stress_of_one_partial_at_the_other(beta_deg):
    b, n = np.array([1, -1, 0]) / 2**0.5, np.ones(3) / 3**0.5
    beta = math.radians(beta_deg)
    line = math.cos(beta) * b + math.sin(beta) * np.cross(n, b)
    mu, nu, gamma = CU.shear_modulus_GPa, CU.poisson_ratio, 45.0
    d = ribbon_width_nm(CU, (0.5, -0.5, 0), (1, 1, 1), line, stacking_fault_mJ_m2=gamma)
    b_p = CU.lattice_nm[0, 0] / 6**0.5
    # Hirth & Lothe (1982), eq. 10-15.
    assert d == pytest.approx(mu * b_p**2 / (8 * math.pi * gamma * 1e-3) * (2 - nu) / (1 - nu) * (1 - 2 * nu * math.cos(2 * beta) / (2 - nu)), rel=1e-9)
    # Shear stress of a straight screw mu b / (2 pi d), of an edge mu b / (2 pi (1 - nu) d), in its own slip plane.
    screw = [b_p * math.cos(beta + side * math.pi / 6) for side in (1, -1)]
    edge = [b_p * math.sin(beta + side * math.pi / 6) for side in (1, -1)]
    force = mu / (2 * math.pi * d) * (screw[0] * screw[1] + edge[0] * edge[1] / (1 - nu))
    assert force == pytest.approx(gamma * 1e-3, rel=1e-9)


def test_an_energy_factor_of_ones_own_takes_the_place_of_isotropic_elasticity():
    width = ribbon_width_nm(CU, (0.5, -0.5, 0), (1, 1, 1), [1, -1, 0], stacking_fault_mJ_m2=40, energy_factor=lambda _: 50 * np.eye(3))
    # b1.b2 = b_p^2 / 2, so that d = 50 GPa b_p^2 / 2 / (2 pi 0.04 N/m).
    assert width == pytest.approx(50 * CU.lattice_nm[0, 0] ** 2 / 6 / 2 / (2 * math.pi * 0.04))
    assert separation_nm([1, 0, 0], [-1, 0, 0], np.eye(3), 10.0) == 0


def test_ribbon_of_an_anisotropic_crystal_is_as_wide_as_partials_stress_says():
    """Along <110> of copper, screw and edge (Hirth & Lothe 1982, ch. 13): the stress of one partial, from the distortion of
    the sextic solution at the place of the other, does against it the work of the fault."""
    stiffness = stiffness_tensor(CU.stiffness_GPa)
    normal = np.ones(3) / 3**0.5
    for burgers, along, wider in (((0.5, -0.5, 0), [1, -1, 0], 0.73), ((0.5, -0.5, 0), [1, 1, -2], 1.05)):
        pair = shockley_partials(CU, burgers, (1, 1, 1))
        left_nm, right_nm = CU.direction_nm(pair.left_uvw), CU.direction_nm(pair.right_uvw)
        along = np.array(along) / np.linalg.norm(along)
        width_nm = ribbon_width_nm(CU, burgers, (1, 1, 1), along, stacking_fault_mJ_m2=45, energy_factor=anisotropic_energy_factor(CU))
        to_left = np.cross(normal, along)
        beta = line_distortion(CU.stiffness_GPa, along, right_nm, width_nm * to_left)[0]
        force = np.cross(np.einsum("ijkl,kl->ij", stiffness, beta) @ left_nm, along)  # Peach and Koehler
        assert abs(force @ to_left) == pytest.approx(45e-3, rel=1e-6)
        isotropic_nm = ribbon_width_nm(CU, burgers, (1, 1, 1), along, stacking_fault_mJ_m2=45)
        assert width_nm / isotropic_nm == pytest.approx(wider, abs=0.01)


def slip_plane(plane_hkl, burgers_uvw, at=(0, 0, 0), crystal=CU, beam=BEAM):
    normal = plane_normal_image(plane_hkl, crystal, image_from_crystal(crystal, beam))
    return GlidePlane(plane_hkl=plane_hkl, burgers_uvw=burgers_uvw, normal_image=normal, point_nm=at)


def scene(lines, faults, crystal=CU, beam=BEAM, **changes):
    return Scene(**({"crystal": crystal, "foil": Foil(thickness_nm=THICKNESS_NM), "beam": beam, "shape": (128, 128), "dislocations": lines, "faults": faults} | changes))


@pytest.mark.parametrize("plane_hkl, burgers_uvw", [((1, 1, 1), (0.5, -0.5, 0)), ((1, 1, -1), (0.5, 0, 0.5)), ((1, -1, 1), (-0.5, 0, 0.5))])
@pytest.mark.parametrize("sag_nm", [0.0, 18.0, -18.0])
def test_a_dissociated_line_is_accepted_in_its_order_and_refused_in_the_other(plane_hkl, burgers_uvw, sag_nm):
    (line,) = bow_out(slip_plane(plane_hkl, burgers_uvw), flat, along_nm=0, shape=LineShape(chord_deg=15, sag_nm=sag_nm), step_nm=4, reach_nm=900)
    rotation = image_from_crystal(CU, BEAM)
    for dislocation in (line, line.reversed()):
        lines, faults = dissociated(dislocation, CU, rotation, faces=flat, stacking_fault_mJ_m2=15)
        assert [l.kind for l in lines] == ["partial"] * 2 and len(faults) == 1
        assert sum(l.burgers_uvw for l in lines) == pytest.approx(dislocation.burgers_uvw)
        scene(lines, faults)
        swapped = [Dislocation(burgers_uvw=b.burgers_uvw, points_nm=a.points_nm, plane_hkl=plane_hkl) for a, b in (lines, lines[::-1])]
        with pytest.raises(InputError, match="partial on the border of a declared fault"):
            scene(swapped, faults)


def test_a_straight_ribbon_has_the_width_of_the_closed_form_and_ends_on_both_faces():
    plane = slip_plane((1, 1, 1), (0.5, -0.5, 0))
    (line,) = bow_out(plane, flat, along_nm=0, shape=LineShape(chord_deg=30), step_nm=4, reach_nm=900)
    rotation = image_from_crystal(CU, BEAM)
    (left, right), _ = dissociated(line, CU, rotation, faces=flat, stacking_fault_mJ_m2=20)
    tangent = (line.points_nm[-1] - line.points_nm[0]) / np.linalg.norm(line.points_nm[-1] - line.points_nm[0])
    width = ribbon_width_nm(CU, line.burgers_uvw, (1, 1, 1), rotation.T @ tangent, stacking_fault_mJ_m2=20)
    across = np.cross(plane.normal_image, tangent)  # left of the line, seen from the gun
    for partial, side in ((left, 1), (right, -1)):
        assert (partial.points_nm - line.points_nm[0]) @ across == pytest.approx(np.full(len(partial.points_nm), side * width / 2), abs=1e-6)
        assert np.abs(partial.points_nm[[0, -1], 2]) == pytest.approx([50, 50], abs=1e-6)


def test_a_dissociated_loop_is_a_ring_of_fault():
    loop = glide_loop(slip_plane((1, 1, 1), (0.5, -0.5, 0)), radius_nm=25, step_nm=3)
    lines, faults = dissociated(loop, CU, image_from_crystal(CU, BEAM), faces=flat, stacking_fault_mJ_m2=20)
    assert all(l.closed for l in lines)
    with_ring = scene(lines, faults)
    specimen = Specimen.of(with_ring)
    from render.specimen import fault_sheets

    z_nm, _ = fault_sheets(with_ring, specimen)
    covered = np.isfinite(z_nm[0])
    assert covered.sum() > 200 and not covered[64, 64]  # nothing in the middle
    with pytest.raises(InputError, match="open border inside the foil"):
        scene(lines[:1], faults)


def test_a_narrow_ribbon_looks_like_the_perfect_line():
    plane = slip_plane((1, 1, 1), (0.5, -0.5, 0))
    (line,) = bow_out(plane, flat, along_nm=0, shape=LineShape(chord_deg=20, sag_nm=8), step_nm=4, reach_nm=900)
    images = [noise_free_intensity(s, Specimen.of(s)) for s in (
        scene([line], []),
        *(scene(*dissociated(line, CU, image_from_crystal(CU, BEAM), faces=flat, stacking_fault_mJ_m2=gamma, narrowest_nm=0.01)) for gamma in (600, 300)),
    )]  # fmt: skip
    narrow, wider = (np.sqrt(np.mean((image - images[0]) ** 2)) for image in images[1:])
    # A strip of fault of width d, and two lines d apart instead of one: smaller in proportion, to first order or better.
    assert narrow < 0.004 and narrow < 0.6 * wider


def test_lines_that_cannot_split_stay_perfect():
    rotation = image_from_crystal(CU, BEAM)
    (line,) = bow_out(slip_plane((1, 1, 1), (0.5, -0.5, 0)), flat, along_nm=0, shape=LineShape(), step_nm=4, reach_nm=900)
    assert dissociated(line, CU, rotation, faces=flat, stacking_fault_mJ_m2=5000) == ([line], [])  # narrower than 0.5 nm
    undeclared = Dislocation(burgers_uvw=line.burgers_uvw, points_nm=line.points_nm)
    assert dissociated(undeclared, CU, rotation, stacking_fault_mJ_m2=20) == ([undeclared], [])
    assert not dissociates(Crystal.from_material("fe_alpha"), (0.5, 0.5, 0.5), (1, -1, 0))
    with pytest.raises(InputError, match="stacking_fault_mJ_m2 must be > 0, got -1"):
        dissociated(line, CU, rotation, stacking_fault_mJ_m2=-1)
