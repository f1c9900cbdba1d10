"""Files of every format that was ever written are read, as the product reads them; those of later ones are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from wsss_mm import places
from wsss_mm.choosing import read_choice
from wsss_mm.cli.models import _weights_of
from wsss_mm.datasets.patches import pseudo_label_paths
from wsss_mm.engine.checkpoints import sound_checkpoint
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.formats import KEY, PARQUET_KEY, DamagedError, NewerError, read_object, without_number
from wsss_mm.gates import gate_tags
from wsss_mm.gates.champion import read_pin
from wsss_mm.gates.pseudo_labels import _read
from wsss_mm.gates.reading import gated_digest, read_metrics, read_report
from wsss_mm.labelling import Place, read_journals
from wsss_mm.labelling.candidates import read_candidates
from wsss_mm.models import load_model
from wsss_mm.models.description import VALIDATED, described, folder_digest
from wsss_mm.patches import VOCABULARIES, read_manifest
from wsss_mm.patches.shards import PackedFile
from wsss_mm.patches.stains import target_of
from wsss_mm.places import ARTEFACTS, Artefact
from wsss_mm.project.note import read_note
from wsss_mm.slide_parameters import Parameters
from wsss_mm.slides.icc import icc_noted
from wsss_mm.tracking import evidence, local
from wsss_mm.vocabulary import Vocabulary
from wsss_mm.wsi import SlideModel
from wsss_mm.wsi.export import finished
from wsss_mm.wsi.journal import MapJournal
from wsss_mm.wsi.partial import partial_folder
from wsss_mm.wsi.slidemap import stored
from wsss_mm.wsi.viewer.results import read_result

EXAMPLES, CURRENT = Path(__file__).parent, "v1"
LUNG = VOCABULARIES["lung"]
CODES = ["TE", "NEC", "LYM", "TAS"]

MD5 = "0dda1db5b9032d97df3b473414a16919"
MODEL_DIGESTS = {
    "v0": "d4fef9e961c762d3d96d36a455f2007bee2ab47adcabce13f1f9ae0a88b8bfcc",
    "v1": "19ddbfac78a24adcb57a74f133466e91bec6b40056a5b11cb22e469b86ee8ab4",
}
RUN = "0" * 32
SLIDE, HALF_DONE = Path("results/slides/small"), Path("results/slides/half-done/.partial")
MADE_WITH = Parameters(leave_out_pen=False, window=64, min_island=2000)
TRAINING = Path("work_dirs/train_segmenter/0123456789abcdef")


def read_run(root: Path) -> tuple[local.Head, list[local.Entry]]:
    path = root / f"work_dirs/unsent/{RUN}/run.jsonl"
    with path.open("rb") as stream:
        return local._read(stream, path)


def read_kept(root: Path) -> bool:
    evidence._check_kept(root / "evidence", RUN, digest(root / "evidence/digests.json"))
    return True


def read_map(root: Path) -> dict[str, int]:
    """Pixels of each class, by stored value."""
    with stored(root / places.MAPS / "small") as made:
        values, counts = np.unique(made.labels[0 : made.labels.shape[0]], return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))


READ = {
    places.MODEL: lambda root: load_model(root / places.SEGMENTER)[1],
    places.BUNDLE: lambda root: read_object(root / "models/bundles/small/bundle.json", places.BUNDLE),
    places.PATCH_MANIFEST: lambda root: read_manifest(root / places.PATCHES, LUNG),
    places.STAINS: lambda root: target_of(root / places.PATCHES),
    places.ICC_NOTE: lambda root: icc_noted(root / places.PATCHES),
    places.CANDIDATE_TABLE: lambda root: read_candidates(root / places.CANDIDATES),
    places.FEATURES_INDEX: lambda root: read_object(
        root / places.FEATURES / places.FEATURES_FILE, places.FEATURES_INDEX
    ),
    places.PSEUDO_LABEL_MANIFEST: lambda root: pseudo_label_paths(root / places.PSEUDO_LABELS, LUNG),
    places.CHOICE: lambda root: read_choice(root / places.CHOICE_FILE),
    places.SLIDE_MAP: read_map,
    places.SLIDE_SUMMARY: lambda root: read_result(root / SLIDE),
    places.SLIDE_JOURNAL: lambda root: MapJournal(
        root / HALF_DONE, {"slide": {"file": "half-done.tiff"}, "mpp": 1.0}
    ).read(),
    places.LABEL_JOURNAL: lambda root: read_journals(root / places.LABELS_FOLDER).answers(),
    places.FIGURES: lambda root: read_metrics(root / "reports/metrics/classifier.json", "dvc repro"),
    places.GATE_REPORT: lambda root: read_report(root / "reports/gates/classifier.json"),
    places.REGISTRATION: lambda root: read_object(root / places.REGISTERED, places.REGISTRATION),
    places.CHAMPION: read_pin,
    places.PROJECT: read_note,
    places.CHECKPOINT: lambda root: sound_checkpoint(root / TRAINING),
    places.LOCAL_RUN: read_run,
    places.KEPT_DIGESTS: read_kept,
    places.KEPT_LINEAGE: lambda root: evidence.read_evidence(root / "evidence").lineage,
}
"""How the product reads one example of each artefact."""

BEGUN_ANEW = {places.SLIDE_JOURNAL, places.CHECKPOINT}
"""What is damaged of these says so, or nothing, and work begins anew."""

ADDED_TO = {places.LOCAL_RUN, places.LABEL_JOURNAL}
"""Text that is added to: what is cut off of its end is passed over."""


def named(of: Artefact) -> str:
    return of.what


def example(root: Path, of: Artefact) -> Path:
    """The one that is read."""
    wanted = {places.FIGURES: "classifier.json", places.GATE_REPORT: "classifier.json"}.get(of)
    found = sorted(path for pattern in of.places for path in root.glob(pattern))
    return next(path for path in found if wanted in (None, path.name))


def number_of(path: Path) -> int:
    if path.suffix == ".parquet":
        return int((pq.ParquetFile(path).metadata.metadata or {}).get(PARQUET_KEY.encode(), b"0"))
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8")).get(KEY, 0)
    first = path.read_text(encoding="utf-8").splitlines()[0]
    if path.suffix == ".jsonl":
        return json.loads(first).get(KEY, 0)
    return int(first.rpartition(" ")[2]) if first.startswith("# wsss_mm format ") else 0


def renumber(path: Path, number: object) -> None:
    """Let a file say another number, or something else, as that of its format."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({PARQUET_KEY: str(number)})
    elif path.suffix == ".json":
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(content | {KEY: number}), encoding="utf-8")
    elif path.suffix == ".jsonl":
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join((json.dumps(json.loads(first) | {KEY: number}), *lines, "")), encoding="utf-8")
    else:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# wsss")]
        path.write_text("\n".join((f"# wsss_mm format {number}", *lines)), encoding="utf-8")


