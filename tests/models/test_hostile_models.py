"""Models from anywhere: nothing in them runs, loads another file, or takes more memory than the file itself."""

import io
import json
import os
import pickle
import resource
import struct
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from tests.fuzzing.of_files import CLASSIFIER, SEGMENTER, model_info
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.models import build_network, load_model, save_weights, store
from wsss_mm.models.description import check_digest
from wsss_mm.models.pretrained import load_backbone_weights
from wsss_mm.models.weight_files import read_state_dict
from wsss_mm.wsi.model import SlideModel

MARK = "executed.txt"


class Harmful:
    """Its pickle makes a file in the current folder when it is read."""

    def __reduce__(self):
        return Path(MARK).write_text, ("x",)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_model(kind, config, weights=None):
    Path("model.json").write_text(json.dumps(model_info(kind, config)))
    save_weights(build_network(CLASSIFIER).state_dict() if weights is None else weights, Path("weights.pth"))
    return Path()


def changed(config, place, value):
    config = json.loads(json.dumps(config))
    *parents, key = place.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    node[key] = value
    return config


class TestWeights:
    @pytest.mark.parametrize("legacy", [False, True])
    def test_a_pickle_that_would_make_a_file(self, legacy):
        torch.save({"w": torch.ones(1), "x": Harmful()}, "evil.pth", _use_new_zipfile_serialization=not legacy)
        for read in (read_state_dict, load_backbone_weights):
            with pytest.raises(InputError, match=r"^evil\.pth: not a plain state dict"):
                read(Path("evil.pth"))
        Path("evil.pth").write_bytes(pickle.dumps(Harmful()))
        with pytest.raises(InputError, match=r"^evil\.pth: "):
            read_state_dict(Path("evil.pth"))
        assert not Path(MARK).exists()

    def test_a_model_folder_with_such_weights(self):
        write_model("classifier", CLASSIFIER)
        torch.save({"w": Harmful()}, "weights.pth")
        with pytest.raises(InputError, match=r"weights\.pth: not a plain state dict"):
            load_model(Path())
        assert not Path(MARK).exists()

    def test_a_compressed_archive_is_a_bomb(self):
        stream = io.BytesIO()
        torch.save({"w": torch.zeros(4_000_000)}, stream)
        with zipfile.ZipFile(stream) as source, zipfile.ZipFile("bomb.pth", "w", zipfile.ZIP_DEFLATED) as target:
            for entry in source.infolist():
                target.writestr(entry.filename, source.read(entry))
        assert Path("bomb.pth").stat().st_size < 100_000
        with pytest.raises(InputError, match=r"^bomb\.pth: a compressed archive"):
            read_state_dict(Path("bomb.pth"))

    def test_a_tensor_that_claims_more_than_the_file_holds(self):
        torch.save({"w": torch.zeros(1).expand(1 << 40)}, "bomb.pth")
        with pytest.raises(InputError, match=r"^bomb\.pth: a tensor claims more numbers"):
            read_state_dict(Path("bomb.pth"))

    def test_an_archive_whose_sizes_are_lies(self):
        torch.save({"w": torch.zeros(64)}, "bomb.pth")
        content = bytearray(Path("bomb.pth").read_bytes())
        place = content.find(b"PK\x01\x02")
        while place >= 0:  # of each entry, in the central directory: both sizes
            content[place + 20 : place + 28] = struct.pack("<II", 0x7FFFFFF0, 0x7FFFFFF0)
            place = content.find(b"PK\x01\x02", place + 4)
        Path("bomb.pth").write_bytes(content)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(InputError, match=r"^bomb\.pth: an archive that claims more"):
            read_state_dict(Path("bomb.pth"))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB

    @pytest.mark.parametrize("name", ["data.pkl", "constants.pkl", "evil.pkl"])
    def test_a_second_pickle_in_the_archive(self, name):
        torch.save({"w": torch.ones(1)}, "evil.pth")
        with zipfile.ZipFile("evil.pth", "a") as archive, warnings.catch_warnings(action="ignore"):
            folder = archive.namelist()[0].partition("/")[0]
            archive.writestr(f"{folder}/{name}", pickle.dumps(Harmful()))
        with suppress(InputError):
            read_state_dict(Path("evil.pth"))
        assert not Path(MARK).exists()

    def test_a_program_is_no_state_dict(self):
        torch.jit.script(torch.nn.Linear(1, 1)).save("program.pth")
        with pytest.raises(InputError, match=r"^program\.pth: "):
            read_state_dict(Path("program.pth"))

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda value: value.double(), "does not fit model.json"),
            (lambda value: value.half(), "does not fit model.json"),
            (lambda value: value.to(torch.complex64), "does not fit model.json"),
            (lambda value: value.to_sparse(), "does not fit model.json"),
            (lambda value: value[..., :1], "does not fit model.json"),
            (lambda value: value.fill_(float("nan")), "hold what is no number"),
            (lambda value: value.fill_(float("inf")), "hold what is no number"),
        ],
    )
    def test_weights_that_a_copy_would_convert_in_silence(self, change, says):
        state = build_network(CLASSIFIER).state_dict()
        name = next(name for name, value in state.items() if value.ndim == 4)
        state[name] = change(state[name].clone())
        folder = write_model("classifier", CLASSIFIER, {})
        torch.save(state, "weights.pth")
        with pytest.raises(InputError, match=rf"^weights\.pth: [^\n]*{says}[^\n]*{name}"):
            load_model(folder)


