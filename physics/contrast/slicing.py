"""One step of the two-beam equations, and how fine the steps are near a line.

A panel is a piece of a column with two Gauss points. Over it the equations are solved by the Magnus expansion
to fourth order (Blanes, Casas, Oteo & Ros, Phys. Rep. 470 (2009) 151, eq. 253),

    Omega = h (A_1 + A_2)/2 - sqrt(3)/12 h^2 [A_1, A_2],

whose exponential is again that of a 2x2 matrix: the commutator only turns the couplings into q (1 - i eps) and
q (1 + i eps), eps = pi h (S_2 - S_1)/(2 sqrt 3). The slicing error depends on how fast the distortion turns
within a step, not on its size, so the step follows the distance to the nearest line.
"""

from __future__ import annotations

import math

import numba
import numpy as np

# Where the two Gauss points lie, in panels, from its middle.
GAUSS_OFFSET = math.sqrt(3) / 6
# A panel is at most this fraction of sqrt(distance^2 + core^2).
PANEL_FRACTION = 0.3

# Largest turn pi h (s + d(g.u)/dd) of a slice: the series then errs by 2e-5.
_MOST_TURN = np.float32(1.5)
_ONE, _HALF, _QUARTER = np.float32(1), np.float32(1 / 2), np.float32(1 / 4)
# Series of cos sqrt(x) - 1, sin sqrt(x)/sqrt(x) and the derivative of the latter.
_C1, _C2, _C3, _C4 = np.float32(-1 / 2), np.float32(1 / 24), np.float32(-1 / 720), np.float32(1 / 40320)
_S1, _S2, _S3, _S4 = np.float32(-1 / 6), np.float32(1 / 120), np.float32(-1 / 5040), np.float32(1 / 362880)
_D0, _D1, _D2, _D3 = np.float32(1 / 120), np.float32(1 / 60), np.float32(-1 / 1680), np.float32(1 / 90720)


@numba.njit(cache=True, error_model="numpy")
def panel_count(length_nm: float, distance_sq_nm: float, core_sq_nm: float) -> int:
    """How many panels a piece of column needs whose middle lies at that distance from the nearest line."""
    longest = PANEL_FRACTION * math.sqrt(distance_sq_nm + core_sq_nm)
    return max(1, int(math.ceil(length_nm / longest - 1e-9)))


@numba.njit(cache=True, error_model="numpy")
def pass_panel(phi_0, phi_g, s_1, s_2, length_nm, q):
    """The two amplitudes after a panel, without the factor e^{i pi S h - pi h/xi_0'} common to both.

    `s_1`, `s_2` are s + d(g.u)/dd at the upper and lower Gauss point, `q` the complex coupling.
    """
    step = math.pi * length_nm
    s = (s_1 + s_2) / 2
    eps = GAUSS_OFFSET * step * (s_2 - s_1)
    x = step * step * (s * s + q * q * (1 + eps * eps))
    if abs(x) < 0.5:
        # cos sqrt(x) and sin sqrt(x)/sqrt(x) are entire in x; the terms left out are below 1e-16.
        cosine = 1 - x / 2 * (1 - x / 12 * (1 - x / 30 * (1 - x / 56 * (1 - x / 90 * (1 - x / 132)))))
        sinc = 1 - x / 6 * (1 - x / 20 * (1 - x / 42 * (1 - x / 72 * (1 - x / 110 * (1 - x / 156)))))
    else:
        root = np.sqrt(x)
        cosine = np.cos(root)
        sinc = np.sin(root) / root
    sine = 1j * step * sinc
    return (
        (cosine - s * sine) * phi_0 + q * (1 - 1j * eps) * sine * phi_g,
        q * (1 + 1j * eps) * sine * phi_0 + (cosine + s * sine) * phi_g,
    )


@numba.njit(cache=True, error_model="numpy", inline="always")
def step_matrix(s, eps, step, q_re, q_im, x_re_0, x_im):
    """`pass_panel` as the eight real numbers of (matrix - 1), rows first, in float32.

    `step` is pi h, `x_re_0` and `x_im` the real and imaginary part of (step q)^2. With x = (step G)^2, cos sqrt(x)
    and sin sqrt(x)/sqrt(x) are expanded about the real part of x, where (cos sqrt x)' = -(sin sqrt(x)/sqrt x)/2;
    good to 1e-7 for |x| <= 0.5. Where the field is that of an outcrop a few hundredths of a nm away, no slice is thin enough:
    a turn over _MOST_TURN, beyond which the series would make electrons, is taken as that. The matrix without 1 keeps float32 from
    losing the small change of a thin slice.
    """
    turn = min(max(step * s, -_MOST_TURN), _MOST_TURN)
    eps = min(max(eps, -_ONE), _ONE)
    x = x_re_0 + turn * turn
    cosine = x * (_C1 + x * (_C2 + x * (_C3 + x * _C4)))
    sinc = _ONE + x * (_S1 + x * (_S2 + x * (_S3 + x * _S4)))
    slope = _S1 + x * (_D1 + x * (_D2 + x * _D3))
    u_re, u_im = sinc - _D0 * x_im * x_im, x_im * slope
    t_re, t_im = step * u_re, step * u_im
    c_re, c_im = cosine + _QUARTER * x_im * x_im * slope, -_HALF * x_im * sinc
    w_re, w_im = t_re * q_re - t_im * q_im, t_re * q_im + t_im * q_re
    return (
        c_re + turn * u_im, c_im - turn * u_re,
        eps * w_re - w_im, eps * w_im + w_re,
        -eps * w_re - w_im, w_re - eps * w_im,
        c_re - turn * u_im, c_im + turn * u_re,
    )  # fmt: skip
