"""Dislocation networks: nodes joined by arms, their balance, their chains, and the part that a foil shows.

A *physical node* has three or more arms, or one (a pinned end). A chain is the maximal run of arms of one +-b
between physical nodes, or a closed loop. Frame: the crystal's Cartesian axes, in a periodic box.

Axes: N nodes, A arms (each once), K vertices.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.errors import InputError, require
from physics.frozen import frozen_array
from physics.sources import SHORTEST_SEGMENT_NM, Faces, between_faces

BALANCE_TOLERANCE = 1e-6  # of the longest b
BURGERS_TOLERANCE = 0.03  # b of a file against the lattice vector it stands for: a0 and burgMag are seldom the same
LARGEST_PLANE_INDEX = 4
PLANE_TOLERANCE_DEG = 1.0
JOIN_TOLERANCE_NM = 1e-6
VIEW_STATIONS = 33  # a side, where a view is searched for a part of the box shown twice


class FieldTooWide(InputError):
    """A view would show a part of a periodic network twice."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Nodes `nodes_nm` (N, 3) with `constraint` (N,) (0: free) and arms from node `start` (A,) to `end` (A,).

    `burgers_nm` (A, 3) belongs to the line sense start -> end; `plane_normal` (A, 3) is the declared glide plane's
    normal or zero. The box `box_nm` (2, 3), low and high corner, is periodic.

    Raises InputError for arms toward nodes that are not there, a zero b, or a free node out of balance.
    """

    nodes_nm: np.ndarray
    constraint: np.ndarray
    start: np.ndarray
    end: np.ndarray
    burgers_nm: np.ndarray
    plane_normal: np.ndarray
    box_nm: np.ndarray

    def __post_init__(self) -> None:
        for name, shape in (("nodes_nm", (None, 3)), ("burgers_nm", (None, 3)), ("plane_normal", (None, 3)), ("box_nm", (2, 3))):
            object.__setattr__(self, name, frozen_array(getattr(self, name), shape, name))
        for name in ("constraint", "start", "end"):
            array = np.array(getattr(self, name), dtype=np.int64)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        require(bool((self.box_nm[1] > self.box_nm[0]).all()), "box_nm", "have high > low", self.box_nm.tolist())
        same = len(self.start) == len(self.end) == len(self.burgers_nm) == len(self.plane_normal)
        require(same, "start", "have as many entries as end, burgers_nm and plane_normal", len(self.start))
        require(len(self.constraint) == len(self.nodes_nm), "constraint", f"have {len(self.nodes_nm)} entries", len(self.constraint))
        ends = np.concatenate([self.start, self.end])
        require(not len(ends) or (0 <= ends.min() and ends.max() < len(self.nodes_nm)), "start, end", "name nodes of the network",
                [int(ends.min()), int(ends.max())] if len(ends) else [])  # fmt: skip
        require(bool((np.abs(self.burgers_nm).max(axis=1) > 0).all()), "burgers_nm", "not be zero", "an arm with b = 0")
        out_of_balance = self.imbalance_nm
        worst = int(np.argmax(out_of_balance)) if len(out_of_balance) else 0
        require(not len(out_of_balance) or out_of_balance[worst] <= BALANCE_TOLERANCE * max(np.abs(self.burgers_nm).max(initial=0), 1e-12),
                f"node {worst}", "have sum b = 0 over its arms", f"|sum b| = {out_of_balance.max(initial=0):.3g} nm")  # fmt: skip

    @property
    def period_nm(self) -> np.ndarray:
        return self.box_nm[1] - self.box_nm[0]

    @cached_property
    def arm_counts(self) -> np.ndarray:
        """Number of arms (N,) of each node."""
        return np.bincount(self.start, minlength=len(self.nodes_nm)) + np.bincount(self.end, minlength=len(self.nodes_nm))

    @cached_property
    def imbalance_nm(self) -> np.ndarray:
        """|sum of b over the arms leaving it| (N,) of each free node; 0 for constrained ones (pinned ends)."""
        total = np.zeros_like(self.nodes_nm)
        np.add.at(total, self.start, self.burgers_nm)
        np.add.at(total, self.end, -self.burgers_nm)
        return np.where(self.constraint == 0, np.linalg.norm(total, axis=1), 0.0)

    @property
    def junctions(self) -> np.ndarray:
        """Indices of the nodes with three or more arms."""
        return np.flatnonzero(self.arm_counts >= 3)

    def nearest_image(self, offset_nm: np.ndarray) -> np.ndarray:
        """Difference vectors (..., 3) brought to their shortest periodic image along each axis."""
        return offset_nm - self.period_nm * np.round(offset_nm / self.period_nm)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """A run of arms of one b: `points_nm` (K, 3) unwrapped from the box, `burgers_nm` (3,) along it.

    `plane_normal` (K - 1, 3) as declared for each arm. `end_nodes`: the nodes at both ends, the same one twice
    for a loop. A closed loop repeats its first vertex, unless it closes only through the periodic box.
    """

    points_nm: np.ndarray
    burgers_nm: np.ndarray
    plane_normal: np.ndarray
    end_nodes: tuple[int, int]


def chains(network: Network) -> list[Chain]:
    """All chains of a network; every arm belongs to exactly one.

    Raises InputError where b changes along a chain: at a node of two arms that is not balanced.
    """
    arms_at: list[list[tuple[int, int]]] = [[] for _ in range(len(network.nodes_nm))]
    for arm, (a, b) in enumerate(zip(network.start.tolist(), network.end.tolist())):
        arms_at[a].append((arm, 1))
        arms_at[b].append((arm, -1))
    used = np.zeros(len(network.start), dtype=bool)
    found: list[Chain] = []
    ends = [n for n in range(len(arms_at)) if len(arms_at[n]) not in (0, 2)]
    # Loops last: whatever is left after all chains between physical nodes have been walked.
    for node in itertools.chain(ends, range(len(arms_at))):
        for arm, sense in arms_at[node]:
            if not used[arm]:
                found.append(_walk(network, arms_at, used, node, arm, sense))
    return found


def _walk(
    network: Network, arms_at: list[list[tuple[int, int]]], used: np.ndarray, node: int, arm: int, sense: int
) -> Chain:
    burgers_nm = sense * network.burgers_nm[arm]
    points, normals, at = [network.nodes_nm[node]], [], node
    while True:
        used[arm] = True
        at = int(network.end[arm] if sense == 1 else network.start[arm])
        points.append(points[-1] + network.nearest_image(network.nodes_nm[at] - points[-1]))
        normals.append(network.plane_normal[arm])
        if at == node or len(arms_at[at]) != 2:
            break
        onward = [(a, s) for a, s in arms_at[at] if not used[a]]
        if not onward:
            break
        arm, sense = onward[0]
        change_nm = np.abs(sense * network.burgers_nm[arm] - burgers_nm).max()
        require(change_nm <= BALANCE_TOLERANCE * np.abs(burgers_nm).max() * 10, f"node {at}", "keep b along its chain",
                f"a change of {change_nm:.3g} nm")  # fmt: skip
    points_nm = np.array(points)
    if at == node and np.abs(points_nm[-1] - points_nm[0]).max() < 1e-6 * network.period_nm.min():
        points_nm[-1] = points_nm[0]
    return Chain(points_nm=points_nm, burgers_nm=burgers_nm, plane_normal=np.array(normals), end_nodes=(node, at))


@dataclass(frozen=True, kw_only=True, eq=False)
class LatticeChain:
    """A chain in crystal coordinates: b as a lattice vector and the lattice plane that holds its longest part.

    `through_box`: it closes only through the periodic box, so that its images join end to end.
    """

    points_nm: np.ndarray
    burgers_uvw: np.ndarray
    plane_hkl: tuple[int, int, int]
    is_junction: bool
    through_box: bool


def lattice_chains(network: Network, crystal: Crystal) -> list[LatticeChain]:
    """The chains of a network with b snapped to lattice vectors of `crystal` and planes to low indices.

    Raises InputError when a b is no lattice vector within BURGERS_TOLERANCE. A junction arm runs between two nodes
    of three or more arms and has a b longer than the shortest of the network.
    """
    snapped: dict[tuple[float, ...], np.ndarray] = {}
    planes: dict[tuple[float, ...], tuple[int, int, int]] = {}
    result = []
    found = chains(network)
    shortest_nm = min((float(np.linalg.norm(chain.burgers_nm)) for chain in found), default=0.0)
    for chain in found:
        key = tuple(np.round(chain.burgers_nm, 7))
        if key not in snapped:
            snapped[key] = snap_burgers(chain.burgers_nm, crystal)
        result.append(LatticeChain(
            points_nm=chain.points_nm, burgers_uvw=snapped[key], plane_hkl=_plane_of_longest_part(chain, crystal, planes),
            is_junction=float(np.linalg.norm(chain.burgers_nm)) > 1.05 * shortest_nm
            and min(network.arm_counts[list(chain.end_nodes)]) >= 3,
            through_box=chain.end_nodes[0] == chain.end_nodes[1] and network.arm_counts[chain.end_nodes[0]] == 2
            and not np.array_equal(chain.points_nm[0], chain.points_nm[-1]),
        ))  # fmt: skip
    return result


def snap_burgers(burgers_nm: np.ndarray, crystal: Crystal) -> np.ndarray:
    """The lattice vector (3,) nearest to `burgers_nm`, in lattice vectors.

    Raises InputError when none lies within BURGERS_TOLERANCE of its length.
    """
    uvw = np.linalg.solve(crystal.lattice_nm, burgers_nm)
    # Halves cover every centred cell; a primitive or hexagonal cell refuses them by `is_lattice_vector`.
    steps = np.array(list(itertools.product((-0.5, 0.0, 0.5), repeat=3)))
    candidates = np.unique(np.round(2 * uvw) / 2 + steps, axis=0)
    distance_nm = np.linalg.norm((candidates - uvw) @ crystal.lattice_nm.T, axis=1)
    for k in np.argsort(distance_nm, kind="stable"):
        if distance_nm[k] > BURGERS_TOLERANCE * np.linalg.norm(burgers_nm):
            break
        if candidates[k].any() and crystal.is_lattice_vector(candidates[k]):
            return candidates[k] + 0.0
    shown = ", ".join(f"{u:.3f}" for u in uvw)
    raise InputError(f"a Burgers vector of the network must be a lattice vector of {crystal.material} within "
                     f"{BURGERS_TOLERANCE:.0%}, got [{shown}]; check material and burgers_nm")  # fmt: skip


def cut(
    lines: list[LatticeChain],
    network: Network,
    *,
    origin_nm: np.ndarray,
    image_from_crystal: np.ndarray,
    half_extent_nm: np.ndarray,
    faces: Faces,
    margin_nm: float,
) -> list[Dislocation]:
    """The lines of a network that a foil shows, in the image frame with `origin_nm` (3,) of the box at its centre.

    Of the periodic images of each line those that come into the view are taken: within `half_extent_nm` (3,) (x, y, and
    z for the thickest foil), kept `margin_nm` beyond the field, and cut at the faces. Every piece is a chain of
    one b. Raises FieldTooWide when the view is so wide that it would show a part of the box twice.
    """
    check_view(network, image_from_crystal, half_extent_nm, faces)
    window_nm = np.array([half_extent_nm[0] + margin_nm, half_extent_nm[1] + margin_nm, half_extent_nm[2]])
    period_image = image_from_crystal * network.period_nm  # columns: the box edges in the image frame
    shown: list[Dislocation] = []
    for line in lines:
        points_image = (line.points_nm - origin_nm) @ image_from_crystal.T
        parts: list[np.ndarray] = []
        for shift in _shifts(points_image, period_image, window_nm):
            for piece in _in_window(points_image + shift, window_nm[:2]):
                parts += between_faces(piece, faces)
        shown += [_dislocation(line, part) for part in (_joined(parts) if line.through_box else parts)]
    return shown


def _joined(parts: list[np.ndarray]) -> list[np.ndarray]:
    """Pieces of the images of one endless line, put together where one ends and the next begins."""
    parts = list(parts)
    while True:
        pair = next(((i, j) for i, j in itertools.permutations(range(len(parts)), 2)
                     if np.abs(parts[i][-1] - parts[j][0]).max() < JOIN_TOLERANCE_NM), None)  # fmt: skip
        if pair is None:
            return parts
        i, j = pair
        joined = np.concatenate([parts[i], parts[j][1:]])
        parts = [part for k, part in enumerate(parts) if k not in pair] + [joined]


def _dislocation(line: LatticeChain, points_nm: np.ndarray) -> Dislocation:
    closed = len(points_nm) > 2 and np.array_equal(points_nm[0], points_nm[-1])
    kind = "loop" if closed else "junction" if line.is_junction else "perfect"
    return Dislocation(burgers_uvw=line.burgers_uvw, points_nm=points_nm, plane_hkl=line.plane_hkl, kind=kind)


def check_view(network: Network, image_from_crystal: np.ndarray, half_extent_nm: np.ndarray, faces: Faces) -> None:
    """Raise FieldTooWide for a field wider than the box, or a foil that holds a point and its periodic image."""
    widest_nm, box_nm = 2 * float(max(half_extent_nm[:2])), float(network.period_nm.min())
    if widest_nm > box_nm:
        raise FieldTooWide(f"field must be no wider than the network's box ({box_nm:.1f} nm), got {widest_nm:.1f} nm; "
                           "reduce shape or pixel_nm")  # fmt: skip
    half_x_nm, half_y_nm = half_extent_nm[:2]
    x_nm, y_nm = (grid.ravel() for grid in np.meshgrid(*(np.linspace(-h, h, VIEW_STATIONS) for h in (half_x_nm, half_y_nm))))
    entrance_nm, exit_nm = faces(x_nm, y_nm)
    for steps in itertools.product((-2, -1, 0, 1, 2), repeat=3):
        away_nm = image_from_crystal @ (np.array(steps) * network.period_nm)
        inside = (np.abs(x_nm + away_nm[0]) <= half_x_nm) & (np.abs(y_nm + away_nm[1]) <= half_y_nm)
        if steps <= (0, 0, 0) or not inside.any():
            continue
        other_entrance_nm, other_exit_nm = faces(x_nm[inside] + away_nm[0], y_nm[inside] + away_nm[1])
        top_nm = np.minimum(entrance_nm[inside], other_entrance_nm - away_nm[2])
        if (top_nm > np.maximum(exit_nm[inside], other_exit_nm - away_nm[2])).any():
            raise FieldTooWide(
                f"field must not show a part of the network's box twice, got {widest_nm:.1f} nm across, repeated after {list(steps)} "
                "boxes; reduce shape, pixel_nm or foil.thickness_nm, or choose another zone axis"
            )


def _shifts(points_image: np.ndarray, period_image: np.ndarray, window_nm: np.ndarray) -> list[np.ndarray]:
    """Lattice translations of the box that bring the line's bounding box into the window."""
    low, high = points_image.min(axis=0), points_image.max(axis=0)
    # In units of box edges, the window's and the line's bounding spheres bound the translations that can matter.
    centre = np.linalg.solve(period_image, -(low + high) / 2)
    reach = np.linalg.norm((high - low) / 2 + window_nm) / np.linalg.norm(period_image, axis=0)
    ranges = [range(int(np.ceil(c - r)), int(np.floor(c + r)) + 1) for c, r in zip(centre, reach)]
    shifts = [period_image @ np.array(steps) for steps in itertools.product(*ranges)]
    near = [s for s in shifts if (low + s < window_nm).all() and (high + s > -window_nm).all()]
    segment_low = np.minimum(points_image[:-1], points_image[1:])
    segment_high = np.maximum(points_image[:-1], points_image[1:])
    return [s for s in near if ((segment_low + s < window_nm) & (segment_high + s > -window_nm)).all(axis=1).any()]


