"""Tears: cracks in the foil whose lips are bent out of its plane or rolled up.

With xi along the chord from tip to tip, tau = 2 xi / length in [-1, 1], and eta across it, the crack runs along
eta = sag (1 - tau^2) and its gap is an ellipse, as a crack opens in an elastic sheet (Griffith 1921). Its lips have turned
by an angle that is greatest half-way and falls to 0 at the tips as (1 - tau^2)^2. Bent lips are a height field: the
mid-surface is raised by

    w = tan(angle) lip_nm / 3 (1 - d / lip_nm)^3,    d the distance from the gap, measured across the chord,

along the beam, so that slope and curvature fade out together and s changes across the lips; of a bent lip it is tan(angle)
that falls so toward the tips, and in a tilted foil it is added to the slope that is there. Rolled lips are a sheet of the foil's
thickness on an arc, which lies over the rest of the foil and over the gap: no height field.

Axes: M outline vertices, P points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from physics.errors import require
from physics.frozen import frozen_array
from physics.opening import Opening

LIPS = ("bent", "rolled")
OUTLINE_STATIONS = 48
SHARP_NM = 0.01  # a rolled lip goes on from the foil's full thickness


@dataclass(frozen=True, kw_only=True, eq=False)
class Tear:
    """A crack between `tips_nm` (2, 2) in the image plane, `width_nm` wide and bowed by `sag_nm` half-way.

    `lips` "bent": foil within `lip_nm` of the gap is bent, up to `turn_deg` at its edge. "rolled": foil at the edge is
    rolled up by `turn_deg` on an arc of `lip_nm` radius. `side` +1 is toward the gun, -1 away from it. `taper_nm` is that of
    a bent edge (`Opening`).

    Raises InputError for tips at one place, an unknown kind of lips, or numbers out of range.
    """

    tips_nm: np.ndarray
    width_nm: float
    sag_nm: float = 0.0
    lips: str = "bent"
    lip_nm: float = 60.0
    turn_deg: float = 25.0
    side: int = -1
    taper_nm: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "tips_nm", frozen_array(self.tips_nm, (2, 2), "tears.tips_nm"))
        for name in ("width_nm", "sag_nm", "lip_nm", "turn_deg", "taper_nm"):
            object.__setattr__(self, name, float(frozen_array([getattr(self, name)], (1,), f"tears.{name}")[0]))
        for name in ("width_nm", "lip_nm", "taper_nm"):
            require(getattr(self, name) > 0, f"tears.{name}", "be > 0", getattr(self, name))
        require(self.width_nm <= self._length_nm, "tears.width_nm", f"be <= the tips' distance {self._length_nm:g}", self.width_nm)
        require(abs(self.sag_nm) <= self._length_nm / 2, "tears.sag_nm", f"lie within half the tips' distance {self._length_nm:g}", self.sag_nm)
        require(self.lips in LIPS, "tears.lips", f"be one of {', '.join(LIPS)}", self.lips)
        most_deg = 75 if self.lips == "bent" else 350
        require(0 <= self.turn_deg <= most_deg, "tears.turn_deg", f"lie in [0, {most_deg}] for {self.lips} lips", self.turn_deg)
        require(self.side in (1, -1), "tears.side", "be 1 or -1", self.side)

    @property
    def opening(self) -> Opening:
        """The gap."""
        return Opening(outline_nm=self.outline()[0], taper_nm=self.taper_nm if self.lips == "bent" else SHARP_NM)

    def outline(self) -> tuple[np.ndarray, np.ndarray]:
        """Border (M, 2) of the gap, anticlockwise, and how far its lip has turned (M,) as a share of `turn_deg`."""
        out = -np.cos(np.pi * np.arange(OUTLINE_STATIONS + 1) / OUTLINE_STATIONS)  # close together at the blunt tips
        tau, side = np.concatenate([out, out[-2:0:-1]]), np.repeat([-1.0, 1.0], [OUTLINE_STATIONS + 1, OUTLINE_STATIONS - 1])
        left = np.maximum(1 - tau**2, 0.0)
        along, across = 0.5 * self._length_nm * tau, self.sag_nm * left + 0.5 * self.width_nm * side * np.sqrt(left)
        (c, s), middle = self._axis, self.tips_nm.mean(axis=0)
        return middle + np.stack([c * along - s * across, s * along + c * across], axis=-1), left**2

    def bend_nm(self, x_nm: np.ndarray, y_nm: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Height (...) by which bent lips raise the mid-surface at (x, y), and its slopes along x and y.

        In the gap d runs on below 0, so that a mesh across the border has no kink there.
        """
        x, y = np.broadcast_arrays(np.asarray(x_nm, dtype=np.float64), np.asarray(y_nm, dtype=np.float64))
        shape, x, y = x.shape, x.ravel(), y.ravel()
        raised = np.zeros((3, x.size))
        (c, s), (x_0, y_0) = self._axis, self.tips_nm.mean(axis=0)
        tau = 2 * (c * (x - x_0) + s * (y - y_0)) / self._length_nm
        aside = c * (y - y_0) - s * (x - x_0) - self.sag_nm * (1 - tau**2)
        lip = (np.abs(tau) < 1) & (np.abs(aside) < self.lip_nm + self.width_nm / 2)
        if self.lips == "rolled" or not lip.any():
            return tuple(raised.reshape(3, *shape))
        tau, aside = tau[lip], aside[lip]
        left = 1 - tau**2
        share, share_slope = left**2, -4 * tau * left
        half_nm, half_slope = 0.5 * self.width_nm * np.sqrt(left), -0.5 * self.width_nm * tau / np.sqrt(left)
        toward = np.where(aside < 0, -1.0, 1.0)
        near = np.maximum(1 - (np.abs(aside) - half_nm) / self.lip_nm, 0.0)
        tangent = self.side * math.tan(math.radians(self.turn_deg))
        # d = |aside| - half: along the chord both |aside|, by the sag, and half change; slopes are by tau, then by length.
        along = self.lip_nm / 3 * share_slope * near**3 - share * near**2 * (toward * 2 * self.sag_nm * tau - half_slope)
        along *= 2 / self._length_nm
        across = -share * near**2 * toward
        raised[0][lip] = tangent * self.lip_nm / 3 * share * near**3
        raised[1][lip], raised[2][lip] = tangent * (c * along - s * across), tangent * (s * along + c * across)
        return tuple(raised.reshape(3, *shape))

    def reach_nm(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest x and y (2,) of the gap and its lips."""
        outline_nm, _ = self.outline()
        return outline_nm.min(axis=0) - self.lip_nm, outline_nm.max(axis=0) + self.lip_nm

    @property
    def _length_nm(self) -> float:
        return float(np.linalg.norm(self.tips_nm[1] - self.tips_nm[0]))

    @property
    def _axis(self) -> np.ndarray:
        """Unit vector (2,) from tip to tip."""
        return (self.tips_nm[1] - self.tips_nm[0]) / self._length_nm
