"""The two edges of a ribbon about a plane polyline. Pure geometry.

Axes: K vertices. Positions in nm.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# At a bend the edge's vertex moves out by at most this many half-widths.
LONGEST_MITRE = 3.0
LEAST_WIDTH_NM = 0.1
COARSER_TRIES = 3


def ribbon_edges(
    points_nm: np.ndarray, normal: np.ndarray, width_nm: Callable[[np.ndarray], float], closed: bool,
    constricted: tuple[bool, bool], narrowest_nm: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:  # fmt: skip
    """Left edge, right edge (K', 3) and the outline (K'', 3) of the ribbon; None where it cannot be drawn.

    Left is `normal` x tangent. `width_nm(tangent)` is the local width, split evenly to both sides; it falls to nothing
    at `constricted` ends over one width; nowhere above `narrowest_nm`: None. A closed ribbon is one polygon with a slit. Where the ribbon's own edges
    would cross, a coarser line is tried (every second vertex, three times).
    """
    for _ in range(COARSER_TRIES + 1):
        tangents = _tangents(points_nm, closed)
        half_nm = np.array([width_nm(t) for t in tangents]) / 2
        if 2 * half_nm.max() < narrowest_nm:
            return None
        half_nm = _smoothed(np.maximum(half_nm, LEAST_WIDTH_NM / 2), closed)
        half_nm = half_nm * _taper(points_nm, half_nm, constricted)
        left_nm = _offset(points_nm, normal, half_nm, closed)
        right_nm = _offset(points_nm, normal, -half_nm, closed)
        if left_nm is not None and right_nm is not None:
            outline_nm = _outline(left_nm, right_nm, closed)
            if is_simple(outline_nm if not closed else left_nm[:-1], normal) and (not closed or is_simple(right_nm[:-1], normal)):
                return left_nm, right_nm, outline_nm
        if len(points_nm) < 6:
            return None
        points_nm = np.concatenate([points_nm[:-1:2], points_nm[-1:]])
    return None


def _tangents(points_nm: np.ndarray, closed: bool) -> np.ndarray:
    edges = np.diff(points_nm, axis=0)
    edges = edges / np.linalg.norm(edges, axis=1, keepdims=True)
    before = np.concatenate([edges[-1:] if closed else edges[:1], edges])
    after = np.concatenate([edges, edges[:1] if closed else edges[-1:]])
    middle = before + after
    length = np.linalg.norm(middle, axis=1, keepdims=True)
    return np.where(length > 1e-6, middle / np.maximum(length, 1e-6), after)


def _smoothed(values: np.ndarray, closed: bool) -> np.ndarray:
    padded = np.concatenate([values[-2:-1], values, values[1:2]] if closed else [values[:1], values, values[-1:]])
    return (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4


def _taper(points_nm: np.ndarray, half_nm: np.ndarray, constricted: tuple[bool, bool]) -> np.ndarray:
    arc_nm = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points_nm, axis=0), axis=1))])
    factor = np.ones(len(points_nm))
    for end, at_nm in ((constricted[0], arc_nm), (constricted[1], arc_nm[-1] - arc_nm)):
        if end:
            factor *= np.clip(at_nm / max(2 * half_nm.max(), 1e-9), 0, 1)
    return factor


def _offset(points_nm: np.ndarray, normal: np.ndarray, shift_nm: np.ndarray, closed: bool) -> np.ndarray | None:
    """The polyline moved by `shift_nm` (K,) to its left; vertices that a bend would turn backwards are left out."""
    edges = np.diff(points_nm, axis=0)
    left = np.cross(normal, edges)
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    before = np.concatenate([left[-1:] if closed else left[:1], left])
    after = np.concatenate([left, left[:1] if closed else left[-1:]])
    mitre = (before + after) / np.maximum(1 + (before * after).sum(1, keepdims=True), 2 / LONGEST_MITRE**2)
    moved, at = points_nm + shift_nm[:, None] * mitre, points_nm
    while len(moved) >= 2:
        backwards = ((moved[1:] - moved[:-1]) * (at[1:] - at[:-1])).sum(1) <= 1e-6
        if not backwards.any():
            if closed:
                moved[-1] = moved[0]
                if len(moved) < 4:
                    return None
            return moved
        keep = np.ones(len(moved), bool)
        first = int(np.argmax(backwards))
        # Of the two vertices of an edge that turned round the inner one goes; the ends of an open line stay.
        drop = first + 1 if first + 1 < len(moved) - 1 else first
        if drop in (0, len(moved) - 1):
            return None
        keep[drop] = False
        moved, at = moved[keep], at[keep]
    return None


def _outline(left_nm: np.ndarray, right_nm: np.ndarray, closed: bool) -> np.ndarray:
    # A closed ribbon runs round one edge, along the slit, round the other, and back.
    outline_nm = np.concatenate([left_nm, right_nm[::-1]])
    if closed:
        return outline_nm
    steps_nm = np.linalg.norm(outline_nm - np.roll(outline_nm, 1, axis=0), axis=1)
    return outline_nm[steps_nm > 1e-9]


def is_simple(outline_nm: np.ndarray, normal: np.ndarray) -> bool:
    """Whether no two edges of a plane polygon cross."""
    u = np.cross(normal, [0.0, 0.0, 1.0] if abs(normal[2]) < 0.9 else [1.0, 0.0, 0.0])
    axes = np.stack([u, np.cross(normal, u)], axis=1)
    start = outline_nm @ axes
    edge = np.roll(start, -1, axis=0) - start
    offset = start[None] - start[:, None]
    cross = edge[:, None, 0] * edge[None, :, 1] - edge[:, None, 1] * edge[None, :, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (offset[..., 0] * edge[None, :, 1] - offset[..., 1] * edge[None, :, 0]) / cross
        u_ = (offset[..., 0] * edge[:, None, 1] - offset[..., 1] * edge[:, None, 0]) / cross
    slack = 1e-9
    return not bool(((t > slack) & (t < 1 - slack) & (u_ > slack) & (u_ < 1 - slack)).any())
