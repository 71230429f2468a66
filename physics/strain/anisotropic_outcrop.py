"""What a free surface adds to the field of a line where it leaves a foil of any elastic stiffness.

As in `outcrop`: tractions round the outcrop of a straight line have the transform tau^(theta)/k (`anisotropic_waves`), and what
answers them is 1/R times a function of direction. With P, r of `plate_impedance` the integral over k is elementary,

    -1/(4 pi^2) int r.[i (n.x + d P)^-1].tau^ dtheta,   n = (cos theta, sin theta),

at height d above the lower face (Z = -h). At depth d below the upper one it is the same of conj(tau^) at -x, since P and
r of opposite directions are conjugate. The inverse is the adjugate over the determinant, polynomials in n.x and d, and the sum over theta converges as exp(-N Im p d/rho): it
is taken to within one step of the edge of the table, where d = 0 and the sum is one over harmonics of r.tau^. Between
them, and beyond the edge where interpolation looks, stands the cubic through four rings.

Axes: O outcrops, A angles, G contractions, N directions of a table, (W, W) its grid.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from physics.strain.outcrop import GRID, HALF_GRID, MARGIN
from physics.strain.plate_impedance import ANGLES, Impedance

# Directions of k (in a turn) that a table needs out to a distance s from its middle.
ZONES = ((0.0, 0.75, 128), (0.75, 0.88, 256), (0.88, 1.0, ANGLES))
# Four rings, the first the edge, and the angles on each.
RINGS = 1 - np.arange(4) / HALF_GRID
RING_ANGLES = 128


def outcrop_tables(medium: Impedance, g: np.ndarray, e: np.ndarray, tau_hat: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Tables (G, O, W, W) of R times g.du/de, for tractions of the transforms tau_hat (O, 3, A).

    g (G, 3) and e (3,) in the foil's frame; sides (O,) are 1 for the upper face, -1 for the lower.
    """
    upper = np.asarray(sides) > 0
    tau_hat = tau_hat.transpose(2, 1, 0).copy()
    tau_hat[..., upper] = tau_hat[..., upper].conj()
    r = np.stack([medium.responses(each, e) for each in g], axis=1)
    p, adjugate = medium.decay, _adjugate(medium.decay)
    trace = np.einsum("aii->a", p)
    # Numerator (n.x)^2 q0 + (n.x) d q1 + d^2 q2, columns (O G).
    q = np.stack([
        (r @ matrix @ tau_hat).transpose(0, 2, 1).reshape(ANGLES, -1)
        for matrix in (np.eye(3), trace[:, None, None] * np.eye(3) - p, adjugate)
    ])  # fmt: skip
    determinant = np.stack([trace, np.einsum("aii->a", adjugate), np.linalg.det(p)], axis=1)
    zones, ring_to_grid, (within, outside) = _geometry()
    values = np.empty((len(_directions()), q.shape[2]), np.float32)
    for places, count in zones:
        half = slice(0, ANGLES // 2, ANGLES // count)
        values[places] = _summed(_directions()[places], determinant[half], q[:, half], count)
    inner = len(within)
    table = np.zeros((GRID * GRID, q.shape[2]))
    table[within] = values[:inner]
    table[outside] = ring_to_grid @ np.concatenate([_on_edge(q[0]).astype(np.float32), values[inner:]])
    table = table.T.reshape(len(upper), -1, GRID, GRID)
    table[upper] = table[upper, :, ::-1, ::-1]
    return np.ascontiguousarray(table.transpose(1, 0, 2, 3))


def _adjugate(p: np.ndarray) -> np.ndarray:
    return np.stack([np.cross(p[:, 1], p[:, 2]), np.cross(p[:, 2], p[:, 0]), np.cross(p[:, 0], p[:, 1])], axis=-1)


def _summed(w: np.ndarray, determinant: np.ndarray, q: np.ndarray, count: int) -> np.ndarray:
    """R times the correction (N, columns) at directions w (N,), from half a turn of `count` directions of k."""
    theta = 2 * np.pi * np.arange(count // 2) / count
    rho, d = 2 * np.abs(w) / (1 + np.abs(w) ** 2), ((1 - np.abs(w) ** 2) / (1 + np.abs(w) ** 2))[:, None]
    x = (rho[:, None] * np.cos(theta - np.angle(w)[:, None])).astype(np.float32)
    d, determinant = d.astype(np.float32), determinant.astype(np.complex64)
    over = np.complex64(1j) / (((x + d * determinant[:, 0]) * x + d * d * determinant[:, 1]) * x + d**3 * determinant[:, 2])
    q = np.concatenate([q.real, -q.imag], axis=1).astype(np.float32)
    total = np.zeros((len(w), q.shape[2]), np.float32)
    for factor, numerator in zip((x * x, x * d, d * d), q):
        kernel = factor * over
        total += np.concatenate([kernel.real, kernel.imag], axis=1) @ numerator
    return total / np.float32(-np.pi * count)


def _on_edge(c: np.ndarray) -> np.ndarray:
    """The same on the face itself, (RING_ANGLES, columns), from c = r.tau^ (A, columns)."""
    m = np.fft.fftfreq(ANGLES, 1 / ANGLES)
    harmonics = np.fft.fft(c, axis=0) / ANGLES * (1j ** np.abs(m))[:, None]
    keep = np.abs(m) < RING_ANGLES // 2
    few = np.zeros((RING_ANGLES, c.shape[1]), dtype=complex)
    few[m[keep].astype(int)] = harmonics[keep]
    return -np.fft.ifft(few, axis=0).real * RING_ANGLES / (2 * np.pi)


@lru_cache(maxsize=1)
def _plane() -> np.ndarray:
    line = (np.arange(GRID) - HALF_GRID - MARGIN) / HALF_GRID
    return (line[None, :] + 1j * line[:, None]).ravel()


@lru_cache(maxsize=1)
def _directions() -> np.ndarray:
    """w (N,) of the grid points within the second ring, then of the rings but the first."""
    plane = _plane()
    within = np.flatnonzero(np.abs(plane) <= RINGS[1] + 1e-12)
    turn = np.exp(2j * np.pi * np.arange(RING_ANGLES) / RING_ANGLES)
    return np.concatenate([plane[within], np.multiply.outer(RINGS[1:], turn).ravel()])


@lru_cache(maxsize=1)
def _geometry() -> tuple[list[tuple[np.ndarray, int]], np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Directions of each zone with its number of k; matrix from rings to the grid points outside; grid points of both."""
    plane, w = _plane(), _directions()
    zones = [(np.flatnonzero((np.abs(w) > low - (low == 0)) & (np.abs(w) <= high)), count) for low, high, count in ZONES]
    within = np.flatnonzero(np.abs(plane) <= RINGS[1] + 1e-12)
    outside = np.flatnonzero((np.abs(plane) > RINGS[1] + 1e-12) & (np.abs(plane) < 1 + 3.0 / HALF_GRID))
    radius, angle = np.abs(plane[outside]), np.angle(plane[outside])
    radial = np.ones((len(radius), 4))
    for a in range(4):
        for b in range(4):
            if a != b:
                radial[:, a] *= (radius - RINGS[b]) / (RINGS[a] - RINGS[b])
    # Trigonometric interpolation from an even number of angles.
    apart = angle[:, None] - 2 * np.pi * np.arange(RING_ANGLES) / RING_ANGLES
    near = np.abs(np.sin(apart / 2)) < 1e-9
    with np.errstate(divide="ignore", invalid="ignore"):
        round_ = np.sin(RING_ANGLES * apart / 2) / (RING_ANGLES * np.tan(apart / 2))
    round_ = np.where(near, 1.0, round_)
    matrix = (radial[:, :, None] * round_[:, None, :]).reshape(len(radius), -1).astype(np.float32)
    return zones, matrix, (within, outside)
