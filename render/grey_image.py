"""Reading grey-level images from files."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from physics.errors import InputError, require

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
EIGHT_BIT_WHITE = 255.0
MOVED_TO = "GDOTB_BACKGROUNDS"
WHITE_PERCENT = 99.9  # of the frame, that is white in files of more than 8 bits


def image_files(folder: Path) -> list[Path]:
    """The image files in a folder and below it, sorted. Raises InputError where there is none."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    require(bool(files), str(folder), f"hold {', '.join(s[1:] for s in SUFFIXES)} files", "none")
    return files


def read_grey(file: Path) -> np.ndarray:
    """The grey levels (Y, X) float64 of an image file, as they stand in it. Raises InputError for what is no image."""
    try:
        picture = Image.open(file)
        grey = picture.convert("L") if picture.mode in ("RGB", "RGBA", "P", "LA", "1", "CMYK") else picture
        return np.asarray(grey).astype(np.float64)
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{file.name} must be an image that can be read, got: {' '.join(str(error).split())}") from None


def grey_image(path: str, sha256: str) -> np.ndarray:
    """The picture (Y, X) in a file, white 1, after a check that its bytes are those named.

    The path is one from the working directory. Where it leads to nothing, as after a move, the file is looked for in the folder
    that the environment variable GDOTB_BACKGROUNDS names, at the longest end of the path that is there: `sha256`
    says that it is the same. Raises InputError for a file that cannot be read or holds other bytes.
    """
    file = _found(Path(path))
    try:
        return _as_written(str(file.absolute()), path, sha256, file.stat().st_mtime_ns)
    except OSError as error:
        raise InputError(f"strokes.backdrops.file must be a readable image, got {path}: {error.strerror}; "
                         f"run where it lies, or let {MOVED_TO} name its folder") from None  # fmt: skip


def _found(path: Path) -> Path:
    moved_to = os.environ.get(MOVED_TO)
    if moved_to and not path.exists():
        ends = (Path(moved_to, *path.parts[k:]) for k in range(len(path.parts)) if ".." not in path.parts[k:] and path.parts[k] != path.anchor)
        return next((end for end in ends if end.is_file()), path)
    return path


@lru_cache(maxsize=16)
def _as_written(file: str, path: str, sha256: str, written_ns: int) -> np.ndarray:
    found = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    require(found == sha256, "strokes.backdrops.file", f"hold the bytes of SHA-256 {sha256[:12]}…", f"{path} with {found[:12]}…")
    grey = read_grey(Path(file))
    white = EIGHT_BIT_WHITE if grey.max() <= EIGHT_BIT_WHITE else max(float(np.percentile(grey, WHITE_PERCENT)), 1e-9)
    grey = np.maximum(grey / white, 0.0)
    grey.setflags(write=False)
    return grey
