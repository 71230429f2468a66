"""The isotropic two-beam images of `physics.contrast` in torch, for batches of images on a GPU.

Names are loaded when first used, and torch with them: importing `physics.gpu` alone is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physics.gpu.batch import ColumnBatch, ImageColumns
    from physics.gpu.device import torch_device
    from physics.gpu.images import column_images, column_intensities

_HOME = {
    "ColumnBatch": "physics.gpu.batch",
    "ImageColumns": "physics.gpu.batch",
    "column_images": "physics.gpu.images",
    "column_intensities": "physics.gpu.images",
    "torch_device": "physics.gpu.device",
}

__all__ = ["ColumnBatch", "ImageColumns", "column_images", "column_intensities", "torch_device"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'physics.gpu' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
