"""Estimators against images whose noise, width, depth, spectrum and background are known."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from physics.errors import InputError
from render.frame_statistics import across_lines, background_range, noise_level, spectrum_slopes
from render.noise import CorrelatedNoise, correlated_noise
from render.ridges import find_ridges
from render.stats import QUANTITIES, frame_statistics, images_of, main, measure, percentiles, table_text

X, Y = np.meshgrid(np.arange(256.0), np.arange(256.0))


def grainy(level, fraction, lag1, seed=0):
    return level + correlated_noise(np.broadcast_to(np.asarray(level, float), X.shape), CorrelatedNoise(fraction=fraction, lag1=lag1), seed)


def with_lines(fwhm, depth, angle_deg=25.0, spacing=40.0, level=120.0):
    """Straight Gaussian lines `spacing` apart on an even background."""
    a = np.radians(angle_deg)
    across = (X * np.sin(a) - Y * np.cos(a) + spacing / 2) % spacing - spacing / 2
    return level * (1 - depth * np.exp(-4 * np.log(2) * across**2 / fwhm**2))


@pytest.mark.parametrize("fraction", [0.01, 0.05])
@pytest.mark.parametrize("lag1", [0.0, 0.5, 0.77])
def test_noise_and_its_correlation_are_found_on_an_uneven_background_with_lines(fraction, lag1):
    uneven = 1 + 0.5 * np.exp(-((X - 60) ** 2 + (Y - 190) ** 2) / (2 * 120**2))
    noise = correlated_noise(np.full(X.shape, 120.0), CorrelatedNoise(fraction=fraction, lag1=lag1), 1)
    found, correlation = noise_level(with_lines(5, 0.3, spacing=90) * uneven * (1 + noise / 120))
    assert found == pytest.approx(fraction, rel=0.12)
    assert correlation == pytest.approx(lag1, abs=0.05)


@pytest.mark.parametrize("fwhm", [3.0, 5.0, 8.0])
@pytest.mark.parametrize("depth", [0.08, 0.4])
def test_width_and_depth_of_lines_are_found_under_noise(fwhm, depth):
    image = with_lines(fwhm, depth) * (1 + (grainy(120.0, 0.01, 0.5) - 120) / 120)
    a = np.radians(25.0)
    places = np.array([[128 + t * np.cos(a) + n * 40 * np.sin(a), 128 + t * np.sin(a) - n * 40 * np.cos(a)] for t in range(-60, 61, 4) for n in (-1, 0, 1)])
    # The nearest line: places lie on lines where x sin - y cos is a multiple of the spacing.
    offset = (places[:, 0] * np.sin(a) - places[:, 1] * np.cos(a) + 20) % 40 - 20
    normal = np.array([np.sin(a), -np.cos(a)])
    width, found = across_lines(image, places - offset[:, None] * normal, np.tile(normal, (len(places), 1)))
    assert np.nanmedian(width) == pytest.approx(fwhm, rel=0.08, abs=0.15)
    assert np.nanmedian(found) == pytest.approx(depth, rel=0.1)  # the bottom is a mean over 1 px


def test_bright_lines_are_measured_as_dark_ones():
    dark = with_lines(5, 0.3)
    for image, sign in ((dark, True), (240 - dark, False)):
        ridges = find_ridges(image * (1 + (grainy(120.0, 0.01, 0.5) - 120) / 120))
        width, _ = across_lines(image, ridges.places_px, ridges.normals, ridges.dark)
        assert ridges.dark is sign and np.nanmedian(width) == pytest.approx(5, rel=0.1)


def test_ridges_are_as_many_and_as_long_as_the_lines():
    image = np.roll(with_lines(4, 0.25, angle_deg=0, spacing=64), 32, axis=0) * (1 + (grainy(120.0, 0.02, 0.5) - 120) / 120)
    ridges = find_ridges(image)
    long = ridges.lengths_px[ridges.lengths_px > 100]
    assert len(long) == 4 and long == pytest.approx(256, rel=0.05)  # 256 / 64 lines across the frame


def test_grain_alone_gives_next_to_no_ridges():
    assert len(find_ridges(grainy(120.0, 0.03, 0.6)).lengths_px) <= 6


def test_background_range_of_a_ramp_is_its_rise_over_its_mean():
    assert background_range(50 + 100 * X / 255) == pytest.approx(1.0, rel=0.12)  # (150 - 50) / 100, less the smoothing at the ends
    assert background_range(with_lines(4, 0.4) + 0) < 0.25


@pytest.mark.parametrize("slope", [2.0, 3.5])
def test_spectrum_slopes_are_those_of_a_power_law(slope):
    f = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512)[None, :])
    f[0, 0] = 1
    rng = np.random.default_rng(3)
    fields = [np.fft.irfft2(np.fft.rfft2(rng.standard_normal((512, 512))) * f ** (-slope / 2), (512, 512)) for _ in range(4)]
    low, mid = np.mean([spectrum_slopes(100 + 5 * field / field.std()) for field in fields], axis=0)
    assert low == pytest.approx(-slope, abs=0.3) and mid == pytest.approx(-slope, abs=0.12)  # few modes: deviation of one 0.25, 0.07


def test_a_flat_frame_and_a_tiny_one_give_no_numbers_and_no_fault():
    for image in (np.full((64, 64), 7.0), np.random.default_rng(0).normal(100, 1, (12, 70))):
        values = frame_statistics(image, [])
        assert values["ridges"] == 0 and values["lines"] == 0 and not np.isfinite(values["line_width_px"])


def save(image, path):
    Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two micrographs, one with labels, and a mask, which is none."""
    place = tmp_path / "frames (é)"
    (place / "below").mkdir(parents=True)
    save(grainy(with_lines(5, 0.3, angle_deg=0, spacing=64), 0.02, 0.5), place / "a.png")
    save(grainy(with_lines(3, 0.2), 0.04, 0.6, 1), place / "below" / "b.png")
    save(255 * (with_lines(5, 1) < 40), place / "mask.png")
    strips = [[[0, y], [100, y]] for y in (64, 64, 128)]
    strips[1] = [[120, 64], [255, 64]]
    shapes = [{"shape_type": "linestrip", "points": s, "group_id": g} for s, g in zip(strips, (1, 1, None))]
    (place / "a.json").write_text(json.dumps({"shapes": shapes}))
    return place


