"""Drawing how a specimen is looked at: reflection and orientation, foil."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np

from physics.beam import BeamCondition, beam_absorption_nm, excitation_error_of_ng, image_from_crystal, xi_g_nm
from physics.crystal import Crystal
from physics.errors import InputError, require
from physics.foil import Foil
from physics.miller import direction_from_bravais, plane_from_bravais
from physics.scattering import shortest_extinction_distance_nm
from render.draw import Fixed
from render.sample_config import THICKNESS_FIELDS, BeamConfig, FoilConfig, SampleConfig

# Zones that people tilt to, and the reflections strong enough for two-beam work.
CUBIC_ZONES = ((0, 0, 1), (1, 0, 1), (1, 1, 1), (1, 1, 2), (0, 1, 3), (1, 2, 3))
HEXAGONAL_ZONES = ((0, 0, 1), (1, 0, 0), (2, 1, 0), (1, 0, 1), (2, 1, 1), (1, -1, 3))
WIDEST_G_INV_NM = 9.0
LONGEST_XI_NM = 170.0
SHARE_OF_LOWER_ORDER = 0.1  # of the intensity that g at its Bragg angle would have, 1 / (1 + (s xi_g)^2)
THINNEST_FOIL_PX = 30
MOST_TRIES = 100  # draws of a number within limits
LINE_WIDTH_OVER_XI_EFF = 0.25  # median over simulated realistic scenes; Hirsch et al. (1977) give a third to a fifth


def draw_beam(config: BeamConfig, crystal: Crystal, rng: np.random.Generator) -> BeamCondition:
    """A condition for `crystal`. Raises InputError where what is fixed leaves none."""
    voltage_kV = float(config.voltage_kV.draw(rng))
    zone, g_hkl = config.zone_axis_uvw.draw(rng), config.g_hkl.draw(rng)
    zone = None if zone is None else direction_indices(zone)
    g_hkl = None if g_hkl is None else plane_indices(g_hkl)
    if zone is None:
        zones = _zones(crystal) if g_hkl is None else _zones_of_reflection(crystal, g_hkl)
        zone = zones[int(rng.integers(len(zones)))]
    if g_hkl is None:
        strong = _reflections(crystal, zone, voltage_kV)
        require(bool(strong), "beam.zone_axis_uvw", "have an allowed reflection in its zone", list(zone))
        weights = np.array([1 / length for _, length in strong])
        g_hkl = strong[int(rng.choice(len(strong), p=weights / weights.sum()))][0]
    options: dict[str, Any] = {
        "g_hkl": g_hkl, "zone_axis_uvw": zone, "voltage_kV": voltage_kV, "image": config.image.draw(rng),
        "image_rotation_deg": config.image_rotation_deg.draw(rng), "xi_g_nm": config.xi_g_nm.draw(rng),
        **_draw_absorption(config, rng),
    }  # fmt: skip
    for name in ("row", "beams_hkl", "dark_field_of", "convergence_mrad", "energy_spread_eV", "aperture_mrad", "debye_waller"):
        options[name] = getattr(config, name).draw(rng)
    many = options["row"] is not None or options["beams_hkl"] is not None or options["aperture_mrad"] is not None
    if many and not isinstance(config.convergence_mrad, Fixed):
        options["convergence_mrad"] = 0.0  # hundreds of plane waves an image, not to be had by chance
    if options["image"] != "df":
        options["dark_field_of"] = None
    s_inv_nm, n, s_xi = config.s_inv_nm.draw(rng), config.n.draw(rng), config.s_xi.draw(rng)
    if s_inv_nm is None and n is not None:
        s_inv_nm = excitation_error_of_ng(crystal, g_hkl, voltage_kV, n)
    if s_inv_nm is None:
        s_inv_nm = s_xi / xi_g_nm(crystal, BeamCondition(**options))
    return BeamCondition(**options, s_inv_nm=float(s_inv_nm))


def _draw_absorption(config: BeamConfig, rng: np.random.Generator) -> dict[str, Any]:
    """The absorption; of two ratios drawn, xi_g' is not let below xi_0' (see BeamCondition)."""
    names = ("xi_0_prime_over_shortest_xi", "xi_g_prime_over_xi_g")
    zero, g = (getattr(config, name).draw(rng) for name in names)
    absorption = config.absorption.draw(rng)
    if absorption == "tds":
        return {"absorption": absorption}
    drawn = not (isinstance(config.xi_0_prime_over_shortest_xi, Fixed) and isinstance(config.xi_g_prime_over_xi_g, Fixed))
    # null (no absorption) stays null; where both ratios are fixed BeamCondition judges them.
    if drawn and zero is not None and g is not None:
        g = max(zero, g)
    return {"absorption": absorption, **dict(zip(names, (zero, g)))}


def condition_of_series(entry: Any, crystal: Crystal, beam: BeamCondition, where: str) -> BeamCondition:
    """The condition that one entry of `beam.series` makes of the specimen's first one.

    Where the entry gives no rotation, the camera stays with the specimen: the image is turned so that it differs from
    the first by the tilt alone.
    """
    given = dict(entry) if isinstance(entry, dict) else {"g_hkl": entry}
    for key in ("n", "s_inv_nm", "image_rotation_deg"):
        number = given.get(key)
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        require(number is None or is_number, f"{where}.{key}", "be a number", number)
    changes = {f.name: getattr(beam, f.name) for f in fields(BeamCondition)}
    if given.get("g_hkl") is not None:
        changes |= {"g_hkl": plane_indices(given["g_hkl"]), "xi_g_nm": None}
        if beam.xi_g_nm is not None and beam.absorption == "convention":
            # The extinction distance given was that of the first g; the specimen's mean absorption stays as it was.
            xi_0_prime_nm, _ = beam_absorption_nm(crystal, beam)
            shortest_nm = shortest_extinction_distance_nm(crystal, beam.voltage_kV, debye_waller=beam.debye_waller)
            mean = max(1.0, xi_0_prime_nm / shortest_nm)
            changes |= {"xi_0_prime_over_shortest_xi": mean, "xi_g_prime_over_xi_g": max(mean, beam.xi_g_prime_over_xi_g)}
    if given.get("zone_axis_uvw") is not None:
        changes["zone_axis_uvw"] = direction_indices(given["zone_axis_uvw"])
    if given.get("n") is not None:
        changes["s_inv_nm"] = excitation_error_of_ng(crystal, changes["g_hkl"], beam.voltage_kV, given["n"])
    kept = ("s_inv_nm", "image", "image_rotation_deg", "dark_field_of")
    changes |= {key: given[key] for key in kept if given.get(key) is not None}
    if "row" in given:
        # null: two beams again, whatever many the specimen's first condition had.
        changes |= {"row": given["row"], "beams_hkl": None}
    if given.get("dark_field_of", 0) is None or (given.get("row", 0) is None and "dark_field_of" not in given):
        changes["dark_field_of"] = None
    if changes["image"] != "df" and given.get("dark_field_of") is None:
        changes["dark_field_of"] = None
    try:
        changed = BeamCondition(**changes)
        if given.get("image_rotation_deg") is not None:
            return changed
        relative = image_from_crystal(crystal, changed) @ image_from_crystal(crystal, beam).T
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    # The in-image part of the relative rotation is taken back: the polar angle of its upper left block.
    turned_deg = math.degrees(math.atan2(relative[1, 0] - relative[0, 1], relative[0, 0] + relative[1, 1]))
    return BeamCondition(**(changes | {"image_rotation_deg": changed.image_rotation_deg - turned_deg}))


def draw_thickness_nm(config: FoilConfig, crystal: Crystal, beam: BeamCondition, rng: np.random.Generator) -> float:
    """The foil's thickness: fixed, drawn, or as many extinction distances as drawn."""
    thickness_nm = config.thickness_nm.draw(rng)
    if thickness_nm is not None:
        return float(thickness_nm)
    xi_nm = xi_g_nm(crystal, beam)
    xi_0_prime_nm, _ = beam_absorption_nm(crystal, beam)
    thinnest_nm, thickest_nm = config.thickness_limits_nm
    # exp(-2 pi t / xi_0') passes; who finds less through a foil looks elsewhere.
    passing_nm = -math.log(config.least_transmission) * xi_0_prime_nm / (2 * math.pi)
    thickest_nm = max(thinnest_nm, min(thickest_nm, passing_nm))
    return _drawn_within(lambda: config.thickness_xi.draw(rng) * xi_nm, thinnest_nm, thickest_nm)


