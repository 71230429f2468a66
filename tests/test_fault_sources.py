"""Sheets, bands, Frank loops, junctions: what they look like and that they hang together."""

import math

import numpy as np
import pytest

from physics.beam import BeamCondition, image_from_crystal
from physics.contrast.columns import ColumnGrid, column_image, column_values
from physics.contrast.two_beam import TwoBeam, perfect_crystal
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.errors import InputError
from physics.fault_sources import fault_band, fault_sheet, frank_loop, perfect_prismatic_loop, wide_fault
from physics.foil import Foil
from physics.junction import open_ends
from physics.junction_sources import dissociated_junction, intersection, junction, lomer_cottrell
from physics.sources import GlidePlane
from physics.strain.segments import Segments
from render.intensity import noise_free_intensity
from render.sample import under_condition
from render.scene import Scene
from render.scene_rules import plane_normal_image
from render.specimen import Specimen, fault_sheets, segments

CU, MG = Crystal.from_material("cu"), Crystal.from_material("mg")
BEAM = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 0, 1))
ROTATION = image_from_crystal(CU, BEAM)
NOTHING = Segments(start_nm=np.empty((0, 3)), end_nm=np.empty((0, 3)), burgers_nm=np.empty((0, 3)), line=[])
UNSEEN = Segments(start_nm=[[-1e5, 0, 0]], end_nm=[[1e5, 0, 0]], burgers_nm=[[1e-12, 0, 0]], line=[0])  # through the layers all the same
ELASTIC = {"poisson_ratio": 0.33, "core_nm": 0.5}


def flat(x_nm, y_nm):
    return np.full_like(x_nm, 50.0), np.full_like(x_nm, -50.0)


def normal_of(plane_hkl, crystal=CU, rotation=ROTATION):
    return plane_normal_image(plane_hkl, crystal, rotation)


def slip_plane(plane_hkl, burgers_uvw, crystal=CU, rotation=ROTATION, at=(0, 0, 0)):
    return GlidePlane(plane_hkl=plane_hkl, burgers_uvw=burgers_uvw, normal_image=normal_of(plane_hkl, crystal, rotation), point_nm=at)


def scene(lines=(), faults=(), **changes):
    return Scene(**({"crystal": CU, "foil": Foil(thickness_nm=100), "beam": BEAM, "shape": (96, 96), "dislocations": lines, "faults": faults} | changes))


def image(shown):
    return noise_free_intensity(shown, Specimen.of(shown))


@pytest.mark.parametrize("segments, reference, allowed", [(NOTHING, True, 1e-6), (NOTHING, False, 1e-12), (UNSEEN, False, 2e-6)])  # float32: 1.1e-6
@pytest.mark.parametrize("alpha_deg", [120, -120])
def test_fringes_follow_whelan_and_hirsch(segments, reference, allowed, alpha_deg):
    """Whelan & Hirsch, Phil. Mag. 2 (1957) 1121, with the absorption exact: phi = S(t2) F S(t1) written out.

    With c, n = cos, sin of pi G t and w = s / G, v = q / G complex, S = [[c - i w n, i v n], [i v n, c + i w n]].
    """
    beam = TwoBeam(xi_g_nm=45, xi_g_prime_nm=400, xi_0_prime_nm=350)
    depth, s = np.meshgrid(np.linspace(0.7, 129.3, 60), [-0.015, 0.0, 0.004, 0.03])
    root = np.sqrt(s**2 + (1 / 45 + 1j / 400) ** 2)
    w, v, turn = s / root, (1 / 45 + 1j / 400) / root, np.exp(1j * math.radians(alpha_deg))
    c1, n1, c2, n2 = np.cos(math.pi * root * depth), np.sin(math.pi * root * depth), np.cos(math.pi * root * (130 - depth)), np.sin(math.pi * root * (130 - depth))
    transmitted = (c2 - 1j * w * n2) * (c1 - 1j * w * n1) - turn * v**2 * n1 * n2
    diffracted = 1j * v * (n2 * (c1 - 1j * w * n1) + turn * (c2 + 1j * w * n2) * n1)
    absorbed = math.exp(-2 * math.pi * 130 / 350)
    bf, df = column_values(
        segments, [4.2, 0, 0], beam, np.arange(depth.size) % 64, 0, 65, -65, s.ravel(), fault_z_nm=[65 - depth.ravel()],
        fault_phase_rad=[math.radians(alpha_deg)], reference=reference, **ELASTIC,
    )  # fmt: skip
    assert np.abs(bf - absorbed * np.abs(transmitted.ravel()) ** 2).max() < allowed
    assert np.abs(df - absorbed * np.abs(diffracted.ravel()) ** 2).max() < allowed


