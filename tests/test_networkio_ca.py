"""Crystal Analysis files: hand-written ones, lines that OVITO wrote of known screws, and broken files."""

from __future__ import annotations

import numpy as np
import pytest

from physics.crystal import Crystal
from physics.errors import InputError
from physics.frames import rotation_about
from physics.network import chains
from physics.network_cut import cut
from physics.network_lattice import lattice_chains
from physics.networkio import write_paradis
from physics.networkio_ca import read_ca

A_AL = 4.0496  # Angstrom, the value in al.json
TURN = rotation_about(np.array([1.0, 2.0, -0.5]) / np.linalg.norm([1.0, 2.0, -0.5]), 0.7)
STRUCTURES = {"fcc": 1, "hcp": 2, "bcc": 3}


def ca_text(lines, ring, *, cell=200.0, corner=-100.0, pbc="1 1 1", structure="fcc", clusters=None, transitions=(), version=6):
    """`lines`: (b local, cluster, vertices in Angstrom); `ring`: two pairs (to the end or not, line) a line."""
    clusters = clusters or [(A_AL * TURN, 1000)]
    text = [f"CA_FILE_VERSION {version}", "CA_LIB_VERSION 0.0.0", "STRUCTURE_TYPES 3"]
    for name, number in STRUCTURES.items():
        text += [f"STRUCTURE_TYPE {number}", f"NAME {name}", f"FULL_NAME {name.upper()}", "COLOR 1 1 1", "TYPE LATTICE",
                 "BURGERS_VECTOR_FAMILIES 1", "BURGERS_VECTOR_FAMILY ID 0", "Other", "0.0 0.0 0.0", "0.9 0.2 0.2", "END_STRUCTURE_TYPE"]  # fmt: skip
    text += [f"SIMULATION_CELL_ORIGIN {corner} {corner} {corner}", "SIMULATION_CELL_MATRIX"]
    text += [" ".join(f"{x:.10g}" for x in row) for row in np.broadcast_to(cell, (3, 3)) * np.eye(3)]
    text += [f"PBC_FLAGS {pbc}", f"CLUSTERS {len(clusters)}"]
    for k, (matrix, atoms) in enumerate(clusters):
        text += [f"CLUSTER {k + 1}", f"CLUSTER_STRUCTURE {STRUCTURES[structure]}", "CLUSTER_ORIENTATION"]
        text += [" ".join(f"{x:.10g}" for x in row) for row in matrix]
        text += ["CLUSTER_COLOR 1.0 1.0 1.0", f"CLUSTER_SIZE {atoms}", "END_CLUSTER"]
    text += [f"CLUSTER_TRANSITIONS {len(transitions)}"]
    for one, other, matrix in transitions:
        text += [f"TRANSITION {one} {other}", " ".join(f"{x:.10g}" for x in np.ravel(matrix))]
    text += [f"DISLOCATIONS {len(lines)}"]
    for d, (burgers, cluster, vertices) in enumerate(lines):
        text += [str(d), " ".join(f"{x:.10g}" for x in burgers), str(cluster), str(len(vertices))]
        text += [" ".join(f"{x:.10g}" for x in vertex) for vertex in vertices]
    text += ["DISLOCATION_JUNCTIONS", *(f"{at_end} {line}" for at_end, line in ring)]
    return "\n".join(text) + "\n"


def write(tmp_path, text, name="network.ca"):
    path = tmp_path / name
    path.write_text(text)
    return path


SQUARE = [(0, 0, 0), (30, 0, 0), (30, 30, 0), (0, 30, 0), (0, 0, 0)]
# The end (first pair) of each line is tied to the start of another or of itself, its start (second pair) likewise.
LOOP_RING = [(0, 0), (1, 0)]


def junction_text(**options):
    """Three lines that leave one node, as two that end and one that begins there; their other ends dangle."""
    lines = [((0.5, 0.5, 0.0), 1, [(-40, 0, 0), (-20, 3, 0), (0, 0, 0)]), ((0.0, -0.5, 0.5), 1, [(0, 50, 0), (0, 0, 0)]),
             ((0.5, 0.0, 0.5), 1, [(0, 0, 0), (20, -20, 5), (40, -40, 0)])]  # fmt: skip
    # node: end of 0 -> end of 1 -> start of 2 -> end of 0; the dangling ends point to themselves
    ring = [(1, 1), (0, 0), (0, 2), (0, 1), (1, 2), (1, 0)]
    return ca_text(lines, ring, **options)


