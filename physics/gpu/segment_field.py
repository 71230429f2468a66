"""The closed form of `physics.strain.isotropic` in torch: differentiable, and for many pairs of segment and box at once.

Axes: S segments, N pairs of a box and a segment, Q points.
"""

from __future__ import annotations

import math

import torch

from physics.gpu.device import fused
from physics.strain.boxes import PACKED
from physics.strain.isotropic import (
    C1,
    C2,
    CORE_SQ,
    E1,
    E2,
    F1,
    H1,
    H2,
    LENGTH,
    N1,
    N2,
    NA1,
    NA2,
    P1,
    P2,
    Q1,
    Q2,
    START,
    WIDTH,
    T,
)  # fmt: skip


def segment_rows(
    start_nm: torch.Tensor, end_nm: torch.Tensor, burgers_nm: torch.Tensor, g_inv_nm: torch.Tensor,
    poisson_ratio: torch.Tensor, core_nm: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Rows (S', WIDTH) of `isotropic.coefficients` for d(g.u)/dd, d downward, and the places (S',) of their segments.

    All arguments have one entry a segment: vectors (S, 3), `poisson_ratio` and `core_nm` (S,). Segments that are
    parallel to the beam are left out before anything is divided by their |w|, so that gradients stay finite.
    """
    with torch.no_grad():
        along = end_nm - start_nm
        sideways = torch.linalg.vector_norm(along[:, :2], dim=1) / torch.linalg.vector_norm(along, dim=1)
        kept = torch.nonzero(sideways >= 1e-12).squeeze(1)
    start_nm, end_nm, b, g = start_nm[kept], end_nm[kept], burgers_nm[kept], g_inv_nm[kept]
    poisson_ratio, core_nm = poisson_ratio[kept], core_nm[kept]
    along = end_nm - start_nm
    length = torch.linalg.vector_norm(along, dim=1)
    t = along / length[:, None]
    # w = t x e with e = (0, 0, -1)
    w = torch.stack([-t[:, 1], t[:, 0], torch.zeros_like(length)], dim=1)
    w_norm = torch.linalg.vector_norm(w, dim=1)
    n1 = w / w_norm[:, None]
    n2 = torch.linalg.cross(t, n1)
    (g1, g2, gt), (b1, b2, bt) = ([(n * v).sum(dim=1) for n in (n1, n2, t)] for v in (g, b))
    k = 1 / (1 - poisson_ratio)
    nu_k, a_sq = poisson_ratio * k, core_nm * core_nm
    scale = w_norm / (8 * math.pi)
    m1 = nu_k * b1 * g1 + (g * b).sum(dim=1) + g1 * b1
    m2 = nu_k * b1 * g2 + g1 * b2
    m_t = nu_k * b1 * gt + g1 * bt
    columns = {
        **{T + i: t[:, i] for i in range(3)}, **{N1 + i: n1[:, i] for i in range(3)},
        **{N2 + i: n2[:, i] for i in range(3)}, **{START + i: start_nm[:, i] for i in range(3)},
        LENGTH: length, CORE_SQ: a_sq,
        E1: scale * (-2 * m1 + k * (3 * g1 * b1 + g2 * b2)), E2: scale * (-2 * m2 + k * (g1 * b2 + b1 * g2)),
        NA1: scale * a_sq * m1, NA2: scale * a_sq * m2, P1: scale * k * g1, P2: scale * k * g2, Q1: b1, Q2: b2,
        F1: scale * k * gt * bt, C1: scale * (-2 * m_t + k * (g1 * bt + b1 * gt)), C2: scale * a_sq * m_t,
        H1: scale * k * (g1 * bt + b1 * gt), H2: scale * k * (g2 * bt + b2 * gt),
    }  # fmt: skip
    return torch.stack([columns[i] for i in range(WIDTH)], dim=1), kept


def packed_rows(rows: torch.Tensor, centre_nm: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Rows (N, WIDTH) for points relative to the centres (N, 3) of boxes, as (N, PACKED): see `boxes.pack`.

    What is subtracted here is subtracted in double. In place of the length stands the s of the second end at the
    centre: a line that runs on for 1e5 nm would leave float32 0.01 nm of its near end, were that s + length.
    """
    d = centre_nm - rows[:, START : START + 3]
    parts = []
    for axis, sign in ((T, -1.0), (N1, 1.0), (N2, 1.0)):
        direction = sign * rows[:, axis : axis + 3]
        parts += [(direction * d).sum(dim=1, keepdim=True), direction]
    packed = torch.cat([*parts, parts[0] + rows[:, LENGTH : LENGTH + 1], rows[:, CORE_SQ:]], dim=1).to(dtype)
    assert packed.shape[1] == PACKED
    return packed


def _pair_field(packed: torch.Tensor, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """d(g.u)/dd of packed rows (N, PACKED) at points that broadcast to (N, ...): `isotropic.row_value`."""
    shape = (-1, *[1] * (max(x.dim(), y.dim(), z.dim()) - 1))
    p = [c.reshape(shape) for c in packed.unbind(1)]
    along = p[1] * x + p[2] * y + p[3] * z
    s1, s2 = p[0] + along, p[12] + along
    rho1 = p[4] + p[5] * x + p[6] * y + p[7] * z
    rho2 = p[8] + p[9] * x + p[10] * y + p[11] * z
    q = rho1 * rho1 + rho2 * rho2 + p[13]
    inv_q = 1 / q
    n_over_q = (p[16] * rho1 + p[17] * rho2 + rho1 * (p[18] * rho1 + p[19] * rho2) * (p[20] * rho1 + p[21] * rho2)) * inv_q
    e = (p[14] * rho1 + p[15] * rho2 - 2 * n_over_q) * inv_q
    f = p[22] * rho1 - n_over_q
    h = p[24] + rho1 * (p[25] * rho1 + p[26] * rho2)
    inv_r1, inv_r2 = torch.rsqrt(s1 * s1 + q), torch.rsqrt(s2 * s2 + q)
    at_end = (s2 * e + p[23] + (s2 * f - h) * (inv_r2 * inv_r2)) * inv_r2
    at_start = (s1 * e + p[23] + (s1 * f - h) * (inv_r1 * inv_r1)) * inv_r1
    return at_end - at_start


def _pair_distance_sq(packed: torch.Tensor, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Squared distance in nm^2 from packed rows (N, PACKED) to points that broadcast to (N, ...)."""
    shape = (-1, *[1] * (max(x.dim(), y.dim(), z.dim()) - 1))
    p = [c.reshape(shape) for c in packed[:, :13].unbind(1)]
    along = p[1] * x + p[2] * y + p[3] * z
    rho1 = p[4] + p[5] * x + p[6] * y + p[7] * z
    rho2 = p[8] + p[9] * x + p[10] * y + p[11] * z
    beyond = torch.clamp(torch.maximum(p[0] + along, -(p[12] + along)), min=0)
    return rho1 * rho1 + rho2 * rho2 + beyond * beyond


pair_field = fused(_pair_field)
pair_distance_sq = fused(_pair_distance_sq)
