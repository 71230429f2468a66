"""Studies: what is hashed, what is done once, what follows from scores, and that an interrupted study gives the same numbers."""

import json
import math

import numpy as np
import pytest
from omegaconf import OmegaConf
from scipy.stats import t as student

import train.study.work as work_module
from physics.errors import InputError
from render.config import compose, config_directory
from train.dataset import StoredImages
from train.study.__main__ import dry_text, main, run, work_of
from train.study.effects import (
    effect_from,
    effect_of,
    image_draws,
    marginal,
    matrix_of,
    measured,
    simple_effects,
    values_of,
)
from train.study.plan import cell_key, content_hash, study_of
from train.study.results import effect_text, range_text, results_of

RENDER = ["scene=random", "material=al", "shape=[48,48]", "surroundings=none", "surfaces=false", "detector=clean", "slice_nm=4", "pixel_nm=3", "foil=flat"]
TRAIN = ["model.width=8", "model.head=16", "model.blocks_down=[1,1,1]", "batch=2", "max_steps=4", "max_seconds=null", "view.crop_px=48", "log_every=2",
         "checkpoint_seconds=0"]  # fmt: skip
TINY = ["study=smoke", "out=none", "study.images={train:3,test:2}", "study.seeds=[0,1]",
        f"study.render={json.dumps(RENDER)}", f"study.train={json.dumps(TRAIN)}"]  # fmt: skip


def study(*overrides):
    return study_of("tiny", compose("study", [*TINY, *overrides], ("out",))["study"])


def keys(of):
    return [cell_key(of, of.conditions[c], seed, 1, "cpu") for c, seed in of.cells()]


def test_a_cell_is_hashed_by_what_its_numbers_depend_on():
    first = keys(study())
    assert len(set(first)) == 4 and keys(study()) == first
    assert keys(study("study.title=another", "study.images={train:3,test:5}", "study.measure=completeness")) == first
    assert keys(study("study.seeds=[0,1,2]"))[:4] == first  # a seed more leaves the others
    assert not set(keys(study("study.images={train:4,test:2}"))) & set(first)
    other_dose = study("study.factors={dose:{high:['detector.dose_e_per_px=2999'],low:['detector.dose_e_per_px=60']}}")
    changed = keys(other_dose)
    assert changed[1::2] == first[1::2] and not set(changed[::2]) & set(first)  # the low dose stands, the high one is new
    assert cell_key(study(), study().conditions[0], 0, 2, "cpu") not in first  # threads may change the last bits


