"""Kill every stage of the line at random moments and compare its outs with those of an undisturbed run.

Two clones of the committed project run the line of a small profile. In the second, each stage is started and killed
(SIGKILL, the whole process group) several times before it may finish. Every out must then have the md5 it has in the
first. Exit code 0 if all do.
"""

import argparse
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

logger = logging.getLogger("torture")

_ROOT = Path(__file__).resolve().parents[1]
_ENVIRONMENT = {"TQDM_DISABLE": "1", "GIT_AUTHOR_NAME": "torture", "GIT_AUTHOR_EMAIL": "torture@localhost"}


@dataclass(frozen=True)
class Result:
    """What became of one stage: how often it was killed at work, and which outs differ in the end."""

    stage: str
    kills: int
    differing: tuple[str, ...]


def main() -> int:
    """Run the harness and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--kills", type=int, default=5, help="of each stage")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--profile", default="tiny", help="params.yaml of both lines, see `wsss-mm profile`")
    parser.add_argument("--stages", nargs="*", help="only these; the ones before them run undisturbed")
    parser.add_argument("--keep", type=Path, help="work in this new folder and leave it behind")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="torture-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with logging_redirect_tqdm():
            results = _torture(folder, arguments)
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write("| stage | killed | outs that differ |\n|---|---|---|\n")
    for result in results:
        sys.stdout.write(f"| {result.stage} | {result.kills} | {', '.join(result.differing) or 'none'} |\n")
    return 1 if any(result.differing for result in results) else 0


def _torture(folder: Path, arguments: argparse.Namespace) -> list[Result]:
    calm, rough = (_clone(folder / name, arguments.profile) for name in ("calm", "rough"))
    stages = _stages(calm)
    seconds = {}
    for stage in tqdm(stages, desc="undisturbed", unit="stage"):
        start = time.monotonic()
        if _start(calm, stage).wait():
            raise SystemExit(f"{stage}: failed without being killed; see {calm}")
        seconds[stage] = time.monotonic() - start
    expected = _outs(calm)
    chance = random.Random(arguments.seed)
    results = []
    for stage in tqdm(stages, desc="killed", unit="stage"):
        count = arguments.kills if not arguments.stages or stage in arguments.stages else 0
        kills = sum(_kill_once(rough, stage, chance.uniform(0.05, 0.95) * seconds[stage]) for _ in range(count))
        finished = _start(rough, stage).wait() == 0
        found = _outs(rough).get(stage, {}) if finished else {}
        differing = tuple(path for path, md5 in expected[stage].items() if found.get(path) != md5)
        logger.info("%s: killed %d times, %s", stage, kills, "differs" if differing else "same outs")
        results.append(Result(stage, kills, differing))
        if not finished:
            logger.error("%s: does not finish any more", stage)
            break
    return results


def _clone(target: Path, profile: str) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(_ROOT), str(target)], check=True)
    python = [sys.executable, "-m", "wsss_mm.cli.main"]
    environment = _environment(target)
    subprocess.run([*python, "profile", profile], cwd=target, env=environment, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["git", "commit", "-qam", profile], cwd=target, env=environment, check=True)
    return target


def _environment(root: Path) -> dict[str, str]:
    """This Python's tools first on the path, the clone's own code first among the modules, a store of its own."""
    names = {f"GIT_COMMITTER_{key}": "torture@localhost" for key in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **_ENVIRONMENT, **names, "PATH": path, "PYTHONPATH": str(root)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return environment


def _stages(root: Path) -> list[str]:
    """All stages, each after those it depends on."""
    import networkx
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        graph = repo.index.graph  # edges point from a stage to what it needs
        return [stage.name for stage in networkx.lexicographical_topological_sort(graph.reverse(), key=str)]


def _start(root: Path, stage: str, *options: str) -> subprocess.Popen[bytes]:
    log = (root / "torture.log").open("ab")
    with log:
        return subprocess.Popen(
            ["dvc", "repro", "--single-item", *options, stage],
            cwd=root,
            env=_environment(root),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _kill_once(root: Path, stage: str, after: float) -> bool:
    """Whether the stage was still at work after so many seconds, and is dead now."""
    process = _start(root, stage, "--force")  # even if an earlier attempt came to its end
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def _outs(root: Path) -> dict[str, dict[str, str]]:
    """md5 of every out, by stage."""
    lock = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8")) if (root / "dvc.lock").is_file() else {}
    stages = lock.get("stages", {})
    return {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}


if __name__ == "__main__":
    sys.exit(main())
