"""The line in a clone of its own, for `scripts/torture.py`: cloned, run stage by stage, and looked at."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from tqdm import tqdm

from wsss_mm import places
from wsss_mm.dvc_files import LOCK, pipeline_stages
from wsss_mm.yaml_places import parse

logger = logging.getLogger("torture")

ROOT = Path(__file__).resolve().parents[1]
MODEL = "tortured"
"""Name in the clone's registry."""

_ENVIRONMENT = {
    "TQDM_DISABLE": "1",
    "PYTHONUNBUFFERED": "1",
    "GIT_AUTHOR_NAME": "torture",
    "GIT_AUTHOR_EMAIL": "torture@localhost",
}
_AT_WORK = "Running stage"  # DVC says so when it starts the command
LOG = "torture.log"  # of an attempt


def clone(target: Path, profile: str) -> Path:
    """Clone the committed project, with a profile's params.yaml."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(target)], check=True)
    python = [sys.executable, "-m", "wsss_mm.cli.main"]
    environment = environment_of(target)
    subprocess.run([*python, "profile", profile], cwd=target, env=environment, check=True, stdout=subprocess.DEVNULL)
    params = parse((target / places.PARAMS_FILE).read_text(encoding="utf-8")).content
    params["register"]["model_name"] = MODEL
    (target / places.PARAMS_FILE).write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    subprocess.run(["git", "commit", "-qam", profile], cwd=target, env=environment, check=True)
    return target


def environment_of(root: Path) -> dict[str, str]:
    """This Python's tools first on the path, the clone's own code first among the modules, a store of its own."""
    names = {f"GIT_COMMITTER_{key}": "torture@localhost" for key in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **_ENVIRONMENT, **names, "PATH": path, "PYTHONPATH": str(root)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return environment


def stages_of(root: Path) -> dict[str, str]:
    """The commands of all stages, each after those it depends on."""
    import networkx
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        graph = repo.index.graph  # edges point from a stage to what it needs
        return {stage.name: stage.cmd for stage in networkx.lexicographical_topological_sort(graph.reverse(), key=str)}


def undisturbed_line(root: Path, stages: Sequence[str]) -> dict[str, float]:
    """Run all stages, unless an earlier torture did; how many seconds each takes."""
    notes = root / "torture.json"
    if notes.is_file():
        return json.loads(notes.read_text(encoding="utf-8"))
    seconds = {}
    for stage in tqdm(stages, desc="undisturbed", unit="stage"):
        process = start_stage(root, stage)
        wait_for_work(root, process)
        start = time.monotonic()
        if process.wait():
            raise SystemExit(f"{stage}: failed without being killed; see {root}")
        seconds[stage] = time.monotonic() - start
    notes.write_text(json.dumps(seconds), encoding="utf-8")
    return seconds


def start_stage(root: Path, stage: str, *options: str) -> subprocess.Popen[bytes]:
    """Let DVC run a stage, which logs to torture.log."""
    mend = [sys.executable, str(ROOT / "scripts/mend_dvc.py")]  # as make repro does
    subprocess.run(mend, cwd=root, env=environment_of(root), check=True)
    with (root / LOG).open("wb") as log:  # of this attempt alone
        return subprocess.Popen(
            ["dvc", "repro", "--single-item", *options, stage],
            cwd=root,
            env=environment_of(root),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_for_work(root: Path, process: subprocess.Popen[bytes]) -> None:
    """Until DVC has started the stage's command, or ended."""
    _wait_for(root / LOG, _AT_WORK, process)


def _wait_for(log: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None and text not in read_log(log):
        time.sleep(0.05)


def read_log(log: Path) -> str:
    """What was logged so far."""
    return log.read_text(encoding="utf-8", errors="replace")


def outs_of(root: Path) -> dict[str, dict[str, str]]:
    """md5 of every out, by stage."""
    stages = pipeline_stages((root / LOCK).read_bytes(), root / LOCK) if (root / LOCK).is_file() else {}
    return {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}
