"""Scenes, micrographs and datasets of them. Names are loaded when first used: importing this is cheap."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from render.detector import Detector
    from render.micrograph import Distractor, Line, Micrograph
    from render.rasterise import line_mask
    from render.sample import SampleConfig, sample
    from render.scene import Scene
    from render.simulate import simulate, simulate_batch
    from render.store import Dataset, open_dataset

_HOME = {
    "Dataset": "render.store",
    "Detector": "render.detector",
    "Distractor": "render.micrograph",
    "Line": "render.micrograph",
    "Micrograph": "render.micrograph",
    "SampleConfig": "render.sample",
    "Scene": "render.scene",
    "line_mask": "render.rasterise",
    "open_dataset": "render.store",
    "sample": "render.sample",
    "simulate": "render.simulate",
    "simulate_batch": "render.simulate",
}

__all__ = ["Dataset", "Detector", "Distractor", "Line", "Micrograph", "SampleConfig", "Scene", "line_mask",
           "open_dataset", "sample", "simulate", "simulate_batch"]  # fmt: skip


class _Package(ModuleType):
    """`render.simulate` and `render.sample` are functions, also after an import of the modules they live in."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOME and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'render' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
