"""What every run says of how it came about: settings, inputs, commit, installed versions."""

import os
import platform
from collections.abc import Mapping
from email.parser import HeaderParser
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from wsss_mm.tracking.finding import EXPERIMENT_TAG
from wsss_mm.tracking.lineage import GitState, git_diff
from wsss_mm.tracking.store import TAG_LENGTH

if TYPE_CHECKING:
    from wsss_mm.active_run import ActiveRun

ENVIRONMENT, DIFF = "environment.txt", "git.diff"
"""Artifacts of every run: the installed versions, and what differs from its commit, if anything does."""


def origin(git: GitState, digests: Mapping[str, str]) -> dict[str, str]:
    """Tags that say what a run was made from."""
    return {
        "host": platform.node(),
        "git.commit": git.commit or "none",
        "git.dirty": str(git.dirty).lower(),
        **({"git.problem": git.problem[:TAG_LENGTH]} if git.problem else {}),
        "dvc.stage": os.environ.get("DVC_STAGE", "none"),
        EXPERIMENT_TAG: os.environ.get("DVC_EXP_NAME", "none"),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV", "none"),  # the same in a queue of experiments
        **{f"dvc.md5.{path}": md5 for path, md5 in digests.items()},
    }


def flatten(params: BaseModel | Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted keys: {"classifier": {"lr": 0.1}} becomes {"classifier.lr": 0.1}."""
    if isinstance(params, BaseModel):
        params = params.model_dump(mode="json", by_alias=True)
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, BaseModel | Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def log_surroundings(run: "ActiveRun", root: Path) -> None:
    """Log the installed versions, and the changes to tracked files that the commit lacks."""
    versions = [f"{name}=={version}" for name, version in installed_versions().items()]
    run.text("\n".join(sorted(versions, key=str.lower)) + "\n", ENVIRONMENT)
    if diff := git_diff(root):
        run.text(diff, DIFF)


@cache
def installed_versions() -> dict[str, str]:
    """Of each distribution by name, from the first lines of what it says of itself: the rest can be a book."""
    said = (item.read_text("METADATA") or item.read_text("PKG-INFO") or "" for item in metadata.distributions())
    headers = (HeaderParser().parsestr(text.partition("\n\n")[0]) for text in said)
    return {header["Name"]: header["Version"] for header in headers}