def fringe_profile(extrinsic, g_hkl=(2, 0, 0), image="bf", plane_hkl=(1, 1, 1)):
    """Height of a sheet, intensity and background along a row of the image, which runs along g."""
    beam = BeamCondition(g_hkl=g_hkl, zone_axis_uvw=(0, 0, 1), image=image)
    normal = plane_normal_image(plane_hkl, CU, image_from_crystal(CU, beam))
    sheet = fault_sheet(CU, plane_hkl, normal, (0, 0, 0), reach_nm=900, extrinsic=extrinsic)
    shown = scene((), [sheet], beam=beam, shape=(8, 256), foil=Foil(thickness_nm=140))
    specimen = Specimen.of(shown)
    (z_nm,), _ = fault_sheets(shown, specimen)
    row = noise_free_intensity(shown, specimen)[4]
    return z_nm[4], row, perfect_crystal(specimen.two_beam, 0.0, 140)[0 if image == "bf" else 1]


def test_outer_fringes_of_an_extrinsic_fault_are_bright_where_an_intrinsic_one_has_dark_ones():
    """Intrinsic (111), normal to the gun, g = 200: R = 1/3[111], alpha = 2 pi 2/3 = -120 deg: dark outer BF fringes."""
    for extrinsic, sign in ((False, -1), (True, 1)):
        z_nm, row, background = fringe_profile(extrinsic)
        at_top, at_bottom = np.abs(z_nm - 70).argmin(), np.abs(z_nm + 70).argmin()
        inward = row[min(at_top, at_bottom) : max(at_top, at_bottom)] / background - 1
        for profile in (inward, inward[::-1]):
            first = np.flatnonzero(np.diff(np.sign(np.diff(profile))))[0] + 1
            assert sign * profile[first] > 0.05


@pytest.mark.parametrize("plane_hkl", [(1, 1, 1), (-1, -1, 1), (1, 1, -1)])
@pytest.mark.parametrize("g_hkl, toward", [((2, 0, 0), True), ((2, 2, 0), False)])
def test_dark_field_tells_intrinsic_from_extrinsic_by_its_outer_fringe(plane_hkl, g_hkl, toward):
    """g from the centre of the DF image points to the bright outer fringe of an intrinsic fault for 200, 222, 440, away
    from it for 111, 220, 400, whichever way the fault is inclined (Gevers, Art & Amelinckx, phys. stat. sol. 3 (1963) 1563)."""
    for extrinsic in (False, True):
        z_nm, row, background = fringe_profile(extrinsic, g_hkl, "df", plane_hkl)
        inside = np.flatnonzero(np.abs(z_nm) < 70)
        left, right = row[inside[:8]].mean(), row[inside[-8:]].mean()
        assert (right > left) == (toward != extrinsic) and abs(left - right) > 0.2 * background


def test_three_sheets_of_one_shear_on_neighbouring_planes_leave_no_fringes():
    """3 R is a lattice vector: the smallest band of a twin is invisible in its own phase."""
    band = fault_band(CU, (1, 1, 1), normal_of((1, 1, 1)), (0, 0, 0), offsets_nm=[0, 1e-9, 2e-9], reach_nm=900)
    assert np.ptp(image(scene((), band))) < 1e-6
    apart = fault_band(CU, (1, 1, 1), normal_of((1, 1, 1)), (0, 0, 0), offsets_nm=[-12, 0, 12], reach_nm=900)
    assert np.ptp(image(scene((), apart))) > 0.1


