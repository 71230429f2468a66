import json
import os
import subprocess
import sys

import pytest

from physics.errors import InputError
from render.cli import one_line, positional, run_command
from render.config import compose, config_directory, describe
from render.sample import SampleConfig
from render.store import open_dataset

CHEAP = ["shape=[32,40]", "scene=pileup", "material=al", "beam=bf", "foil=flat", "foil.thickness_nm=60", "slice_nm=3", "pixel_nm=2"]
PATH_KEYS = ("out", "scene.file")


@pytest.fixture
def directory(tmp_path):
    """A small set of config files in a place with an awkward name."""
    place = tmp_path / "é #1 (a=b), [x]"
    for group, choices in {"beam": {"bf": "image: bf\ng_hkl: [1, 1, 1]\n", "df": "image: df\ng_hkl: [1, 1, 1]\n"},
                           "scene": {"own": "kind: own\nfile: ???\n", "made": "kind: made\n"}}.items():  # fmt: skip
        (place / group).mkdir(parents=True)
        for choice, text in choices.items():
            (place / group / f"{choice}.yaml").write_text(text)
    (place / "render.yaml").write_text(
        "defaults:\n  - beam: bf\n  - scene: made\n  - _self_\n\nout: ???\nn: 16  # images\nthickness_nm: {uniform: [50, 200]}\n"
    )
    return place


def render(*arguments, ok=True):
    process = subprocess.run([sys.executable, "-P", "-m", "render", *arguments], capture_output=True, text=True, timeout=300)
    assert not ok or process.returncode == 0, process.stderr
    return process


@pytest.mark.parametrize("path", ["a b.zarr", "x#1.zarr", "x=1,y=2.zarr", "x (1).zarr", "é.zarr", "[a,b].zarr", "${n}.zarr", "'q\".zarr", "a: b"])
def test_any_legal_path_is_taken_as_it_stands(directory, path):
    assert compose("render", [f"out={path}"], PATH_KEYS, directory)["out"] == path
    values = compose("render", ["out=x", "scene=own", f"scene.file={path}"], PATH_KEYS, directory)
    assert values["scene"]["file"] == path


def test_a_tilde_is_the_home_folder(directory):
    assert compose("render", ["out=~/a.zarr"], PATH_KEYS, directory)["out"] == os.path.expanduser("~/a.zarr")


def test_values_keep_their_types(directory):
    values = compose("render", ["out=x", "n=3", "beam=df", "beam.g_hkl=[2,0,-2]", "thickness_nm=-1.5e2"], PATH_KEYS, directory)
    assert values == {"beam": {"image": "df", "g_hkl": [2, 0, -2]}, "scene": {"kind": "made"}, "out": "x", "n": 3, "thickness_nm": -150.0}


def test_a_distribution_replaces_another_one(directory):
    values = compose("render", ["out=x", "thickness_nm={log_uniform:[1,2]}"], PATH_KEYS, directory)
    assert values["thickness_nm"] == {"log_uniform": [1, 2]}


@pytest.mark.parametrize("arguments, key, expected", [
    (["beam.g_hkl={choice:[1,2]}", "beam.g_hkl=[2,0,0]"], "beam.g_hkl", [2, 0, 0]),
    (["beam.g_hkl=[2,0,0]", "beam.g_hkl={choice:[1,2]}"], "beam.g_hkl", {"choice": [1, 2]}),
    (["thickness_nm={uniform:[1,2]}", "thickness_nm.uniform=[3,4]"], "thickness_nm", {"uniform": [3, 4]}),
    (["thickness_nm.uniform=[3,4]", "thickness_nm={uniform:[1,2]}"], "thickness_nm", {"uniform": [1, 2]}),
    (["thickness_nm={uniform:[1,2]}", "n=2", "thickness_nm=7"], "thickness_nm", 7),
    (["thickness_nm={normal:{mean:1,sd:2}}", "thickness_nm.normal.sd=5"], "thickness_nm", {"normal": {"mean": 1, "sd": 5}}),
    (["thickness_nm.uniform={a:1}", "thickness_nm=null"], "thickness_nm", None),
    (["beam.g_hkl=[2,0,0]", "beam=df"], "beam.g_hkl", [2, 0, 0]),
])  # fmt: skip
def test_of_two_arguments_about_one_value_the_later_decides(directory, arguments, key, expected):
    values = compose("render", ["out=x", *arguments], PATH_KEYS, directory)
    for part in key.split("."):
        values = values[part]
    assert values == expected


