"""Kill or interrupt every stage of the line at random moments and compare its outs with those of an undisturbed run.

Two clones of the committed project run the line of a small profile. In the second, each stage is started and killed
(SIGKILL, the whole process group) several times, while its command is at work or DVC stores what it made, before it may
finish. Every out must then have the md5 it has in the first. Exit code 0 if all do, and if every kill hit.

With `--signal INT` Ctrl-C takes the place of the kill, as a terminal sends it: from the first to the last moment of
`python -m pipelines.STAGE`, and once as DVC runs it; then of commands of `wsss-mm`, on what the line made. Each must
end with one line on stderr and exit code 130, and leave neither a process nor a temporary file.
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

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.ctrl_c import COMMANDS, Presses, interrupt_commands, interrupt_stage
from scripts.tortured_line import LOG, clone, outs_of, read_log, stages_of, start_stage, undisturbed_line, wait_for_work

logger = logging.getLogger("torture")

_ATTEMPTS = 4  # starts for each kill: a stage that finds its work done ends before it can be killed


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
            clone(root, arguments.profile)
    stages = stages_of(calm)
    seconds = undisturbed_line(calm, list(stages))
    expected = outs_of(calm)
    chance = random.Random(arguments.seed)
    results = []
    for stage, command in tqdm(stages.items(), desc=arguments.signal, unit="stage"):
        wanted = arguments.kills if not arguments.stages or stage in arguments.stages else 0
        presses = Presses()
        if arguments.signal == "KILL":
            kills = _kill(rough, stage, wanted, seconds[stage], chance)
        else:
            presses = interrupt_stage(rough, (stage, command), wanted, seconds[stage], chance)
            kills = presses.hits
        finished = start_stage(rough, stage).wait() == 0
        found = outs_of(rough).get(stage, {}) if finished else {}
        differing = tuple(path for path, md5 in expected[stage].items() if found.get(path) != md5)
        logger.info("%s: %d times, %s", stage, kills, "differs" if differing else "same outs")
        results.append(Result(stage, kills, differing, presses.passed, tuple(presses.wrong)))
        if not finished:
            told = read_log(rough / LOG)
            logger.error("%s: does not finish any more:\n%s", stage, told)
            break
    if arguments.signal == "INT":
        wanted = {name: COMMANDS[name] for name in (arguments.commands if arguments.commands else COMMANDS)}
        wanted = {} if arguments.commands == [] else wanted
        for name, presses in interrupt_commands(folder, rough, wanted, arguments.kills, chance):
            results.append(Result(name, presses.hits, (), presses.passed, tuple(presses.wrong)))
    return results


def _kill(root: Path, stage: str, wanted: int, seconds: float, chance: random.Random) -> int:
    """Start and kill a stage at random moments of its work, which takes so many seconds; how often it was killed."""
    kills = 0
    for _ in range(wanted * _ATTEMPTS):
        if kills == wanted:
            break
        process = start_stage(root, stage, "--force")  # even if an earlier attempt came to its end
        wait_for_work(root, process)
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


if __name__ == "__main__":
    sys.exit(main())