@pytest.fixture(params=["v0", "v1"])
def version(request) -> str:
    return request.param


@pytest.fixture
def root(version, tmp_path) -> Path:
    """Examples of a format, as in a project."""
    return Path(shutil.copytree(EXAMPLES / version, tmp_path / version))


@pytest.fixture
def newest(tmp_path) -> Path:
    return Path(shutil.copytree(EXAMPLES / CURRENT, tmp_path / CURRENT))


def test_every_artefact_is_in_the_list():
    found = {value for value in vars(places).values() if isinstance(value, Artefact)}
    assert found == set(ARTEFACTS)
    assert set(READ) == found


@pytest.mark.parametrize("of", ARTEFACTS, ids=named)
def test_every_format_that_is_read_has_an_example(of):
    for number in range(of.oldest, of.format + 1):
        path = example(EXAMPLES / f"v{number}", of)
        assert number_of(path) == number, f"{path}: say {number} there, or add examples of {of.what}"


def test_every_numbered_example_is_an_artefact():
    known = {path for of in ARTEFACTS for pattern in of.places for path in (EXAMPLES / CURRENT).glob(pattern)}
    kept = set((EXAMPLES / CURRENT).glob("evidence/reports/**/*"))
    found = {path for suffix in ("json", "parquet") for path in (EXAMPLES / CURRENT).rglob(f"*.{suffix}")}
    assert found - kept <= known


