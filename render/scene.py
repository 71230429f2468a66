"""The Scene: everything that determines a micrograph, frozen, as JSON both ways.

All randomness has been drawn when a Scene exists; `render.simulate(scene)` is a pure function of it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from physics.beam import BeamCondition
from physics.boundary import GrainBoundary
from physics.crystal import Crystal
from physics.deposit import Deposit
from physics.dislocation import Dislocation
from physics.errors import InputError, require
from physics.fault import StackingFault
from physics.foil import Foil
from physics.opening import Opening
from physics.particle import Particle
from physics.relief import Relief
from physics.tear import Tear
from render.burn_in import Mark
from render.detector import PARTS as DETECTOR_PARTS
from render.detector import Detector
from render.scene_rules import check_consistency
from render.strokes import Backdrop, Strokes

SCENE_VERSION = 1
ELASTICITIES = ("isotropic", "anisotropic")
CONTRASTS = ("physics", "stroke", "composite")
LABELS = ("picture", "alone")
# Nouns inside nouns, as JSON writes them; a one-element list stands for any number.
PARTS: dict[type, dict[str, Any]] = {
    Foil: {"relief": Relief, "openings": [Opening], "boundary": GrainBoundary, "tears": [Tear], "twins": [GrainBoundary]},
    Detector: DETECTOR_PARTS | {"burn_in": [Mark]},
    Strokes: {"backdrops": [Backdrop]},
    Backdrop: {"scene": "a Scene"},
}
# Nouns whose messages do not say what they are part of.
NAMELESS = tuple(DETECTOR_PARTS.values())


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A specimen, the beam on it and the camera under it.

    `shape` (Y, X) pixels of `pixel_nm`. `visible_contrast` is the |contrast| from which a label is visible.
    `slice_nm` is the integration step down the foil before refinement near lines; `core_nm` the radius a of
    the non-singular core (Cai et al. 2006). `surfaces` relaxes the faces of the foil (`physics.strain.plate`);
    off, the lines run on through them as in an endless crystal. `elasticity` "isotropic" takes the
    Voigt-Reuss-Hill average, "anisotropic" the crystal's own stiffness. `foil_renderer` is what makes the foil's height maps: "numpy", or
    "bpy X.Y.Z" with the version that must be present to reproduce the bytes. `contrast` "stroke" draws the lines with the
    pens of `strokes` on blended backgrounds instead of computing their image (`render.strokes`); "composite" lays their computed
    contrast over the same backgrounds. `labels` "picture" takes each line's contrast from the picture with it and without it, "alone"
    that of the line by itself, which is faster and holds where lines stand an extinction distance apart (`render.labels`).

    Raises InputError where the parts contradict each other (see `render.scene_rules`).
    """

    crystal: Crystal
    foil: Foil
    beam: BeamCondition
    dislocations: tuple[Dislocation, ...] = ()
    faults: tuple[StackingFault, ...] = ()
    deposits: tuple[Deposit, ...] = ()
    particles: tuple[Particle, ...] = ()
    detector: Detector = field(default_factory=Detector)
    shape: tuple[int, int] = (512, 512)
    pixel_nm: float = 1.0
    visible_contrast: float = 0.02
    slice_nm: float = 1.0
    core_nm: float = 0.5
    surfaces: bool = True
    elasticity: str = "isotropic"
    foil_renderer: str = "numpy"
    contrast: str = "physics"
    strokes: Strokes | None = None
    labels: str = "picture"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dislocations", tuple(self.dislocations))
        object.__setattr__(self, "faults", tuple(self.faults))
        object.__setattr__(self, "deposits", tuple(self.deposits))
        object.__setattr__(self, "particles", tuple(self.particles))
        ok = isinstance(self.shape, tuple | list) and len(self.shape) == 2 and all(float(n) == int(n) and 8 <= n <= 16384 for n in self.shape)
        require(ok, "shape", "be two whole numbers in [8, 16384]",
                list(self.shape) if isinstance(self.shape, tuple) else self.shape)  # fmt: skip
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        for name in ("pixel_nm", "visible_contrast", "slice_nm", "core_nm"):
            value = float(getattr(self, name))
            require(math.isfinite(value) and value > 0, name, "be > 0", value)
            object.__setattr__(self, name, value)
        for name in ("slice_nm", "core_nm"):
            require(getattr(self, name) >= 0.01, name, "be >= 0.01", getattr(self, name))
        require(isinstance(self.surfaces, bool), "surfaces", "be true or false", self.surfaces)
        require(self.elasticity in ELASTICITIES, "elasticity", f"be one of {', '.join(ELASTICITIES)}", self.elasticity)
        require(isinstance(self.foil_renderer, str), "foil_renderer", "be text", self.foil_renderer)
        known = self.foil_renderer == "numpy" or self.foil_renderer.startswith("bpy ")
        require(known, "foil_renderer", 'be "numpy" or "bpy VERSION"', self.foil_renderer)
        require(self.contrast in CONTRASTS, "contrast", f"be one of {', '.join(CONTRASTS)}", self.contrast)
        require(self.labels in LABELS, "labels", f"be one of {', '.join(LABELS)}", self.labels)
        check_consistency(self)

    def replace(self, **changes: Any) -> Scene:
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_json(self, indent: int | None = None) -> str:
        """The Scene as JSON; floats are written so that they read back to the same bits."""
        return json.dumps(self.to_plain(), indent=indent, allow_nan=False)

    def to_plain(self) -> dict[str, Any]:
        """The Scene as JSON values."""
        return {
            "version": SCENE_VERSION,
            "crystal": {"material": self.crystal.material},
            "foil": _plain(dataclasses.asdict(self.foil)),
            "beam": _plain(dataclasses.asdict(self.beam)),
            "dislocations": [_plain(_fields(d)) for d in self.dislocations],
            "faults": [_plain(_fields(f)) for f in self.faults],
            "deposits": [_plain(_fields(d)) for d in self.deposits],
            "particles": [_plain(_fields(p)) for p in self.particles],
            "detector": _plain(dataclasses.asdict(self.detector)),
            "shape": list(self.shape),
            "pixel_nm": self.pixel_nm,
            "visible_contrast": self.visible_contrast,
            "slice_nm": self.slice_nm,
            "core_nm": self.core_nm,
            "surfaces": self.surfaces,
            "elasticity": self.elasticity,
            "foil_renderer": self.foil_renderer,
            "contrast": self.contrast,
            "strokes": None if self.strokes is None else _plain_strokes(self.strokes),
        } | ({} if self.labels == LABELS[0] else {"labels": self.labels})  # only where it is not the default

    @classmethod
    def from_json(cls, text: str) -> Scene:
        """Read a Scene; fields left out take their defaults.

        Raises InputError for text that is not JSON, unknown keys, missing keys, or values out of range.
        """
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"scene must be JSON, got an error at line {error.lineno}: {error.msg}") from None
        return cls.from_plain(fields)

    @classmethod
    def from_plain(cls, fields: Any) -> Scene:
        """Read a Scene from JSON values; see `from_json`."""
        require(isinstance(fields, dict), "scene", "be a JSON object", type(fields).__name__)
        fields = dict(fields)
        version = fields.pop("version", SCENE_VERSION)
        require(version == SCENE_VERSION, "version", f"be {SCENE_VERSION}", version)
        parts: dict[str, Any] = {}
        if "crystal" in fields:
            crystal = fields.pop("crystal")
            _check_keys(crystal, {"material"}, "crystal")
            parts["crystal"] = Crystal.from_material(crystal.get("material"))
        for name, noun in (("foil", Foil), ("beam", BeamCondition), ("detector", Detector)):
            if name in fields:
                parts[name] = _build(noun, fields.pop(name), name)
        for name, noun in (("dislocations", Dislocation), ("faults", StackingFault), ("deposits", Deposit), ("particles", Particle)):
            if name in fields:
                items = fields.pop(name)
                require(isinstance(items, list), name, "be a list", type(items).__name__)
                parts[name] = tuple(_build(noun, item, f"{name}[{i}]") for i, item in enumerate(items))
        if fields.get("strokes") is not None:
            parts["strokes"] = _build(Strokes, fields.pop("strokes"), "strokes")
        return _build(cls, fields | parts, "scene")