def test_a_loop_is_one_closed_chain_in_nm_and_crystal_axes(tmp_path):
    net = read_ca(write(tmp_path, ca_text([((0.5, 0.5, 0.0), 1, SQUARE)], LOOP_RING)))
    (loop,) = chains(net)
    assert np.array_equal(loop.points_nm[0], loop.points_nm[-1]) and len(loop.points_nm) == 5
    assert np.abs(np.linalg.norm(np.diff(loop.points_nm, axis=0), axis=1) - 3.0).max() < 1e-9  # 30 Angstrom
    forward = loop.points_nm[1] - loop.points_nm[0]
    expected = TURN.T @ [3.0, 0.0, 0.0]
    assert np.allclose(forward, expected, atol=1e-9)
    # OVITO's b is reversed; its length is that of the file's lattice.
    assert loop.burgers_nm == pytest.approx(np.array([-0.05, -0.05, 0.0]) * A_AL, abs=1e-9)


def test_flip_burgers_keeps_the_sense_of_the_file(tmp_path):
    path = write(tmp_path, ca_text([((0.5, 0.5, 0.0), 1, SQUARE)], LOOP_RING))
    assert np.array_equal(read_ca(path, flip_burgers=True).burgers_nm, -read_ca(path).burgers_nm)


def test_three_lines_meet_in_a_balanced_node_and_loose_ends_are_pinned(tmp_path):
    net = read_ca(write(tmp_path, junction_text()))
    (node,) = net.junctions
    assert net.nodes_nm[node] == pytest.approx([0, 0, 0]) and net.imbalance_nm.max() < 1e-12
    assert sorted(net.constraint[net.arm_counts == 1]) == [7, 7, 7] and not net.constraint[net.arm_counts > 1].any()
    assert len(chains(net)) == 3 and len(net.start) == 5
    found = {tuple(np.abs(line.burgers_uvw)) for line in lattice_chains(net, Crystal.from_material("al"))}
    assert found == {(0.5, 0.5, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5)}


def test_a_node_out_of_balance_is_refused(tmp_path):
    text = junction_text().replace("0 -0.5 0.5\n", "0 0.5 0.5\n")
    with pytest.raises(InputError, match="must have sum b = 0 over its arms"):
        read_ca(write(tmp_path, text))


def test_a_line_through_the_periodic_box_joins_its_image_and_is_cut_as_one(tmp_path):
    points = [(3, 4, -150), (6, 4, -80), (6, 8, 0), (3, 4, 50)]  # unwrapped: the last is the first + 200
    net = read_ca(write(tmp_path, ca_text([((0.0, 0.5, 0.5), 1, points)], LOOP_RING)))
    assert len(net.start) == 3 and not net.constraint.any()
    (line,) = lattice_chains(net, Crystal.from_material("al"))
    assert line.through_box
    assert line.points_nm[-1] - line.points_nm[0] == pytest.approx(TURN.T @ [0, 0, 20.0])
    view = {"image_from_crystal": TURN, "half_extent_nm": np.array([8.0, 8.0, 7.0]), "margin_nm": 1.0,
            "faces": lambda x, y: (np.full_like(x, 7.0), np.full_like(x, -7.0))}  # fmt: skip
    for z in (-9.0, 0.0, 4.0):  # the seam inside and outside the foil
        (shown,) = cut([line], net, origin_nm=TURN.T @ [0.0, 0.0, z], **view)
        assert sorted(shown.points_nm[[0, -1], 2]) == pytest.approx([-7, 7])


def test_a_box_that_does_not_repeat_shows_no_images(tmp_path):
    points = [(0, 0, -90), (0, 0, 0), (0, 0, 90)]
    net = read_ca(write(tmp_path, ca_text([((0.0, 0.5, 0.5), 1, points)], [(1, 0), (0, 0)], pbc="0 0 0")))
    assert net.smallest_period_nm == np.inf
    lines = lattice_chains(net, Crystal.from_material("al"))
    view = {"image_from_crystal": TURN, "half_extent_nm": np.array([40.0, 40.0, 7.0]), "margin_nm": 1.0,
            "faces": lambda x, y: (np.full_like(x, 7.0), np.full_like(x, -7.0))}  # fmt: skip
    assert len(cut(lines, net, origin_nm=np.zeros(3), **view)) == 1  # 25 of them if it did
    assert cut(lines, net, origin_nm=TURN.T @ [0.0, 0.0, 20.0], **view) == []


