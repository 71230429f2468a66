"""ParaDiS and ExaDiS nodal data files (`.data`).

Conventions of the format: the Burgers vector b on the arm that node k lists toward node j belongs to the line
sense x_j - x_k (ParaDiS and ExaDiS compute the Peach-Koehler force on it so), and node j lists the same segment with
-b. Positions and b are in units of one length, `burgMag`, that the file does not hold; b is in the crystal frame.

Axes: N nodes, A arms (segments, each once).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from physics.errors import InputError, require
from physics.network import Network

_TAG_LINE = re.compile(r"^\s*\d+\s*,\s*\d+\s")
_HEADER_KEY = re.compile(r"^\s*([A-Za-z]\w*)\s*=\s*(.*)$")
KNOWN_VERSIONS = (4, 5)
BALANCE_TOLERANCE = 1e-6


def read_paradis(path: str | Path, burgers_nm: float) -> Network:
    """The network of a ParaDiS or ExaDiS `.data` file, versions 4 and 5, whose unit of length is `burgers_nm`.

    Raises InputError, in one line, for a file that is missing, truncated, of another version, or inconsistent:
    a node count that is not the header's, an arm toward a node that is not there, a segment whose two ends
    disagree about b.
    """
    require(burgers_nm > 0, "burgers_nm", "be > 0", burgers_nm)
    path = Path(path)
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise InputError(f"network file {path} must be readable, got: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"network file {path} must be ASCII text, got binary data") from None
    try:
        return _network(lines, burgers_nm)
    except InputError as error:
        raise InputError(f"network file {path}: {error}") from None


def write_paradis(network: Network, path: str | Path, burgers_nm: float) -> None:
    """Write a network as a version 5 `.data` file, one domain; `read_paradis` gives it back."""
    require(burgers_nm > 0, "burgers_nm", "be > 0", burgers_nm)
    require(bool(np.array_equal(network.cell_nm, np.diag(np.diag(network.cell_nm)))), "network.cell_nm", "lie along the crystal's axes",
            network.cell_nm.tolist(), "the .data format knows no other box")  # fmt: skip
    arms_of: list[list[tuple[int, np.ndarray, np.ndarray]]] = [[] for _ in range(len(network.nodes_nm))]
    for k in range(len(network.start)):
        a, b = int(network.start[k]), int(network.end[k])
        arms_of[a].append((b, network.burgers_nm[k], network.plane_normal[k]))
        arms_of[b].append((a, -network.burgers_nm[k], network.plane_normal[k]))
    low, high = network.box_nm / burgers_nm
    text = ["dataFileVersion =   5", "numFileSegments =   1"]
    text += ["minCoordinates = [", *(f"  {x:.17g}" for x in low), "  ]"]
    text += ["maxCoordinates = [", *(f"  {x:.17g}" for x in high), "  ]"]
    text += [f"nodeCount =   {len(network.nodes_nm)}", "dataDecompType =   2", "dataDecompGeometry = [", "  1", "  1", "  1", "  ]"]
    bounds = " ".join(f"{x:.4f}" for x in (*low, *high))
    text += ["domainDecomposition = ", f"  0  {bounds}", "nodalData = "]
    text += ["#  Primary lines: node_tag, x, y, z, num_arms, constraint"]
    text += ["#  Secondary lines: arm_tag, burgx, burgy, burgz, nx, ny, nz"]
    for i, (position, arms) in enumerate(zip(network.nodes_nm / burgers_nm, arms_of)):
        text.append(f" 0,{i} {_numbers(position)} {len(arms)} {int(network.constraint[i])}")
        for other, burgers, normal in arms:
            text += [f"   0,{other} {_numbers(burgers / burgers_nm)}", f"       {_numbers(normal)}"]
    Path(path).write_text("\n".join(text) + "\n", encoding="ascii")


def _network(lines: list[str], burgers_nm: float) -> Network:
    first = next((i for i, line in enumerate(lines) if _TAG_LINE.match(line)), len(lines))
    header = _header(lines[:first])
    version = header.get("dataFileVersion", [None])[0]
    require(version in KNOWN_VERSIONS, "dataFileVersion", f"be one of {list(KNOWN_VERSIONS)}",
            "nothing" if version is None else f"{version:g}", "convert older files with ParaDiS' paradisconvert")  # fmt: skip
    for key, size in (("minCoordinates", 3), ("maxCoordinates", 3), ("nodeCount", 1)):
        require(len(header.get(key, [])) == size, key, f"have {size} number{'s' if size > 1 else ''}", header.get(key, "nothing"))
    box_nm = np.array([header["minCoordinates"], header["maxCoordinates"]]) * burgers_nm
    require(header.get("numFileSegments", [1])[0] == 1, "numFileSegments", "be 1", header.get("numFileSegments"))
    tags, positions, constraints, arms = _nodes(lines, first)
    wanted = int(header["nodeCount"][0])
    require(len(tags) == wanted, "nodeCount", f"be the number of nodes that follow ({len(tags)})", wanted, "the file is truncated")
    start, end, burgers, normal = _segments(tags, arms)
    return Network(
        nodes_nm=np.array(positions).reshape(-1, 3) * burgers_nm, constraint=np.array(constraints, dtype=np.int64),
        start=start, end=end, burgers_nm=burgers * burgers_nm, plane_normal=normal, box_nm=box_nm,
    )  # fmt: skip


def _header(lines: list[str]) -> dict[str, list[float]]:
    """Numbers after each `key = value` or `key = [ ... ]`."""
    header: dict[str, list[float]] = {}
    key = None
    for line in lines:
        line = line.split("#", 1)[0]
        named = _HEADER_KEY.match(line)
        if named:
            key, line = named.group(1), named.group(2)
            header[key] = []
        for token in line.replace("[", " ").replace("]", " ").split():
            if key is not None:
                header[key].append(_number(token, key))
    return header


def _nodes(
    lines: list[str], first: int
) -> tuple[list[tuple[int, int]], list[list[float]], list[int], list[list[tuple[tuple[int, int], list[float]]]]]:
    """Tags, positions, constraints and listed arms of the nodes, in the order of the file."""
    tokens: list[tuple[str, int]] = []
    for i in range(first, len(lines)):
        tokens += [(token, i + 1) for token in lines[i].split("#", 1)[0].replace(",", " ").split()]
    tags, positions, constraints, arms = [], [], [], []
    at = 0

    def take(count: int) -> list[float]:
        nonlocal at
        line = tokens[at][1] if at < len(tokens) else len(lines)
        require(at + count <= len(tokens), f"line {line}", "hold a whole node or arm", "the end of the file", "the file is truncated")
        values = [_number(token, f"line {number}") for token, number in tokens[at : at + count]]
        at += count
        return values

    while at < len(tokens):
        line = tokens[at][1]
        domain, index, x, y, z, arm_count, constraint = take(7)
        require(0 <= arm_count <= 1000 and arm_count == int(arm_count), f"line {line}", "state the number of arms", f"{arm_count:g}")
        tags.append((int(domain), int(index)))
        positions.append([x, y, z])
        constraints.append(int(constraint))
        listed = []
        for _ in range(int(arm_count)):
            values = take(8)
            listed.append(((int(values[0]), int(values[1])), values[2:]))
        arms.append(listed)
    require(len(set(tags)) == len(tags), "node tags", "be different", f"{len(tags) - len(set(tags))} repeated")
    return tags, positions, constraints, arms


def _segments(
    tags: list[tuple[int, int]], arms: list[list[tuple[tuple[int, int], list[float]]]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Each segment once, from the node that comes first in the file; both listings must agree about b."""
    number = {tag: i for i, tag in enumerate(tags)}
    waiting: dict[tuple[int, int], list[list[float]]] = {}
    start, end, burgers, normals = [], [], [], []
    for i, listed in enumerate(arms):
        for tag, values in listed:
            name = f"node {tags[i][0]},{tags[i][1]}"
            require(tag in number, name, "have arms toward nodes of the file", f"{tag[0]},{tag[1]}")
            j = number[tag]
            require(i != j, name, "have no arm toward itself", f"{tag[0]},{tag[1]}")
            partners = waiting.get((j, i), [])
            for partner in partners:
                if max(abs(a + b) for a, b in zip(partner[:3], values[:3])) < BALANCE_TOLERANCE * 10:
                    start.append(j), end.append(i)
                    burgers.append(partner[:3]), normals.append(partner[3:])
                    partners.remove(partner)
                    break
            else:
                waiting.setdefault((i, j), []).append(values)
    left = next(((i, j) for (i, j), values in waiting.items() if values), None)
    if left is not None:
        a, b = (f"{tags[k][0]},{tags[k][1]}" for k in left)
        raise InputError(f"segment {a} - {b} must be listed by both nodes with opposite Burgers vectors, got no such pair")
    shape = (len(start), 3)
    return (np.array(start, dtype=np.int64), np.array(end, dtype=np.int64), np.array(burgers).reshape(shape),
            np.array(normals).reshape(shape))  # fmt: skip


def _number(token: str, where: str) -> float:
    try:
        value = float(token)
    except ValueError:
        raise InputError(f"{where} must hold a number, got {token!r}") from None
    require(np.isfinite(value), where, "hold a finite number", token)
    return value


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{x + 0.0:.17g}" for x in values)
