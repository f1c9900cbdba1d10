import errno
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from wsss_mm.cli import profile
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path
from wsss_mm.settings import (
    load_params,
    load_profile,
    profile_names,
    profiles,
    render_gates,
    render_profile,
    write_profile,
)
from wsss_mm.slide_parameters import Parameters
from wsss_mm.vocabulary import vocabulary_names

SOURCE = Path(__file__).parents[2] / "wsss_mm/slides/phantom"


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_valid(name):
    assert load_profile(name).cohort.vocabulary in vocabulary_names()


def test_slides_are_segmented_as_on_the_command_line():
    """Where people segment, no window grid and no pinholes; only the published profiles differ."""
    for name in set(profile_names()) - {"luad", "bcss"}:
        slides = load_profile(name).slides.model_dump()
        assert {key: slides[key] for key in vars(Parameters())} == vars(Parameters())


def test_a_profile_changes_only_what_it_names(tmp_path):
    base, other = (yaml.safe_load(render_profile(name)) for name in ("phantom", "wsss4luad"))
    assert other["patches"] == {**base["patches"], "size": 112, "min_tissue": 0.2}
    assert other["evaluate"] == base["evaluate"]


def test_source_replaces_the_profiles_own(tmp_path):
    assert yaml.safe_load(render_profile("bcss_wsss", tmp_path))["cohort"]["source"] == tmp_path.as_posix()


def test_both_files_are_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["profile", "tiny", "--source", str(SOURCE)]) == 0
    assert load_params() == load_profile("tiny", SOURCE)
    assert (tmp_path / "gates.yaml").read_text() == render_gates("tiny")
    said = capsys.readouterr().out
    assert "params.yaml and gates.yaml: profile tiny" in said
    assert said.endswith("next: make repro\n")


def test_a_profile_leaves_no_threshold_of_another_behind(tmp_path):
    for name in ("tiny", "phantom"):
        write_profile(name, tmp_path / "params.yaml", SOURCE)
    assert (tmp_path / "gates.yaml").read_text() == render_gates("phantom")


