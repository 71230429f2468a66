"""Bodies in an open Blender file, as a person has moved, turned and scaled them: particles and deposits.

Sizes among the custom properties are those at scale 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from physics.deposit import Deposit
from physics.errors import require
from physics.particle import DISCS, Particle
from render.blender.curves import world_matrix
from render.blender.properties import numbers, text, whole_numbers

SINGLE_PRECISION = 2.5e-7  # relative, of a position after a transform
STILL_NM = 2e-5
SQUARE = 1e-5


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was read from an object: a noun, the object's name, and whether its geometry is as it was written."""

    noun: Any
    name: str
    still: bool = True


def still_there(points_nm: np.ndarray, written_nm: np.ndarray | None) -> bool:
    """Whether positions (K, 3) are those that were written, to the precision that Blender keeps."""
    same = written_nm is not None and points_nm.shape == written_nm.shape
    return same and bool(np.allclose(points_nm, written_nm, rtol=SINGLE_PRECISION, atol=STILL_NM))


def particle(object_: bpy.types.Object, written: Particle | None) -> list[Found]:
    """The particle that a body stands for. Raises InputError for a turned disc or a scale that is not uniform."""
    matrix = world_matrix(object_)
    scale, rotation = _scale_and_rotation(object_, matrix)
    kind = text(object_, "kind", "")
    turned = kind in DISCS and not np.allclose(rotation, np.eye(3), atol=SQUARE)
    require(not turned, f'object "{object_.name}"', "not be turned", "a turned disc", "its plane is the custom property plane_hkl")
    require(np.ptp(scale) < SQUARE * scale.max(), f'object "{object_.name}"', "be scaled alike in x, y and z", _rounded(scale))
    grown = 1.0 if abs(scale[0] - 1) < SQUARE else float(scale.mean())
    still = written is not None and still_there(matrix[:3, 3], written.centre_nm)
    found = Particle(
        kind=kind, centre_nm=written.centre_nm if still else matrix[:3, 3],
        radius_nm=grown * numbers(object_, "radius_nm", 1)[0],
        plane_hkl=tuple(whole_numbers(object_, "plane_hkl", 3)) if "plane_hkl" in object_ else (0, 0, 0),
        thickness_nm=grown * _number(object_, "thickness_nm", 0.0), misfit=_number(object_, "misfit", 0.0),
        xi_ratio=_number(object_, "xi_ratio", 1.0),
    )  # fmt: skip
    return [Found(noun=found, name=object_.name, still=still)]


def deposit(object_: bpy.types.Object, written: Deposit | None) -> list[Found]:
    """The deposit that a body stands for. Raises InputError for one tilted off its face or stretched along it."""
    matrix = world_matrix(object_)
    scale, rotation = _scale_and_rotation(object_, matrix)
    upright = np.allclose(rotation[2], [0, 0, 1], atol=SQUARE) and abs(scale[0] - scale[1]) < SQUARE * scale.max()
    require(upright, f'object "{object_.name}"', "be turned about z and scaled alike in x and y alone", _rounded(scale),
            "what lies on a face follows the face; aspect is a custom property")  # fmt: skip
    wider, higher = (1.0 if abs(s - 1) < SQUARE else float(s) for s in (scale[0], scale[2]))
    turn_deg = float(np.rad2deg(np.arctan2(rotation[1, 0], rotation[0, 0])))
    still = written is not None and still_there(matrix[:2, 3], np.array(written.centre_nm))
    found = Deposit(
        kind=text(object_, "kind", "particle"), centre_nm=written.centre_nm if still else tuple(matrix[:2, 3]),
        radius_nm=wider * numbers(object_, "radius_nm", 1)[0], thickness_nm=higher * numbers(object_, "thickness_nm", 1)[0],
        mean_free_path_nm=_number(object_, "mean_free_path_nm", 80.0), aspect=_number(object_, "aspect", 1.0),
        turn_deg=_number(object_, "turn_deg", 0.0) + (turn_deg if abs(turn_deg) > 1e-3 else 0.0),
        lobes=tuple(numbers(object_, "lobes", None)) if "lobes" in object_ else (),
        profile=_number(object_, "profile", 0.5), side=int(whole_numbers(object_, "side", 1)[0]) if "side" in object_ else 1,
    )  # fmt: skip
    return [Found(noun=found, name=object_.name, still=still)]


def _number(object_: bpy.types.Object, name: str, default: float) -> float:
    return numbers(object_, name, 1)[0] if name in object_ else default


def _rounded(scale: np.ndarray) -> list[float]:
    return [round(float(s), 4) for s in scale]


def _scale_and_rotation(object_: bpy.types.Object, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    require(bool(scale.min() > 0) and np.linalg.det(matrix[:3, :3]) > 0, f'object "{object_.name}"', "have a positive scale", _rounded(scale))
    rotation = matrix[:3, :3] / scale
    require(np.allclose(rotation.T @ rotation, np.eye(3), atol=SQUARE), f'object "{object_.name}"', "not be sheared", "a sheared one")
    return scale, rotation
