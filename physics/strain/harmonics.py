"""Odd functions on the sphere as real spherical harmonics: projection, rotation, and integrals along great circles.

Harmonics are orthonormal, without the Condon-Shortley sign: N_lm P_l^m(cos theta) times cos m phi (m >= 0) or
sin |m| phi (m < 0), P_l^m(x) = (1 - x^2)^(m/2) d^m P_l/dx^m. Only odd l occur; they run l = 1, 3, ..., and m from
-l to l within each, so that degree l ends at (l + 1)(l + 2)/2.

Axes: P points, H harmonics, S functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np


def count(degree: int) -> int:
    """Number of odd harmonics up to an odd degree."""
    return (degree + 1) * (degree + 2) // 2


def place(l: int, m: int) -> int:
    """Index of the harmonic (l, m)."""
    return l * (l - 1) // 2 + l + m


def values(degree: int, direction: np.ndarray) -> np.ndarray:
    """All odd harmonics (P, H) at unit vectors (P, 3).

    Recursion in l at fixed m of the normalised Legendre functions (Holmes & Featherstone, J. Geod. 76 (2002) 279).
    """
    x, y, z = direction.T
    out = np.empty((len(direction), count(degree)))
    sector, turn = np.full(len(direction), math.sqrt(1 / (4 * math.pi))), np.ones(len(direction), complex)
    for m in range(degree + 1):
        if m > 0:
            # (x + i y)^m = sin^m theta e^{i m phi} holds the power of sin theta.
            sector = sector * math.sqrt((2 * m + 1) / (2 * m)) * (math.sqrt(2) if m == 1 else 1)
            turn = turn * (x + 1j * y)
        before, here = np.zeros_like(sector), sector
        for l in range(m, degree + 1):
            if l > m:
                a = math.sqrt((4 * l * l - 1) / (l * l - m * m))
                b = math.sqrt((2 * l + 1) * (l + m - 1) * (l - m - 1) / ((2 * l - 3) * (l * l - m * m))) if l > m + 1 else 0.0
                before, here = here, a * z * here - b * before
            if l % 2 == 1:
                out[:, place(l, m)] = here * turn.real
                if m > 0:
                    out[:, place(l, -m)] = here * turn.imag
    return out


def half_sphere(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions (P, 3) with z > 0 and weights (P,) that integrate even functions up to 2 degree + 1 over the sphere."""
    points = degree + 1 + (degree + 1) % 2
    cosine, weight = np.polynomial.legendre.leggauss(points)
    cosine, weight = cosine[points // 2 :], weight[points // 2 :]
    phi = 2 * math.pi * (np.arange(2 * degree + 2) + 0.5) / (2 * degree + 2)
    sine = np.sqrt(1 - cosine**2)[:, None]
    direction = np.stack(np.broadcast_arrays(sine * np.cos(phi), sine * np.sin(phi), cosine[:, None]), axis=-1)
    return direction.reshape(-1, 3), np.repeat(4 * math.pi / (2 * degree + 2) * weight, len(phi))


@cache
def _quarter_turns(degree: int) -> list[np.ndarray]:
    """For l = 1, 3, ... the matrix D with Y(X v) = D Y(v), X the turn about x that takes z to y."""
    direction, weight = half_sphere(degree)
    turned = direction @ np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]).T
    before, after = values(degree, direction), values(degree, turned)
    blocks = [slice(place(l, -l), place(l, l) + 1) for l in range(1, degree + 1, 2)]
    return [(after[:, block] * weight[:, None]).T @ before[:, block] for block in blocks]