def test_of_two_at_once_both_files_are_ones_or_the_others(tmp_path, monkeypatch):
    names = ("tiny", "phantom")

    @contextmanager
    def slow_for_one(path):
        with atomic_path(path) as temporary:
            yield temporary
        if threading.current_thread().name == names[0]:
            time.sleep(0.5)

    monkeypatch.setattr(profiles, "atomic_path", slow_for_one)
    for _ in range(3):
        threads = [
            threading.Thread(target=write_profile, args=(name, tmp_path / "params.yaml", SOURCE), name=name)
            for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        written = [(tmp_path / file).read_text() for file in ("params.yaml", "gates.yaml")]
        assert written in [[render_profile(name, SOURCE), render_gates(name)] for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gates.yaml", "params.yaml"]


def test_of_two_at_once_stage_cohort_is_that_of_the_parameters_that_stay(project_root, tmp_path, monkeypatch):
    """Whoever comes last to dvc.yaml may not be who came last to params.yaml."""
    monkeypatch.chdir(tmp_path)
    before = (project_root / "dvc.yaml").read_text()
    (tmp_path / "dvc.yaml").write_text(before)
    (tmp_path / "slides.csv").write_text("slide_id\n")

    def overtaken(*arguments):
        written = write_profile(*arguments)
        monkeypatch.setattr(profile, "write_profile", write_profile)
        assert main(["profile", "tiny", "--source", str(SOURCE)]) == 0
        return written

    monkeypatch.setattr(profile, "write_profile", overtaken)
    assert main(["profile", "slides", "--source", "."]) == 0
    assert (tmp_path / "params.yaml").read_text() == render_profile("tiny", SOURCE)
    assert (tmp_path / "dvc.yaml").read_text() == before


@pytest.mark.parametrize("failing", ["params.yaml", "gates.yaml"])
@pytest.mark.parametrize("there", [True, False])
def test_both_files_are_written_or_none(tmp_path, monkeypatch, failing, there):
    path = tmp_path / "params.yaml"
    if there:
        write_profile("phantom", path, SOURCE)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    replace = Path.replace

    def fails(self, target):
        if Path(target).name == failing and not fails.done:
            fails.done = True
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    fails.done = False
    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(InputError, match="no space left"):
        write_profile("tiny", path, SOURCE)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_edits_are_kept_and_what_a_command_writes_is_not(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert main(["profile", "phantom", "--source", str(SOURCE)]) == 0
    assert main(["profile", "tiny", "--source", str(SOURCE)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gates.yaml", "params.yaml"]
    edited = (tmp_path / "params.yaml").read_text().replace("seed: 0", "seed: 7")
    (tmp_path / "params.yaml").write_text(edited)
    (tmp_path / "gates.yaml").write_bytes(b"min_miou: \xff\n")
    assert main(["profile", "phantom", "--source", str(SOURCE)]) == 0
    assert "params.yaml was edited; what it said is kept in params.yaml.before" in caplog.text
    assert (tmp_path / "params.yaml.before").read_text() == edited
    assert (tmp_path / "gates.yaml.before").read_bytes() == b"min_miou: \xff\n"
    assert load_params() == load_profile("phantom", SOURCE)


def test_a_source_that_is_none_is_named_as_it_was_given(tmp_path):
    says = r"^profile bcss_wsss with source \.: cohort\.source: names no file or folder; give the path of one$"
    with pytest.raises(InputError, match=says):
        write_profile("bcss_wsss", tmp_path / "params.yaml", Path())
    assert not list(tmp_path.iterdir())


def test_the_two_files_have_two_names(tmp_path):
    with pytest.raises(InputError, match=r"gates\.yaml: thresholds of gates belong there"):
        write_profile("tiny", tmp_path / "gates.yaml", SOURCE)


class TestPublishedSetting:
    """Every hyper-parameter of the method, number by number."""

    METHOD = {  # noqa: RUF012
        "patches": {"size": 224},
        "classifier": {
            "width": 1.0,
            "attention": "published",
            "dropout": 0.5,
            "epochs": 20,
            "batch_size": 16,
            "accumulate": 1,
            "optimizer": "sgd",
            "lr": 0.01,
            "warmup": 0,
            "poly_power": 0.9,
            "averaging": 0,
            "rotate": False,
            "scale_jitter": (1, 1),
            "color_jitter": 0,
            "elastic": 0,
        },
        "pseudo_labels": {
            "method": "grad_cam_plus_plus",
            "layer": "bn7",
            "scales": (0.75, 1, 1.25),
            "eps": 0,
            "gating": "labels",
            "normalization": "joint",
            "voting": "majority",
            "background_grey": 200,
            "background_min_area": 50,
            "flips": False,
            "neighbours": False,
        },
        "segmenter": {
            "width": 1.0,
            "init": "weights",
            "loss": "onss",
            "iterations": 10000,
            "batch_size": 16,
            "accumulate": 1,
            "optimizer": "sgd",
            "lr": 0.005,
            "momentum": 0.9,
            "weight_decay": 0.0005,
            "warmup": 0,
            "poly_power": 0.9,
            "averaging": 0,
            "rotate": False,
            "surroundings": False,
            "mosaic": 0,
            "auxiliary_weight": 0.4,
        },
        "evaluate": {"scales": (0.75, 1, 1.25), "flip": True},
        "slides": {"window": 224, "overlap": 0.5, "weighting": "uniform", "background_grey": 210, "min_hole": 0},
    }

    @pytest.mark.parametrize(
        ("name", "cohort", "vocabulary", "mpp", "background"),
        [("luad", "luad_histoseg", "lung", 1.0, True), ("bcss", "bcss_wsss", "breast", 0.25, False)],
    )
    def test_is_the_methods(self, name, cohort, vocabulary, mpp, background):
        params = load_profile(name)
        for section, values in self.METHOD.items():
            found = getattr(params, section).model_dump()
            assert {key: found[key] for key in values} == values
        assert (params.cohort.name, params.cohort.vocabulary) == (cohort, vocabulary)
        assert (params.patches.mpp, params.pseudo_labels.background) == (mpp, background)
        for settings in (params.classifier, params.segmenter):
            assert settings.weights.name == "ilsvrc-cls_rna-a1_cls1000_ep-0001.params"
        # deformation, crop and photometric distortion of the segmenter are on; the paper gives no numbers
        segmenter = params.segmenter
        assert segmenter.crop < params.patches.size
        assert segmenter.elastic > 0
        assert segmenter.color_jitter > 0


class TestOwnSlides:
    @pytest.mark.parametrize("labels", [True, False])
    @pytest.mark.parametrize("as_folder", [True, False])
    def test_the_tables_are_named_and_not_their_folder(self, tmp_path, labels, as_folder):
        (tmp_path / "slides.csv").write_text("slide_id\n")
        if labels:
            (tmp_path / "labels.csv").write_text("slide_id\n")
        source = tmp_path if as_folder else tmp_path / "slides.csv"
        cohort = yaml.safe_load(render_profile("slides", source))["cohort"]
        assert cohort["source"] == (tmp_path / "slides.csv").as_posix()
        assert cohort["labels"] == ((tmp_path / "labels.csv").as_posix() if labels else "data/labels.csv")

    def test_stage_cohort_looks_at_them_each_time_and_at_no_other_cohort(self, project_root, tmp_path, monkeypatch):
        before = (project_root / "dvc.yaml").read_text()
        (tmp_path / "dvc.yaml").write_text(before)
        (tmp_path / "slides.csv").write_text("slide_id\n")
        monkeypatch.chdir(tmp_path)
        for _ in range(2):
            assert main(["profile", "slides", "--source", "."]) == 0
            stages = yaml.safe_load((tmp_path / "dvc.yaml").read_text())["stages"]
            assert [name for name, stage in stages.items() if "always_changed" in stage] == ["cohort"]
        (tmp_path / "patches").mkdir()
        assert main(["profile", "bcss_wsss", "--source", "patches"]) == 0
        assert (tmp_path / "dvc.yaml").read_text() == before

    @pytest.mark.parametrize("cmd", ["python -m pipelines.cohort", "nice python -m pipelines.cohort"])
    @pytest.mark.parametrize("line", ["", "    always_changed: true\n"], ids=["no-line", "line-of-ones-own"])
    def test_so_it_does_where_the_user_wrote_in_it(self, tmp_path, monkeypatch, cmd, line):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "slides.csv").write_text("slide_id,patient_id,path,split\n")
        head, tail = f"stages:\n  cohort:\n    cmd: {cmd}\n", "    deps: [a]\n  other:\n    cmd: x\n"
        (tmp_path / "dvc.yaml").write_text(head + line + tail)
        for _ in range(2):
            assert main(["profile", "slides", "--source", str(tmp_path)]) == 0
            assert yaml.safe_load((tmp_path / "dvc.yaml").read_text())["stages"]["cohort"]["always_changed"] is True
            assert (tmp_path / "dvc.yaml").read_text().count("always_changed") == 1
        assert main(["profile", "tiny", "--source", str(SOURCE)]) == 0
        assert (tmp_path / "dvc.yaml").read_text() == head + tail
