"""Which joints are real: the strands of an image against its true curves.

Axes: V vertices, E ends, N joints.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from train.curves import TracedLine, distance_px, headings, is_closed, length_px
from train.joints import Joints
from train.metrics import MetricSettings, Truth, judged_points
from train.strands import Strand

NEAR_PX = 3.0  # an arm belongs to a curve it lies this near to ...
TIE_PX = 0.7  # ... and to any other that is hardly farther
ARM_VERTICES = 8
OVERLAP_PX = 6.0  # by which two strands may run past each other
MOST_DETOUR = 1.6  # arc of the line between two ends over the distance between them
REAL, FALSE, OPEN = 1, 0, -1

# For each end the curves that its arm follows: {curve: (arc length in px at the end, +1 or -1 outward along it)}.
Places = list[dict[int, tuple[float, int]]]


def joint_labels(joints: Joints, strands: Sequence[Strand], truth: Truth, stride: int) -> np.ndarray:
    """REAL, FALSE or OPEN (N,): a joint is real where its ends follow each other along one visible piece of a line.

    Joints that leave out a strand between are real too: the matching takes the longer chain by itself. OPEN, and not
    to be learnt from, are joints of two arms neither of which lies on a true curve.
    """
    places = _places(joints, strands, truth, stride)
    gap_px = np.hypot(*(joints.ends.position[joints.second] - joints.ends.position[joints.first]).T) * stride
    labels = np.full(len(joints.first), FALSE)
    for n, (a, b) in enumerate(zip(joints.first.tolist(), joints.second.tolist())):
        ahead = [_ahead(places, truth, c, a, b) for c in set(places[a]) & set(places[b])]
        if any(d is not None and d <= MOST_DETOUR * gap_px[n] + 2 * OVERLAP_PX for d in ahead):
            labels[n] = REAL
        elif not (places[a] or places[b]):
            labels[n] = OPEN
    return labels


def _places(joints: Joints, strands: Sequence[Strand], truth: Truth, stride: int) -> Places:
    curves = truth.curves_px
    if not curves:
        return [{} for _ in joints.ends.number]
    owner = np.repeat(np.arange(len(curves)), [len(c) for c in curves])
    arc = np.concatenate([np.arange(len(c)) for c in curves]) * np.repeat(
        [length_px(c) / max(1, len(c) - 1) for c in curves], [len(c) for c in curves]
    )
    tangents = np.concatenate([headings(c) for c in curves])
    tree = cKDTree(np.concatenate(curves))
    places: Places = []
    for number in joints.ends.number.tolist():
        points = strands[number // 2].fragment.points
        arm = (points if number % 2 else points[::-1])[-ARM_VERTICES:] * stride + 0.5 * (stride - 1)
        outward = arm[-1] - arm[0]
        outward /= max(np.hypot(*outward), 1e-9)
        near = [np.array(k, dtype=int) for k in tree.query_ball_point(arm, NEAR_PX + 1)]
        found = {}
        for curve in np.unique(owner[np.concatenate(near)]) if any(len(k) for k in near) else ():
            own = [k[owner[k] == curve] for k in near]
            distance = np.array([np.hypot(*(tree.data[k] - p).T).min() if len(k) else 9.0 for k, p in zip(own, arm)])
            # The very tip may reach past the end of its line.
            if (distance <= NEAR_PX).mean() < 0.75:
                continue
            tip = [k for k in own if len(k)][-1]
            foot = tip[np.argmin(np.hypot(*(tree.data[tip] - arm[-1]).T))]
            along = float(tangents[foot] @ outward)
            if abs(along) > 0.6:
                found[int(curve)] = (float(np.minimum(distance, 4.0).mean()), float(arc[foot]), 1 if along > 0 else -1)
        best = min((d for d, _, _ in found.values()), default=0.0)
        places.append({c: (s, way) for c, (d, s, way) in found.items() if d <= best + TIE_PX})
    return places


def _ahead(places: Places, truth: Truth, curve: int, a: int, b: int) -> float | None:
    """Arc length in px from end a outward to end b that faces it, or None."""
    (s_a, way_a), (s_b, way_b) = places[a][curve], places[b][curve]
    if way_a == way_b:
        return None
    ahead = way_a * (s_b - s_a)
    if is_closed(truth.curves_px[curve]):
        whole = length_px(truth.curves_px[curve])
        ahead = (ahead + OVERLAP_PX) % whole - OVERLAP_PX
    return ahead if ahead >= -OVERLAP_PX else None


def line_errors(found: Sequence[TracedLine], truth: Truth, settings: MetricSettings | None = None) -> list[np.ndarray | None]:
    """For each line the distances (V,) in px of its vertices to the true curve it matches one to one.

    They are empty where it matches none, and None takes their place where all of it lies on invisible lines, which nobody
    judges; NaN stands where a part of it does. A match is that of `train.metrics`.
    """
    settings = settings or MetricSettings()
    near = [[distance_px(line.points_px, curve, 2 * settings.tolerance_px) for curve in truth.curves_px] for line in found]
    none = np.zeros((0, 0))
    judged = [judged_points(line.points_px, np.array(d) if d else none, truth, settings.tolerance_px) for line, d in zip(found, near)]
    share = np.zeros((len(found), len(truth.curves_px)))
    for n, line in enumerate(found):
        for t, curve in enumerate(truth.curves_px):
            own = (near[n][t][judged[n]] <= settings.tolerance_px).mean() if judged[n].any() else 0.0
            if own >= settings.match_fraction:
                other = (distance_px(curve, line.points_px, settings.tolerance_px) <= settings.tolerance_px).mean()
                share[n, t] = own + other if other >= settings.match_fraction else 0.0
    rows, columns = linear_sum_assignment(share + (share > 0) * 1e3, maximize=True)
    match = {n: t for n, t in zip(rows.tolist(), columns.tolist()) if share[n, t] > 0}
    errors: list[np.ndarray | None] = []
    for n in range(len(found)):
        if n in match:
            errors.append(np.where(judged[n], np.minimum(near[n][match[n]], 2 * settings.tolerance_px), np.nan))
        else:
            errors.append(np.zeros(0) if judged[n].any() else None)
    return errors
