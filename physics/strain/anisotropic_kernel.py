"""Compiled sum of the closed form of `anisotropic` over blocks of points, in the precision of the arrays.

Points pass in blocks that stay in the fastest memory; every step is a short loop over a block, which compiles to
vector instructions. A segment and voxel of copper (END_DEGREE 15, LINE_DEGREE 17) takes 13 to 17 ns of one core in
float32 on a loaded machine, an isotropic one 1.2 ns idle; see benchmarks/anisotropic.py.

Axes: P points of a block.
"""

from __future__ import annotations

import math

import numba
import numpy as np

# Columns of a row. Geometry as in `isotropic`; then the two degrees, three core terms, and for m = 0, 1, ...
# [k if m is odd] and the coefficients of d_m or r_m, lowest power first, cosine and sine parts in turn.
T, N1, N2, START, LENGTH, CORE_SQ, END_DEGREE, LINE_DEGREE, CORE_1, COEFFICIENTS = 0, 3, 6, 9, 12, 13, 14, 15, 16, 19

BLOCK = 256
WHOLE = 64
# Work is one flat array cut at fixed places, so that the compiler sees that its parts do not overlap: checking that
# before each short loop would cost a third of the time. s is the start's, then rho/sqrt(Q); U, E are u q^((m+1)/2)
# and q^((m+1)/2); 1 stands for the segment's start, 2 for its end.
# The parts lie 16 places apart, lest they fall on each other in units of 4 kB.
S, X, Y, Q1, Q2, U1, U2, E1, E2, LINE, ZX, ZY, OVER, SUM, A1, A2, B1, B2, C1, C2, D1, D2 = (
    i * (BLOCK + 16) for i in range(22)
)
WORK = 22 * (BLOCK + 16)


@numba.njit(cache=True, error_model="numpy", nogil=True)
def sum_blocks(begin, end, rows, points_nm, total):
    """Add all rows' fields to `total` (P,) at `points_nm` (P, 3), blocks [begin, end) of BLOCK points."""
    work = np.empty(WORK)
    for c in range(begin, end):
        first, last = c * BLOCK, min(len(points_nm), (c + 1) * BLOCK)
        x, y, z = points_nm[first:last, 0].copy(), points_nm[first:last, 1].copy(), points_nm[first:last, 2].copy()
        for k in range(len(rows)):
            add_row(rows[k], x, y, z, total[first:last], work)


@numba.njit(cache=True, error_model="numpy")
def add_row(row, x, y, z, total, work):
    """Add one segment's g.beta.e to `total` (P,) at the points (x, y, z), all float64; `work` is (WORK,)."""
    for first in range(0, total.size, BLOCK):
        count = min(BLOCK, total.size - first)
        for i in range(count):
            dx, dy, dz = x[first + i] - row[START], y[first + i] - row[START + 1], z[first + i] - row[START + 2]
            work[S + i] = -(row[T] * dx + row[T + 1] * dy + row[T + 2] * dz)
            work[X + i] = row[N1] * dx + row[N1 + 1] * dy + row[N1 + 2] * dz
            work[Y + i] = row[N2] * dx + row[N2 + 1] * dy + row[N2 + 2] * dz
        _add_block(row, total[first : first + count], work)


@numba.njit(cache=True, error_model="numpy")
def add_packed(p, x, y, z, total, work):
    """Add a packed segment's field to `total` (P,) at (x, y, z) relative to the box's centre, all float32."""
    s0, sx, sy, sz = p[0], p[1], p[2], p[3]
    a0, ax, ay, az = p[4], p[5], p[6], p[7]
    b0, bx, by, bz = p[8], p[9], p[10], p[11]
    for first in range(0, total.size, BLOCK):
        last = min(first + BLOCK, total.size)
        xs, ys, zs = x[first:last], y[first:last], z[first:last]
        for i in range(last - first):
            work[S + i] = s0 + sx * xs[i] + sy * ys[i] + sz * zs[i]
            work[X + i] = a0 + ax * xs[i] + ay * ys[i] + az * zs[i]
            work[Y + i] = b0 + bx * xs[i] + by * ys[i] + bz * zs[i]
        _add_block(p, total[first:last], work)


