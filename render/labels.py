"""Labels: from dislocations to curves in the image with width, contrast, depth and visibility.

The contrast along a line is the picture's with the line against the picture without it, in columns across it, everything
else in its place (`label_in_place`): beams that other lines have turned show it darker, brighter or on its other side than a
perfect foil would. What inelastic electrons and deposits add, which the picture has, is left out. In ten frames of the
benchmark's split `sparse` every eighth vertex lies more than 3 px from where the line alone would be seen, and one in five has
the other sign; in two of `forest` one in five and two in five.

`Scene.labels` "alone" asks for that: the two-beam intensity across the line by itself in the perfect foil
(`label_profiles`), some ten times as fast. Relaxed faces are half-spaces at its outcrops (`physics.strain.half_spaces`). Against columns 0.1 nm apart through the code that makes the image, 0.5 nm slices
(`benchmarks/labels.py`): 95 to 99 % of the probes of curved lines have a contrast within 5 % of itself or 0.005, whichever is
more, and 95 to 98 % a half-width within 10 % or 0.25 px; the others have two extremes, or a shoulder near half of one, that
nearly balance. The place of the image is good to 0.04 nm (median) and 0.3 nm (95 %).

Between probes the contrast is interpolated: of a sinusoid that repeats every extinction distance 5 % is lost at the crests.

Axes: L lines, K vertices of a curve, P probed places along all curves, M columns across each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physics.clipping import lines_between_faces
from physics.contrast.profiles import across_nm
from physics.dislocation import Dislocation
from physics.frames import field_nm, pixel_from_image
from physics.junction import open_ends
from physics.slip_trace import SLIP_TRACE
from render.image_curve import along_curves
from render.label_curves import Curves, curves_near_field, own_reach_nm
from render.label_in_place import profiles_in_place
from render.label_profiles import profile_contrast, profiles_alone
from render.micrograph import Line
from render.scene import Scene
from render.specimen import Specimen

# A narrower image than this is looked for nowhere: weak-beam peaks are 1-2 nm wide but lie beside the core.
LEAST_REACH_NM = 12.0
# What a line does to the picture farther than this from where its image runs, a person takes for the images of other lines.
NEAR_REACH, LEAST_NEAR_PX = 0.35, 4.0
OWN_PX = 1.5  # what is so near a line is its own, however sharply it turns


@dataclass(frozen=True, kw_only=True, eq=False)
class Probed:
    """What was found at the probes of all pieces of lines in the field.

    `lines` are the dislocations met, curves `line_of_curve` (L,) and probes `line_of` (P,) of which; `numbers` (L,) are
    those of the curves' dislocations in the Scene, `at_node` (L, 2) whether the ends of a curve are where lines meet.
    `contrast` (P,) is signed, `half_width_nm` and `middle_nm` (P,) as in `profile_contrast`.
    """

    lines: tuple[Dislocation, ...]
    curves: Curves
    numbers: np.ndarray
    line_of: np.ndarray
    at_node: np.ndarray
    reach_nm: float
    contrast: np.ndarray
    half_width_nm: np.ndarray
    middle_nm: np.ndarray


def label_lines(scene: Scene, specimen: Specimen, traces: bool = False) -> tuple[Line, ...]:
    """Labels of every dislocation that has at least one pixel in the frame, in the order of the Scene.

    Of those that stand for slip traces with `traces`, without it of all others. A dislocation that leaves the foil and comes
    back is one instance for each piece inside it.
    """
    probed = probe(scene, specimen, traces)
    curves = probed.curves
    contrast, half_width_nm, placed_nm = along_curves(
        curves, probed.contrast, probed.half_width_nm, probed.middle_nm, probed.at_node, probed.reach_nm, scene.pixel_nm
    )
    contrast = contrast.astype(np.float32)
    half_width_px = np.maximum(half_width_nm / scene.pixel_nm, 1).astype(np.float32)
    core_px, points_px = (
        pixel_from_image(nm, scene.shape, scene.pixel_nm).astype(np.float32) for nm in (curves.points_nm, placed_nm)
    )
    entrance_nm = specimen.foil_shape.face_z_nm(curves.points_nm[:, 0], curves.points_nm[:, 1], 1)
    depth_nm = (entrance_nm - curves.points_nm[:, 2]).astype(np.float32)
    visible = np.abs(contrast) >= scene.visible_contrast
    labels = []
    spans = zip(probed.numbers.tolist(), curves.first[:-1].tolist(), curves.first[1:].tolist())
    for number, a, b in spans:
        line = scene.dislocations[number]
        burgers = _sense(line) * line.burgers_uvw + 0.0
        label = Line(
            points_px=points_px[a:b], half_width_px=half_width_px[a:b], contrast=contrast[a:b], depth_nm=depth_nm[a:b],
            core_px=core_px[a:b], burgers_uvw=tuple(burgers.tolist()), plane_hkl=line.plane_of_part(curves.points_nm[a:b]),
            g_dot_b=float(np.dot(scene.beam.g_hkl, burgers)), visible=visible[a:b], kind=line.kind,
        )  # fmt: skip
        if label.touches(scene.shape):
            labels.append(label)
    return tuple(labels)


def probe(scene: Scene, specimen: Specimen, traces: bool = False) -> Probed:
    """Curves of the pieces of lines (of slip `traces` or of all others) in the foil and near the field, and what is read off
    the profiles across them."""
    shape = specimen.foil_shape
    reach_nm = contrast_reach_nm(scene, specimen)
    oriented = [line.points_nm[:: _sense(line)] for line in scene.dislocations]
    parts = lines_between_faces(oriented, shape.crystal_faces_z_nm)
    parts = [inside if (line.kind == SLIP_TRACE) == traces else [] for line, inside in zip(scene.dislocations, parts)]
    pieces = [piece for inside in parts for piece in inside]
    owner = np.repeat(np.arange(len(parts)), [len(inside) for inside in parts])
    margin_nm = 4 * reach_nm + 8 * scene.pixel_nm
    half_width_nm, half_height_nm = (extent / 2 + margin_nm for extent in field_nm(scene.shape, scene.pixel_nm))
    curves = curves_near_field(
        pieces, (half_width_nm, half_height_nm), scene.pixel_nm, effective_extinction_nm(scene, specimen)
    )
    kept = owner[curves.kept]
    numbers, line_of_curve = np.unique(kept, return_inverse=True)
    lines = tuple(scene.dislocations[n].canonical() for n in numbers)  # the last digits do not depend on the sense written
    line_of = line_of_curve[curves.probe_curve]
    # What lies beyond half the width of a loop is the other side's.
    across = across_nm(reach_nm)
    right_nm, left_nm = own_reach_nm(curves, OWN_PX * scene.pixel_nm).T[:, :, None]
    own = (across < left_nm) & (across > -right_nm)
    # A slip trace lies so near a face that its image, and the mirror image that frees the face, stand for it by themselves.
    if scene.labels == "alone" or traces:
        profiles = profiles_alone(lines, curves, line_of, reach_nm, scene, specimen, fast=specimen.two_beam_isotropic)
        contrast, half_width_nm, middle_nm = profile_contrast(across, *(np.where(own, p, 0) for p in profiles))
    else:
        profile = np.where(own, profiles_in_place(curves, kept[curves.probe_curve], reach_nm, scene, specimen), 0)
        contrast, _, middle_nm = profile_contrast(across, profile)
        near_nm = max(NEAR_REACH * reach_nm, LEAST_NEAR_PX * scene.pixel_nm)
        steady_nm = _steady_offset_nm(curves, contrast, middle_nm)
        contrast, half_width_nm, middle_nm = profile_contrast(across, profile, centre_nm=steady_nm, near_nm=near_nm)
    return Probed(
        lines=lines, curves=curves, numbers=kept, line_of=line_of, reach_nm=reach_nm, contrast=contrast,
        at_node=_ends_at_nodes(scene.dislocations, [pieces[k] for k in curves.kept], kept),
        half_width_nm=half_width_nm, middle_nm=middle_nm,
    )  # fmt: skip


def _steady_offset_nm(curves: Curves, contrast: np.ndarray, middle_nm: np.ndarray) -> np.ndarray:
    """How far beside the core (P,) a curve's image runs throughout: the mean of its probes' middles, by contrast.

    It is drawn in by (mean^2 / mean of squares)^2: in full it holds for an image that keeps to one side, not at all for one that
    swings from side to side as its line goes down the foil.
    """
    steady = np.zeros(len(middle_nm))
    for begin, end in zip(curves.probe_first[:-1], curves.probe_first[1:]):
        weight, middle = np.minimum(np.abs(contrast[begin:end]), 1.0), middle_nm[begin:end]
        if weight.sum() > 0:
            mean, square = np.average(middle, weights=weight), np.average(middle**2, weights=weight)
            steady[begin:end] = mean * (mean**2 / max(square, 1e-12)) ** 2
    return steady


def effective_extinction_nm(scene: Scene, specimen: Specimen) -> float:
    """xi_eff = xi_g / sqrt(1 + (s xi_g)^2): the depth over which contrast repeats (Hirsch et al. 1977, ch. 8)."""
    xi = specimen.two_beam.xi_g_nm
    return float(xi / np.hypot(1, scene.beam.s_inv_nm * xi))


def contrast_reach_nm(scene: Scene, specimen: Specimen) -> float:
    """How far from its core a line's contrast is looked for: the effective extinction distance / 2.

    A two-beam image is about xi_eff / 3 wide (Hirsch et al. 1977, ch. 7).
    """
    return max(0.5 * effective_extinction_nm(scene, specimen), LEAST_REACH_NM)


def _sense(line: Dislocation) -> int:
    """1 if the line is written as labels are, the first non-zero component of b positive; else -1."""
    return 1 if line.burgers_uvw.tolist() > [0.0, 0.0, 0.0] else -1


def _ends_at_nodes(dislocations: Sequence[Dislocation], pieces: Sequence[np.ndarray], owner: np.ndarray) -> np.ndarray:
    """Whether the first and the last vertex (L, 2) of each piece is one where its line meets others."""
    is_open = set(open_ends(dislocations))
    at_node = np.zeros((len(pieces), 2), dtype=bool)
    for row, piece, number in zip(at_node, pieces, owner.tolist()):
        line = dislocations[number]
        for i, end in enumerate((0, -1)[:: _sense(line)]):
            if (number, end) not in is_open and not line.closed:
                row[i] = piece[(0, -1)[i]].tolist() == line.points_nm[end].tolist()
    return at_node
