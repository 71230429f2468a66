"""Lattice, symmetry and elastic constants of the perfect crystal."""

import itertools
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physics.crystal import Crystal
from physics.elasticity import hill_average
from physics.errors import InputError
from physics.material import cited_numbers, material_names, material_record

NAMES = material_names()
INDEX = st.integers(-6, 6)


def test_materials_asked_for_are_there():
    asked = "al cu ni ag au pt fe_gamma twip cocrfemnni fe_alpha w mo ta nb v cr mg ti zr zn be si ge gaas mgo".split()
    assert set(asked) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_material_has_a_source_or_says_it_is_an_assumption(name):
    record = material_record(name)
    for block in ("lattice", "elastic_GPa", "debye_waller_A2", "stacking_fault_mJ_m2", "absorption"):
        if block == "stacking_fault_mJ_m2" and Crystal.from_material(name).stacking_fault_mJ_m2 is None:
            assert record[block]["note"]  # why there is none
            continue
        assert record[block].get("source") or (record[block].get("assumption") is True and record[block].get("note"))
    assert record["basis_source"] and record["slip_source"]
    elements = {e for site in Crystal.from_material(name).basis_compositions for e, _ in site}
    assert set(record["debye_waller_A2"]["B"]) == elements


@pytest.mark.parametrize("name", NAMES)
def test_stacking_faults_exist_where_dislocations_dissociate(name):
    crystal = Crystal.from_material(name)
    if crystal.structure in ("bcc", "rocksalt"):
        assert crystal.stacking_fault_mJ_m2 is None
    else:
        assert 10 < crystal.stacking_fault_mJ_m2 < 500


def test_the_command_lists_every_number_and_the_assumptions_alone():
    def run(*arguments):
        command = [sys.executable, "-m", "physics.material", *arguments]
        return subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60)

    everything, assumed = run().stdout.splitlines(), run("assumptions").stdout.splitlines()
    assert len(everything) == 5 * len(NAMES) and set(assumed) < set(everything)
    assert [line for line in everything if "ASSUMPTION" in line] == assumed
    expected = {(n, c.block) for n in NAMES for c in cited_numbers(n) if material_record(n)[c.block].get("assumption")}
    assert {tuple(line.split(": ")[:2]) for line in assumed} == expected
    assert "cu: stacking_fault_mJ_m2: intrinsic 41: Cockayne" in run("cu").stdout
    wrong = run("unobtainium")
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: material must be one of") and wrong.stderr.count("\n") == 1


@pytest.mark.parametrize("name", NAMES)
def test_reciprocal_vectors_carry_no_two_pi(name):
    crystal = Crystal.from_material(name)
    np.testing.assert_allclose(crystal.reciprocal_inv_nm.T @ crystal.lattice_nm, np.eye(3), atol=1e-14)


def test_cubic_axes_are_the_cartesian_axes():
    crystal = Crystal.from_material("cu")
    np.testing.assert_array_equal(crystal.lattice_nm, crystal.lattice_nm[0, 0] * np.eye(3))


@pytest.mark.parametrize("name", ["ti", "zn"])
def test_hexagonal_a_is_along_x_and_c_along_z(name):
    a, b, c = Crystal.from_material(name).lattice_nm.T
    assert a[1] == a[2] == c[0] == c[1] == 0
    assert np.linalg.norm(b) == pytest.approx(a[0])
    assert a @ b / a[0] ** 2 == pytest.approx(-0.5)  # 120 degrees between a and b
    assert np.linalg.det(np.stack([a, b, c], axis=1)) > 0


@given(h=INDEX, k=INDEX, l=INDEX)
def test_length_of_g_is_one_over_the_spacing(h, k, l):
    al, ti = Crystal.from_material("al"), Crystal.from_material("ti")
    a = al.lattice_nm[0, 0]
    assert np.sum(al.reciprocal_vector_inv_nm([h, k, l]) ** 2) == pytest.approx((h * h + k * k + l * l) / a**2)
    a, c = ti.lattice_nm[0, 0], ti.lattice_nm[2, 2]
    # 1/d^2 of the hexagonal lattice, International Tables B, 1.1
    inverse_square = 4 / 3 * (h * h + h * k + k * k) / a**2 + l * l / c**2
    assert np.sum(ti.reciprocal_vector_inv_nm([h, k, l]) ** 2) == pytest.approx(inverse_square)


@given(hkl=st.tuples(INDEX, INDEX, INDEX), uvw=st.tuples(INDEX, INDEX, INDEX), name=st.sampled_from(NAMES))
def test_g_dot_r_is_hu_plus_kv_plus_lw(hkl, uvw, name):
    crystal = Crystal.from_material(name)
    product = crystal.reciprocal_vector_inv_nm(hkl) @ crystal.direction_nm(uvw)
    assert product == pytest.approx(np.dot(hkl, uvw), abs=1e-11)


