"""The child process whose main thread owns bpy, and the functions that hand work to it.

bpy is neither thread-safe nor does it survive being imported in one thread and used in another, and it must not
be forked. So each process of gdotb that needs it starts one child by `subprocess` (which, unlike
multiprocessing, daemonic dask workers may do too), sends it pickled tasks one at a time and replaces it after
TASKS_PER_CHILD tasks, because Blender does not give all memory back. The child ends when its parent does.

Axes: L lines, K vertices of one line, (Y, X) image rows and columns.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.metadata
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physics.errors import InputError
from physics.frames import image_from_pixel

if TYPE_CHECKING:
    from render.blender.plan import Plan, View
    from render.scene import Scene

TASKS_PER_CHILD = 200


class BlenderProcess:
    """One child that runs bpy; tasks from several threads wait for each other.

    `call` raises InputError for what a person gave wrongly and ChildProcessError, an OSError, in one line for
    anything else that goes wrong in the child.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._tasks = 0

    def call(self, task: str, *arguments: Any) -> Any:
        with self._lock:
            if self._child is None or self._child.poll() is not None or self._tasks >= TASKS_PER_CHILD:
                self._stop()
                self._start()
            self._tasks += 1
            try:
                pickle.dump((task, arguments), self._child.stdin, protocol=pickle.HIGHEST_PROTOCOL)
                self._child.stdin.flush()
                outcome, value = pickle.load(self._child.stdout)
            except (EOFError, BrokenPipeError, pickle.UnpicklingError):
                code = self._child.wait()
                raise ChildProcessError(f"Blender ended with code {code} during {task}") from None
            except BaseException:
                self._child.kill()  # interrupted between question and answer: the pipe is out of step
                raise
        if outcome == "input":
            raise InputError(value)
        if outcome == "error":
            raise ChildProcessError(f"Blender failed during {task}: {value}")
        return value

    def close(self) -> None:
        """End the child; a later call starts another."""
        with self._lock:
            self._stop()

    def _start(self) -> None:
        package_folder = str(Path(__file__).resolve().parents[2])
        search = os.pathsep.join(filter(None, [package_folder, os.environ.get("PYTHONPATH")]))
        self._child = subprocess.Popen(
            [sys.executable, "-m", "render.blender.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": search},
        )
        self._tasks = 0

    def _stop(self) -> None:
        if self._child is None:
            return
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        try:
            self._child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()
        self._child = None


@functools.cache
def _process_of(pid: int) -> BlenderProcess:
    """The one child of process `pid`: a fork must not talk through its parent's pipe."""
    process = BlenderProcess()
    atexit.register(process.close)
    return process


def blender() -> BlenderProcess:
    """The child of this process. Raises InputError where bpy is not installed."""
    renderer_name()
    return _process_of(os.getpid())


def renderer_name() -> str:
    """The `foil_renderer` of scenes made here with Blender, "bpy X.Y.Z". Raises InputError where there is no bpy."""
    try:
        return f"bpy {importlib.metadata.version('bpy')}"
    except importlib.metadata.PackageNotFoundError:
        raise InputError("foil_renderer must be numpy where bpy is not installed, got bpy; "
                         "use Python 3.11 with bpy 4.5") from None  # fmt: skip


def line_masks(
    points_px: Sequence[np.ndarray],
    half_width_px: Sequence[np.ndarray],
    shape: tuple[int, int],
    bevel_resolution: int = 16,
) -> np.ndarray:
    """Masks (L, Y, X) bool of bevelled tubes without end caps along curves (K, 2), one Cycles pass for each.

    The oracle of `render.rasterise.line_mask`. A tube of resolution r is a prism of 4 + 2 r sides.
    """
    tubes = []
    for points, half_width in zip(points_px, half_width_px):
        xy = image_from_pixel(points, shape, 1.0)
        tubes.append((np.column_stack([xy, np.zeros(len(xy))]), np.asarray(half_width, dtype=np.float64)))
    return blender().call("line_masks", tubes, tuple(shape), int(bevel_resolution))


def write_blend(scene: Scene, image: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Write `scene` with its micrograph `image` (Y, X) as a .blend file, replacing one that is there only when complete."""
    from render.blender.scene_plan import scene_plan

    blender().call("write_scene", scene_plan(scene, image), os.path.abspath(path))


def render_plan(plan: Plan, view: View) -> tuple[np.ndarray, dict[str, tuple[float, float]]]:
    """A picture (Y, X, 4) uint8 of `plan` seen by `view`, and where its named anchors fall (x, y) in pixels."""
    return blender().call("render_plan", plan, view)
