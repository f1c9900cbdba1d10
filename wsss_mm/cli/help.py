"""What `--help` shows: examples, each on a line of its own, and the defaults that there are."""

import argparse
import re
import textwrap
from typing import Any

from wsss_mm.places import RESULTS

_PROGRAM = "wsss-mm"
_EXAMPLES = re.compile(r"examples?: ", re.IGNORECASE)
_SAYS_DEFAULT = re.compile(r"\bdefault|; else\b|\bwithout\b", re.IGNORECASE)

THE_LINE = """examples:
  wsss-mm doctor                             is this machine fit to run the line?
  wsss-mm cohort add scans                   your own slides; then: wsss-mm profile slides
  wsss-mm segment scans/*.svs --out results  segment slides
  wsss-mm view results                       look at their maps

the line itself:
  make repro      run it, from slides to segmented slides (dvc repro)
  make ui         curves and pictures of trainings, in MLflow
  dvc exp show    compare experiments

Each command has examples of its own: wsss-mm COMMAND --help
The commands in your shell, with TAB: wsss-mm completion --help"""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "view": ("wsss-mm view", "wsss-mm view results --slide scans"),
    "cohort list": ("wsss-mm cohort list", "wsss-mm cohort list --json"),
    "cohort check": ("wsss-mm cohort check", "wsss-mm cohort check --quick"),
    "cohort remove": ("wsss-mm cohort remove S1 S2",),
    "labels check": ("wsss-mm labels check",),
    "labels agreement": ("wsss-mm labels agreement", "wsss-mm labels agreement --random"),
    "labels import": ("wsss-mm labels import S1.geojson S2.geojson --reader ann",),
    "labels export": ("wsss-mm labels export labels.csv", "wsss-mm labels export tiles --format qupath --reader ann"),
    "labels wanted": ("wsss-mm labels wanted",),
    "data log": ("wsss-mm data log", "wsss-mm data log patches@v1.2.0 3f09ac1e"),
    "quarantine list": ("wsss-mm quarantine list",),
    "quarantine add": (
        "wsss-mm quarantine add --from reports/gates/patches.json --check tissue --reason 'only glass'",
        "wsss-mm quarantine add --slide S1 --reason 'out of focus'",
    ),
    "quarantine check": ("wsss-mm quarantine check",),
    "quarantine remove": ("wsss-mm quarantine remove S1",),
    "gates": ("wsss-mm gates",),
    "models list": ("wsss-mm models list",),
    "models promote": ("wsss-mm models promote", "wsss-mm models promote 3 --force 'the only one of the new scanner'"),
    "models rollback": ("wsss-mm models rollback --reason 'worse on slides of Ulm'",),
    "models delete": ("wsss-mm models delete 2 --reason 'trained on the wrong labels'",),
    "models pin": ("wsss-mm models pin",),
    "models card": ("wsss-mm models card", f"wsss-mm models card {RESULTS}/S1"),
    "report": ("wsss-mm report", "wsss-mm report models:/segmenter-phantom@champion --out champion.html"),
    "reproduce": ("wsss-mm reproduce models:/segmenter-phantom@champion --keep again",),
    "sync": ("wsss-mm sync",),
    "weights inspect": ("wsss-mm weights inspect pretrained/ilsvrc-cls_rna-a1_cls1000_ep-0001.params",),
    "weights convert": ("wsss-mm weights convert resnet38.params pretrained/resnet38.pth",),
    "encoders list": ("wsss-mm encoders list",),
    "encoders check": ("wsss-mm encoders check dinov2_small",),
    "encoders fetch": (
        "wsss-mm encoders fetch efficientnet_lite0",
        "wsss-mm encoders fetch dinov2_small --from ~/dinov2-small",
    ),
    "doctor": ("wsss-mm doctor", "wsss-mm doctor --fix"),
}
"""Of commands that bring no epilog of their own, by their name."""


class Parser(argparse.ArgumentParser):
    """A parser whose help is a `Help`, with the examples of its command; those of its sub-commands are likewise."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **(kwargs | {"formatter_class": Help}))
        if self.epilog is None and (found := EXAMPLES.get(self.prog.removeprefix(f"{_PROGRAM} "))):
            self.epilog = f"examples: {'; '.join(found)}" if len(found) > 1 else f"example: {found[0]}"


class Help(argparse.HelpFormatter):
    """Texts are wrapped, those that are laid out in lines are not, and a default is shown where it says something."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return textwrap.indent(text.rstrip("\n"), indent)
        if found := _EXAMPLES.match(text):
            lines = text[found.end() :].split("; ")
            return "\n".join(
                indent + line for line in (f"{found[0].strip().lower()}", *(f"  {line}" for line in lines))
            )
        return super()._fill_text(text, width, indent)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        said = action.help or ""
        switch = action.nargs == 0 and not isinstance(action, argparse.BooleanOptionalAction)
        nothing = action.default is None or action.default == argparse.SUPPRESS or action.default in ("", [])
        if switch or nothing or action.required or _SAYS_DEFAULT.search(said):
            return action.help
        return f"{said} (default: %(default)s)"
