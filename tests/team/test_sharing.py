"""What one gives arrives at the other, whole or not at all; versions are named by tags."""

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest
import yaml

from tests.team.servers import BUCKET

pytestmark = [pytest.mark.team, pytest.mark.leaves("connections to servers that all of these tests share")]

SHARED = ("data/patches", "data/pseudo_labels", "models/segmenter")
REMOTES = ("team", "bucket")
FILES = 120


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def forget(user) -> None:
    """Nothing of DVC's is left in the clone."""
    shutil.rmtree(user.root / ".dvc/cache", ignore_errors=True)
    for stage in yaml.safe_load((user.root / "dvc.lock").read_text())["stages"].values():
        for out in stage.get("outs", []):
            if out["path"].split("/")[0] in ("data", "models", "results"):
                shutil.rmtree(user.root / out["path"], ignore_errors=True)


def put(site, remote: str, md5: str, content: bytes) -> bytes:
    """Replace an object of a remote, behind DVC's back; returns what was there."""
    name = f"files/md5/{md5[:2]}/{md5[2:]}"
    if remote == "team":
        path = site.ssh_folder / name
        before = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(content)
        return before
    import boto3

    keys = {"aws_access_key_id": "admin", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=site.s3, **keys)
    before = client.get_object(Bucket=BUCKET, Key=f"dvc/{name}")["Body"].read()
    client.put_object(Bucket=BUCKET, Key=f"dvc/{name}", Body=content)
    return before


@pytest.mark.parametrize("remote", REMOTES)
def test_all_arrives_and_nothing_is_to_do(alice, bob, remote):
    forget(bob)
    bob.run("dvc", "pull", "-r", remote)
    for path in SHARED:
        assert digests(bob.root / path) == digests(alice.root / path) != {}
    assert "up to date" in bob.run("dvc", "repro").stdout
    assert bob.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.parametrize("remote", REMOTES)
def test_a_damaged_object_is_found_and_not_used(bob, alice, site, remote):
    weights = alice.root / "models/segmenter/weights.pth"
    md5 = hashlib.md5(weights.read_bytes()).hexdigest()
    good = put(site, remote, md5, b"damaged" + weights.read_bytes()[7:])
    forget(bob)
    done = bob.run("dvc", "pull", "-r", remote, "models/segmenter", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "models/segmenter" in done.stderr
    assert not (bob.root / "models/segmenter/weights.pth").exists()
    put(site, remote, md5, good)
    bob.run("dvc", "pull", "-r", remote, "models/segmenter")
    assert digests(bob.root / "models/segmenter") == digests(alice.root / "models/segmenter")


@pytest.fixture
def heap(alice, request) -> Path:
    """A repository of Alice's with many files and the remotes of her clone."""
    folder = alice.home / request.node.name.replace("[", "-").strip("]")
    (folder / "heap").mkdir(parents=True)
    for index in range(FILES):
        (folder / f"heap/{index}").write_bytes(os.urandom(2000))
    for command in (("git", "init", "-q"), ("dvc", "init", "-q"), ("dvc", "add", "-q", "heap")):
        alice.run(*command, where=folder)
    shutil.copy(alice.root / ".dvc/config", folder / ".dvc/config")
    alice.run("git", "add", "-A", where=folder)
    alice.run("git", "commit", "-qm", "Heap", where=folder)
    return folder


def objects(site, heap: Path) -> int:
    """How many of the heap's files are on the SSH remote."""
    wanted = [hashlib.md5(path.read_bytes()).hexdigest() for path in (heap / "heap").iterdir()]
    return sum((site.ssh_folder / f"files/md5/{md5[:2]}/{md5[2:]}").exists() for md5 in wanted)


def test_a_push_that_was_killed_is_repeated(alice, bob, site, heap):
    process = alice.start("dvc", "push", "-j", "1", where=heap)
    end = time.monotonic() + 240
    while objects(site, heap) < 3 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert 0 < objects(site, heap) < FILES
    alice.run("dvc", "push", where=heap)
    assert objects(site, heap) == FILES
    copy = bob.home / "heap"
    bob.run("git", "clone", "-q", str(heap), str(copy), where=bob.home)
    bob.run("dvc", "pull", where=copy)
    assert digests(copy / "heap") == digests(heap / "heap")


def test_a_push_that_was_cut_off_is_repeated(alice, bob, site, heap):
    site.gate.cut_after = 10
    process = alice.start("dvc", "push", "-r", "bucket", "-j", "2", where=heap)
    end = time.monotonic() + 240
    while site.gate.cut_after >= 0 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.terminate()  # DVC would try each file for half a minute
    process.communicate()
    assert site.gate.cut_after < 0
    site.gate.cut_after = None
    assert process.returncode != 0
    alice.run("dvc", "push", "-r", "bucket", where=heap)
    copy = bob.home / "heap-of-bucket"
    bob.run("git", "clone", "-q", str(heap), str(copy), where=bob.home)
    bob.run("dvc", "pull", "-r", "bucket", where=copy)
    assert digests(copy / "heap") == digests(heap / "heap")


def test_expired_credentials_are_one_line(bob, site):
    site.gate.expired = {"bob"}
    shutil.rmtree(bob.root / ".dvc/cache", ignore_errors=True)
    done = bob.run("dvc", "fetch", "-r", "bucket", "models/segmenter", check=False)
    bob.run("dvc", "remote", "default", "--local", "bucket")
    found = bob.wsss_mm("doctor", check=False, MLFLOW_TRACKING_PASSWORD="wrong")
    (bob.root / ".dvc/config.local").unlink()
    site.gate.expired = set()
    assert found.returncode == 1
    failed = {line[6:18].strip(): line for line in found.stdout.splitlines() if line.startswith("FAIL")}
    assert {"dvc remote", "mlflow"} <= set(failed), found.stdout + found.stderr
    assert "The provided token has expired" in failed["dvc remote"]
    assert "MLFLOW_TRACKING_PASSWORD" in failed["mlflow"]
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "failed to connect" in line]
    assert "s3 (wsss/dvc" in line
    assert "Bad Request" in line  # all that S3 says when it is asked for a file's head


