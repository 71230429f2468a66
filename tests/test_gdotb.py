"""The g.b table: closed values, the command, and where the rule and the computed contrast disagree."""

from __future__ import annotations

import collections
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from physics.contrast.columns import column_values
from physics.contrast.two_beam import TwoBeam, perfect_crystal
from physics.crystal import Crystal
from physics.dislocation import Dislocation
from physics.errors import InputError
from physics.frames import rotation_about, rotation_from_axes
from physics.gdotb import edge_line, gdotb_table
from physics.scattering import extinction_distance_nm
from physics.slip import SlipSystem, slip_systems
from physics.strain.segments import segments_of

ROOT = Path(__file__).parents[1]
VISIBLE_CONTRAST = 0.02  # design.md: scene.visible_contrast


def test_table_of_copper_under_111():
    rows = gdotb_table(Crystal.from_material("cu"), (1, 1, 1))
    assert len(rows) == 12
    assert collections.Counter(row.g_dot_b for row in rows) == {0: 6, 1: 6}  # 1/2<110> in and out of (111)
    in_plane = [row for row in rows if row.plane_hkl == (1, 1, 1)]
    # g = n / d: g.(b x xi) = |b| / d = sqrt(1/2) sqrt(3)
    assert [row.g_dot_b_cross_xi for row in in_plane] == pytest.approx([1.5**0.5] * 3)
    assert {(row.screw, row.edge) for row in in_plane} == {("invisible", "residual")}


def test_edge_is_invisible_only_where_its_plane_normal_is_across_g_too():
    rows = gdotb_table(Crystal.from_material("mg"), (0, 0, 2))
    verdicts = collections.Counter((row.family, row.screw, row.edge) for row in rows)
    assert verdicts == {("hcp_basal_a", "invisible", "residual"): 3, ("hcp_prismatic_a", "invisible", "invisible"): 3,
                        ("hcp_pyramidal2_ca", "visible", "visible"): 6}  # fmt: skip


def test_edge_line_lies_in_its_plane_across_b():
    crystal = Crystal.from_material("ti")
    for system in slip_systems(crystal):
        line = edge_line(crystal, system)
        assert abs(line @ crystal.direction_nm(system.burgers_uvw)) < 1e-12
        assert abs(line @ crystal.reciprocal_vector_inv_nm(system.plane_hkl)) < 1e-12


def test_several_reflections_and_a_family():
    rows = gdotb_table(Crystal.from_material("w"), [(1, 1, 0), (2, 0, 0)], family="bcc_112_111")
    assert [row.g_hkl for row in rows] == [(1, 1, 0)] * 12 + [(2, 0, 0)] * 12


def test_forbidden_reflection_is_refused():
    with pytest.raises(InputError, match=r"g must be an allowed reflection of cu \(fcc\), got \[1, 0, 0\]"):
        gdotb_table(Crystal.from_material("cu"), (1, 0, 0))


