"""Micrographs from files: a file, a folder, a glob, or `[a,b]`; pictures, stacks, microscope formats, videos.

Axes: (Y, X) rows and columns, N frames of a stack, S colour samples.
"""

from __future__ import annotations

import glob
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from physics.errors import InputError, require
from train.microscope_files import MICROSCOPE_SUFFIXES, microscope_frames, tiff_pixel_nm
from train.video import VIDEO_SUFFIXES, video_frames

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
SUFFIXES = (*PICTURE_SUFFIXES, *MICROSCOPE_SUFFIXES, *VIDEO_SUFFIXES)
MASK_ENDING = "_mask"  # NAME_mask.png beside NAME.png is an annotation, not a micrograph
SMALLEST_PX = 16  # nothing narrower can hold a line and its surroundings
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, for micrographs saved as colour
TINT_LEVELS, MOST_TINTED = 0.16, 0.25  # of the brightest value: what is tinted more was drawn on a grey image; unless much of it is


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One image `image` (Y, X) float32 of the file `path`; `name` is the file's stem, with `_0003` in a stack.

    `pixel_nm` is what the file says, None where it says nothing. `drawn` (Y, X) bool marks coloured pixels of an
    otherwise grey picture: somebody's arrows and letters. None where there are none.
    """

    image: np.ndarray
    path: Path
    name: str
    pixel_nm: float | None = None
    drawn: np.ndarray | None = None


def find_images(images: str) -> list[Path]:
    """The files that `images` names: a file, the image files of a folder, a glob, or a list `[a,b]` of such.

    A path that exists is that path, whatever characters it holds. In a folder, NAME_mask.* beside NAME.* is left out.
    Raises InputError where nothing is found and where two files would give results of one name.
    """
    paths = list(dict.fromkeys(_find(images)))
    stems: dict[str, Path] = {}
    for path in paths:
        other = stems.setdefault(path.stem, path)
        require(other == path, "images", "have different names before the suffix", f"{other} and {path}",
                "give them to two runs")  # fmt: skip
    return paths


def _find(images: str) -> list[Path]:
    path = Path(images)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        stems = {p.stem for p in found}
        found = [p for p in found if not (p.stem.endswith(MASK_ENDING) and p.stem.removesuffix(MASK_ENDING) in stems)]
        require(bool(found), "images", f"name a folder that holds {_known()} files", path)
        return found
    if path.exists():
        require(path.suffix.lower() in SUFFIXES, "images", f"name {_known()} files", path)
        return [path]
    if images.startswith("[") and images.endswith("]"):
        parts = [part.strip().strip("'\"") for part in images[1:-1].split(",")]
        return [found for part in parts if part for found in _find(part)]
    found = [Path(p) for p in sorted(glob.glob(images)) if Path(p).suffix.lower() in SUFFIXES]
    require(bool(found), "images", "name a file, a folder, a glob or a list [a,b] of existing images", images)
    return found


def _known() -> str:
    return ", ".join(suffix[1:] for suffix in SUFFIXES)


def read_frames(path: str | Path) -> Iterator[Frame]:
    """The frames of an image file, one by one; those of a stack or video are named `<stem>_0000` and on.

    Raises InputError for a file that cannot be decoded, and for images under 16 px or without finite contrast.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        yield from _tiff_frames(path)
    elif suffix in MICROSCOPE_SUFFIXES:
        for n, count, pixels, pixel_nm in microscope_frames(path):
            yield _frame(pixels, path, n, count, pixel_nm)
    elif suffix in VIDEO_SUFFIXES:
        for n, pixels in enumerate(video_frames(path)):
            yield _frame(pixels, path, n, 2, None)  # a video of one frame is a video
    else:
        yield _picture(path)


def readable(paths: Sequence[Path]) -> tuple[dict[Path, list[tuple[str, float | None]]], dict[str, str]]:
    """Of files that can be read to the end the names and pixel sizes in nm of their frames; why the others cannot, by file name.

    Raises InputError where none can.
    """
    frames: dict[Path, list[tuple[str, float | None]]] = {}
    refused: dict[str, str] = {}
    first: InputError | None = None
    for path in paths:
        try:
            frames[path] = [(frame.name, frame.pixel_nm) for frame in read_frames(path)]
        except InputError as error:
            refused[path.name] = str(error)
            first = first or error
    if not frames and first is not None:
        raise first
    return frames, refused


def _picture(path: Path) -> Frame:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                if picture.mode in ("P", "PA", "CMYK", "YCbCr"):
                    picture = picture.convert("RGB")
                pixels = np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} must be a readable image, got {_reason(error)}") from None
    return _frame(pixels, path, 0, 1, None)


def _tiff_frames(path: Path) -> Iterator[Frame]:
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            pixel_nm = tiff_pixel_nm(file)
            colour = series.axes.endswith("S") and series.shape[-1] in (3, 4)
            count = int(np.prod(series.shape[: -3 if colour else -2], dtype=int))
            whole = None if len(series.pages) == count else series.asarray().reshape(count, *series.shape[-3 if colour else -2 :])
            for n in range(count):
                # A page at a time: a stack may be larger than memory.
                yield _frame(series.pages[n].asarray() if whole is None else whole[n], path, n, count, pixel_nm)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - tifffile raises whatever its decoder meets in a broken file
        raise InputError(f"{path} must be a readable image, got {_reason(error)}") from None


def _frame(pixels: np.ndarray, path: Path, n: int, count: int, pixel_nm: float | None) -> Frame:
    name = path.stem if count == 1 else f"{path.stem}_{n:04d}"
    image, drawn = _grey(pixels, path)
    return Frame(image=_checked(image, path), path=path, name=name, pixel_nm=pixel_nm, drawn=drawn)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).replace("\\", "/")
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__


def _grey(pixels: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """(Y, X) float32 of (Y, X) or (Y, X, S) pixels, and which of them are tinted; transparency is dropped, equal
    channels stay exact."""
    pixels = np.squeeze(pixels) if pixels.ndim > 3 else pixels
    if pixels.ndim == 3 and pixels.shape[-1] in (1, 2):
        pixels = pixels[..., 0]
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4):
        colour = pixels[..., :3].astype(np.float32)
        spread = colour.max(axis=-1) - colour.min(axis=-1)
        if not spread.any():
            return colour[..., 0], None
        tinted = spread > TINT_LEVELS * max(float(colour.max()), 1e-9)
        drawn = tinted if 0 < tinted.mean() < MOST_TINTED else None
        return colour @ np.array(LUMINANCE, dtype=np.float32), drawn
    require(pixels.ndim == 2, str(path), "be an image of rows and columns", f"shape {pixels.shape}")
    require(pixels.dtype.kind in "biuf", str(path), "hold real numbers", pixels.dtype)
    return pixels.astype(np.float32), None


def _checked(image: np.ndarray, path: Path) -> np.ndarray:
    require(min(image.shape) >= SMALLEST_PX, str(path), f"be at least {SMALLEST_PX} px wide and high",
            f"{image.shape[1]} x {image.shape[0]} px")  # fmt: skip
    finite = np.isfinite(image)
    require(bool(finite.mean() > 0.5), str(path), "hold finite numbers", "mostly nan or infinity")
    if not finite.all():
        image = np.where(finite, image, np.median(image[finite])).astype(np.float32)
    require(float(np.ptp(image)) > 0, str(path), "have contrast", f"the value {image.flat[0]:g} everywhere")
    return image
