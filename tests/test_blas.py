"""Bytes that do not depend on how many threads the linear algebra has."""

import numpy as np
from threadpoolctl import threadpool_limits

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
