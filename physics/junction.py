"""Where lines meet: nodes with balanced Burgers vectors, and ends that are open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from physics.dislocation import Dislocation

NODE_TOLERANCE_NM = 1e-3
BALANCE_TOLERANCE = 1e-6


def open_ends(dislocations: Sequence[Dislocation]) -> list[tuple[int, int]]:
    """Ends of open lines, as (line, 0 or -1), that are not in a node where the Burgers vectors balance.

    Ends within NODE_TOLERANCE_NM of each other form a node; it is balanced when the sum of b over the arms
    leaving it is zero (b for a line that starts there, -b for one that ends there).
    """
    ends = [(i, end) for i, line in enumerate(dislocations) if not line.closed for end in (0, -1)]
    if not ends:
        return []
    pairs = cKDTree(np.array([dislocations[i].points_nm[end] for i, end in ends])).query_pairs(NODE_TOLERANCE_NM)
    if not pairs:
        return ends
    leaving_burgers = np.array([dislocations[i].burgers_uvw * (1 if end == 0 else -1) for i, end in ends])
    node = np.arange(len(ends))
    for first, second in pairs:
        node[node == node[second]] = node[first]
    open_: list[tuple[int, int]] = []
    for k, end in enumerate(ends):
        arms = node == node[k]
        balanced = arms.sum() > 1 and np.abs(leaving_burgers[arms].sum(axis=0)).max() < BALANCE_TOLERANCE
        if not balanced:
            open_.append(end)
    return open_
