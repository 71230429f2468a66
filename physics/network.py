"""Dislocation networks: nodes joined by arms, their balance and their chains.

A *physical node* has three or more arms, or one (a pinned end). A chain is the maximal run of arms of one +-b
between physical nodes, or a closed loop. Frame: the crystal's Cartesian axes, in a periodic box.

Axes: N nodes, A arms (each once), K vertices.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from physics.errors import require
from physics.frozen import frozen_array

BALANCE_TOLERANCE = 1e-6  # of the longest b


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Nodes `nodes_nm` (N, 3) with `constraint` (N,) (0: free) and arms from node `start` (A,) to `end` (A,).

    `burgers_nm` (A, 3) belongs to the line sense start -> end; `plane_normal` (A, 3) is the declared glide plane's
    normal or zero. The box `box_nm` (2, 3), low and high corner, repeats along the edges named in `periodic`. A box whose
    edges are not the crystal's axes has them as the columns of `cell_nm` (3, 3), and `box_nm` two opposite corners.

    Raises InputError for arms toward nodes that are not there, a zero b, or a free node out of balance.
    """

    nodes_nm: np.ndarray
    constraint: np.ndarray
    start: np.ndarray
    end: np.ndarray
    burgers_nm: np.ndarray
    plane_normal: np.ndarray
    box_nm: np.ndarray
    cell_nm: np.ndarray | None = None
    periodic: tuple[bool, bool, bool] = (True, True, True)

    def __post_init__(self) -> None:
        for name, shape in (("nodes_nm", (None, 3)), ("burgers_nm", (None, 3)), ("plane_normal", (None, 3)), ("box_nm", (2, 3))):
            object.__setattr__(self, name, frozen_array(getattr(self, name), shape, name))
        for name in ("constraint", "start", "end"):
            array = np.array(getattr(self, name), dtype=np.int64)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.cell_nm is None:
            require(bool((self.box_nm[1] > self.box_nm[0]).all()), "box_nm", "have high > low", self.box_nm.tolist())
            object.__setattr__(self, "cell_nm", np.diag(self.box_nm[1] - self.box_nm[0]))
        object.__setattr__(self, "cell_nm", frozen_array(self.cell_nm, (3, 3), "cell_nm"))
        require(abs(float(np.linalg.det(self.cell_nm))) > 0, "cell_nm", "have a volume > 0", self.cell_nm.tolist())
        closes = np.allclose(self.box_nm[0] + self.cell_nm.sum(axis=1), self.box_nm[1], rtol=0, atol=1e-6 * np.abs(self.cell_nm).max())
        require(closes, "cell_nm", "lead from one corner of box_nm to the other", self.cell_nm.tolist())
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

    @cached_property
    def smallest_period_nm(self) -> float:
        """The least distance of two opposite faces of the box among those that repeat; inf where none does."""
        distances_nm = 1 / np.linalg.norm(np.linalg.inv(self.cell_nm), axis=1)
        return float(min((d for d, repeats in zip(distances_nm, self.periodic) if repeats), default=np.inf))

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
        """Difference vectors (..., 3) brought to within half a box edge along each edge that repeats."""
        steps = np.round(offset_nm @ np.linalg.inv(self.cell_nm).T)
        return offset_nm - np.where(self.periodic, steps, 0.0) @ self.cell_nm.T


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
    if at == node and np.abs(points_nm[-1] - points_nm[0]).max() < 1e-6 * np.abs(network.cell_nm).max():
        points_nm[-1] = points_nm[0]
    return Chain(points_nm=points_nm, burgers_nm=burgers_nm, plane_normal=np.array(normals), end_nodes=(node, at))