def draw_pixel_nm(
    config: SampleConfig, crystal: Crystal, beam: BeamCondition, thickness_nm: float, rng: np.random.Generator
) -> float:
    """The pixel: fixed, drawn, or such that a line's image is as many pixels wide as drawn.

    In the last case it is at most 1 / THINNEST_FOIL_PX of the thickness, below which a slip plane is too narrow a strip.
    """
    pixel_nm = config.pixel_nm.draw(rng)
    if pixel_nm is not None:
        return float(pixel_nm)
    xi_nm = xi_g_nm(crystal, beam)
    width_nm = LINE_WIDTH_OVER_XI_EFF * xi_nm / math.hypot(1, beam.s_inv_nm * xi_nm)
    finest_nm, coarsest_nm = config.pixel_limits_nm
    coarsest_nm = max(finest_nm, min(coarsest_nm, thickness_nm / THINNEST_FOIL_PX))
    return _drawn_within(lambda: width_nm / config.line_width_px.draw(rng), finest_nm, coarsest_nm)


def _drawn_within(draw: Callable[[], float], least: float, most: float) -> float:
    """The first drawn number within the limits; the nearer limit where none of `MOST_TRIES` is, as for a fixed one.

    Numbers held at the limits instead would make one foil or magnification of many.
    """
    for _ in range(MOST_TRIES):
        drawn = float(draw())
        if least <= drawn <= most:
            return drawn
    return min(max(drawn, least), most)


