"""What `sample` draws from: a frozen tree of distributions that a config file builds and nothing else.

A field typed `Draw` takes any value that `render.draw.parse` reads. Field defaults are the defaults of the
product; the files under configs/ show them.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from physics.beam import ABSORPTIONS
from physics.crystal import Crystal
from physics.errors import InputError, require
from physics.miller import plane_from_bravais
from physics.slip import slip_systems
from render.camera_config import DetectorConfig
from render.draw import Draw, Fixed, default_draw, is_number, parse, require_within
from render.mixture_config import KINDS, Mixture
from render.scene import ELASTICITIES, LABELS
from render.stroke_config import StrokeScene
from render.surroundings_config import CLEAN, SurroundingsConfig

# Keys of the same file that say how much to render and where to, not what.
BULK_KEYS = ("out", "n", "seed", "workers", "scheduler", "shard", "keep_intensity", "device", "foil_library")


def _check_indices(value: Any, where: str) -> None:
    ok = isinstance(value, list | tuple) and len(value) in (3, 4) and all(is_number(v) and v == int(v) for v in value)
    require(ok, where, "be three integers (four: Miller-Bravais)", list(value) if isinstance(value, tuple) else value)
    require(any(value), where, "not be [0, 0, 0]", list(value))


def _check_range(where: str, limits: Any) -> None:
    ordered = isinstance(limits, tuple) and len(limits) == 2 and all(map(is_number, limits)) and 0 < limits[0] <= limits[1]
    require(ordered, where, "be [low, high] with 0 < low <= high", limits)


@dataclass(frozen=True, kw_only=True)
class NetworkScene:
    """Foils cut from a ParaDiS or ExaDiS `.data` file whose unit of length is `burgers_nm`, or from a `.ca` file of
    OVITO's dislocation analysis, which has its own and whose b `flip_burgers` reverses (see physics.networkio_ca).

    Views are drawn at random (origin in the box; the orientation is the beam's) until `min_lines` lines of at least
    `shortest_px` run through the field, `most_views` times at most. `margin_fraction`: how far beyond the field
    lines are kept, in units of its longer side.
    """

    kind: str = "network"
    file: str | None = None
    burgers_nm: float | None = None
    flip_burgers: bool = False
    min_lines: int = 1
    shortest_px: float = 20.0
    most_views: int = 2000
    margin_fraction: float = 0.25

    def __post_init__(self) -> None:
        require(bool(self.file), "scene.file", "name a ParaDiS or ExaDiS .data file, or a .ca file", "nothing", "write scene.file=…")
        require(os.path.isfile(str(self.file)), "scene.file", "be a file that exists", self.file)
        require(isinstance(self.flip_burgers, bool), "scene.flip_burgers", "be true or false", self.flip_burgers)
        if str(self.file).lower().endswith(".ca"):
            require(self.burgers_nm is None, "scene.burgers_nm", "be left out for a .ca file, which is in Angstrom", self.burgers_nm)
        else:
            require(self.burgers_nm is not None, "scene.burgers_nm", "be given", "nothing",
                    "it is the file's unit of length (burgMag) in nm, which the .data file does not hold")  # fmt: skip
            ok = is_number(self.burgers_nm) and 0.01 <= self.burgers_nm <= 10
            require(ok, "scene.burgers_nm", "lie in [0.01, 10]", self.burgers_nm)
            require(not self.flip_burgers, "scene.flip_burgers", "be false for a .data file, whose sense of b is known", True)
        require_within("scene.min_lines", self.min_lines, 1, 1000)
        require_within("scene.shortest_px", self.shortest_px, 0, 16384)
        require_within("scene.most_views", self.most_views, 1, 10**6)
        require_within("scene.margin_fraction", self.margin_fraction, 0, 2)


@dataclass(frozen=True, kw_only=True)
class FileScene:
    """A Scene from a JSON file; foil, detector and shape are the file's, `beam.series` may add reflections."""

    kind: str = "file"
    file: str | None = None

    def __post_init__(self) -> None:
        require(bool(self.file), "scene.file", "name a scene, JSON or .blend", "nothing", "write scene.file=…")


THICKNESS_FIELDS = ("thickness_nm", "thickness_xi", "thickness_limits_nm", "least_transmission")  # the thickness follows from all four


@dataclass(frozen=True, kw_only=True)
class FoilConfig:
    """The foil; `thickness_nm` null means `thickness_xi` extinction distances, drawn again while outside
    `thickness_limits_nm` or so thick that absorption leaves less than `least_transmission` of the beam; held there where none fits.

    `tilt_deg`, `tilt_azimuth_deg` turn the foil normal from the beam where `normal_uvw` is null. `bend_mrad` is the
    turn of the normal across the field's longer side, added to `curvature_inv_um`, and `taper_nm` the growth of
    thickness across it, added to `wedge_deg`.
    """

    thickness_nm: Draw = default_draw(None)
    thickness_xi: Draw = default_draw({"uniform": [1.8, 8.0]})
    thickness_limits_nm: tuple[float, float] = (70.0, 400.0)
    least_transmission: float = 0.02
    normal_uvw: Draw = default_draw(None)
    tilt_deg: Draw = default_draw({"choice": [0, {"uniform": [0, 25]}]})
    tilt_azimuth_deg: Draw = default_draw({"uniform": [0, 360]})
    wedge_deg: Draw = default_draw(0)
    wedge_azimuth_deg: Draw = default_draw({"uniform": [0, 360]})
    taper_nm: Draw = default_draw({"choice": [0, {"uniform": [0, 40]}]})
    curvature_inv_um: Draw = default_draw(0)
    cross_curvature_inv_um: Draw = default_draw(0)
    curvature_azimuth_deg: Draw = default_draw({"uniform": [0, 360]})
    bend_mrad: Draw = default_draw({"choice": [0, {"normal": [0, 2.5]}]})

    def __post_init__(self) -> None:
        for value in self.thickness_nm.values():
            if value is not None:
                require(is_number(value) and value > 0, "foil.thickness_nm", "be > 0", value)
        for value in self.thickness_xi.values():
            require(is_number(value) and value > 0, "foil.thickness_xi", "be > 0", value)
        _check_range("foil.thickness_limits_nm", self.thickness_limits_nm)
        ok = is_number(self.least_transmission) and 0 < self.least_transmission < 1
        require(ok, "foil.least_transmission", "lie between 0 and 1", self.least_transmission)
        for f in fields(self):
            if f.name not in (*THICKNESS_FIELDS, "normal_uvw"):
                for value in getattr(self, f.name).values():
                    require(is_number(value), f"foil.{f.name}", "be a number", value)


@dataclass(frozen=True, kw_only=True)
class BeamConfig:
    """The diffraction condition. `zone_axis_uvw` and `g_hkl` null: a low-index zone of the crystal, a strong
    reflection in it. The excitation error is `s_inv_nm`, or `n` in the notation (g, ng), or `s_xi` = s xi_g.

    `row` (multiples of g) or `beams_hkl` ask for many beams, null for two; `dark_field_of` for the one that forms
    dark-field images, null for g. `convergence_mrad` is a semi-angle, `energy_spread_eV` a full width at half maximum; a
    distribution of the former holds for two beams without `aperture_mrad`, else it is 0; a number holds always.

    `series` lists further conditions for the same specimen: a reflection [h, k, l], or a mapping with any of g_hkl,
    zone_axis_uvw, s_inv_nm, n, image, image_rotation_deg, row, dark_field_of. Image i then shows specimen i // len(series) under
    condition i % len(series).

    Of the two absorption ratios, drawn independently, that of g is raised to that of 0 where it falls below;
    `absorption` "tds" computes both lengths from the material's Debye-Waller factor and uses neither ratio.
    `debye_waller` true multiplies the elastic couplings by exp(-B s^2) too.
    """

    voltage_kV: Draw = default_draw({"weighted": [[200, 3], [300, 2], [120, 1]]})
    zone_axis_uvw: Draw = default_draw(None)
    g_hkl: Draw = default_draw(None)
    s_inv_nm: Draw = default_draw(None)
    n: Draw = default_draw(None)
    s_xi: Draw = default_draw({"weighted": [[{"uniform": [-0.4, 0.4]}, 1], [{"uniform": [0.4, 1.6]}, 3], [{"uniform": [1.6, 5]}, 2]]})
    image: Draw = default_draw({"weighted": [["bf", 5], ["df", 1]]})
    image_rotation_deg: Draw = default_draw({"uniform": [0, 360]})
    xi_0_prime_over_shortest_xi: Draw = default_draw({"log_uniform": [10, 40]})
    xi_g_prime_over_xi_g: Draw = default_draw({"log_uniform": [10, 40]})
    absorption: Draw = default_draw("convention")
    debye_waller: Draw = default_draw(False)
    xi_g_nm: Draw = default_draw(None)
    row: Draw = default_draw(None)
    beams_hkl: Draw = default_draw(None)
    dark_field_of: Draw = default_draw(None)
    convergence_mrad: Draw = default_draw({"weighted": [[0, 2], [{"log_uniform": [0.2, 2]}, 2], [{"uniform": [1.5, 5]}, 1]]})
    aperture_mrad: Draw = default_draw(None)
    energy_spread_eV: Draw = default_draw(0.0)
    series: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        for name in ("zone_axis_uvw", "g_hkl"):
            for value in getattr(self, name).values():
                if value is not None:
                    _check_indices(value, f"beam.{name}")
        both = self.s_inv_nm != Fixed(None) and self.n != Fixed(None)
        require(not both, "beam.n", "be left out where beam.s_inv_nm is given", "both")
        for name in ("row", "beams_hkl"):
            for value in getattr(self, name).values():
                require(value is None or isinstance(value, list | tuple), f"beam.{name}", "be a list or null", value)
        for name in ("voltage_kV", "s_xi", "image_rotation_deg", "convergence_mrad", "energy_spread_eV"):
            for value in getattr(self, name).values():
                require(is_number(value), f"beam.{name}", "be a number", value)
        for name in ("s_inv_nm", "n", "xi_g_nm", "aperture_mrad", "xi_0_prime_over_shortest_xi", "xi_g_prime_over_xi_g"):
            for value in getattr(self, name).values():
                require(value is None or is_number(value), f"beam.{name}", "be a number or null", value)
        for value in self.image.values():
            require(value in ("bf", "df"), "beam.image", 'be "bf" or "df"', value)
        for value in self.absorption.values():
            require(value in ABSORPTIONS, "beam.absorption", 'be "convention" or "tds"', value)
        for value in self.debye_waller.values():
            require(isinstance(value, bool), "beam.debye_waller", "be true or false", value)
        known = ("g_hkl", "zone_axis_uvw", "s_inv_nm", "n", "image", "image_rotation_deg", "row", "dark_field_of")
        for i, entry in enumerate(self.series):
            if isinstance(entry, Mapping):
                unknown = [key for key in entry if key not in known]
                require(not unknown, f"beam.series[{i}]", f"have only the keys {', '.join(known)}", ", ".join(map(str, unknown)))
            for value in (entry.get("g_hkl"), entry.get("zone_axis_uvw")) if isinstance(entry, Mapping) else (entry,):
                if value is not None:
                    _check_indices(value, f"beam.series[{i}]")


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Everything that `sample` draws a Scene from. `from_dict` reads it from a plain mapping.

    `pixel_nm` null means the pixel that shows the image of a line, about xi_eff / 4 wide with
    xi_eff = xi_g / sqrt(1 + (s xi_g)^2) (Hirsch et al. 1977, chapter 7), `line_width_px` wide, drawn again
    while outside `pixel_limits_nm`.

    Raises InputError, naming the key, for unknown keys and for values that no Scene could have.
    """

    material: Draw = default_draw({"choice": ["al", "cu", "ni", "fe_gamma", "fe_alpha", "ti", "mg", "mo", "si"]})
    scene: Mixture | NetworkScene | FileScene | StrokeScene = field(default_factory=lambda: KINDS["realistic"])
    foil: FoilConfig = field(default_factory=FoilConfig)
    beam: BeamConfig = field(default_factory=BeamConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    surroundings: SurroundingsConfig = field(default_factory=SurroundingsConfig)
    shape: tuple[int, int] = (512, 512)
    pixel_nm: Draw = default_draw(None)
    line_width_px: Draw = default_draw({"log_uniform": [1.2, 9]})
    pixel_limits_nm: tuple[float, float] = (0.4, 5.0)
    visible_contrast: float = 0.02
    labels: str = "picture"
    slice_nm: float = 2.0
    core_nm: float = 0.5
    surfaces: bool = True
    elasticity: str = "isotropic"
    foil_renderer: str = "numpy"

    def __post_init__(self) -> None:
        ok = isinstance(self.shape, tuple | list) and len(self.shape) == 2 and all(is_number(n) and n == int(n) and 8 <= n <= 16384 for n in self.shape)
        require(ok, "shape", "be two whole numbers in [8, 16384]",
                list(self.shape) if isinstance(self.shape, tuple) else self.shape)  # fmt: skip
        for value in self.pixel_nm.values():
            require(value is None or (is_number(value) and value > 0), "pixel_nm", "be > 0", value)
        for value in self.line_width_px.values():
            require(is_number(value) and value > 0, "line_width_px", "be > 0", value)
        _check_range("pixel_limits_nm", self.pixel_limits_nm)
        for name in ("visible_contrast", "slice_nm", "core_nm"):
            value = getattr(self, name)
            require(is_number(value) and value > 0, name, "be > 0", value)
        require(self.labels in LABELS, "labels", f"be one of {', '.join(LABELS)}", self.labels)
        require(self.foil_renderer in ("numpy", "bpy"), "foil_renderer", "be numpy or bpy", self.foil_renderer)
        require(isinstance(self.surfaces, bool), "surfaces", "be true or false", self.surfaces)
        require(self.elasticity in ELASTICITIES, "elasticity", f"be one of {', '.join(ELASTICITIES)}", self.elasticity)
        lone = not (isinstance(self.scene, StrokeScene) and self.beam.series)
        require(lone, "beam.series", "be empty for scene=stroke2d, whose lines are drawn and not imaged", list(self.beam.series))
        if not isinstance(self.scene, FileScene):
            for material in self.material.values():
                self._check_material(material)

    def _check_material(self, material: Any) -> None:
        crystal = Crystal.from_material(material)
        for g_hkl in self.beam.g_hkl.values():
            if g_hkl is not None:
                three = plane_from_bravais(g_hkl) if len(g_hkl) == 4 else g_hkl
                require(crystal.is_allowed_reflection(three), "beam.g_hkl",
                        f"be a reflection that the {crystal.structure} lattice of {material} allows", list(g_hkl))  # fmt: skip
        if isinstance(self.scene, Mixture) and self.scene.family is not None:
            slip_systems(crystal, self.scene.family)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SampleConfig:
        """Read a plain mapping as composed from configs/; keys that steer the bulk render are passed over."""
        values = {key: value for key, value in values.items() if key not in BULK_KEYS}
        parts = dict(values)
        if isinstance(values.get("material"), Mapping) and "name" in values["material"]:
            extra = [key for key in values["material"] if key != "name"]
            require(not extra, "material", "have only the key name", ", ".join(map(str, extra)))
            parts["material"] = values["material"]["name"]
        parts["scene"] = _scene(values.get("scene", {}))
        nouns = {"foil": FoilConfig, "beam": BeamConfig, "detector": DetectorConfig, "surroundings": SurroundingsConfig}
        for name, noun in nouns.items():
            if name == "surroundings" and name in values and values[name] is None:
                parts[name] = CLEAN
                continue
            parts[name] = _build(noun(), values.get(name, {}), name)
        return _build_with(cls, parts, "")


def _scene(values: Any) -> Mixture | NetworkScene | FileScene | StrokeScene:
    require(isinstance(values, Mapping), "scene", "be a mapping", values)
    kind = values.get("kind", "realistic")
    if kind in ("network", "file"):
        return _build_with(NetworkScene if kind == "network" else FileScene, dict(values), "scene")
    if kind == "stroke2d":
        return _build(StrokeScene(), values, "scene")
    require(kind in KINDS, "scene.kind", f"be one of {', '.join([*KINDS, 'stroke2d', 'network', 'file'])}", kind)
    template = KINDS[kind]
    parts = dict(values)
    for f in fields(Mixture):
        if dataclasses.is_dataclass(getattr(template, f.name)):
            parts[f.name] = _build(getattr(template, f.name), values.get(f.name, {}), f"scene.{f.name}")
    return _build(template, parts, "scene")


def _build(template: Any, values: Any, where: str) -> Any:
    """A copy of `template` with the given fields replaced."""
    require(isinstance(values, Mapping), where, "be a mapping", values)
    known = {f.name: getattr(template, f.name) for f in fields(template)}
    parts = {
        f.name: _build(known[f.name], values[f.name], f"{where}.{f.name}")
        for f in fields(template)
        if f.name in values and f.type != "Draw" and dataclasses.is_dataclass(known[f.name]) and not isinstance(values[f.name], type(known[f.name]))
    }
    values = dict(values) | parts
    return _build_with(type(template), known | dict(values), where)


def _build_with(noun: type, values: dict[str, Any], where: str) -> Any:
    known = {f.name: f for f in fields(noun)}
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            remedy = f"did you mean {prefix}{near[0]}?" if near else ""
            raise InputError(f"{prefix}{key} must be a known key, got an unknown one" + (f"; {remedy}" if remedy else ""))
    made = {}
    for key, value in values.items():
        if known[key].type == "Draw":
            value = parse(value, f"{prefix}{key}")
        elif isinstance(value, list):
            value = tuple(value)
        made[key] = value
    try:
        return noun(**made)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"{where or 'config'} must have values of the right type, got {error}") from None