# Orders of m-3m, 6/mmm and -43m: International Tables A, table 3.2.1
@pytest.mark.parametrize(
    "name, order", [("al", 48), ("fe_alpha", 48), ("si", 48), ("mgo", 48), ("cocrfemnni", 48), ("ti", 24), ("gaas", 24)]
)
def test_point_group_has_the_order_of_its_crystal_class(name, order):
    assert len(Crystal.from_material(name).point_group) == order


@pytest.mark.parametrize("name", ["al", "ti", "gaas"])
def test_point_group_is_closed_and_holds_inverses(name):
    operations = Crystal.from_material(name).point_group.on_directions
    known = {w.tobytes() for w in operations}
    products = np.einsum("aij,bjk->abik", operations, operations).reshape(-1, 3, 3)
    assert {np.ascontiguousarray(w).tobytes() for w in products} == known
    assert np.eye(3, dtype=np.int64).tobytes() in known


@pytest.mark.parametrize("name", ["al", "ti", "gaas"])
def test_operations_are_isometries_and_keep_the_zone_law(name):
    crystal = Crystal.from_material(name)
    group = crystal.point_group
    hkl, uvw = np.array([1, -2, 3]), np.array([2, 5, -1])
    for on_uvw, on_hkl in zip(group.on_directions, group.on_planes):
        cartesian = crystal.lattice_nm @ on_uvw @ np.linalg.inv(crystal.lattice_nm)
        np.testing.assert_allclose(cartesian @ cartesian.T, np.eye(3), atol=1e-12)
        assert (on_hkl @ hkl) @ (on_uvw @ uvw) == hkl @ uvw


def test_zincblende_has_no_inversion_but_diamond_has():
    def inverts(name):
        return any((w == -np.eye(3)).all() for w in Crystal.from_material(name).point_group.on_directions)

    assert inverts("si") and not inverts("gaas")


def test_equivalent_planes_and_directions_have_the_multiplicity_of_the_form():
    al, ti = Crystal.from_material("al"), Crystal.from_material("ti")
    # multiplicities of general and special forms, International Tables A, table 3.2.3.2
    for hkl, count in [((1, 0, 0), 6), ((1, 1, 1), 8), ((1, 1, 0), 12), ((1, 1, 2), 24), ((1, 2, 3), 48)]:
        assert len(al.equivalent_planes(hkl)) == count
        assert len(al.equivalent_directions(hkl)) == count
    for hkl, count in [((0, 0, 1), 2), ((1, 0, 0), 6), ((1, 0, 1), 12), ((1, 1, 2), 12)]:
        assert len(ti.equivalent_planes(hkl)) == count
    assert len(Crystal.from_material("gaas").equivalent_directions((1, 1, 1))) == 4  # -43m is polar along <111>
    assert al.equivalent_planes((1, 1, 1)).dtype == np.int64
    with pytest.raises(InputError, match="hkl"):
        al.equivalent_planes((0.5, 0.5, 0.5))
    lengths_nm = np.linalg.norm(ti.direction_nm(ti.equivalent_directions([1, 0, 0])), axis=1)
    np.testing.assert_allclose(lengths_nm, ti.lattice_nm[0, 0])
    assert [1.0, 1.0, 0.0] in ti.equivalent_directions([1, 0, 0]).tolist()  # 1/3[1 1 -2 0] is a lattice vector too


@pytest.mark.parametrize(
    "name, uvw, expected",
    [
        ("al", (0.5, 0.5, 0), True), ("al", (0.5, 0.5, 0.5), False), ("al", (1 / 6, 1 / 6, -1 / 3), False),
        ("w", (0.5, 0.5, 0.5), True), ("w", (0.5, 0.5, 0), False), ("w", (1, 0, 0), True),
        ("si", (0.5, 0.5, 0), True), ("si", (0.25, 0.25, 0.25), False), ("gaas", (0.25, 0.25, 0.25), False),
        ("mgo", (0.5, 0.5, 0), True), ("mgo", (0.5, 0.5, 0.5), False),
        ("ti", (1, 0, 0), True), ("ti", (1, 1, 1), True), ("ti", (1 / 3, 2 / 3, 0.5), False),
        ("al", (0.5 + 5e-7, 0.5, 0), True), ("al", (0.5 + 5e-6, 0.5, 0), False),
    ],
)  # fmt: skip
def test_lattice_vectors_are_the_translations_that_map_the_crystal_onto_itself(name, uvw, expected):
    assert Crystal.from_material(name).is_lattice_vector(uvw) is expected


