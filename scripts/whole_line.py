"""Run the whole line as `dvc repro` does, so that each stage says where it is, and say at the end what there is.

`make repro` calls this. Stages are what they are under a plain `dvc repro`, which makes the same and says less.
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> int:
    """Run, in the current folder; returns DVC's own code."""
    from dvc.cli import main as dvc

    from wsss_mm.places import STAGES_VARIABLE

    line, began = planned(), time.time()
    os.environ[STAGES_VARIABLE] = json.dumps(line)
    if not sys.stderr.isatty():  # a log is to have a line of a progress bar now and then
        os.environ.setdefault("TQDM_MININTERVAL", "30")
    code = dvc(["repro"])
    from pipelines.outcome import outcome, stopped  # only now: it would take Ctrl-C out of DVC's hands

    lines = stopped(began, line) if code else outcome(Path(), began, line)
    sys.stdout.flush()
    (sys.stderr if code else sys.stdout).write("\n" + "\n".join(lines) + "\n")
    return code


def planned() -> dict[str, list[str]]:
    """Stages of dvc.yaml in the order in which DVC looks at them, each with those that build on it.

    Nothing where dvc.yaml cannot be read, which DVC itself will say.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.repo.reproduce import get_active_graph, plan_repro
    from networkx import ancestors

    try:
        with Repo() as repo:
            graph = get_active_graph(repo.index.graph)
            stages = plan_repro(graph, repo.stage.collect())
            return {stage.addressing: sorted(other.addressing for other in ancestors(graph, stage)) for stage in stages}
    except DvcException:
        return {}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before or after DVC is at work
        sys.exit(130)