def test_parts_of_one_labelled_line_count_once(folder):
    frames = measure(folder, 10)
    assert sorted(frames) == ["a.png", "below/b.png"]
    assert frames["a.png"]["lines"] == 2 and frames["a.png"]["line_length_px"] == pytest.approx((235 + 100) / 2)
    assert frames["a.png"]["line_width_px"] == pytest.approx(5, rel=0.1) and "lines" not in frames["below/b.png"]


def test_gaps_between_parallel_lines_and_variation_along_them_are_found():
    """Lines 40 px apart whose depth swings by a sine of amplitude half its mean: standard deviation over mean 0.5 / sqrt 2."""
    period = 1 + 0.5 * np.sin(2 * np.pi * X / 64)
    image = 120 - (120 - np.roll(with_lines(5, 0.3, angle_deg=0, spacing=40), 0, axis=0)) * period
    rows = sorted(set(np.flatnonzero(image[:, 16] < image[:, 16].min() + 1e-6)) - {0, 255})
    curves = [[np.array([[0.0, r], [255.0, r]])] for r in rows] + [[np.array([[100.0, 0], [104.0, 255]])]]  # the last one crosses
    values = frame_statistics(image, curves)
    assert np.diff(rows) == pytest.approx(40)
    assert values["each_gap_px"][:-1] == pytest.approx([40] * len(rows)) and not np.isfinite(values["each_gap_px"][-1])
    assert values["each_variation"][:-1] == pytest.approx([0.5 / np.sqrt(2)] * len(rows), rel=0.1)  # profiles are means over 9 px
    assert percentiles({"a": values})["each_gap_px"]["frames"] == len(rows)


def test_the_command_writes_table_numbers_and_picture(folder, tmp_path, capsys):
    main([str(folder), f"reference={folder}", f"out={tmp_path / 'out'}"])
    said = capsys.readouterr().out
    assert "2 images" in said and QUANTITIES["noise_lag1"] in said and "outside" not in said
    written = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert written["table"] == percentiles(measure(folder, 10)) and written["reference"]["outside"] == []
    assert Image.open(tmp_path / "out" / "histograms.png").size[0] > 400


def test_the_table_marks_a_reference_outside():
    table = {"noise": {"median": 0.02, "p5": 0.01, "p95": 0.03, "frames": 9}}
    assert "outside" in table_text(table, {"noise": {"median": 0.05, "p5": 0.04, "p95": 0.06, "frames": 3}})
    assert "outside" not in table_text(table, {"noise": {"median": 0.015, "p5": 0.0, "p95": 0.06, "frames": 3}})


def test_a_dataset_is_measured_with_its_labels(made_up, monkeypatch):
    monkeypatch.setattr("render.stats.SMALLEST_PX", 8)
    names = [name for name, _, _ in images_of(made_up, 3)]
    assert names == ["0", "2", "4"]


def test_what_is_no_folder_of_micrographs_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"no image")
    cases = [(tmp_path / "none", "got nothing there"), (folder / "a.png", "got a file"), (tmp_path / "empty", "must hold png"),
             (tmp_path / "bad", "x.png must be an image")]  # fmt: skip
    for path, message in cases:
        with pytest.raises(InputError, match=message):
            measure(path, 5)
    with pytest.raises(InputError, match="limit must be a whole number"):
        main([str(folder), "limit=0"])


@pytest.mark.skipif("GDOTB_REAL_DATA" not in os.environ, reason="GDOTB_REAL_DATA names no folder")
def test_labelled_lines_of_real_frames_are_as_wide_and_deep_as_people_found_them():
    frames = measure(Path(os.environ["GDOTB_REAL_DATA"]) / "real", 12)
    found = percentiles(frames)
    assert 2 < found["line_width_px"]["median"] < 9 and 0.02 < found["line_depth"]["median"] < 0.4  # in-situ frames: 2-9 px, 2-40 %
    assert 0.5 < found["noise_lag1"]["median"] < 0.85