@pytest.mark.parametrize("on_left", [True, False])
def test_a_wide_fault_lies_on_the_stated_side_of_its_partial(on_left):
    rise = slip_plane((1, 1, 1), (0.5, -0.5, 0)).rise
    lines, faults = wide_fault(CU, (1, 1, 1), normal_of((1, 1, 1)), np.linspace(-80, 80, 15)[:, None] * rise, flat, fault_on_left=on_left, reach_nm=900)
    shown = scene(lines, faults)
    covered = np.isfinite(fault_sheets(shown, Specimen.of(shown))[0][0])
    x_nm, y_nm = np.meshgrid(np.arange(96) - 47.5, 47.5 - np.arange(96))
    left = rise[0] * y_nm - rise[1] * x_nm
    assert (covered == (left > 0) if on_left else covered == (left < 0)).mean() > 0.97


def test_a_line_bowed_so_far_that_its_fault_would_end_near_it_bounds_none():
    # To one side the ends of the line, drawn on, run away from the fault, and the far edge of its outline back to the line.
    plane = slip_plane((1, 1, 1), (0.5, -0.5, 0))
    angle = np.radians(np.linspace(-75, 75, 31))
    bowed = 40 * (np.cos(angle)[:, None] * plane.along + np.sin(angle)[:, None] * plane.rise)
    found = [
        wide_fault(CU, (1, 1, 1), normal_of((1, 1, 1)), bowed, flat, fault_on_left=on_left, reach_nm=900) for on_left in (True, False)
    ]
    assert sorted(len(faults) for _, faults in found) == [0, 1]
    scene(*next(each for each in found if each[1]))


def test_a_fault_that_ends_in_the_foil_without_a_partial_is_refused():
    loop, fault = frank_loop(CU, (1, 1, 1), normal_of((1, 1, 1)), (0, 0, 0), radius_nm=20, interstitial=False)
    scene(loop, fault)
    with pytest.raises(InputError, match=r"faults\[0\].outline_nm must end at a partial.*open border inside the foil"):
        scene((), fault)


@pytest.mark.parametrize("crystal, plane_hkl", [(CU, (1, 1, 1)), (CU, (1, -1, -1)), (MG, (0, 0, 1))])
@pytest.mark.parametrize("interstitial", [False, True])
def test_frank_loops_carry_the_shift_of_their_layer(crystal, plane_hkl, interstitial):
    beam = BEAM if crystal is CU else BeamCondition(g_hkl=(1, 1, 0), zone_axis_uvw=(1, -1, 1))
    rotation = image_from_crystal(crystal, beam)
    normal = plane_normal_image(plane_hkl, crystal, rotation)
    (loop,), (fault,) = frank_loop(crystal, plane_hkl, normal, (0, 0, 0), radius_nm=15, interstitial=interstitial)
    scene([loop], [fault], crystal=crystal, beam=beam)
    toward_gun = (rotation @ crystal.direction_nm(fault.shift_uvw))[2] * np.sign(normal[2]) * normal[2]
    assert (toward_gun < 0) == interstitial
    assert loop.burgers_uvw == pytest.approx(fault.shift_uvw)


def test_the_inside_of_a_frank_loop_is_a_fault_unless_g_dot_r_is_whole():
    for g_hkl, whole in (((2, 0, 0), False), ((2, 2, 0), False), ((2, -2, 0), True)):  # b = 1/3[111]: g.b = 2/3, 4/3, 0
        beam = BeamCondition(g_hkl=g_hkl, zone_axis_uvw=(0, 0, 1))
        rotation = image_from_crystal(CU, beam)
        loop, fault = frank_loop(CU, (1, 1, 1), plane_normal_image((1, 1, 1), CU, rotation), (0, 0, 8), radius_nm=25, interstitial=False)
        shown = scene(loop, fault, beam=beam, shape=(64, 64), pixel_nm=1.5, surfaces=False)
        specimen = Specimen.of(shown)
        with_fault = noise_free_intensity(shown, specimen)
        alone, _ = column_image(segments(shown, specimen), specimen.g_image_inv_nm, specimen.two_beam, ColumnGrid.flat((64, 64), 1.5, 100, 0.0),
                                poisson_ratio=specimen.poisson_ratio, core_nm=0.5)  # fmt: skip
        difference = np.abs(with_fault - alone)[28:36, 28:36].max()
        assert difference < 1e-6 if whole else difference > 0.1


