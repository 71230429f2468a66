"""Files of microscopes through RosettaSciIO: dm3, dm4, mrc, emd, ser, hspy; and the pixel size that a file states.

Axes: (Y, X) rows and columns, N frames.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from physics.errors import InputError, require

READERS = {
    ".dm3": "digitalmicrograph", ".dm4": "digitalmicrograph", ".mrc": "mrc", ".mrcs": "mrc", ".emd": "emd", ".ser": "tia", ".hspy": "hspy",
}  # fmt: skip
MICROSCOPE_SUFFIXES = tuple(READERS)
NM_PER = {
    "nm": 1.0, "nanometer": 1.0, "nanometre": 1.0, "å": 0.1, "angstrom": 0.1, "a": 0.1, "pm": 1e-3, "µm": 1e3, "μm": 1e3, "um": 1e3,
    "micron": 1e3, "microns": 1e3, "mm": 1e6, "cm": 1e7, "m": 1e9, "inch": 2.54e7,
}  # fmt: skip
# What a transmission micrograph may have: printers' resolutions (72 dpi is 0.35 mm) fall outside.
FINEST_NM, COARSEST_NM = 1e-4, 1e3
# TIA writes 1/m where it writes m of an image: no pixel of a metre is one.
METRE_NM = 1e9


def plausible_pixel_nm(size: Any, unit: Any) -> float | None:
    """A pixel's size in nm, None where number or unit do not say one that a micrograph may have."""
    factor = NM_PER.get(str(unit).strip().lower())
    try:
        pixel_nm = float(size) * factor if factor else math.nan
    except (TypeError, ValueError):
        return None
    return pixel_nm if FINEST_NM <= pixel_nm <= COARSEST_NM else None


def microscope_frames(path: Path) -> Iterator[tuple[int, int, np.ndarray, float | None]]:
    """The frames of a file as (number, how many, pixels (Y, X) or (Y, X, S), nm a pixel or None).

    Of several images in a file the largest stack counts: the others are thumbnails and maps of detectors. Raises
    InputError for what cannot be read, holds no image, or holds diffraction patterns.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            signals = _signals(path)
            images = [s for s in signals if _is_image(s)]
            if images:
                signal = max(images, key=lambda s: int(np.prod(s["data"].shape)))
                pixels, (y, x) = _frames_first(signal)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - a reader of binary files raises whatever a broken one leads it to
        text = " ".join(str(error).split()).replace("\\", "/")
        raise InputError(f"{path} must be a readable {path.suffix[1:]} file, got {type(error).__name__}: {text[:120]}") from None
    require(bool(images), str(path), "hold an image", f"{len(signals)} signals without rows and columns")
    units = str(x.get("units"))
    reciprocal = "/" in units or "rad" in units
    if float(x.get("scale", 0)) * NM_PER.get(units.strip().lower(), 0.0) > METRE_NM:
        reciprocal, units = True, "1/m"
    require(not reciprocal, str(path), "hold a micrograph", f"an image whose axes are in {units}: a diffraction pattern")
    pixel_nm = plausible_pixel_nm(x.get("scale"), units)
    other_nm = plausible_pixel_nm(y.get("scale"), y.get("units"))
    square = pixel_nm is None or other_nm is None or abs(pixel_nm / other_nm - 1) < 0.02
    require(square, str(path), "have square pixels", f"{pixel_nm} x {other_nm} nm")
    for n in range(len(pixels)):
        yield n, len(pixels), _plain(np.asarray(pixels[n])), pixel_nm


def _signals(path: Path) -> list[dict[str, Any]]:
    """What RosettaSciIO finds in a file, its pixels unread where that is possible."""
    suffix = path.suffix.lower()
    reader = import_module(f"rsciio.{READERS[suffix]}").file_reader
    # A Velox file may hold spectra beside its images, which need packages and memory that images do not.
    options = {"select_type": "images"} if suffix == ".emd" else {}
    try:
        return reader(str(path), lazy=True, **options)
    except ValueError as error:
        if "RGB" not in str(error):  # DigitalMicrograph's colours can be read at once only
            raise
        return reader(str(path), **options)


def _is_image(signal: Mapping[str, Any]) -> bool:
    return len(_image_axes(signal)) == 2 and signal["data"].dtype.kind in "biufV"


def _image_axes(signal: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The two axes of a frame: those that are not navigated, or the last two of a stack that is navigated throughout."""
    axes = [axis for axis in signal["axes"] if axis.get("size", 1) > 1]
    chosen = [axis for axis in axes if not axis.get("navigate", False)]
    return chosen if len(chosen) == 2 else axes[-2:] if not chosen else []


def _frames_first(signal: Mapping[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
    """Pixels (N, Y, X), not yet loaded, and the axes of Y and X."""
    axes = list(signal["axes"])
    frame = _image_axes(signal)
    places = [k for k, axis in enumerate(axes) if any(axis is a for a in frame)]
    pixels = signal["data"].transpose([k for k in range(len(axes)) if k not in places] + places)
    return pixels.reshape(-1, *pixels.shape[-2:]), frame


def _plain(pixels: np.ndarray) -> np.ndarray:
    """RGB records as a last axis of colours."""
    return pixels if pixels.dtype.names is None else np.stack([pixels[name] for name in pixels.dtype.names[:3]], axis=-1)


def tiff_pixel_nm(file: Any) -> float | None:
    """What an open `tifffile.TiffFile` says of its scale: FEI, Olympus SIS, TVIPS, OME, DigitalMicrograph and ImageJ tags."""
    for read in (_of_fei, _of_sis, _of_tvips, _of_ome, _of_digital_micrograph, _of_resolution):
        try:
            found = read(file)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError):
            continue
        if found is not None:
            return found
    return None


def _of_fei(file: Any) -> float | None:
    return plausible_pixel_nm(file.fei_metadata["Scan"]["PixelWidth"], "m")


def _of_sis(file: Any) -> float | None:
    return plausible_pixel_nm(file.sis_metadata["pixelsizex"], "m")


def _of_tvips(file: Any) -> float | None:
    return plausible_pixel_nm(file.tvips_metadata["PixelSizeX"], "nm")


def _of_ome(file: Any) -> float | None:
    from xml.etree import ElementTree

    if not file.is_ome:
        return None
    pixels = next(e for e in ElementTree.fromstring(file.ome_metadata).iter() if e.tag.endswith("Pixels"))
    return plausible_pixel_nm(pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit", "µm"))


def _of_digital_micrograph(file: Any) -> float | None:
    tags = file.pages[0].tags
    return plausible_pixel_nm(tags[65009].value, tags[65003].value)  # Gatan's private tags: scale and unit of x


def _of_resolution(file: Any) -> float | None:
    """Pixels a unit: ImageJ names the unit, else the resolution unit counts, which for printers' values is implausible."""
    tags = file.pages[0].tags
    pixels, units = tags["XResolution"].value
    unit = str((file.imagej_metadata or {}).get("unit") or "")
    unit = re.sub(r"\\u([0-9a-fA-F]{4})", lambda escaped: chr(int(escaped[1], 16)), unit)  # ImageJ writes the sign for micro so
    return plausible_pixel_nm(units / pixels, unit or {2: "inch", 3: "cm"}.get(int(tags["ResolutionUnit"].value)))
