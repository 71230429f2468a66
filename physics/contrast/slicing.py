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
PANEL_FRACTION = 0.5


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

    `step` is pi h, `x_re_0` and `x_im` the real and imaginary part of (step q)^2. Good to 3e-8 for |step^2 (s^2 + q^2)| <= 1. The matrix without 1 keeps float32 from losing the
    small change of a thin slice.
    """
    x_re = x_re_0 + step * step * s * s
    # cos sqrt(x) - 1 = -x/2 p and sin sqrt(x)/sqrt(x) = 1 - x/6 r, by Horner's scheme in complex x.
    p_re, p_im = np.float32(1.0) - x_re * np.float32(1 / 90), -x_im * np.float32(1 / 90)
    p_re, p_im = np.float32(1.0) - (x_re * p_re - x_im * p_im) * np.float32(1 / 56), -(x_re * p_im + x_im * p_re) * np.float32(1 / 56)
    p_re, p_im = np.float32(1.0) - (x_re * p_re - x_im * p_im) * np.float32(1 / 30), -(x_re * p_im + x_im * p_re) * np.float32(1 / 30)
    p_re, p_im = np.float32(1.0) - (x_re * p_re - x_im * p_im) * np.float32(1 / 12), -(x_re * p_im + x_im * p_re) * np.float32(1 / 12)
    c_re, c_im = -(x_re * p_re - x_im * p_im) * np.float32(1 / 2), -(x_re * p_im + x_im * p_re) * np.float32(1 / 2)
    r_re, r_im = np.float32(1.0) - x_re * np.float32(1 / 72), -x_im * np.float32(1 / 72)
    r_re, r_im = np.float32(1.0) - (x_re * r_re - x_im * r_im) * np.float32(1 / 42), -(x_re * r_im + x_im * r_re) * np.float32(1 / 42)
    r_re, r_im = np.float32(1.0) - (x_re * r_re - x_im * r_im) * np.float32(1 / 20), -(x_re * r_im + x_im * r_re) * np.float32(1 / 20)
    r_re, r_im = np.float32(1.0) - (x_re * r_re - x_im * r_im) * np.float32(1 / 6), -(x_re * r_im + x_im * r_re) * np.float32(1 / 6)
    t_re, t_im = step * r_re, step * r_im
    u_re, u_im = q_re + eps * q_im, q_im - eps * q_re
    v_re, v_im = q_re - eps * q_im, q_im + eps * q_re
    return (
        c_re + s * t_im, c_im - s * t_re,
        -t_im * u_re - t_re * u_im, t_re * u_re - t_im * u_im,
        -t_im * v_re - t_re * v_im, t_re * v_re - t_im * v_im,
        c_re - s * t_im, c_im + s * t_re,
    )  # fmt: skip
