"""ParaDiS `.data` files: hand-written ones, both ways, and broken ones."""

from __future__ import annotations

import numpy as np
import pytest

from physics.errors import InputError
from physics.networkio import read_paradis, write_paradis

HEADER = """\
# a hand-written network: a triangle with one junction arm
dataFileVersion =   {version}
numFileSegments =   1
minCoordinates = [
  -1.0e+03
  -1.0e+03
  -1.0e+03
  ]
maxCoordinates = [
  1.0e+03
  1.0e+03
  1.0e+03
  ]
nodeCount =   4
dataDecompType =   2
dataDecompGeometry = [
  1
  1
  1
  ]

#
#  END OF DATA FILE PARAMETERS
#

domainDecomposition =
# Dom_ID  Minimum XYZ bounds   Maximum XYZ bounds
  0  -1000.0 -1000.0 -1000.0   1000.0  1000.0  1000.0
nodalData =
#  Primary lines: node_tag, x, y, z, num_arms, constraint
#  Secondary lines: arm_tag, burgx, burgy, burgz, nx, ny, nz
"""
NODES = """\
 0,0 0.0 0.0 0.0 3 0
   0,1 0.5 0.5 0.0
       0.0 0.0 1.0
   0,2 -0.5 0.0 0.5
       0.0 1.0 0.0
   0,7 0.0 -0.5 -0.5
       1.0 0.0 0.0
 0,1 100.0 0.0 0.0 1 7
   0,0 -0.5 -0.5 0.0
       0.0 0.0 1.0
 0,2 -50.0 80.0 0.0 1 7
   0,0 0.5 0.0 -0.5
       0.0 1.0 0.0
 0,7 -50.0 -80.0 12.5 1 7
   0,0 0.0 0.5 0.5
       1.0 0.0 0.0
"""


def write(tmp_path, text):
    path = tmp_path / "network.data"
    path.write_text(text)
    return path


def one_line(error):
    return "\n" not in str(error.value)


@pytest.mark.parametrize("version", [4, 5])
def test_lengths_are_in_units_of_burgmag_and_b_belongs_to_the_sense_toward_the_listed_node(tmp_path, version):
    net = read_paradis(write(tmp_path, HEADER.format(version=version) + NODES), 0.25)
    assert net.nodes_nm[3] == pytest.approx([-12.5, -20.0, 3.125])  # 0.25 * (-50, -80, 12.5)
    assert (net.box_nm == [[-250] * 3, [250] * 3]).all()  # 0.25 * 1000
    k = next(k for k in range(3) if {int(net.start[k]), int(net.end[k])} == {0, 1})
    sense = 1 if net.start[k] == 0 else -1
    assert sense * net.burgers_nm[k] == pytest.approx([0.125, 0.125, 0])  # node 0 lists +b toward node 1
    assert list(net.junctions) == [0]


def test_writing_and_reading_gives_the_same_network(tmp_path):
    net = read_paradis(write(tmp_path, HEADER.format(version=4) + NODES), 0.2856867)
    write_paradis(net, tmp_path / "again.data", 0.2856867)
    again = read_paradis(tmp_path / "again.data", 0.2856867)
    for name in ("nodes_nm", "burgers_nm", "plane_normal", "box_nm"):
        assert getattr(again, name) == pytest.approx(getattr(net, name), abs=1e-12)
    for name in ("start", "end", "constraint"):
        assert np.array_equal(getattr(again, name), getattr(net, name))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="none.data must be readable, got: No such file") as error:
        read_paradis(tmp_path / "none.data", 0.25)
    assert one_line(error)


@pytest.mark.parametrize("lost", [1, 5, 60, 200, 500, 900])
def test_a_truncated_file_is_refused(tmp_path, lost):
    text = (HEADER.format(version=5) + NODES).rstrip()
    with pytest.raises(InputError, match="network file") as error:
        # Cutting one character of the last number of all leaves a number; that file is whole to any reader.
        read_paradis(write(tmp_path, text[: -lost - 3]), 0.25)
    assert one_line(error)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nodeCount =   4", "nodeCount =   5", "nodeCount must be the number of nodes"),
        ("dataFileVersion =   5", "dataFileVersion =   2", "dataFileVersion must be one of"),
        ("   0,1 0.5 0.5 0.0", "   0,9 0.5 0.5 0.0", "must have arms toward nodes of the file, got 0,9"),
        ("   0,0 -0.5 -0.5 0.0", "   0,0 -0.5 0.5 0.0", "listed by both nodes with opposite Burgers vectors"),
        ("100.0 0.0 0.0 1 7", "100.0 0.0 abc 1 7", "must hold a number, got 'abc'"),
        ("100.0 0.0 0.0 1 7", "100.0 0.0 nan 1 7", "must hold a finite number"),
        ("100.0 0.0 0.0 1 7", "100.0 0.0 0.0 1 0", "must have sum b = 0"),
        (" 0,2 -50.0", " 0,1 -50.0", "node tags must be different"),
    ],
)
def test_an_inconsistent_file_is_refused_in_one_line(tmp_path, old, new, message):
    text = HEADER.format(version=5) + NODES
    assert old in text
    with pytest.raises(InputError, match=message) as error:
        read_paradis(write(tmp_path, text.replace(old, new, 1)), 0.25)
    assert one_line(error)


def test_binary_data_and_a_bad_unit_are_refused(tmp_path):
    path = tmp_path / "binary.data"
    path.write_bytes(b"\x89PNG\xff\x00")
    with pytest.raises(InputError, match="must be ASCII text"):
        read_paradis(path, 0.25)
    with pytest.raises(InputError, match="burgers_nm must be > 0"):
        read_paradis(path, -0.25)
