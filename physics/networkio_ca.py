"""Crystal Analysis files (`.ca`) of OVITO's dislocation analysis (DXA).

The format (OVITO manual, "Dislocation analysis (DXA)", CA file format; versions 5 and 6): lengths in Angstrom; each line
has its Burgers vector in the local lattice frame of a crystallite cluster, whose orientation matrix takes that frame
to space and holds rotation, lattice constant and mean strain. Local vectors are Cartesian: cubic in units of a;
hexagonal with a || x, |a| = 1/sqrt(2) and c = 2/sqrt(3). Ends of lines are tied into nodes by circular lists.

The circuit sense is not in the file; older manuals do not give it, newer ones call it LH/SF. What counts was measured:
analysing an ideal right-handed screw, u = b theta / 2 pi, OVITO 3.17 writes b antiparallel to the order of the vertices,
in bcc, fcc and hcp alike, the opposite of FS/RH (conventions.md). So b is reversed here; files of programs that write
FS/RH are read with `flip_burgers=True`.

Axes: N nodes, A arms, D lines of the file, K vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physics.errors import InputError, require
from physics.network import Network

NM_PER_A = 0.1
KNOWN_VERSIONS = (5, 6)
PINNED = 7  # ParaDiS' constraint of a node that does not move; here an end at a surface or a grain boundary
# Local vectors are sums of float32 lattice vectors; what is this near to a multiple of 1/6 is meant to be one.
FRACTION, FRACTION_TOLERANCE = 6, 2e-3
NODE_TOLERANCE_A = 0.1
HEXAGONAL_CELL = np.array([[1.0, -0.5, 0.0], [0.0, 3**0.5 / 2, 0.0], [0.0, 0.0, (8 / 3) ** 0.5]]) / 2**0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cluster:
    """A crystallite: the name of its structure type, `spatial_from_local` (3, 3) in Angstrom, and its atoms."""

    structure: str
    spatial_from_local: np.ndarray
    atoms: int


class _Lines:
    """The lines of a file, read one after the other; says where it stands when something is wrong."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.at = 0

    def seek(self, key: str, until: str | None = None) -> list[str] | None:
        """Words after the next line that begins with `key`; None, without moving, where there is none before `until`."""
        for at in range(self.at, len(self.lines)):
            words = self.lines[at].split()
            if words and words[0] == key:
                self.at = at + 1
                return words[1:]
            if words and words[0] == until:
                return None
        return None

    def numbers(self, count: int, what: str, at_most: int | None = None) -> list[float]:
        """The numbers of the next line."""
        require(self.at < len(self.lines), f"line {self.at + 1}", f"hold {what}", "the end of the file", "the file is truncated")
        words = self.lines[self.at].split()
        self.at += 1
        return _numbers(words, count, f"line {self.at}", what, at_most)


