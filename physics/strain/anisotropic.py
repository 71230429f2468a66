"""Distortion of straight segments in a crystal of any elastic stiffness, with a non-singular core.

Mura's line integral (Mura, Micromechanics of Defects in Solids, 2nd ed. 1987, eq. 37.9), contracted with g and a
direction e, is for a segment of tangent t, with w = t x e,

    g.beta.e = int f(x - x') dl',   f(R) = b_i w_j C_ijkl g_m G_km,l(R),

and f is an odd function of the direction of R over R^2. Barnett's integral (`green`) gives it; here it is written
in odd spherical harmonics, f R^2 = sum c_lm Y_lm, once for a crystal, and turned into the frame (n1, n2, t) of
each segment. There harmonics integrate along the segment in closed form (`harmonics.great_circle`): with s the
distance along t from the point's foot to the segment's ends, z = (rho1 + i rho2)/rho, u = s/R, q = rho^2/R^2,

    g.beta.e = 1/rho Re sum_m z^m [ k_m I_m(u) + u q^((m+1)/2) r_m(q) ]_start^end    (m odd)
             + 1/rho Re sum_m z^m [ q^((m+1)/2) d_m(q) ]_start^end                   (m even),

without trigonometry and without tables. In an isotropic crystal l <= 3 is the whole sum.

Truncation. The sum over l converges as fast as the crystal is anisotropic (copper: the part beyond l is 0.08, 0.02,
5e-3, 1e-3 at l = 7, 11, 15, 19). r and d, the share of the ends, cancel at a joint of two segments up to the bend
there, and are kept to l <= `end_degree`; k, the field of an endless line, takes all l and is kept to m <=
`line_degree`.

Core. rho^2 is replaced by Q = rho^2 + a^2 and R by R_a, R_a^2 = s^2 + Q, so that the field is smooth and vanishes on
the line; l = 1 and 3 get terms in a^2 besides, with which they are what spreading the Burgers vector makes of them
(Cai, Arsenlis, Weinberger & Bulatov, J. Mech. Phys. Solids 54 (2006) 561). In an isotropic crystal the field
therefore equals that of `isotropic` everywhere; otherwise the choice of a core changes it by about (a/rho)^2.

Axes: S segments, P points, H harmonics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from physics.errors import require
from physics.parallel import over_threads
from physics.strain.anisotropic_kernel import (
    BLOCK,
    COEFFICIENTS,
    CORE_1,
    CORE_SQ,
    END_DEGREE,
    LENGTH,
    LINE_DEGREE,
    N1,
    N2,
    START,
    T,
    sum_blocks,
)  # fmt: skip
from physics.strain.green import checked_stiffness, green_derivative, stiffness_tensor
from physics.strain.harmonics import count, great_circle, half_sphere, in_frames, place, values
from physics.strain.isotropic import from_contractions
from physics.strain.segments import Segments

# Harmonics that the Green's function of a crystal is projected on, and the degree to which the projection is exact.
HIGHEST_DEGREE = 31
PROJECTION_DEGREE = 36
TURN_POINTS = 48
# What images may leave out of the spectrum. The line is kept to LINE_MORE degrees beyond the ends: that costs little
# and halves the error near a line.
END_TOLERANCE = 6e-3
LINE_MORE = 4
NEGLIGIBLE = 1e-12

DOWN = np.array([0.0, 0.0, -1.0])
DOWN.setflags(write=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Medium:
    """What a crystal's stiffness says about fields: C_ijkl in GPa and G_km,l R^2 (H, 3, 3, 3) in 1/GPa.

    `degree` is the highest l that matters at all, `end_degree` and `line_degree` what images keep; `beyond` the share of
    the spectrum that lies above l = 1, 3, ...
    """

    stiffness: np.ndarray
    green: np.ndarray
    degree: int
    end_degree: int
    line_degree: int
    beyond: np.ndarray

    def degree_for(self, tolerance: float) -> int:
        """The lowest l, at least 3, above which no more than that share of the spectrum lies."""
        return _degree(self.beyond, tolerance)


def _degree(beyond: np.ndarray, tolerance: float) -> int:
    return max(3, 2 * int(np.argmax(beyond <= tolerance)) + 1 if (beyond <= tolerance).any() else HIGHEST_DEGREE)


def medium(stiffness_image_GPa: ArrayLike) -> Medium:
    """The medium of a stiffness (6, 6) in the image frame; computed once for each stiffness.

    Raises InputError for a stiffness that is not symmetric and positive definite.
    """
    return _medium(checked_stiffness(stiffness_image_GPa, "stiffness_image_GPa").tobytes())


@lru_cache(maxsize=16)
def _medium(stiffness_bytes: bytes) -> Medium:
    stiffness = np.frombuffer(stiffness_bytes).reshape(6, 6)
    direction, projection = _projection()
    green = np.tensordot(projection, green_derivative(stiffness, direction, TURN_POINTS), axes=1)
    power = np.add.reduceat((green**2).sum(axis=(1, 2, 3)), [place(l, -l) for l in range(1, HIGHEST_DEGREE + 1, 2)])
    beyond = np.sqrt(np.maximum(0, 1 - np.cumsum(power) / power.sum()))
    beyond[np.sqrt(power / power.sum())[::-1].cumsum()[::-1] < NEGLIGIBLE] = 0
    full, ends = _degree(beyond, 1e-9), _degree(beyond, END_TOLERANCE)
    return Medium(
        stiffness=stiffness_tensor(stiffness), green=green, degree=full, end_degree=ends,
        line_degree=min(full, ends + LINE_MORE), beyond=beyond,
    )  # fmt: skip


@lru_cache(maxsize=1)
def _projection() -> tuple[np.ndarray, np.ndarray]:
    """Directions (P, 3) of half a sphere and the matrix (H, P) from odd values there to coefficients."""
    direction, weight = half_sphere(PROJECTION_DEGREE)
    return direction, np.ascontiguousarray((values(HIGHEST_DEGREE, direction) * weight[:, None]).T)


def coefficients(
    segments: Segments,
    g_image: ArrayLike,
    direction: ArrayLike,
    stiffness_image_GPa: ArrayLike,
    core_nm: float,
    *,
    exact: bool = False,
) -> np.ndarray:
    """Rows (S', W) float64 from which g.beta.direction follows at any point; S' <= S.

    The first columns are those of `isotropic.coefficients`. `exact` keeps all harmonics, otherwise they are
    truncated as images need. Segments that contribute nothing (along `direction`) are left out.
    """
    crystal = medium(stiffness_image_GPa)
    degrees = (crystal.degree, crystal.degree) if exact else (crystal.end_degree, crystal.line_degree)
    return _rows(segments, g_image, direction, crystal, core_nm, *degrees)


def line_coefficients(
    segments: Segments, g_image: ArrayLike, direction: ArrayLike, stiffness_image_GPa: ArrayLike, core_nm: float
) -> np.ndarray:
    """`coefficients` for endless lines: all harmonics of the line, next to none of its ends."""
    crystal = medium(stiffness_image_GPa)
    return _rows(segments, g_image, direction, crystal, core_nm, 1, crystal.degree)


def _rows(
    segments: Segments, g_image: ArrayLike, direction: ArrayLike, crystal: Medium, core_nm: float, end_degree: int,
    line_degree: int,
) -> np.ndarray:  # fmt: skip
    require(core_nm > 0, "core_nm", "be > 0", core_nm)
    g = np.asarray(g_image, dtype=np.float64)
    e = np.asarray(direction, dtype=np.float64)
    along = segments.end_nm - segments.start_nm
    length = np.linalg.norm(along, axis=1)
    t = along / length[:, None]
    w = np.cross(t, e)
    w_norm = np.linalg.norm(w, axis=1)
    heard = w_norm >= 1e-12
    t, w, w_norm, length = t[heard], w[heard], w_norm[heard], length[heard]
    n1 = w / w_norm[:, None]
    top = crystal.degree
    source = np.einsum("si,sj,ijkl->skl", segments.burgers_nm[heard], w, crystal.stiffness, optimize=True)
    green = np.einsum("hkml,m->hkl", crystal.green[: count(top)], g).reshape(-1, 9)
    return rows_of_harmonics(
        source.reshape(-1, 9) @ green.T, segments.start_nm[heard], t, n1, length, core_nm, top, end_degree, line_degree
    )


def rows_of_harmonics(
    harmonics: np.ndarray, start_nm: np.ndarray, t: np.ndarray, n1: np.ndarray, length_nm: np.ndarray,
    core_nm: np.ndarray | float, top: int, end_degree: int, line_degree: int,
) -> np.ndarray:  # fmt: skip
    """Rows (S, W) of what f R^2 = sum c_lm Y_lm, `harmonics` (S, H) up to l = `top`, gives along segments of tangents `t`
    (S, 3); n1 (S, 3) is any unit vector across each."""
    n2 = np.cross(t, n1)
    harmonics = in_frames(harmonics, np.stack([n1, n2, t], axis=1), top)
    weights = _weights(top, end_degree, line_degree)
    core_sq = np.square(core_nm)
    rows = np.zeros((len(t), COEFFICIENTS + weights.shape[1]))
    rows[:, T : T + 3], rows[:, N1 : N1 + 3], rows[:, N2 : N2 + 3] = t, n1, n2
    rows[:, START : START + 3] = start_nm
    rows[:, LENGTH], rows[:, CORE_SQ] = length_nm, core_sq
    rows[:, END_DEGREE], rows[:, LINE_DEGREE] = end_degree, line_degree
    # 3/2 a^2 (p.R)/R_a^5 with p.R/R the parts l = 1 and, of l = 3, what rho^2 -> Q has taken from m <= 1.
    for column, m in ((CORE_1, 1), (CORE_1 + 1, -1), (CORE_1 + 2, 0)):
        first, third = _solid_norm(1, abs(m)), _solid_norm(3, abs(m))
        core = 1.5 * core_sq * (first * harmonics[:, place(1, m)] + third * harmonics[:, place(3, m)])
        rows[:, column] = core / 3 if m == 0 else core
    rows[:, COEFFICIENTS:] = harmonics @ weights
    return rows


def depth_gradient(
    segments: Segments,
    g_image_inv_nm: ArrayLike,
    points_nm: ArrayLike,
    stiffness_image_GPa: ArrayLike,
    core_nm: float,
    direction: ArrayLike = DOWN,
) -> np.ndarray:
    """d(g.u)/dd (P,) in nm^-1 at `points_nm` (P, 3), d downward (or along the unit vector `direction`)."""
    rows = coefficients(segments, g_image_inv_nm, direction, stiffness_image_GPa, core_nm, exact=True)
    points_nm = np.ascontiguousarray(points_nm, dtype=np.float64).reshape(-1, 3)
    total = np.zeros(len(points_nm))
    over_threads(sum_blocks, -(-len(points_nm) // BLOCK), rows, points_nm, total)
    return total


def distortion(segments: Segments, points_nm: ArrayLike, stiffness_image_GPa: ArrayLike, core_nm: float) -> np.ndarray:
    """Distortion (P, 3, 3), [:, m, s] = du_m/dx_s, in the image frame."""
    return from_contractions(lambda g, e: depth_gradient(segments, g, points_nm, stiffness_image_GPa, core_nm, e))


def _solid_norm(l: int, m: int) -> float:
    return math.sqrt((2 * l + 1) / (4 * math.pi) * (2 if m else 1) * math.factorial(l - m) / math.factorial(l + m))


@lru_cache(maxsize=8)
def _weights(top: int, end_degree: int, line_degree: int) -> np.ndarray:
    """Matrix (H, columns) from harmonics to the polynomials of a row, in the order in which the kernel reads them."""
    columns: list[np.ndarray] = []
    for m in range(max(end_degree, line_degree) + 1):
        terms = 0 if m > end_degree else (end_degree + 1 - m) // 2 if m % 2 == 0 else (end_degree - m) // 2
        for part in range(terms + m % 2):
            for sign in (1, -1) if m > 0 else (1,):
                column = np.zeros(count(top))
                for l in range(m + 1 - m % 2, top + 1, 2):
                    integral = great_circle(l, m)
                    if m % 2 == 1 and part == 0:
                        column[place(l, sign * m)] = integral.line
                    elif l <= end_degree and part - m % 2 < len(integral.end):
                        column[place(l, sign * m)] = integral.end[part - m % 2]
                columns.append(column)
    return np.stack(columns, axis=1)
