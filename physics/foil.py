"""The thin foil as a person specifies it; `render.foil` turns it into height maps."""

from __future__ import annotations

from dataclasses import dataclass

from physics.boundary import GrainBoundary
from physics.errors import require
from physics.frozen import frozen_array
from physics.opening import Opening
from physics.relief import Relief
from physics.tear import Tear


@dataclass(frozen=True, kw_only=True)
class Foil:
    """A foil of `thickness_nm` along its normal at the field's centre.

    `normal_uvw` is the foil normal n as a lattice direction, n.B > 0; None: along the beam.
    `wedge_deg` is the angle between the two faces; thickness grows along the in-image direction
    `wedge_azimuth_deg` (anticlockwise from +x). The two faces turn by half that angle each.
    `curvature_inv_um` is that of the mid-surface along the in-image direction `curvature_azimuth_deg`
    and `cross_curvature_inv_um` that along the direction 90 degrees anticlockwise of it: positive is a dome
    toward the gun, z_mid = -(curvature u^2 + cross_curvature v^2) / 2.
    `relief` is added to both faces, `openings` thin the foil toward holes and edges, `tears` are cracks with bent or rolled
    lips, beyond `boundary` there is another grain, and `twins` are lamellae of another orientation. All of them lie fixed
    in the image frame.

    Raises InputError for a thickness that is not positive or angles out of range.
    """

    thickness_nm: float
    normal_uvw: tuple[float, float, float] | None = None
    wedge_deg: float = 0.0
    wedge_azimuth_deg: float = 0.0
    curvature_inv_um: float = 0.0
    cross_curvature_inv_um: float = 0.0
    curvature_azimuth_deg: float = 0.0
    relief: Relief | None = None
    openings: tuple[Opening, ...] = ()
    boundary: GrainBoundary | None = None
    tears: tuple[Tear, ...] = ()
    twins: tuple[GrainBoundary, ...] = ()

    def __post_init__(self) -> None:
        for name in ("thickness_nm", "wedge_deg", "wedge_azimuth_deg", "curvature_inv_um",
                     "cross_curvature_inv_um", "curvature_azimuth_deg"):  # fmt: skip
            value = getattr(self, name)
            frozen_array([value], (1,), f"foil.{name}")
            object.__setattr__(self, name, float(value))
        for name in ("openings", "tears", "twins"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        require(self.boundary is None or self.boundary.width_nm is None, "boundary.width_nm", "be left out for a second grain",
                self.boundary and self.boundary.width_nm, "give the lamella in foil.twins")  # fmt: skip
        require(all(twin.width_nm is not None for twin in self.twins), "twins.width_nm", "be given for a twin", "none")
        for tear in self.tears:
            require(tear.lips != "rolled" or tear.lip_nm > self.thickness_nm / 2, "tears.lip_nm",
                    f"be > thickness / 2 = {self.thickness_nm / 2:g} for rolled lips", tear.lip_nm)  # fmt: skip
        require(self.thickness_nm > 0, "foil.thickness_nm", "be > 0", self.thickness_nm)
        require(self.thickness_nm <= 2000, "foil.thickness_nm", "be <= 2000", self.thickness_nm,
                "thicker foils transmit no beam that two-beam theory describes")  # fmt: skip
        require(0 <= self.wedge_deg <= 60, "foil.wedge_deg", "lie in [0, 60]", self.wedge_deg)
        if self.normal_uvw is not None:
            normal = frozen_array(self.normal_uvw, (3,), "foil.normal_uvw")
            require(bool((normal != 0).any()), "foil.normal_uvw", "not be [0, 0, 0]", list(normal))
            object.__setattr__(self, "normal_uvw", tuple(float(u) for u in normal))

    @property
    def smooth(self) -> bool:
        """Whether both faces are planes or parabolas, without relief, opening, tear or boundary."""
        return self.relief is None and not (self.openings or self.tears or self.twins) and self.boundary is None
