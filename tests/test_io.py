"""Image files in, frames out."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from physics.errors import InputError
from train.io import find_images, read_frames


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 255, (24, 40)).astype(np.uint8)


def one(path):
    (frame,) = read_frames(path)
    return frame


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "A.PNG"])
def test_eight_bits_are_read_exactly(tmp_path, pixels, name):
    Image.fromarray(pixels).save(tmp_path / name)
    frame = one(tmp_path / name)
    assert np.array_equal(frame.image, pixels) and frame.image.dtype == np.float32 and frame.name == name[:-4]


def test_sixteen_and_thirty_two_bits_keep_their_counts(tmp_path, pixels):
    counts = pixels.astype(np.uint16) * 200 + 7
    Image.fromarray(counts).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", counts)
    tifffile.imwrite(tmp_path / "c.tif", counts.astype(np.float32) / 3)
    assert np.array_equal(one(tmp_path / "a.png").image, counts)
    assert np.array_equal(one(tmp_path / "b.tif").image, counts)
    assert np.array_equal(one(tmp_path / "c.tif").image, counts.astype(np.float32) / 3)


def test_jpeg_is_read(tmp_path, pixels):
    Image.fromarray(np.repeat(np.repeat(pixels, 4, 0), 4, 1)).save(tmp_path / "a.jpg", quality=95)
    assert one(tmp_path / "a.jpg").image.shape == (96, 160)


def test_grey_saved_as_colour_stays_exact(tmp_path, pixels):
    Image.fromarray(np.stack([pixels] * 3, -1)).save(tmp_path / "a.png")
    Image.fromarray(np.stack([pixels] * 3 + [np.full_like(pixels, 255)], -1)).save(tmp_path / "b.png")
    tifffile.imwrite(tmp_path / "c.tif", np.stack([pixels] * 3, -1), photometric="rgb")
    for name in ("a.png", "b.png", "c.tif"):
        assert np.array_equal(one(tmp_path / name).image, pixels), name


def test_frames_of_a_stack_are_numbered(tmp_path, pixels):
    stack = np.stack([pixels, pixels[::-1], pixels[:, ::-1]])
    tifffile.imwrite(tmp_path / "video.tif", stack)
    frames = list(read_frames(tmp_path / "video.tif"))
    assert [f.name for f in frames] == ["video_0000", "video_0001", "video_0002"]
    assert all(np.array_equal(f.image, s) for f, s in zip(frames, stack))


@pytest.mark.parametrize("name", ["#1.png", "a=b.png", "frame (1).png", "é.png", "with space.png", "[a,b].png", "x*y.png"])
def test_any_legal_name_is_a_path(tmp_path, pixels, name):
    Image.fromarray(pixels).save(tmp_path / name)
    assert find_images(str(tmp_path / name)) == [tmp_path / name]


def test_a_folder_a_glob_and_a_list(tmp_path, pixels):
    for name in ("b.png", "a.png", "c.tif"):
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / ".hidden.png").write_bytes(b"")
    names = [p.name for p in find_images(str(tmp_path))]
    assert names == ["a.png", "b.png", "c.tif"]
    assert [p.name for p in find_images(str(tmp_path / "*.png"))] == ["a.png", "b.png"]
    assert [p.name for p in find_images(f"[{tmp_path}/c.tif, {tmp_path}/a.png]")] == ["c.tif", "a.png"]


def test_two_inputs_of_one_stem_are_refused(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="images must have different names"):
        find_images(str(tmp_path))


def test_what_is_not_there_is_refused(tmp_path):
    for images in (str(tmp_path), str(tmp_path / "no.png"), str(tmp_path / "*.png"), f"[{tmp_path}/no.png]"):
        with pytest.raises(InputError, match="images must name"):
            find_images(images)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_broken_file_is_refused_in_one_line(tmp_path, pixels, name):
    big = np.kron(pixels, np.ones((4, 4), dtype=np.uint8))
    Image.fromarray(big).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for content in (b"\x89PNG not really", whole[: len(whole) // 2], b""):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as error:
            list(read_frames(tmp_path / name))
        assert name in str(error.value) and "\n" not in str(error.value)


def test_images_without_room_or_contrast_are_refused(tmp_path, pixels):
    Image.fromarray(pixels[:3, :3]).save(tmp_path / "small.png")
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(tmp_path / "flat.png")
    tifffile.imwrite(tmp_path / "nan.tif", np.full((32, 32), np.nan, np.float32))
    for name, rule in (("small.png", "at least 16 px"), ("flat.png", "contrast"), ("nan.tif", "finite")):
        with pytest.raises(InputError, match=rule):
            one(tmp_path / name)


def test_single_dead_pixels_do_not_stop_a_frame(tmp_path, pixels):
    values = pixels.astype(np.float32)
    values[3, 4] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert np.isfinite(one(tmp_path / "a.tif").image).all()
