"""Kill or interrupt every stage of the line at random moments and compare its outs with those of an undisturbed run.

Two clones of the committed project run the line of a small profile. In the second, each stage is started and killed
(SIGKILL, the whole process group) several times, while its command is at work or DVC stores what it made, before it may
finish. Every out must then have the md5 it has in the first. Exit code 0 if all do, and if every kill hit.

With `--signal INT` Ctrl-C takes the place of the kill, as a terminal sends it: from the first to the last moment of
`python -m pipelines.STAGE`, and once as DVC runs it; then of commands of `wsss-mm`, on what the line made. Each must
end with one line on stderr and exit code 130, and leave neither a process nor a temporary file.
"""

import argparse
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from wsss_mm import places

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
_MODEL = "tortured"  # name in the registry
_LINE = re.compile(r"(wsss-mm: )?interrupted; .* goes on where it stopped")
_WORK_SAYS = re.compile(r"(DEBUG|INFO|WARNING) |\d{4}[-/]\d\d[-/]\d\d .* INFO |.*: +\d+%\|")  # logs, progress bars
_PATIENCE = 120  # s for a process to end after Ctrl-C
_LONGEST = 60  # s of a command in which it is interrupted
_SERVES = "until Ctrl-C"
_TEMPORARY = re.compile(r"\.(.+\.(before\.)?[0-9a-f]{8}(\..+)?|.+\.lock)")  # of `wsss_mm.files`

_COMMANDS = {
    "doctor": "doctor",
    "profile": "profile tiny --params {scratch}/params.yaml",
    "segment": "segment data/cohort/slides --model models/segmenter --out {scratch}/maps",
    "view": "view results/slides --port 0",
    "label": "label --port 0 --reader ann",
    "cohort add": "cohort add data/cohort/slides --table {scratch}/slides.csv",
    "cohort split": "cohort split --table {home}/slides.csv --seed {number}",
    "cohort check": "cohort check --table {home}/slides.csv",
    "labels import": "labels import --reader ann {home}/labels.csv --journals {scratch}/journals",
    "labels export": "labels export {scratch}/out.csv --journals {home}/journals",
    "labels agreement": "labels agreement --journals {home}/journals",
    "labels check": "labels check --journals {home}/journals",
    "quarantine add": "quarantine add --slide phantom-train-01 --reason why --list {scratch}/quarantine.csv",
    "data log": "data log",
    "gates": "gates",
    "models list": f"models list --name {_MODEL}",
    "models promote": f"models promote --name {_MODEL} 1 --force why",
    "models card": f"models card --name {_MODEL} 1",
    "report": f"report models:/{_MODEL}/1 --out {{scratch}}/report.html",
    "reproduce": f"reproduce models:/{_MODEL}/1 --keep {{scratch}}/clone",
    "sync": "sync",
    "weights inspect": "weights inspect {home}/slides.csv",
}
"""Commands of `wsss-mm`, in the clone whose line has run; {home} holds what they read, {scratch} is of each alone."""


@dataclass(frozen=True)
class Result:
    """What became of one stage or command.

    Attributes:
        name: of the stage, or the command.
        kills: how often it was killed, or interrupted, at work.
        differing: outs that differ in the end.
        passed: how often it was interrupted before Python had come to the project's code, or had ended by itself.
        wrong: what was not as it should be after Ctrl-C.
    """

    name: str
    kills: int
    differing: tuple[str, ...] = ()
    passed: int = 0
    wrong: tuple[str, ...] = ()