def _build(noun: type, fields: Any, where: str) -> Any:
    names = {f.name for f in dataclasses.fields(noun)}
    _check_keys(fields, names, where)
    required = [
        f.name for f in dataclasses.fields(noun)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and f.name not in fields
    ]  # fmt: skip
    require(not required, where, f"have {', '.join(required)}", f"only {', '.join(fields) or 'nothing'}")
    for name, part in PARTS.get(noun, {}).items():
        value = fields.get(name)
        if isinstance(part, list) and value is not None:
            require(isinstance(value, list), f"{where}.{name}", "be a list", type(value).__name__)
            fields = fields | {name: [_build(part[0], item, f"{where}.{name}[{i}]") for i, item in enumerate(value)]}
        elif value is not None and part == "a Scene":
            fields = fields | {name: Scene.from_plain(value)}
        elif value is not None:
            fields = fields | {name: _build(part, value, f"{where}.{name}")}
    try:
        return noun(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
    except InputError as error:
        # The nouns name their own fields; a list item adds which one it was.
        if noun in NAMELESS:
            raise InputError(f"{where}.{error}") from None
        raise InputError(f"{where}: {error}" if "[" in where else str(error)) from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} must have values of the right type, got {error}") from None


def _check_keys(fields: Any, names: set[str], where: str) -> None:
    require(isinstance(fields, dict), where, "be a JSON object", type(fields).__name__)
    unknown = sorted(set(fields) - names)
    require(not unknown, where, f"have only the keys {', '.join(sorted(names))}", ", ".join(map(str, unknown)))


def _plain_strokes(strokes: Strokes) -> dict[str, Any]:
    backdrops = [_fields(b) | {"scene": None if b.scene is None else b.scene.to_plain()} for b in strokes.backdrops]
    return _plain(_fields(strokes) | {"backdrops": backdrops})


def _fields(noun: Any) -> dict[str, Any]:
    return {f.name: getattr(noun, f.name) for f in dataclasses.fields(noun)}


def _plain(value: Any) -> Any:
    """JSON values: arrays become lists, infinity (an absorption length switched off) becomes null."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, float) and math.isinf(value):
        return None
    return value