# Analyses by OVITO 3.17 of ideal right-handed screws u = b theta / 2 pi: structure, material, lines of the file.
OVITO_SCREWS = [
    ("bcc", "fe_alpha", [[2.0269215104, 0, -2.0269215104], [1.1702437376, 2.3404874752, 1.1702437376], [1.654491648, -1.6561193472, 1.654597888]],
     (-0.5, 0.5, -0.5), [(1.3181904762, -0.0382097107, -6.503506945), (1.3468360547, -0.0051326499, -1.7519658779),
                         (1.3468360572, -0.0051326458, 2.8427660841), (1.3181904762, -0.0382097107, 8.3912639746)], 14.8947709197),
    # The orientation matrix is left-handed: the frame was matched through a mirror of the crystal.
    ("hcp", "mg", [[0, -4.5387768832, 0], [0, 0, 4.512598528], [4.5387768832, -1.8450158592e-04, -1.6330517504e-04]],
     (-0.7071067648, 0, 0), [(0.5268982258, 0.510785718, -9.72444235), (0.6054588769, 0.4445092718, -3.5916614852),
                             (0.6054588712, 0.4445092805, 2.3485437771), (0.5268982041, 0.5107857341, 9.531957645)], 19.2564),
    ("hcp", "mg", [[2.2693884416, 3.9306962944, 0], [-3.9306962944, 2.2693884416, 0], [0.0052632464, 1.521822464e-06, -4.512598528]],
     (-5.9604644864e-08, 0, 1.1547005184), [(0.3949117582, 0.1090490923, 8.5815886604), (0.3912007245, 0.29759467, 13.7925545858),
                                            (0.2829126203, 0.1606922556, 20.654327723), (0.3949117486, 0.1090490907, 29.4243886837)], 20.8428),
]  # fmt: skip


@pytest.mark.parametrize(("structure", "material", "matrix", "burgers", "points", "period"), OVITO_SCREWS)
def test_right_handed_screw_analysed_by_ovito_has_b_along_its_line(tmp_path, structure, material, matrix, burgers, points, period):
    text = ca_text([(burgers, 1, points)], LOOP_RING, structure=structure, clusters=[(np.array(matrix), 3000)], pbc="0 0 1",
                   cell=np.array([[90.0], [90.0], [period]]), corner=-45.0)  # fmt: skip
    net = read_ca(write(tmp_path, text))
    crystal = Crystal.from_material(material)
    (line,) = lattice_chains(net, crystal)
    burgers_nm, along_nm = crystal.direction_nm(line.burgers_uvw), line.points_nm[-1] - line.points_nm[0]
    # conventions.md, 6: u = b theta / 2 pi belongs to b along the line sense
    assert burgers_nm @ along_nm == pytest.approx(np.linalg.norm(burgers_nm) * np.linalg.norm(along_nm), rel=1e-3)


# Orientations of the two halves of a twin in Al, and the transition between them, as OVITO 3.17 wrote them.
TWIN = [np.array([[2.8637824, 0, -2.8637824], [1.6534055424, 3.3068110848, 1.6534055424], [2.3382685184, -2.3382685184, 2.3382685184]]),
        np.array([[2.8637824, 0, 2.8637824], [1.6534055424, 3.3068110848, -1.6534055424], [-2.3382685184, 2.3382685184, 2.3382685184]])]  # fmt: skip
TWIN_TRANSITION = np.array([[0.3333333504, 0.6666667008, -0.6666666496], [0.6666667008, 0.3333333504, 0.6666667008],
                            [0.6666666496, -0.6666667008, -0.3333333504]])  # fmt: skip


@pytest.mark.parametrize("home", [0, 1])
def test_a_line_in_a_twin_is_taken_over_by_the_cluster_transition(tmp_path, home):
    clusters = [(matrix, 5000 if k == home else 100) for k, matrix in enumerate(TWIN)]
    wanted = np.array([0.5, -0.5, 0.0])
    # The same vector in space, written in the frame of the other half.
    local = np.linalg.solve(TWIN[1 - home], TWIN[home] @ wanted)
    lines = [(local, 2 - home, SQUARE)]
    net = read_ca(write(tmp_path, ca_text(lines, LOOP_RING, clusters=clusters, transitions=[(0, 1, TWIN_TRANSITION)])))
    assert net.burgers_nm[0] == pytest.approx(-0.405 * wanted, abs=1e-6)  # a = 4.05 Angstrom
    with pytest.raises(InputError, match=f"dislocation 0 must lie in the crystal of cluster {home + 1}.*analyse one grain"):
        read_ca(write(tmp_path, ca_text(lines, LOOP_RING, clusters=clusters)))


