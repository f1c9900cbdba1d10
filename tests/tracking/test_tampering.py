"""What was changed in the store after it was registered is refused: a model's files, and the evidence for it."""

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlparse
from uuid import uuid4

import pytest

from pipelines import register
from tests.tracking.test_promotion import write_reports
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.files import digest, write_json
from wsss_mm.gates import report_path
from wsss_mm.models.description import folder_digest, sealed
from wsss_mm.slide_parameters import Parameters
from wsss_mm.tracking import download_model, keep_evidence, promote, read_evidence, register_segmenter, training_run
from wsss_mm.tracking.evidence import run_evidence
from wsss_mm.tracking.promotion import current_champion, doubts
from wsss_mm.tracking.registry import DIGEST_TAG, find_version
from wsss_mm.tracking.runs import tag_weights
from wsss_mm.tracking.store import connect

pytestmark = pytest.mark.xdist_group("mlflow")

CLASSES = [
    {"code": code, "name": code, "color": [1, 2, index], "role": role}
    for index, (code, role) in enumerate((("TE", "tumour"), ("NEC", "necrosis")))
]


def swapped(key: str) -> list[dict]:
    """The classes, each with what is the other's."""
    return [one | {key: other[key]} for one, other in zip(CLASSES, CLASSES[::-1], strict=True)]


EDITS = {
    "order": {"classes": CLASSES[::-1]},
    "mpp": {"mpp": 0.25},
    "normalisation": {"model": {"data_preprocessor": {"mean": [0, 0, 0]}}},
    "another vocabulary": {
        "classes": [one | {"code": code} for one, code in zip(CLASSES, ("STR", "TUM"), strict=True)]
    },
    "roles": {"classes": swapped("role")},
    "colours": {"classes": swapped("color")},
    "names": {"classes": swapped("name")},
    "validated": {"validated": {"overlap": 0.75, "background_grey": 0}},
    "more keys": {"note": "mine"},
    "an older format": {"format": 0},
}


def write_model(folder: Path, weights: bytes, **other) -> Path:
    """A model folder; what the network is matters only to who builds it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.pth").write_bytes(weights)
    write_json(folder / "model.json", sealed({"classes": CLASSES, "mpp": 0.5, **other}, folder / "weights.pth"))
    return folder


@pytest.fixture
def name() -> str:
    return f"tampered-{uuid4().hex}"


@pytest.fixture
def stored(tracked, name) -> Path:
    """Where the store keeps a registered model's folder; made as `register_segmenter` makes it, but at once."""
    folder = write_model(tracked / "store/artifacts/segmenter", name.encode())
    client = connect().MlflowClient()
    client.create_registered_model(name)
    with training_run("segmenter", {}) as run:
        pass
    tags = {"weights_md5": digest(folder / "weights.pth", "md5"), DIGEST_TAG: folder_digest(folder)}
    client.create_model_version(name, str(tracked / "store"), run.info.run_id, tags=tags)
    for alias in ("champion", "challenger"):
        client.set_registered_model_alias(name, alias, "1")
    return folder


@pytest.fixture
def registered(tracked, name) -> Path:
    """The same, as the stage does it."""
    register_segmenter(write_model(tracked / "models/segmenter", name.encode()), name)
    client = connect().MlflowClient()
    model = client.get_logged_model(client.get_model_version(name, "1").source.removeprefix("models:/"))
    (found,) = Path(urlparse(model.artifact_location).path).rglob("model.json")
    return found.parent


def edit(folder: Path, *, again: bool = False, **changes) -> None:
    """Change a description; `again` does it well, with the digest written anew."""
    info = json.loads((folder / "model.json").read_text()) | changes
    write_json(folder / "model.json", sealed(info, folder / "weights.pth") if again else info)