class TestOfEachFormat:
    def test_model(self, root, version):
        network, info = load_model(root / places.SEGMENTER, codes=CODES)
        assert [item["code"] for item in info["classes"]] == CODES
        assert info["digest"] == folder_digest(root / places.SEGMENTER) == MODEL_DIGESTS[version]
        assert described(root / places.SEGMENTER)["valid"] == {"miou": 0.9}
        assert sum(len(values.flatten()) for values in network.state_dict().values()) > 10_000

    def test_model_that_was_changed(self, root):
        path = root / places.SEGMENTER / places.DESCRIPTION
        content = json.loads(path.read_text(encoding="utf-8"))
        without = without_number(content) if KEY in content else content | {KEY: 1}
        path.write_text(json.dumps(without), encoding="utf-8")
        with pytest.raises(InputError, match="not as it was saved"):
            load_model(path.parent)

    def test_manifest(self, root):
        frame = read_manifest(root / places.PATCHES, LUNG)
        assert frame["split"].value_counts().to_dict() == {"train": 12, "valid": 4, "test": 4}
        assert frame[CODES].sum().to_dict() == {"TE": 10, "NEC": 8, "LYM": 8, "TAS": 5}

    def test_manifests_of_shards(self):
        rows = read_manifest(EXAMPLES / "v2" / places.PATCHES, LUNG)
        labels = pseudo_label_paths(EXAMPLES / "v2" / places.PSEUDO_LABELS, LUNG)
        assert len(rows) == 20
        assert set(labels) == set(rows.loc[rows["split"] == "train", "patch_id"])
        assert {PackedFile.of(path).name for path in labels.values()} == {f"{name}.png" for name in labels}

    def test_candidates(self, newest):
        frame = read_candidates(newest / places.CANDIDATES)
        assert frame["slide_id"].value_counts().to_dict() == {"slide-train": 25, "slide-more": 25}
        assert frame.iloc[-1]["patch_id"] == "slide-train-96-96"

    def test_features(self, newest):
        index = READ[places.FEATURES_INDEX](newest)
        assert (index["kind"], index["codes"], index["size"]) == ("classifier", CODES, 48)
        assert index["slides"] == ["slide-more", "slide-train"]

    def test_pseudo_labels(self, root):
        paths = pseudo_label_paths(root / places.PSEUDO_LABELS, LUNG)
        assert paths["train-00"] == root / places.PSEUDO_LABELS / "labels/train-00.png"
        assert len(_read(root / places.PSEUDO_LABELS, CODES)) == len(paths) == 12

    def test_summary(self, root):
        result = read_result(root / SLIDE)
        assert (result.name, result.size, result.tissue_mm2) == ("small", (96, 96), 0.009216)
        assert _weights_of(root / SLIDE / places.SUMMARY) == MD5

    def test_finished_slide_is_known_again(self, root):
        summary = json.loads((root / SLIDE / places.SUMMARY).read_text(encoding="utf-8"))
        identity = {key: summary[key] for key in ("slide", "mpp", "size", "model", "roi")}
        assert finished(root / SLIDE, identity, MADE_WITH) == summary
        assert finished(root / SLIDE, identity | {"mpp": 2.0}, MADE_WITH) is None

    def test_model_says_what_its_classes_are_and_how_it_was_validated(self, root, version):
        info = described(root / places.SEGMENTER)
        vocabulary = Vocabulary.from_json(info, "model.json")
        assert [item.role for item in vocabulary.classes] == ["tumour", "necrosis", "lymphocytes", "stroma"]
        assert ("Immune cells" in vocabulary.classes[2].aliases) == (version == "v1")
        assert info.get(VALIDATED) == (MADE_WITH.carried() if version == "v1" else None)

    def test_map_of_a_slide(self, newest):
        assert sum(read_map(newest).values()) == 96 * 96
        with stored(newest / places.MAPS / "small") as made:
            assert (len(made.probabilities), made.vocabulary.codes, made.unreadable) == (4, tuple(CODES), 0)

    def test_champion(self, newest):
        pin = read_pin(newest)
        assert (pin.name, pin.champion.version, pin.before.version, pin.champion.miou) == ("small", "2", "1", 0.8)

    def test_files_of_a_project(self, newest):
        note = read_note(newest)
        assert (note.version, note.texts) == ("0.1.0", {"tune.yaml": "trials: []\n"})
        assert sorted(note.digests) == ["code/cohort.sha256", "tune.yaml"]

    def test_journal(self, root):
        resumption, unreadable = READ[places.SLIDE_JOURNAL](root)
        assert (resumption.row, unreadable) == (32, {3: 12})
        np.testing.assert_array_equal(resumption.carry, np.full((2, 3, 96), 0.25, np.float32))

    def test_journal_of_labels(self, newest):
        (answer,) = READ[places.LABEL_JOURNAL](newest)
        assert (answer.reader, answer.place, answer.seconds) == ("ann", Place("small", 448, 896, 1.0, 224), 4.2)
        assert answer.states == {"TE": "present", "LYM": "absent", "NEC": "unsure"}

    def test_figures(self, root):
        folder = root / places.METRICS
        assert read_metrics(folder / "segmenter.json", "dvc repro") == {"miou": 0.9}
        assert read_metrics(folder / "classifier.json", "dvc repro")["mean_ap"] == 1.0
        assert read_metrics(folder / "pseudo_labels.json", "dvc repro")["test.miou"] == 0.711615
        assert read_metrics(folder / "test.json", "dvc repro")["ungated.miou"] == 0.898579

    def test_gate_report(self, root):
        report = read_report(root / "reports/gates/classifier.json")
        assert (report.gate, report.status, len(report.checks)) == ("classifier", "passed", 14)
        assert gate_tags(root) == {"gate.cohort": "passed", "gate.classifier": "passed"}
        with pytest.raises(InputError, match=r"classifier\.json: digest manifest is missing"):
            gated_digest(root, "manifest", "classifier")

    def test_registration(self, root, version):
        assert READ[places.REGISTRATION](root)["digest"] == MODEL_DIGESTS[version]

    def test_checkpoint(self, root):
        assert sound_checkpoint(root / TRAINING) == root / TRAINING / "checkpoint-00000020.pth"

    def test_run_that_was_not_sent(self, newest):
        head, entries = read_run(newest)
        assert (head.id, head.experiment, head.tags) == (RUN, "small", {"stage": "train_small"})
        assert [set(entry) - {"time", "step"} for entry in entries] == [{"params"}, {"metrics"}, {"end"}]

    def test_evidence(self, root):
        assert read_kept(root)
        found = evidence.read_evidence(root / "evidence")
        assert found.lineage == {"commit": "c" * 40, "runs": {"train_segmenter": RUN}}
        assert (found.miou, found.gates, KEY in found.test) == (0.898579, {"cohort": "passed"}, False)


