"""The library of foils: the same bytes cold and warm, from any worker; damage is cast again, and nothing in it runs."""

from __future__ import annotations

import importlib.util
import pickle
from dataclasses import replace

import numpy as np
import pytest

from physics.beam import BeamCondition, foil_normal_image
from physics.boundary import GrainBoundary
from physics.crystal import Crystal
from physics.deposit import Deposit
from physics.errors import InputError
from physics.foil import Foil
from physics.relief import Relief
from render.blender import foil as blender_foil
from render.blender import renderer_name
from render.bulk import render_dataset
from render.config import compose
from render.foil import FoilShape
from render.foil_library import FoilLibrary, content_key
from render.scene import Scene
from render.simulate import simulate
from render.store import open_dataset

needs_bpy = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed")
AL = Crystal.from_material("al")
BEAM = BeamCondition(g_hkl=(2, 0, 0), zone_axis_uvw=(0, 1, 2), s_inv_nm=0.01)
SECOND = GrainBoundary(point_nm=(20, 0, 5), normal=(1, 0.3, 0.5), s_inv_nm=0.02, xi_g_nm=50.0)
FOIL = Foil(thickness_nm=100.0, curvature_inv_um=0.2, relief=Relief(seed=1, roughness_nm=1.0), boundary=SECOND)
SPECK = Deposit(centre_nm=(3.0, 4.0), radius_nm=9.0, thickness_nm=20.0)
BUFFERS = {"entrance": np.ones((4, 5), np.float32), "exit": np.zeros((4, 5), np.float32)}


def scene(**fields) -> Scene:
    return Scene(crystal=AL, foil=FOIL, beam=fields.pop("beam", BEAM), deposits=(SPECK,), shape=(24, 32), foil_renderer=renderer_name(), **fields)


def key(foil: Foil = FOIL, beam: BeamCondition = BEAM, shape: tuple[int, int] = (24, 32), matter=(SPECK,), renderer: str = "bpy 1") -> str:
    placed = FoilShape(foil=foil, normal_image=foil_normal_image(AL, beam, foil))
    return content_key(placed, shape, 1.0, renderer, matter)


def test_a_foil_has_one_key_under_every_imaging_condition():
    other_grain = replace(FOIL, boundary=replace(SECOND, s_inv_nm=0.1, xi_g_nm=70.0, turn_inv_nm_per_um=(0.1, 0.0)))
    assert key() == key(beam=replace(BEAM, s_inv_nm=-0.02, image="df")) == key(foil=other_grain)


@pytest.mark.parametrize(
    "changed",
    [{"foil": replace(FOIL, curvature_inv_um=0.21)}, {"foil": replace(FOIL, boundary=replace(SECOND, point_nm=(20, 0, 6)))},
     {"foil": replace(FOIL, relief=Relief(seed=2, roughness_nm=1.0))}, {"foil": replace(FOIL, normal_uvw=(1, 1, 3))},
     {"shape": (24, 33)}, {"matter": ()}, {"matter": (replace(SPECK, radius_nm=9.1),)}, {"renderer": "bpy 2"}],
)  # fmt: skip
def test_whatever_makes_other_buffers_makes_another_key(changed):
    assert key(**changed) != key()


def test_what_is_written_is_read_back_and_leaves_one_file(tmp_path):
    library = FoilLibrary(tmp_path / "é #1")
    assert library.read("ab12", (4, 5)) is None
    library.write("ab12", BUFFERS)
    again = library.read("ab12", (4, 5))
    assert {name: a.tobytes() for name, a in again.items()} == {name: a.tobytes() for name, a in BUFFERS.items()}
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["ab12.npz"]


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('code ran')",)


def damaged(path, how: str) -> None:
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif how == "flipped":
        held = bytearray(path.read_bytes())
        held[held.index(np.ones(2, np.float32).tobytes()) + 3] ^= 1
        path.write_bytes(held)
    elif how == "marked as encrypted":
        held = bytearray(path.read_bytes())
        held[held.index(b"PK\x01\x02") + 8] ^= 1  # general purpose bit 0 of the first entry (APPNOTE 4.4.4)
        path.write_bytes(held)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif how == "pickled array":
        np.savez(path, content=np.array("x"), entrance=np.array([Bomb()], dtype=object), exit=np.zeros((4, 5)))
    elif how == "array":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    elif how == "another entry":
        other = FoilLibrary(path.parent.parent)
        other.write("abff", {**BUFFERS, "entrance": 2 * BUFFERS["entrance"]})
        (path.parent / "abff.npz").replace(path)


@pytest.mark.parametrize("how", ["cut", "flipped", "marked as encrypted", "empty", "pickle", "pickled array", "array", "another entry"])
def test_a_damaged_or_foreign_entry_is_no_entry_and_runs_no_code(tmp_path, how):
    library = FoilLibrary(tmp_path)
    library.write("ab12", BUFFERS)
    damaged(tmp_path / "ab" / "ab12.npz", how)
    assert library.read("ab12", (4, 5)) is None
    library.write("ab12", BUFFERS)
    assert library.read("ab12", (4, 5)) is not None


def test_a_library_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="foil_library must be a folder that can be written, got .*file") as refused:
        FoilLibrary(tmp_path / "file").write("ab12", BUFFERS)
    assert "\n" not in str(refused.value)


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        FoilLibrary(tmp_path).write("ab12", BUFFERS)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@needs_bpy
def test_a_scene_is_the_same_bytes_without_a_library_and_with_a_cold_and_a_warm_one(tmp_path, monkeypatch):
    without = simulate(scene())
    cold = simulate(scene(), tmp_path)
    monkeypatch.setattr(blender_foil, "cast_buffers", lambda *_: pytest.fail("a warm library casts nothing"))
    warm, other_beam = simulate(scene(), tmp_path), simulate(scene(beam=replace(BEAM, s_inv_nm=0.03)), tmp_path)
    for micrograph in (cold, warm):
        assert micrograph.image.tobytes() == without.image.tobytes()
        assert micrograph.intensity.tobytes() == without.intensity.tobytes()
    assert not np.array_equal(other_beam.intensity, warm.intensity)


@needs_bpy
def test_a_dataset_is_the_same_bytes_whatever_library_and_workers(tmp_path):
    arguments = ["out=x", "shape=[32,40]", "scene=pileup", "material=al", "beam=bf", "slice_nm=3", "pixel_nm=2", "surfaces=false",
                 "foil_renderer=bpy", "surroundings.edge_share=1"]  # fmt: skip
    config = {k: v for k, v in compose("render", arguments).items() if k not in ("out", "n", "seed", "workers", "shard", "foil_library")}
    runs = {"plain": {"workers": 0}, "cold": {"workers": 2, "foil_library": tmp_path / "library"},
            "warm": {"workers": 0, "foil_library": tmp_path / "library"}}  # fmt: skip
    sets = {}
    for name, how in runs.items():
        path = render_dataset(config, tmp_path / f"{name}.zarr", n=4, seed=3, shard=2, progress=False, **how)
        sets[name] = open_dataset(path)
    assert len(list((tmp_path / "library").rglob("*.npz"))) == 4
    for i in range(4):
        assert sets["plain"].scene(i).foil_renderer == renderer_name()
        assert len({s[i].image.tobytes() for s in sets.values()}) == len({s[i].intensity.tobytes() for s in sets.values()}) == 1
