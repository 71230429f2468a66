"""Blender add-on: the render engine "TEM" of gdotb. Edit > Preferences > Add-ons > Install from Disk…, or run as a script.

Blender brings its own Python; gdotb and what it needs must be installed there once (README.md, "In Blender").
"""

import importlib.util
import sys
from pathlib import Path

bl_info = {
    "name": "gdotb: render engine TEM",
    "author": "gdotb",
    "version": (0, 1, 0),
    "blender": (4, 5, 0),
    "location": "Render Properties > Render Engine > TEM",
    "description": "F12 shows the simulated transmission-electron micrograph of the scene",
    "category": "Render",
}


def register() -> None:
    sources = Path(__file__).resolve().parents[2]
    if importlib.util.find_spec("physics") is None and (sources / "physics" / "dislocation.py").exists():
        sys.path.append(str(sources))  # run from the place where gdotb lies
    try:
        from render.blender import engine
    except ImportError as error:
        raise RuntimeError(f"gdotb must be installed for {sys.executable}: {error}; see README.md, \"In Blender\"") from None
    engine.register()


def unregister() -> None:
    from render.blender import engine

    engine.unregister()


if __name__ == "__main__":
    register()
