"""What the tracer is measured against: ridge filters and skeleton graphs.

Each baseline ends in curves like the tracer's, so that one table compares them. *Branches*: every branch of the
skeleton graph is a line; a crossing cuts both lines. *Linked*: at each node of the graph the arms that continue each
other best are joined, straightest pair first, which is what a person writing such a script does next.

Axes: (Y, X) rows and columns, V vertices.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skan import Skeleton
from skimage.filters import apply_hysteresis_threshold, sato
from skimage.morphology import remove_small_objects, skeletonize

from train.curves import TracedLine, length_px, smooth
from train.targets import Maps

NODE_REACH_PX = 3.0  # skeleton pixels of one crossing lie within this of each other


@dataclass(frozen=True, kw_only=True)
class BaselineSettings:
    """Chosen once on rendered images: the values that gave the best instance F1 there.

    `ridge_sigmas_px` are the scales of the ridge filter (Sato et al. 1998); the response is thresholded with
    hysteresis between the quantiles `low_quantile` and `high_quantile`. `centreline_level` thresholds the network's
    centreline. Branches under `spur_px` with a free end are pruned, those under
    `node_px` between two nodes are taken for one node, lines under `shortest_px` dropped. Arms are
    joined when they turn by less than `largest_turn_deg`.
    """

    ridge_sigmas_px: tuple[float, ...] = (2.0, 3.0)
    low_quantile: float = 0.90
    high_quantile: float = 0.96
    centreline_level: float = 0.4
    smallest_object_px: int = 30
    spur_px: float = 6.0
    node_px: float = 10.0
    shortest_px: float = 25.0
    largest_turn_deg: float = 50.0


def ridge_branches(image: np.ndarray, settings: BaselineSettings | None = None) -> tuple[TracedLine, ...]:
    """Ridge filter, skeleton, branches."""
    settings = settings or BaselineSettings()
    return skeleton_lines(ridge_mask(image, settings), settings, linked=False)


def ridge_linked(image: np.ndarray, settings: BaselineSettings | None = None) -> tuple[TracedLine, ...]:
    """Ridge filter, skeleton graph, tangent linking."""
    settings = settings or BaselineSettings()
    return skeleton_lines(ridge_mask(image, settings), settings, linked=True)


def centreline_linked(maps: Maps, settings: BaselineSettings | None = None) -> tuple[TracedLine, ...]:
    """The network's centreline, skeleton graph, tangent linking."""
    settings = settings or BaselineSettings()
    # The skeleton is taken at full resolution: half a pixel of the maps is one of the image.
    full = np.clip(ndimage.zoom(np.asarray(maps.centreline, dtype=np.float32), maps.stride, order=1, grid_mode=True, mode="nearest"), 0, 1)
    return skeleton_lines(full > settings.centreline_level, settings, linked=True)


def ridge_mask(image: np.ndarray, settings: BaselineSettings) -> np.ndarray:
    """Where the image has line-like ridges (Y, X) bool, of the polarity that responds more strongly."""
    image = np.asarray(image, dtype=np.float64)
    flat = image / np.maximum(ndimage.gaussian_filter(image, 20.0), 1e-9 + 1e-3 * image.mean())
    responses = [sato(flat, sigmas=settings.ridge_sigmas_px, black_ridges=dark) for dark in (True, False)]
    response = max(responses, key=lambda r: np.quantile(r, 0.98))
    low, high = np.quantile(response, [settings.low_quantile, settings.high_quantile])
    return apply_hysteresis_threshold(response, low, max(high, low + 1e-12))


