"""The contact sheet of README.md: `python docs/contact_sheet.py` draws 28 frames of as many conditions beside their labels."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure
from tqdm import tqdm

from render.config import compose
from render.micrograph import Micrograph
from render.picture import draw_distractors, draw_labels, draw_micrograph
from render.sample import sample
from render.sample_config import SampleConfig
from render.simulate import simulate

OUT = Path(__file__).resolve().parent / "contact_sheet.png"
PAIRS, PANEL_IN, DPI = 4, 1.62, 112
# Text that is burnt in would lie under the captions: one frame shows it. Near the reflection lines show at this size; FAINT is
# what many of the default frames are like.
COMMON = ("out=none", "shape=[256,256]", "detector.burn_in.share=0", "beam.convergence_mrad=0", "foil.thickness_xi={uniform: [1.8, 5]}",
          "beam.s_xi={weighted: [[{uniform: [-0.4, 0.4]}, 1], [{uniform: [0.4, 1.6]}, 3]]}")  # fmt: skip
FAINT = "beam.convergence_mrad=1.5 beam.s_xi=2 foil.thickness_xi=6 detector.dose_e_per_px=3000 surroundings.boundary_share=0"
# Overrides as on the command line of `python -m render`, and the seed; what is not named is drawn as always.
FRAMES: tuple[tuple[str, int], ...] = (
    ("scene=pileup material=al beam=bf", 1),
    (f"scene=pileup material=fe_gamma beam=bf surroundings.film_depth_nm=2 {FAINT}", 2),
    ("scene=pileup material=ti beam=bf", 3),
    (f"scene=bowout material=cu beam=bf surroundings.film_depth_nm=1 {FAINT}", 4),
    (f"scene=bowout material=ni beam=bf foil.bend_mrad=0 {FAINT}", 5),
    ("scene=bowout material=mo beam=bf", 36),
    ("scene=crossings material=al beam=bf", 7),
    ("scene=crossings material=cu beam=weak_beam pixel_nm=0.8 scene.pileups.lines=4 surfaces=false detector.dose_e_per_px=4000", 8),
    ("scene=crossings material=fe_alpha beam=df", 9),
    ("scene=dipole material=si beam=weak_beam pixel_nm=0.8", 10),
    ("scene=realistic material=al beam=bf surroundings.tear_share=1 surroundings.tear_length_px=150 surroundings.tear_width_fraction=0.06 surroundings.tear_turn_deg=6 surroundings.boundary_share=0 surroundings.twin_share=0 surroundings.edge_share=0 pixel_nm=1.2 foil.thickness_nm=110", 12),
    ("scene=loop material=fe_alpha beam=bf", 12),
    ("scene=loop material=zr beam=weak_beam pixel_nm=0.6", 13),
    ("scene=dissociated material=cu beam=weak_beam pixel_nm=0.4", 14),
    ("scene=dissociated material=cocrfemnni beam=bf pixel_nm=0.6", 15),
    ("scene=stacking_fault material=twip beam=bf beam.s_xi=0.3", 46),
    ("scene=stacking_fault material=ag beam=df", 17),
    ("scene=frank material=fe_gamma beam=bf pixel_nm=0.7 detector.dose_e_per_px=2000", 48),
    ("scene=particles material=al beam=bf", 19),
    ("scene=random material=w beam=bf foil.thickness_nm=60", 20),
    ("scene=realistic material=cu beam=bf surroundings.twin_share=1 surroundings.twin_count=2 surroundings.twin_width_nm=25 surroundings.twin_gap_nm=60 surroundings.boundary_share=0 surroundings.edge_share=0 scene.fault_bands.count=0 pixel_nm=1.2 foil.thickness_nm=120", 68),
    ("scene=random material=gaas beam=df", 22),
    ("scene=realistic material=al beam=bf detector.burn_in.share=1 detector.burn_in.bar_share=0 detector.burn_in.g_share=0 detector.burn_in.caption_share=0 scene.fault_bands.count=0", 23),
    ("scene=realistic material=fe_gamma beam=bf surroundings.boundary_share=1 scene.fault_bands.count=0", 24),
    ("scene=realistic material=ti beam=bf foil.thickness_nm=120 surroundings.edge_share=1", 55),
    ("scene=realistic material=mgo beam=df foil.bend_mrad=0 surroundings.deposits=50 detector.dose_e_per_px=4000", 56),
    ("scene=realistic material=au beam=bf foil.bend_mrad=12 surroundings.edge_share=0", 57),
    ("scene=stroke2d beam=bf", 28),
)


def frame(overrides: str, seed: int) -> Micrograph:
    return simulate(sample(SampleConfig.from_dict(compose("render", [*COMMON, *overrides.split()], ("out",))), seed))


def contact_sheet(frames: tuple[tuple[str, int], ...], out: Path) -> None:
    """Each frame on the left, the same with its labels on the right."""
    rows = -(-len(frames) // PAIRS)
    figure = Figure(figsize=(2 * PAIRS * PANEL_IN, rows * (PANEL_IN + 0.24)), dpi=DPI)
    axes = figure.subplots(rows, 2 * PAIRS, squeeze=False, gridspec_kw={"wspace": 0.04, "hspace": 0.16})
    for panel in axes.ravel():
        panel.set_axis_off()
    for k, (overrides, seed) in enumerate(tqdm(frames, unit="frame")):
        micrograph = frame(overrides, seed)
        plain, labelled = axes[k // PAIRS, 2 * (k % PAIRS) : 2 * (k % PAIRS) + 2]
        draw_micrograph(plain, micrograph.image, micrograph.scene, size=4, wrap=True)
        draw_micrograph(labelled, micrograph.image, micrograph.scene, size=4, wrap=True, faint=True)
        labelled.texts[-1].set_text(f"{overrides.split()[0].removeprefix('scene=')}: {len(micrograph.lines)} lines\n{_others(micrograph)}")
        draw_distractors(labelled, micrograph.distractors, micrograph.shape)
        draw_labels(labelled, micrograph.lines, micrograph.shape)
    figure.subplots_adjust(left=0.004, right=0.996, top=0.997, bottom=0.022)
    figure.savefig(out)


def _others(micrograph: Micrograph) -> str:
    kinds = sorted({d.kind.replace("_", " ") for d in micrograph.distractors})
    return ", ".join(kinds)


if __name__ == "__main__":
    chosen = [int(k) for k in sys.argv[1:]] or range(len(FRAMES))
    contact_sheet(tuple(FRAMES[k] for k in chosen), OUT if len(sys.argv) == 1 else OUT.with_name("contact_sheet_part.png"))
    print(OUT)
