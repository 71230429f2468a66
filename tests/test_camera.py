"""Laws of the camera: what each part does to counts, by itself and without touching the others."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from physics.errors import InputError
from render.burn_in import Mark, mark_mask, text_distractors, with_marks
from render.compression import through_jpeg, through_video
from render.detector import PARTS, Detector, expose
from render.illumination import ApertureEdge, Unevenness, edge_curves_px, illumination, transmitted, uneven_field
from render.micrograph import Line
from render.noise import CorrelatedNoise, DeadPixels, ScanNoise, correlated_noise, stream
from render.optics import Blur, Interlace, blurred, blurred_lines, interlaced
from render.recording import Recording, grey_levels

FLAT = np.full((256, 256), 0.5, dtype=np.float32)
QUIET = {"dose_e_per_px": 1e8, "gain_counts_per_e": 4e-4, "offset_counts": 0, "mtf_sigma_px": 0, "readout_noise_counts": 0}
EVERYTHING = Detector(
    camera_pixel_px=1.3, unevenness=Unevenness(fraction=0.05), condenser_edge=ApertureEdge(centre_field=(-0.4, 0.1), radius_field=0.7),
    objective_edge=ApertureEdge(centre_field=(0, 0.5), radius_field=1, softness_field=0.05, transmission=0.3),
    blur=Blur(defocus_sigma_px=0.8, drift_px=2, drift_deg=30), interlace=Interlace(shift_px=(0.5, 0.2)),
    noise=CorrelatedNoise(fraction=0.02, lag1=0.6), scan=ScanNoise(line_fraction=0.01, jitter_px=0.3),
    dead_pixels=DeadPixels(fraction=1e-3), recording=Recording(gamma=1.3, inverted=True, video_step=6.0, jpeg_quality=80),
    burn_in=(Mark(kind="text", text="200 nm", at_px=(10, 20), size_px=12), Mark(kind="arrow", at_px=(90, 90), end_px=(60, 60), size_px=3)),
)  # fmt: skip


def lag1_of(noise):
    noise = noise - noise.mean()
    return ((noise[:, 1:] * noise[:, :-1]).mean() + (noise[1:] * noise[:-1]).mean()) / 2 / noise.var()


def test_a_camera_without_parts_is_dose_spread_and_gain_alone():
    """The bytes of a Detector that says nothing of the parts are those of the plain chain, written out here."""
    d = Detector(noise_seed=12, illumination_sigma_field=0.6)
    rng = np.random.Generator(np.random.Philox(12))
    x = (np.arange(256) - 127.5) / 256
    light = np.exp(-(x[None, :] ** 2 + x[:, None] ** 2) / (2 * 0.6**2))
    electrons = gaussian_filter(rng.poisson(1000.0 * light * FLAT.astype(float)).astype(float), 0.6, mode="reflect", truncate=4.0)
    counts = 100.0 + 10.0 * electrons + rng.normal(0.0, 5.0, FLAT.shape)
    assert np.array_equal(expose(FLAT, d), np.clip(np.rint(counts), 0, 65535).astype(np.uint16))


def test_all_parts_together_give_the_same_bytes_again_and_keep_the_shape():
    first = expose(FLAT, EVERYTHING)
    assert first.dtype == np.uint16 and first.shape == FLAT.shape and first.max() <= 255
    assert np.array_equal(first, expose(FLAT, EVERYTHING))
    assert not np.array_equal(first, expose(FLAT, replace(EVERYTHING, noise_seed=1)))


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.5])
def test_resampling_keeps_the_mean_counts(scale):
    counts = expose(FLAT, Detector(dose_e_per_px=400, gain_counts_per_e=7, offset_counts=90, camera_pixel_px=scale))
    assert counts.mean() == pytest.approx(90 + 7 * 400 * 0.5, rel=3e-3)  # offset + gain dose I; Poisson error of the mean 5e-4


def test_blur_keeps_the_electrons():
    spots = np.zeros((128, 128))
    spots[40:60, 50:90] = 1.0
    for blur in (Blur(defocus_sigma_px=1.5), Blur(drift_px=5, drift_deg=0), Blur(drift_px=5.5, drift_deg=37)):
        assert blurred(spots, blur).sum() == pytest.approx(spots.sum(), rel=1e-6)


def test_drift_attenuates_a_wave_by_the_sinc_and_only_along_its_direction():
    period, length = 16, 6.0
    wave = 1 + 0.5 * np.cos(2 * np.pi * np.arange(256) / period)
    along = blurred(np.tile(wave, (256, 1)), Blur(drift_px=length, drift_deg=0))[100, 32:-32]
    assert np.ptp(along) == pytest.approx(np.sinc(length / period), rel=0.01)  # Fourier transform of a box of length D
    across = blurred(np.tile(wave, (256, 1)), Blur(drift_px=length, drift_deg=90))[100, 32:-32]
    assert np.ptp(across) == pytest.approx(1.0, rel=1e-6)


def test_mtf_at_nyquist_is_that_of_the_gaussian():
    sigma = 0.7
    stripes = np.tile(0.5 + 0.4 * (-1.0) ** np.arange(256), (256, 1))
    counts = expose(stripes, Detector(**(QUIET | {"mtf_sigma_px": sigma}))).astype(float)
    contrast = (counts[:, 10:-10:2].mean() - counts[:, 11:-10:2].mean()) / (0.8 * 4e4)
    # exp(-(pi sigma)^2 / 2); the filter's samples alias, which adds the tails folded back: sum_n (-1)^n g(n) / sum_n g(n).
    n = np.arange(-20, 21)
    sampled = ((-1.0) ** n * np.exp(-(n**2) / (2 * sigma**2))).sum() / np.exp(-(n**2) / (2 * sigma**2)).sum()
    assert contrast == pytest.approx(sampled, rel=0.01) and sampled == pytest.approx(2 * np.exp(-((np.pi * sigma) ** 2) / 2), rel=0.02)


@pytest.mark.parametrize("lag1", [0.0, 0.2, 0.5, 0.77, 0.8])
@pytest.mark.parametrize("fraction", [0.005, 0.05])
def test_correlated_noise_has_the_deviation_and_the_correlation_asked_for(fraction, lag1):
    noise = correlated_noise(np.full((512, 512), 800.0), CorrelatedNoise(fraction=fraction, lag1=lag1), 3)
    assert noise.std() / 800 == pytest.approx(fraction, rel=0.02)
    assert lag1_of(noise) == pytest.approx(lag1, abs=0.015)


def test_correlated_noise_grows_as_the_root_of_the_signal():
    signal = np.where(np.arange(512) < 256, 100.0, 400.0) * np.ones((512, 1))
    noise = correlated_noise(signal, CorrelatedNoise(fraction=0.02), 3)
    assert noise[:, 256:].std() / noise[:, :256].std() == pytest.approx(2.0, rel=0.04)  # sqrt(400 / 100)


def test_scan_lines_differ_from_row_to_row_and_not_along_them():
    counts = expose(FLAT, Detector(**QUIET, scan=ScanNoise(line_fraction=0.02))).astype(float)
    rows = counts.mean(axis=1)
    assert rows.std() / rows.mean() == pytest.approx(0.02, rel=0.15)  # 256 rows: standard error 4.4 %
    assert counts.std(axis=1).max() < 0.002 * counts.mean()


def test_dead_pixels_are_as_many_as_asked_for():
    counts = expose(FLAT, Detector(**QUIET, dead_pixels=DeadPixels(fraction=0.01, hot_share=0.25))).astype(float)
    assert (counts == 0).mean() == pytest.approx(0.0075, rel=0.15) and (counts > 30000).mean() == pytest.approx(0.0025, rel=0.25)


def test_interlace_moves_odd_rows_alone():
    ramp = np.tile(np.arange(64.0), (64, 1))
    shown = interlaced(ramp, Interlace(shift_px=(1.5, 0.0)))
    assert np.array_equal(shown[::2], ramp[::2]) and shown[1::2, 2:] == pytest.approx(ramp[1::2, 2:] - 1.5)


def test_unevenness_has_the_deviation_and_the_spectrum_asked_for():
    uneven = Unevenness(fraction=0.05, slope=3.0, shortest_px=4)
    light = np.log(illumination(Detector(unevenness=uneven), (512, 512)))
    assert light.std() == pytest.approx(0.05, rel=1e-6)
    window = np.hanning(512)[:, None] * np.hanning(512)
    power = np.abs(np.fft.fft2(light * window)) ** 2
    f = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.fftfreq(512))
    bands = [(f > low) & (f < 1.3 * low) for low in (0.02, 0.15)]
    slope = np.diff([np.log(power[b].mean()) for b in bands])[0] / np.diff([np.log(f[b]).mean() for b in bands])[0]
    assert slope == pytest.approx(-3.0, abs=0.25)
    assert power[f > 0.3].mean() < 1e-3 * power[bands[1]].mean()


def test_unevenness_is_a_white_field_filtered_by_the_whole_transform():
    """The transforms leave out what is not kept; here they are whole."""
    shape = (45, 70)
    white = stream(9, "unevenness").standard_normal((90, 140))
    f = np.hypot(np.fft.fftfreq(90)[:, None], np.fft.fftfreq(140))
    kept = (f >= 0.5 / 70) & (f <= 1 / 5)
    filtered = np.fft.ifft2(np.fft.fft2(white) * np.where(kept, np.maximum(f, 1e-9) ** -1.25, 0)).real[:45, :70]
    filtered -= filtered.mean()
    field = uneven_field(Unevenness(fraction=0.1, slope=2.5, shortest_px=5), shape, 9)
    assert field == pytest.approx(0.1 * filtered / filtered.std(), abs=1e-12)


def test_an_aperture_passes_light_inside_its_circle_and_its_curve_lies_where_half_passes():
    edge = ApertureEdge(centre_field=(-0.2, 0.1), radius_field=0.4, softness_field=0.01, transmission=0.2)
    passed = transmitted(edge, (200, 300))
    assert passed[int(99.5 - 0.1 * 300), int(149.5 - 0.2 * 300)] == pytest.approx(1, abs=1e-6)  # the centre, y up
    assert passed[-1, -1] == pytest.approx(0.2, abs=1e-6)
    for curve in edge_curves_px(edge, (200, 300)):
        on = passed[np.rint(curve[:, 1]).astype(int), np.rint(curve[:, 0]).astype(int)]
        assert on == pytest.approx(0.6, abs=0.16)  # half of 1 + 0.2, within half a pixel of 3
    assert edge_curves_px(edge, (200, 300))


def test_blur_widens_labels_and_leaves_their_area():
    k = np.zeros(5, np.float32)
    line = Line(points_px=np.stack([np.arange(5), k], 1).astype(np.float32), half_width_px=k + 2, contrast=k - 0.3, depth_nm=k, core_px=None,
                burgers_uvw=(1, 0, 0), plane_hkl=(1, 1, 1), g_dot_b=1, visible=k < 0, kind="perfect")  # fmt: skip
    (wider,) = blurred_lines((line,), Blur(defocus_sigma_px=2.0), 0.02)
    # FWHM of two Gaussians: w^2 = w1^2 + 8 ln 2 sigma^2, area = FWHM depth.
    assert 2 * wider.half_width_px == pytest.approx(np.sqrt(4**2 + 8 * np.log(2) * 2**2), rel=1e-6)
    assert wider.half_width_px * wider.contrast == pytest.approx(-2 * 0.3, rel=1e-6)
    (along,) = blurred_lines((line,), Blur(drift_px=6, drift_deg=0), 0.02)
    assert along.half_width_px == pytest.approx(2, rel=1e-6)  # a drift along the line widens nothing


def ramp_counts(n=256):
    return np.tile(np.arange(n, dtype=np.uint16) * 100, (16, 1))


def test_gamma_and_levels_are_those_asked_for():
    plain = Recording(black_percent=0, white_percent=100)
    assert grey_levels(ramp_counts(), plain)[0].tolist() == list(range(256))
    bent = grey_levels(ramp_counts(), replace(plain, gamma=2.0))[0]
    assert np.abs(bent - 255 * (np.arange(256) / 255) ** 2).max() <= 0.5
    for levels in (2, 16, 100, 256):
        assert len(np.unique(grey_levels(ramp_counts(), replace(plain, levels=levels)))) == levels


def test_black_and_white_points_are_percentiles_of_the_counts():
    counts = 1000 + ramp_counts()
    grey = grey_levels(counts, Recording(black_share=1, black_percent=10, white_percent=90, white_level=0.8))
    assert (grey == 0).mean() == pytest.approx(0.1, abs=0.01) and (grey >= 204).mean() == pytest.approx(0.1, abs=0.01)  # 0.8 255


def test_inverted_polarity_turns_grey_levels_round():
    plain = Recording(black_percent=0, white_percent=100)
    assert np.array_equal(grey_levels(ramp_counts(), replace(plain, inverted=True)), 255 - grey_levels(ramp_counts(), plain))


def noisy(shape=(96, 120)):
    return np.clip(gaussian_filter(np.random.default_rng(0).normal(0, 60, shape), 1) + 120, 0, 255).astype(np.uint8)


def test_jpeg_gives_the_same_pixels_again_and_loses_more_at_lower_quality():
    errors = [np.abs(through_jpeg(noisy(), q).astype(int) - noisy()).mean() for q in (95, 60, 20)]
    assert errors == sorted(errors) and errors[0] < 2 < errors[2]
    assert np.array_equal(through_jpeg(noisy(), 60), through_jpeg(noisy(), 60))


@pytest.mark.parametrize("block, offset", [(8, (0, 0)), (8, (3, 5)), (16, (0, 7)), (4, (1, 1))])
def test_video_leaves_edges_at_its_blocks_and_nowhere_else(block, offset):
    # Far under the quantiser's step, a ramp becomes flat blocks: it changes at their borders alone.
    ramp = np.tile((100 + np.arange(120) * 0.5).astype(np.uint8), (96, 1))
    shown = through_video(ramp, 80.0, block, offset).astype(int)
    assert shown.shape == ramp.shape
    changes = np.flatnonzero(np.abs(np.diff(shown, axis=1)).max(axis=0))
    assert len(changes) and ((changes + 1 + offset[0]) % block == 0).all()
    assert np.abs(through_video(ramp, 0.1, block, offset).astype(int) - ramp).max() <= 1  # a fine step keeps all


MARKS = (
    Mark(kind="text", text="(a) 0.5 µm", at_px=(7.3, 5.6), size_px=11, font="serif"),
    Mark(kind="text", text="BF", at_px=(60, 40), size_px=9, box_grey=0.1),
    Mark(kind="text", text="edge", at_px=(105, 88), size_px=14, font="mono"),
    Mark(kind="bar", at_px=(10.2, 80), end_px=(50.7, 80), size_px=3.4),
    Mark(kind="dashes", at_px=(0, 60), end_px=(120, 60), size_px=2),
    Mark(kind="arrow", at_px=(100, 20), end_px=(70, 35), size_px=2.5),
)


@pytest.mark.parametrize("mark", MARKS, ids=lambda m: f"{m.kind} {m.text}")
def test_the_mask_of_a_mark_is_every_pixel_that_it_changes(mark):
    grey = np.full((96, 120), 128, np.uint8)
    changed = with_marks(grey, (mark,), 255) != grey
    assert changed.any() and np.array_equal(changed, mark_mask(mark, grey.shape))


def test_the_marks_of_an_image_change_no_pixel_outside_their_distractors():
    grey = noisy()
    masks = [d.mask for d in text_distractors(MARKS, grey.shape)]
    assert len(masks) == len(MARKS)
    assert not ((with_marks(grey, MARKS, 255) != grey) & ~np.any(masks, axis=0)).any()
    assert text_distractors((Mark(kind="bar", at_px=(-90, -9), end_px=(-50, -9), size_px=3),), grey.shape) == ()


def test_a_scale_bar_is_as_long_as_it_says():
    mask = mark_mask(Mark(kind="bar", at_px=(9.5, 50), end_px=(59.5, 50), size_px=3), (96, 120))
    assert mask.any(axis=0).sum() == 50  # pixels 10 ... 59: from border to border 50 px


PARTS_OF_CHANCE = {
    "unevenness": [Unevenness(fraction=0.03), Unevenness(fraction=0.06, slope=3)],
    "noise": [CorrelatedNoise(fraction=0.02, lag1=0.6), CorrelatedNoise(fraction=0.03, lag1=0.2)],
    "scan": [ScanNoise(line_fraction=0.02), ScanNoise(line_fraction=0.01)],
    "dead_pixels": [DeadPixels(fraction=2e-3), DeadPixels(fraction=4e-3)],
}


@pytest.mark.parametrize("kept", PARTS_OF_CHANCE)
@pytest.mark.parametrize("changed", PARTS_OF_CHANCE)
def test_changing_one_part_does_not_shuffle_another(kept, changed):
    """What a part does to the image (with it minus without it) stays where it was when another part changes."""
    if kept == changed:
        return
    effects = []
    for part in (None, *PARTS_OF_CHANCE[changed]):
        base = Detector(**QUIET, **{changed: part})
        with_it, without = expose(FLAT, replace(base, **{kept: PARTS_OF_CHANCE[kept][0]})), expose(FLAT, base)
        effects.append((with_it.astype(float) - without).ravel())
    assert np.corrcoef(effects).min() > 0.95


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("noise", {"fraction": -1}, "fraction must lie in"), ("noise", {"fraction": 0.1, "lag1": 1}, "lag1 must lie in"),
        ("recording", {"gamma": 0}, "gamma must lie in"), ("recording", {"jpeg_quality": 101}, "jpeg_quality must be a whole"),
        ("recording", {"black_percent": 60, "white_percent": 40}, "white_percent must lie above"),
        ("blur", {"drift_px": float("nan")}, "drift_px must lie in"), ("condenser_edge", {"centre_field": (0, 0), "radius_field": 0}, "radius_field must be > 0"),
        ("dead_pixels", {"fraction": 0.5}, "fraction must lie in"), ("interlace", {"shift_px": (1,)}, "shift_px must be two"),
    ],
)  # fmt: skip
def test_bad_parts_are_refused_by_name(name, values, message):
    with pytest.raises(InputError, match=message):
        PARTS[name](**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "circle", "at_px": (0, 0), "size_px": 3}, "kind must be one of"),
        ({"kind": "text", "at_px": (0, 0), "size_px": 3, "text": " "}, "text must be given"),
        ({"kind": "text", "at_px": (0, 0), "size_px": 3, "text": "a\nb"}, "text must be one line"),
        ({"kind": "arrow", "at_px": (0, 0), "size_px": 3}, "end_px must be given"),
        ({"kind": "bar", "at_px": (0, 0), "size_px": 0, "end_px": (1, 1)}, "size_px must lie in"),
    ],
)
def test_bad_marks_are_refused_by_name(values, message):
    with pytest.raises(InputError, match=message):
        Mark(**values)