class TestModel:
    @pytest.mark.parametrize("again", [False, True])
    @pytest.mark.parametrize("change", EDITS)
    def test_an_edited_description_is_refused(self, stored, name, change, again):
        edit(stored, again=again, **EDITS[change])
        for uri in (f"models:/{name}/1", f"models:/{name}@champion"):
            with pytest.raises(
                InputError, match=r"model\.json: [^\n]*digest [^\n]* instead of [^\n]*; delete this version"
            ):
                download_model(uri)

    def test_one_of_a_later_format_is_refused(self, stored, name):
        edit(stored, again=True, format=99)
        with pytest.raises(InputError, match=r"changed where it is stored: [^\n]*model\.json: newer than wsss_mm"):
            download_model(f"models:/{name}/1")

    def test_of_a_key_that_stands_twice_the_one_that_is_digested_counts(self, stored, name):
        path = stored / "model.json"
        path.write_text(path.read_text().replace("{", '{"classes": [], "mpp": 9, ', 1))
        found = json.loads((download_model(f"models:/{name}/1") / "model.json").read_text())
        assert (found["classes"], found["mpp"]) == (CLASSES, 0.5)
        path.write_text(path.read_text().rstrip().removesuffix("}") + ', "mpp": 9}')
        with pytest.raises(InputError, match=r"model\.json: not as it was saved"):
            download_model(f"models:/{name}/1")

    def test_weights_of_another_training_with_this_description_are_refused(self, stored, name):
        (stored / "weights.pth").write_bytes(b"other")
        edit(stored, again=True)
        with pytest.raises(InputError, match=r"weights\.pth: damaged where it is stored"):
            download_model(f"models:/{name}/1")

    @pytest.mark.parametrize("tag", ["0" * 64, "none", "1"])
    def test_a_tag_that_was_edited_is_refused(self, stored, name, tag):
        connect().MlflowClient().set_model_version_tag(name, "1", DIGEST_TAG, tag)
        with pytest.raises(InputError, match=r"changed where it is stored, digest [0-9a-f]{12} instead of [^\n]+$"):
            download_model(f"models:/{name}/1")

    @pytest.mark.parametrize("tag", ["", None])
    def test_weights_are_compared_where_the_tag_of_the_digest_is_gone(self, stored, name, tag):
        client = connect().MlflowClient()
        client.delete_model_version_tag(name, "1", DIGEST_TAG)
        if tag is not None:
            client.set_model_version_tag(name, "1", DIGEST_TAG, tag)
        (stored / "weights.pth").write_bytes(b"other")
        edit(stored, again=True)
        with pytest.raises(InputError, match=r"weights\.pth: damaged where it is stored"):
            download_model(f"models:/{name}/1")

    def test_a_description_without_its_digest_is_refused(self, stored, name):
        info = json.loads((stored / "model.json").read_text())
        write_json(stored / "model.json", {"classes": info["classes"][::-1], "mpp": 0.5})
        with pytest.raises(InputError, match="digest"):
            download_model(f"models:/{name}/1")

    def test_another_model_in_its_place_is_refused(self, stored, name, tmp_path):
        other = write_model(tmp_path / "other", b"other")
        for file in ("model.json", "weights.pth"):
            shutil.copyfile(other / file, stored / file)
        with pytest.raises(InputError, match=r"weights\.pth: damaged"):
            download_model(f"models:/{name}/1")

    def test_a_second_model_beside_it_is_not_taken(self, stored, name):
        write_model(stored.parent / "aaa", b"other")
        with pytest.raises(InputError, match="holds 2 segmenters"):
            download_model(f"models:/{name}/1")

    @pytest.mark.parametrize("file", ["model.json", "weights.pth"])
    def test_a_link_that_leads_out_is_refused(self, stored, name, file, tmp_path):
        (stored / file).replace(tmp_path / file)
        (stored / file).symlink_to(tmp_path / file)
        with pytest.raises(InputError, match=f"{file}: a link that leads out"):
            download_model(f"models:/{name}/1")

    def test_a_folder_that_is_a_link_is_refused(self, stored, name, tmp_path):
        stored.rename(tmp_path / "elsewhere")
        stored.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(InputError, match=r"model\.json: a link that leads out"):
            download_model(f"models:/{name}/1")

    def test_a_second_name_of_a_file_is_that_file(self, stored, name, tmp_path):
        """A hard link shows nowhere; what is written through it is found as if it was written here."""
        for file in ("model.json", "weights.pth"):
            (tmp_path / file).hardlink_to(stored / file)
        assert folder_digest(download_model(f"models:/{name}/1")) == find_version(name, "1").tags[DIGEST_TAG]
        (tmp_path / "weights.pth").write_bytes(b"other")
        with pytest.raises(InputError, match=r"weights\.pth: damaged where it is stored"):
            download_model(f"models:/{name}/1")

    def test_weights_that_are_gone_are_named(self, stored, name):
        (stored / "weights.pth").unlink()
        with pytest.raises(InputError, match=r"weights\.pth: missing"):
            download_model(f"models:/{name}/1")

    def test_other_files_in_the_model_are_nobodys_business(self, stored, name):
        (stored / "sitecustomize.py").write_text("raise SystemExit")
        for other in ("Model.json", "WEIGHTS.PTH", "weights.pth.json", "model.json.json"):
            (stored / other).write_text("{}")
        (stored.parent / "SEGMENTER").mkdir()
        (stored.parent / "SEGMENTER/Model.json").write_text("{}")
        assert folder_digest(download_model(f"models:/{name}@champion")) == find_version(name, "1").tags[DIGEST_TAG]

    def test_a_version_without_the_tag_is_loaded_with_one_line(self, stored, name, caplog):
        connect().MlflowClient().delete_model_version_tag(name, "1", DIGEST_TAG)
        download_model(f"models:/{name}/1")
        (record,) = [record for record in caplog.records if record.name.startswith("wsss_mm")]
        assert "registered without a digest" in record.message

    def test_it_is_not_promoted(self, stored, name):
        client = connect().MlflowClient()
        client.delete_registered_model_alias(name, "champion")
        edit(stored, again=True, mpp=0.25)
        with pytest.raises(InputError, match=r"model\.json: changed where it is stored"):
            promote(name, reason="I want it")
        assert current_champion(name) is None

    def test_it_is_not_made_again(self, stored, name, capsys):
        edit(stored, again=True, mpp=0.25)
        assert main(["reproduce", f"models:/{name}/1"]) == 2
        assert "changed where it is stored" in capsys.readouterr().err

    def test_the_same_weights_with_another_meaning_are_another_version(self, tracked, name):
        first = register_segmenter(write_model(tracked / "m", name.encode()), name)
        again = register_segmenter(tracked / "m", name)
        other = register_segmenter(write_model(tracked / "m", name.encode(), mpp=0.25), name)
        assert (first.version, again.version, other.version) == ("1", "1", "2")
        assert again.digest == first.digest != other.digest

    def test_a_version_of_older_days_gets_its_tag_if_it_is_the_same(self, registered, name, tracked):
        client, wanted = connect().MlflowClient(), find_version(name, "1").tags[DIGEST_TAG]
        client.delete_model_version_tag(name, "1", DIGEST_TAG)
        assert register_segmenter(tracked / "models/segmenter", name).version == "1"
        assert find_version(name, "1").tags[DIGEST_TAG] == wanted
        client.delete_model_version_tag(name, "1", DIGEST_TAG)
        edit(registered, again=True, mpp=0.25)
        assert register_segmenter(tracked / "models/segmenter", name).version == "2"

    def test_a_folder_that_was_edited_is_not_registered(self, tracked, name):
        folder = write_model(tracked / "models/segmenter", name.encode())
        edit(folder, classes=CLASSES[::-1])
        with pytest.raises(InputError, match=r"model\.json: not as it was saved"):
            register_segmenter(folder, name)

    def test_a_pyfunc_model_asks_for_the_digest_it_was_logged_with(self, registered, name, monkeypatch):
        from wsss_mm import models
        from wsss_mm.tracking.pyfunc_model import SegmenterModel

        run = connect().MlflowClient().get_run(find_version(name, "1").run_id)
        assert "digest" not in run.data.params
        config = (registered.parents[1] / "MLmodel").read_text()
        assert folder_digest(registered) in config
        monkeypatch.setattr(models, "load_model", lambda folder: (None, {"digest": folder_digest(folder)}))
        context = SimpleNamespace(artifacts={"segmenter": str(registered)})
        SegmenterModel().load_context(context)
        edit(registered, again=True, mpp=0.25)
        with pytest.raises(InputError, match="changed where it is stored"):
            SegmenterModel().load_context(context)


