"""`wsss-mm profile`: write params.yaml and gates.yaml for a cohort or a scale."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from wsss_mm import places
from wsss_mm.cli.own_slides import meant_table, next_steps
from wsss_mm.files import atomic_path, locked
from wsss_mm.settings import load_params, profile_names, profile_summaries, write_profile

_COHORT = re.compile(r"^    cmd: .*pipelines\.cohort\b.*\n(    always_changed:.*\n)?", re.MULTILINE)
_LOOKS = "    always_changed: true   # looks at your slides, written by `wsss-mm profile`\n"
_EXAMPLES = """examples:
  wsss-mm profile tiny
  wsss-mm profile luad_histoseg --source ~/LUAD-HistoSeg
  wsss-mm profile slides --source data/slides.csv"""


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "profile",
        help="write params.yaml and gates.yaml for another cohort or scale",
        description="Write params.yaml and gates.yaml for another cohort or scale; `dvc params diff` then shows what "
        "changed.",
        epilog=_profiles(),
    )
    parser.add_argument("name", choices=profile_names(), help="which profile")
    parser.add_argument("--source", type=Path, help="folder of patches or table of slides, instead of the profile's")
    parser.add_argument(
        "--params", type=Path, default=Path(places.PARAMS_FILE), help="the file to write, with gates.yaml beside it"
    )
    parser.set_defaults(handler=_handle)


def _profiles() -> str:
    """The profiles with what their files say of themselves, and examples."""
    summaries = profile_summaries()
    width = max(map(len, summaries))
    rows = (f"  {name:{width}}  {text}" for name, text in summaries.items())
    return "\n".join(["profiles:", *rows, "", _EXAMPLES])


def look_each_time(pipeline: Path, params: Path) -> None:
    """Let stage `cohort` run with every `dvc repro`, or only when something it depends on has changed.

    Whether a slide was replaced, nothing but a look at it tells: DVC would read all of it. What the cohort is, is read
    while dvc.yaml is held: of two profiles written at once the last one here sees the parameters that stay.
    """
    if not pipeline.is_file():
        return
    with locked(pipeline):
        with locked(params):  # and gates.yaml
            own = load_params(params).cohort.name == "slides"
        before = pipeline.read_text(encoding="utf-8")
        after = _COHORT.sub(lambda found: found[0].removesuffix(found[1] or "") + (_LOOKS if own else ""), before)
        if after != before:
            with atomic_path(pipeline) as temporary:
                temporary.write_text(after, encoding="utf-8")


def _handle(arguments: argparse.Namespace) -> None:
    params = write_profile(arguments.name, arguments.params, arguments.source)
    look_each_time(arguments.params.parent / places.PIPELINE, arguments.params)
    where = f"{arguments.params} and gates.yaml"
    sys.stdout.write(f"{where}: profile {arguments.name}, source {params.cohort.source}\n")
    sys.stdout.write("`dvc params diff` shows what changed\n")
    # of a file elsewhere nothing is known here but what it says
    if params.cohort.name == "slides" and arguments.params == Path(places.PARAMS_FILE):
        sys.stdout.write(next_steps(meant_table(None), checked=True))
    else:
        sys.stdout.write("next: make repro\n")