class TestPlaces:
    @pytest.mark.parametrize("name", ["model.json", "weights.pth"])
    @pytest.mark.parametrize("kind", ["pipe", "endless", "loop", "folder", "nowhere"])
    def test_what_is_no_file(self, name, kind):
        folder = write_model("classifier", CLASSIFIER)
        path = folder / name
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to({"endless": "/dev/zero", "loop": name, "nowhere": "gone"}[kind])
        with pytest.raises(InputError, match=rf"^{name}: [^\n]+$"):
            load_model(folder)

    def test_a_folder_that_is_exchanged_while_it_is_looked_at(self, monkeypatch):
        """What was looked at is what is loaded."""
        write_model("classifier", CLASSIFIER)
        other = {name: torch.zeros_like(value) for name, value in build_network(CLASSIFIER).state_dict().items()}

        def looked_at(*arguments, **more):
            found = check_digest(*arguments, **more)
            save_weights(other, Path("weights.pth"))
            return found

        monkeypatch.setattr(store, "check_digest", looked_at)
        loaded, info = load_model(Path())
        assert any(value.any() for value in loaded.state_dict().values())
        assert info["weights_md5"] != digest("weights.pth", "md5")

    def test_one_that_is_exchanged_after_the_registry_looked_at_it(self):
        write_model("segmenter", SEGMENTER, build_network(SEGMENTER).state_dict())
        with pytest.raises(InputError, match=r"changed since it was looked at, digest [0-9a-f]{12} instead of 0123"):
            SlideModel.from_folder(Path(), "cpu", digest="0123" * 16)


class TestDescription:
    @pytest.mark.parametrize("name", ["evil.pkl", "pkl", "http://127.0.0.1:9/evil.pkl", "evil.npy"])
    def test_class_weights_are_never_a_file_to_unpickle(self, name):
        if "/" not in name:
            Path(name).write_bytes(pickle.dumps(Harmful()))
        loss = {"type": "mmseg.CrossEntropyLoss", "class_weight": name}
        folder = write_model("segmenter", changed(SEGMENTER, "decode_head.loss_decode", loss))
        with pytest.raises(InputError, match=r"^model\.json: class_weight .* is not a part of a wsss_mm model"):
            load_model(folder)
        assert not Path(MARK).exists()

    @pytest.mark.parametrize(
        ("place", "value"),
        [
            ("backbone.width", 4096),
            ("decode_head.channels", 60_000),
            ("decode_head.in_channels", 65_536),
            ("decode_head.num_classes", 65_000),
            ("auxiliary_head.num_convs", 10**9),
            ("decode_head.pool_scales", [1] * 10_000),
            ("backbone.width", float("nan")),
            ("decode_head.channels", 10**30),
            ("_scope_", "os"),
            ("backbone._scope_", "mmengine"),
            ("backbone.out_indices", [[[[[[[[[[1]]]]]]]]]]),
        ],
    )
    def test_a_network_larger_than_its_weights_is_never_made(self, place, value):
        folder = write_model("segmenter", changed(SEGMENTER, place, value), build_network(SEGMENTER).state_dict())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(InputError, match=r"(model\.json|weights\.pth): [^\n]+$"):
            load_model(folder)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB

    @pytest.mark.parametrize("color", [[1, 2], [256, 0, 0], [-1, 0, 0], "red", None])
    def test_colours(self, color):
        folder = write_model("classifier", CLASSIFIER)
        info = model_info("classifier", CLASSIFIER)
        info["classes"][0]["color"] = color
        Path("model.json").write_text(json.dumps(info))
        with pytest.raises(InputError, match=r"model\.json: classes\.0\.color"):
            load_model(folder)

    def test_as_many_classes_as_outputs(self):
        info = model_info("classifier", CLASSIFIER)
        write_model("classifier", CLASSIFIER)
        Path("model.json").write_text(json.dumps(info | {"classes": info["classes"][:3]}))
        with pytest.raises(InputError, match="names 3 classes for 4 outputs"):
            load_model(Path())
