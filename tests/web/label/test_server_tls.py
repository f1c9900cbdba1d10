"""The page over TLS, for readers on other machines."""

import http.client
import socket
import ssl
import subprocess
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address

import pytest

from tests.web.label.project import make_project, running
from wsss_mm.cli.main import main
from wsss_mm.labelling.candidates import write_candidates

HOST = "127.0.0.2"  # an address of this machine that is not the page's usual one


@pytest.fixture
def certificate(tmp_path):
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "label")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(private)
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def _ask(connection, path, cookie=""):
    connection.request("GET", path, headers={"Cookie": cookie})
    response = connection.getresponse()
    return response.status, response.headers, response.read()


def test_each_reader_has_a_link_and_a_silent_client_keeps_nobody_waiting(tmp_path, certificate):
    make_project(tmp_path, slides=1)
    options = ["--reader", "ann", "bob", "--no-features", "--host", HOST]
    options += ["--certificate", str(certificate[0]), "--key", str(certificate[1])]
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    with running(tmp_path, *options) as (_, port), socket.create_connection((HOST, port)):
        lines = (tmp_path / "server.log").read_text().splitlines()
        links = dict(line.split(": ") for line in lines if "/enter/" in line)
        assert set(links) == {"ann", "bob"}

        def ask(path, cookie=""):
            connection = http.client.HTTPSConnection(HOST, port, timeout=120, context=trust)
            try:
                return _ask(connection, path, cookie)
            finally:
                connection.close()

        assert ask("/api/state")[0] == 401
        status, headers, _ = ask(links["bob"].removeprefix(f"https://{HOST}:{port}"))
        assert (status, "Secure" in headers["Set-Cookie"]) == (302, True)
        status, _, data = ask("/api/state", headers["Set-Cookie"].split(";")[0])
        assert b'"reader":"bob"' in data
    with running(tmp_path, *options):
        log = (tmp_path / "server.log").read_text()
        assert "/enter/" not in log  # shown once
        assert "still open the page" in log


def test_without_tls_a_warning_says_so(tmp_path):
    make_project(tmp_path, slides=1)
    with running(tmp_path, "--no-features", "--host", HOST):
        assert "plain text" in (tmp_path / "server.log").read_text()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--key", "k.pem"], "give --host too"),
        (["--new-links"], "give --host too"),
        (["--host", "0.0.0.0"], "give this machine's own"),
        (["--host", HOST, "--key", "k.pem"], "give both"),
        (["--reader", "../x"], "--reader ../x"),
        (["--reader", "ann", "Ann"], "tell them apart"),
    ],
)
def test_what_is_asked_for_wrongly_is_one_line(tmp_path, monkeypatch, capsys, options, says):
    monkeypatch.chdir(tmp_path)
    assert main(["label", *options]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("wsss-mm: error: ")
    assert says in error


def test_without_candidates_it_says_how_to_make_them(tmp_path, monkeypatch, capsys):
    make_project(tmp_path, slides=1)
    (tmp_path / "data/candidates/candidates.parquet").unlink()
    params = tmp_path / "params.yaml"
    own = params.read_text().replace("name: phantom", "name: slides").replace("wsss_mm/slides/phantom", "slides.csv")
    params.write_text(own)
    monkeypatch.chdir(tmp_path)
    assert main(["label"]) == 2
    assert "dvc repro candidates" in capsys.readouterr().err


@pytest.mark.parametrize("old", ["size", "slide", "new"])
def test_candidates_that_are_old_are_told(tmp_path, monkeypatch, capsys, caplog, old):
    frame = make_project(tmp_path, slides=2)
    table = tmp_path / "data/cohort/slides.csv"
    if old == "size":
        write_candidates(frame.assign(size=32), tmp_path / "data/candidates")
    elif old == "slide":
        table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    else:
        write_candidates(frame[frame["slide_id"] == "s0"], tmp_path / "data/candidates")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wsss_mm.serving.serve", lambda *_, **__: None)
    assert main(["label", "--no-features"]) == (0 if old == "new" else 2)
    said = capsys.readouterr().err + caplog.text
    assert "dvc repro candidates" in said
    assert {"size": "patches.size is 64", "slide": "slide s1 is not in", "new": "slide s1: no patches"}[old] in said


def test_a_wrong_certificate_is_one_line(tmp_path, monkeypatch, capsys):
    make_project(tmp_path, slides=1)
    (tmp_path / "c.pem").write_text("no")
    monkeypatch.chdir(tmp_path)
    options = ["--no-features", "--host", HOST, "--port", "0", "--certificate", "c.pem", "--key", "c.pem"]
    assert main(["label", *options]) == 2
    assert "no certificate" in capsys.readouterr().err


def test_a_port_that_is_taken_is_one_line(tmp_path, monkeypatch, capsys):
    make_project(tmp_path, slides=1)
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["label", "--no-features", "--port", str(taken.getsockname()[1])]) == 2
    assert "--port" in capsys.readouterr().err


def test_ctrl_c_ends_it(tmp_path):
    make_project(tmp_path, slides=1)
    with running(tmp_path, "--no-features", cold=True) as (process, _):
        process.send_signal(2)
        try:
            assert process.wait(60) == 130
        except subprocess.TimeoutExpired:
            pytest.fail((tmp_path / "server.log").read_text())