def test_files_are_hashed_by_content_not_by_place(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(b"same")
    assert content_hash(tmp_path / "a") == content_hash(tmp_path / "b")
    (tmp_path / "b" / "x.png").write_bytes(b"other")
    assert content_hash(tmp_path / "a") != content_hash(tmp_path / "b")


@pytest.mark.parametrize("override, message", [
    ("study.seeds=[0,0]", "seeds must be different"), ("study.measure=beauty", "measure must be one of"), ("study.factors={}", "hold one factor"),
    ("study.factors={dose:{one:[]}}", "two levels"), ("study.factors={dose:{a:[],b:['detector.dose=3']}}", "dose=b: detector.dose must be a key"),
    ("study.factors={dose:{a:[],b:{paint:[]}}}", "only render and train"), ("study.images={train:0,test:2}", "images.train must be"),
    ("study.factors={budget:{a:[],b:{train:['max_steps=9']}}}", "same budget"), ("study.factors={size:{a:[],b:['shape=[64,64]']}}", "same shape"),
    ("study.factors={background:{a:[],b:['scene=stroke2d','scene.backgrounds=BACKGROUNDS']}}", "backgrounds must be a folder"),
])  # fmt: skip
def test_a_study_that_cannot_be_is_refused_in_one_line(override, message):
    with pytest.raises(InputError, match=message):
        study(override)


def test_levels_that_yaml_read_as_true_and_false_are_refused():
    given = compose("study", TINY, ("out",))["study"] | {"factors": {"dose": {True: [], False: ["detector=clean"]}}}
    with pytest.raises(InputError, match="have names for levels, got True; YAML reads on, off"):
        study_of("tiny", given)


@pytest.mark.parametrize("name", ["g_dot_b", "deviation", "thickness", "dose", "blur", "illumination", "bending", "distractors", "background",
                                  "contrast", "randomisation", "transfer"])  # fmt: skip
def test_every_study_of_the_package_can_be_planned(name, tmp_path):
    planned = study_of(name, compose("study", [f"study={name}", "out=none"], ("out",))["study"], str(tmp_path))
    assert len(planned.seeds) >= 3 and len({str(c.scenes) + str(c.settings) for c in planned.conditions}) == len(planned.conditions)


def test_the_ablation_crosses_the_factors_of_the_single_studies():
    given = {name: OmegaConf.to_container(OmegaConf.load(config_directory() / "study" / f"{name}.yaml"))["factors"]
             for name in ("ablation", "background", "contrast", "randomisation")}  # fmt: skip
    of_ablation = given["ablation"]
    assert of_ablation["background"] == given["background"]["background"]
    assert of_ablation["contrast"] == {k: v for k, v in given["contrast"]["contrast"].items() if k != "many_beam"}
    assert list(of_ablation["randomisation"].values()) == list(given["randomisation"]["randomisation"].values())


def images(matched, true=10, predicted=10):
    return [{"matched": m, "true_curves": true, "predicted_curves": predicted, "complete": True} for m in matched]


def test_a_row_of_the_matrix_is_trained_on_and_a_column_tested_on():
    # F1 = 2 matched / (true + predicted), all 10: matched / 10
    scores = [[[images([8, 8]), images([2, 2])], [images([6, 6]), images([4, 4])]], [[images([5, 5]), images([9, 9])], [images([5, 5]), images([7, 7])]]]
    values = values_of(scores, "instance_f1", draws=10)
    assert values.shape == (2, 2, 2, 11)
    np.testing.assert_allclose(matrix_of(values), [[0.7, 0.3], [0.5, 0.8]])
    levels = [("dose=high",), ("dose=low",)]
    effect = effect_of(values, levels, 0, "dose=low", [1])  # seeds: 0.9 - 0.2, 0.7 - 0.4
    assert effect.difference == pytest.approx(0.5) and effect.images_half == pytest.approx(0, abs=1e-12)
    assert effect.half == pytest.approx(student.ppf(0.975, 1) * np.std([0.7, 0.3], ddof=1) / math.sqrt(2))
    assert effect_of(values, levels, 0, "dose=low", [0, 1]).difference == pytest.approx(0.15)  # (-0.2 + 0.5) / 2


def test_an_effect_is_paired_over_the_other_factors():
    levels = [("a=0", "b=0"), ("a=0", "b=1"), ("a=1", "b=0"), ("a=1", "b=1")]
    values = np.array([0.1, 0.5, 0.2, 0.8])[:, None, None, None] * np.ones((4, 1, 4, 3))
    assert effect_of(values, levels, 0, "a=1", [0]).difference == pytest.approx(0.2)  # (0.1 + 0.3) / 2
    assert effect_of(values, levels, 1, "b=1", [0]).difference == pytest.approx(0.5)  # (0.4 + 0.6) / 2
    matrix = np.arange(16.0).reshape(4, 4)
    names, of_b = marginal(matrix, levels, 1)
    assert names == ["b=0", "b=1"]
    np.testing.assert_allclose(of_b, [[5, 6], [9, 10]])  # rows {0, 2} and {1, 3}, columns likewise, by hand


def test_the_interval_of_the_images_is_that_of_the_delta_method():
    rng = np.random.default_rng(0)
    n = 400
    a, b = rng.binomial(10, 0.6, n), rng.binomial(10, 0.5, n)
    draws = image_draws(n, 4000)
    differences = (measured(images(a), "instance_f1", draws) - measured(images(b), "instance_f1", draws))[None]
    effect = effect_from(differences)
    # Equal denominators: the mean of a/10 - b/10, whose standard error is s / sqrt(n).
    assert effect.difference == pytest.approx((a - b).mean() / 10)
    assert effect.half == pytest.approx(1.96 * ((a - b) / 10).std() / math.sqrt(n), rel=0.05)  # 4000 draws: +-1.1 % a sigma
    assert effect.seeds_half is None and "one seed" in effect_text("x", effect, "instance_f1", n)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(2000):
        effect = effect_from(0.05 + rng.normal(0, 0.1, (3, 1)) + np.zeros((3, 2)))
        inside += effect.interval[0] <= 0.05 <= effect.interval[1]
    assert inside / 2000 == pytest.approx(0.95, abs=0.015)  # binomial: sigma 0.005


def test_partly_labelled_frames_are_judged_by_what_is_found():
    counts = [{"complete": False, "found_length_px": 30, "true_length_px": 40, "predicted_length_px": 500, "correct_length_px": 1,
               "matched": 1, "true_curves": 2, "predicted_curves": 50}]  # fmt: skip
    assert values_of([[[counts]]], "instance_f1", draws=2)[0, 0, 0, 0] == 0.75


ONE_SEED = "study.seeds=[0]"


def planned(cache):
    return work_of(study(ONE_SEED), cache, None, 1, "cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study that was never interrupted, and its cache."""
    cache = tmp_path_factory.mktemp("study") / "cache"
    work = planned(cache)
    assert "2 cells" in dry_text(work) and "judged on 0 of 2" in dry_text(work) and not cache.exists()
    run(work, 0, None, progress=False)
    return work, cache


def test_an_interrupted_study_goes_on_and_gives_the_same_numbers(finished, tmp_path, monkeypatch):
    whole, _ = finished
    text = dry_text(whole)
    assert text.count("trained, judged on 2 of 2") == 2 and "together: 0 core-hours, 0 B" in text
    broken = planned(tmp_path / "broken")
    real, done = work_module.perform, []

    def perform(task):
        if len(done) == 5:  # four sets of images, one network
            raise KeyboardInterrupt
        done.append(task)
        return real(task)

    with monkeypatch.context() as patch:
        patch.setattr(work_module, "perform", perform)
        with pytest.raises(KeyboardInterrupt):
            run(broken, 0, None, progress=False)
    of_example = StoredImages.of_example

    def stops(self, n):  # in the middle of the next network
        if n == 5:
            raise KeyboardInterrupt
        return of_example(self, n)

    with monkeypatch.context() as patch:
        patch.setattr(StoredImages, "of_example", stops)
        with pytest.raises(KeyboardInterrupt):
            run(broken, 0, None, progress=False)
    assert "begun" in dry_text(broken)
    run(broken, 0, None, progress=False)
    assert json.dumps(results_of(broken)) == json.dumps(results_of(whole))
    for a, b in zip(whole.trainings, broken.trainings):
        losses = [[json.loads(line).get("loss") for line in (task.path / "metrics.jsonl").read_text().splitlines()] for task in (a, b)]
        assert losses[0] == losses[1] and len(losses[0]) == 2  # 4 steps, told every 2


def test_the_command_writes_a_report_and_judges_real_frames(finished, tmp_path, capsys):
    from PIL import Image

    real = tmp_path / "frames"
    real.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 48), np.uint8)).save(real / "a.png")
    shape = {"label": "line", "shape_type": "linestrip", "points": [[4, 4], [40, 40]]}
    (real / "a.json").write_text(json.dumps({"shapes": [shape], "flags": {"complete": False}}))
    out = tmp_path / "out"
    arguments = [TINY[0], *TINY[2:3], *TINY[4:], ONE_SEED, f"out={out}", f"data={real}", f"cache={finished[1]}", "device=cpu"]
    main([*arguments, "dry=true"])
    assert not out.exists() and "train: 2 tasks, 2 cached" in capsys.readouterr().out
    main(arguments)
    results = json.loads((out / "study.json").read_text())
    assert results["tests"] == ["dose=high", "dose=low", "real: frames"] and results["measures"][2] == "completeness"
    assert len(results["matrix"]) == 2 and len(results["matrix"][0]) == 3 and "one seed" in results["sentences"][0]
    page = (out / "report.html").read_text()
    assert page.count("data:image/png") == 5 and results["sentences"][0].split(":")[0] in page
    assert (out / "matrix.csv").read_text().splitlines()[0] == "trained on,dose=high,dose=low,real: frames"
    assert "| trained on |" in (out / "report.md").read_text()


def test_effects_one_by_one_show_what_their_mean_hides():
    levels = [("a=0", "b=0"), ("a=0", "b=1"), ("a=1", "b=0"), ("a=1", "b=1")]
    values = np.zeros((4, 2, 1, 3))
    values[2], values[3] = 0.2, -0.2  # a helps at b=0 and hurts at b=1
    assert effect_of(values, levels, 0, "a=1", [0]).difference == pytest.approx(0)
    single = simple_effects(values, levels, 0, "a=1", [0])
    assert [(at, pytest.approx(one.difference)) for at, one in single] == [(("b=0",), 0.2), (("b=1",), -0.2)]
    assert range_text([one.difference for _, one in single]) == ", over the levels of the other factors from -0.200 to +0.200, both ways"
    assert range_text([0.1]) == ""


def test_test_sets_of_as_many_images_are_resampled_alike():
    images = [{"matched": k, "true_curves": 3, "predicted_curves": 3} | dict.fromkeys(("complete",), True) for k in (0, 1, 3)]
    values = values_of([[[images, images]]], "instance_f1", draws=20)
    assert np.array_equal(values[0, 0, 0], values[0, 0, 1]) and len(np.unique(values[0, 0, 0])) > 3
