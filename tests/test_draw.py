"""Distributions read from a config."""

from __future__ import annotations

import numpy as np
import pytest

from physics.errors import InputError
from render.draw import Fixed, parse


def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (7.5, 7.5, 7.5),
        ({"uniform": [2, 3]}, 2, 3),
        ({"log_uniform": [1e-3, 1e3]}, 1e-3, 1e3),
        ({"integers": [1, 4]}, 1, 4),
        ({"choice": [1, {"uniform": [2, 3]}]}, 1, 3),
        ({"weighted": [[1, 3], [{"integers": [5, 6]}, 1]]}, 1, 6),
    ],
)
def test_draws_stay_within_their_ends(value, low, high):
    generator = rng()
    drawn = [parse(value, "x").draw(generator) for _ in range(300)]
    assert low <= min(drawn) and max(drawn) <= high


def test_integers_include_both_ends_and_weights_are_shares():
    generator = rng()
    assert {parse({"integers": [1, 3]}, "x").draw(generator) for _ in range(100)} == {1, 2, 3}
    weighted = parse({"weighted": [["bf", 3], ["df", 1]]}, "x")
    share = np.mean([weighted.draw(generator) == "bf" for _ in range(4000)])
    assert share == pytest.approx(0.75, abs=0.03)  # 3 / (3 + 1); 3 sigma is 0.02


def test_log_uniform_is_even_over_decades():
    generator = rng()
    drawn = np.log10([parse({"log_uniform": [1, 100]}, "x").draw(generator) for _ in range(4000)])
    assert np.mean(drawn < 1) == pytest.approx(0.5, abs=0.03)


def test_a_list_is_a_fixed_vector():
    assert parse([1, 1, 1], "g") == Fixed((1, 1, 1))
    assert parse({"choice": [[1, 1, 1], [2, 0, 0]]}, "g").draw(rng()) in ((1, 1, 1), (2, 0, 0))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"uniform": [3, 1]}, "x.uniform must have low <= high"),
        ({"log_uniform": [0, 1]}, "x.log_uniform must have low > 0"),
        ({"unifrom": [0, 1]}, "x must have one key of uniform"),
        ({"uniform": [0, 1], "choice": [1]}, "x must be a value or have exactly one key"),
        ({"choice": []}, "x.choice must be a list"),
        ({"integers": [0.5, 1]}, "x.integers must be whole numbers"),
        ({"weighted": [[1, -1]]}, "x.weighted must have weights >= 0"),
        ({"uniform": ["a", 1]}, "x.uniform must be two numbers"),
    ],
)
def test_a_malformed_distribution_is_refused(value, message):
    with pytest.raises(InputError, match=message):
        parse(value, "x")