@numba.njit(cache=True, error_model="numpy")
def _add_block(p, total, work):
    """Add to `total` (P,) the field at points whose s to the start, rho1, rho2 lie in work at S, X, Y."""
    kind = total.dtype.type
    one, two, third = kind(1.0), kind(2.0), kind(1.0 / 3.0)
    # A whole number of vectors: what is left over would pass one by one.
    n = min(BLOCK, (total.size + WHOLE - 1) // WHOLE * WHOLE)
    for i in range(total.size, n):
        work[S + i], work[X + i], work[Y + i] = one, one, one
    length, core_sq, end_degree, line_degree = p[LENGTH], p[CORE_SQ], int(p[END_DEGREE]), int(p[LINE_DEGREE])
    core_1, core_2, core_t = p[CORE_1], p[CORE_1 + 1], p[CORE_1 + 2]
    for i in range(n):
        rho1, rho2, s1 = work[X + i], work[Y + i], work[S + i]
        big_q = rho1 * rho1 + rho2 * rho2 + core_sq
        s2 = s1 + length
        over = one / math.sqrt(big_q)
        r1, r2 = one / math.sqrt(s1 * s1 + big_q), one / math.sqrt(s2 * s2 + big_q)
        root = big_q * over
        u1, u2, e1, e2 = s1 * r1, s2 * r2, root * r1, root * r2
        q1, q2, vx, vy = e1 * e1, e2 * e2, rho1 * over, rho2 * over
        i3 = (u2 * (two + q2) - u1 * (two + q1)) * third
        core = (core_1 * vx + core_2 * vy) * i3 + core_t * (e2 * q2 - e1 * q1)
        work[SUM + i] = core * over * over
        work[OVER + i], work[LINE + i] = over, u2 - u1
        work[U1 + i], work[U2 + i], work[E1 + i], work[E2 + i] = u1, u2, e1, e2
        work[Q1 + i], work[Q2 + i] = q1, q2
        work[X + i], work[Y + i] = vx, vy
        work[ZX + i], work[ZY + i] = vx, vy
    terms = (end_degree + 1) // 2
    at = COEFFICIENTS
    _polynomial(p, at, terms, work, n)
    at += terms
    for m in range(1, max(end_degree, line_degree) + 1, 2):
        terms = max(0, (end_degree - m) // 2)
        k1, k2, next_m, over_next = p[at], p[at + 1], kind(m + 1), kind(1.0 / (m + 2))
        if terms == 0:
            _add_line(k1, k2, next_m, over_next, work, n)
        else:
            _first_terms(p, at + 2, terms, work, n)
            _add_pair(p, at + 2, terms, k1, k2, next_m, over_next, work, n)
        at += 2 + 4 * terms
    for i in range(total.size):
        total[i] += work[SUM + i] * work[OVER + i]


@numba.njit(cache=True, error_model="numpy")
def _add_pair(p, at, terms, k1, k2, next_m, over_next, work, n):
    """Add m odd, (k I_m + u q^((m+1)/2) r_m) z^m, and m + 1, q^((m+2)/2) d_(m+1) z^(m+1); go on to m + 2.

    (m + 2) I_(m+2) = u q^((m+1)/2) + (m + 1) I_m. The lowest min(terms, 4) coefficients are applied here, to what
    `_first_terms` has made of the others.
    """
    zero = k1 - k1
    r3, t3, r2, t2, r1, t1 = zero, zero, zero, zero, zero, zero
    d3, f3, d2, f2, d1, f1 = zero, zero, zero, zero, zero, zero
    r0, t0, d0, f0 = p[at], p[at + 1], p[at + 2 * terms], p[at + 2 * terms + 1]
    if terms > 1:
        r1, t1, d1, f1 = p[at + 2], p[at + 3], p[at + 2 * terms + 2], p[at + 2 * terms + 3]
    if terms > 2:
        r2, t2, d2, f2 = p[at + 4], p[at + 5], p[at + 2 * terms + 4], p[at + 2 * terms + 5]
    if terms > 3:
        r3, t3, d3, f3 = p[at + 6], p[at + 7], p[at + 2 * terms + 6], p[at + 2 * terms + 7]
    for i in range(n):
        q1, q2, line = work[Q1 + i], work[Q2 + i], work[LINE + i]
        u1, u2, e1, e2 = work[U1 + i] * q1, work[U2 + i] * q2, work[E1 + i], work[E2 + i]
        ra1 = (((work[A1 + i] * q1 + r3) * q1 + r2) * q1 + r1) * q1 + r0
        ra2 = (((work[A2 + i] * q2 + r3) * q2 + r2) * q2 + r1) * q2 + r0
        rb1 = (((work[B1 + i] * q1 + t3) * q1 + t2) * q1 + t1) * q1 + t0
        rb2 = (((work[B2 + i] * q2 + t3) * q2 + t2) * q2 + t1) * q2 + t0
        a = k1 * line + (u2 * ra2 - u1 * ra1)
        b = k2 * line + (u2 * rb2 - u1 * rb1)
        da1 = (((work[C1 + i] * q1 + d3) * q1 + d2) * q1 + d1) * q1 + d0
        da2 = (((work[C2 + i] * q2 + d3) * q2 + d2) * q2 + d1) * q2 + d0
        db1 = (((work[D1 + i] * q1 + f3) * q1 + f2) * q1 + f1) * q1 + f0
        db2 = (((work[D2 + i] * q2 + f3) * q2 + f2) * q2 + f1) * q2 + f0
        c, d = e2 * da2 - e1 * da1, e2 * db2 - e1 * db1
        zx, zy, vx, vy = work[ZX + i], work[ZY + i], work[X + i], work[Y + i]
        wx, wy = zx * vx - zy * vy, zx * vy + zy * vx
        work[SUM + i] += a * zx + b * zy + c * wx + d * wy
        work[U1 + i], work[U2 + i], work[E1 + i], work[E2 + i] = u1, u2, e1 * q1, e2 * q2
        work[LINE + i] = (u2 - u1 + next_m * line) * over_next
        work[ZX + i] = wx * vx - wy * vy
        work[ZY + i] = wx * vy + wy * vx


@numba.njit(cache=True, error_model="numpy")
def _add_line(k1, k2, next_m, over_next, work, n):
    """`_add_pair` beyond the degree of the ends: k I_m z^m alone."""
    for i in range(n):
        u1, u2, line = work[U1 + i] * work[Q1 + i], work[U2 + i] * work[Q2 + i], work[LINE + i]
        zx, zy, vx, vy = work[ZX + i], work[ZY + i], work[X + i], work[Y + i]
        work[SUM + i] += line * (k1 * zx + k2 * zy)
        work[U1 + i], work[U2 + i] = u1, u2
        work[LINE + i] = (u2 - u1 + next_m * line) * over_next
        wx, wy = vx * vx - vy * vy, vx * vy + vx * vy
        work[ZX + i] = zx * wx - zy * wy
        work[ZY + i] = zx * wy + zy * wx


@numba.njit(cache=True, error_model="numpy")
def _polynomial(p, at, terms, work, n):
    """Add m = 0, q^(1/2) d_0, with `terms` coefficients from p[at] on, and go on to m = 2."""
    top = p[at + terms - 1]
    for i in range(n):
        work[A1 + i] = top
        work[A2 + i] = top
    for j in range(terms - 1):
        a = p[at + terms - 2 - j]
        for i in range(n):
            work[A1 + i] = work[A1 + i] * work[Q1 + i] + a
            work[A2 + i] = work[A2 + i] * work[Q2 + i] + a
    for i in range(n):
        e1, e2 = work[E1 + i], work[E2 + i]
        work[SUM + i] += e2 * work[A2 + i] - e1 * work[A1 + i]
        work[E1 + i], work[E2 + i] = e1 * work[Q1 + i], e2 * work[Q2 + i]


@numba.njit(cache=True, error_model="numpy")
def _first_terms(p, at, terms, work, n):
    """Horner's scheme of r (into A, B) and d (into C, D) at q1 and q2, all but the lowest four coefficients.

    Three coefficients a pass: what a pass loads and stores would otherwise cost more than its arithmetic.
    """
    zero = p[at] - p[at]
    if terms == 5:
        j = at + 8
        a0, b0, c0, d0 = p[j], p[j + 1], p[j + 2 * terms], p[j + 2 * terms + 1]
        for i in range(n):
            work[A1 + i], work[A2 + i], work[B1 + i], work[B2 + i] = a0, a0, b0, b0
            work[C1 + i], work[C2 + i], work[D1 + i], work[D2 + i] = c0, c0, d0, d0
        return
    for i in range(n):
        work[A1 + i], work[A2 + i], work[B1 + i], work[B2 + i] = zero, zero, zero, zero
        work[C1 + i], work[C2 + i], work[D1 + i], work[D2 + i] = zero, zero, zero, zero
    # From the highest coefficient down to the fifth, in threes; zeros stand in above the highest.
    top = 4 + (terms - 4 + 2) // 3 * 3
    while top > 4:
        a2, b2, c2, d2, a1, b1, c1, d1 = zero, zero, zero, zero, zero, zero, zero, zero
        if top - 1 < terms:
            j = at + 2 * top - 2
            a2, b2, c2, d2 = p[j], p[j + 1], p[j + 2 * terms], p[j + 2 * terms + 1]
        if top - 2 < terms:
            j = at + 2 * top - 4
            a1, b1, c1, d1 = p[j], p[j + 1], p[j + 2 * terms], p[j + 2 * terms + 1]
        j = at + 2 * top - 6
        a0, b0, c0, d0 = p[j], p[j + 1], p[j + 2 * terms], p[j + 2 * terms + 1]
        for i in range(n):
            q1, q2 = work[Q1 + i], work[Q2 + i]
            work[A1 + i] = ((work[A1 + i] * q1 + a2) * q1 + a1) * q1 + a0
            work[A2 + i] = ((work[A2 + i] * q2 + a2) * q2 + a1) * q2 + a0
            work[B1 + i] = ((work[B1 + i] * q1 + b2) * q1 + b1) * q1 + b0
            work[B2 + i] = ((work[B2 + i] * q2 + b2) * q2 + b1) * q2 + b0
            work[C1 + i] = ((work[C1 + i] * q1 + c2) * q1 + c1) * q1 + c0
            work[C2 + i] = ((work[C2 + i] * q2 + c2) * q2 + c1) * q2 + c0
            work[D1 + i] = ((work[D1 + i] * q1 + d2) * q1 + d1) * q1 + d0
            work[D2 + i] = ((work[D2 + i] * q2 + d2) * q2 + d1) * q2 + d0
        top -= 3
