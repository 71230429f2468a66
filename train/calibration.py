"""How sure a line is: the chance that it is one true line, and how far its vertices lie from it.

The confidence is a logistic regression (Platt 1999) on what the maps show along a line, fitted to whether the line
matches a true instance one to one; how good it is is said by the expected calibration error. The deviation of a
vertex is sqrt(floor^2 + (factor s)^2), s what the smoothing spline says of its own scatter: neighbouring vertices err
together, which the scatter alone does not show.

Axes: L lines, V vertices, F features.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from physics.errors import require

LINE_FEATURES = (
    "strength_mean", "strength_low", "centreline_mean", "mask_mean", "distractor_mean", "log_length", "bridged_share",
    "link_odds", "spread", "near_others", "closed", "crossing_below_22_deg",
)  # fmt: skip


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 10) -> float:
    """Mean of |share correct - mean confidence| over equal bins of [0, 1], weighted by their counts (Guo et al. 2017).

    `confidence` (L,) in [0, 1], `correct` (L,) bool. Raises InputError for no lines or values outside.
    """
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    require(len(confidence) > 0 and confidence.shape == correct.shape, "confidence", "be one number a line, at least one",
            f"{len(confidence)} for {len(correct)} lines")  # fmt: skip
    require(bool(((confidence >= 0) & (confidence <= 1)).all()), "confidence", "lie in [0, 1]", confidence.max())
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    surplus = np.bincount(which, weights=confidence, minlength=bins) - np.bincount(which, weights=correct, minlength=bins)
    return float(np.abs(surplus).sum() / count.sum())


def fit_confidence(features: np.ndarray, correct: np.ndarray, penalty: float = 1.0) -> dict[str, np.ndarray]:
    """Logistic regression from features (L, F) to `correct` (L,), with a ridge `penalty` on standardised weights."""
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-3
    x, sign = (features - mean) / scale, np.where(correct, 1.0, -1.0)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (x @ w[:-1] + w[-1])
        pull = -sign * expit(-margin)
        slope = np.concatenate([x.T @ pull + penalty * w[:-1], [pull.sum()]])
        return float(np.logaddexp(0.0, -margin).sum() + 0.5 * penalty * (w[:-1] ** 2).sum()), slope

    fitted = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return {
        "confidence_mean": mean.astype(np.float32), "confidence_scale": scale.astype(np.float32),
        "confidence_weight": fitted[:-1].astype(np.float32), "confidence_bias": fitted[-1:].astype(np.float32),
    }  # fmt: skip


def confidence_of(features: np.ndarray, weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """Chance (L,) that lines with `features` (L, F) are true instances; without a calibration the mean ridge strength."""
    if "confidence_weight" not in weights:
        return np.clip(features[:, LINE_FEATURES.index("strength_mean")], 0.0, 1.0)
    x = (features - weights["confidence_mean"]) / weights["confidence_scale"]
    return expit((x @ weights["confidence_weight"]).astype(np.float64) + float(weights["confidence_bias"][0]))


def fit_deviation(spline_px: np.ndarray, error_px: np.ndarray) -> np.ndarray:
    """(factor, floor in px) that explain errors (V,) at spline deviations (V,): 68 % of them lie within one deviation.

    Their ratio is that of the greatest Laplace likelihood, not Gauss's: where a line turned off onto another one its
    error says nothing of its smoothness.
    """

    def loss(w: np.ndarray) -> float:
        scale = deviation_px(spline_px, np.exp(w))
        return float(np.mean(np.log(scale) + error_px / scale))

    fitted = np.exp(minimize(loss, np.log([2.0, 0.3]), method="Nelder-Mead").x)
    # One deviation is to cover what it covers of a normal law.
    return (fitted * np.quantile(error_px / deviation_px(spline_px, fitted), 0.6827)).astype(np.float32)


def deviation_px(spline_px: np.ndarray, factor_floor: np.ndarray) -> np.ndarray:
    """Standard deviation (V,) in px of vertices across their line, from what the spline says of its scatter."""
    return np.hypot(factor_floor[0] * spline_px, factor_floor[1])