def test_a_key_the_server_does_not_know_is_one_line(bob):
    other = bob.home / ".ssh/other"
    bob.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other))
    shutil.rmtree(bob.root / ".dvc/cache", ignore_errors=True)
    bob.run("dvc", "remote", "modify", "--local", "team", "keyfile", str(other))
    done = bob.run("dvc", "fetch", "models/segmenter", check=False)
    (bob.root / ".dvc/config.local").unlink()
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "Permission denied" in done.stderr


@pytest.fixture(scope="module")
def tagged(alice) -> None:
    """Alice gives her patches and her model a version."""
    alice.run("gto", "register", "patches", "--version", "v1.2.0")
    alice.run("gto", "register", "segmenter", "--version", "v0.1.0")
    alice.run("git", "push", "-q", "--tags")


@pytest.fixture
def other(bob, tmp_path) -> Path:
    """Another project, which knows nothing of this one."""
    for command in (("git", "init", "-q"), ("dvc", "init", "-q")):
        bob.run(*command, where=tmp_path)
    return tmp_path


def test_another_project_imports_a_version_of_the_patches(alice, bob, site, tagged, other):
    bob.run("dvc", "import", str(site.origin), "data/patches", "--rev", "patches@v1.2.0", where=other)
    assert digests(other / "patches") == digests(alice.root / "data/patches")
    imported = yaml.safe_load((other / "patches.dvc").read_text())["deps"][0]["repo"]
    commit = alice.run("git", "rev-parse", "patches@v1.2.0^{commit}").stdout.strip()
    assert (imported["rev"], imported["rev_lock"]) == ("patches@v1.2.0", commit)


def test_another_project_gets_a_version_of_the_model(alice, bob, site, tagged, other):
    bob.run("dvc", "artifacts", "get", str(site.origin), "segmenter", "--rev", "v0.1.0", where=other)
    assert digests(other / "segmenter") == digests(alice.root / "models/segmenter")
    assert not (other / "segmenter.dvc").exists()
    done = bob.run(
        "dvc", "artifacts", "get", str(site.origin), "segmenter", "--rev", "v9.9.9", where=other, check=False
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_versions_are_listed(alice, bob, tagged):
    bob.run("git", "fetch", "-q", "--tags")
    shown = json.loads(bob.run("gto", "show", "--json").stdout)
    assert {"patches", "segmenter"} <= set(shown)
    assert "patches@v1.2.0" in alice.wsss_mm("data", "log").stdout
