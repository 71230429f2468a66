"""From images to files of curves, and from curves to numbers."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from physics.errors import InputError
from train.baselines import centreline_linked, ridge_branches, ridge_linked
from train.curves import TracedLine, distance_px
from train.evaluate import _within_roi, evaluate_dataset, read_labelme, table_of
from train.evaluate import main as evaluate_command
from train.metrics import score_image, summarise
from train.overlay import overlay
from train.predict import main as predict_command
from train.predict import predict_files, prediction, trace_settings
from train.targets import Maps

SHAPE = (96, 128)


def line(*points, confidence=0.8):
    points = np.array(points, dtype=float)
    return TracedLine(points_px=points, half_width_px=np.full(len(points), 2.0), confidence=confidence)


def dark_lines(*curves, noise=0.01):
    """An image with dark lines of 4 px full width and 20 % depth."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    pixels = np.stack([x.ravel(), y.ravel()], axis=-1).astype(float)
    image = np.ones(SHAPE)
    for curve in curves:
        distance = distance_px(pixels, np.array(curve, dtype=float)).reshape(SHAPE)
        image -= 0.2 * np.exp(-0.5 * (distance / 1.7) ** 2)
    return image + noise * np.random.default_rng(0).normal(size=SHAPE)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained network, saved like a run."""
    import torch

    from train.checkpoint import CARD_VERSION, network_of, save_model
    from train.settings import TrainSettings

    torch.manual_seed(0)
    settings = TrainSettings()
    path = tmp_path_factory.mktemp("run")
    weights = network_of(settings).state_dict()
    save_model(path, weights, {"version": CARD_VERSION, "settings": settings.to_dict()})
    return path


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "frames (é #1)"
    folder.mkdir()
    for n, curve in enumerate(([[10, 10], [120, 80]], [[10, 80], [120, 20]])):
        image = dark_lines(curve)
        Image.fromarray((200 * image).clip(0, 255).astype(np.uint8)).save(folder / f"frame{n}.png")
    return folder


def test_a_prediction_holds_what_was_promised():
    record = prediction("a.png", SHAPE, 2.0, "default", [line([10, 10], [40, 50]), line([5, 5], [5, 15])])
    first = record["lines"][0]
    assert set(record) == {"image", "shape", "pixel_nm", "pixel_nm_from", "model", "read", "lines", "crossings", "summary"}
    assert set(first) == {
        "id", "points_px", "sigma_px", "spline", "width_px", "length_px", "length_nm", "confidence", "flags", "crossings",
    }  # fmt: skip
    assert first["points_px"] == [[10, 10], [40, 50]] and first["length_px"] == 50 and first["length_nm"] == 100
    assert first["width_px"] == 4.0  # twice the half-width
    assert record["summary"]["n_lines"] == 2 and record["summary"]["total_length_px"] == 60
    # 60 px of 2 nm over 96 x 128 px of 4 nm^2: 0.12 um / 0.049152 um^2
    assert record["summary"]["areal_density_inv_um"] == pytest.approx(2.441406)
    assert json.loads(json.dumps(record)) == record


def test_without_a_pixel_size_there_are_no_nanometres():
    record = prediction("a.png", SHAPE, None, "default", [line([10, 10], [40, 50])])
    assert record["pixel_nm"] is None and record["lines"][0]["length_nm"] is None
    assert record["summary"]["areal_density_inv_um"] is None


def test_predicting_a_folder_writes_every_file(run, frames, tmp_path):
    out = tmp_path / "out=1"
    records = predict_files(str(frames), out, model=run, pixel_nm=1.5)
    assert sorted(p.name for p in out.iterdir()) == [
        "folder.json", "frame0.json", "frame0_overlay.png", "frame1.json", "frame1_overlay.png", "report.html", "summary.csv",
    ]  # fmt: skip
    written = json.loads((out / "frame0.json").read_text())
    assert written["shape"] == list(SHAPE) and written["pixel_nm"] == 1.5
    assert len(written["lines"]) == records[0]["summary"]["n_lines"]
    rows = list(csv.DictReader((out / "summary.csv").open()))
    assert [r["name"] for r in rows] == ["frame0", "frame1"]


def test_the_same_image_gives_the_same_file(run, frames, tmp_path):
    for name in ("a", "b"):
        predict_files(str(frames / "frame0.png"), tmp_path / name, model=run)
    assert (tmp_path / "a" / "frame0.json").read_bytes() == (tmp_path / "b" / "frame0.json").read_bytes()


def test_bad_input_leaves_nothing_behind(run, frames, tmp_path):
    (frames / "broken.png").write_bytes(b"\x89PNG not really")
    out = tmp_path / "out"
    with pytest.raises(InputError, match="broken.png"):
        predict_files(str(frames / "broken.png"), out, model=run)
    with pytest.raises(InputError, match="pixel_nm must be > 0"):
        predict_files(str(frames / "frame0.png"), out, model=run, pixel_nm=-1)
    with pytest.raises(InputError, match="model"):
        predict_files(str(frames / "frame0.png"), out, model=tmp_path / "no run")
    assert not out.exists()


def test_what_cannot_be_read_is_left_out_of_a_folder_and_said(run, frames, tmp_path, capsys):
    (frames / "broken.png").write_bytes(b"\x89PNG not really")
    Image.fromarray(np.zeros((2, 64, 64), np.uint8)[0]).save(frames / "flat.png")
    records = predict_files(str(frames), tmp_path / "out", model=run)
    assert [record["name"] for record in records] == ["frame0", "frame1"]
    said = json.loads((tmp_path / "out" / "folder.json").read_text())["left_out"]
    assert list(said) == ["broken.png", "flat.png"] and "must have contrast" in said["flat.png"]
    assert capsys.readouterr().err.count("left out: ") == 2
    assert "broken.png must be a readable image" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(InputError, match="broken.png must be a readable image"):
        predict_files(f"[{frames / 'broken.png'},{frames / 'flat.png'},{frames / 'broken.png'}]", tmp_path / "none", model=run)
    assert not (tmp_path / "none").exists()


def test_labels_beside_the_images_are_never_written_over(run, frames):
    labels = frames / "frame0.json"
    labels.write_text('{"shapes": []}')
    for images in (frames, frames / "frame0.png", frames / "*.png"):
        for out in (frames, frames / ".." / frames.name):
            with pytest.raises(InputError, match="out must be another folder than that of the images"):
                predict_files(str(images), out, model=run)
    assert labels.read_text() == '{"shapes": []}' and len(list(frames.iterdir())) == 3


def test_the_command_takes_paths_with_any_characters(run, frames, tmp_path):
    out = tmp_path / "pred #2 (x=1)"
    command = [sys.executable, "-m", "train.predict", f"images={frames / 'frame0.png'}", f"out={out}", f"model={run}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (out / "frame0.json").exists()


@pytest.mark.parametrize("argument", ["no_such_key=1", "trace.shortest_px=-3", "pixel_nm=0", "images=/nonexistent.png"])
def test_the_command_refuses_in_one_line(run, frames, tmp_path, argument):
    out = tmp_path / "out"
    given = [f"images={frames / 'frame0.png'}", f"out={out}", f"model={run}"]
    given = [g for g in given if g.split("=")[0] != argument.split("=")[0]] + [argument]
    done = subprocess.run([sys.executable, "-m", "train.predict", *given], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not out.exists()


REFUSED = [
    (["trace=5"], "trace must be a mapping of settings, got 5"),
    (["trace=null"], "trace must be a mapping of settings, got null"),
    (["trace.seed_level=true"], "trace.seed_level must be a number, got True"),
    (["trace.bridge_px=inf"], "trace.bridge_px must be finite, got inf"),
    (["trace.shortest_px=nan"], "trace.shortest_px must be finite, got nan"),
]


@pytest.mark.parametrize(("arguments", "message"), [
    *REFUSED,
    (["pixel_nm=abc"], "pixel_nm must be a number, got 'abc'"),
    (["pixel_nm=[1,2]"], r"pixel_nm must be a number, got \[1, 2\]"),
    (["pixel_nm=true"], "pixel_nm must be a number, got True"),
    (["pixel_nm=nan"], "pixel_nm must be > 0 and finite, got nan"),
])  # fmt: skip
def test_predict_names_field_rule_and_value(run, frames, tmp_path, arguments, message):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=message) as refusal:
        predict_command([f"images={frames}", f"out={out}", f"model={run}", *arguments])
    assert "\n" not in str(refusal.value) and not out.exists()


@pytest.mark.parametrize(("arguments", "message"), [
    *REFUSED,
    (["limit=true"], "limit must be a whole number, got True"),
    (["limit=2.5"], "limit must be a whole number, got 2.5"),
    (["limit=0"], "limit must be >= 1, got 0"),
    (["tolerance_px=inf"], "tolerance_px must be > 0 and finite, got inf"),
    (["tolerance_px=true"], "tolerance_px must be a number, got True"),
    (["tolerance_px=abc"], "tolerance_px must be a number, got 'abc'"),
    (["baselines=2"], "baselines must be true or false, got 2"),
    (["split=[a]"], "split must be one of"),
])  # fmt: skip
def test_evaluate_names_field_rule_and_value(run, frames, tmp_path, arguments, message):
    out = tmp_path / "metrics.json"
    with pytest.raises(InputError, match=message) as refusal:
        evaluate_command([f"data={frames}", f"out={out}", f"model={run}", *arguments])
    assert "\n" not in str(refusal.value) and not out.exists()


@pytest.mark.parametrize("point", ["NaN", "Infinity"])
def test_a_vertex_that_is_not_finite_is_refused(tmp_path, point):
    write_labelme(tmp_path / "a.png", dark_lines([[10, 15], [118, 80]]), [[[10, 15], [118, 80]]])
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace("118", point))
    with pytest.raises(InputError, match="a.json: every vertex must be finite, got"):
        read_labelme(tmp_path / "a.png")


def test_trace_settings_come_from_numbers_alone():
    assert trace_settings({"shortest_px": 20, "seed_level": None}).shortest_px == 20
    with pytest.raises(InputError, match="trace.shortest_px must be a number"):
        trace_settings({"shortest_px": "long"})


def test_an_overlay_shows_the_line_in_colour_where_it_runs():
    image = dark_lines([[10, 10], [120, 80]])
    picture = overlay(image, [line([10, 10], [120, 80])])
    scale = picture.shape[0] // SHAPE[0]
    assert picture.shape == (SHAPE[0] * scale, SHAPE[1] * scale, 3) and picture.dtype == np.uint8
    colourful = np.ptp(picture.astype(int), axis=-1) > 60
    on = colourful[int((45 + 0.5) * scale), int((65 + 0.5) * scale)]  # the line's middle
    assert on and not colourful[:, : 8 * scale].any()
    assert not (np.ptp(overlay(image, []).astype(int), axis=-1) > 0).any()


@pytest.mark.parametrize("polarity", [1, -1])
def test_the_ridge_baseline_finds_a_dark_and_a_bright_line(polarity):
    curve = [[10, 15], [118, 80]]
    image = 1 + polarity * (dark_lines(curve) - 1)
    found = ridge_linked(image)
    assert found and distance_px(found[0].points_px, np.array(curve, dtype=float)).mean() < 1.5
    assert found[0].length_px > 90


def test_linking_joins_what_branches_leave_apart():
    image = dark_lines([[10, 15], [118, 80]], [[20, 85], [110, 10]], noise=0.004)
    assert sum(f.length_px > 90 for f in ridge_linked(image)) == 2
    assert not any(f.length_px > 90 for f in ridge_branches(image))


def test_the_centreline_baseline_reads_maps():
    centre = np.zeros((48, 64), dtype=np.float32)
    centre[24, 4:60] = 1.0
    zero = np.zeros_like(centre)
    maps = Maps(mask=centre, centreline=centre, half_width_px=zero, ends=zero, lift=np.zeros((16, 48, 64), np.float32),
                ignore=zero.astype(bool), stride=2)  # fmt: skip
    (found,) = centreline_linked(maps)
    assert np.abs(found.points_px[:, 1] - 48.5).max() < 1.1  # row 24 of stride 2 is at y = 48.5


def write_labelme(path, image, curves, **flags):
    Image.fromarray((200 * image).clip(0, 255).astype(np.uint8)).save(path)
    shapes = [{"label": "dislocation", "shape_type": "linestrip", "points": curve} for curve in curves]
    path.with_suffix(".json").write_text(json.dumps({"shapes": shapes, "flags": flags, "imagePath": path.name}))


def test_a_labelme_folder_is_evaluated_with_baselines(run, tmp_path):
    folder = tmp_path / "labelled"
    folder.mkdir()
    curve = [[10, 15], [118, 80]]
    write_labelme(folder / "a.png", dark_lines(curve), [curve])
    evaluation = evaluate_dataset(run, folder, baselines=True)
    assert list(evaluation["results"])[0] == "network, traced" and len(evaluation["results"]) == 4
    assert evaluation["results"]["ridge filter, skeleton, linked"]["completeness"] > 0.9
    header, rows = table_of(evaluation)
    assert len(rows) == 4 and all(len(row) == len(header) for row in rows)
    json.dumps(evaluation)


def test_a_labelled_frame_is_read_as_predict_reads_it_and_its_density_is_that_of_the_polygon(run, tmp_path, monkeypatch):
    curve = [[10, 15], [118, 80]]
    write_labelme(tmp_path / "a.png", dark_lines(curve), [curve])
    labels = json.loads((tmp_path / "a.json").read_text())
    labels["shapes"].append({"label": "roi", "shape_type": "polygon", "points": [[0, 0], [64, 0], [64, 96], [0, 96]]})
    (tmp_path / "a.json").write_text(json.dumps(labels))
    seen = []

    def counted(scores, seconds):
        seen.extend(scores["network, traced"])
        return {}

    monkeypatch.setattr("train.evaluate.summarised", counted)
    monkeypatch.setattr("train.predict.find_prepared_lines", lambda *_, **__: ([line([10, 15], [60, 46])], None))
    evaluate_dataset(run, tmp_path)
    (score,) = seen
    assert score.area_px2 == 64 * 96 and score.matched == 1


def test_baselines_are_shown_a_labelled_frame_as_the_network_is(run, tmp_path, monkeypatch):
    """Bright lines are turned dark for all, so that a frame and its negative score alike."""
    curve = [[10, 15], [118, 80]]
    write_labelme(tmp_path / "a.png", 2 - dark_lines(curve), [curve])
    seen = []

    def centreline(maps):
        return [line(*curve)]

    monkeypatch.setattr("train.evaluate.rivals.centreline_linked", centreline)
    monkeypatch.setattr("train.checkpoint.predict_maps", lambda model, image: seen.append(image))
    monkeypatch.setattr("train.predict.find_prepared_lines", lambda *_, **__: ([], None))
    results = evaluate_dataset(run, tmp_path, baselines=True)["results"]
    (image,) = seen
    assert np.median(image) > image[47, 64]  # the line is dark in what it was shown
    assert results["network centreline, skeleton, linked"]["instance_f1"] == 1
    assert results["ridge filter, skeleton, linked"]["completeness"] > 0.9


def test_a_partly_labelled_file_says_so(tmp_path):
    write_labelme(tmp_path / "a.png", dark_lines([[10, 15], [118, 80]]), [[[10, 15], [118, 80]]], complete=False)
    assert read_labelme(tmp_path / "a.png").truth.complete is False


def within_roi(path, curves, roi):
    """Score of predicting all of `curves` exactly, where only the polygon `roi` is judged."""
    write_labelme(path, dark_lines(*curves), curves)
    labels = json.loads(path.with_suffix(".json").read_text())
    labels["shapes"].append({"label": "roi", "shape_type": "polygon", "points": roi})
    path.with_suffix(".json").write_text(json.dumps(labels))
    sample = read_labelme(path)
    score = score_image(_within_roi([line(*c) for c in curves], sample.roi_px), sample.truth, sample.image.shape)
    return summarise([score], bootstrap=0)


def test_truth_and_prediction_are_cut_by_the_same_polygon(tmp_path):
    left_half = [[0, 0], [64, 0], [64, 95], [0, 95]]
    inside, outside, across = [[10, 15], [50, 80]], [[80, 15], [120, 80]], [[5, 90], [120, 88]]
    summary = within_roi(tmp_path / "a.png", [inside, outside], left_half)
    assert summary["instance_f1"] == 1 and summary["true_curves"] == 1
    summary = within_roi(tmp_path / "b.png", [inside, outside, across], left_half)
    assert summary["instance_f1"] == 1 and summary["true_curves"] == 2 and summary["completeness"] == 1


def test_a_loop_across_the_polygon_is_one_piece_whatever_its_seam(tmp_path):
    angle = np.linspace(0, 2 * np.pi, 60)
    loop = np.stack([64 + 25 * np.cos(angle), 48 + 25 * np.sin(angle)], axis=1)
    loop[-1] = loop[0]
    summary = within_roi(tmp_path / "a.png", [loop.tolist()], [[64, 0], [127, 0], [127, 95], [64, 95]])
    assert summary["instance_f1"] == 1 and summary["true_curves"] == 1


@pytest.mark.parametrize("text", ["not json", "[]", '{"shapes": [{"points": [[0, 0]]}]}', '{"shapes": 3}'])
def test_a_broken_label_file_is_refused_in_one_line(tmp_path, text):
    write_labelme(tmp_path / "a.png", dark_lines([[10, 15], [118, 80]]), [])
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="a.json must be a labelme file"):
        read_labelme(tmp_path / "a.png")


def test_labels_without_images_are_refused(run, tmp_path):
    with pytest.raises(InputError, match="data must"):
        evaluate_dataset(run, tmp_path)
    with pytest.raises(InputError, match="data must"):
        evaluate_dataset(run, tmp_path / "nowhere")


@pytest.mark.skipif("GDOTB_REAL_DATA" not in os.environ, reason="needs GDOTB_REAL_DATA, a folder with real/")
def test_real_labelled_frames_are_read():
    frames = sorted(Path(os.environ["GDOTB_REAL_DATA"], "real").glob("twip_*/*.json"))
    assert frames
    for path in frames:
        sample = read_labelme(path.with_suffix(".png"))
        lines = [TracedLine(points_px=c, half_width_px=np.ones(len(c)), confidence=1.0) for c in sample.truth.curves_px]
        summary = summarise([score_image(lines, sample.truth, sample.image.shape)], bootstrap=0)
        assert len(lines) > 0 and summary["instance_recall"] == 1.0