@dataclass
class Presses:
    """What became of the Ctrl-Cs of one stage or command."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def note(self, found: str) -> None:
        """One of `early`, `late` and `interrupted`, or what is wrong."""
        kind = found if found in ("early", "late", "interrupted") else "wrong"
        self.counts[kind] += 1
        if kind == "wrong":
            self.wrong.append(found)
            logger.error("%s", found)


def main() -> int:
    """Run the harness and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--signal", choices=("KILL", "INT"), default="KILL", help="INT: Ctrl-C, see above")
    parser.add_argument("--kills", type=int, default=5, help="of each stage, and each command")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--profile", default="tiny", help="params.yaml of both lines, see `wsss-mm profile`")
    parser.add_argument("--stages", nargs="*", help="only these; the ones before them run undisturbed")
    parser.add_argument("--commands", nargs="*", help="with --signal INT: only these of `wsss-mm`")
    parser.add_argument(
        "--keep", type=Path, help="work in this folder and leave it behind; a line `calm` in it is taken as it is"
    )
    arguments = parser.parse_args()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in a shell's background: no child would hear Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = (arguments.keep or Path(tempfile.mkdtemp(prefix="torture-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with logging_redirect_tqdm():
        results = _torture(folder, arguments)
    said = "killed" if arguments.signal == "KILL" else "interrupted"
    sys.stdout.write(f"| stage | {said} | before or after it | outs that differ |\n|---|---|---|---|\n")
    for result in results:
        differing = ", ".join(result.differing) or "none"
        sys.stdout.write(f"| {result.name} | {result.kills} | {result.passed} | {differing} |\n")
    logger.info("%s %d times in all", said, sum(result.kills for result in results))
    for result in results:
        for wrong in result.wrong:
            logger.error("%s: %s", result.name, wrong)
    wanted = dict.fromkeys(arguments.stages or [result.name for result in results], arguments.kills)
    missed = arguments.signal == "KILL" and any(result.kills < wanted.get(result.name, 0) for result in results)
    failed = missed or any(result.differing or result.wrong for result in results)
    if failed:
        logger.error("both lines are left in %s", folder)
    elif arguments.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def _torture(folder: Path, arguments: argparse.Namespace) -> list[Result]:
    calm, rough = folder / "calm", folder / "rough"
    for root in (calm, rough):
        if not root.exists():
            _clone(root, arguments.profile)
    stages = _stages(calm)
    seconds = _undisturbed_line(calm, list(stages))
    expected = _outs(calm)
    chance = random.Random(arguments.seed)
    results = []
    for stage, command in tqdm(stages.items(), desc=arguments.signal, unit="stage"):
        wanted = arguments.kills if not arguments.stages or stage in arguments.stages else 0
        presses = Presses()
        if arguments.signal == "KILL":
            kills = _kill(rough, stage, wanted, seconds[stage], chance)
        else:
            presses = _interrupt_stage(rough, (stage, command), wanted, seconds[stage], chance)
            kills = presses.counts["interrupted"]
        finished = _start(rough, stage).wait() == 0
        found = _outs(rough).get(stage, {}) if finished else {}
        differing = tuple(path for path, md5 in expected[stage].items() if found.get(path) != md5)
        logger.info("%s: %d times, %s", stage, kills, "differs" if differing else "same outs")
        passed = presses.counts["early"] + presses.counts["late"]
        results.append(Result(stage, kills, differing, passed, tuple(presses.wrong)))
        if not finished:
            told = (rough / "torture.log").read_text(encoding="utf-8", errors="replace")
            logger.error("%s: does not finish any more:\n%s", stage, told)
            break
    if arguments.signal == "INT":
        wanted = {name: _COMMANDS[name] for name in (arguments.commands if arguments.commands else _COMMANDS)}
        wanted = {} if arguments.commands == [] else wanted
        results += _interrupt_commands(folder, rough, wanted, arguments.kills, chance)
    return results


def _undisturbed_line(root: Path, stages: Sequence[str]) -> dict[str, float]:
    """Run all stages, unless an earlier torture did; how many seconds each takes."""
    notes = root / "torture.json"
    if notes.is_file():
        return json.loads(notes.read_text(encoding="utf-8"))
    seconds = {}
    for stage in tqdm(stages, desc="undisturbed", unit="stage"):
        process = _start(root, stage)
        _wait_for_work(root, process)
        start = time.monotonic()
        if process.wait():
            raise SystemExit(f"{stage}: failed without being killed; see {root}")
        seconds[stage] = time.monotonic() - start
    notes.write_text(json.dumps(seconds), encoding="utf-8")
    return seconds


def _clone(target: Path, profile: str) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(_ROOT), str(target)], check=True)
    python = [sys.executable, "-m", "wsss_mm.cli.main"]
    environment = _environment(target)
    subprocess.run([*python, "profile", profile], cwd=target, env=environment, check=True, stdout=subprocess.DEVNULL)
    params = yaml.safe_load((target / places.PARAMS_FILE).read_text(encoding="utf-8"))
    params["register"]["model_name"] = _MODEL
    (target / places.PARAMS_FILE).write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    subprocess.run(["git", "commit", "-qam", profile], cwd=target, env=environment, check=True)
    return target