def test_partials_are_read_but_are_no_lattice_vectors(tmp_path):
    net = read_ca(write(tmp_path, ca_text([((0.1666666716, 0.1666666716, -0.3333333433), 1, SQUARE)], LOOP_RING)))
    assert np.linalg.norm(net.burgers_nm[0]) == pytest.approx(0.1 * A_AL / 6**0.5)
    with pytest.raises(InputError, match="must be a lattice vector of al"):
        lattice_chains(net, Crystal.from_material("al"))


def one_line(error):
    return "\n" not in str(error.value)


@pytest.mark.parametrize("lost", [1, 2, 4, 6, 10, 14, 17, 22, 27, 33, 45, 80])
def test_a_truncated_file_is_refused(tmp_path, lost):
    lines = junction_text().splitlines()
    with pytest.raises(InputError, match="network file .*(truncated|must hold|must be)") as error:
        read_ca(write(tmp_path, "\n".join(lines[: max(len(lines) - lost, 1)])))
    assert one_line(error)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("CA_FILE_VERSION 6", "CA_FILE_VERSION 3", r"CA_FILE_VERSION must be one of \[5, 6\], got 3; export the lines again"),
        ("CA_FILE_VERSION 6", "dataFileVersion = 4", "CA_FILE_VERSION must be one of .*, got nothing"),
        ("PBC_FLAGS 1 1 1", "PBC_FLAGS 1 1", "PBC_FLAGS must hold 3 numbers, got 1 1"),
        ("0.5 0.5 0\n", "0.5 x 0\n", "must hold a Burgers vector, got 0.5 x 0"),
        ("0.5 0.5 0\n", "0 0 0\n", "dislocation 0 must have a Burgers vector other than 0"),
        ("0.5 0.5 0\n1\n", "0.5 0.5 0\n7\n", r"dislocation 0 must lie in one of the clusters \[1\], got 7"),
        ("-20 3 0", "-20 nan 0", "must hold finite numbers"),
        ("0 50 0\n0 0 0", "0 50 0\n0 9 0", "dislocation 1 must end where the lines it is tied to do, got 9 Angstrom away"),
        ("-20 3 0", "-20 153 0", "dislocation 0 must have vertices less than half the periodic cell apart"),
        ("DISLOCATION_JUNCTIONS\n1 1", "DISLOCATION_JUNCTIONS\n1 9", "must be 0 or 1 and a dislocation below 3, got 1 9"),
        ("CLUSTER_STRUCTURE 1", "CLUSTER_STRUCTURE 8", "CLUSTER 1 must be of one of the structure types"),
    ],
)
def test_an_inconsistent_file_is_refused_in_one_line(tmp_path, old, new, message):
    text = junction_text()
    assert old in text
    with pytest.raises(InputError, match=message) as error:
        read_ca(write(tmp_path, text.replace(old, new, 1)))
    assert one_line(error)


def test_a_turned_box_cannot_be_written_as_paradis(tmp_path):
    with pytest.raises(InputError, match="network.cell_nm must lie along the crystal's axes"):
        write_paradis(read_ca(write(tmp_path, junction_text())), tmp_path / "x.data", 0.286)


@pytest.mark.parametrize(("changes", "message"), [
    ({"burgers_nm": 0.286}, "scene.burgers_nm must be left out for a .ca file"),
    ({"flip_burgers": "yes"}, "scene.flip_burgers must be true or false"),
])  # fmt: skip
def test_scene_of_a_ca_file_needs_no_unit(tmp_path, changes, message):
    from render.sample_config import NetworkScene

    path = write(tmp_path, junction_text())
    assert NetworkScene(file=str(path)).burgers_nm is None
    with pytest.raises(InputError, match=message):
        NetworkScene(file=str(path), **changes)


def test_a_view_of_a_ca_file_is_drawn(tmp_path):
    from render.sample import sample

    points = [(30, 40, -1500), (60, 40, -800), (60, 80, 0), (30, 40, 500)]
    path = write(tmp_path, ca_text([((0.0, 0.5, 0.5), 1, points)], LOOP_RING, cell=2000.0, corner=-1000.0))
    config = {"scene": {"kind": "network", "file": str(path), "shortest_px": 2}, "material": "al", "shape": (64, 64), "pixel_nm": 1.5,
              "foil": {"thickness_nm": 80.0}}  # fmt: skip
    scene = sample(config, seed=3)
    assert scene.crystal.material == "al" and len(scene.dislocations) >= 1
    assert {tuple(np.abs(line.burgers_uvw)) for line in scene.dislocations} == {(0.0, 0.5, 0.5)}