def test_a_model_of_each_format_segments(root, tmp_path):
    image = np.random.default_rng(0).integers(90, 200, (1, 64, 64, 3), np.uint8)
    model = SlideModel.from_folder(root / places.SEGMENTER)
    assert model.weights_md5 == MD5
    assert model.predict(image).shape == (1, 4, 64, 64)


@pytest.mark.parametrize("of", ARTEFACTS, ids=named)
def test_a_later_format_is_refused(of, newest):
    path = example(newest, of)
    renumber(path, of.format + 1)
    wanted = (
        rf"{path.name}: newer than wsss_mm .*{of.what} of format {of.format + 1}, and .* up to {of.format} are read"
    )
    with pytest.raises(NewerError, match=wanted) as caught:
        READ[of](newest)
    assert "\n" not in str(caught.value)
    assert of.newer in str(caught.value)


NONSENSE = ["1", "", True, False, -1, 1.5, 1.0, None, [1], {"format": 1}, 10**5, 10**400]


@pytest.mark.parametrize("of", ARTEFACTS, ids=named)
@pytest.mark.parametrize("number", NONSENSE, ids=lambda value: repr(value)[:12])
def test_a_number_that_is_none_is_damage(of, number, newest):
    path = example(newest, of)
    if path.suffix not in (".json", ".jsonl") and number == "1":
        number = "one"  # all there is in them is text
    renumber(path, number)
    if of in BEGUN_ANEW:
        assert READ[of](newest) is None
    else:
        wanted = r"(is no number of a format|is a whole number of more than 64 bits\)); "
        with pytest.raises(DamagedError, match=rf"{path.name}: damaged: .* {wanted}"):
            READ[of](newest)


