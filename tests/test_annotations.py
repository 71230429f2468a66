"""Lines out to other programs and back."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from physics.errors import InputError
from train.annotations import labelme_text, napari_text, read_napari
from train.curves import TracedLine, b_spline, distance_px, is_closed
from train.folder_report import Pictures, write_folder_report
from train.formats import coco, coco_annotations, frame_files, geojson, require_formats
from train.predict import prediction
from train.samples import read_labelme

SHAPE = (96, 128)
IMAGE = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.float32)


def traced(points, width_px=5.0, confidence=0.8):
    return TracedLine(points_px=np.array(points, float), half_width_px=np.full(len(points), width_px / 2), confidence=confidence)


def bow(n=80):
    t = np.linspace(0, np.pi, n)
    return np.column_stack([20 + 25 * t, 30 + 20 * np.sin(t)])


def loop(n=60):
    t = np.linspace(0, 2 * np.pi, n)
    points = np.column_stack([90 + 15 * np.cos(t), 60 + 12 * np.sin(t)])
    points[-1] = points[0]
    return points


LINES = [traced(bow(), 6.4), traced(loop(), 3.2), traced([[10, 80], [60, 85]], 4.0)]


def assert_same_curves(found, allowed_px=0.4):
    assert len(found) == len(LINES)
    for line, (points, width_px) in zip(LINES, found):
        assert is_closed(points) == line.is_loop
        assert distance_px(line.points_px, points).max() < allowed_px and distance_px(points, line.points_px).max() < allowed_px
        assert width_px == pytest.approx(line.width_px, abs=0.01)


def test_labelme_round_trip_keeps_curves_openness_and_width(tmp_path):
    Image.fromarray(IMAGE.astype(np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(labelme_text(LINES, "a.png", SHAPE))
    sample = read_labelme(tmp_path / "a.png")
    assert_same_curves([(line.points_px, 2 * float(line.half_width_px[0])) for line in sample.lines])
    kinds = [s["shape_type"] for s in json.loads((tmp_path / "a.json").read_text())["shapes"]]
    assert kinds == ["linestrip", "polygon", "linestrip"]


def test_napari_round_trip_keeps_curves_openness_and_width(tmp_path):
    for name, text in napari_text(LINES, "a").items():
        (tmp_path / name).write_text(text)
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == "index,shape-type,vertex-index,axis-0,axis-1"
    assert_same_curves(read_napari(tmp_path / "a.csv"))


def test_a_corrected_napari_line_keeps_its_width_and_a_new_one_has_none(tmp_path):
    for name, text in napari_text(LINES[:1], "a").items():
        (tmp_path / name).write_text(text)
    moved = "\n".join(f"7,path,{v},{y + 2},{x}" for v, (x, y) in enumerate(bow(12)))
    (tmp_path / "a.csv").write_text(f"index,shape-type,vertex-index,axis-0,axis-1\n{moved}\n9,path,0,5,5\n9,path,1,5,60\n11,ellipse,0,1,1\n11,ellipse,1,3,3\n")
    (_, kept), (_, new) = read_napari(tmp_path / "a.csv")
    assert kept == pytest.approx(6.4) and new is None


def test_a_csv_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match="a.csv must be a Shapes CSV of napari"):
        read_napari(tmp_path / "a.csv")


def test_the_spline_is_the_curve():
    from scipy.interpolate import BSpline

    spline = b_spline(bow(), off_px=0.05)
    knots = np.array(spline["knots"])
    points = BSpline(knots, np.array(spline["control_px"]), spline["degree"])(np.linspace(0, knots[-1], 200))
    assert spline["degree"] == 3 and len(spline["control_px"]) < 30
    assert distance_px(points, bow()).max() < 0.3
    assert b_spline(np.array([[0, 0], [3, 4.0]])) == {"degree": 1, "knots": [0, 0, 5, 5], "control_px": [[0, 0], [3, 4]]}


def test_crossings_are_named_in_the_file():
    record = prediction("a", SHAPE, None, "m", [traced(np.column_stack([np.arange(10.0, 90), np.full(80, 50.0)])),
                                                traced(np.column_stack([np.full(60, 40.0), np.arange(20.0, 80)]))])  # fmt: skip
    (crossing,) = record["crossings"]
    assert crossing["lines"] == [0, 1] and crossing["point_px"] == [40, 50] and crossing["angle_deg"] == 90
    assert [line["crossings"] for line in record["lines"]] == [[0], [0]]


def test_every_format_holds_every_line():
    record = {"name": "a"} | prediction("a.png", SHAPE, 2.0, "m", LINES)
    files = frame_files(("csv", "geojson", "svg", "labelme", "napari"), record, "a", IMAGE, LINES)
    assert sorted(files) == ["a.geojson", "a.svg", "a_lines.csv", "labelme/a.json", "labelme/a.png", "napari/a.csv", "napari/a.png", "napari/a_widths.csv"]
    assert len(files["a_lines.csv"].decode().splitlines()) == 1 + len(LINES)
    assert [f["geometry"]["coordinates"] for f in geojson(record)["features"]] == [line["points_px"] for line in record["lines"]]
    svg = files["a.svg"].decode()
    assert re.findall(r'stroke-width="([0-9.]+)"', svg) == ["6.40", "3.20", "4.00"] and svg.startswith("<svg") and "file:" not in svg
    # SVG counts from the corner of the first pixel.
    assert 'd="M10.50 80.50 L60.50 85.50"' in svg


def test_coco_masks_are_those_of_the_lines_and_may_overlap():
    record = {"name": "a"} | prediction("a.png", SHAPE, 2.0, "m", LINES)
    document = coco([(record, coco_annotations(LINES, SHAPE))] * 2)
    assert [a["id"] for a in document["annotations"]] == list(range(1, 7)) and [i["id"] for i in document["images"]] == [1, 2]
    for annotation, line in zip(document["annotations"], LINES):
        assert np.array_equal(coco_mask.decode(annotation["segmentation"]).astype(bool), line.mask(SHAPE))


@pytest.mark.parametrize(("formats", "message"), [("csv", "formats must be a list"), (["pdf"], "formats must be among csv")])
def test_unknown_formats_are_refused(formats, message):
    with pytest.raises(InputError, match=message):
        require_formats(formats)


def test_the_report_stands_alone_and_names_every_image(tmp_path):
    from train.measure import Thickness, field_of, measured

    rng = np.random.default_rng(0)
    thickness = Thickness(nm=100, sigma_nm=10)
    fields = [field_of([line.points_px for line in LINES], SHAPE, 2.0, rng) for _ in range(3)]
    records = [{"name": f"im{n}"} | prediction(f"im{n}.png", SHAPE, 2.0, "m", LINES, f, thickness) for n, f in enumerate(fields)]
    pictures = Pictures(3)
    for record in records:
        pictures.add(record["name"], np.zeros((60, 80, 3), np.uint8), record)
    together = measured(fields, thickness, rng) | {"thickness_nm": 100, "thickness_sigma_nm": 10}
    write_folder_report(tmp_path / "report.html", records, together, pictures)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 3 and text.count("data:image/png;base64,") == 1
    assert all(f"im{n}" in text for n in range(3)) and "m⁻²" in text and "100 ± 10" in text
    assert "http" not in text and "src=\"data:" in text


def test_a_video_makes_no_giant_page():
    pictures = Pictures(1000)
    record = {"summary": {"n_lines": 0, "total_length_nm": None, "total_length_px": 0}}
    for n in range(1000):
        pictures.add(str(n), np.zeros((4, 4, 3), np.uint8), record)
    assert len(pictures.kept) == 60 and pictures.kept[0][1].startswith("0:") and pictures.kept[-1][1].startswith("999:")
