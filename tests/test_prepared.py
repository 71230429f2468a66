"""From a micrograph as it was taken to what the network reads."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from physics.errors import InputError
from train.appearance import appearance
from train.burnt_in import burnt_in, painted_over
from train.curves import TracedLine, distance_px, find_crossings
from train.io import read_frames
from train.prepared import PrepareSettings, is_writing, lines_in_micrograph, prepare, reading_scale
from train.targets import Maps

CURVES = [[[20, 30], [230, 90]], [[30, 230], [120, 140], [235, 150]], [[200, 20], [150, 240]]]


def micrograph(width_px, bright=False, size=256, noise=0.02, curves=CURVES):
    """Lines of Gaussian profile and 25 % depth on an uneven background with correlated noise."""
    y, x = np.mgrid[:size, :size]
    at = np.stack([x.ravel(), y.ravel()], axis=-1).astype(float)
    image = np.zeros((size, size))
    for curve in curves:
        off = distance_px(at, np.array(curve, float) * size / 256).reshape(size, size)
        image = np.maximum(image, np.exp(-4 * np.log(2) * (off / width_px) ** 2))  # FWHM = width_px
    grain = gaussian_filter(np.random.default_rng(1).normal(size=(size, size)), 0.8)
    light = 1 - 0.4 * np.hypot(x - 0.4 * size, y - 0.5 * size) / size
    return 200 * light * (1 + (1 if bright else -1) * 0.25 * image + noise * grain / grain.std())


@pytest.mark.parametrize("width_px", [3.0, 5.0, 8.0])
@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_a_frame_with_lines_that_the_network_knows_is_not_rescaled(width_px, noise):
    assert prepare(micrograph(width_px, noise=noise), PrepareSettings()).scale == 1


def test_wide_lines_of_a_large_frame_are_recognised_and_narrowed():
    image = micrograph(20.0, size=640)
    assert appearance(image).width_px == pytest.approx(20.0, rel=0.34)
    assert prepare(image, PrepareSettings()).scale == pytest.approx(5 / 20, rel=0.5)


@pytest.mark.parametrize("bright", [False, True])
def test_polarity_is_that_of_the_lines(bright):
    for width_px in (3.0, 6.0):
        assert appearance(micrograph(width_px, bright)).dark is not bright


def test_bright_lines_are_read_as_dark_ones():
    prepared = prepare(micrograph(5.0, bright=True), PrepareSettings())
    assert prepared.polarities == ("bright",) and prepared.scale == 1
    read = prepared.images[0]
    assert read[146, 190] < np.median(read[120:180, 160:220]) - 20  # on the second curve's last stretch: 25 % of 150


def test_wide_lines_are_made_as_wide_as_the_network_knows():
    assert reading_scale((512, 512), 5.0) == 1 and reading_scale((512, 512), None) == 1
    assert reading_scale((4096, 4096), 25.0) == pytest.approx(0.2)
    assert reading_scale((512, 512), 1.0) == 4.0  # never more than four times
    assert reading_scale((100, 100), 50.0) == pytest.approx(0.64)  # never under 64 px
    prepared = prepare(micrograph(5.0, size=256), PrepareSettings(width_px=20.0))
    assert prepared.images[0].shape == (64, 64) and prepared.scale == 0.25


def test_lines_go_back_to_where_they_are():
    image = micrograph(5.0)
    prepared = prepare(image, PrepareSettings(width_px=20.0, polarity="dark"))
    line = TracedLine(points_px=np.array([[0.0, 0.0], [63.0, 63.0]]), half_width_px=np.full(2, 2.5), confidence=0.9, sigma_px=np.full(2, 0.1))
    (back,) = lines_in_micrograph([[line]], prepared)
    # The centre of a pixel of 4 x 4 lies 1.5 px from that of its first one.
    assert back.points_px[[0, -1]] == pytest.approx(np.array([[1.5, 1.5], [253.5, 253.5]]))
    assert back.width_px == pytest.approx(20.0) and back.sigma_px == pytest.approx(0.4)


def test_both_polarities_count_a_line_once():
    prepared = prepare(micrograph(5.0), PrepareSettings(polarity="both"))
    assert prepared.polarities == ("dark", "bright")

    def line(y, confidence):
        points = np.column_stack([np.linspace(10, 200, 50), np.full(50, y)])
        return TracedLine(points_px=points, half_width_px=np.full(50, 2.0), confidence=confidence)

    found = lines_in_micrograph([[line(50.0, 0.9)], [line(52.0, 0.4), line(120.0, 0.7)]], prepared)
    assert sorted(float(f.points_px[0, 1]) for f in found) == [50.0, 120.0]
    assert [("bright" in f.flags) for f in sorted(found, key=lambda f: f.points_px[0, 1])] == [False, True]


def written_on(image, ink):
    """Letters 20 px high and a scale bar, as a microscope's software burns them in."""
    picture = Image.fromarray(image.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.text((20, 190), "200 nm", fill=ink, font=ImageFont.load_default(size=24))
    draw.rectangle((20, 225, 100, 231), fill=ink)
    drawn = np.asarray(picture).astype(float)
    return drawn, np.abs(drawn - image.clip(0, 255).astype(np.uint8)) > 1


@pytest.mark.parametrize("ink", [255, 0])
def test_writing_and_its_bar_are_covered_and_lines_are_not(ink):
    image = micrograph(5.0, noise=0.01)
    image[:160] = np.minimum(image[:160], 250)
    drawn, written = written_on(image, ink)
    covered = burnt_in(drawn)
    assert (covered & written).sum() > 0.95 * written.sum()
    assert covered.mean() < 0.12  # the box of it all is 5 % of the frame
    assert not burnt_in(image).any()
    clean = painted_over(drawn, covered)
    # Letters differ from the ground by 60 grey levels and more; what is painted in their place differs by less than a line.
    assert np.abs(clean[covered] - image[covered]).mean() < 20 < np.abs(drawn[written] - image[written]).mean()


def test_a_data_bar_is_covered_and_a_dark_foil_edge_is_not():
    image = micrograph(5.0)
    with_bar = image.copy()
    with_bar[226:] = 0
    with_bar[234:248, 20:60:2] = 255
    covered = burnt_in(with_bar)
    assert covered[226:].all() and not covered[:215].any()
    hole = image * (1 / (1 + np.exp((np.arange(256)[:, None] - 220) / 6)))  # intensity fades over some 20 px
    assert not burnt_in(hole)[:200].any()


def test_coloured_arrows_are_ink(tmp_path):
    grey = micrograph(5.0).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(grey).convert("RGB")
    ImageDraw.Draw(picture).line((50, 60, 90, 100), fill=(255, 255, 0), width=4)
    picture.save(tmp_path / "a.png")
    (frame,) = read_frames(tmp_path / "a.png")
    assert frame.drawn[80, 70] and frame.drawn.mean() < 0.01
    assert prepare(frame.image, PrepareSettings(), frame.drawn).covered[80, 70]


@pytest.mark.parametrize("width_px", [20, 80])
def test_lines_of_a_micrograph_that_was_read_smaller_cross_as_they_did(width_px):
    prepared = prepare(np.zeros((600, 800)), PrepareSettings(polarity="dark", width_px=width_px))
    rows, columns = prepared.images[0].shape
    t = np.linspace(0, 1, int(np.hypot(rows, columns)) + 1)
    corners = [((0.1, 0.1), (0.9, 0.9)), ((0.1, 0.83), (0.9, 0.22)), ((0.53, 0.05), (0.47, 0.95))]
    ends = [np.array(pair) * (columns - 1, rows - 1) for pair in corners]
    drawn = [TracedLine(points_px=a + t[:, None] * (b - a), half_width_px=np.full(len(t), 2.0), confidence=0.9) for a, b in ends]
    lines = lines_in_micrograph([drawn], prepared)
    assert len(find_crossings([line.points_px for line in lines])) == 3
    assert all(np.linalg.norm(np.diff(line.points_px, axis=0), axis=1).max() < 1.1 for line in lines)


def test_what_runs_under_ink_is_cut_out():
    image, _ = written_on(micrograph(5.0, noise=0.01), 255)
    prepared = prepare(image, PrepareSettings(polarity="dark"))
    under = TracedLine(points_px=np.column_stack([np.arange(22.0, 98), np.full(76, 228.0)]), half_width_px=np.full(76, 2.0), confidence=0.9)
    through = TracedLine(points_px=np.column_stack([np.full(150, 60.0), np.arange(100.0, 250)]), half_width_px=np.full(150, 2.0), confidence=0.9)
    found = lines_in_micrograph([[under, through]], prepared)
    assert found and all("cut_by_ink" in f.flags for f in found)
    assert not any(prepared.covered[np.rint(f.points_px[:, 1]).astype(int), np.rint(f.points_px[:, 0]).astype(int)].any() for f in found)


def test_lines_on_the_networks_own_map_of_text_are_dropped():
    zero = np.zeros((32, 32), np.float32)
    distractors = np.zeros((4, 32, 32), np.float32)
    distractors[3, 10:14] = 0.9
    maps = Maps(mask=zero, centreline=zero, half_width_px=zero, ends=zero, lift=np.zeros((16, 32, 32), np.float32), ignore=zero > 1,
                distractors=distractors)  # fmt: skip

    def line(y):
        return TracedLine(points_px=np.column_stack([np.arange(5.0, 60), np.full(55, y)]), half_width_px=np.full(55, 2.0), confidence=0.9)

    assert is_writing(line(24.0), maps) and not is_writing(line(50.0), maps)


@pytest.mark.parametrize(("values", "message"), [
    ({"polarity": "grey"}, "polarity must be one of auto, dark, bright, both, got 'grey'"),
    ({"width_px": "wide"}, "width must be auto or a number of px, got 'wide'"),
    ({"width_px": 0.1}, r"width must lie in \[0.5, 80\] px, got 0.1"),
    ({"ink": 1}, "ink must be true or false, got 1"),
])  # fmt: skip
def test_what_a_person_says_is_checked(values, message):
    with pytest.raises(InputError, match=message):
        PrepareSettings(**values)
