"""Many-beam diffraction: the perfect crystal in closed form, and what the integration of columns needs of a set.

A layer of thickness h in which d(g.u)/dd is beta n_g for beam g (a row: n_g whole) has the scattering matrix

    exp(i pi h (M + 2 beta n)) = D exp(...)' D,  D = exp(i pi h beta n),

whose inner factor hardly depends on beta: it is exp(i pi h M) with each coupling reduced as a phase turns under it,
sinc(pi h beta (n_g - n_h)) in first order. It is tabulated as a polynomial in beta, so that a layer costs a few
products with constant matrices, however far the excitation errors spread. Where beta changes across the
layer, its fourth-order Magnus matrix (`slicing`) has couplings q_gh (1 + i eps (n_g - n_h)), which to that order is
E exp(...) E* with E = exp(i eps n): the change of beta is taken up by the phases alone.

Axes: N beams, R directions, Q points of the spread, K powers of beta, F faults.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from physics.contrast.beams import BeamSet

# Largest error of a layer's tabulated matrix where no line is near, which adds up over all layers, and at the edge
# of the zone that is passed in panels, which a column meets in a few.
TABLE_TOLERANCE = 3e-7
TABLE_TOLERANCE_NEAR = 2e-5
# A range that needs more powers is made shorter by this factor until these are enough.
MOST_POWERS = 10
SHORTER = 0.8
# pi h beta (n_g - n_h) at the ends of the table.
WIDEST_TURN = 1.5


class BeamTable(NamedTuple):
    """What the compiled integration takes; see `beam_table`."""

    coefficients: np.ndarray  # (N, R) float32
    steps: np.ndarray  # (N,) int64, whole steps from one beam's multiple to the next; empty where R > 1
    generator: np.ndarray  # (Q, 2, N, N) float32, real and imaginary part of M less its common phase
    layer: np.ndarray  # (Q, 2, N, K N) float32, coefficients of u^k of the inner factor less 1
    range_inv_nm: np.ndarray  # (2,) middle of beta and half its range: u = (beta - middle) / half
    turn: np.ndarray  # (R,) what a change of s of the reference reflection adds to beta of each direction
    fault: np.ndarray  # (F, 2, N) float32, factor of each beam at a fault
    mean_absorption_inv_nm: float
    weights: np.ndarray  # (Q,)


def perfect_crystal(
    beams: BeamSet, turn_inv_nm: ArrayLike, thickness_nm: ArrayLike, offsets_inv_nm: ArrayLike = 0.0
) -> np.ndarray:
    """Intensities (N, ...) of all beams behind a perfect crystal, incident beam 1.

    `turn_inv_nm` (...) is the deviation of the reference reflection from its excitation error in the set, which the
    others follow by their multiples, `offsets_inv_nm` (N,) is added to the excitation errors.
    phi = V exp(i pi lambda t) V^-1 phi(0) with M = V lambda V^-1, absorption included exactly.
    """
    turn, t = np.broadcast_arrays(np.asarray(turn_inv_nm, dtype=np.float64), np.asarray(thickness_nm, dtype=np.float64))
    distinct, where = np.unique(turn.ravel(), return_inverse=True)
    values, vectors = np.linalg.eig(beams.matrix_inv_nm(distinct, offsets_inv_nm))
    start = np.linalg.inv(vectors)[..., beams.origin]
    propagated = start[where] * np.exp(1j * math.pi * values[where] * t.reshape(-1, 1))
    phi = np.einsum("pgj,pj->pg", vectors[where], propagated) if len(distinct) > 1 else propagated @ vectors[0].T
    absorbed = np.exp(-2 * math.pi * t.ravel() / beams.xi_0_prime_nm)
    return (absorbed * np.abs(phi.T) ** 2).reshape(len(beams), *t.shape)


def eigenvalue_spread_inv_nm(beams: BeamSet, turn_inv_nm: ArrayLike = 0.0) -> float:
    """Largest difference of the real parts of the eigenvalues of M over the local deviations."""
    values = np.linalg.eigvals(beams.matrix_inv_nm(np.unique(turn_inv_nm)))
    return float(np.ptp(values.real, axis=-1).max())


def beam_table(
    beams: BeamSet, layer_nm: float, deviation_inv_nm: tuple[float, float], field_inv_nm: float,
    fault_phase_rad: np.ndarray, offsets_inv_nm: np.ndarray, weights: np.ndarray,
) -> BeamTable:  # fmt: skip
    """Tables for layers of `layer_nm`, for a row in which s of one multiple deviates within a range (low, high) and
    d(g.u)/dd stays below `field_inv_nm`; shorter where the phase between beams would turn by more than WIDEST_TURN, or
    where MOST_POWERS do not hold the tolerances.

    Columns outside the range are passed by series, which is as exact and some five times slower. `fault_phase_rad` (F, N);
    `offsets_inv_nm` (Q, N) and `weights` (Q,) are the points of the spread.
    """
    directions, coefficients = beams.directions
    generator = np.empty((len(weights), 2, len(beams), len(beams)), dtype=np.float32)
    middle, deviation = sum(deviation_inv_nm) / 2, abs(deviation_inv_nm[1] - deviation_inv_nm[0]) / 2
    half = min(deviation + field_inv_nm, WIDEST_TURN / (math.pi * layer_nm * float(np.ptp(coefficients[:, 0]))))
    matrices = []
    for q, offsets in enumerate(offsets_inv_nm):
        m = beams.matrix_inv_nm(0.0, offsets)
        diagonal = m.diagonal().real
        m = m - (diagonal.min() + diagonal.max()) / 2 * np.eye(len(beams))
        generator[q] = m.real, m.imag
        if beams.is_row:
            matrices.append(m)
    layers, half = _layers(matrices, coefficients[:, 0], layer_nm, middle, half, deviation)
    count = max((len(powers) for powers in layers), default=0)
    packed = np.zeros((len(weights), 2, len(beams), count * len(beams)), dtype=np.float32)
    for q, powers in enumerate(layers):
        flat = np.moveaxis(powers, 0, 1).reshape(len(beams), -1)
        packed[q, 0, :, : flat.shape[1]], packed[q, 1, :, : flat.shape[1]] = flat.real, flat.imag
    fault = np.stack([np.cos(fault_phase_rad), np.sin(fault_phase_rad)], axis=1).astype(np.float32)
    return BeamTable(
        coefficients=np.ascontiguousarray(coefficients, dtype=np.float32),
        steps=np.diff(coefficients[:, 0], prepend=coefficients[0, 0]).round().astype(np.int64) if beams.is_row else np.empty(0, np.int64),
        generator=generator, layer=packed, range_inv_nm=np.array([middle, half]), turn=beams.turn, fault=fault,
        mean_absorption_inv_nm=1 / beams.xi_0_prime_nm, weights=np.ascontiguousarray(weights, dtype=np.float64),
    )  # fmt: skip


def _layers(
    matrices: list[np.ndarray], n: np.ndarray, layer_nm: float, middle: float, half: float, deviation: float
) -> tuple[list[np.ndarray], float]:
    """`_powers_of_inner_factor` of all matrices over the widest half range up to `half` that all of them allow."""
    while True:
        layers = [_powers_of_inner_factor(m, n, layer_nm, middle, half, min(deviation / half, 0.9)) for m in matrices]
        held = [powers for powers in layers if powers is not None]
        if len(held) == len(layers):
            return held, half
        half *= SHORTER  # ends: of a range of no width the first power is exact


def _powers_of_inner_factor(
    m: np.ndarray, n: np.ndarray, layer_nm: float, middle: float, half: float, usual: float
) -> np.ndarray | None:
    """Coefficients (K, N, N) of u^k in the inner factor less 1, as few as hold the tolerances; None if MOST_POWERS do not.

    |u| <= `usual` is where no line is near. Weighted least squares, closest there.
    """
    n = n - n[0]
    u = np.linspace(-1, 1, 81)
    allowed = TABLE_TOLERANCE + TABLE_TOLERANCE_NEAR * (np.maximum(np.abs(u) - usual, 0) / (1 - usual)) ** 2
    exact = _inner_factor(m, n, layer_nm, middle + half * u).reshape(len(u), -1)
    for count in range(1, MOST_POWERS + 1):
        powers_of_u = np.vander(u, count, increasing=True)
        powers = np.linalg.lstsq(powers_of_u / allowed[:, None], exact / allowed[:, None], rcond=None)[0]
        if (np.abs(powers_of_u @ powers - exact).max(axis=1) < allowed).all():
            powers = powers.reshape(count, *m.shape)
            powers[0] -= np.eye(len(m))
            return powers
    return None


def _inner_factor(m: np.ndarray, n: np.ndarray, layer_nm: float, beta: np.ndarray) -> np.ndarray:
    """D* exp(i pi h (M + 2 beta n)) D* (..., N, N) for beta (...)."""
    values, vectors = np.linalg.eig(m + 2 * beta[:, None, None] * np.diag(n))
    whole = (vectors * np.exp(1j * math.pi * layer_nm * values)[:, None, :]) @ np.linalg.inv(vectors)
    back = np.exp(-1j * math.pi * layer_nm * beta[:, None] * n)
    return back[:, :, None] * whole * back[:, None, :]
