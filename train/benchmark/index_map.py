"""Lines as one flat map of instance numbers at quarter resolution: what box-based instance segmenters store by default.

One number a pixel: where lines cross, one of them is cut. The map of the truth is an oracle: no network that is trained on
such maps can do better than lines read off it.

Axes: (Yq, Xq) rows and columns of the map, T curves. Pixel (j, i) of the map sits at image pixel x = 4 i + 1.5, y likewise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from skimage.morphology import skeletonize

from render.rasterise import line_masks
from train.curves import TracedLine, length_px, smooth

STRIDE = 4
SHIFT = 0.5 * (STRIDE - 1)
NARROWEST = 0.75  # half-width in pixels of the map: below it a slanted line falls apart
SHORTEST_PX = 12.0
WAVELENGTH_PX = 16.0


def index_map(curves_px: Sequence[np.ndarray], half_width_px: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Numbers (Yq, Xq) int32 from 1 of the curves, 0 elsewhere; where they overlap the smaller one is on top."""
    size = tuple(-(-n // STRIDE) for n in shape)
    flat = np.zeros(size, dtype=np.int32)
    scaled = [((c - SHIFT) / STRIDE, np.maximum(w / STRIDE, NARROWEST)) for c, w in zip(curves_px, half_width_px)]
    masks = line_masks(scaled, size)
    for n in np.argsort([-m.sum() for m in masks], kind="stable"):
        flat[masks[n]] = n + 1
    return flat


def lines_of_index_map(flat: np.ndarray, shape: tuple[int, int], confidence: Sequence[float] | None = None) -> tuple[TracedLine, ...]:
    """One line an instance number: its pieces' longest paths, joined end to end in the order that is shortest."""
    lines = []
    width = ndimage.distance_transform_edt(flat > 0)
    for n in np.unique(flat[flat > 0]):
        own = flat == n
        labels, pieces = ndimage.label(own, structure=np.ones((3, 3)))
        paths = [longest_path(labels == k) for k in range(1, pieces + 1)]
        curve = _joined([p for p in paths if len(p) > 1])
        if curve is None or STRIDE * length_px(curve) < SHORTEST_PX:
            continue
        points = smooth(STRIDE * curve + SHIFT, WAVELENGTH_PX)
        half_width = max(1.0, STRIDE * (float(np.median(width[own])) - 0.25))
        points = np.clip(points, -0.5, np.array(shape[::-1]) - 0.5)
        lines.append(TracedLine(points_px=points, half_width_px=np.full(len(points), half_width),
                                confidence=1.0 if confidence is None else float(confidence[n - 1])))  # fmt: skip
    return tuple(sorted(lines, key=lambda line: -line.length_px))


def longest_path(mask: np.ndarray) -> np.ndarray:
    """The longest shortest path (V, 2), as (x, y), through the skeleton of one connected mask (Yq, Xq); closed for a ring."""
    rows, columns = np.nonzero(skeletonize(mask))
    if len(rows) < 2:
        rows, columns = np.nonzero(mask)
    points = np.column_stack([columns, rows]).astype(np.float64)
    if len(points) < 2:
        return points
    graph = _neighbours(points)
    degree = np.asarray((graph > 0).sum(axis=1)).ravel()
    if len(points) > 8 and (degree == 2).all():
        # A ring: opened beside one pixel, walked round, closed again.
        first, last = graph[0].indices[:2]
        opened = graph.tolil()
        opened[0, :] = 0
        opened[:, 0] = 0
        path = _walk(opened.tocsr(), int(first), int(last))
        return points[[0, *path, 0]]
    start = int(np.argmax(_reached(graph, 0)))
    end = int(np.argmax(_reached(graph, start)))
    return points[_walk(graph, start, end)]


def _neighbours(points: np.ndarray):
    """Graph of 8-connected pixels, edges as long as they are; diagonal ones only where no corner pixel is there."""
    place = {(int(x), int(y)): n for n, (x, y) in enumerate(points)}
    edges = []
    for (x, y), n in place.items():
        for dx, dy in ((1, 0), (0, 1), (1, 1), (-1, 1)):
            m = place.get((x + dx, y + dy))
            if m is None or (dx and dy and ((x + dx, y) in place or (x, y + dy) in place)):
                continue
            edges.append((n, m, np.hypot(dx, dy)))
    a, b, length = np.array(edges).T if edges else np.zeros((3, 0))
    size = (len(points), len(points))
    return coo_matrix((np.tile(length, 2), (np.concatenate([a, b]).astype(int), np.concatenate([b, a]).astype(int))), size).tocsr()


def _reached(graph, start: int) -> np.ndarray:
    distance = dijkstra(graph, indices=start)
    return np.where(np.isfinite(distance), distance, -1.0)


def _walk(graph, start: int, end: int) -> list[int]:
    _, before = dijkstra(graph, indices=start, return_predecessors=True)
    path = [end]
    while path[-1] != start and before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return path[::-1]


def _joined(paths: list[np.ndarray]) -> np.ndarray | None:
    """Paths joined into one: the two ends that are nearest to each other first."""
    paths = sorted(paths, key=len, reverse=True)
    while len(paths) > 1:
        best = None
        for a in range(len(paths)):
            for b in range(a):
                for x in (0, -1):
                    for y in (0, -1):
                        gap = float(np.hypot(*(paths[a][x] - paths[b][y])))
                        if best is None or gap < best[0]:
                            best = gap, a, b, x, y
        _, a, b, x, y = best
        first = paths[b] if y == -1 else paths[b][::-1]
        second = paths[a] if x == 0 else paths[a][::-1]
        paths = [p for n, p in enumerate(paths) if n not in (a, b)] + [np.concatenate([first, second])]
    return paths[0] if paths else None
