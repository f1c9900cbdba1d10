"""Settings that tests work with: those of shipped profiles, never the project's own params.yaml and gates.yaml."""

import pickle
from copy import deepcopy
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from wsss_mm.settings import GATES_FILE, PARAMS_FILE, Params, render_gates, render_profile

DUMPER = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper
"""The same text, in a quarter of the time where there is libyaml."""


def content_of(profile: str = "phantom") -> dict[str, Any]:
    """Plain values of both files of a profile, thresholds of gates as section `gates`, as `Params` takes them."""
    return deepcopy(_parsed(profile))


@cache
def _parsed(profile: str) -> dict[str, Any]:
    return {**yaml.safe_load(render_profile(profile)), "gates": yaml.safe_load(render_gates(profile))}


def write_settings(folder: Path, settings: Params | dict[str, Any]) -> Path:
    """Write params.yaml and gates.yaml into a folder, and give the path of the first."""
    content = settings.model_dump(mode="json", by_alias=True) if isinstance(settings, Params) else dict(settings)
    for name, part in {GATES_FILE: content.pop("gates"), PARAMS_FILE: content}.items():
        (folder / name).write_text(_dumped(pickle.dumps(part)), encoding="utf-8")
    return folder / PARAMS_FILE


@lru_cache(4)
def _dumped(pickled: bytes) -> str:
    """Most tests change one of the files, and write the other as it was."""
    return yaml.dump(pickle.loads(pickled), Dumper=DUMPER)


def copy_profile(folder: Path, profile: str = "phantom", source: Path | None = None) -> Path:
    """Write both files of a profile into a folder, whether its source is there or not."""
    (folder / GATES_FILE).write_text(render_gates(profile), encoding="utf-8")
    (folder / PARAMS_FILE).write_text(render_profile(profile, source), encoding="utf-8")
    return folder / PARAMS_FILE
