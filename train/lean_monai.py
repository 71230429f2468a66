"""MONAI loaded with what it requires only, for a command that needs its networks and nothing else.

MONAI requires numpy and torch (its installation guide); of the rest, its package loads on first import whatever it finds: scipy.stats,
pandas, matplotlib, tensorboard, zarr and h5py, which is 2.0 of the 2.4 s of processor time that import takes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

# What MONAI can do without; a name that is missing here, or not installed, costs nothing but time.
OPTIONAL = (
    "clearml", "cucim", "cupy", "einops", "gdown", "h5py", "ignite", "itk", "lmdb", "matplotlib", "mlflow", "mpl_toolkits", "nibabel", "nrrd",
    "onnx", "onnxruntime", "openslide", "optuna", "pandas", "PIL", "psutil", "pydicom", "pynvml", "requests", "scipy", "skimage", "tensorboard",
    "tensorboardX", "tifffile", "torchvision", "transformers", "yaml", "zarr",
)  # fmt: skip


@contextmanager
def lean_monai() -> Iterator[None]:
    """While this lasts, MONAI's first import finds none of its optional packages; everything else finds them as ever.

    For a process of one's own and before its threads begin: parts of MONAI that want these packages say for good that they
    are not installed.
    """
    finder = _MonaiFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


class _MonaiFinder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "monai":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _LeanLoader(spec.loader)
        return spec


class _LeanLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self.loader
        before, empty = {name: sys.modules.get(name) for name in OPTIONAL}, dict(vars(module))
        sys.modules.update(dict.fromkeys(OPTIONAL))  # None there: an import raises ModuleNotFoundError
        try:
            self.loader.exec_module(module)
            return
        except ImportError:  # a MONAI that requires more: load it anew as it is
            for name in [name for name in sys.modules if name.startswith("monai.")]:
                del sys.modules[name]
            vars(module).clear()
            vars(module).update(empty)
        finally:
            for name, there in before.items():
                del sys.modules[name]
                if there is not None:
                    sys.modules[name] = there
        self.loader.exec_module(module)
