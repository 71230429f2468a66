"""What lies on a foil's faces: particles, flakes, hydrocarbon spots, oxide islands, ion-beam damage.

A deposit absorbs by its mass-thickness: of the electrons that cross a thickness h of it, exp(-h / mean_free_path_nm)
still pass the objective aperture. It is amorphous or off any Bragg condition, and does not strain the foil.

Axes: M outline modes, P points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physics.errors import require
from physics.frozen import frozen_array

KINDS = ("particle", "flake", "spot", "oxide", "damage")


@dataclass(frozen=True, kw_only=True, eq=False)
class Deposit:
    """One deposit centred at `centre_nm` (2,) in the image plane.

    Its outline is r(phi) = radius_nm (1 + sum_m lobes[m] cos((m + 2) (phi - turn))), squeezed by `aspect` across the
    direction `turn_deg`; its thickness is thickness_nm (1 - (r / r_outline)^2)^profile: 0 a flake of even thickness, 0.5 a
    cap, 2 a spot that fades out. `side` +1 lies on the entrance face, -1 on the exit face (for the 3-D picture: the image
    is the same).

    Raises InputError for an unknown kind or numbers out of range.
    """

    kind: str = "particle"
    centre_nm: tuple[float, float]
    radius_nm: float
    thickness_nm: float
    mean_free_path_nm: float = 80.0
    aspect: float = 1.0
    turn_deg: float = 0.0
    lobes: tuple[float, ...] = ()
    profile: float = 0.5
    side: int = 1

    def __post_init__(self) -> None:
        require(self.kind in KINDS, "deposits.kind", f"be one of {', '.join(KINDS)}", self.kind)
        centre = frozen_array(self.centre_nm, (2,), "deposits.centre_nm")
        object.__setattr__(self, "centre_nm", tuple(float(c) for c in centre))
        object.__setattr__(self, "lobes", tuple(float(a) for a in frozen_array(self.lobes, (None,), "deposits.lobes")))
        for name in ("radius_nm", "thickness_nm", "mean_free_path_nm", "aspect", "turn_deg", "profile"):
            frozen_array([getattr(self, name)], (1,), f"deposits.{name}")
            object.__setattr__(self, name, float(getattr(self, name)))
        for name in ("radius_nm", "thickness_nm", "mean_free_path_nm"):
            require(getattr(self, name) > 0, f"deposits.{name}", "be > 0", getattr(self, name))
        require(0 < self.aspect <= 1, "deposits.aspect", "lie in (0, 1]", self.aspect)
        require(self.profile >= 0, "deposits.profile", "be >= 0", self.profile)
        require(sum(abs(a) for a in self.lobes) < 1, "deposits.lobes", "sum to less than 1", list(self.lobes))
        require(self.side in (1, -1), "deposits.side", "be 1 or -1", self.side)

    @property
    def reach_nm(self) -> float:
        """No part of it lies farther than this from its centre."""
        return self.radius_nm * (1 + sum(abs(a) for a in self.lobes))

    def outline_nm(self, angle_rad: np.ndarray) -> np.ndarray:
        """Distance (...) of the outline from the centre at angles from its long axis, before the squeeze across."""
        lobes = sum((amplitude * np.cos((m + 2) * angle_rad) for m, amplitude in enumerate(self.lobes)), np.zeros_like(angle_rad))
        return self.radius_nm * (1.0 + lobes)

    def height_nm(self, x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
        """Thickness (...) of the deposit at (x, y), along the beam."""
        turn = math.radians(self.turn_deg)
        dx, dy = np.asarray(x_nm) - self.centre_nm[0], np.asarray(y_nm) - self.centre_nm[1]
        along = dx * math.cos(turn) + dy * math.sin(turn)
        across = (dy * math.cos(turn) - dx * math.sin(turn)) / self.aspect
        outline_nm = self.outline_nm(np.arctan2(across, along)) if self.lobes else self.radius_nm
        fill = 1 - (along**2 + across**2) / outline_nm**2
        inside = fill > 0
        return np.where(inside, self.thickness_nm * np.maximum(fill, 0.0) ** self.profile, 0.0)


def transmission(deposits: tuple[Deposit, ...], x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
    """Share (Y, X) of the electrons that pass the deposits over the columns x_nm (X,), y_nm (Y,) of an image."""
    return np.exp(-mean_free_paths(deposits, x_nm, y_nm))


def mean_free_paths(deposits: Sequence[Deposit], x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
    """Mean free paths (Y, X) that an electron has to go through the deposits over the columns of an image."""
    absorbed = np.zeros((len(y_nm), len(x_nm)))
    for deposit, rows, columns in _windows(deposits, x_nm, y_nm):
        height = deposit.height_nm(x_nm[None, columns], y_nm[rows, None])
        absorbed[rows, columns] += height / deposit.mean_free_path_nm
    return absorbed


def covered(deposit: Deposit, x_nm: np.ndarray, y_nm: np.ndarray) -> np.ndarray:
    """Which columns (Y, X) a deposit covers, by their centres."""
    mask = np.zeros((len(y_nm), len(x_nm)), dtype=bool)
    for one, rows, columns in _windows((deposit,), x_nm, y_nm):
        mask[rows, columns] = one.height_nm(x_nm[None, columns], y_nm[rows, None]) > 0
    return mask


def _windows(deposits: tuple[Deposit, ...], x_nm: np.ndarray, y_nm: np.ndarray):
    for deposit in deposits:
        columns = np.flatnonzero(np.abs(x_nm - deposit.centre_nm[0]) <= deposit.reach_nm)
        rows = np.flatnonzero(np.abs(y_nm - deposit.centre_nm[1]) <= deposit.reach_nm)
        if len(columns) and len(rows):
            yield deposit, slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