@pytest.mark.parametrize("arguments, message", [
    (["thickness_nm={log_uniform:[1,2]}", "thickness_nm.uniform=[3,4]"], "thickness_nm.uniform must be a key of the thickness_nm given before it"),
    (["thickness_nm={log_uniform:[1,2]}", "~thickness_nm=null"], "thickness_nm must be either given or taken out, got ~thickness_nm=null"),
    (["no_such_key=1"], "no_such_key must be a key of this render configuration"),
    (["beam.g_hk=[1,0,0]"], "beam.g_hk must be a key of this render configuration, got an unknown key; did you mean beam.g_hkl"),
    (["beam.g.h=1"], "beam.g.h must be a key"),
    (["thick={uniform:[1,2]}"], "thick must be a key"),
    (["scene.file=x"], "scene.file must be a key of this render configuration"),
    (["beam=xx"], "beam must be one of bf, df, got xx"),
    (["scene=null"], "scene must be one of made, own, got null"),
    (["beam=5"], "beam must be one of bf, df, got 5"),
    (["beam=[1]"], r"beam must be one of bf, df, got \[1\]"),
    (["beam=true"], "beam must be one of bf, df, got True"),
    (["scene=own"], "scene.file must be given, got nothing"),
    (["n"], "an argument must look like key=value, got 'n'"),
    (["n=[1"], r"an argument must look like key=value, got 'n=\[1'"),
    (["n=1,2"], "n must be one value, got 1,2"),
    (["out="], "out must be a path, got nothing"),
    (["hydra.run.dir=x"], "hydra.run.dir must be a key of this project"),
    (["n=${no}"], "Interpolation key 'no' not found"),
])  # fmt: skip
def test_what_cannot_be_composed_is_refused_in_one_line(directory, arguments, message):
    with pytest.raises(InputError, match=message) as refusal:
        compose("render", [*([] if "out=" in arguments else ["out=x"]), *arguments], PATH_KEYS, directory)
    assert "\n" not in str(refusal.value)


def test_what_must_be_given_is_asked_for(directory):
    with pytest.raises(InputError, match="out must be given"):
        compose("render", [], PATH_KEYS, directory)


def test_help_names_groups_choices_and_keys(directory):
    text = describe("render", directory)
    assert "beam: bf, df" in text and "scene: made, own" in text and "n: 16  # images" in text and "defaults:" not in text.split("keys")[1]


@pytest.mark.parametrize("group", ["material", "scene", "foil", "beam", "detector"])
def test_every_choice_of_every_group_builds_a_sample_config(group, tmp_path):
    (tmp_path / "file").write_text("x")
    given = {"network": [f"scene.file={tmp_path / 'file'}", "scene.burgers_nm=0.25"], "file": [f"scene.file={tmp_path / 'file'}"]}
    choices = sorted(p.stem for p in (config_directory() / group).glob("*.yaml"))
    assert choices
    for choice in choices:
        values = compose("render", ["out=x", f"{group}={choice}", *given.get(choice, [])], PATH_KEYS)
        SampleConfig.from_dict(values)


def test_positional_arguments_may_hold_an_equals_sign(tmp_path):
    (tmp_path / "a=b.zarr").mkdir()
    places, pairs = positional([str(tmp_path / "a=b.zarr"), "format=coco"], ("format",), 1, "usage")
    assert places == [str(tmp_path / "a=b.zarr")] and pairs == {"format": "coco"}
    with pytest.raises(InputError, match="colour must be one of format, got an unknown key"):
        positional(["x", "colour=blue"], ("format",), 1, "usage")
    with pytest.raises(InputError, match="the command must have 1 argument besides key=value, got 0"):
        positional(["format=coco"], ("format",), 1, "usage")


def test_messages_stay_on_one_line():
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(FileNotFoundError(2, "No such file or directory", "x.data")) == "x.data: No such file or directory"


