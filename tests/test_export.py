import json
import subprocess
import sys

import numpy as np
import pytest
import zarr
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from physics.errors import InputError
from render.export import FORMATS, export_dataset
from render.export.labelme import visible_parts
from render.export.ngff import disjoint_layers
from render.store import open_dataset


@pytest.fixture(scope="module")
def dataset(made_up):
    return open_dataset(made_up)


def test_masks_of_an_exported_and_re_read_dataset_are_identical(dataset, tmp_path):
    coco = COCO(str(export_dataset(dataset, "coco", tmp_path / "coco") / "annotations.json"))
    assert sorted(coco.getImgIds()) == list(range(len(dataset)))
    for i, micrograph in enumerate(dataset):
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[i], catIds=[1]))
        assert len(annotations) == len(micrograph.lines)
        for annotation, line, mask in zip(annotations, micrograph.lines, micrograph.masks):
            assert np.array_equal(coco.annToMask(annotation).astype(bool), mask)
            assert annotation["area"] == mask.sum() and annotation["attributes"]["visible"] == bool(line.visible.any())
            assert np.abs(np.array(annotation["curve"]["points_px"]) - line.points_px).max() < 1e-3
            rows, columns = np.nonzero(mask)
            x, y, width, height = annotation["bbox"]
            assert (x, y) == (columns.min(), rows.min()) and (x + width - 1, y + height - 1) == (columns.max(), rows.max())
    assert all(isinstance(a["segmentation"]["counts"], str) and a["id"] > 0 for a in coco.dataset["annotations"])


def test_coco_distractors_are_categories_of_a_file_of_their_own(dataset, tmp_path):
    out = export_dataset(dataset, "coco", tmp_path / "coco")
    assert COCO(str(out / "annotations.json")).getCatIds() == [1]
    coco = COCO(str(out / "distractors.json"))
    names = {c["id"]: (c["name"], c["supercategory"]) for c in coco.loadCats(coco.getCatIds())}
    assert names == {2: ("particle", "distractor"), 3: ("slip_trace", "distractor")}
    area, curve = (a for a in coco.loadAnns(coco.getAnnIds(imgIds=[2])) if a["attributes"]["distractor"])
    particle, trace = dataset.distractors(2)
    assert area["category_id"] == 2 and np.array_equal(coco.annToMask(area).astype(bool), particle.mask)
    assert curve["category_id"] == 3 and curve["curve"]["points_px"] == trace.points_px.tolist()


def test_coco_images_are_the_counts(dataset, tmp_path):
    out = export_dataset(dataset, "coco", tmp_path / "coco")
    for image in json.loads((out / "annotations.json").read_text())["images"]:
        assert np.array_equal(np.array(Image.open(out / image["file_name"])), dataset.image(image["id"]))


def test_a_split_keeps_the_numbers_of_its_images(dataset, tmp_path):
    split = dataset.split("train")
    out = export_dataset(split, "coco", tmp_path / "coco")
    images = json.loads((out / "annotations.json").read_text())["images"]
    assert [image["id"] for image in images] == [split.index(i) for i in range(len(split))]


def test_png_holds_every_mask_whole(dataset, tmp_path):
    out = export_dataset(dataset[[0]], "png", tmp_path / "png")
    assert np.array_equal(np.array(Image.open(out / "images" / "000000.png")), dataset.image(0))
    files = sorted((out / "masks" / "000000").iterdir())
    masks = [np.array(Image.open(file)) == 255 for file in files]
    assert np.array_equal(masks, dataset[0].masks)
    assert [("_invisible" in file.name) for file in files] == [not line.visible.any() for line in dataset.lines(0)]
    assert Image.open(out / "pictures" / "000000.png").size[0] > 100


def test_labelme_strips_lie_on_the_visible_parts(dataset, tmp_path):
    out = export_dataset(dataset, "labelme", tmp_path / "labelme")
    rows, columns = dataset.shape
    for i in range(len(dataset)):
        document = json.loads((out / f"{i:06d}.json").read_text())
        assert (document["imageHeight"], document["imageWidth"]) == (rows, columns)
        assert Image.open(out / document["imagePath"]).size == (columns, rows)
        wanted = [part for line in dataset.lines(i) for part in visible_parts(line, dataset.shape)]
        assert len(document["shapes"]) == len(wanted)
        for shape, part in zip(document["shapes"], wanted):
            assert shape["shape_type"] == "linestrip" and np.abs(np.array(shape["points"]) - 0.5 - part).max() < 1e-3  # from the pixel's corner
            assert (part >= -0.5 - 1e-9).all() and (part <= [columns - 0.5, rows - 0.5]).all()


