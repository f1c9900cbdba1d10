"""Ctrl-C at random moments of stages and commands, for `scripts/torture.py`, and what comes of it."""

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tqdm import tqdm

from scripts.tortured_line import LOG, MODEL, ROOT, environment_of, read_log, start_stage, wait_for_work
from wsss_mm import places

logger = logging.getLogger("torture")

_LINE = re.compile(r"(wsss-mm: )?interrupted; .* goes on where it stopped")
_WORK_SAYS = re.compile(r"(DEBUG|INFO|WARNING) |\d{4}[-/]\d\d[-/]\d\d .* INFO |.*: +\d+%\|")  # logs, progress bars
_PATIENCE = 120  # s for a process to end after Ctrl-C
_LONGEST = 60  # s of a command in which it is interrupted
_SERVES = "until Ctrl-C"
_TEMPORARY = re.compile(r"\.(.+\.(before\.)?[0-9a-f]{8}(\..+)?|.+\.lock)")  # of `wsss_mm.files`

COMMANDS = {
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
    "models list": f"models list --name {MODEL}",
    "models promote": f"models promote --name {MODEL} 1 --force why",
    "models card": f"models card --name {MODEL} 1",
    "report": f"report models:/{MODEL}/1 --out {{scratch}}/report.html",
    "reproduce": f"reproduce models:/{MODEL}/1 --keep {{scratch}}/clone",
    "sync": "sync",
    "weights inspect": "weights inspect {home}/slides.csv",
}
"""Commands of `wsss-mm`, in the clone whose line has run; {home} holds what they read, {scratch} is of each alone."""


@dataclass
class Presses:
    """What became of the Ctrl-Cs of one stage or command."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def hits(self) -> int:
        """How many came while it was at work."""
        return self.counts["interrupted"]

    @property
    def passed(self) -> int:
        """How many came before Python had come to the project's code, or after it had ended by itself."""
        return self.counts["early"] + self.counts["late"]

    def note(self, found: str) -> None:
        """One of `early`, `late` and `interrupted`, or what is wrong."""
        kind = found if found in ("early", "late", "interrupted") else "wrong"
        self.counts[kind] += 1
        if kind == "wrong":
            self.wrong.append(found)
            logger.error("%s", found)


def interrupt_stage(root: Path, stage: tuple[str, str], wanted: int, seconds: float, chance: random.Random) -> Presses:
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


def interrupt_commands(
    folder: Path, root: Path, commands: dict[str, str], wanted: int, chance: random.Random
) -> Iterator[tuple[str, Presses]]:
    """Ctrl-C in each of so many equal parts of each command's time."""
    home = _home(folder / "home", root)
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
        yield name, presses


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
            [*python, *command], cwd=root, env=environment_of(root), capture_output=True, text=True, check=False
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
            env=environment_of(root),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    while process.poll() is None and time.monotonic() < start + _LONGEST and _SERVES not in read_log(log):
        time.sleep(0.05)
    took = time.monotonic() - start
    serves = process.poll() is None
    if serves:
        os.killpg(process.pid, signal.SIGKILL)
    if process.wait() > 1:
        logger.warning("%s: %s", " ".join(command[3:]), read_log(log).strip())
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
                env=environment_of(root) | about | {"TMPDIR": temporary},
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
    process = start_stage(root, stage, "--force")
    wait_for_work(root, process)
    try:
        process.wait(timeout=moment)
        return "late"
    except subprocess.TimeoutExpired:
        family = _family(process.pid)
        os.killpg(process.pid, signal.SIGINT)
    code, said = process.wait(), read_log(root / LOG)
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
    return bool(_LINE.search(said)) or str(ROOT) in said or "/pipelines/" in said or "/wsss_mm/" in said


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
