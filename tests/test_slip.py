"""Slip families by symmetry."""

import numpy as np
import pytest

from physics.crystal import Crystal
from physics.errors import InputError
from physics.material import material_names
from physics.miller import bravais_from_direction, bravais_from_plane, plane_from_bravais
from physics.slip import families_of, slip_systems

# Counts of Hirth & Lothe (1982), table 9-1, and Yoo (1981), table I
COUNTS = [
    ("al", "fcc_111_110", 12), ("si", "fcc_111_110", 12), ("gaas", "fcc_111_110", 12),
    ("w", "bcc_110_111", 12), ("w", "bcc_112_111", 12), ("w", "bcc_123_111", 24), ("mgo", "rocksalt_110_110", 6),
    ("mgo", "rocksalt_100_110", 6), ("al", "fcc_100_110", 6),
    ("ti", "hcp_basal_a", 3), ("ti", "hcp_prismatic_a", 3), ("ti", "hcp_pyramidal1_a", 6),
    ("ti", "hcp_pyramidal1_ca", 12), ("ti", "hcp_pyramidal2_ca", 6),
]  # fmt: skip


@pytest.mark.parametrize("name, family, count", COUNTS)
def test_family_has_its_number_of_systems(name, family, count):
    systems = slip_systems(Crystal.from_material(name), family)
    assert len(systems) == len(set(systems)) == count
    assert {s.family for s in systems} == {family}


@pytest.mark.parametrize("name, family, count", COUNTS)
def test_burgers_vector_is_a_lattice_vector_in_its_plane(name, family, count):
    crystal = Crystal.from_material(name)
    lengths_nm = []
    for system in slip_systems(crystal, family):
        assert np.dot(system.plane_hkl, system.burgers_uvw) == 0
        assert crystal.is_lattice_vector(system.burgers_uvw)
        assert not crystal.is_lattice_vector(np.array(system.burgers_uvw) / 2)
        lengths_nm.append(np.linalg.norm(crystal.direction_nm(system.burgers_uvw)))
    np.testing.assert_allclose(lengths_nm, lengths_nm[0])


@pytest.mark.parametrize("name, family, count", COUNTS)
def test_plus_and_minus_are_one_system(name, family, count):
    for system in slip_systems(Crystal.from_material(name), family):
        for vector in (system.plane_hkl, system.burgers_uvw):
            assert next(x for x in vector if x) > 0
            assert all(str(x) != "-0.0" for x in vector)


def test_lengths_of_burgers_vectors():
    al, ti = Crystal.from_material("al"), Crystal.from_material("ti")
    a, c = ti.lattice_nm[0, 0], ti.lattice_nm[2, 2]
    b_al = al.direction_nm(slip_systems(al)[0].burgers_uvw)
    assert np.linalg.norm(b_al) == pytest.approx(al.lattice_nm[0, 0] / np.sqrt(2))
    b_a = ti.direction_nm(slip_systems(ti, "hcp_basal_a")[0].burgers_uvw)
    b_ca = ti.direction_nm(slip_systems(ti, "hcp_pyramidal1_ca")[0].burgers_uvw)
    assert np.linalg.norm(b_a) == pytest.approx(a)
    assert np.linalg.norm(b_ca) == pytest.approx(np.hypot(a, c))


@pytest.mark.parametrize(
    "family, hkil",
    [
        ("hcp_basal_a", (0, 0, 0, 1)), ("hcp_prismatic_a", (1, 0, -1, 0)), ("hcp_pyramidal1_a", (1, 0, -1, 1)),
        ("hcp_pyramidal1_ca", (1, 0, -1, 1)), ("hcp_pyramidal2_ca", (1, 1, -2, 2)),
    ],
)  # fmt: skip
def test_hexagonal_families_lie_on_the_planes_of_their_names(family, hkil):
    ti = Crystal.from_material("ti")
    systems = slip_systems(ti, family)
    named = {tuple(plane) for plane in ti.equivalent_planes(plane_from_bravais(hkil)).tolist()}
    assert {s.plane_hkl for s in systems} <= named
    forms = {tuple(sorted(abs(np.round(3 * bravais_from_direction(s.burgers_uvw))).astype(int)[:3])) for s in systems}
    assert forms == {(1, 1, 2)}  # 1/3<2 -1 -1 0> or 1/3<2 -1 -1 3>
    assert all(sum(bravais_from_plane(s.plane_hkl)[:3]) == 0 for s in systems)


def test_each_screw_of_bcc_has_three_110_and_three_112_planes():
    w = Crystal.from_material("w")
    for family, planes in [("bcc_110_111", 3), ("bcc_112_111", 3), ("bcc_123_111", 6)]:  # Hirth & Lothe (1982), 9.4
        burgers = [s.burgers_uvw for s in slip_systems(w, family)]
        assert {burgers.count(b) for b in set(burgers)} == {planes} and len(set(burgers)) == 4


@pytest.mark.parametrize("name", material_names())
def test_usual_families_of_every_material_exist(name):
    crystal = Crystal.from_material(name)
    assert crystal.slip_families and set(crystal.slip_families) <= set(families_of(crystal))
    assert len(slip_systems(crystal)) == sum(len(slip_systems(crystal, f)) for f in crystal.slip_families)


@pytest.mark.parametrize("family", ["hcp_basal_a", "fcc", "", "bcc_110_111"])
def test_a_family_of_another_structure_is_refused(family):
    with pytest.raises(InputError, match="fcc_111_110"):
        slip_systems(Crystal.from_material("al"), family)