@pytest.mark.parametrize("interstitial", [False, True])
@pytest.mark.parametrize("habit_plane_hkl", [(1, 0, 0), (0, -1, 0)])
def test_loop_contrast_goes_from_outside_to_inside_with_the_sign_of_g_b_s(habit_plane_hkl, interstitial):
    """Outside contrast where (g.b) s < 0 with b FS/RH and the line anticlockwise as the gun sees it: the same as
    > 0 for the usual clockwise line (Loretto & Smallman 1975, section 4.3)."""
    beam = BeamCondition(g_hkl=(2, -2, 0), zone_axis_uvw=(1, 1, 1))
    normal = plane_normal_image(habit_plane_hkl, CU, image_from_crystal(CU, beam))
    loop = perfect_prismatic_loop(CU, (0.5, -0.5, 0), habit_plane_hkl, normal, (0, 0, 0), radius_nm=30, interstitial=interstitial)
    start = scene([loop], [], beam=beam, shape=(128, 128))
    g_dot_b = float(np.dot(beam.g_hkl, loop.burgers_uvw))
    rms_nm = {}
    for s in (0.04, -0.04):
        shown = under_condition(start, BeamCondition(g_hkl=beam.g_hkl, zone_axis_uvw=beam.zone_axis_uvw, s_inv_nm=s))
        weight = (image(shown) - np.median(image(shown))) ** 2
        rms_nm[g_dot_b * s > 0] = math.sqrt((weight.sum(axis=0) @ (np.arange(128) - 63.5) ** 2) / weight.sum())
    assert rms_nm[False] > 1.5 * rms_nm[True]  # along g, where the core lies at 17 nm


FCC_REACTIONS = [(((1, 1, 1), (0.5, 0, -0.5)), ((1, 1, -1), (0, 0.5, 0.5))), (((1, 1, 1), (-0.5, 0, 0.5)), ((1, 1, -1), (0, -0.5, -0.5)))]


@pytest.mark.parametrize("first, second", FCC_REACTIONS)
def test_lomer_junction_balances_with_whole_and_with_dissociated_arms(first, second):
    lines = junction(slip_plane(*first), slip_plane(*second), flat, length_nm=30, step_nm=5, reach_nm=600)
    assert len(scene(lines).dislocations) == 5
    # Only the four far ends are open, and they lie on the faces.
    for i, end in open_ends(lines):
        assert abs(lines[i].points_nm[end][2]) == pytest.approx(50, abs=1e-6)
    split, faults = dissociated_junction(lines, CU, ROTATION, flat, stacking_fault_mJ_m2=20)
    assert len(split) == 9 and len(faults) == 4
    scene(split, faults)


@pytest.mark.parametrize("first, second, product", [
    (((0, 0, 1), (1, 0, 0)), ((0, 1, 0), (0, 0, 1)), (1, 0, 1)),  # a + c -> c + a
    (((0, 0, 1), (1, 0, 0)), ((1, 0, 0), (0, 1, 0)), (1, 1, 0)),  # a1 + a2 -> -a3, a3 = [-1 -1 0]
])  # fmt: skip
def test_hcp_junctions_balance(first, second, product):
    beam = BeamCondition(g_hkl=(1, 1, 0), zone_axis_uvw=(1, -1, 1))
    rotation = image_from_crystal(MG, beam)
    lines = junction(slip_plane(*first, MG, rotation), slip_plane(*second, MG, rotation), flat, length_nm=30, step_nm=5, reach_nm=600)
    assert lines[0].burgers_uvw == pytest.approx(np.array(product)) and MG.is_lattice_vector(lines[0].burgers_uvw)
    scene(lines, crystal=MG, beam=beam)


