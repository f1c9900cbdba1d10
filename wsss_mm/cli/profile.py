"""`wsss-mm profile`: write params.yaml for a cohort or a scale."""

import argparse
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path
from wsss_mm.settings import load_params

_PROFILES = resources.files("wsss_mm") / "profiles"
_BASE = "phantom"
_NULL = "tag:yaml.org,2002:null"
_COHORT = "    cmd: python -m pipelines.cohort\n"
_LOOKS = "    always_changed: true   # looks at your slides, written by `wsss-mm profile`\n"


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "profile",
        help="write params.yaml for another cohort or scale",
        description="Write params.yaml for another cohort or scale; `dvc params diff` then shows what changed.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("name", choices=profile_names(), help="which profile")
    parser.add_argument("--source", type=Path, help="folder of patches or table of slides, instead of the profile's")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the file to write")
    parser.set_defaults(handler=_handle)


def profile_names() -> list[str]:
    """Names of the profiles that come with the package."""
    return sorted(Path(entry.name).stem for entry in _PROFILES.iterdir() if entry.name.endswith(".yaml"))


def render_profile(name: str, source: Path | None = None) -> str:
    """The text of params.yaml for a profile: the default one, comments and all, with the profile's values."""
    from io import StringIO

    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096  # no line is broken
    yaml.representer.add_representer(type(None), lambda dumper, _: dumper.represent_scalar(_NULL, "null"))
    content = yaml.load((_PROFILES / f"{_BASE}.yaml").read_text(encoding="utf-8"))
    if name != _BASE:
        _merge(content, yaml.load((_PROFILES / f"{name}.yaml").read_text(encoding="utf-8")))
    cohort = content["cohort"]
    if source is not None:
        cohort["source"] = source.as_posix().encode().decode()  # DVC has no other paths than UTF-8
    if cohort["name"] == "slides":  # DVC is to read the table, and not the folder with all slides
        cohort["source"], labels = _tables(Path(cohort["source"]))
        cohort["labels"] = labels or cohort["labels"]
    stream = StringIO()
    yaml.dump(content, stream)
    return stream.getvalue()


def _tables(source: Path) -> tuple[str, str | None]:
    """The table of slides, and the table of labels beside it if there is one."""
    table = source / "slides.csv" if source.is_dir() else source
    labels = table.parent / "labels.csv"
    return table.as_posix(), labels.as_posix() if labels.is_file() else None


def _look_each_time(pipeline: Path, own: bool) -> None:
    """Let stage `cohort` run with every `dvc repro`, or only when something it depends on has changed.

    Whether a slide was replaced, nothing but a look at it tells: DVC would read all of it.
    """
    if not pipeline.is_file():
        return
    before = pipeline.read_text(encoding="utf-8")
    after = before.replace(_LOOKS, "")
    if own:
        after = after.replace(_COHORT, _COHORT + _LOOKS)
    if after != before:
        with atomic_path(pipeline) as temporary:
            temporary.write_text(after, encoding="utf-8")


def _merge(base: Any, overlay: Any) -> None:
    for key, value in overlay.items():
        if key not in base:
            raise KeyError(f"profile sets {key}, which params.yaml does not have")
        if isinstance(value, dict) and isinstance(base[key], dict):
            _merge(base[key], value)
        else:
            base[key] = value


def _handle(arguments: argparse.Namespace) -> None:
    with atomic_path(arguments.params) as temporary:
        temporary.write_text(render_profile(arguments.name, arguments.source), encoding="utf-8")
        cohort = load_params(temporary).cohort
        source = cohort.source
        if not source.exists():
            raise InputError(f"{source}: not found; name the folder of patches or table of slides with --source")
    _look_each_time(arguments.params.parent / "dvc.yaml", cohort.name == "slides")
    sys.stdout.write(f"{arguments.params}: profile {arguments.name}, source {source}\n")
    sys.stdout.write("See what changed with `dvc params diff`, then run `make repro`.\n")
