"""Nothing that comes with a run is executed, written or obeyed by `wsss-mm reproduce`, unless a person asked for it."""

import platform
import subprocess
from pathlib import Path
from urllib.parse import urlparse
from uuid import uuid4

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.settings import copy_profile
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError, plain_lines
from wsss_mm.files import write_json
from wsss_mm.tracking import keep_evidence, reproduce, training_run
from wsss_mm.tracking.changes import CHANGES_TAG, _inside, changes_digest
from wsss_mm.tracking.registry import DIGEST_TAG
from wsss_mm.tracking.store import connect

pytestmark = pytest.mark.xdist_group("mlflow")

MD5 = "0" * 32
LOCK = f"stages: {{patches: {{cmd: x, outs: [{{path: data/patches, md5: {MD5}}}]}}}}"
LINE = "stages: {patches: {cmd: touch ran, params: [seed]}, gate: {foreach: [a], do: {cmd: touch ran}}}"
PARAMS = {"seed": 0, "cohort": {"source": "source"}, "scales": [1.0]}


class Registered:
    """A version whose run somebody else can write to."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name, self.uri = root, name, f"models:/{name}/1"
        self.client = connect().MlflowClient()
        with training_run("segmenter", {}) as run:
            self.run_id = run.info.run_id
        self.artifacts = Path(urlparse(run.info.artifact_uri).path)
        self.client.create_registered_model(name)
        self.client.create_model_version(name, run.info.artifact_uri, self.run_id)

    def keep(self, diff: bytes | None = None, lock: str = LOCK, commit: str | None = None, **params) -> "Registered":
        """Log what a training would, and keep its evidence."""
        if diff is not None:
            self.artifacts.mkdir(parents=True, exist_ok=True)
            (self.artifacts / "git.diff").write_bytes(diff)
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        committed = (self.root / "params.yaml").read_text()
        (self.root / "dvc.lock").write_text(lock)
        (self.root / "params.yaml").write_text(yaml.safe_dump(params if "seed" in params else PARAMS | params))
        keep_evidence(self.root, self.run_id, {"commit": commit or head, "runs": {}})
        (self.root / "params.yaml").write_text(committed)
        self.client.set_model_version_tag(self.name, "1", CHANGES_TAG, changes_digest(self.run_id))
        return self

    def refusal(self, capsys, *arguments: str) -> str:
        """The one line that `wsss-mm reproduce` ends with; nothing ran before it."""
        capsys.readouterr()
        assert main(["reproduce", self.uri, "--keep", str(self.root / "kept"), *arguments]) == 2
        assert not list(self.root.rglob("ran"))
        assert (
            not (self.root / "kept/params.yaml").exists() or "evil" not in (self.root / "kept/params.yaml").read_text()
        )
        lines = capsys.readouterr().err.splitlines()
        self.shown = "\n".join(lines[:-1])
        assert lines[-1].startswith("wsss-mm: error: ")
        return lines[-1]


@pytest.fixture
def version(tracked, monkeypatch) -> Registered:
    """A project whose dvc would leave a file `ran`."""
    (tracked / "dvc.yaml").write_text(LINE)
    (tracked / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (tracked / "make.py").write_text("a = 1\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["add", "."], ["commit", "-q", "-m", "line"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(reproduce, "_dvc", lambda scratch, *_, **__: (scratch / "ran").touch())
    monkeypatch.setattr(reproduce, "cache_folder", lambda _: tracked / "cache")
    return Registered(tracked, f"hostile-{uuid4().hex}")


def diff_of(name: str = "make.py", line: str = "b = 2") -> bytes:
    """Adds a line to a file that has one."""
    return f"diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n@@ -1 +1,2 @@\n a = 1\n+{line}\n".encode()


def new_file(name: str, line: str = "x", mode: str = "100644") -> bytes:
    head = f"diff --git a/{name} b/{name}\nnew file mode {mode}\n--- /dev/null\n+++ b/{name}\n"
    return f"{head}@@ -0,0 +1 @@\n+{line}\n".encode()


class TestDiff:
    def test_it_is_shown_and_not_applied_unless_asked_for(self, version, capsys):
        error = version.keep(diff_of()).refusal(capsys)
        assert "had changes in 1 file that were not committed" in error
        assert "--apply-diff" in error
        assert "\n+b = 2" in version.shown
        user = connect().MlflowClient().get_run(version.run_id).data.tags["mlflow.user"]
        assert f"its run ({user} on {platform.node()}, 20" in error
        assert not (version.root / "kept").exists()

    def test_asked_for_it_is_applied(self, version, capsys):
        version.keep(diff_of())
        main(["reproduce", version.uri, "--apply-diff", "--keep", str(version.root / "kept")])
        assert (version.root / "kept/make.py").read_text() == "a = 1\nb = 2\n"
        assert (version.root / "kept/ran").exists()
        assert "\n+b = 2" in capsys.readouterr().err

    def test_changed_after_it_was_registered_it_is_refused(self, version, capsys):
        version.keep(diff_of())
        (version.artifacts / "git.diff").write_bytes(diff_of(line="import evil"))
        assert "git.diff of its run was changed after it was registered" in version.refusal(capsys, "--apply-diff")

    def test_one_that_came_later_or_is_gone_is_refused(self, version, capsys):
        version.keep()
        (version.artifacts / "git.diff").write_bytes(diff_of())
        assert "was changed after it was registered" in version.refusal(capsys, "--apply-diff")
        version.keep(diff_of())
        (version.artifacts / "git.diff").unlink()
        assert "was changed after it was registered" in version.refusal(capsys, "--apply-diff")

    def test_a_tag_that_was_removed_is_no_older_version(self, version, capsys, monkeypatch):
        version.keep(diff_of())
        version.client.delete_model_version_tag(version.name, "1", CHANGES_TAG)
        version.client.set_model_version_tag(version.name, "1", DIGEST_TAG, "0" * 64)
        monkeypatch.setattr(reproduce, "check_stored", lambda _: None)
        assert "keeps no digest of" in version.refusal(capsys, "--apply-diff")

    def test_parameters_alone_are_no_code(self, version, capsys):
        diff = b"--- a/params.yaml\n+++ b/params.yaml\n@@ -4 +4 @@\n-seed: 0\n+seed: 7\n"
        version.keep(diff, **PARAMS | {"seed": 7})
        main(["reproduce", version.uri, "--keep", str(version.root / "kept")])
        assert yaml.safe_load((version.root / "kept/params.yaml").read_text())["seed"] == 7
        assert (version.root / "kept/ran").exists()

    @pytest.mark.parametrize(
        "diff",
        [
            diff_of("../outside.py"),
            diff_of("/tmp/outside.py"),
            diff_of(".git/config"),
            new_file(".git/hooks/post-checkout", "touch ran"),
            new_file("sub/.GIT/hooks/post-checkout", "touch ran"),
            new_file(".gitmodules", "[submodule]"),
            new_file("link", "/etc/passwd", mode="120000"),
            new_file("module", "Subproject commit " + "0" * 40, mode="160000"),
            b"diff --git a/make.py b/make.py\nold mode 100644\nnew mode 120000\n",
            b"diff --git a/../make.py b/b.py\nsimilarity index 100%\nrename from ../make.py\nrename to b.py\n",
            b"diff --git a/b.bin b/b.bin\nnew file mode 100644\nindex 0000000..6b65b6f\nGIT binary patch\n"
            b"literal 3\nKcmZQzWMp6f00jU50RR91\n\nliteral 0\nHcmV?d00001\n\n",
            b"not a diff",
            b"\xff\xfe\0",
        ],
    )
    def test_what_no_training_changes_is_refused_even_if_asked_for(self, version, capsys, diff):
        error = version.keep(diff).refusal(capsys, "--apply-diff")
        assert "git.diff of its run" in error
        assert not (version.root / "kept").exists()

    def test_a_diff_that_nobody_would_read_is_refused(self, version, capsys):
        version.keep(diff_of() + b"+x\n" * (1 << 19))
        assert "git.diff is larger" in version.refusal(capsys, "--apply-diff")

    def test_nothing_is_hidden_from_who_reads_it(self, version, capsys):
        version.keep(diff_of(line="print(1) # \x1b[2K\r\u202e evil"))
        version.refusal(capsys)
        assert r"+print(1) # \x1b[2K\r\u202e evil" in version.shown


class TestEvidence:
    @pytest.mark.parametrize(
        "lock",
        [
            "stages: {evil: {cmd: touch ran, outs: []}, patches: {outs: [{path: a, md5: b}]}}",
            "stages: {--set-param=a.b=1: {outs: [{path: a, md5: b}]}}",
            "stages: {../other/dvc.yaml:patches: {outs: [{path: a, md5: b}]}}",
            "stages: {patches@x;touch ran: {outs: [{path: a, md5: b}]}}",
            "stages: {register: {outs: [{path: a, md5: b}]}}",
        ],
    )
    def test_stages_are_those_of_dvc_yaml(self, version, capsys, lock):
        assert "names stage" in version.keep(lock=lock).refusal(capsys)

    def test_a_stage_made_of_a_template_is_one(self, version):
        lock = f"stages: {{gate@a: {{outs: [{{path: g, md5: {MD5}}}]}}}}"
        main(["reproduce", version.keep(lock=lock).uri, "--keep", str(version.root / "kept")])
        assert (version.root / "kept/ran").exists()

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("dvc.lock", LOCK.replace("patches", "evil")),
            ("dvc.lock", "!!python/object/apply:os.system [touch ran]"),
            ("params.yaml", "seed: 1"),
        ],
    )
    def test_changed_after_it_was_registered_it_is_refused(self, version, capsys, name, content):
        version.keep()
        (version.artifacts / "evidence" / name).write_text(content)
        assert f"evidence/{name} was changed after it was registered" in version.refusal(capsys)

    def test_the_commit_cannot_be_exchanged(self, version, capsys):
        version.keep()
        write_json(version.artifacts / "evidence/lineage.json", {"commit": "1" * 40, "runs": {}})
        assert "names commit 11111111" in version.refusal(capsys)

    @pytest.mark.parametrize("commit", ["--upload-pack=touch ran", "HEAD", "main;touch ran", "0" * 39, "none"])
    def test_a_commit_is_a_commit(self, version, capsys, commit):
        assert "is no commit" in version.keep(commit=commit).refusal(capsys)

    @pytest.mark.parametrize(
        "params",
        [
            {"evil": 1},
            {"cohort": {"source": "source", "evil": "x"}},
            {"cohort": {"source": "$(touch ran)evil"}},
            {"cohort": {"source": "a; touch ran evil"}},
            {"scales": [1.0, "`touch ran` evil"]},
        ],
    )
    def test_parameters_are_checked_before_they_are_written(self, version, capsys, params):
        assert "evidence/params.yaml of the run" in version.keep(**params).refusal(capsys)

    def test_those_of_this_versions_settings_are_judged_by_them(self, version, capsys):
        committed = copy_profile(version.root).read_text()
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", "settings"], check=True)
        content = yaml.safe_load(committed)
        wrong = content | {"segmenter": content["segmenter"] | {"loss": "evil"}}
        assert "evil is not one of" in version.keep(**wrong).refusal(capsys)

    def test_thresholds_are_judged_like_parameters(self, version, capsys):
        content = yaml.safe_load(copy_profile(version.root).read_text())
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", "settings"], check=True)
        gates = version.root / "gates.yaml"
        gates.write_text(gates.read_text().replace("min_miou: 0.5", "min_miou: 5", 1))
        assert "gates.yaml: line " in version.keep(**content).refusal(capsys)

    def test_a_source_is_linked_beside_the_clone_at_most(self, tmp_path, monkeypatch):
        monkeypatch.setattr(reproduce, "_dvc", lambda *_, **__: None)
        project, clone = tmp_path / "a/b/project", tmp_path / "c/d/clone"
        for folder in (project, clone, tmp_path / "a/far", tmp_path / "a/b/near"):
            folder.mkdir(parents=True)
        reproduce._bring_inputs(project, clone, tmp_path, {"cohort": {"source": "../near"}})
        assert (tmp_path / "c/d/near").resolve() == tmp_path / "a/b/near"
        with pytest.raises(InputError, match="leads far out"):
            reproduce._bring_inputs(project, clone, tmp_path, {"cohort": {"source": "../../far"}})
        assert not (tmp_path / "c/far").exists()


@given(
    st.lists(st.sampled_from(["a", "b.py", "..", ".git", ".GIT", ".gitmodules", ".", "", ".git ", "git"]), max_size=5)
)
def test_no_path_leaves_the_project_or_enters_git(parts):
    name = "/".join(parts)
    if _inside(name):
        steps = [part for part in parts if part not in ("", ".")]
        assert steps
        assert parts[0] != ""
        assert ".." not in steps
        assert not {".git", ".gitmodules"} & {part.lower().strip() for part in steps}


@given(st.text())
def test_a_text_for_the_terminal_has_lines_and_nothing_else(text):
    assert plain_lines(text).count("\n") == text.count("\n")
    assert all(line.isprintable() for line in plain_lines(text).split("\n"))
