"""Reading `physics/materials/<name>.json`: numbers with their sources, converted to the units used inside.

A record holds `structure`, `lattice`, `basis`, `elastic_GPa`, `debye_waller_A2` and `slip_families`; each
block of numbers carries `source`, or `"assumption": true` with a `note` where no source can be named.
"""

from __future__ import annotations

import json
from fractions import Fraction
from functools import cache
from importlib.resources import files

import numpy as np

NM2_PER_A2 = 0.01


@cache
def material_names() -> tuple[str, ...]:
    """Names of the materials that ship with the package, sorted."""
    folder = files("physics") / "materials"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".json")))


def material_record(name: str) -> dict:
    """The JSON record of `name`, one of `material_names()`, as it stands in its file."""
    return json.loads((files("physics") / "materials" / f"{name}.json").read_text(encoding="utf-8"))


def lattice_nm(record: dict) -> np.ndarray:
    """Columns a, b, c (3, 3) in nm: cubic a || x, b || y, c || z; hexagonal a || x, c || z."""
    lattice = record["lattice"]
    a_nm = lattice["a_nm"]
    if "c_nm" not in lattice:
        return a_nm * np.eye(3)
    return np.array([[a_nm, -a_nm / 2, 0], [0, a_nm * np.sqrt(3) / 2, 0], [0, 0, lattice["c_nm"]]])


def basis_positions(record: dict) -> np.ndarray:
    """Fractional positions (S, 3) of the sites of one conventional cell; the files may write "1/3"."""
    return np.array([[float(Fraction(x)) for x in site["position"]] for site in record["basis"]])


def basis_compositions(record: dict) -> tuple[tuple[tuple[str, float], ...], ...]:
    """For every site its elements and their shares, which add up to 1."""
    return tuple(
        tuple(sorted(site["composition"].items())) if "composition" in site else ((site["element"], 1.0),)
        for site in record["basis"]
    )


def stiffness_GPa(record: dict) -> np.ndarray:
    """Stiffness (6, 6) in Voigt order xx, yy, zz, yz, xz, xy, crystal Cartesian frame.

    Cubic needs C11, C12, C44; hexagonal C13 and C33 too, with C66 = (C11 - C12) / 2 (Nye 1957, table 9).
    """
    c = record["elastic_GPa"]
    c13, c33 = c.get("C13", c["C12"]), c.get("C33", c["C11"])
    c66 = (c["C11"] - c["C12"]) / 2 if "C33" in c else c["C44"]
    stiffness = np.diag([c["C11"], c["C11"], c33, c["C44"], c["C44"], c66]).astype(float)
    stiffness[[0, 1], [1, 0]] = c["C12"]
    stiffness[[0, 2, 1, 2], [2, 0, 2, 1]] = c13
    return stiffness


def debye_waller_nm2(record: dict) -> tuple[tuple[str, float], ...]:
    """Debye-Waller B of each element in nm^2 (the files hold the customary A^2)."""
    factors = record["debye_waller_A2"]["B"]
    return tuple(sorted((element, b_A2 * NM2_PER_A2) for element, b_A2 in factors.items()))