def read_ca(path: str | Path, *, flip_burgers: bool = False) -> Network:
    """The dislocation network of a `.ca` file, in the Cartesian crystal frame of the cluster that has most atoms.

    b is turned from OVITO's sense to FS/RH, which `flip_burgers` undoes. Lines of other clusters are taken over where
    the file's cluster transitions lead to that one. The lengths of b are those of the file's own, mean strained
    lattice. No planes are declared. Ends that belong to no other line (surfaces, grain boundaries) are pinned nodes.

    Raises InputError, in one line, for a file that is missing, truncated, of another version, or inconsistent.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise InputError(f"network file {path} must be readable, got: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"network file {path} must be ASCII text, got binary data") from None
    try:
        return _network(_Lines(text), 1.0 if flip_burgers else -1.0)
    except InputError as error:
        raise InputError(f"network file {path}: {error}") from None


def _network(lines: _Lines, sign: float) -> Network:
    first = lines.lines[0].split() if lines.lines else []
    version = _numbers(first[1:], 1, "line 1", "CA_FILE_VERSION and its number")[0] if first[:1] == ["CA_FILE_VERSION"] else None
    require(version in KNOWN_VERSIONS, "CA_FILE_VERSION", f"be one of {list(KNOWN_VERSIONS)}",
            "nothing" if version is None else f"{version:g}", "export the lines again with OVITO 3")  # fmt: skip
    structures = _structures(lines)
    corner_A = np.array(_section(lines, "SIMULATION_CELL_ORIGIN", 3))
    _section(lines, "SIMULATION_CELL_MATRIX", 0)
    cell_A = np.array([lines.numbers(3, "a row of SIMULATION_CELL_MATRIX") for _ in range(3)])
    periodic = tuple(bool(flag) for flag in _section(lines, "PBC_FLAGS", 3))
    clusters, transitions = _clusters(lines, structures)
    burgers_local, cluster_of, vertices_A, ring = _dislocations(lines, clusters)

    home = max(clusters, key=lambda key: (clusters[key].atoms, -key))
    # OVITO's matching may mirror the frame of a crystal that has mirrors; z -> -z of the local frame undoes it.
    right_handed = np.diag([1.0, 1.0, np.sign(np.linalg.det(clusters[home].spatial_from_local))])
    rotation, stretch_A = _polar(clusters[home].spatial_from_local @ right_handed, home)
    cell = HEXAGONAL_CELL if clusters[home].structure in ("hcp", "hex_diamond") else np.eye(3)
    to_home = _paths_to(home, transitions)
    for d, key in enumerate(cluster_of):
        require(key in to_home, f"dislocation {d}", f"lie in the crystal of cluster {home}, or in one that transitions tie to it",
                f"cluster {key}", "analyse one grain at a time")  # fmt: skip
    burgers_nm = np.array([
        sign * NM_PER_A * stretch_A @ cell @ _whole(np.linalg.solve(cell, right_handed @ to_home[key] @ local))
        for local, key in zip(burgers_local, cluster_of)
    ]).reshape(-1, 3)  # fmt: skip
    box_A = np.stack([corner_A, corner_A + cell_A.sum(axis=1)])
    nodes_A, start, end, line_of = _nodes_and_arms(vertices_A, ring, cell_A, periodic)
    arm_count = np.bincount(np.concatenate([start, end]), minlength=len(nodes_A))
    return Network(
        nodes_nm=NM_PER_A * nodes_A @ rotation, constraint=np.where(arm_count == 1, PINNED, 0), start=start, end=end,
        burgers_nm=burgers_nm[line_of], plane_normal=np.zeros((len(start), 3)), box_nm=NM_PER_A * box_A @ rotation,
        cell_nm=NM_PER_A * rotation.T @ cell_A, periodic=periodic,
    )  # fmt: skip


def _section(lines: _Lines, key: str, count: int) -> list[float]:
    words = lines.seek(key)
    require(words is not None, key, "be in the file", "nothing", "the file is truncated, or no .ca file")
    return _numbers(words, count, key, f"{count} numbers")


def _structures(lines: _Lines) -> dict[int, str]:
    """Names of the structure types by their number."""
    count = int(_section(lines, "STRUCTURE_TYPES", 1)[0])
    names = {}
    for _ in range(count):
        number = int(_section(lines, "STRUCTURE_TYPE", 1)[0])
        words = lines.seek("NAME", until="END_STRUCTURE_TYPE")
        names[number] = " ".join(words or [])
    return names


def _clusters(lines: _Lines, structures: dict[int, str]) -> tuple[dict[int, _Cluster], list[tuple[int, int, np.ndarray]]]:
    """Clusters by number; transitions (from, to, matrix that takes local vectors of the first to the second)."""
    clusters = {}
    for _ in range(int(_section(lines, "CLUSTERS", 1)[0])):
        number = int(_section(lines, "CLUSTER", 1)[0])
        structure = int(_section(lines, "CLUSTER_STRUCTURE", 1)[0])
        require(structure in structures, f"CLUSTER {number}", f"be of one of the structure types {sorted(structures)}", structure)
        _section(lines, "CLUSTER_ORIENTATION", 0)
        matrix = np.array([lines.numbers(3, "a row of CLUSTER_ORIENTATION") for _ in range(3)])
        size = lines.seek("CLUSTER_SIZE", until="END_CLUSTER")
        atoms = int(_numbers(size, 1, "CLUSTER_SIZE", "a number of atoms")[0]) if size else 0
        clusters[number] = _Cluster(structure=structures[structure], spatial_from_local=matrix, atoms=atoms)
    require(bool(clusters), "CLUSTERS", "be at least 1", 0, "the file holds no crystal")
    transitions = []
    count = lines.seek("CLUSTER_TRANSITIONS", until="DISLOCATIONS")
    for _ in range(int(_numbers(count, 1, "CLUSTER_TRANSITIONS", "a count")[0]) if count else 0):
        # Here, and only here, clusters are counted from zero.
        one, other = (int(k) + 1 for k in _section(lines, "TRANSITION", 2))
        transitions.append((one, other, np.array(lines.numbers(9, "a transition matrix")).reshape(3, 3)))
    return clusters, transitions


def _dislocations(
    lines: _Lines, clusters: dict[int, _Cluster]
) -> tuple[list[np.ndarray], list[int], list[np.ndarray], list[tuple[int, int]]]:
    """Local b, cluster and vertices of each line, and for each end, numbered 2 d (last vertex) and 2 d + 1 (first), the
    end that follows it in its node's list."""
    count = int(_section(lines, "DISLOCATIONS", 1)[0])
    burgers, cluster_of, vertices = [], [], []
    for d in range(count):
        where = f"dislocation {d}"
        number = lines.numbers(1, "the number of a dislocation")[0]
        require(number == d, f"line {lines.at}", f"number dislocation {d}", f"{number:g}")
        burgers.append(np.array(lines.numbers(3, "a Burgers vector")))
        require(bool(burgers[-1].any()), where, "have a Burgers vector other than 0", burgers[-1].tolist())
        cluster_of.append(int(lines.numbers(1, "a cluster")[0]))
        require(cluster_of[-1] in clusters, where, f"lie in one of the clusters {sorted(clusters)}", cluster_of[-1])
        size = lines.numbers(1, "a number of vertices")[0]
        require(size >= 2 and size == int(size), where, "have at least 2 vertices", f"{size:g}")
        # A fourth number, the size of the core, may follow.
        vertices.append(np.array([lines.numbers(3, "a vertex", at_most=4)[:3] for _ in range(int(size))]))
    _section(lines, "DISLOCATION_JUNCTIONS", 0)
    ring = []
    for end in range(2 * count):
        at_end, other = lines.numbers(2, "the end that an end is tied to")
        require(at_end in (0, 1) and other == int(other) and 0 <= other < count, f"line {lines.at}",
                f"be 0 or 1 and a dislocation below {count}", f"{at_end:g} {other:g}")  # fmt: skip
        ring.append((end, 2 * int(other) + (0 if at_end else 1)))
    return burgers, cluster_of, vertices, ring


