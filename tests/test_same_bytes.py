"""Bytes that depend on the Scene alone: not on threads, nor on whether loops were compiled just now or before."""

import importlib
import pkgutil

import numpy as np
from numba.core.registry import CPUDispatcher
from threadpoolctl import threadpool_limits

import physics
import render
import train
from render.scene import Scene
from render.simulate import simulate

SCENE = """{"crystal": {"material": "cu"}, "foil": {"thickness_nm": 90}, "shape": [72, 80], "pixel_nm": 2.0, "elasticity": "anisotropic",
"beam": {"g_hkl": [2, 0, 0], "zone_axis_uvw": [0, 0, 1], "s_inv_nm": 0.005},
"dislocations": [{"burgers_uvw": [0.5, 0.5, 0], "points_nm": [[-60, -30, 45], [10, 20, 0], [60, 20, -45]]}]}"""


def test_an_anisotropic_image_with_surfaces_is_the_same_on_any_number_of_threads():
    scene = Scene.from_json(SCENE)
    images = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            images.append(simulate(scene))
    assert images[0].intensity.tobytes() == images[1].intensity.tobytes()
    without = simulate(scene.replace(surfaces=False)).intensity
    assert 0.02 < np.abs(images[0].intensity - without).max() < 1  # the surfaces are in it


def test_compiled_loops_keep_to_the_arithmetic_that_is_written():
    # Allowed to fuse or reorder, the compiler rounds a loop that it has just compiled otherwise than the same one from its cache:
    # the first process after an installation would render other bytes than the second.
    loops = {
        f"{module.__name__}.{name}": value.targetoptions
        for package in (physics, render, train)
        for module in _modules(package)
        for name, value in vars(module).items()
        if isinstance(value, CPUDispatcher)
    }
    assert len(loops) > 150
    assert [name for name, options in loops.items() if options.get("fastmath")] == []


def _modules(package):
    left_out = ("__main__", "blender", "gpu")
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not set(found.name.split(".")).intersection(left_out):
            yield importlib.import_module(found.name)