@given(h=INDEX, k=INDEX, l=INDEX)
def test_reflection_conditions_of_the_space_groups(h, k, l):
    # International Tables A: F: hkl unmixed; I: h + k + l = 2n; Fd-3m, 8a: unmixed and h + k + l = 2n + 1 or 4n;
    # P6_3/mmc, 2c: l = 2n or h + 2k != 3n
    if not any((h, k, l)):
        return
    unmixed = len({h % 2, k % 2, l % 2}) == 1
    total = h + k + l
    expected = {
        "al": unmixed,
        "w": total % 2 == 0,
        "si": unmixed and (total % 2 == 1 or total % 4 == 0),
        "gaas": unmixed,
        "mgo": unmixed,
        "ti": l % 2 == 0 or (h + 2 * k) % 3 != 0,
    }
    for name, allowed in expected.items():
        assert Crystal.from_material(name).is_allowed_reflection((h, k, l)) is allowed, (name, h, k, l)


def test_no_reflection_at_the_origin_or_between_lattice_points():
    al = Crystal.from_material("al")
    assert not al.is_allowed_reflection((0, 0, 0))
    assert not al.is_allowed_reflection((0.5, 0.5, 0.5))


def test_hill_average_of_an_isotropic_solid_is_its_own_moduli():
    bulk_GPa, shear_GPa = 70.0, 26.0
    c12 = bulk_GPa - 2 * shear_GPa / 3
    stiffness = np.diag([2 * shear_GPa] * 3 + [shear_GPa] * 3)
    stiffness[:3, :3] += c12
    np.testing.assert_allclose(hill_average(stiffness), (bulk_GPa, shear_GPa))


def test_hill_average_of_the_cantor_alloy_gives_its_published_ratio():
    crystal = Crystal.from_material("cocrfemnni")
    ratio = crystal.bulk_modulus_GPa / crystal.shear_modulus_GPa
    assert ratio == pytest.approx(1.79, abs=0.005)  # Tanaka, Teramoto & Ito (2017), abstract


@pytest.mark.parametrize(
    "name, poisson, shear_GPa",
    # polycrystals, Kaye & Laby tables: Al 0.345/26.1, Cu 0.343/48.3, W 0.280/160.6, Ta 0.342/69.2, Ti 0.321/43.8
    [("al", 0.345, 26.1), ("cu", 0.343, 48.3), ("w", 0.280, 160.6), ("ta", 0.342, 69.2), ("ti", 0.321, 43.8)],
)
def test_hill_average_agrees_with_measured_polycrystals(name, poisson, shear_GPa):
    crystal = Crystal.from_material(name)
    assert crystal.poisson_ratio == pytest.approx(poisson, abs=0.01)
    assert crystal.shear_modulus_GPa == pytest.approx(shear_GPa, rel=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_stiffness_has_the_symmetry_of_the_crystal(name):
    crystal = Crystal.from_material(name)
    full = _full_tensor(crystal.stiffness_GPa)
    for w in crystal.point_group.on_directions:
        q = crystal.lattice_nm @ w @ np.linalg.inv(crystal.lattice_nm)
        turned = np.einsum("ai,bj,ck,dl,ijkl->abcd", q, q, q, q, full, optimize=True)
        np.testing.assert_allclose(turned, full, atol=1e-9)


def test_crystal_refuses_what_is_not_one():
    good = Crystal.from_material("al")
    fields = dict(
        material="x", structure="fcc", lattice_nm=good.lattice_nm, basis_positions=good.basis_positions,
        basis_compositions=good.basis_compositions, stiffness_GPa=good.stiffness_GPa,
    )  # fmt: skip
    for change, word in [
        ({"lattice_nm": np.diag([0.4, 0.4, -0.4])}, "lattice_nm"),
        ({"structure": "sc"}, "structure"),
        ({"basis_compositions": good.basis_compositions[:3]}, "basis_compositions"),
        ({"basis_compositions": ((("Al", 0.5),),) * 4}, "basis_compositions"),
        ({"stiffness_GPa": -good.stiffness_GPa}, "stiffness_GPa"),
    ]:
        with pytest.raises(InputError, match=word):
            Crystal(**{**fields, **change})


def test_unknown_material_is_refused_in_one_line_that_names_the_known_ones():
    for name in ("unobtainium", "../al", "", None, 3, ["al"]):
        with pytest.raises(InputError) as caught:
            Crystal.from_material(name)
        assert "\n" not in str(caught.value) and "fe_alpha" in str(caught.value)


def test_crystal_is_read_only_and_survives_pickling():
    crystal = Crystal.from_material("ti")
    for array in (crystal.lattice_nm, crystal.reciprocal_inv_nm, crystal.stiffness_GPa, crystal.point_group.on_planes):
        with pytest.raises(ValueError):
            array[0] = 0
    again = pickle.loads(pickle.dumps(crystal))
    np.testing.assert_array_equal(again.lattice_nm, crystal.lattice_nm)
    assert len(again.point_group) == 24


def _full_tensor(voigt: np.ndarray) -> np.ndarray:
    index = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    full = np.empty((3, 3, 3, 3))
    for i, j, k, l in itertools.product(range(3), repeat=4):
        full[i, j, k, l] = voigt[index[i, j], index[k, l]]
    return full