def in_frames(coefficients: np.ndarray, axes: np.ndarray, degree: int) -> np.ndarray:
    """Coefficients (S, H) of functions on the sphere after each is written in a frame of its own.

    `axes` (S, 3, 3) has the axes of the frames as rows. The rotation is split into turns about z and fixed quarter
    turns, axes^T = Rz(a) Ry(b) Rz(c), Ry(b) = X Rz(b) X^-1.
    """
    third = axes[:, 2]
    b = np.arctan2(np.hypot(third[:, 0], third[:, 1]), third[:, 2])
    a = np.arctan2(third[:, 1], third[:, 0])
    # What is left after a and b is a turn about z: read it off the image of the first axis.
    cos_a, sin_a = np.cos(a), np.sin(a)
    in_plane = np.stack([cos_a * np.cos(b), sin_a * np.cos(b), -np.sin(b)], axis=1)
    across = np.stack([-sin_a, cos_a, np.zeros_like(a)], axis=1)
    c = np.arctan2(np.einsum("si,si->s", axes[:, 0], across), np.einsum("si,si->s", axes[:, 0], in_plane))
    turns = [_cosines_and_sines(angle, degree) for angle in (a, b, c)]
    out = np.empty_like(coefficients)
    for l, quarter in zip(range(1, degree + 1, 2), _quarter_turns(degree)):
        block = slice(place(l, -l), place(l, l) + 1)
        part = _turned(coefficients[:, block], turns[0], l) @ quarter
        part = _turned(part, turns[1], l) @ quarter.T
        out[:, block] = _turned(part, turns[2], l)
    return out


def _cosines_and_sines(angle: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    multiple = angle[:, None] * np.arange(-degree, degree + 1)
    return np.cos(multiple), np.sin(multiple)


def _turned(part: np.ndarray, turn: tuple[np.ndarray, np.ndarray], l: int) -> np.ndarray:
    """c D for a turn about z: a cos m(phi + t) + b sin m(phi + t); sin(-m t) pairs with the opposite sign of m."""
    middle = turn[0].shape[1] // 2
    cosine, sine = turn[0][:, middle - l : middle + l + 1], turn[1][:, middle - l : middle + l + 1]
    return part * cosine + part[:, ::-1] * sine


@dataclass(frozen=True, kw_only=True, eq=False)
class Integrals:
    """What integrating N_lm P_l^m gives along a straight line, see `great_circle`.

    `line` is k, `end` the coefficients of r (m odd) or d (m even), lowest power of q first.
    """

    line: float
    end: np.ndarray


@cache
def great_circle(l: int, m: int) -> Integrals:
    """Integral of N P_l^m(zeta/R)/R^2 along s = -zeta at distance rho, q = rho^2/R^2, u = s/R, l odd, m >= 0:

        m odd:  (k I_m(u) + u q^((m+1)/2) r(q))/rho,   I_m(u) = int_0^u (1 - u^2)^((m-1)/2) du
        m even: q^((m+1)/2) d(q)/rho

    From 2^l P_l = sum (-1)^k C(l, k) C(2l - 2k, l) x^(l - 2k), x^2 = 1 - q, and with J_p = int q^p du,
    (2p + 1) J_p = u q^p + 2p J_(p-1). In whole numbers: the sums alternate.
    """
    power_of_q = [0] * ((l - m) // 2 + 1)  # (d^m P_l/dx^m) 2^l, without a factor x for even m
    for k in range((l - m) // 2 + 1):
        power = l - 2 * k
        value = (-1) ** k * math.comb(l, k) * math.comb(2 * l - 2 * k, l) * math.perm(power, m)
        half = (power - m) // 2
        for j in range(half + 1):
            power_of_q[j] += value * (-1) ** j * math.comb(half, j)
    norm = math.sqrt((2 * l + 1) / (4 * math.pi) * (2 if m else 1) * math.factorial(l - m) / math.factorial(l + m)) / 2**l
    if m % 2 == 0:
        # int q^(m/2) x E(q) ds/R^2 = int q^((m-1)/2) E dq/2 over rho, with x = -u and dq = -2 u du.
        end = [Fraction(e, 2 * j + m + 1) for j, e in enumerate(power_of_q)]
        return Integrals(line=0.0, end=norm * np.array([float(e) for e in end]))
    lowest = (m - 1) // 2
    end = [Fraction(0)] * (len(power_of_q) - 1)
    carried = Fraction(0)
    for j in range(len(power_of_q) - 1, 0, -1):
        p = lowest + j
        carried += power_of_q[j]
        end[j - 1] = carried / (2 * p + 1)
        carried *= Fraction(2 * p, 2 * p + 1)
    return Integrals(line=norm * float(carried + power_of_q[0]), end=norm * np.array([float(e) for e in end]))
