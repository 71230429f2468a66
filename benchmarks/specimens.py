"""The specimens that the benchmarks time: made from a seed, the same on every machine."""

from __future__ import annotations

import numpy as np

from physics.contrast.two_beam import TwoBeam
from physics.strain.segments import Segments

G_INV_NM = np.array([4.27, 0.0, 0.0])  # |g| of Al 111
BEAM = TwoBeam(xi_g_nm=70.6, xi_g_prime_nm=706, xi_0_prime_nm=706)  # Al 111 at 200 kV
ELASTIC = {"poisson_ratio": 0.33, "core_nm": 0.5}
BURGERS_NM = 0.286
THICKNESS_NM = 100.0


def straight_mixed_line() -> Segments:
    """One endless inclined line of mixed character."""
    direction = np.array([0.3, 0.8, 0.55]) / np.linalg.norm([0.3, 0.8, 0.55])
    return Segments(
        start_nm=[-1e5 * direction], end_nm=[1e5 * direction], burgers_nm=[[0.2, 0.15, 0.1]], line=[0]
    )


def curved_lines(lines: int, pieces: int, field_nm: float, seed: int = 0) -> Segments:
    """Arcs of `pieces` segments from face to face of the foil, each end continued straight for 30 thicknesses."""
    rng = np.random.default_rng(seed)
    start, end, burgers = [], [], []
    for _ in range(lines):
        direction = rng.normal(size=3)
        direction[2] = np.copysign(max(abs(direction[2]), 0.35), direction[2])
        side = np.cross(direction, rng.normal(size=3))
        along = np.linspace(-0.51, 0.51, pieces + 1)[:, None]
        points = along * THICKNESS_NM / abs(direction[2]) * direction + 10 * np.cos(3 * along) * side
        points[:, :2] += rng.uniform(-field_nm / 2, field_nm / 2, 2)
        points = np.concatenate([[_beyond(points[1], points[0])], points, [_beyond(points[-2], points[-1])]])
        b = rng.normal(size=3)
        start.append(points[:-1])
        end.append(points[1:])
        burgers.append(np.tile(BURGERS_NM * b / np.linalg.norm(b), (pieces + 2, 1)))
    return Segments(
        start_nm=np.concatenate(start), end_nm=np.concatenate(end), burgers_nm=np.concatenate(burgers),
        line=np.repeat(np.arange(lines), pieces + 2),
    )  # fmt: skip


def _beyond(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    return outer + 30 * THICKNESS_NM * (outer - inner) / np.linalg.norm(outer - inner)