@pytest.mark.parametrize("error, code", [(InputError("n must be >= 1, got 0"), 2), (OSError("disk full"), 2), (KeyboardInterrupt(), 130)])
def test_bad_input_is_one_line_and_a_code(monkeypatch, capsys, error, code):
    def command(argv):
        raise error

    monkeypatch.setattr(sys, "argv", ["x"])
    assert run_command(command, "usage") == code
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(ZeroDivisionError):
        run_command(lambda argv: 1 // 0, "usage")


def test_the_command_renders_a_dataset_at_an_awkward_path(tmp_path):
    out = tmp_path / "a (1) #é = x.zarr"
    process = render(f"out={out}", "n=2", "seed=7", *CHEAP)
    assert "2 images" in process.stdout and "image/s" in process.stderr or "s/image" in process.stderr
    dataset = open_dataset(out)
    assert len(dataset) == 2 and dataset.config["foil"]["thickness_nm"] == 60
    assert dataset.card["fixed"]["foil.thickness_nm"] == 60 and "out" not in dataset.config


def test_help_needs_no_configuration():
    process = render("--help")
    assert "python -m render out=A.zarr" in process.stdout and "crossings" in process.stdout and "cocrfemnni" in process.stdout


@pytest.mark.parametrize("arguments, field, rule, value", [
    (["foil.thickness_nm=-20"], "foil.thickness_nm", "be > 0", "-20"),
    (["beam.g_hkl=[0,0,0]"], "beam.g_hkl", "not be [0, 0, 0]", "[0, 0, 0]"),
    (["material=al", "beam.g_hkl=[1,0,0]"], "beam.g_hkl", "allow", "[1, 0, 0]"),
    (["no_such_key=1"], "no_such_key", "be a key", "unknown"),
    (["n=0"], "n", ">= 1", "0"),
    (["scene=network", "scene.file=/nonexistent.data", "scene.burgers_nm=0.25"], "scene.file", "", "/nonexistent.data"),
    (["scene=network", "scene.file=/nonexistent.data"], "scene.", "be", ""),
    (["shape=[3,3]"], "shape", "be two whole numbers in [8, 16384]", "[3, 3]"),
    (["scene.colour=blue"], "scene.colour", "be a key", "unknown"),
    (["seed=x"], "seed", "be a whole number >= 0", "x"),
])  # fmt: skip
def test_bad_input_names_field_rule_and_value_and_leaves_nothing(tmp_path, monkeypatch, capsys, arguments, field, rule, value):
    from render.__main__ import main, usage

    monkeypatch.setattr(sys, "argv", ["render", f"out={tmp_path / 'b.zarr'}", "n=2", "shape=[32,40]", *arguments])
    assert run_command(main, usage) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ") and len(text.splitlines()) == 1
    assert field in text and rule in text and value in text
    assert not any(tmp_path.iterdir())


def test_a_truncated_network_file_is_refused(tmp_path, monkeypatch, capsys):
    from render.__main__ import main, usage

    (tmp_path / "half.data").write_text("dataFileVersion =   4\nnumFileSegments =   1\nminCoordinates = [\n  -1000\n")
    monkeypatch.setattr(sys, "argv", ["render", f"out={tmp_path / 'b.zarr'}", "n=1", "shape=[32,40]", "scene=network", "material=al",
                                      f"scene.file={tmp_path / 'half.data'}", "scene.burgers_nm=0.286"])  # fmt: skip
    assert run_command(main, usage) == 2
    text = capsys.readouterr().err
    assert "half.data" in text and len(text.splitlines()) == 1 and not (tmp_path / "b.zarr").exists()


def test_a_scene_of_ones_own_is_rendered_under_several_reflections(tmp_path):
    source = tmp_path / "a.zarr"
    render(f"out={source}", "n=1", "seed=7", "surroundings=none", *CHEAP)
    scene = open_dataset(source).scene(0)
    (tmp_path / "scene.json").write_text(scene.to_json(indent=1))
    zone, g = scene.beam.zone_axis_uvw, scene.beam.g_hkl
    series = [list(g), [-h for h in g]]
    render(f"out={tmp_path / 's.zarr'}", "scene=file", f"scene.file={tmp_path / 'scene.json'}", f"beam.series={json.dumps(series)}")
    dataset = open_dataset(tmp_path / "s.zarr")
    assert len(dataset) == 2 and dataset.shape == (32, 40)  # one image a reflection, of the shape of the scene
    assert [list(m.scene.beam.g_hkl) for m in dataset] == series and all(m.scene.beam.zone_axis_uvw == zone for m in dataset)
    assert [d.burgers_uvw.tolist() for d in dataset.scene(1).dislocations] == [d.burgers_uvw.tolist() for d in scene.dislocations]


def test_a_choice_of_a_group_is_known_in_any_case():
    assert compose("tableau", ["out=x", "material=Cu"], ("out",))["material"]["name"] == "cu"
