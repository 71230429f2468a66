import numpy as np
import pytest

from physics.errors import InputError
from render.detector import COUNTS_MAX, Detector, expose, illumination

FLAT = np.full((256, 256), 0.5, dtype=np.float32)


def test_mean_counts_are_offset_plus_gain_times_dose():
    counts = expose(FLAT, Detector(dose_e_per_px=400, gain_counts_per_e=7, offset_counts=90))
    assert counts.mean() == pytest.approx(90 + 7 * 400 * 0.5, rel=2e-3)  # Poisson error of the mean: 3e-4


def test_shot_noise_without_mtf_is_poisson():
    detector = Detector(dose_e_per_px=400, gain_counts_per_e=1, offset_counts=0, mtf_sigma_px=0, readout_noise_counts=0)
    counts = expose(FLAT, detector).astype(float)
    assert counts.var() == pytest.approx(counts.mean(), rel=0.02)  # variance = mean; 256^2 samples: 0.6 % standard error


def test_noise_correlation_is_that_of_the_point_spread():
    sigma = 0.9
    detector = Detector(mtf_sigma_px=sigma, readout_noise_counts=0)
    noise = expose(FLAT, detector).astype(float)
    noise -= noise.mean()
    lag1 = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    assert lag1 == pytest.approx(np.exp(-1 / (4 * sigma**2)), abs=0.02)  # autocorrelation of a Gaussian of width sigma


def test_point_spread_attenuates_a_wave_by_the_mtf():
    sigma, period = 1.0, 8
    wave = 0.5 + 0.4 * np.cos(2 * np.pi * np.arange(256) / period)
    detector = Detector(dose_e_per_px=1e6, gain_counts_per_e=0.05, mtf_sigma_px=sigma, readout_noise_counts=0, offset_counts=0)
    profile = expose(np.tile(wave, (256, 1)), detector).mean(axis=0)[16:-16]
    amplitude = np.abs(np.fft.rfft(profile - profile.mean())[len(profile) // period]) * 2 / len(profile)
    mtf = np.exp(-2 * (np.pi * sigma / period) ** 2)  # Fourier transform of the Gaussian
    assert amplitude / (0.4 * 1e6 * 0.05) == pytest.approx(mtf, rel=0.01)


def test_same_detector_same_bytes_and_another_seed_other_bytes():
    assert np.array_equal(expose(FLAT, Detector(noise_seed=5)), expose(FLAT, Detector(noise_seed=5)))
    assert not np.array_equal(expose(FLAT, Detector(noise_seed=5)), expose(FLAT, Detector(noise_seed=6)))


def test_counts_saturate_at_16_bits():
    assert expose(FLAT, Detector(dose_e_per_px=1e6, gain_counts_per_e=10)).min() == COUNTS_MAX


def test_illumination_peaks_at_its_centre_with_y_up():
    spot = illumination(Detector(illumination_sigma_field=0.2, illumination_centre_field=(0.25, 0.25)), (101, 101))
    row, column = np.unravel_index(spot.argmax(), spot.shape)
    assert (row, column) == (25, 75)


@pytest.mark.parametrize("field, value", [("dose_e_per_px", 0), ("gain_counts_per_e", -1), ("mtf_sigma_px", -0.1),
                                          ("readout_noise_counts", float("nan")), ("noise_seed", -1),
                                          ("illumination_floor", 1.5)])  # fmt: skip
def test_bad_camera_is_refused_by_name(field, value):
    with pytest.raises(InputError, match=f"detector.{field}"):
        Detector(**{field: value})