def test_an_exported_labelme_file_reads_back_without_a_shift(dataset, tmp_path):
    from train.evaluate import read_labelme

    out = export_dataset(dataset, "labelme", tmp_path / "labelme")
    wanted = [part for line in dataset.lines(0) for part in visible_parts(line, dataset.shape)]
    longest = max(wanted, key=len)
    curves = (*(truth := read_labelme(out / "000000.png").truth).curves_px, *truth.silent_px)
    assert min(np.abs(curve[0] - longest[0]).max() for curve in curves) < 1e-3  # written with three digits


def test_visible_parts_are_cut_at_the_frame_and_at_invisible_vertices(dataset):
    import dataclasses

    line = dataset.lines(0)[0]
    points = np.array([[-10, 5], [10, 5], [20, 5], [30, 5], [60, 5]], np.float32)
    other = {name: np.ones(5, np.float32) for name in ("half_width_px", "contrast", "depth_nm")}
    line = dataclasses.replace(line, points_px=points, core_px=points, visible=np.array([1, 1, 0, 1, 1], bool), **other)
    first, second = visible_parts(line, (24, 40))
    assert np.allclose(first, [[-0.5, 5], [10, 5]]) and np.allclose(second, [[30, 5], [39.5, 5]])


def test_ngff_layers_hold_every_mask_although_lines_overlap(dataset, tmp_path):
    out = export_dataset(dataset, "ngff", tmp_path / "ngff")
    for i, micrograph in enumerate(dataset):
        root = zarr.open_group(str(out / f"{i:06d}.ome.zarr"), mode="r")
        assert root.attrs["ome"]["version"] == "0.5"
        level = root.attrs["ome"]["multiscales"][0]["datasets"][0]
        assert level["coordinateTransformations"][0]["scale"] == [micrograph.pixel_nm] * 2
        assert np.array_equal(root[level["path"]][...], micrograph.image)
        seen = np.zeros_like(micrograph.masks)
        for name in root["labels"].attrs["ome"]["labels"]:
            picture = root[f"labels/{name}/0"][...]
            for entry in root[f"labels/{name}"].attrs["ome"]["image-label"]["properties"]:
                l = entry["label-value"] - 1
                seen[l] = picture == l + 1
                assert entry["kind"] == micrograph.lines[l].kind
        assert np.array_equal(seen, micrograph.masks)


def test_layers_do_not_overlap_and_hold_each_mask_once():
    masks = np.zeros((3, 4, 4), bool)
    masks[0, 1], masks[1, :, 1], masks[2, 3, 2:] = True, True, True
    assert disjoint_layers(masks) == [[0, 2], [1]]


def test_rle_decodes_with_pycocotools_alone(dataset):
    for counts, mask in zip(dataset.mask_counts(4), dataset[4].masks):
        assert np.array_equal(coco_mask.decode({"size": list(dataset.shape), "counts": counts}), mask)


def test_an_export_leaves_nothing_half_written(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("render.export.coco._annotation", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        export_dataset(dataset, "coco", tmp_path / "coco")
    assert not any(tmp_path.iterdir())


def test_bad_exports_are_refused(dataset, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(InputError, match="out must be a new path or an empty folder"):
        export_dataset(dataset, "coco", tmp_path / "full")
    with pytest.raises(InputError, match=f"format must be one of {', '.join(FORMATS)}, got bmp"):
        export_dataset(dataset, "bmp", tmp_path / "b")


@pytest.mark.parametrize("arguments, code, text", [
    (["format=coco", "out=OUT", "images=0,2:4"], 0, "3 images as coco"),
    (["format=coco", "out=OUT", "split=val"], 0, "1 image as coco"),
    (["format=coco"], 2, "error: out must be given"),
    (["format=coco", "out=OUT", "images=7"], 2, "error: images must lie in [0, 4], got 7"),
    (["format=coco", "out=OUT", "images=x"], 2, "error: images must be indices such as"),
    (["format=coco", "out=OUT", "colour=blue"], 2, "error: colour must be one of"),
])  # fmt: skip
def test_the_command(made_up, tmp_path, capsys, monkeypatch, arguments, code, text):
    from render.cli import run_command
    from render.export.__main__ import USAGE, main

    out = tmp_path / "an odd (é #1) = place"
    monkeypatch.setattr(sys, "argv", ["export", str(made_up), *(a.replace("OUT", str(out)) for a in arguments)])
    assert run_command(main, USAGE) == code
    printed = capsys.readouterr()
    assert text in (printed.err if code else printed.out)
    assert out.exists() == (code == 0)


def test_the_command_runs_as_a_module(made_up, tmp_path):
    command = [sys.executable, "-P", "-m", "render.export", str(made_up), "format=labelme", f"out={tmp_path / 'l'}"]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    assert len(list((tmp_path / "l").glob("*.json"))) == 5
