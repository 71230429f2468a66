"""The diffraction condition as a person specifies it.

The orientation, extinction distance and excitation error that follow from it are functions of this
module; each takes the Crystal as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from physics.absorption import absorption_lengths_nm
from physics.crystal import Crystal
from physics.electron import wavelength_nm
from physics.errors import require
from physics.foil import Foil
from physics.frames import rotation_about, rotation_from_axes
from physics.frozen import frozen_array
from physics.scattering import extinction_distance_nm, shortest_extinction_distance_nm

IMAGE_Z = np.array([0.0, 0.0, 1.0])
NORMAL_TOLERANCE = 1e-6
ABSORPTIONS = ("convention", "tds")
CONVENTIONAL_RATIO = 10.0
MOST_BEAMS = 32


@dataclass(frozen=True, kw_only=True)
class BeamCondition:
    """Imaging condition of two beams, or of many.

    `zone_axis_uvw` is B, pointing up the column to the gun; `g_hkl` lies in its zone and, at
    `image_rotation_deg` = 0, projects on +x of the image (positive rotation is anticlockwise as seen).
    `s_inv_nm` is the excitation error of g, > 0 when g lies inside the Ewald sphere. `image` is "bf" or "df".
    `xi_0_prime_over_shortest_xi`, `xi_g_prime_over_xi_g`: absorption lengths (10: the usual convention, Hirsch et al. 1977;
    inf switches absorption off; JSON writes null for inf). Mean absorption is one number for the crystal, whatever g:
    xi_0' is in units of its shortest extinction distance (of `xi_g_nm` where that is given), xi_g' in units of g's own.
    `absorption` "convention" takes those two ratios, "tds" computes both lengths from the Debye-Waller factor instead
    (`physics.absorption`). `xi_g_nm` overrides the computed extinction distance. `debye_waller` makes it, and all elastic
    couplings of many beams, those of vibrating atoms, V_g exp(-B s^2) with s = sin(theta)/lambda and B of the material
    (at its temperature there); without it they are those of atoms at rest, as extinction distances are tabulated.

    Many beams instead of two: `row` lists multiples of g, such as (-1, 0, 1, 2, 3), or `beams_hkl` any reflections;
    both hold 000. The dark-field image is formed by `dark_field_of`: a multiple of g or indices hkl, None: g.
    `convergence_mrad` is the semi-angle of a cone of illumination, filled evenly, and `energy_spread_eV` the full
    width at half maximum of the beam's energies; over both the image is averaged (`contrast.spread`). `aperture_mrad`,
    the semi-angle of the objective aperture, lets inelastic and thermal scattering in (`physics.inelastic`); None: only
    Bragg electrons form the image.

    Raises InputError for a voltage <= 0, g = 000, a zero zone axis, g outside the zone, another image mode, or
    xi_g' < xi_0', with which one of the two Bloch waves would grow on its way down.
    """

    g_hkl: tuple[int, int, int]
    zone_axis_uvw: tuple[int, int, int]
    voltage_kV: float = 200.0
    s_inv_nm: float = 0.0
    image: str = "bf"
    image_rotation_deg: float = 0.0
    xi_0_prime_over_shortest_xi: float = CONVENTIONAL_RATIO
    xi_g_prime_over_xi_g: float = CONVENTIONAL_RATIO
    xi_g_nm: float | None = None
    absorption: str = "convention"
    debye_waller: bool = False
    row: tuple[int, ...] | None = None
    beams_hkl: tuple[tuple[int, int, int], ...] | None = None
    dark_field_of: int | tuple[int, int, int] | None = None
    convergence_mrad: float = 0.0
    energy_spread_eV: float = 0.0
    aperture_mrad: float | None = None

    def __post_init__(self) -> None:
        for name in ("g_hkl", "zone_axis_uvw"):
            indices = frozen_array(getattr(self, name), (3,), f"beam.{name}")
            require(bool((indices == indices.round()).all()), f"beam.{name}", "be three integers", indices.tolist())
            object.__setattr__(self, name, tuple(int(i) for i in indices))
        require(any(self.g_hkl), "beam.g_hkl", "not be [0, 0, 0]", list(self.g_hkl))
        require(any(self.zone_axis_uvw), "beam.zone_axis_uvw", "not be [0, 0, 0]", list(self.zone_axis_uvw))
        zone = sum(h * u for h, u in zip(self.g_hkl, self.zone_axis_uvw))
        require(zone == 0, "beam.g_hkl", f"lie in the zone {list(self.zone_axis_uvw)} (h u + k v + l w = 0)",
                f"{list(self.g_hkl)} with h u + k v + l w = {zone}")  # fmt: skip
        for name in ("voltage_kV", "s_inv_nm", "image_rotation_deg"):
            frozen_array([getattr(self, name)], (1,), f"beam.{name}")
            object.__setattr__(self, name, float(getattr(self, name)))
        require(10 <= self.voltage_kV <= 3000, "beam.voltage_kV", "lie in [10, 3000]", self.voltage_kV)
        require(abs(self.s_inv_nm) <= 1, "beam.s_inv_nm", "lie in [-1, 1]", self.s_inv_nm)
        require(self.image in ("bf", "df"), "beam.image", 'be "bf" or "df"', self.image)
        for name in ("xi_0_prime_over_shortest_xi", "xi_g_prime_over_xi_g"):
            value = getattr(self, name)
            value = float("inf") if value is None else float(value)
            require(value >= 1, f"beam.{name}", "be >= 1", value)
            object.__setattr__(self, name, value)
        require(self.xi_g_nm is None or 0 < self.xi_g_nm < float("inf"), "beam.xi_g_nm", "be > 0 and finite", self.xi_g_nm)
        # At s = 0 the waves fall as exp(-2 pi t (1/xi_0' +- 1/xi_g')) (Hirsch et al. 1977, sec. 9.5).
        require(self.xi_g_prime_over_xi_g >= self.xi_0_prime_over_shortest_xi, "beam.xi_g_prime_over_xi_g",
                f"be >= xi_0_prime_over_shortest_xi = {self.xi_0_prime_over_shortest_xi:g} (or the well-transmitted wave grows)",
                self.xi_g_prime_over_xi_g, "raise it, or lower xi_0_prime_over_shortest_xi")  # fmt: skip
        require(self.absorption in ABSORPTIONS, "beam.absorption", 'be "convention" or "tds"', repr(self.absorption))
        usual = self.xi_0_prime_over_shortest_xi == self.xi_g_prime_over_xi_g == CONVENTIONAL_RATIO
        require(self.absorption == "convention" or usual, "beam.absorption",
                'be "convention" where xi_0_prime_over_shortest_xi or xi_g_prime_over_xi_g is given', repr(self.absorption))  # fmt: skip
        require(isinstance(self.debye_waller, bool), "beam.debye_waller", "be true or false", repr(self.debye_waller))
        require(not self.debye_waller or self.xi_g_nm is None, "beam.debye_waller", "be false where beam.xi_g_nm is given", True,
                "the extinction distance given holds all that it is to hold")  # fmt: skip
        for name, most in (("convergence_mrad", 50), ("energy_spread_eV", 100)):
            frozen_array([getattr(self, name)], (1,), f"beam.{name}")
            object.__setattr__(self, name, float(getattr(self, name)))
            require(0 <= getattr(self, name) <= most, f"beam.{name}", f"lie in [0, {most}]", getattr(self, name))
        if self.aperture_mrad is not None:
            frozen_array([self.aperture_mrad], (1,), "beam.aperture_mrad")
            object.__setattr__(self, "aperture_mrad", float(self.aperture_mrad))
            require(0 < self.aperture_mrad <= 100, "beam.aperture_mrad", "lie in (0, 100]", self.aperture_mrad)
        self._check_beams()

    def _check_beams(self) -> None:
        require(self.row is None or self.beams_hkl is None, "beam.beams_hkl", "be left out where beam.row is given", "both")
        many = self.row is not None or self.beams_hkl is not None
        if self.row is not None:
            row = frozen_array(self.row, (None,), "beam.row")
            require(bool((row == row.round()).all()), "beam.row", "be whole multiples of g", row.tolist())
            object.__setattr__(self, "row", tuple(int(n) for n in row))
            require(len(set(self.row)) == len(row), "beam.row", "hold each beam once", list(self.row))
            require(0 in self.row, "beam.row", "hold 0, the direct beam", list(self.row))
        if self.beams_hkl is not None:
            hkl = frozen_array(self.beams_hkl, (None, 3), "beam.beams_hkl")
            require(bool((hkl == hkl.round()).all()), "beam.beams_hkl", "be whole indices", hkl.tolist())
            object.__setattr__(self, "beams_hkl", tuple(tuple(int(h) for h in g) for g in hkl))
            require(len(set(self.beams_hkl)) == len(hkl), "beam.beams_hkl", "hold each beam once", hkl.tolist())
            require((0, 0, 0) in self.beams_hkl, "beam.beams_hkl", "hold [0, 0, 0], the direct beam", hkl.tolist())
        if many:
            name, count = ("row", len(self.row)) if self.row is not None else ("beams_hkl", len(self.beams_hkl))
            require(2 <= count <= MOST_BEAMS, f"beam.{name}", f"hold 2 to {MOST_BEAMS} beams", count)
            require(self.xi_g_nm is None, "beam.xi_g_nm", "be left out where many beams are given", self.xi_g_nm,
                    "the couplings between all of them are computed")  # fmt: skip
        if self.dark_field_of is not None:
            require(self.image == "df", "beam.dark_field_of", 'be left out where beam.image is "bf"', self.dark_field_of)
            wanted = self.dark_field_of
            if isinstance(wanted, int | float) and not isinstance(wanted, bool):
                require(wanted == int(wanted), "beam.dark_field_of", "be a whole multiple of g, or indices hkl", wanted)
                wanted = int(wanted)
            else:
                indices = frozen_array(wanted, (3,), "beam.dark_field_of")
                require(bool((indices == indices.round()).all()), "beam.dark_field_of", "be three integers", indices.tolist())
                wanted = tuple(int(h) for h in indices)
            object.__setattr__(self, "dark_field_of", wanted)
            require(many or wanted in (1, self.g_hkl), "beam.dark_field_of", "be g where two beams are asked for", wanted,
                    "give beam.row or beam.beams_hkl")  # fmt: skip


def check_reflection(crystal: Crystal, beam: BeamCondition) -> None:
    """Raise InputError when the structure of `crystal` forbids `beam.g_hkl`."""
    require(crystal.is_allowed_reflection(beam.g_hkl), "beam.g_hkl",
            f"be allowed in {crystal.material} ({crystal.structure})", list(beam.g_hkl),
            "its structure factor is zero")  # fmt: skip


def image_from_crystal(crystal: Crystal, beam: BeamCondition) -> np.ndarray:
    """Rotation (3, 3) that takes crystal Cartesian vectors to the image frame: v_image = R @ v_crystal.

    The zone axis points along +z (to the gun) and g along +x, turned anticlockwise by the image rotation; then
    the crystal is tilted about the in-plane axis normal to g until the excitation error is exactly
    `beam.s_inv_nm`. With |K + g| = m, s = -(2 K.g + g^2) / (2 m) gives m^2 + 2 s m - K^2 = 0, and g rises toward
    the gun by sin(tilt) = (g^2 + 2 s m) / (2 K g): the Bragg angle for s = 0, more for s > 0.

    Raises InputError when no tilt gives that s.
    """
    g_crystal_inv_nm = crystal.reciprocal_vector_inv_nm(beam.g_hkl)
    zone_crystal_nm = crystal.direction_nm(beam.zone_axis_uvw)
    upright = rotation_from_axes(g_crystal_inv_nm, zone_crystal_nm)
    turn = rotation_about(IMAGE_Z, math.radians(beam.image_rotation_deg))
    rise = rotation_about(-turn[:, 1], _tilt_rad(beam, float(np.linalg.norm(g_crystal_inv_nm))))
    return rise @ turn @ upright


def g_image_inv_nm(crystal: Crystal, beam: BeamCondition) -> np.ndarray:
    """The diffraction vector g (3,) in the image frame, 1/nm; it is not quite in the image plane."""
    return image_from_crystal(crystal, beam) @ crystal.reciprocal_vector_inv_nm(beam.g_hkl)


def excitation_error(wave_vector_inv_nm: ArrayLike, g_inv_nm: ArrayLike) -> np.ndarray | float:
    """s = -(2 K.g + g^2) / (2 |K + g|) in 1/nm for K along propagation, |K| = 1 / lambda; (...) from (..., 3).

    The distance of g from the Ewald sphere, up to a relative s / (2 |K|); > 0 inside the sphere.
    """
    k, g = np.asarray(wave_vector_inv_nm, dtype=np.float64), np.asarray(g_inv_nm, dtype=np.float64)
    s = -(2 * (k * g).sum(axis=-1) + (g * g).sum(axis=-1)) / (2 * np.linalg.norm(k + g, axis=-1))
    return float(s) if np.ndim(s) == 0 else s


def excitation_error_of_ng(crystal: Crystal, g_hkl: ArrayLike, voltage_kV: float, n: float) -> float:
    """s = (n - 1) lambda g^2 / 2 in 1/nm for the condition (g, ng): ng of the row on the Ewald sphere."""
    g_inv_nm = crystal.reciprocal_vector_inv_nm(g_hkl)
    return (n - 1) * wavelength_nm(voltage_kV) * float(g_inv_nm @ g_inv_nm) / 2


def foil_normal_image(crystal: Crystal, beam: BeamCondition, foil: Foil) -> np.ndarray:
    """Unit normal (3,) of the foil in the image frame, toward the gun; +z where none is declared.

    Raises InputError when the normal does not point up the column, n.B <= 0.
    """
    if foil.normal_uvw is None:
        return IMAGE_Z.copy()
    normal_crystal_nm = crystal.direction_nm(foil.normal_uvw)
    zone_crystal_nm = crystal.direction_nm(beam.zone_axis_uvw)
    normal_image = image_from_crystal(crystal, beam) @ (normal_crystal_nm / np.linalg.norm(normal_crystal_nm))
    cosine = float(normal_crystal_nm @ zone_crystal_nm)
    cosine /= float(np.linalg.norm(normal_crystal_nm) * np.linalg.norm(zone_crystal_nm))
    cosine = max(-1.0, min(cosine, float(normal_image[2]), 1.0))  # nor may the tilt to s turn the foil over
    require(cosine > NORMAL_TOLERANCE, "foil.normal_uvw", f"have n.B > 0 with B = {list(beam.zone_axis_uvw)}",
            f"{list(foil.normal_uvw)} at {math.degrees(math.acos(cosine)):.1f} deg to B",
            "reverse it, or choose one within 90 deg of B")  # fmt: skip
    return normal_image


def xi_g_nm(crystal: Crystal, beam: BeamCondition) -> float:
    """Extinction distance of `beam.g_hkl`: the override where one is given, otherwise computed.

    Raises InputError for `beam.debye_waller` in a material without B.
    """
    if beam.xi_g_nm is not None:
        return float(beam.xi_g_nm)
    return extinction_distance_nm(crystal, beam.g_hkl, beam.voltage_kV, debye_waller=beam.debye_waller)


def beam_absorption_nm(crystal: Crystal, beam: BeamCondition) -> tuple[float, float]:
    """Absorption lengths (xi_0', xi_g') in nm: extinction distances times the ratios given, or of thermal diffuse scattering.

    Of two equal ratios xi_g' >= xi_0' holds for every g, since no extinction distance is below the shortest.
    """
    if beam.absorption == "tds":
        return absorption_lengths_nm(crystal, beam.g_hkl, beam.voltage_kV)
    xi_nm = xi_g_nm(crystal, beam)
    shortest_nm = xi_nm
    if beam.xi_g_nm is None:
        shortest_nm = shortest_extinction_distance_nm(crystal, beam.voltage_kV, debye_waller=beam.debye_waller)
    return shortest_nm * beam.xi_0_prime_over_shortest_xi, xi_nm * beam.xi_g_prime_over_xi_g


def _tilt_rad(beam: BeamCondition, g_inv_nm: float) -> float:
    """Angle by which g rises toward the gun."""
    wave_number_inv_nm = 1 / wavelength_nm(beam.voltage_kV)
    s = beam.s_inv_nm
    scattered_inv_nm = math.sqrt(s**2 + wave_number_inv_nm**2) - s
    sine = (g_inv_nm**2 + 2 * s * scattered_inv_nm) / (2 * wave_number_inv_nm * g_inv_nm)
    require(abs(sine) < 1, "beam.s_inv_nm", f"be reachable by a tilt for g = {list(beam.g_hkl)}", s)
    return math.asin(sine)