def _environment(root: Path) -> dict[str, str]:
    """This Python's tools first on the path, the clone's own code first among the modules, a store of its own."""
    names = {f"GIT_COMMITTER_{key}": "torture@localhost" for key in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **_ENVIRONMENT, **names, "PATH": path, "PYTHONPATH": str(root)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return environment


def _stages(root: Path) -> dict[str, str]:
    """The commands of all stages, each after those it depends on."""
    import networkx
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        graph = repo.index.graph  # edges point from a stage to what it needs
        return {stage.name: stage.cmd for stage in networkx.lexicographical_topological_sort(graph.reverse(), key=str)}


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
    _wait_for(root / "torture.log", _AT_WORK, process)


def _wait_for(log: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None and text not in _read(log):
        time.sleep(0.05)


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


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


def _interrupt_stage(root: Path, stage: tuple[str, str], wanted: int, seconds: float, chance: random.Random) -> Presses:
    """Ctrl-C in each of so many equal parts of a stage's time, and once as DVC runs it."""
    (name, command), presses = stage, Presses()
    about = {"DVC_ROOT": str(root), "DVC_STAGE": name}
    for number in range(wanted):
        moment = (number + chance.random()) / wanted * seconds
        found, took = _interrupted(root, command.split(), moment, about)
        seconds = min(seconds, took) if found == "late" else seconds
        presses.note(found)
    if wanted:
        presses.note(_interrupted_under_dvc(root, name, chance.random() * seconds))
    return presses


def _interrupt_commands(
    folder: Path, root: Path, commands: dict[str, str], wanted: int, chance: random.Random
) -> list[Result]:
    """Ctrl-C in each of so many equal parts of each command's time."""
    results, home = [], _home(folder / "home", root)
    for name, line in tqdm(commands.items(), desc="commands", unit="command"):
        presses, seconds = Presses(), 0.0
        for number in range(wanted + 1):
            scratch = folder / "scratch" / f"{name.replace(' ', '-')}-{number}"
            scratch.mkdir(parents=True)
            command = line.format(scratch=scratch, home=home, number=number).split()
            argv = [sys.executable, "-m", "wsss_mm.cli.main", *command]
            if number == 0:
                seconds = _undisturbed(root, argv, scratch)
                continue
            moment = (number - 1 + chance.random()) / wanted * seconds
            found, took = _interrupted(root, argv, moment, {}, scratch)
            seconds = min(seconds, took) if found == "late" else seconds
            presses.note(found)
            shutil.rmtree(scratch, ignore_errors=True)
        logger.info("%s: %s", name, dict(presses.counts))
        passed = presses.counts["early"] + presses.counts["late"]
        results.append(Result(name, presses.counts["interrupted"], (), passed, tuple(presses.wrong)))
    return results


def _home(home: Path, root: Path) -> Path:
    """What commands read: a table of slides, one of 50,000 labels, and a journal of them."""
    home.mkdir()
    python = [sys.executable, "-m", "wsss_mm.cli.main"]
    slides = sorted(path.stem for path in (root / places.COHORT / "slides").iterdir())
    rows = [f"{slide},{x},{y},TE" for slide in slides for x in range(100) for y in range(50000 // len(slides) // 100)]
    (home / places.LABELS_TABLE).write_text("\n".join(["slide_id,x,y,labels", *rows]) + "\n", encoding="utf-8")
    for command in (
        ["cohort", "add", str(places.COHORT / "slides"), "--table", str(home / places.SLIDES_TABLE)],
        ["labels", "import", "--reader", "bob", str(home / places.LABELS_TABLE), "--journals", str(home / "journals")],
    ):
        done = subprocess.run(
            [*python, *command], cwd=root, env=_environment(root), capture_output=True, text=True, check=False
        )
        if done.returncode:
            logger.warning("%s: %s", " ".join(command), done.stderr)
    return home


def _undisturbed(root: Path, command: Sequence[str], scratch: Path) -> float:
    """How long a command takes; of a server, half as long again as it takes to begin."""
    log, start = scratch / "log", time.monotonic()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=_environment(root),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    while process.poll() is None and time.monotonic() < start + _LONGEST and _SERVES not in _read(log):
        time.sleep(0.05)
    took = time.monotonic() - start
    serves = process.poll() is None
    if serves:
        os.killpg(process.pid, signal.SIGKILL)
    if process.wait() > 1:
        logger.warning("%s: %s", " ".join(command[3:]), _read(log).strip())
    return took * 1.5 if serves and took < _LONGEST else took


def _interrupted(
    root: Path, command: Sequence[str], moment: float, about: dict[str, str], scratch: Path | None = None
) -> tuple[str, float]:
    """Start a command, press Ctrl-C after so many seconds, and see what comes of it.

    Returns:
        `interrupted`; `early`, where Python had not come to the project's code; `late`, where it had ended; or what is
        wrong. And the seconds until it ended.
    """
    with tempfile.TemporaryDirectory(prefix="torture-") as temporary, tempfile.TemporaryDirectory() as beside:
        log, start = Path(beside) / "log", time.monotonic()
        with log.open("wb") as errors:
            process = subprocess.Popen(
                command,
                cwd=root,
                env=_environment(root) | about | {"TMPDIR": temporary},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        try:
            process.wait(timeout=moment)
            return "late", time.monotonic() - start
        except subprocess.TimeoutExpired:
            pass
        before, family = log.stat().st_size, _family(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"{moment:.2f} s: did not end within {_PATIENCE} s", _PATIENCE
        took, said = time.monotonic() - start, log.read_bytes()[before:].decode(errors="replace")
        folders = [root, Path(temporary), *([scratch] if scratch else [])]
        fault = _fault(said, process.returncode) or _left(family, folders)
        if fault and process.returncode == 0 and not said.strip() and took - moment < 0.5:
            return "late", took  # it had done its work
        if fault and moment < 1 and not _project_spoke(said):
            return "early", took
        return (f"{moment:.2f} of {took:.2f} s: {fault}" if fault else "interrupted"), took


def _interrupted_under_dvc(root: Path, stage: str, moment: float) -> str:
    """The same of a stage that DVC runs."""
    process = _start(root, stage, "--force")
    _wait_for_work(root, process)
    try:
        process.wait(timeout=moment)
        return "late"
    except subprocess.TimeoutExpired:
        family = _family(process.pid)
        os.killpg(process.pid, signal.SIGINT)
    code, said = process.wait(), _read(root / "torture.log")
    left = _left(family, [root])
    lines = [line for line in said.splitlines() if _LINE.fullmatch(line)]
    if code and len(lines) == 1 and "exited with 130" in said and "Traceback" not in said and not left:
        return "interrupted"
    if not lines and (code == 0 or "interrupted by the user" in said):
        return "late"  # DVC's own answer, when the command was over
    if "exited with -2" in said and not lines and moment < 1:
        return "early"
    return f"under DVC, {moment:.2f} s: code {code}, {left or said[-1500:]}"


def _fault(said: str, code: int) -> str | None:
    lines = [line for line in re.split(r"[\r\n]+", said) if line.strip() and not _WORK_SAYS.match(line)]
    if code == 130 and len(lines) == 1 and _LINE.fullmatch(lines[0]):
        return None
    return f"code {code}, {said[-1500:]!r}"


def _project_spoke(said: str) -> bool:
    return bool(_LINE.search(said)) or str(_ROOT) in said or "/pipelines/" in said or "/wsss_mm/" in said


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _left(family: Sequence[psutil.Process], folders: Sequence[Path]) -> str | None:
    """Processes and temporary files that are still there."""
    _, alive = psutil.wait_procs(family, timeout=10)
    if alive:
        return f"left processes: {[process.cmdline() for process in alive]}"
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            inside = path.relative_to(folder).parts
            if {".git", ".dvc", "clone"} & set(inside) or path.name == "log":
                continue
            if _TEMPORARY.fullmatch(path.name) or (folder.name.startswith("torture-") and len(inside) == 1):
                found.append(str(path))
    return f"left files: {found}" if found else None


def _outs(root: Path) -> dict[str, dict[str, str]]:
    """md5 of every out, by stage."""
    lock = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8")) if (root / "dvc.lock").is_file() else {}
    stages = lock.get("stages", {})
    return {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}


if __name__ == "__main__":
    sys.exit(main())
