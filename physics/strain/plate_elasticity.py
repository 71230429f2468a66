"""What of a plate's correction depends on its elasticity: waves of lines and of outcrops, the plate's answer, tables.

`Isotropic` has them in closed form, in units of the shear modulus; `Anisotropic` by Stroh's theory, in GPa. All vectors are in
the foil's frame: X, Y in the foil, Z up its normal.

Axes: S segments, O outcrops, G pairs of g and e, (Y, X) waves, Q heights, R radii, M harmonics, (W, W) a table's grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from physics.parallel import over_threads
from physics.strain import (
    anisotropic_outcrop,
    anisotropic_through,
    anisotropic_waves,
    line_waves,
    outcrop_waves,
    through,
)
from physics.strain.foil_frame import FoilFaces
from physics.strain.green import checked_stiffness, rotated_stiffness
from physics.strain.outcrop import GRID, isotropic_tables, table_angles_rad
from physics.strain.plate_impedance import Impedance, impedance, plate_waves
from physics.strain.plate_lines import PlateLines
from physics.strain.plate_modes import MIRROR, MIRROR_TRACTION, isotropic_gradient, isotropic_plate

# Answers are held in single precision, ample for a correction: 1e-7 of it.
ANSWER = np.complex64


class Elasticity(Protocol):
    """`reach` is how much deeper the slowest wave goes than exp(-kd)."""

    @property
    def reach(self) -> float: ...

    def line_waves(
        self, lines: PlateLines, shifts: np.ndarray, kx: np.ndarray, ky: np.ndarray, half_nm: float, single_from_inv_nm: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Transforms (2, 3, Y, X) of sigma.Z on both faces, and of the outcrops of both kinds (2, 2, 3, Y, X)."""

    def add_differences(
        self, own: np.ndarray, weights: np.ndarray, shift_nm: float, kx: np.ndarray, ky: np.ndarray, thickness_nm: float, load: np.ndarray
    ) -> None:
        """Add to `load` the tractions of sum_j weights[j] H(d + j shift_nm) that answers to `own`, both (2, 3, Y, X)."""

    def answer(
        self, load: np.ndarray, kx: np.ndarray, ky: np.ndarray, half_nm: float, g: np.ndarray, e: np.ndarray, drift: np.ndarray,
        z_nodes: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """g.du/de (G, Q, Y, X) of a plate with prescribed sigma.Z (2, 3, Y, X) on its faces."""

    def through_profiles(self, g: np.ndarray, e: np.ndarray, heights: np.ndarray, hand_over: float) -> np.ndarray:
        """Radial functions (G, 3, R, Q, 2 M), as `through.through_profiles`."""

    def outcrop_tables(
        self, inner: np.ndarray, outer: np.ndarray, burgers_nm: np.ndarray, sides: np.ndarray, g: np.ndarray, e: np.ndarray
    ) -> np.ndarray:
        """Tables (G, O, W, W) of lines that come along `inner` (O, 3) and go on along `outer`."""


def elasticity_of(poisson_ratio: float, stiffness_image_GPa: ArrayLike | None, faces: FoilFaces) -> Elasticity:
    """Isotropic, or of a stiffness (6, 6) in the image frame; raises InputError where it is not symmetric and positive definite."""
    if stiffness_image_GPa is None:
        return Isotropic(poisson_ratio)
    stiffness = checked_stiffness(stiffness_image_GPa, "stiffness_image_GPa")
    return Anisotropic(impedance(rotated_stiffness(stiffness, faces.foil_from_image)))


@dataclass(frozen=True)
class Isotropic:
    poisson_ratio: float
    reach: float = 1.0

    def line_waves(self, lines, shifts, kx, ky, half_nm, single_from_inv_nm):  # noqa: ANN001, ANN201
        return line_waves.line_waves(
            lines.start_nm, lines.end_nm, lines.burgers_nm, lines.outcrops, shifts, kx, ky, half_nm, self.poisson_ratio, single_from_inv_nm
        )

    def add_differences(self, own, weights, shift_nm, kx, ky, thickness_nm, load):  # noqa: ANN001, ANN201
        outcrop_waves.add_differences(own, weights, shift_nm, kx, ky, thickness_nm, load)

    def answer(self, load, kx, ky, half_nm, g, e, drift, z_nodes):  # noqa: ANN001, ANN201
        out = np.empty((len(g), len(z_nodes), *kx.shape), dtype=ANSWER)
        for values, contraction in zip(out, g):
            over_threads(
                isotropic_plate, len(kx), load[0], load[1], kx, ky, half_nm, self.poisson_ratio, contraction, e, drift, z_nodes, values
            )
        return out

    def through_profiles(self, g, e, heights, hand_over):  # noqa: ANN001, ANN201
        return np.stack([
            through.through_profiles(contraction, e, self.poisson_ratio, heights, through.THIN, hand_over) for contraction in g
        ])  # fmt: skip

    def outcrop_tables(self, inner, outer, burgers_nm, sides, g, e):  # noqa: ANN001, ANN201
        angles = table_angles_rad()
        lines = outcrop_waves.kinked_lines(inner, outer, burgers_nm, sides)
        tau_hat = outcrop_waves.kinked_transforms(lines, angles, self.poisson_ratio)
        tables = np.zeros((len(g), len(inner), GRID, GRID))
        for side in (1.0, -1.0):
            at = np.flatnonzero(sides == side)
            mirror = MIRROR if side < 0 else np.ones(3)
            flip = MIRROR_TRACTION if side < 0 else np.ones(3)
            for n in range(len(g) if len(at) else 0):
                response = isotropic_gradient(angles, self.poisson_ratio, mirror * g[n], mirror * e)
                tables[n, at] = isotropic_tables(response, tau_hat[at] * flip[:, None])
        return tables


@dataclass(frozen=True)
class Anisotropic:
    plate: Impedance

    @cached_property
    def reach(self) -> float:
        return 1 / self.plate.slowest_decay

    def line_waves(self, lines, shifts, kx, ky, half_nm, single_from_inv_nm):  # noqa: ANN001, ANN201
        return anisotropic_waves.line_waves(
            lines.start_nm, lines.end_nm, lines.burgers_nm, lines.outcrops, shifts, kx, ky, half_nm, self.plate, single_from_inv_nm
        )

    def add_differences(self, own, weights, shift_nm, kx, ky, thickness_nm, load):  # noqa: ANN001, ANN201
        anisotropic_waves.add_differences(own, weights, shift_nm, kx, ky, thickness_nm, self.plate, load)

    def answer(self, load, kx, ky, half_nm, g, e, drift, z_nodes):  # noqa: ANN001, ANN201
        return plate_waves(self.plate, load[None], kx, ky, half_nm, g, np.tile(e, (len(g), 1)), drift, z_nodes, ANSWER)[0]

    def through_profiles(self, g, e, heights, hand_over):  # noqa: ANN001, ANN201
        return anisotropic_through.through_profiles(g, e, self.plate, heights, hand_over)

    def outcrop_tables(self, inner, outer, burgers_nm, sides, g, e):  # noqa: ANN001, ANN201
        tau_hat = anisotropic_waves.kinked_transforms(inner, outer, burgers_nm, sides, self.plate)
        return anisotropic_outcrop.outcrop_tables(self.plate, g, e, tau_hat, sides)
