"""Bundles: what is exported is what is imported, and nothing else is."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from tests.fuzzing.of_files import CLASSIFIER, SEGMENTER, model_info
from tests.models.test_hostile_models import Harmful
from tests.models.test_members import together
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.formats import write_object
from wsss_mm.models import build_network, load_model, save_model
from wsss_mm.models.bundle import _sealed, opened_bundle, unpack_bundle, with_validated, write_bundle
from wsss_mm.models.description import VALIDATED, described
from wsss_mm.models.members import load_classifiers
from wsss_mm.places import REGISTRATION
from wsss_mm.vocabulary import read_vocabulary


def save(folder, kind, seed=0, **more):
    torch.manual_seed(seed)
    config = CLASSIFIER if kind == "classifier" else SEGMENTER
    said = {**model_info(kind, config), "cohort": "small", "valid": {}, **more}
    save_model(folder, state=build_network(config).state_dict(), info=said, config_text="", card=f"# {kind}\n")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return save(root / "segmenter", "segmenter"), save(root / "classifier", "classifier")


@pytest.fixture(scope="module")
def bundle(models, tmp_path_factory):
    return write_bundle(models, tmp_path_factory.mktemp("out"), "segmenter-small", card="# Front\n")


def repacked(bundle, place, change=None, **options):
    """A bundle with the files of another, changed; by another program."""
    with zipfile.ZipFile(bundle) as source:
        files = {name: source.read(name) for name in source.namelist()}
    files = (change or (lambda files: files))(files)
    with zipfile.ZipFile(place, "w", **options) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return place


def refused(path, wanted=None):
    with pytest.raises(InputError) as caught, opened_bundle(path, wanted):
        pytest.fail("it was taken")
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert ";" in message, "it says what to do"
    return message.removeprefix(f"{path}: ")


def test_what_comes_out_is_what_went_in(models, bundle, tmp_path):
    with opened_bundle(bundle) as (folder, note):
        unpack_bundle(folder, tmp_path / "theirs")
    assert bundle.name == f"segmenter-small-{note['digest'][:16]}.zip"
    for source in models:
        kind = source.name
        assert note["models"][kind] == described(source)["digest"]
        for file in source.iterdir():
            assert (tmp_path / "theirs" / kind / file.name).read_bytes() == file.read_bytes()
    network, info = load_model(tmp_path / "theirs/segmenter")
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    expected = load_model(models[0])[0].predict_probabilities(images)
    assert torch.equal(network.predict_probabilities(images), expected)
    vocabulary = read_vocabulary(tmp_path / "theirs/vocabulary.yaml")
    assert list(vocabulary.codes) == [item["code"] for item in info["classes"]]
    assert (tmp_path / "theirs/README.md").read_text() == "# Front\n"


def test_an_unpacked_one_is_a_bundle_too(bundle, tmp_path):
    with opened_bundle(bundle) as (folder, note):
        unpack_bundle(folder, tmp_path / "theirs")
        with pytest.raises(InputError, match=r"theirs: is there already"):
            unpack_bundle(folder, tmp_path / "theirs")
    with opened_bundle(tmp_path / "theirs") as (_, again):
        assert again == note
    (tmp_path / "theirs/classifier/config.py").write_text("raise SystemExit")
    assert "damaged: classifier/config.py has sha256" in refused(tmp_path / "theirs")


def test_equal_models_are_one_file(models, bundle, tmp_path):
    again = write_bundle(models, tmp_path, "segmenter-small", card="# Front\n")
    assert again.name == bundle.name
    assert again.read_bytes() == bundle.read_bytes()
    assert write_bundle(models, tmp_path, "segmenter-small", card="# Another\n").name != bundle.name


def test_one_that_was_damaged_is_written_anew(models, bundle, tmp_path):
    path = write_bundle(models, tmp_path, "segmenter-small", card="# Front\n")
    path.write_bytes(b"cut off")
    assert write_bundle(models, tmp_path, "segmenter-small", card="# Front\n") == path
    assert path.read_bytes() == bundle.read_bytes()


def test_a_classifier_goes_out_with_its_members(tmp_path):
    """They are part of it: its pseudo-labels are those of all."""
    folder = together(
        tmp_path / "classifier", *(save(tmp_path / f"of-{seed}", "classifier", seed=seed) for seed in (0, 1))
    )
    path = write_bundle([folder], tmp_path / "out", "both")
    with opened_bundle(path) as (unpacked, _):
        unpack_bundle(unpacked, tmp_path / "theirs")
    assert len(load_classifiers(tmp_path / "theirs/classifier", members=2)[0]) == 2

    def without(files):
        note = json.loads(files["bundle.json"])
        lost = [name for name in files if "/members/" in name]
        note["files"] = {name: value for name, value in note["files"].items() if name not in lost}
        note = _sealed(note)
        return {name: files[name] for name in files if name not in lost} | {"bundle.json": json.dumps(note).encode()}

    assert "classifier/members/1: not found" in refused(repacked(path, tmp_path / "less.zip", without))
    shutil.rmtree(folder / "members/1")
    shutil.copytree(tmp_path / "of-0", folder / "members/1")
    with pytest.raises(InputError, match=r"classifier/members: not the classifiers that model\.json names"):
        write_bundle([folder], tmp_path / "out", "both")


class TestRefused:
    @pytest.mark.parametrize("part", ["segmenter/weights.pth", "segmenter/model.json", "README.md"])
    def test_a_damaged_byte(self, bundle, tmp_path, part):
        content = bytearray(bundle.read_bytes())
        with zipfile.ZipFile(bundle) as archive:
            entry = archive.getinfo(part)
        at = content.index(part.encode(), entry.header_offset) + len(part) + 20 + entry.file_size // 2  # 20: ZIP64
        content[at] ^= 1
        place = tmp_path / bundle.name
        place.write_bytes(content)
        assert "damaged" in refused(place)

    def test_one_that_was_cut_off(self, bundle, tmp_path):
        place = tmp_path / bundle.name
        place.write_bytes(bundle.read_bytes()[:-1000])
        assert "not a bundle" in refused(place)

    def test_what_is_none(self, bundle, tmp_path, models):
        (tmp_path / "x.zip").write_text("no ZIP")
        assert "not a bundle" in refused(tmp_path / "x.zip")
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
            archive.writestr("readme.txt", "x")
        assert "not a bundle" in refused(tmp_path / "other.zip")
        assert "not a bundle" in refused(models[0])
        assert "no such bundle" in refused(tmp_path / "absent.zip")

    @pytest.mark.parametrize("name", ["../evil.py", "/tmp/evil.py", "segmenter/evil.py", "evil/../bundle.json"])
    def test_a_file_that_no_bundle_has(self, bundle, tmp_path, name):
        place = repacked(bundle, tmp_path / "evil.zip", lambda files: files | {name: b"x"})
        assert "not a bundle" in refused(place)
        assert not (tmp_path / "evil.py").exists()

    def test_a_compressed_one_which_could_be_a_bomb(self, bundle, tmp_path):
        place = repacked(bundle, tmp_path / "packed.zip", compression=zipfile.ZIP_DEFLATED)
        assert "packed by another program" in refused(place)

    def test_one_file_less_or_another(self, bundle, tmp_path):
        def without(files):
            return {name: content for name, content in files.items() if name != "segmenter/weights.pth"}

        assert "segmenter/weights.pth is missing" in refused(repacked(bundle, tmp_path / "a.zip", without))

        def exchanged(files):
            return files | {"vocabulary.yaml": files["vocabulary.yaml"] + b"# x"}

        assert "damaged: vocabulary.yaml has sha256" in refused(repacked(bundle, tmp_path / "b.zip", exchanged))

    def test_a_note_that_was_written_anew(self, bundle, tmp_path):
        """Whoever writes all digests anew is found by the name, or by the digest that the exporter told."""

        def renamed(files):
            note = json.loads(files["bundle.json"]) | {"name": "better"}
            return files | {"bundle.json": json.dumps(note).encode()}

        assert "bundle.json says" in refused(repacked(bundle, tmp_path / "a.zip", renamed))

        other = tmp_path / bundle.name
        shutil.copyfile(bundle, other.with_name("segmenter-small-0123456789abcdef.zip"))
        assert "its name says 0123456789abcdef" in refused(other.with_name("segmenter-small-0123456789abcdef.zip"))
        assert "--digest says" in refused(bundle, "0" * 16)
        assert "--digest says" in refused(bundle, "")
        with opened_bundle(bundle, bundle.stem[-16:].upper()):
            pass

    def test_weights_that_would_run_code(self, models, tmp_path):
        """All digests are right, and yet the pickle is not run."""
        folder = tmp_path / "segmenter"
        shutil.copytree(models[0], folder)
        torch.save({"w": Harmful()}, folder / "weights.pth")
        info = {key: value for key, value in described(folder).items() if key not in ("digest", "weights_sha256")}
        (folder / "model.json").write_text(json.dumps(info))
        path = write_bundle([folder], tmp_path / "out", "evil")
        assert "segmenter/weights.pth: not a plain state dict" in refused(path)
        assert not Path("executed.txt").exists()

    def test_what_is_exported_is_looked_at(self, models, tmp_path):
        with pytest.raises(InputError, match="a second segmenter"):
            write_bundle([models[0], models[0]], tmp_path, "x")
        folder = tmp_path / "changed"
        shutil.copytree(models[0], folder)
        said = described(folder)
        (folder / "model.json").write_text(json.dumps(said | {"mpp": 0.25}))
        with pytest.raises(InputError, match="not as it was saved"):
            write_bundle([folder], tmp_path, "x")


def test_it_carries_how_it_was_validated(models, tmp_path):
    """The line's own folder does not say so; what stage register left does, and the copy is what the registry has."""
    validated = {"window": 64, "overlap": 0.5}
    note = tmp_path / "registered.json"
    md5 = digest(models[0] / "weights.pth", "md5")
    write_object(note, REGISTRATION, {"weights_md5": md5, VALIDATED: validated})
    copy = with_validated(models[0], tmp_path / "copy", note)
    assert described(copy)[VALIDATED] == validated
    with opened_bundle(write_bundle([copy], tmp_path, "x")) as (_, found):
        assert found[VALIDATED] == validated
    write_object(note, REGISTRATION, {"weights_md5": "0" * 32, VALIDATED: validated})
    assert with_validated(models[0], tmp_path / "other", note) == models[0]


