"""The two beams through slices in torch: one fourth-order Magnus step a slice (`physics.contrast.slicing`).

A 2x2 matrix is eight real numbers of (matrix - 1), rows first, real and imaginary part in turn: float32 would lose
the small change of a thin slice beside the 1, and real arithmetic can be fused. The factor
exp(i pi S h - pi h / xi_0') that both beams share is left to the end.

Axes: slices first, then any columns.
"""

from __future__ import annotations

import math

import torch

from physics.contrast.slicing import GAUSS_OFFSET
from physics.gpu.device import fused

# cos sqrt(x) - 1 and sin sqrt(x)/sqrt(x) - 1 as series in x; what is left out is below 1e-10 for |x| <= 1.5.
_COSINE = [(-1) ** k / math.factorial(2 * k) for k in range(1, 8)]
_SINC = [(-1) ** k / math.factorial(2 * k + 1) for k in range(1, 8)]


def _series(coefficients: list[float], x: torch.Tensor) -> torch.Tensor:
    total = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = c + x * total
    return x * total


def _derivative(coefficients: list[float], x: torch.Tensor) -> torch.Tensor:
    total = torch.full_like(x, len(coefficients) * coefficients[-1])
    for k in range(len(coefficients) - 1, 0, -1):
        total = k * coefficients[k - 1] + x * total
    return total


def slice_matrix(
    s_1: torch.Tensor, s_2: torch.Tensor, length_nm: torch.Tensor, q_re: torch.Tensor, q_im: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """The matrix through a slice or panel of `length_nm`; s_1, s_2 are s + d(g.u)/dd at its upper and lower Gauss point.

    q = 1/xi_g + i/xi_g'. The series are expanded about the real part of x = (pi h)^2 (s^2 + q^2 (1 + eps^2)) to third
    order in its imaginary part y; what is left out is y^4/40320: 4e-11 for 1 nm at xi_g = xi_g' = 25 nm.
    """
    step = math.pi * length_nm
    s = (s_1 + s_2) / 2
    eps = GAUSS_OFFSET * step * (s_2 - s_1)
    turned = step * step * (1 + eps * eps)
    x = step * step * s * s + turned * (q_re * q_re - q_im * q_im)
    y = turned * (2 * q_re * q_im)
    sinc, slope = 1 + _series(_SINC, x), _derivative(_SINC, x)
    # (cos sqrt x)' = -(sin sqrt x / sqrt x) / 2, and half the second derivative of the latter.
    bend = 1 / 120 - x * (1 / 1680 - x / 60480)
    square = y * y
    c_re, c_im = _series(_COSINE, x) + square * slope / 4, -y * (sinc / 2 - square / 720)
    t_re, t_im = step * (sinc - square * bend), step * y * (slope + square / 5040)
    w_re, w_im = t_re * q_re - t_im * q_im, t_re * q_im + t_im * q_re
    return (
        c_re + s * t_im, c_im - s * t_re,
        eps * w_re - w_im, eps * w_im + w_re,
        -eps * w_re - w_im, w_re - eps * w_im,
        c_re - s * t_im, c_im + s * t_re,
    )  # fmt: skip


def _stacked_slice_matrix(
    s_1: torch.Tensor, s_2: torch.Tensor, length_nm: torch.Tensor, q_re: torch.Tensor, q_im: torch.Tensor
) -> torch.Tensor:
    return torch.stack(slice_matrix(s_1, s_2, length_nm, q_re, q_im))


def applied(m: tuple[torch.Tensor, ...], state: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """The amplitudes (re phi_0, im phi_0, re phi_g, im phi_g) after a matrix."""
    p, q, u, v = state
    return (
        p + (m[0] * p - m[1] * q + m[2] * u - m[3] * v), q + (m[0] * q + m[1] * p + m[2] * v + m[3] * u),
        u + (m[4] * p - m[5] * q + m[6] * u - m[7] * v), v + (m[4] * q + m[5] * p + m[6] * v + m[7] * u),
    )  # fmt: skip


def _after(later: torch.Tensor, earlier: torch.Tensor) -> torch.Tensor:
    """(later (earlier - 1) ... ): the matrix (8, ...) of `earlier` and then `later`, both and the result less 1."""
    total = []
    for row in (0, 4):
        for column in (0, 2):
            re, im = later[row + column] + earlier[row + column], later[row + column + 1] + earlier[row + column + 1]
            for k in range(2):
                a_re, a_im = later[row + 2 * k], later[row + 2 * k + 1]
                b_re, b_im = earlier[4 * k + column], earlier[4 * k + column + 1]
                re, im = re + a_re * b_re - a_im * b_im, im + a_re * b_im + a_im * b_re
            total += [re, im]
    return torch.stack(total)


def _pass_slices(
    a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor, beta: torch.Tensor, s: torch.Tensor,
    step: torch.Tensor, first: torch.Tensor, slices: torch.Tensor, q_re: torch.Tensor, q_im: torch.Tensor,
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    """Amplitudes (T, P) after the slices of one leaf: `beta` (T, q, 2, P) at their Gauss points, number `first` the first."""
    state = (a, b, c, d)
    for i in range(beta.shape[1]):
        length = torch.where(first + i < slices, step, 0.0)
        state = applied(slice_matrix(s + beta[:, i, 0], s + beta[:, i, 1], length, q_re, q_im), state)
    return state


def _pass_matrices(
    a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor, matrices: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Amplitudes (C,) after matrices (8, k, C), first to last."""
    state = (a, b, c, d)
    for i in range(matrices.shape[1]):
        state = applied(tuple(matrices[:, i].unbind(0)), state)
    return state


stacked_slice_matrix = fused(_stacked_slice_matrix)
pass_slices = fused(_pass_slices)
pass_matrices = fused(_pass_matrices)
after = fused(_after)


def entering(like: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The amplitudes at the entrance face."""
    return torch.ones_like(like), torch.zeros_like(like), torch.zeros_like(like), torch.zeros_like(like)


def times_phase(m: torch.Tensor, phase_rad: torch.Tensor) -> torch.Tensor:
    """Matrices (8, N) with phi_g multiplied by exp(i phase) (N,) after them, all less 1."""
    cosine, sine = torch.cos(phase_rad), torch.sin(phase_rad)
    less = -2 * torch.sin(phase_rad / 2) ** 2
    return torch.stack(
        [m[0], m[1], m[2], m[3], cosine * m[4] - sine * m[5], cosine * m[5] + sine * m[4],
         less + cosine * m[6] - sine * m[7], sine + cosine * m[7] + sine * m[6]]
    )  # fmt: skip
