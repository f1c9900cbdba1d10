"""A checkout of the project for tests that run commands in it."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests import warm


@dataclass(frozen=True)
class Line:
    """A checkout of the project with its own git and DVC repositories."""

    root: Path

    def run(self, *command: str, check: bool = True, cold: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout, with its code and the tests' own Python.

        They have their libraries already (tests/warm.py), unless `cold` asks for new stages and a new `wsss-mm`.
        """
        folders = [warm.commands() / warm.DVC, Path(sys.executable).parent, os.environ["PATH"]]
        folders = folders if cold else [warm.commands(), *folders]
        environment = {**os.environ, "PATH": os.pathsep.join(map(str, folders))}
        environment |= {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1", "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t"}
        environment |= {"GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t"}
        environment["PYTHONPATH"] = str(self.root)  # `wsss-mm` and DVC's stages import this checkout, not the project
        environment.pop("MLFLOW_TRACKING_URI", None)
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
            # Files, and no pipes: whoever reads a pipe waits for all who hold it, and DVC's workers may stay for ever.
            ended = subprocess.run(
                command,
                cwd=self.root,
                env=environment,
                stdout=out,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            out.seek(0)
            errors.seek(0)
            done = subprocess.CompletedProcess(command, ended.returncode, out.read(), errors.read())
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def copy(self, root: Path) -> "Line":
        """Another checkout with all that was made here, whose runs are its own."""
        shutil.copytree(self.root, root, symlinks=True)
        other = Line(root)
        other.run("wsss-mm", "doctor", "--fix", check=False)  # or its store would name the files of this one
        return other

    def change_params(self, changes: dict, file: str = "params.yaml") -> None:
        """Merge values into params.yaml, or gates.yaml."""
        path = self.root / file
        params = yaml.safe_load(path.read_text())
        _merge(params, changes)
        path.write_text(yaml.safe_dump(params, sort_keys=False))


def _merge(base: dict, changes: dict) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def checkout(project_root: Path, target: Path) -> Line:
    """Copy the files git knows or does not ignore, and commit them in a new repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=project_root, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (project_root / name).is_file() or (project_root / name).is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(project_root / name, target / name, follow_symlinks=False)
    (target / "dvc.lock").unlink(missing_ok=True)
    line = Line(target)
    line.run("git", "init", "-q")
    return line


def run_small_line(line: Line) -> None:
    """The profile `tiny` in a new checkout, from slides to a registered model, with commits before and after."""
    line.run("wsss-mm", "profile", "tiny")
    line.change_params({"register": {"model_name": "segmenter-phantom"}})  # tests of the registry want a version
    line.run("git", "add", "-A")
    line.run("git", "commit", "-qm", "Small line")
    line.run("dvc", "repro")
    line.run("git", "add", "-A")
    line.run("git", "commit", "-qm", "Run the small line")
