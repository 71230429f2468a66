import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import zarr

from physics.errors import InputError
from render.check import check_dataset, main
from render.micrograph import Distractor


@pytest.fixture
def copy(made_up, tmp_path):
    shutil.copytree(made_up, tmp_path / "b.zarr")
    return tmp_path / "b.zarr"


def faults(path):
    return list(check_dataset(path))


def flip(path, byte=None):
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 3 if byte is None else byte] ^= 1
    path.write_bytes(bytes(blob))


def replaced(micrographs, index, **changes):
    """The micrographs with some fields of line 0 of one image changed, which checksums cannot notice."""
    line = dataclasses.replace(micrographs[index].lines[0], **changes)
    edited = list(micrographs)
    edited[index] = dataclasses.replace(micrographs[index], lines=(line, *micrographs[index].lines[1:]))
    return edited


def test_a_whole_dataset_has_no_fault(made_up):
    assert faults(made_up) == []


def test_one_flipped_bit_in_any_file_is_noticed(copy):
    for file in sorted(p for p in copy.rglob("*") if p.is_file() and p.name != "zarr.json"):
        whole = file.read_bytes()
        flip(file)
        assert next(check_dataset(copy), None), file
        file.write_bytes(whole)
    assert faults(copy) == []


def test_distractors_that_cannot_be_are_noticed(micrographs, write, tmp_path):
    shape = micrographs[2].shape
    broken = (
        Distractor(kind="text", mask=np.zeros(shape, bool)),
        Distractor(kind="edge", points_px=np.array([[0, 1], [np.inf, 2]], np.float32)),
        Distractor(kind="edge", points_px=np.array([[-90, 1], [-80, 2]], np.float32)),
    )
    edited = list(micrographs)
    edited[2] = dataclasses.replace(micrographs[2], distractors=broken)
    assert [fault.partition(": ")[2] for fault in faults(write(tmp_path / "d.zarr", edited))] == [
        "distractor 0: its mask must reach the frame",
        "distractor 1: points_px must be finite",
        "distractor 2: its curve must reach the frame",
    ]


def test_altered_metadata_is_noticed(copy):
    for place in ("image", "labels/00001", "labels/00000/points_px"):
        file = copy / place / "zarr.json"
        whole = file.read_text()
        edited = json.loads(whole)
        edited["attributes"]["first_image"] = 17
        edited.setdefault("shape", [0])[0] += 1
        file.write_text(json.dumps(edited))
        assert any(place in fault and "altered" in fault for fault in faults(copy)), place
        file.write_text(whole)


@pytest.mark.parametrize("place", ["image/c/1/0/0", "intensity/c/0/0/0", "labels/00002/points_px/c/0/0", "labels/00001/zarr.json"])
def test_a_missing_file_is_named_with_its_images(copy, place):
    (copy / place).unlink()
    found = faults(copy)
    assert any(place in fault for fault in found)
    if place.startswith("image"):
        assert any("images 2 to 3" in fault for fault in found)


def test_a_truncated_file_is_noticed(copy):
    file = copy / "image/c/0/0/0"
    file.write_bytes(file.read_bytes()[:-7])
    assert any("image/c/0/0/0 is altered (images 0 to 1)" in fault for fault in faults(copy))


def test_a_file_that_does_not_belong_is_named(copy):
    (copy / "image" / "c" / "9").mkdir()
    (copy / "image" / "c" / "9" / "note.txt").write_text("x")
    assert faults(copy) == ["image/c/9/note.txt does not belong to the dataset"]


@pytest.mark.parametrize("changes, message", [
    ({"half_width_px": np.array([2, 0.5, 2], np.float32)}, "image 0: line 0: half_width_px must be >= 1, got 0.5"),
    ({"g_dot_b": 2.0}, "image 0: line 0: g_dot_b must be h u + k v + l w = 1, got 2"),
    ({"burgers_uvw": (-0.5, -0.5, 0.0), "g_dot_b": -1.0}, "first non-zero component positive"),
    ({"points_px": np.full((3, 2), 500, np.float32)}, "its mask is empty"),
    ({"visible": np.array([False, False, False])}, r"visible must be |contrast| >= 0.02"),
])  # fmt: skip
def test_a_label_that_cannot_be_is_named(micrographs, write, tmp_path, changes, message):
    path = write(tmp_path / "a.zarr", replaced(micrographs, 0, **changes))
    assert any(message in fault for fault in faults(path)), faults(path)


def test_a_curve_that_is_not_finite_is_not_even_stored(micrographs, write, tmp_path):
    with pytest.raises(TypeError, match="contrast"):
        write(tmp_path / "a.zarr", replaced(micrographs, 0, contrast=np.array([np.nan, 0.5, 2], np.float32)))


def test_a_mask_that_is_not_its_curve_is_noticed(micrographs, write, tmp_path, monkeypatch):
    from render import ragged

    exact = ragged._rle
    monkeypatch.setattr(ragged, "_rle", lambda mask: exact(np.roll(mask, 1, axis=1)))
    path = write(tmp_path / "a.zarr", micrographs)
    assert any("the stored mask differs from its curve in" in fault for fault in faults(path))


def test_a_dataset_without_consolidated_metadata_is_noticed(copy):
    root = json.loads((copy / "zarr.json").read_text())
    del root["consolidated_metadata"]
    (copy / "zarr.json").write_text(json.dumps(root))
    assert any("no consolidated metadata" in fault for fault in faults(copy))


def test_plain_folders_are_refused(tmp_path):
    zarr.open_group(str(tmp_path / "x.zarr"), mode="w")
    with pytest.raises(InputError, match="must be a dataset written by python -m render"):
        faults(tmp_path / "x.zarr")


def test_the_command_prints_one_line_a_fault_and_exits_1(made_up, copy, capsys):
    assert main([str(made_up)]) == 0
    assert "5 images, 10 lines, no fault" in capsys.readouterr().out
    (copy / "image/c/0/0/0").unlink()
    process = subprocess.run([sys.executable, "-P", "-m", "render.check", str(copy)], capture_output=True, text=True, timeout=120)
    assert process.returncode == 1 and process.stderr == ""
    assert process.stdout.splitlines()[0].startswith("b.zarr: shard 0: image/c/0/0/0 cannot be read")
    nothing = subprocess.run([sys.executable, "-P", "-m", "render.check", str(copy) + "x"], capture_output=True, text=True, timeout=120)
    assert nothing.returncode == 2 and nothing.stderr.startswith("error: ") and len(nothing.stderr.splitlines()) == 1