def run(*arguments):
    command = [sys.executable, "-m", "physics.gdotb", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_command_prints_four_indices_of_hexagonal_crystals():
    done = run("material=ti", "g=[[0,0,0,2],[1,0,-1,1]]", "family=hcp_basal_a")
    assert done.returncode == 0 and done.stderr == ""
    assert len(done.stdout.splitlines()) == 1 + 2 * 3
    assert "[1 0 -1 1]" in done.stdout and "1/3[2 -1 -1 0]" in done.stdout


def test_command_writes_json():
    rows = json.loads(run("material=cu", "g=1,1,1", "json").stdout)
    assert len(rows) == 12 and rows[0]["material"] == "cu" and rows[0]["g_hkl"] == [1, 1, 1]


@pytest.mark.parametrize("arguments", [("material=zz", "g=1,1,1"), ("material=cu", "g=1,0,0"), ("material=mg", "g=1,1,2,0"), ("g=[1,1",)])
def test_command_refuses_in_one_line_with_exit_code_2(arguments):
    done = run(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


CASES = [("cu", (1, 1, 1)), ("cu", (2, 2, 0)), ("fe_alpha", (1, 1, 0)), ("fe_alpha", (2, 0, 0)), ("mg", (0, 0, 2)), ("mg", (1, 0, 1))]
# (inclination of the line, s xi_g): level near the Bragg condition, inclined there, level far from it
GEOMETRIES = {"level": (0.0, 0.5), "inclined": (45.0, 0.5), "far": (0.0, 10.0)}
SEEN_BY_RULE = {"visible": True, "residual": True, "faint": False, "invisible": False}


def largest_contrast(crystal: Crystal, g_hkl, burgers_uvw, line, tilt_deg: float, s_xi: float) -> float:
    """Bright-field |contrast| of a straight line through the middle of a foil 3.3 xi_g thick, largest over five places."""
    g = crystal.reciprocal_vector_inv_nm(g_hkl)
    along_g = g / np.linalg.norm(g)
    across = line - (line @ along_g) * along_g
    across = across if np.linalg.norm(across) > 1e-6 else np.cross(along_g, [0.3, 0.5, 0.8])
    to_gun = rotation_about(along_g, np.radians(tilt_deg)) @ np.cross(along_g, across)
    turn = rotation_from_axes(g, to_gun)
    xi_g_nm = extinction_distance_nm(crystal, g_hkl, 200.0)
    two_beam = TwoBeam(xi_g_nm=xi_g_nm, xi_g_prime_nm=10 * xi_g_nm, xi_0_prime_nm=10 * xi_g_nm)
    thickness_nm, s_inv_nm, image_line = 3.3 * xi_g_nm, s_xi / xi_g_nm, turn @ line
    level = abs(image_line[2]) < 1e-9
    half_nm = 500.0 if level else thickness_nm / 2 / abs(image_line[2])
    segments = segments_of(
        (Dislocation(burgers_uvw=burgers_uvw, points_nm=np.outer([-half_nm, half_nm], image_line)),), turn @ crystal.lattice_nm, 1e6)
    sideways = np.array([-image_line[1], image_line[0]]) / np.hypot(*image_line[:2])
    at_nm = np.array([0.0]) if level else half_nm * np.linspace(-0.8, 0.8, 5)
    off_nm = np.sinh(2.5 * np.linspace(-1, 1, 17)) / np.sinh(2.5) * 0.5 * xi_g_nm
    x_nm, y_nm = (at_nm[:, None] * image_line[i] + off_nm * sideways[i] for i in (0, 1))
    bright, _ = column_values(
        segments, turn @ g, two_beam, x_nm.ravel(), y_nm.ravel(), thickness_nm / 2, -thickness_nm / 2, s_inv_nm,
        poisson_ratio=crystal.poisson_ratio, core_nm=0.5, slice_nm=5.0)  # fmt: skip
    return float(np.abs(bright / perfect_crystal(two_beam, s_inv_nm, thickness_nm)[0] - 1).max())


def counts() -> dict[tuple[str, str, str, bool], int]:
    """How many lines of a character and a verdict of the rule are seen, or not, in each geometry."""
    found: collections.Counter = collections.Counter()
    for name, g_hkl in CASES:
        crystal = Crystal.from_material(name)
        family = crystal.slip_families[0] if name == "fe_alpha" else None
        for row in gdotb_table(crystal, g_hkl, family=family):
            burgers_nm = crystal.direction_nm(row.burgers_uvw)
            system = SlipSystem(plane_hkl=row.plane_hkl, burgers_uvw=row.burgers_uvw, family=row.family)
            lines = {"screw": (burgers_nm / np.linalg.norm(burgers_nm), row.screw), "edge": (edge_line(crystal, system), row.edge)}
            for character, (line, verdict) in lines.items():
                for geometry, (tilt_deg, s_xi) in GEOMETRIES.items():
                    contrast = largest_contrast(crystal, g_hkl, row.burgers_uvw, line, tilt_deg, s_xi)
                    found[geometry, character, verdict, contrast >= VISIBLE_CONTRAST] += 1
    return found


def test_rule_and_computed_contrast_disagree_only_where_the_rule_is_known_to_fail():
    """In an isotropic crystal without surfaces g.b = 0 is exact for screws; the rest of the rule is about s = 0.

    Where it fails: edges with g.b = 0 and 0 < |g.(b x xi)| < 0.64, which it counts as not seen and which show above 2 %
    near the Bragg condition, level or inclined; and, far from it in bright field, lines that it counts as seen: their
    contrast falls as the strain's share of s.
    """
    found = counts()
    assert sum(found.values()) == 3 * 2 * sum(12 for _ in CASES)
    disagree = {key[:3]: n for key, n in found.items() if SEEN_BY_RULE[key[2]] != key[3]}
    near = {key: n for key, n in disagree.items() if key[0] != "far"}
    # By the table: three of Cu 111, four of Fe 110, one of Mg 1 0 -1 1.
    assert near == {("level", "edge", "faint"): 8, ("inclined", "edge", "faint"): 8}
    far = {key: n for key, n in disagree.items() if key[0] == "far"}
    assert set(far) == {("far", "screw", "visible"), ("far", "edge", "visible"), ("far", "edge", "residual")}
    assert far["far", "edge", "residual"] == 13  # all there are
    assert 60 <= sum(far.values()) <= 86  # 73 of the 109 lines that the rule counts as seen; some lie near the threshold
