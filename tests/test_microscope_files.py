"""Files of microscopes: pixels and pixel sizes as they were written."""

import json
import struct

import numpy as np
import pytest
import tifffile

from physics.errors import InputError
from train.io import find_images, read_frames
from train.microscope_files import plausible_pixel_nm

rng = np.random.default_rng(0)
COUNTS = rng.integers(0, 4000, (24, 40)).astype(np.int16)


def write_mrc(path, frames, pixel_angstrom, mode=1):
    """MRC2014 (Cheng et al. 2015): 1024 bytes of header, cell lengths in Å, then the planes."""
    planes, rows, columns = frames.shape
    header = bytearray(1024)
    struct.pack_into("<10i", header, 0, columns, rows, planes, mode, 0, 0, 0, columns, rows, planes)
    struct.pack_into("<6f", header, 40, columns * pixel_angstrom, rows * pixel_angstrom, planes * pixel_angstrom, 90, 90, 90)
    struct.pack_into("<3i", header, 64, 1, 2, 3)
    struct.pack_into("<3f", header, 76, frames.min(), frames.max(), frames.mean())
    header[208:216] = b"MAP \x44\x44\x00\x00"
    path.write_bytes(bytes(header) + frames.astype("<i2" if mode == 1 else "<f4").tobytes())


def signal(data, scale, units):
    """What RosettaSciIO writes: the last two axes are those of the frame."""
    names = ["frame", "y", "x"][-data.ndim :]
    axes = [
        {"name": n, "size": s, "scale": 1.0 if n == "frame" else scale, "offset": 0.0, "units": "" if n == "frame" else units,
         "navigate": n == "frame", "index_in_array": k, "_type": "UniformDataAxis", "is_binned": False}
        for k, (n, s) in enumerate(zip(names, data.shape))
    ]  # fmt: skip
    return {"data": data, "axes": axes, "metadata": {"General": {"title": "t"}, "Signal": {"signal_type": ""}}, "original_metadata": {},
            "learning_results": {}, "attributes": {"_lazy": False}, "package_info": {"package": "gdotb", "package_version": "0"}, "models": {}, "tmp_parameters": {}}  # fmt: skip


def test_mrc_keeps_counts_and_angstroms_become_nm(tmp_path):
    write_mrc(tmp_path / "a.mrc", COUNTS[None], pixel_angstrom=8.5)
    (frame,) = read_frames(tmp_path / "a.mrc")
    assert frame.name == "a" and np.array_equal(frame.image, COUNTS)
    assert frame.pixel_nm == pytest.approx(0.85)  # 10 Å are 1 nm


def test_an_mrc_stack_comes_frame_by_frame(tmp_path):
    frames = np.stack([COUNTS, COUNTS[::-1], COUNTS + 5])
    write_mrc(tmp_path / "s.mrc", frames, pixel_angstrom=10.0)
    found = list(read_frames(tmp_path / "s.mrc"))
    assert [f.name for f in found] == ["s_0000", "s_0001", "s_0002"]
    assert all(np.array_equal(f.image, expected) for f, expected in zip(found, frames))


@pytest.mark.parametrize("suffix", ["hspy", "emd"])
def test_hdf_formats_round_trip(tmp_path, suffix):
    from importlib import import_module

    path = tmp_path / f"a.{suffix}"
    import_module(f"rsciio.{suffix}").file_writer(str(path), signal(COUNTS.astype(np.float32), 1.7, "nm"))
    (frame,) = read_frames(path)
    assert np.array_equal(frame.image, COUNTS) and frame.pixel_nm == pytest.approx(1.7)


def test_a_diffraction_pattern_is_refused(tmp_path):
    from rsciio.hspy import file_writer

    file_writer(str(tmp_path / "d.hspy"), signal(COUNTS.astype(np.float32), 0.1, "1/nm"))
    with pytest.raises(InputError, match="d.hspy must hold a micrograph, got an image whose axes are in 1/nm"):
        next(read_frames(tmp_path / "d.hspy"))