class TestEvidence:
    @pytest.fixture
    def kept(self, tracked, name) -> Path:
        """Where the store keeps the evidence of a version."""
        write_reports(tracked, 0.5)
        folder = write_model(tracked / "models/segmenter", name.encode())
        with training_run("segmenter", {}) as run:
            tag_weights(folder / "weights.pth")
        register_segmenter(folder, name, champion=False)
        keep_evidence(tracked, run.info.run_id, {"commit": "0" * 40, "runs": {}})
        return Path(urlparse(run.info.artifact_uri).path) / "evidence"

    def test_training_and_version_name_the_same_model(self, kept, name, tracked):
        model = folder_digest(tracked / "models/segmenter")
        version = connect().MlflowClient().get_model_version(name, "1")
        assert connect().get_run(version.run_id).data.tags[DIGEST_TAG] == version.tags[DIGEST_TAG] == model

    def test_better_figures_are_refused(self, kept, name):
        path = kept / "reports/metrics/test.json"
        write_json(path, json.loads(path.read_text()) | {"ungated": {"miou": 0.99}})
        with pytest.raises(
            InputError, match=r"evidence/reports/metrics/test\.json was changed after it was registered"
        ):
            promote(name, "1")
        assert main(["report", f"models:/{name}/1"]) == 2

    def test_a_report_that_is_gone_or_a_listing_of_ones_own_is_refused(self, kept, name):
        gate = kept / report_path("slides")
        content = gate.read_text()
        gate.unlink()
        with pytest.raises(InputError, match=r"evidence/reports/gates/slides\.json was changed"):
            promote(name, "1")
        gate.write_text(content + " ")
        listing = kept / "digests.json"
        listing.write_text(listing.read_text().replace(hashlib.sha256(content.encode()).hexdigest(), digest(gate)))
        with pytest.raises(InputError, match=r"evidence/digests\.json was changed"):
            promote(name, "1")
        shutil.rmtree(kept)
        with pytest.raises(InputError, match="evidence is gone"):
            promote(name, "1")

    def test_what_was_put_beside_it_is_not_read(self, kept, name, tmp_path):
        (kept / "reports/plots").mkdir(parents=True)
        (kept / "reports/plots/test_confusion.csv").write_text("<script>")
        version = find_version(name, "1")
        found = run_evidence(version.run_id, tmp_path / "copy")
        assert found.miou == 0.5
        assert not (found.folder / "reports/plots/test_confusion.csv").exists()
        assert promote(name, "1").version == "1"


