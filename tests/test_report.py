import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from physics.errors import InputError
from train.demo import _options, _whole
from train.report import Page


def test_page_is_self_contained_and_escapes_its_text(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "p.png")
    page = Page("a < b")
    page.heading("results & more")
    page.table(["decoder", "F1"], [["ours", 0.8], ["<ridge>", 0.3]], best=0)
    page.picture(tmp_path / "p.png", 'a "picture"')
    figure = Figure(figsize=(1, 1))
    page.figure(figure, "drawn")
    page.write(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "a &lt; b" in text and "&lt;ridge&gt;" in text and "<ridge>" not in text
    assert text.count('src="data:image/png;base64,') == 2 and "file:" not in text
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


@pytest.mark.parametrize("argument", ["colour=blue", "out"])
def test_demo_refuses_an_unknown_argument(argument):
    with pytest.raises(InputError, match="an argument must be one of"):
        _options([argument])


def test_demo_refuses_a_count_that_is_not_a_whole_number():
    with pytest.raises(InputError, match="train_images must be a whole number > 0, got many"):
        _whole(_options(["train_images=many"]), "train_images")