def test_tif_of_imagej_gatan_and_ome_say_their_scale(tmp_path):
    per_micron = 1e3 / 2.5
    tifffile.imwrite(tmp_path / "imagej.tif", COUNTS, imagej=True, resolution=(per_micron, per_micron), metadata={"unit": "um"})
    tifffile.imwrite(tmp_path / "ome.ome.tif", COUNTS, metadata={"axes": "YX", "PhysicalSizeX": 2.5, "PhysicalSizeXUnit": "nm"})
    # Gatan's private tags: 65003 unit, 65009 scale of x.
    tags = [(65003, 2, 0, "nm", True), (65009, 12, 1, 2.5, True)]
    tifffile.imwrite(tmp_path / "gatan.tif", COUNTS, extratags=tags)
    escaped = {"unit": "\\u00B5m"}  # as ImageJ writes the sign for micro
    tifffile.imwrite(tmp_path / "escaped.tif", COUNTS, imagej=True, resolution=(per_micron, per_micron), metadata=escaped)
    for name in ("imagej.tif", "escaped.tif", "ome.ome.tif", "gatan.tif"):
        (frame,) = read_frames(tmp_path / name)
        assert frame.pixel_nm == pytest.approx(2.5, rel=1e-4), name
        assert np.array_equal(frame.image, COUNTS)