def draw_foil(
    config: FoilConfig, crystal: Crystal, beam: BeamCondition, thickness_nm: float, field_longer_nm: float,
    rng: np.random.Generator,
) -> Foil:  # fmt: skip
    """A foil of `thickness_nm`, tilted, tapered and bent as drawn."""
    drawn = {f.name: getattr(config, f.name).draw(rng) for f in fields(config) if f.name not in THICKNESS_FIELDS}
    normal = drawn["normal_uvw"]
    if normal is not None:
        normal = direction_indices(normal) if len(normal) == 4 else tuple(normal)
    elif drawn["tilt_deg"]:
        normal = normal_uvw_from_tilt(crystal, beam, drawn["tilt_deg"], drawn["tilt_azimuth_deg"])
    return Foil(
        thickness_nm=thickness_nm,
        normal_uvw=normal,
        # The taper is held back where the thin side would end inside the field.
        wedge_deg=drawn["wedge_deg"] + math.degrees(2 * math.atan(min(drawn["taper_nm"], 1.2 * thickness_nm) / 2 / field_longer_nm)),
        wedge_azimuth_deg=drawn["wedge_azimuth_deg"],
        curvature_inv_um=drawn["curvature_inv_um"] + drawn["bend_mrad"] / field_longer_nm,  # mrad / nm = 1 / um
        cross_curvature_inv_um=drawn["cross_curvature_inv_um"],
        curvature_azimuth_deg=drawn["curvature_azimuth_deg"],
    )


