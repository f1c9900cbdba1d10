"""The champion moves only on evidence or with a reason, and every move can be taken back."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.settings import copy_profile
from wsss_mm import tracking
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.files import write_json, write_text
from wsss_mm.gates import GATES
from wsss_mm.gates.champion import Pin, Rival, read_pin, write_pin
from wsss_mm.tracking import (
    champion_pin,
    delete,
    keep_evidence,
    list_versions,
    promote,
    promotion,
    rollback,
    training_run,
)
from wsss_mm.tracking.card import version_card
from wsss_mm.tracking.evidence import Evidence, run_evidence
from wsss_mm.tracking.promotion import OVER, objections
from wsss_mm.tracking.registry import download_model, find_version
from wsss_mm.tracking.store import connect

pytestmark = pytest.mark.xdist_group("mlflow")

PASSED = dict.fromkeys(GATES, "passed")
GOOD = Evidence(
    Path(),
    {"ungated": {"miou": 0.80}, "bootstrap": {"ungated": {"miou": [0.75, 0.85]}}},
    PASSED,
    {},
    {"data/patches": "a" * 32},
)


def with_miou(miou: float) -> Evidence:
    return replace(GOOD, test={**GOOD.test, "ungated": {"miou": miou}})


class TestObjections:
    def test_the_first_needs_its_gates_alone(self):
        assert objections(replace(GOOD, digests={}), None) == []

    @pytest.mark.parametrize(("miou", "beats"), [(0.84, False), (0.85, False), (0.8501, True)])
    def test_the_champions_interval_must_be_left_below(self, miou, beats):
        assert (objections(with_miou(miou), GOOD) == []) is beats

    @pytest.mark.parametrize("gate", GATES)
    def test_every_gate_counts(self, gate):
        better = with_miou(0.9)
        assert objections(replace(better, gates={**PASSED, gate: "failed"}), GOOD) == [f"gate {gate} failed"]
        without = {name: "passed" for name in GATES if name != gate}
        assert objections(replace(better, gates=without), GOOD) == [f"gate {gate} has no report"]

    @pytest.mark.parametrize("digests", [{}, {"data/patches": "b" * 32}])
    def test_other_data_are_no_comparison(self, digests):
        (objection,) = objections(replace(with_miou(0.9), digests=digests), GOOD)
        assert "aaaaaaaa" in objection

    def test_more_training_patches_are_no_other_test(self):
        champion = replace(GOOD, test={**GOOD.test, "test_split": "c" * 32})
        better = with_miou(0.9)
        more = replace(better, digests={"data/patches": "b" * 32}, test={**better.test, "test_split": "c" * 32})
        assert objections(more, champion) == []
        assert len(objections(replace(more, test={**more.test, "test_split": "d" * 32}), champion)) == 1

    def test_without_an_interval_nothing_is_known(self):
        champion = replace(GOOD, test={"ungated": {"miou": 0.1}})
        assert objections(with_miou(0.9), champion) == ["the champion's test mIoU has no interval"]
        assert objections(replace(GOOD, test={}), GOOD) == ["it has no test mIoU"]


def write_reports(root: Path, miou: float, gates: dict[str, str] = PASSED) -> None:
    for gate, outcome in gates.items():
        write_json(root / f"reports/gates/{gate}.json", {"passed": outcome == "passed"})
    test = {"ungated": {"miou": miou}, "bootstrap": {"ungated": {"miou": [miou - 0.05, miou + 0.05]}}}
    write_json(root / "reports/metrics/test.json", test)
    outs = "- path: data/patches\n      md5: " + "a" * 32
    write_text(root / "dvc.lock", f"stages:\n  patches:\n    outs:\n    {outs}\n")


@pytest.fixture
def versions(tracked, request):
    """Makes versions, each of a run with its evidence; no model files, which nobody here opens."""
    name, client = request.node.name.replace("[", "-").strip("]"), connect().MlflowClient()
    client.create_registered_model(name)

    def make(miou: float, gates: dict[str, str] = PASSED) -> str:
        write_reports(tracked, miou, gates)
        with training_run("segmenter", {}) as run:
            pass
        keep_evidence(tracked, run.info.run_id, {"commit": "c", "runs": {"train_segmenter": run.info.run_id}})
        version = client.create_model_version(name, run.info.artifact_uri, run.info.run_id)
        client.set_registered_model_alias(name, "challenger", version.version)
        return str(version.version)

    return name, make


def aliases(name: str) -> dict[str, str]:
    return {key: str(value) for key, value in connect().MlflowClient().get_registered_model(name).aliases.items()}


class TestPromotion:
    def test_it_moves_back_and_forth(self, versions):
        name, make = versions
        make(0.5)
        assert promote(name).previous is None
        make(0.52)
        with pytest.raises(InputError, match=r"0\.5200 is not above the champion's interval 0\.4500 to 0\.5500"):
            promote(name)
        make(0.7)
        assert (promote(name).version, aliases(name)["champion"]) == ("3", "3")
        assert rollback(name, "stripes").version == aliases(name)["champion"] == "1"
        tags = connect().MlflowClient().get_model_version(name, "1").tags
        assert tags["promotion.forced"] == "rollback: stripes"
        with pytest.raises(InputError, match="replaced no version"):
            rollback(name, "again")

    def test_a_reason_overrides_and_stays(self, versions, capsys):
        name, make = versions
        make(0.5)
        promote(name)
        make(0.4, {**PASSED, "slides": "failed"})
        assert main(["models", "promote", "--name", name]) == 2
        assert "gate slides failed; its test mIoU 0.4000" in capsys.readouterr().err
        assert aliases(name)["champion"] == "1"
        assert main(["models", "promote", "--name", name, "--force", "the scanner of ward 3"]) == 0
        tags = connect().MlflowClient().get_model_version(name, "2").tags
        assert tags["promotion.forced"] == "the scanner of ward 3"
        assert "gate slides failed" in tags["promotion.objections"]

    def test_deleting_a_champion_gives_the_alias_back(self, versions):
        name, make = versions
        for miou in (0.3, 0.5, 0.7):
            make(miou)
            promote(name)
        delete(name, "2", "broken")
        assert delete(name, "champion", "worse on real slides").version == "1"
        assert aliases(name)["champion"] == "1"
        assert delete(name, "1", "last") is None
        with pytest.raises(InputError, match="no registered model"):
            list_versions(name)

    def test_who_comes_second_in_a_race_is_refused(self, versions, monkeypatch):
        name, make = versions
        make(0.3)
        promote(name)
        make(0.5)
        make(0.7)

        def race(*arguments):
            monkeypatch.setattr(promotion, "objections", objections)
            promote(name, "3")
            return objections(*arguments)

        monkeypatch.setattr(promotion, "objections", race)
        with pytest.raises(InputError, match="version 3 became champion meanwhile"):
            promote(name, "2")
        assert aliases(name)["champion"] == "3"

    @pytest.mark.parametrize("champion", [None, "1"])
    def test_of_several_at_the_same_moment_one_is_champion(self, versions, champion):
        """All have compared themselves with the champion there is, or with none, before the first of them moves it."""
        name, make = versions
        for miou in (0.3, 0.5, 0.6, 0.7):
            make(miou)
        if champion:
            promote(name, champion)
        before = promotion.current_champion(name)
        together, moved, refused = threading.Barrier(3), [], []

        def move(version: str) -> None:
            candidate = find_version(name, version)
            together.wait()
            try:
                promotion._move(name, candidate, before, reason="mine", against=[])
                moved.append(version)
            except InputError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=move, args=(version,)) for version in "234"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert moved == [aliases(name)["champion"]]
        assert refused == [f"{name}: version {moved[0]} became champion meanwhile; look again"] * 2
        assert {version for version in "234" if OVER in find_version(name, version).tags} == set(moved)

    def test_a_move_leaves_nothing_behind(self, versions):
        """What keeps others out while it lasts is in no parameter and no tag of a run, nor of the model, later on."""
        name, make = versions
        for miou in (0.3, 0.5, 0.7):
            make(miou)
        promote(name)
        promote(name, "1", reason="the first")
        rollback(name, "the third")
        client = connect().MlflowClient()
        runs = [client.get_run(find_version(name, version).run_id) for version in "123"]
        assert [run.data.params for run in runs] == [{}] * 3
        assert not [key for run in runs for key in run.data.tags if key.startswith("promotion")]
        assert client.get_registered_model(name).tags == {}

    def test_a_move_that_was_killed_holds_nobody_up_for_long(self, versions, monkeypatch, caplog):
        name, make = versions
        make(0.3)
        client = connect().MlflowClient()
        for key in ("0", "z"):  # before and behind any of ours
            client.set_registered_model_tag(name, f"{promotion._MOVING}{key}", "version 1, on another machine")
        monkeypatch.setattr(promotion, "_BROKEN_OFF", 0.0)
        assert promote(name).version == "1"
        assert caplog.text.count("was broken off") == 2
        assert client.get_registered_model(name).tags == {}

    def test_a_move_that_is_killed_can_be_taken_back(self, versions, monkeypatch):
        name, make = versions
        make(0.3)
        promote(name)
        make(0.7)
        client = connect().MlflowClient
        move = client.set_registered_model_alias

        def killed(*arguments):
            move(*arguments)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(client, "set_registered_model_alias", killed)
            promote(name)
        assert aliases(name)["champion"] == "2"
        assert rollback(name, "not sure").version == "1"

    def test_reasons_of_an_earlier_time_as_champion_do_not_stay(self, versions, tracked):
        name, make = versions
        make(0.5)
        promote(name)
        make(0.9, {**PASSED, "slides": "failed"})
        promote(name, reason="in a hurry")
        rollback(name, "gate slides")
        write_reports(tracked, 0.9)  # mended
        keep_evidence(tracked, find_version(name, "2").run_id, {"commit": "c", "runs": {}})
        assert promote(name).objections == ()
        tags = find_version(name, "2").tags
        assert tags[OVER] == "1"
        assert tags["promotion.forced"] == tags["promotion.objections"] == "none"

    def test_a_champion_of_this_moment_is_not_deleted_with_the_one_before(self, versions, monkeypatch):
        name, make = versions
        make(0.3)
        promote(name)
        make(0.7)
        before = promotion._before

        def meanwhile(*arguments):
            monkeypatch.setattr(promotion, "_before", before)
            promote(name, "2")
            return before(*arguments)

        monkeypatch.setattr(promotion, "_before", meanwhile)
        with pytest.raises(InputError, match="version 2 became champion meanwhile"):
            delete(name, "1", "old")
        assert aliases(name)["champion"] == "2"

    def test_what_is_not_there_is_named(self, tracked):
        for call in (lambda: promote("nobody"), lambda: rollback("nobody", "x"), lambda: delete("nobody", "1", "x")):
            with pytest.raises(InputError, match="nobody"):
                call()


def test_evidence_comes_back_as_it_was(tracked, tmp_path_factory):
    write_reports(tracked, 0.6)
    with training_run("segmenter", {}) as run:
        pass
    keep_evidence(tracked, run.info.run_id, {"commit": "c0ffee", "runs": {}})
    back = run_evidence(run.info.run_id, tmp_path_factory.mktemp("back"))
    assert (back.miou, back.interval()) == (0.6, (0.55, 0.65))
    assert (back.gates, back.lineage["commit"], back.digests) == (PASSED, "c0ffee", {"data/patches": "a" * 32})


def test_a_lost_server_is_not_a_run_without_evidence(project, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(connect().exceptions.MlflowException, match=r"127\.0\.0\.1"):
        run_evidence("0" * 32, tmp_path)
    with pytest.raises(connect().exceptions.MlflowException, match=r"127\.0\.0\.1"):
        download_model("models:/segmenter/1")


def test_the_card_says_where_it_fails(tmp_path):
    confusion = "actual,predicted,pixels,share\nTE,TE,1,0.1\nTE,NEC,2,0.2\nTE,LYM,7,0.7\nLYM,LYM,1,1.0\n"
    write_text(tmp_path / "reports/plots/test_confusion.csv", confusion)
    codes = [("TE", "Tumour"), ("LYM", "Lymphocytes")]
    info = {"classes": [{"code": code, "name": name} for code, name in codes], "mpp": 1.0, "size": 224}
    info |= {"cohort": "phantom", "train_patches": 9}
    evidence = replace(GOOD, folder=tmp_path, test={"ungated": {"miou": 0.5, "iou.TE": 0.1}})
    card = version_card(info, evidence)
    assert "research only" in card
    assert "| TE, Tumour | 0.100 |  | 70% of its pixels taken for LYM |" in card
    assert "| LYM, Lymphocytes | undefined |  |  |" in card
    assert f"| patches | `data/patches` | `{'a' * 32}` |" in card


class TestPin:
    """champion.json follows the moves made in the project that registers the model, and no others."""

    @pytest.fixture
    def project(self, versions, tracked, monkeypatch):
        name, make = versions
        params = copy_profile(tracked)
        params.write_text(params.read_text().replace("model_name: segmenter-phantom", f"model_name: {name}"))
        monkeypatch.chdir(tracked)
        write_pin(tracked, Pin())

        def make_with_figures(miou: float) -> str:
            version = make(miou)
            for key, value in (("test.miou", f"{miou:.4f}"), ("test.split", "s"), ("weights_md5", version * 32)):
                connect().MlflowClient().set_model_version_tag(name, version, key, value)
            return version

        return name, make_with_figures

    def test_it_follows(self, project, capsys):
        name, make = project
        make(0.5)
        assert main(["models", "promote"]) == 0
        assert "champion.json says so, too" in capsys.readouterr().out
        first = Rival("1", "1" * 32, 0.5, "s")
        assert read_pin(Path()) == Pin(name, first)
        make(0.7)
        assert main(["models", "promote"]) == 0
        assert read_pin(Path()) == Pin(name, Rival("2", "2" * 32, 0.7, "s"), first)
        assert main(["models", "rollback", "--reason", "stripes"]) == 0
        assert read_pin(Path()) == Pin(name, first)
        assert main(["models", "delete", "champion", "--reason", "wrong"]) == 0
        assert read_pin(Path()) == Pin(name)

    def test_of_two_moves_at_once_the_last_is_pinned(self, project, monkeypatch):
        """Who read the registry first does not write what it said then over what it says now."""
        name, make = project
        make(0.5)
        threads = []

        def overtaken(name):
            pin = champion_pin(name)
            monkeypatch.setattr(tracking, "champion_pin", champion_pin)
            make(0.7)
            threads.append(threading.Thread(target=main, args=(["models", "promote"],)))
            threads[0].start()
            threads[0].join(2)
            return pin

        monkeypatch.setattr(tracking, "champion_pin", overtaken)
        assert main(["models", "promote"]) == 0
        threads[0].join()
        assert read_pin(Path()) == Pin(name, Rival("2", "2" * 32, 0.7, "s"), Rival("1", "1" * 32, 0.5, "s"))

    def test_a_move_elsewhere_is_pinned_by_hand(self, project):
        name, make = project
        make(0.5)
        promote(name)
        assert read_pin(Path()) == Pin()
        assert main(["models", "pin"]) == 0
        assert read_pin(Path()) == Pin(name, Rival("1", "1" * 32, 0.5, "s"))

    def test_another_task_is_no_rival(self, project, capsys):
        name, make = project
        make(0.5)
        copy_profile(Path())
        assert main(["models", "promote", "--name", name]) == 0
        assert read_pin(Path()) == Pin()
        assert main(["models", "pin", "--name", name]) == 2
        assert "params.yaml: registers segmenter-phantom" in capsys.readouterr().err
