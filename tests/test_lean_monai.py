"""The network of a command that loads of MONAI what it requires, and nothing that MONAI can do without."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def told(code, *arguments, path=()):
    """What a process of its own prints."""
    places = os.pathsep.join([*map(str, path), str(ROOT)])
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": places, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_network_is_that_of_a_whole_monai_and_no_library_of_tables_or_plots_is_loaded():
    code = """
import hashlib, sys
from contextlib import nullcontext
import numpy as np, scipy.ndimage
from train.lean_monai import lean_monai
with lean_monai() if sys.argv[1] == "lean" else nullcontext():
    from train.checkpoint import load_model, predict_maps
maps = predict_maps(load_model("shipped", device="cpu"), np.random.default_rng(0).normal(size=(64, 80)))
print(hashlib.sha256(maps.lift.tobytes() + maps.mask.tobytes()).hexdigest())
print(*(name for name in ("pandas", "matplotlib", "tensorboard", "zarr", "h5py", "scipy.stats") if name in sys.modules))
import scipy, skimage.transform, h5py
print(scipy.ndimage is sys.modules["scipy.ndimage"], skimage.__name__, h5py.__name__)
"""
    lean, whole = told(code, "lean").split("\n"), told(code, "whole").split("\n")
    assert lean[0] == whole[0]
    assert lean[1] == "" and "pandas" in whole[1]
    assert lean[2] == whole[2] == "True skimage h5py"  # hidden from MONAI, from nobody else


def test_a_monai_that_requires_more_is_loaded_whole(tmp_path):
    package = tmp_path / "monai"
    package.mkdir()
    (package / "__init__.py").write_text("from . import parts\nimport scipy.special\nanswer = scipy.special.gamma(4)\n")
    (package / "parts.py").write_text("try:\n    import h5py\nexcept ImportError:\n    h5py = None\n")
    code = """
import sys
from train.lean_monai import lean_monai
with lean_monai():
    import monai
print(monai.answer, monai.parts.h5py is not None, len([f for f in sys.meta_path if "Monai" in type(f).__name__]), type(monai.__spec__.loader).__name__)
"""
    assert told(code, path=[tmp_path]) == "6.0 True 0 SourceFileLoader"  # gamma(4) = 3!


def test_a_monai_that_is_missing_says_so():
    code = """
import sys
from train.lean_monai import lean_monai
sys.path = [p for p in sys.path if "site-packages" not in p]
with lean_monai():
    try:
        import monai
    except ModuleNotFoundError as error:
        print(error)
"""
    assert told(code) == "No module named 'monai'"