def skeleton_lines(mask: np.ndarray, settings: BaselineSettings, linked: bool) -> tuple[TracedLine, ...]:
    """Lines from the skeleton of a mask (Y, X): its branches, or its branches joined at the nodes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        mask = remove_small_objects(mask, settings.smallest_object_px)
    skeleton = skeletonize(mask)
    if skeleton.sum() < 3:
        return ()
    graph = Skeleton(skeleton)
    branches = [graph.path_coordinates(n)[:, ::-1].astype(np.float64) for n in range(graph.n_paths)]
    branches = _pruned(branches, settings.spur_px)
    curves = _joined(branches, settings) if linked else branches
    width = ndimage.distance_transform_edt(mask)
    lines = [
        TracedLine(points_px=smooth(c, 6.0), half_width_px=_half_width(smooth(c, 6.0), width), confidence=1.0)
        for c in curves
        if length_px(c) >= settings.shortest_px
    ]
    return tuple(sorted(lines, key=lambda line: -line.length_px))


def _half_width(points: np.ndarray, width: np.ndarray) -> np.ndarray:
    rows, columns = width.shape
    j = np.clip(np.rint(points[:, 1]).astype(int), 0, rows - 1)
    i = np.clip(np.rint(points[:, 0]).astype(int), 0, columns - 1)
    return np.maximum(1.0, width[j, i])


def _nodes(branches: list[np.ndarray]) -> np.ndarray:
    """Node number (2, branches) of every branch's first and last point; points near each other share a node."""
    points = np.array([b[[0, -1]] for b in branches]).reshape(-1, 2)
    label = np.arange(len(points))

    def root(n: int) -> int:
        while label[n] != n:
            n = label[n]
        return n

    for i, j in cKDTree(points).query_pairs(NODE_REACH_PX):
        # The two ends of one short branch are not a node by themselves.
        if i // 2 != j // 2:
            label[root(j)] = root(i)
    return np.array([root(n) for n in range(len(points))]).reshape(-1, 2).T


def _pruned(branches: list[np.ndarray], spur_px: float) -> list[np.ndarray]:
    """Without short branches that end in nothing: what a skeleton grows on a ragged edge."""
    if not branches:
        return []
    nodes = _nodes(branches)
    degree = np.bincount(nodes.ravel())
    return [
        b
        for b, first, last in zip(branches, *nodes)
        if length_px(b) >= spur_px or (degree[first] > 1) == (degree[last] > 1)
    ]


def _contracted(branches: list[np.ndarray], node_px: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Branches and their nodes, with short branches between two nodes taken for one node.

    The skeleton of an X is two Ys with a short bar between them.
    """
    nodes = _nodes(branches)
    degree = np.bincount(nodes.ravel())
    bars = [n for n, b in enumerate(branches) if length_px(b) < node_px and min(degree[nodes[:, n]]) > 2]
    for n in bars:
        first, last = nodes[:, n]
        nodes[nodes == last] = first
    kept = [n for n in range(len(branches)) if n not in set(bars)]
    return [branches[n] for n in kept], nodes[:, kept]


def _joined(branches: list[np.ndarray], settings: BaselineSettings) -> list[np.ndarray]:
    """Chains of branches: at each node the pair of arms that turns least is joined first."""
    if not branches:
        return []
    branches, nodes = _contracted(branches, settings.node_px)
    arms: dict[int, list[tuple[int, int]]] = {}
    for n in range(len(branches)):
        for side in (0, 1):
            arms.setdefault(int(nodes[side, n]), []).append((n, side))
    partner: dict[tuple[int, int], tuple[int, int]] = {}
    least = np.cos(np.radians(settings.largest_turn_deg))
    for members in arms.values():
        outward = {arm: _outward(branches[arm[0]], arm[1]) for arm in members}
        offers = sorted(
            ((-float(outward[a] @ outward[b]), a, b) for k, a in enumerate(members) for b in members[:k] if a[0] != b[0]),
            reverse=True,
        )
        for straightness, a, b in offers:
            if straightness >= least and a not in partner and b not in partner:
                partner[a], partner[b] = b, a
    curves, used = [], set()
    order = sorted(((n, side) for n in range(len(branches)) for side in (0, 1)), key=lambda arm: arm in partner)
    for n, side in order:
        if n in used:
            continue
        used.add(n)
        curve = branches[n] if side == 0 else branches[n][::-1]
        here = (n, 1 - side)
        while here in partner and partner[here][0] not in used:
            m, entry = partner[here]
            used.add(m)
            curve = np.concatenate([curve, branches[m] if entry == 0 else branches[m][::-1]])
            here = (m, 1 - entry)
        curves.append(curve)
    return curves


def _outward(branch: np.ndarray, side: int) -> np.ndarray:
    """Unit direction in which a branch leaves its node, over 12 px, the first 2 left out: there skeletons bend."""
    points = branch if side == 0 else branch[::-1]
    start = points[min(2, len(points) - 2)] if len(points) > 2 else points[0]
    delta = points[min(12, len(points) - 1)] - start
    return delta / max(float(np.hypot(*delta)), 1e-9)