@pytest.mark.parametrize("of", [of for of in ARTEFACTS if of not in ADDED_TO], ids=named)
@pytest.mark.parametrize("damage", ["half", "empty", "garbage", "other"])
def test_damage_is_named(of, damage, newest):
    path = example(newest, of)
    content = path.read_bytes()
    other = b"[]" if path.suffix == ".json" else b'{"format": 1}'
    damaged = {"half": content[: len(content) // 2], "empty": b"", "garbage": b"\x00\xff\xfe\x80" * 50, "other": other}
    path.write_bytes(damaged[damage])
    if of in BEGUN_ANEW:
        assert READ[of](newest) is None
    else:
        with pytest.raises(InputError, match=rf"{path.name}: damaged: .*; ") as caught:
            READ[of](newest)
        assert "\n" not in str(caught.value)


class TestWorkOfALaterVersion:
    """It is neither gone on with nor thrown away."""

    def test_half_done_slide_stays(self, newest):
        renumber(newest / HALF_DONE / places.STATE, 2)
        with pytest.raises(NewerError), partial_folder(newest / HALF_DONE.parent) as work:
            MapJournal(work, {"slide": {"file": "half-done.tiff"}, "mpp": 1.0}).read()
        assert (newest / HALF_DONE / places.STATE).is_file()
        assert (newest / HALF_DONE / "carry-32.raw").is_file()

    def test_finished_slide_is_not_replaced(self, newest):
        path = newest / SLIDE / places.SUMMARY
        renumber(path, 2)
        before = path.read_bytes()
        with pytest.raises(NewerError):
            finished(newest / SLIDE, {"model": {}}, MADE_WITH)
        assert path.read_bytes() == before

    def test_damaged_summary_is_made_again(self, newest):
        (newest / SLIDE / places.SUMMARY).write_bytes(b"{")
        assert finished(newest / SLIDE, {"model": {}}, MADE_WITH) is None

    def test_checkpoint_stays(self, newest):
        renumber(newest / TRAINING / "checkpoint-00000020.sha256", 2)
        with pytest.raises(NewerError, match="delete its folder to train anew"):
            sound_checkpoint(newest / TRAINING)
        assert (newest / TRAINING / "checkpoint-00000020.pth").is_file()

    def test_a_run_that_was_not_sent_stays(self, newest, monkeypatch, caplog):
        path = newest / f"work_dirs/unsent/{RUN}/run.jsonl"
        renumber(path, 2)
        monkeypatch.delenv("DVC_ROOT", raising=False)
        monkeypatch.chdir(newest)
        with local.waiting() as runs:
            assert runs == []
        assert path.is_file()
        assert "run.jsonl: newer than wsss_mm" in caplog.text
