"""An endless straight dislocation in a crystal of any stiffness, by the integral form of Stroh's sextic theory.

With m the unit vector from the line to the point, n = t x m (so that m, n, t is right-handed), (ab)_jk = a_i C_ijkl b_l
and averages over a turn of m, n about t,

    S = -<(nn)^-1 (nm)>,   B = <(mm) - (mn) (nn)^-1 (nm)>,
    du/dx_s = 1/(2 pi rho) ( -m_s S b + n_s (nn)^-1 [ B b + (nm) S b ] )

(Barnett & Lothe, Phys. Norv. 7 (1973) 13; Asaro, Hirth, Barnett & Lothe, Phys. Stat. Sol. (b) 60 (1973) 261). The
averages hold for repeated roots of the sextic too, so that isotropic crystals need no case of their own.

Axes: P points.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from physics.errors import require
from physics.frozen import frozen_array
from physics.strain.green import checked_stiffness, stiffness_tensor

# The integrands have period pi and are analytic: the error falls exponentially.
TURN_POINTS = 128


def line_distortion(
    stiffness_GPa: ArrayLike, line_sense: ArrayLike, burgers_nm: ArrayLike, separation_nm: ArrayLike
) -> np.ndarray:
    """Distortion (P, 3, 3), [:, m, s] = du_m/dx_s, at `separation_nm` (P, 3) from a point of the line; no core.

    All vectors and the stiffness (6, 6) are in one frame. Raises InputError for a point on the line.
    """
    t, b = _unit(line_sense), frozen_array(burgers_nm, (3,), "burgers_nm")
    c = stiffness_tensor(checked_stiffness(stiffness_GPa))
    s_matrix, b_matrix = _averages(c, t)
    r = np.asarray(separation_nm, dtype=np.float64).reshape(-1, 3)
    across = r - np.multiply.outer(r @ t, t)
    rho = np.linalg.norm(across, axis=1)
    require(bool((rho > 0).all()), "separation_nm", "not lie on the line", "a distance of 0")
    m = across / rho[:, None]
    n = np.cross(t, m)
    nn, nm = (np.einsum("pi,ijkl,pl->pjk", n, c, v, optimize=True) for v in (n, m))
    along_n = np.linalg.solve(nn, (b_matrix @ b + nm @ (s_matrix @ b))[..., None])[..., 0]
    beta = n[:, None, :] * along_n[:, :, None] - m[:, None, :] * (s_matrix @ b)[:, None]
    return beta / (2 * math.pi * rho)[:, None, None]


def energy_factor_GPa(stiffness_GPa: ArrayLike, line_sense: ArrayLike) -> np.ndarray:
    """K (3, 3), the B above: E/L = b.K.b/(4 pi) ln(R/r0). In an isotropic crystal mu along the line, mu/(1 - nu) across it."""
    return _averages(stiffness_tensor(checked_stiffness(stiffness_GPa)), _unit(line_sense))[1]


def _unit(vector: ArrayLike) -> np.ndarray:
    vector = frozen_array(vector, (3,), "vector")
    length = float(np.linalg.norm(vector))
    require(length > 0, "vector", "not be zero", vector.tolist())
    return vector / length


def _averages(c: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    e1 = np.eye(3)[np.argmin(np.abs(t))]
    e1 = e1 - t * (t @ e1)
    e1 /= np.linalg.norm(e1)
    e2 = np.cross(t, e1)
    angle = math.pi * np.arange(TURN_POINTS)[:, None] / TURN_POINTS
    m, n = np.cos(angle) * e1 + np.sin(angle) * e2, np.cos(angle) * e2 - np.sin(angle) * e1
    mm, mn, nm, nn = (np.einsum("pi,ijkl,pl->pjk", a, c, b, optimize=True) for a, b in ((m, m), (m, n), (n, m), (n, n)))
    inner = np.linalg.solve(nn, nm)
    return -inner.mean(axis=0), (mm - mn @ inner).mean(axis=0)