def test_a_printers_resolution_is_no_pixel_size(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", COUNTS, resolution=(300, 300), resolutionunit="INCH")  # 85 um a pixel
    assert next(read_frames(tmp_path / "a.tif")).pixel_nm is None


@pytest.mark.parametrize(("size", "unit", "nm"), [(1.2, "nm", 1.2), (3, "Å", 0.3), (2e-9, "m", 2.0), (0.004, "µm", 4.0), (1, "", None),
                                                  (0, "nm", None), ("x", "nm", None), (1, "mm", None), (float("nan"), "nm", None)])  # fmt: skip
def test_units_become_nm_or_nothing(size, unit, nm):
    assert plausible_pixel_nm(size, unit) == (None if nm is None else pytest.approx(nm))


@pytest.mark.parametrize("name", ["a.dm3", "a.dm4", "a.mrc", "a.emd", "a.ser", "a.hspy"])
def test_a_broken_file_is_refused_in_one_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind" * 3)
    with pytest.raises(InputError, match=f"{name} must be a readable") as refusal:
        next(read_frames(tmp_path / name))
    assert "\n" not in str(refusal.value)


def test_masks_beside_images_are_no_images(tmp_path):
    for name in ("a.tif", "a_mask.tif", "b_mask.tif"):
        tifffile.imwrite(tmp_path / name, COUNTS)
    assert [p.name for p in find_images(str(tmp_path))] == ["a.tif", "b_mask.tif"]


def test_a_video_comes_frame_by_frame_or_says_what_it_needs(tmp_path):
    path = tmp_path / "v.mp4"
    try:
        import imageio_ffmpeg
    except ImportError:
        path.write_bytes(b"")
        with pytest.raises(InputError, match="pip install imageio-ffmpeg"):
            next(read_frames(path))
        return
    writer = imageio_ffmpeg.write_frames(str(path), (64, 48), pix_fmt_in="gray", macro_block_size=16)
    writer.send(None)
    levels = (40, 120, 200)
    for level in levels:
        frame = np.full((48, 64), level, np.uint8)
        frame[:, ::8] = 10
        writer.send(frame.tobytes())
    writer.close()
    found = list(read_frames(path))
    assert [f.name for f in found] == ["v_0000", "v_0001", "v_0002"]
    assert [float(np.median(f.image)) for f in found] == pytest.approx(levels, abs=12)  # a lossy codec


def write_ser(path, frames, pixel_m):
    """A TIA series of frames (N, Y, X) uint16 (layout: Boothroyd, "The TIA (.ser) file format", version 0x210)."""
    count, rows, columns = frames.shape
    head = struct.pack("<3h", 0x4949, 0x0197, 0x0210) + struct.pack("<6i", 0x4122, 0x4152, count, count, 0, 1)
    dimension = struct.pack("<iddi", count, 0.0, 1.0, 0) + struct.pack("<i", 6) + b"Number" + struct.pack("<i", 0)
    table = len(head) + len(dimension)
    head = head[:-8] + struct.pack("<2i", table, 1)
    element = struct.pack("<ddiddihii", 0.0, pixel_m, 0, 0.0, pixel_m, 0, 2, columns, rows)
    size, first = len(element) + rows * columns * 2, table + 8 * count
    offsets = [first + n * (size + 8) for n in range(count)]
    body = b"".join(element + frame.astype("<u2").tobytes() + struct.pack("<hhi", 0x4152, 0, n) for n, frame in enumerate(frames))
    path.write_bytes(head + dimension + struct.pack(f"<{2 * count}i", *offsets, *(o + size for o in offsets)) + body)


def write_velox(path, frames, pixel_m, spectra=False):
    """The parts of a Velox EMD that make an image: Data/Image/ID with Data (Y, X, N) and a column of JSON a frame."""
    import h5py

    about = {
        "BinaryResult": {"PixelSize": {"width": str(pixel_m), "height": str(pixel_m)}, "PixelUnitX": "m", "PixelUnitY": "m", "Detector": "Ceta",
                         "Offset": {"x": "0", "y": "0"}},
        "Scan": {"FrameTime": "1"}, "Core": {}, "Instrument": {}, "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "0"}}, "Optics": {}, "Stage": {},
        "Detectors": {}, "Sample": {},
    }  # fmt: skip
    text = np.zeros((8000, len(frames)), dtype=np.uint8)
    encoded = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    text[: len(encoded)] = encoded[:, None]
    with h5py.File(path, "w") as file:
        file["Version"] = np.array([json.dumps({"format": "Velox", "version": "6"}).encode()])
        group = file.create_group("Data/Image/0123456789abcdef0123456789abcdef")
        group.create_dataset("Data", data=np.moveaxis(frames, 0, -1), chunks=(*frames.shape[1:], 1))
        group["Metadata"] = text
        group["FrameLookupTable"] = np.zeros((len(frames), 1), dtype=np.int64)
        if spectra:
            file.create_group("Data/SpectrumImage")
            file.create_group("Presentation/Displays/ImageDisplay")


@pytest.mark.parametrize(("suffix", "write"), [("ser", write_ser), ("emd", write_velox)])
@pytest.mark.parametrize("count", [1, 3])
def test_series_of_tia_and_velox_keep_counts_and_metres_become_nm(tmp_path, suffix, write, count):
    frames = rng.integers(0, 60000, (count, 24, 40)).astype(np.uint16)
    path = tmp_path / f"a.{suffix}"
    write(path, frames, 1.25e-9)
    found = list(read_frames(path))
    assert len(found) == count and all(frame.pixel_nm == pytest.approx(1.25) for frame in found)
    for frame, pixels in zip(found, frames):
        expected = pixels[::-1] if suffix == "ser" else pixels  # TIA writes the lowest row first
        assert np.array_equal(frame.image, expected)


def test_a_velox_file_with_spectra_gives_its_images(tmp_path):
    frames = rng.integers(0, 60000, (1, 24, 40)).astype(np.uint16)
    write_velox(tmp_path / "eds.emd", frames, 1.25e-9, spectra=True)
    (frame,) = read_frames(tmp_path / "eds.emd")
    assert np.array_equal(frame.image, frames[0])


def test_a_series_of_diffraction_patterns_is_refused(tmp_path):
    # TIA writes 1/m into the field of m: 0.1 per nm here, as files of Tecnai microscopes have it.
    write_ser(tmp_path / "d.ser", np.stack([COUNTS, COUNTS]).astype(np.uint16), 1e8)
    with pytest.raises(InputError, match="d.ser must hold a micrograph, got an image whose axes are in 1/m: a diffraction pattern"):
        next(read_frames(tmp_path / "d.ser"))


DM_KINDS = {np.dtype("<u2"): (4, 10), np.dtype("<i2"): (2, 1), np.dtype("<f4"): (6, 2)}  # type of a tag's elements, DataType of an image
DM_COLOURS = (3, 23)  # four bytes a pixel


def write_dm(path, pixels, scale, units):
    """A DigitalMicrograph file of version 3 or 4 by its suffix: a tree of tags, numbers of which are big-endian, data little.

    `pixels` are (Y, X), (N, Y, X), or (Y, X, 4) uint8: blue, green, red, alpha.
    """
    four = path.suffix == ".dm4"
    whole = ">q" if four else ">i"

    def tag(name, body, kind):
        head = struct.pack(">bh", kind, len(name)) + name.encode()
        return head + (struct.pack(">q", len(body)) if four else b"") + body

    def value(name, types, data):
        return tag(name, b"%%%%" + struct.pack(whole, len(types)) + b"".join(struct.pack(whole, t) for t in types) + data, 21)

    def number(name, n):
        return value(name, [5], struct.pack("<I", n))

    def real(name, x):
        return value(name, [6], struct.pack("<f", x))

    def text(name, t):
        return value(name, [20, 4, len(t)], t.encode("utf-16-le"))

    def group(name, *tags):
        return tag(name, struct.pack(">bb", 0, 0) + struct.pack(whole, len(tags)) + b"".join(tags), 20)

    colours = pixels.dtype == np.uint8
    element, data_type = DM_COLOURS if colours else DM_KINDS[pixels.dtype]
    shape = pixels.shape[:2] if colours else pixels.shape
    axes = [(scale, units)] * 2 + [(1.0, "")] * (len(shape) - 2)
    image = group(
        "ImageData",
        group("Calibrations",
              group("Brightness", real("Origin", 0.0), real("Scale", 1.0), text("Units", "")),
              group("Dimension", *(group("", real("Origin", 0.0), real("Scale", s), text("Units", u)) for s, u in axes))),
        value("Data", [20, element, int(np.prod(shape))], pixels.tobytes()),
        number("DataType", data_type),
        group("Dimensions", *(number("", n) for n in shape[::-1])),
        number("PixelDepth", 4 if colours else pixels.itemsize),
    )  # fmt: skip
    tags = group("ImageList", group("", image, group("ImageTags"), text("Name", "t")))
    root = struct.pack(">bb", 0, 0) + struct.pack(whole, 1) + tags
    path.write_bytes(struct.pack(">i", 4 if four else 3) + struct.pack(whole, len(root)) + struct.pack(">i", 1) + root + bytes(8))


@pytest.mark.parametrize("suffix", ["dm3", "dm4"])
@pytest.mark.parametrize(("scale", "units", "nm"), [(1.25, "nm", 1.25), (0.002, "\u00b5m", 2.0), (1.0, "", None)])
@pytest.mark.parametrize("kind", ["<u2", "<f4"])
def test_digital_micrograph_keeps_counts_and_says_its_scale(tmp_path, suffix, scale, units, nm, kind):
    path = tmp_path / f"a.{suffix}"
    write_dm(path, COUNTS.astype(kind), scale, units)
    (frame,) = read_frames(path)
    assert np.array_equal(frame.image, COUNTS) and frame.pixel_nm == (None if nm is None else pytest.approx(nm))


@pytest.mark.parametrize("suffix", ["dm3", "dm4"])
def test_digital_micrograph_stacks_and_colours(tmp_path, suffix):
    frames = np.stack([COUNTS, COUNTS[::-1], COUNTS + 5])
    write_dm(tmp_path / f"s.{suffix}", frames, 1.0, "nm")
    found = list(read_frames(tmp_path / f"s.{suffix}"))
    assert len(found) == 3 and all(np.array_equal(f.image, expected) for f, expected in zip(found, frames))
    grey = (COUNTS // 16).astype(np.uint8)
    write_dm(tmp_path / f"c.{suffix}", np.stack([grey, grey, grey, np.zeros_like(grey)], axis=-1), 1.0, "nm")
    (frame,) = read_frames(tmp_path / f"c.{suffix}")
    assert frame.image == pytest.approx(grey.astype(float), abs=1e-3)


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "tiff_deflate", "packbits"])
def test_compressed_tif_is_read(tmp_path, compression):
    from PIL import Image

    smooth = np.add.outer(np.arange(32), np.arange(48)).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.tif", compression=compression)
    (frame,) = read_frames(tmp_path / "a.tif")
    assert np.abs(frame.image - smooth).max() <= (3 if compression == "jpeg" else 0)
