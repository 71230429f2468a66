"""Networks: balance, chains, cutting. Hand-made ones, and the real ones where GDOTB_REAL_DATA names their folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.errors import InputError
from physics.frames import rotation_from_axes
from physics.junction import open_ends
from physics.network import Network, chains
from physics.network_cut import FieldTooWide, cut
from physics.network_lattice import lattice_chains, snap_burgers, snap_plane
from physics.networkio import read_paradis

A_AL = Crystal.from_material("al").lattice_nm[0, 0]
BOX_NM = np.array([[-100.0] * 3, [100.0] * 3])


def network(nodes_nm, arms, constraint=None, box_nm=BOX_NM):
    start, end, burgers_uvw = zip(*arms)
    return Network(
        nodes_nm=nodes_nm, constraint=np.zeros(len(nodes_nm), int) if constraint is None else constraint, start=start,
        end=end, burgers_nm=np.array(burgers_uvw) * A_AL, plane_normal=np.tile([1.0, 1.0, 1.0], (len(arms), 1)), box_nm=box_nm,
    )  # fmt: skip


def lomer_junction():
    """1/2[1 0 -1] and 1/2[0 1 1] joined along a junction of 1/2[1 1 0], each running through the periodic box."""
    first, second = (0.5, 0.0, -0.5), (0.0, 0.5, 0.5)
    both = (0.5, 0.5, 0.0)
    nodes = [[-20, 0, 0], [20, 0, 0], [-60, 30, 0], [60, 30, 0], [-60, -30, 0], [60, -30, 0], [100, 30, 0], [100, -30, 0]]
    arms = [(0, 1, both), (2, 0, first), (4, 0, second), (1, 3, first), (1, 5, second),
            (3, 6, first), (6, 2, first), (5, 7, second), (7, 4, second)]  # fmt: skip
    return network(nodes, arms)


def endless():
    b = (0, 0.5, 0.5)
    return network([[0, 0, -100], [2, 0, -50], [0, 3, 10], [1, 0, 60]], [(0, 1, b), (1, 2, b), (2, 3, b), (3, 0, b)])


def test_a_free_node_out_of_balance_is_refused():
    with pytest.raises(InputError, match="node 1 must have sum b = 0"):
        network([[0, 0, 0], [10, 0, 0], [20, 0, 0]], [(0, 1, (0.5, 0.5, 0)), (1, 2, (0.5, 0, 0.5))], constraint=[7, 0, 7])


def test_chains_end_at_junctions_and_every_arm_is_in_one():
    found = chains(lomer_junction())
    assert sum(len(chain.points_nm) - 1 for chain in found) == 9  # the arms
    assert len(found) == 3
    assert all(set(chain.end_nodes) == {0, 1} for chain in found)


def test_chains_are_unwrapped_through_the_periodic_box():
    through = [chain for chain in chains(lomer_junction()) if len(chain.points_nm) == 5]
    assert len(through) == 2
    for chain in through:
        assert np.linalg.norm(np.diff(chain.points_nm, axis=0), axis=1).max() <= 50 + 1e-9  # the longest arm, not the box
        assert abs(chain.points_nm[-1, 0] - chain.points_nm[0, 0]) == pytest.approx(160)  # 200 less the 40 of the junction


def test_a_loop_is_one_closed_chain():
    square = [[0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]]
    (loop,) = chains(network(square, [(0, 1, (0.5, 0.5, 0)), (1, 2, (0.5, 0.5, 0)), (3, 2, (-0.5, -0.5, 0)), (3, 0, (0.5, 0.5, 0))]))
    assert len(loop.points_nm) == 5 and np.array_equal(loop.points_nm[0], loop.points_nm[-1])


def test_burgers_vectors_snap_to_lattice_vectors_and_others_are_refused():
    al, mg = Crystal.from_material("al"), Crystal.from_material("mg")
    assert snap_burgers(np.array([1, 1, 0]) * 0.2863 / 2**0.5, al) == pytest.approx([0.5, 0.5, 0])
    assert snap_burgers(mg.direction_nm([1, 0, 1]) * 1.005, mg) == pytest.approx([1, 0, 1])
    with pytest.raises(InputError, match="must be a lattice vector of al within 3%.*check material and burgers_nm"):
        snap_burgers(np.array([1, 1, 1]) * 0.286 / 3**0.5, al)


def test_planes_snap_to_low_indices_or_to_none():
    al = Crystal.from_material("al")
    assert snap_plane(np.array([-1, 1, -1]) / 3**0.5, al) == (1, -1, 1)
    assert snap_plane(np.array([0.8, 0.31, 0.512]), al) == (0, 0, 0)


def faces(x_nm, y_nm):
    return np.full_like(x_nm, 25.0), np.full_like(x_nm, -25.0)


VIEW = {"image_from_crystal": np.eye(3), "half_extent_nm": np.array([50.0, 50.0, 25.0]), "faces": faces, "margin_nm": 10.0}


def test_a_cut_keeps_the_junction_balanced_and_each_piece_one_b():
    net = lomer_junction()
    lines = lattice_chains(net, Crystal.from_material("al"))
    shown = cut(lines, net, origin_nm=np.zeros(3), **VIEW)
    assert len(shown) == 5  # the junction, and two lines cut by the border into two parts each
    allowed = {(0.5, 0.0, -0.5), (0.0, 0.5, 0.5), (0.5, 0.5, 0.0)}
    assert {tuple(line.canonical().burgers_uvw) for line in shown} == allowed
    for k, end in open_ends(shown):
        assert np.abs(shown[k].points_nm[end, :2]).max() == pytest.approx(60)  # field and margin: none inside


def test_a_cut_takes_the_nearest_periodic_images():
    net = lomer_junction()
    lines = lattice_chains(net, Crystal.from_material("al"))
    centred = cut(lines, net, origin_nm=np.zeros(3), **VIEW)
    shifted = cut(lines, net, origin_nm=np.array([200.0, -400.0, 600.0]), **VIEW)  # whole periods away
    assert sorted(line.length_nm for line in shifted) == pytest.approx(sorted(line.length_nm for line in centred))


def test_lines_are_clipped_at_the_foil():
    (line,) = cut(lattice_chains(endless(), Crystal.from_material("al")), endless(), origin_nm=np.zeros(3), **VIEW)
    assert sorted(line.points_nm[[0, -1], 2]) == pytest.approx([-25, 25])  # the faces


@pytest.mark.parametrize("z", [-95.0, -60.0, -45.0, 10.0, 80.0])
def test_a_line_that_closes_through_the_box_is_cut_as_one_wherever_its_seam_lies(z):
    net = endless()
    (line,) = cut(lattice_chains(net, Crystal.from_material("al")), net, origin_nm=np.array([0, 0, z]), **VIEW)
    assert sorted(line.points_nm[[0, -1], 2]) == pytest.approx([-25, 25])  # the faces


def test_a_field_wider_than_the_box_is_refused():
    net = lomer_junction()
    wide = VIEW | {"half_extent_nm": np.array([101.0, 50.0, 25.0])}
    with pytest.raises(FieldTooWide, match=r"no wider than the network's box \(200.0 nm\), got 202.0 nm"):
        cut(lattice_chains(net, Crystal.from_material("al")), net, origin_nm=np.zeros(3), **wide)


def test_a_view_that_repeats_the_box_along_a_diagonal_is_refused():
    net = lomer_junction()
    c = np.sqrt(0.5)
    along_diagonal = np.array([[c, -c, 0], [c, c, 0], [0, 0, 1]])
    narrow = {"half_extent_nm": np.array([70.0, 70.0, 25.0]), "image_from_crystal": along_diagonal}
    cut([], net, origin_nm=np.zeros(3), **(VIEW | narrow))
    with pytest.raises(FieldTooWide, match="twice"):
        # 200 cos 45 deg = 141.4 nm is the shift that brings the box onto itself.
        cut([], net, origin_nm=np.zeros(3), **(VIEW | narrow | {"half_extent_nm": np.array([72.0, 72.0, 25.0])}))


def bent_line():
    """A line of 1/2[1 -1 0], the b of two planes, on (1 1 1) for its first 70 nm and on (1 1 -1) for the other 130."""
    b, box = (0.5, -0.5, 0), np.array([[-100.0] * 3, [100.0] * 3])
    along = np.array([1.0, -1.0, 0.0]) / 2**0.5
    nodes = [(-100 + 20 * i) * along * 2**0.5 for i in range(10)]
    net = network(nodes, [(i, (i + 1) % 10, b) for i in range(10)], box_nm=box)
    planes = np.where(np.arange(10)[:, None] < 4, [1.0, 1.0, 1.0], [1.0, 1.0, -1.0])
    return replace(net, plane_normal=planes)


def test_a_chain_of_several_planes_keeps_one_for_each_segment_through_the_cut():
    net = bent_line()
    turn = rotation_from_axes(np.array([1.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0]))
    view = VIEW | {"image_from_crystal": turn, "half_extent_nm": np.array([60.0, 30.0, 25.0])}
    (line,) = cut(lattice_chains(net, Crystal.from_material("al")), net, origin_nm=np.zeros(3), **view)
    middles = (line.points_nm[1:, 0] + line.points_nm[:-1, 0]) / 2
    # plane changes at node 4, at (-100 + 80) sqrt 2 nm; the view is cut at -70 and 70 nm
    expected = np.where(middles[:, None] < -20 * 2**0.5, [1, 1, 1], [1, 1, -1])
    assert np.array_equal(line.segment_planes_hkl, expected)
    assert line.plane_hkl == (1, 1, -1)  # 98.3 of 140 nm
    assert line.points_nm[0, 0] == pytest.approx(-70) and line.points_nm[-1, 0] == pytest.approx(70)
    backward = line.reversed()
    assert np.array_equal(backward.segment_planes_hkl, expected[::-1]) and backward.plane_hkl == line.plane_hkl


def test_a_piece_has_the_plane_of_its_own_longest_part():
    net = bent_line()
    turn = rotation_from_axes(np.array([1.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0]))
    view = VIEW | {"image_from_crystal": turn, "half_extent_nm": np.array([30.0, 30.0, 25.0])}
    lines = lattice_chains(net, Crystal.from_material("al"))
    (line,) = cut(lines, net, origin_nm=np.array([-60.0, 60.0, 0.0]), **view)  # -84.9 nm along the line
    assert line.plane_hkl == (1, 1, 1) and line.segment_planes_hkl is None  # all of one plane
    (line,) = cut(lines, net, origin_nm=np.array([-30.0, 30.0, 0.0]), **view)  # the change 14.1 nm ahead
    assert line.plane_hkl == (1, 1, 1) and len({tuple(p) for p in line.segment_planes_hkl}) == 2
    ahead = line.points_nm[line.points_nm[:, 0] > 14.0]
    assert line.plane_of_part(ahead) == (1, 1, -1)


def test_planes_of_segments_that_contradict_the_line_are_refused():
    points = [[0, 0, 0], [10, 0, 0], [30, 0, 0]]
    planes = [(1, 1, 1), (1, 1, -1)]
    line = Dislocation(burgers_uvw=(0.5, -0.5, 0), points_nm=points, segment_planes_hkl=planes)
    assert line.plane_hkl == (1, 1, -1)
    for changes, message in (
        ({"plane_hkl": (1, 1, 1)}, r"plane_hkl must be that of the longest part, \[1, 1, -1\]"),
        ({"segment_planes_hkl": [(1, 1, 1)]}, "segment_planes_hkl must"),
        ({"segment_planes_hkl": [(1, 1, 1), (0.5, 1, 1)]}, "segment_planes_hkl must be three integers"),
        ({"glissile": True}, "glissile must be false for a line on several planes"),
    ):
        with pytest.raises(InputError, match=message):
            replace(line, **({"plane_hkl": (0, 0, 0)} | changes))


REAL = Path(os.environ.get("GDOTB_REAL_DATA", "")) / "ddd"
# file, burgMag in nm, material, nodes, segments, junctions: ORIGIN.md beside the files
REAL_NETWORKS = [
    ("ParaDiS/rs1417.data", 0.2856867, "ta", 7634, 7877, 363),
    ("OpenDiS/180chains_16.10e.data", 0.255, "cu", 5055, 5930, 1416),
    ("ParaDiS/Be.data", 0.22814, "be", 2564, 2564, 0),
    ("ParaDiS/hcp_junct_diss.data", 0.229, "be", 6, 4, 0),
    ("ParaDiS/onescrewFCC.data", 0.286, "al", 58, 58, 0),
    ("ParaDiS/frank_read_src.data", 0.2856867, "ta", 3, 2, 0),
]


@pytest.mark.skipif("GDOTB_REAL_DATA" not in os.environ, reason="GDOTB_REAL_DATA names no folder")
@pytest.mark.parametrize(("file", "burgers_nm", "material", "nodes", "segments", "junctions"), REAL_NETWORKS)
def test_real_networks_are_balanced_and_keep_b_along_chains(file, burgers_nm, material, nodes, segments, junctions):
    net = read_paradis(REAL / file, burgers_nm)
    assert (len(net.nodes_nm), len(net.start), len(net.junctions)) == (nodes, segments, junctions)
    assert net.imbalance_nm.max() / burgers_nm <= 4.01e-11  # ORIGIN.md: 4e-11
    lines = lattice_chains(net, Crystal.from_material(material))
    assert sum(len(line.points_nm) - 1 for line in lines) == segments
    assert all(len(line.segment_planes_hkl) == len(line.points_nm) - 1 for line in lines)


@pytest.mark.skipif("GDOTB_REAL_DATA" not in os.environ, reason="GDOTB_REAL_DATA names no folder")
def test_many_chains_of_a_real_network_use_several_planes_and_keep_them_in_a_view():
    net = read_paradis(REAL / "ParaDiS/rs1417.data", 0.2856867)
    lines = lattice_chains(net, Crystal.from_material("ta"))
    several = [line for line in lines if len({tuple(p) for p in line.segment_planes_hkl}) > 1]
    assert 0.35 < len(several) / len(lines) < 0.5  # ORIGIN.md: 43 % of its chains
    view = {"image_from_crystal": np.eye(3), "half_extent_nm": np.array([100.0, 100.0, 50.0]), "margin_nm": 20.0,
            "faces": lambda x, y: (np.full_like(x, 50.0), np.full_like(x, -50.0))}  # fmt: skip
    shown = cut(lines, net, origin_nm=net.box_nm.mean(axis=0), **view)
    mixed = [line for line in shown if line.segment_planes_hkl is not None]
    assert mixed and all(len(line.segment_planes_hkl) == len(line.points_nm) - 1 for line in mixed)