class TestFirstChampion:
    """A registry without a champion may just be a new one."""

    @pytest.fixture
    def line(self, tracked, name):
        write_reports(tracked, 0.5)
        folder = write_model(
            *(tracked / "models/segmenter", name.encode()),
            **{"cohort": "phantom", "train_patches": 1, "size": 64},
        )
        settings = SimpleNamespace(
            register_=SimpleNamespace(model_name=name), slides=Parameters(overlap=0.25, min_hole=30.5)
        )
        return lambda: register.main(settings), digest(folder / "weights.pth", "md5")

    def test_the_first_with_good_evidence_becomes_it(self, line, name, tracked):
        line[0]()
        assert str(current_champion(name).version) == "1"
        assert json.loads((tracked / "reports/registered.json").read_text())["digest"] == folder_digest(
            tracked / "models/segmenter"
        )

    @pytest.mark.parametrize(
        ("gate", "report", "says"),
        [
            ("patches", {"passed": False}, "gate patches failed"),
            (
                "segmenter",
                {"passed": True, "measured": {"metrics": {"rows": 1, "values": [{"below_champion": -0.1}]}}},
                "compared it with a champion",
            ),
            (
                "slides",
                {"passed": True, "measured": {"models": {"rows": 1, "values": [{"weights_md5": "f" * 32}]}}},
                "judged maps of weights ffffffff",
            ),
        ],
    )
    def test_one_whose_evidence_names_another_does_not(self, line, name, tracked, caplog, gate, report, says):
        write_json(tracked / report_path(gate), report)
        line[0]()
        assert current_champion(name) is None
        assert says in caplog.text
        assert f"wsss-mm models promote 1 --name {name}" in caplog.text
        assert str(find_version(name, "challenger").version) == "1"

    def test_how_its_slides_were_segmented_is_part_of_what_is_registered(self, line, name, tracked, monkeypatch):
        rows = [{"weights_md5": line[1], "precision": "fp32", "slides": 2}]
        write_json(tracked / report_path("slides"), {"passed": True, "measured": {"models": {"values": rows}}})
        before = (tracked / "models/segmenter/model.json").read_bytes()
        for _ in range(2):
            line[0]()
            folder = download_model(f"models:/{name}@champion")
            carried = json.loads((folder / "model.json").read_text())["validated"]
            assert carried == Parameters(overlap=0.25, min_hole=30.5).carried()
            assert json.loads((tracked / "reports/registered.json").read_text())["validated"] == carried
            version = find_version(name, "champion")
            assert (version.version, version.tags[DIGEST_TAG]) == (1, folder_digest(folder))
            assert version.tags[DIGEST_TAG] != folder_digest(tracked / "models/segmenter")
        assert (tracked / "models/segmenter/model.json").read_bytes() == before  # an out of its training
        monkeypatch.setenv("DVC_EXP_NAME", "narrow")
        settings = SimpleNamespace(register_=SimpleNamespace(model_name=name), slides=Parameters(overlap=0.75))
        register.main(settings)  # an experiment that trained nothing
        assert (find_version(name, "challenger").version, find_version(name, "1").tags) == (1, version.tags)
        monkeypatch.delenv("DVC_EXP_NAME")
        register.main(settings)
        assert (find_version(name, "challenger").version, find_version(name, "champion").version) == (2, 1)
        described = folder / "model.json"
        described.write_text(described.read_text().replace('"overlap": 0.25', '"overlap": 0.75'))
        with pytest.raises(InputError, match=r"model\.json: not as it was saved"):
            folder_digest(folder)

    def test_its_own_maps_are_no_doubt(self, line, tracked):
        rows = [{"weights_md5": line[1], "precision": "fp32", "slides": 1}]
        write_json(tracked / report_path("slides"), {"passed": True, "measured": {"models": {"values": rows}}})
        rows = [{"below_champion": None}]
        write_json(tracked / report_path("segmenter"), {"passed": True, "measured": {"metrics": {"values": rows}}})
        assert doubts(read_evidence(tracked), line[1]) == []