def _nodes_and_arms(
    vertices_A: list[np.ndarray], ring: list[tuple[int, int]], cell_A: np.ndarray, periodic: tuple[bool, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Nodes (N, 3), start and end (A,) of the arms along the order of the vertices, and the line (A,) of each."""
    node_of = list(range(2 * len(vertices_A)))  # of each end; those of one ring are joined below
    for end, following in ring:
        one, other = node_of[end], node_of[following]
        node_of = [one if node == other else node for node in node_of] if one != other else node_of
    position: dict[int, np.ndarray] = {}
    for end, node in enumerate(node_of):
        at_A = vertices_A[end // 2][-1 if end % 2 == 0 else 0]
        off_A = at_A - position.setdefault(node, at_A)
        steps = np.where(periodic, np.round(np.linalg.solve(cell_A, off_A)), 0.0)
        apart_A = float(np.linalg.norm(off_A - cell_A @ steps))
        require(apart_A <= NODE_TOLERANCE_A, f"dislocation {end // 2}", "end where the lines it is tied to do",
                f"{apart_A:.3g} Angstrom away")  # fmt: skip
    number = {node: k for k, node in enumerate(position)}
    nodes, start, end, line_of = list(position.values()), [], [], []
    for d, points in enumerate(vertices_A):
        first, last = number[node_of[2 * d + 1]], number[node_of[2 * d]]
        inner = list(range(len(nodes), len(nodes) + len(points) - 2))
        nodes += list(points[1:-1])
        path = [first, *inner, last]
        start, end, line_of = start + path[:-1], end + path[1:], line_of + [d] * (len(path) - 1)
        steps = np.abs(np.linalg.solve(cell_A, np.diff(points, axis=0).T))[np.array(periodic)]
        require(not steps.size or steps.max() < 0.5, f"dislocation {d}", "have vertices less than half the periodic cell apart",
                f"{steps.max(initial=0):.2f} of it")  # fmt: skip
    return (np.array(nodes).reshape(-1, 3), np.array(start, dtype=np.int64), np.array(end, dtype=np.int64),
            np.array(line_of, dtype=np.int64))  # fmt: skip


def _polar(matrix: np.ndarray, cluster: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (spatial from crystal) and symmetric stretch of an orientation matrix = rotation @ stretch."""
    left, lengths, right = np.linalg.svd(matrix)
    require(np.linalg.det(matrix) > 0 and lengths[-1] > 0.5 * lengths[0], f"CLUSTER_ORIENTATION of cluster {cluster}",
            "be a rotation times a lattice constant", matrix.tolist())  # fmt: skip
    return left @ right, right.T @ np.diag(lengths) @ right


def _paths_to(home: int, transitions: list[tuple[int, int, np.ndarray]]) -> dict[int, np.ndarray]:
    """For every cluster that transitions tie to `home` the matrix (3, 3) that takes its local vectors there."""
    steps = [(one, other, matrix) for one, other, matrix in transitions]
    steps += [(other, one, np.linalg.inv(matrix)) for one, other, matrix in transitions if abs(np.linalg.det(matrix)) > 1e-6]
    to_home, frontier = {home: np.eye(3)}, [home]
    while frontier:
        reached = frontier.pop(0)
        for one, other, matrix in steps:
            if other == reached and one not in to_home:
                to_home[one] = to_home[reached] @ matrix
                frontier.append(one)
    return to_home


def _whole(uvw: np.ndarray) -> np.ndarray:
    """Components near a multiple of 1/6 brought onto it, so that nodes balance to the last digit."""
    nearest = np.round(uvw * FRACTION) / FRACTION
    return np.where(np.abs(uvw - nearest) < FRACTION_TOLERANCE, nearest, uvw)


def _numbers(words: list[str], count: int, where: str, what: str, at_most: int | None = None) -> list[float]:
    require(count <= len(words) <= (at_most or count), where, f"hold {what}", " ".join(words) or "nothing")
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise InputError(f"{where} must hold {what}, got {' '.join(words)}") from None
    require(bool(np.isfinite(values).all()), where, "hold finite numbers", " ".join(words))
    return values