def stress_GPa(burgers_nm, line, r, mu, nu):
    """Stress of a straight line at r: the screw part, and the edge part in axes x along it (Hirth & Lothe 1982, eqs 3-3, 3-43)."""
    r = r - (r @ line) * line
    screw = burgers_nm @ line
    edge = burgers_nm - screw * line
    b_e = np.linalg.norm(edge)
    x_axis = edge / b_e
    y_axis = np.cross(line, x_axis)
    x, y, r2 = r @ x_axis, r @ y_axis, r @ r
    d = mu * b_e / (2 * math.pi * (1 - nu))
    xx, yy, xy = -d * y * (3 * x**2 + y**2) / r2**2, d * y * (x**2 - y**2) / r2**2, d * x * (x**2 - y**2) / r2**2
    around = mu * screw / (2 * math.pi * r2) * (x * y_axis - y * x_axis)
    stress = xx * np.outer(x_axis, x_axis) + yy * np.outer(y_axis, y_axis) + xy * (np.outer(x_axis, y_axis) + np.outer(y_axis, x_axis))
    return stress + nu * (xx + yy) * np.outer(line, line) + np.outer(around, line) + np.outer(line, around)


@pytest.mark.parametrize("first, second", FCC_REACTIONS)
def test_lomer_cottrell_lock_has_a_stair_rod_and_peach_koehler_forces_in_balance(first, second):
    planes = slip_plane(*first), slip_plane(*second)
    gamma = 20.0
    lines, faults = lomer_cottrell(*planes, CU, ROTATION, flat, stacking_fault_mJ_m2=gamma, length_nm=60)
    assert sum(line.burgers_uvw for line in lines) == pytest.approx(planes[0].burgers_uvw + planes[1].burgers_uvw)
    assert sorted(np.abs(lines[1].burgers_uvw)) == pytest.approx([0, 1 / 6, 1 / 6])  # 1/6<110>
    along = intersection(*planes)
    ends = [along * 30 * side for side in (-1, 1)]
    product = planes[0].burgers_uvw + planes[1].burgers_uvw
    feeders = [Dislocation(burgers_uvw=product, points_nm=points) for points in ([ends[0] - 600 * along, ends[0]], [ends[1], ends[1] + 600 * along])]
    scene([*lines, *feeders], faults)
    middle = [line.points_nm[len(line.points_nm) // 2] for line in lines]
    burgers_nm = [ROTATION @ CU.direction_nm(line.burgers_uvw) for line in lines]
    line = (lines[1].points_nm[-1] - lines[1].points_nm[0]) / 60
    for partial in (0, 2):
        outward = (middle[partial] - middle[1]) / np.linalg.norm(middle[partial] - middle[1])
        stress = sum(stress_GPa(burgers_nm[k], line, middle[partial] - middle[k], CU.shear_modulus_GPa, CU.poisson_ratio) for k in {0, 1, 2} - {partial})
        assert np.cross(stress @ burgers_nm[partial], line) @ outward == pytest.approx(gamma * 1e-3, rel=1e-4)


def test_a_lock_from_face_to_face_is_accepted():
    """(1 -1 1) and (-1 1 1) meet along [110]; zone [101] sees it inclined."""
    beam = BeamCondition(g_hkl=(0, 2, 0), zone_axis_uvw=(1, 0, 1))
    rotation = image_from_crystal(CU, beam)
    planes = [slip_plane(*system, CU, rotation) for system in (((1, 1, 1), (0.5, 0, -0.5)), ((1, 1, -1), (0, 0.5, 0.5)))]
    lines, faults = lomer_cottrell(*planes, CU, rotation, flat, stacking_fault_mJ_m2=20)
    assert [line.kind for line in lines] == ["partial", "stair-rod", "partial"]
    assert np.ptp(image(scene(lines, faults, beam=beam))) > 0.05