def _in_window(points_nm: np.ndarray, half_window_nm: np.ndarray) -> list[np.ndarray]:
    """Pieces of a polyline inside |x|, |y| < half window, cut at its border."""
    pieces = [points_nm]
    for axis, sign in itertools.product((0, 1), (1.0, -1.0)):
        pieces = [part for piece in pieces for part in _below(piece, sign * piece[:, axis] - half_window_nm[axis])]
    return pieces


def _below(points_nm: np.ndarray, height_nm: np.ndarray) -> list[np.ndarray]:
    """Pieces of a polyline where the height, linear along each segment, is <= 0."""
    inside = height_nm <= 0
    if inside.all():
        return [points_nm]
    closed = len(points_nm) > 2 and np.array_equal(points_nm[0], points_nm[-1])
    if closed and inside.any():
        # A loop that is cut starts outside, so that its first and last piece are not one line in two parts.
        first = int(np.argmin(inside))
        points_nm = np.concatenate([points_nm[first:-1], points_nm[: first + 1]])
        height_nm = np.concatenate([height_nm[first:-1], height_nm[: first + 1]])
        inside = height_nm <= 0
    pieces: list[list[np.ndarray]] = []
    current: list[np.ndarray] = [points_nm[0]] if inside[0] else []
    for k in range(len(points_nm) - 1):
        if inside[k] != inside[k + 1]:
            t = height_nm[k] / (height_nm[k] - height_nm[k + 1])
            border = points_nm[k] + t * (points_nm[k + 1] - points_nm[k])
            current.append(border)
            if inside[k]:
                pieces.append(current)
                current = []
        if inside[k + 1]:
            current.append(points_nm[k + 1])
    pieces.append(current)
    arrays = (np.array(piece) for piece in pieces if len(piece) >= 2)
    spaced = (_without_repeats(piece) for piece in arrays)
    return [piece for piece in spaced if len(piece) >= 2]