def test_by_command(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    for kind in ("segmenter", "classifier"):
        save(Path("models") / kind, kind, patches="a" * 64)
    assert main(["model", "export", "--to", "out"]) == 0
    path = capsys.readouterr().out.strip()
    assert main(["models", "import", path, "--to", "theirs", "--digest", path[-20:-4]]) == 0
    assert "theirs/segmenter, theirs/classifier: unpacked" in capsys.readouterr().out
    assert main(["model", "import", path]) == 2
    assert "--to FOLDER unpacks it" in capsys.readouterr().err

    save(Path("models/classifier"), "classifier", patches="b" * 64)  # trained anew since
    assert main(["model", "export", "--to", "out"]) == 0
    assert "not the classifier that this segmenter learnt from" in caplog.text
    with opened_bundle(Path(capsys.readouterr().out.strip())) as (_, note):
        assert list(note["models"]) == ["segmenter"]
    assert main(["model", "export", "--to", "out", "--classifier", "models/classifier"]) == 0
    with opened_bundle(Path(capsys.readouterr().out.strip())) as (_, note):
        assert sorted(note["models"]) == ["classifier", "segmenter"]
    assert main(["model", "export", "models/classifier", "--to", "out", "--classifier", "models/classifier"]) == 2
    assert "goes out beside a segmenter" in capsys.readouterr().err
    assert main(["model", "export", "--to", "out", "--classifier", "models/classifier", "--form", "torchscript"]) == 2
    assert "goes into a bundle alone, not into torchscript" in capsys.readouterr().err
