"""Kill every stage of the line at random moments and compare its outs with those of an undisturbed run.

Two clones of the committed project run the line of a small profile. In the second, each stage is started and killed
(SIGKILL, the whole process group) several times, while its command is at work or DVC stores what it made, before it may
finish. Every out must then have the md5 it has in the first. Exit code 0 if all do, and if every kill hit.
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
_ENVIRONMENT = {
    "TQDM_DISABLE": "1",
    "PYTHONUNBUFFERED": "1",
    "GIT_AUTHOR_NAME": "torture",
    "GIT_AUTHOR_EMAIL": "torture@localhost",
}
_AT_WORK = "Running stage"  # DVC says so when it starts the command
_ATTEMPTS = 4  # starts for each kill: a stage that finds its work done ends before it can be killed


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
    with logging_redirect_tqdm():
        results = _torture(folder, arguments)
    sys.stdout.write("| stage | killed | outs that differ |\n|---|---|---|\n")
    for result in results:
        sys.stdout.write(f"| {result.stage} | {result.kills} | {', '.join(result.differing) or 'none'} |\n")
    logger.info("killed %d times in all", sum(result.kills for result in results))
    wanted = dict.fromkeys(arguments.stages or [result.stage for result in results], arguments.kills)
    missed = any(result.kills < wanted.get(result.stage, 0) for result in results)
    failed = missed or any(result.differing for result in results)
    if failed:
        logger.error("both lines are left in %s", folder)
    elif arguments.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def _torture(folder: Path, arguments: argparse.Namespace) -> list[Result]:
    calm, rough = (_clone(folder / name, arguments.profile) for name in ("calm", "rough"))
    stages = _stages(calm)
    seconds = {}
    for stage in tqdm(stages, desc="undisturbed", unit="stage"):
        process = _start(calm, stage)
        _wait_for_work(calm, process)
        start = time.monotonic()
        if process.wait():
            raise SystemExit(f"{stage}: failed without being killed; see {calm}")
        seconds[stage] = time.monotonic() - start
    expected = _outs(calm)
    chance = random.Random(arguments.seed)
    results = []
    for stage in tqdm(stages, desc="killed", unit="stage"):
        wanted = arguments.kills if not arguments.stages or stage in arguments.stages else 0
        kills = _kill(rough, stage, wanted, seconds[stage], chance)
        finished = _start(rough, stage).wait() == 0
        found = _outs(rough).get(stage, {}) if finished else {}
        differing = tuple(path for path, md5 in expected[stage].items() if found.get(path) != md5)
        logger.info("%s: killed %d times, %s", stage, kills, "differs" if differing else "same outs")
        results.append(Result(stage, kills, differing))
        if not finished:
            told = (rough / "torture.log").read_text(encoding="utf-8", errors="replace")
            logger.error("%s: does not finish any more:\n%s", stage, told)
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
    mend = [sys.executable, str(_ROOT / "scripts/mend_rwlock.py")]  # as make repro does
    subprocess.run(mend, cwd=root, env=_environment(root), check=True)
    with (root / "torture.log").open("wb") as log:  # of this attempt alone
        return subprocess.Popen(
            ["dvc", "repro", "--single-item", *options, stage],
            cwd=root,
            env=_environment(root),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait_for_work(root: Path, process: subprocess.Popen[bytes]) -> None:
    """Until DVC has started the stage's command, or ended."""
    log = root / "torture.log"
    while process.poll() is None and _AT_WORK not in log.read_text(encoding="utf-8", errors="replace"):
        time.sleep(0.05)


def _kill(root: Path, stage: str, wanted: int, seconds: float, chance: random.Random) -> int:
    """Start and kill a stage at random moments of its work, which takes so many seconds; how often it was killed."""
    kills = 0
    for _ in range(wanted * _ATTEMPTS):
        if kills == wanted:
            break
        process = _start(root, stage, "--force")  # even if an earlier attempt came to its end
        _wait_for_work(root, process)
        start = time.monotonic()
        try:
            if process.wait(timeout=chance.uniform(0.02, 0.98) * seconds):
                logger.warning("%s: failed without being killed", stage)
            seconds = min(seconds, time.monotonic() - start)  # it finds more done than an undisturbed one
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    return kills


def _outs(root: Path) -> dict[str, dict[str, str]]:
    """md5 of every out, by stage."""
    lock = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8")) if (root / "dvc.lock").is_file() else {}
    stages = lock.get("stages", {})
    return {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}


if __name__ == "__main__":
    sys.exit(main())
