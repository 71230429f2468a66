"""The beams that take part in many-beam diffraction: directions, excitation errors and couplings.

With depth d downward and waves exp(2 pi i k.r) (Hirsch et al., Electron Microscopy of Thin Crystals, 1977, ch. 12;
signs as in `two_beam`, which is the set {0, g}),

    d phi_g/dd = i pi [ sum_h q_gh phi_h + 2 (s_g + d(g.u)/dd) phi_g + i/xi_0' phi_g ],
    q_gh = 1/xi_{g-h} + i/xi'_{g-h},  q_gg = 0.

The projection cosines of the beams are taken as that of the reflection g - h (they differ by 1e-4), so that
without absorption q is Hermitian and no intensity is lost.

Axes: N beams, R independent directions among them, T local deviations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
from numpy.typing import ArrayLike

from physics.absorption import absorptive_coupling_inv_nm
from physics.beam import BeamCondition, beam_absorption_nm, excitation_error, image_from_crystal
from physics.crystal import Crystal
from physics.electron import wave_vector_inv_nm
from physics.errors import require
from physics.frozen import frozen_array
from physics.scattering import coupling_inv_nm

# Directions in which the field of a set of beams off one row is computed; unequal on purpose, so that a segment
# is without effect on one of them only where it is on all.
MIXING = np.array([[1.0, 0.37, 0.23], [0.61, -1.0, 0.41], [0.29, 0.53, -1.0]])


@dataclass(frozen=True, kw_only=True, eq=False)
class BeamSet:
    """N beams, 000 among them; rows along one direction are in ascending order of their multiple.

    `g_image_inv_nm` (N, 3); `s_inv_nm` (N,) at the orientation of the field's centre; `coupling_inv_nm` (N, N)
    complex is q. Locally the lattice turns by `turn`: the change of the excitation error of `reference_hkl`, by
    which that of n times this reflection changes n times. `dark` is the beam of the dark-field image.

    Raises InputError for beams that repeat, a missing 000, or a beam that 000 does not feed.
    """

    hkl: np.ndarray
    g_image_inv_nm: np.ndarray
    s_inv_nm: np.ndarray
    coupling_inv_nm: np.ndarray
    xi_0_prime_nm: float
    reference_hkl: tuple[int, int, int]
    reference_s_inv_nm: float
    dark: int

    def __post_init__(self) -> None:
        hkl = np.array(self.hkl, dtype=np.int64)
        hkl.setflags(write=False)
        object.__setattr__(self, "hkl", hkl)
        count = len(hkl)
        object.__setattr__(self, "g_image_inv_nm", frozen_array(self.g_image_inv_nm, (count, 3), "g_image_inv_nm"))
        object.__setattr__(self, "s_inv_nm", frozen_array(self.s_inv_nm, (count,), "s_inv_nm"))
        coupling = np.array(self.coupling_inv_nm, dtype=np.complex128)
        coupling.setflags(write=False)
        object.__setattr__(self, "coupling_inv_nm", coupling)
        require(coupling.shape == (count, count), "coupling_inv_nm", f"have shape {(count, count)}", coupling.shape)
        require(not np.diag(coupling).any(), "coupling_inv_nm", "have a diagonal of 0", np.diag(coupling))
        require(len(np.unique(hkl, axis=0)) == count, "beam.beams_hkl", "be different beams", hkl.tolist())
        require(bool((hkl == 0).all(axis=1).any()), "beam.beams_hkl", "hold 000", hkl.tolist())
        unfed = [hkl[i].tolist() for i in range(count) if i not in _fed(coupling, self.origin)]
        require(not unfed, "beam.beams_hkl", "be fed from 000 through the beams of the set", unfed,
                "their structure factors are zero: leave them out")  # fmt: skip

    def __len__(self) -> int:
        return len(self.hkl)

    @property
    def origin(self) -> int:
        """Which beam is 000."""
        return int(np.flatnonzero((self.hkl == 0).all(axis=1))[0])

    @cached_property
    def is_row(self) -> bool:
        """Whether all beams are multiples of one reflection."""
        return int(np.linalg.matrix_rank(self.hkl)) <= 1

    @cached_property
    def multiples(self) -> np.ndarray | None:
        """How many times each beam (N,) is `reference_hkl`; None where one is no multiple of it."""
        reference = np.array(self.reference_hkl)
        n = self.hkl @ reference / (reference @ reference)
        return n if bool(np.allclose(n[:, None] * reference, self.hkl)) else None

    @cached_property
    def directions(self) -> tuple[np.ndarray, np.ndarray]:
        """Vectors (R, 3) in 1/nm, image frame, and coefficients (N, R): g = coefficients @ directions.

        A row has one direction and whole coefficients.
        """
        if self.is_row:
            longest = self.hkl[np.abs(self.hkl).sum(axis=1).argmax()]
            n = np.rint(self.hkl @ longest / (longest @ longest) * np.gcd.reduce(longest)).astype(np.int64)
            n = n if n[-1] > n[0] else -n  # ascending, as the hkl are: the row's phases are powers of one
            step = reduce(math.gcd, np.abs(n).tolist())
            far = int(np.abs(n).argmax())
            return (self.g_image_inv_nm[far] / (n[far] // step))[None], (n // step).astype(np.float64)[:, None]
        rank = int(np.linalg.matrix_rank(self.hkl))
        basis: list[int] = []
        for i in range(len(self)):
            if np.linalg.matrix_rank(self.hkl[[*basis, i]]) > len(basis):
                basis.append(i)
        directions = MIXING[:rank, :rank] @ self.g_image_inv_nm[basis]
        coefficients = np.linalg.lstsq(directions.T, self.g_image_inv_nm.T, rcond=None)[0].T
        coefficients[self.origin] = 0.0
        return directions, coefficients

    @cached_property
    def turn(self) -> np.ndarray:
        """What a unit of deviation adds to d(g.u)/dd of each direction (R,); 0 off the row of the reference."""
        directions, coefficients = self.directions
        turn = np.zeros(len(directions))
        if self.multiples is not None:
            far = int(np.abs(coefficients[:, 0]).argmax())
            turn[0] = self.multiples[far] / coefficients[far, 0]
        return turn

    def matrix_inv_nm(self, turn_inv_nm: ArrayLike = 0.0, offsets_inv_nm: ArrayLike = 0.0) -> np.ndarray:
        """M (..., N, N) of d phi/dd = i pi M phi, without i/xi_0', at local deviations (...) of `reference_hkl`.

        `offsets_inv_nm` (N,) are added to the excitation errors.
        """
        turn = np.asarray(turn_inv_nm, dtype=np.float64)
        s = self.s_inv_nm + np.asarray(offsets_inv_nm)
        if turn.any():
            s = s + turn[..., None] * self.require_multiples()
        diagonal = np.broadcast_to(2 * s, (*turn.shape, len(self)))
        return self.coupling_inv_nm + diagonal[..., None] * np.eye(len(self))

    def require_multiples(self) -> np.ndarray:
        """`multiples`. Raises InputError where a beam is no multiple of the reference."""
        require(self.multiples is not None, "beam.beams_hkl", f"be multiples of {list(self.reference_hkl)} where s varies over the image",
                self.hkl.tolist(), "take a flat foil, or a systematic row")  # fmt: skip
        return self.multiples


def beam_indices(beam: BeamCondition) -> np.ndarray | None:
    """Indices (N, 3) of the beams that a condition asks for; None for two-beam conditions."""
    if beam.row is not None:
        return np.array(sorted(beam.row))[:, None] * np.array(beam.g_hkl)
    if beam.beams_hkl is None:
        return None
    hkl = np.array(beam.beams_hkl)
    if np.linalg.matrix_rank(hkl) == 1:
        first = hkl[np.flatnonzero(hkl.any(axis=1))[0]]
        hkl = hkl[np.argsort(hkl @ first, kind="stable")]
    return hkl


def beam_set(crystal: Crystal, beam: BeamCondition) -> BeamSet | None:
    """The beams of a condition in its orientation, None for a two-beam condition.

    Excitation errors are exact from the wave vector K = (0, 0, -1/lambda). Absorption follows `beam.absorption`: one
    ratio xi'_g = ratio xi_g for all reflections, or each by thermal diffuse scattering. One ratio for ever more
    beams makes the absorbing potential negative between the atoms, where a wave would grow: 1/xi_0' is raised to the
    least value with which none does. For two beams that is 1/xi'_g, which it is not below in any case.
    """
    hkl = beam_indices(beam)
    if hkl is None:
        return None
    g_image = crystal.reciprocal_vector_inv_nm(hkl) @ image_from_crystal(crystal, beam).T

    def elastic(g: tuple[int, ...]) -> complex:
        return coupling_inv_nm(crystal, g, beam.voltage_kV, debye_waller=beam.debye_waller)

    coupling = _of_differences(hkl, elastic)
    if beam.absorption == "tds":
        absorbing = _of_differences(hkl, lambda g: absorptive_coupling_inv_nm(crystal, g, beam.voltage_kV))
    else:
        absorbing = coupling / beam.xi_g_prime_over_xi_g
    mean = max(1 / beam_absorption_nm(crystal, beam)[0], -float(np.linalg.eigvalsh(absorbing).min()))
    return BeamSet(
        hkl=hkl, g_image_inv_nm=g_image, s_inv_nm=excitation_error(wave_vector_inv_nm(beam.voltage_kV), g_image),
        coupling_inv_nm=coupling + 1j * absorbing, xi_0_prime_nm=1 / mean if mean > 0 else math.inf,
        reference_hkl=beam.g_hkl, reference_s_inv_nm=beam.s_inv_nm, dark=_dark(hkl, beam),
    )  # fmt: skip


def _of_differences(hkl: np.ndarray, value: Callable[[tuple[int, ...]], complex]) -> np.ndarray:
    """Matrix (N, N) of value(g - h), 0 on the diagonal."""
    known: dict[tuple[int, ...], complex] = {}
    matrix = np.zeros((len(hkl), len(hkl)), dtype=np.complex128)
    for i in range(len(hkl)):
        for j in range(len(hkl)):
            difference = tuple(int(n) for n in hkl[i] - hkl[j])
            if any(difference):
                if difference not in known:
                    known[difference] = value(difference)
                matrix[i, j] = known[difference]
    return matrix


def _dark(hkl: np.ndarray, beam: BeamCondition) -> int:
    """Which beam forms the dark-field image; 000 where the set does not hold the one asked for and none is needed."""
    wanted = beam.dark_field_of
    if wanted is None:
        wanted = beam.g_hkl
    elif isinstance(wanted, int):
        wanted = tuple(wanted * h for h in beam.g_hkl)
    found = np.flatnonzero((hkl == np.array(wanted)).all(axis=1))
    if len(found):
        return int(found[0])
    require(beam.image != "df", "beam.dark_field_of", "be one of the beams", list(wanted), "add it to beam.row or beam.beams_hkl")
    return int(np.flatnonzero((hkl == 0).all(axis=1))[0])


def _fed(coupling: np.ndarray, origin: int) -> set[int]:
    """Beams that are reached from 000 through couplings that are not 0."""
    reached, waiting = {origin}, [origin]
    while waiting:
        for i in np.flatnonzero(coupling[:, waiting.pop()]):
            if int(i) not in reached:
                reached.add(int(i))
                waiting.append(int(i))
    return reached
