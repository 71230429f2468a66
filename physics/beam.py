"""The diffraction condition as a person specifies it.

The orientation, extinction distance and excitation error that follow from it are functions of this
module; each takes the Crystal as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from physics.errors import require
from physics.frozen import frozen_array


@dataclass(frozen=True, kw_only=True)
class BeamCondition:
    """Two-beam imaging condition.

    `zone_axis_uvw` is B, pointing up the column to the gun; `g_hkl` lies in its zone and, at
    `image_rotation_deg` = 0, projects on +x of the image (positive rotation is anticlockwise as seen).
    `s_inv_nm` is the excitation error of g, > 0 when g lies inside the Ewald sphere. `image` is "bf" or "df".
    `xi_0_prime_over_xi_g`, `xi_g_prime_over_xi_g`: absorption lengths in units of the extinction distance
    (10: the usual convention, Hirsch et al. 1977; inf switches absorption off; JSON writes null for inf).
    `xi_g_nm` overrides the computed extinction distance.

    Raises InputError for a voltage <= 0, g = 000, a zero zone axis, g outside the zone, or another image mode.
    """

    g_hkl: tuple[int, int, int]
    zone_axis_uvw: tuple[int, int, int]
    voltage_kV: float = 200.0
    s_inv_nm: float = 0.0
    image: str = "bf"
    image_rotation_deg: float = 0.0
    xi_0_prime_over_xi_g: float = 10.0
    xi_g_prime_over_xi_g: float = 10.0
    xi_g_nm: float | None = None

    def __post_init__(self) -> None:
        for name in ("g_hkl", "zone_axis_uvw"):
            indices = frozen_array(getattr(self, name), (3,), f"beam.{name}")
            require(bool((indices == indices.round()).all()), f"beam.{name}", "be three integers", list(indices))
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
        for name in ("xi_0_prime_over_xi_g", "xi_g_prime_over_xi_g"):
            value = getattr(self, name)
            value = float("inf") if value is None else float(value)
            require(value >= 1, f"beam.{name}", "be >= 1", value)
            object.__setattr__(self, name, value)
        require(self.xi_g_nm is None or self.xi_g_nm > 0, "beam.xi_g_nm", "be > 0", self.xi_g_nm)