def _without_repeats(points_nm: np.ndarray) -> np.ndarray:
    steps_nm = np.linalg.norm(np.diff(points_nm, axis=0), axis=1)
    keep = np.concatenate([[True], steps_nm > SHORTEST_SEGMENT_NM * 1e-3])
    return points_nm[keep]


def _plane_of_longest_part(
    chain: Chain, crystal: Crystal, known: dict[tuple[float, ...], tuple[int, int, int]]
) -> tuple[int, int, int]:
    """The declared plane that most of the chain's length has, (0, 0, 0) where it is none of low indices."""
    lengths_nm = np.linalg.norm(np.diff(chain.points_nm, axis=0), axis=1)
    by_plane: dict[tuple[int, int, int], float] = {}
    for normal, length_nm in zip(chain.plane_normal, lengths_nm):
        key = tuple(np.round(normal, 5))
        if key not in known:
            known[key] = snap_plane(normal, crystal)
        by_plane[known[key]] = by_plane.get(known[key], 0.0) + float(length_nm)
    return max(by_plane, key=lambda plane: by_plane[plane])


def snap_plane(normal: np.ndarray, crystal: Crystal) -> tuple[int, int, int]:
    """The lattice plane of low indices nearest to a normal, within PLANE_TOLERANCE_DEG, else (0, 0, 0)."""
    if np.linalg.norm(normal) < 1e-9:
        return (0, 0, 0)
    covariant = crystal.lattice_nm.T @ np.asarray(normal, dtype=np.float64)
    covariant = covariant / np.abs(covariant).max()
    for multiple in range(1, LARGEST_PLANE_INDEX + 1):
        hkl = np.round(covariant * multiple)
        g = crystal.reciprocal_vector_inv_nm(hkl)
        cosine = abs(g @ normal) / (np.linalg.norm(g) * np.linalg.norm(normal))
        if cosine > np.cos(np.deg2rad(PLANE_TOLERANCE_DEG)):
            hkl = hkl / np.gcd.reduce(np.abs(hkl).astype(np.int64))
            first = hkl[np.nonzero(hkl)[0][0]]
            return tuple(int(h) for h in (hkl if first > 0 else -hkl))
    return (0, 0, 0)