def normal_uvw_from_tilt(crystal: Crystal, beam: BeamCondition, tilt_deg: float, azimuth_deg: float) -> tuple[float, ...]:
    """The foil normal as a lattice direction, `tilt_deg` from the beam toward the in-image azimuth."""
    tilt, azimuth = math.radians(tilt_deg), math.radians(azimuth_deg)
    normal_image = np.array([math.sin(tilt) * math.cos(azimuth), math.sin(tilt) * math.sin(azimuth), math.cos(tilt)])
    return normal_uvw_of(crystal, beam, normal_image)


def normal_uvw_of(crystal: Crystal, beam: BeamCondition, normal_image: np.ndarray) -> tuple[float, ...]:
    """An image-frame vector as a lattice direction."""
    uvw = np.linalg.solve(crystal.lattice_nm, image_from_crystal(crystal, beam).T @ normal_image)
    return tuple(float(u) for u in uvw / np.abs(uvw).max())


def plane_indices(indices: Any) -> tuple[int, ...]:
    """Three plane indices from three or four."""
    return plane_from_bravais(indices) if len(indices) == 4 else tuple(int(h) for h in indices)


def direction_indices(indices: Any) -> tuple[int, ...]:
    """Three direction indices from three or four, reduced to the smallest integers."""
    if len(indices) == 3:
        return tuple(int(u) for u in indices)
    uvw = np.round(direction_from_bravais(indices)).astype(int)
    return tuple(int(u) for u in uvw // max(1, np.gcd.reduce(np.abs(uvw))))


def _zones(crystal: Crystal) -> tuple[tuple[int, int, int], ...]:
    return HEXAGONAL_ZONES if crystal.structure == "hcp" else CUBIC_ZONES


@cache
def _zones_of_reflection(crystal: Crystal, g_hkl: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    """The usual zones, in every equivalent setting, that hold a reflection."""
    found = [
        tuple(int(u) for u in setting)
        for zone in _zones(crystal)
        for setting in crystal.equivalent_directions(zone)
        if abs(np.dot(setting, g_hkl)) < 1e-9
    ]
    if not found:
        h, k, l = g_hkl
        found = [(k, -h, 0) if h or k else (1, 0, 0)]
    return tuple(found)


@cache
def _reflections(crystal: Crystal, zone: tuple[int, int, int], voltage_kV: float) -> tuple[tuple[tuple[int, int, int], float], ...]:
    """Allowed strong reflections of a zone with their lengths in 1/nm, shortest first; the strongest where none is strong.

    Left out are those of higher orders at whose Bragg angle a lower one is excited too: two beams would not do.
    """
    indices = range(-4, 5)
    in_zone = [g for g in itertools.product(indices, repeat=3) if any(g) and np.dot(g, zone) == 0]
    lengths = {g: float(np.linalg.norm(crystal.reciprocal_vector_inv_nm(g))) for g in in_zone}
    allowed = [g for g in in_zone if lengths[g] <= WIDEST_G_INV_NM and crystal.is_allowed_reflection(g)]
    allowed.sort(key=lambda g: (round(lengths[g], 6), g))
    xi_nm = {g: xi_g_nm(crystal, BeamCondition(g_hkl=g, zone_axis_uvw=zone, voltage_kV=voltage_kV)) for g in allowed}

    def is_alone(g: tuple[int, int, int]) -> bool:
        lower = [(tuple(h // n for h in g), n) for n in range(2, 5) if not any(h % n for h in g)]
        deviations = [excitation_error_of_ng(crystal, low, voltage_kV, n) * xi_nm[low] for low, n in lower if low in xi_nm]
        return all(1 / (1 + w**2) < SHARE_OF_LOWER_ORDER for w in deviations)

    strong = tuple((g, lengths[g]) for g in allowed if xi_nm[g] <= LONGEST_XI_NM and is_alone(g))
    if strong or not allowed:
        return strong
    strongest = min(allowed, key=lambda g: (round(xi_nm[g], 6), g))
    return ((strongest, lengths[strongest]),)
