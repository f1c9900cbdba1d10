"""DVC in the tests' warm process (tests/warm.py) parses and writes no YAML twice.

It reads YAML in pure Python, and the line's lock of 7800 lines at each command two times and at each stage once more,
when it writes it again: 20 s of CPU in a line of 19 stages. What ruamel.yaml makes of a text, and of a stage of a lock,
depends on nothing else, so it is kept in a folder by its digest.
"""

import hashlib
import io
import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

_HEAD = "schema: '2.0'\nstages:\n"
_STAGE = re.compile(r"^(?=  [^ ])", re.MULTILINE)
_ANCHOR = re.compile(r"[&*]id\d")  # one stage may name another's values

_load, _dump = YAML.load, YAML.dump


def remember(folder: Path) -> None:
    """From now on, this process and others of the folder keep what they read and wrote."""
    folder.mkdir(exist_ok=True)

    def known(kind: str, text: str, make: Callable[[], Any]) -> Any:
        path = folder / hashlib.sha256(f"{kind}\n{text}".encode()).hexdigest()
        try:
            return pickle.loads(path.read_bytes())
        except FileNotFoundError:
            made = make()
        other = path.with_suffix(f".{os.getpid()}")
        other.write_bytes(pickle.dumps(made))
        other.replace(path)
        return made

    def parsed(text: str) -> Any:
        return known("parsed", text, lambda: _load(YAML(typ="safe"), text))

    def written(yaml: YAML, content: dict) -> str:
        def make() -> str:
            with io.StringIO() as stream:
                _dump(yaml, content, stream)
                return stream.getvalue()

        return known("written", json.dumps(content), make)

    def load(yaml: YAML, stream: Any) -> Any:
        """Of a lock, which has no comments, plain values do for a round trip as well."""
        if not isinstance(stream, str) or not (yaml.typ == ["safe"] or stream.startswith(_HEAD)):
            return _load(yaml, stream)
        parts = _STAGE.split(stream.removeprefix(_HEAD)) if stream.startswith(_HEAD) else []
        if len(parts) < 2 or parts[0] or _ANCHOR.search(stream):
            return parsed(stream) if yaml.typ == ["safe"] else _load(yaml, stream)
        try:
            each = [parsed(f"stages:\n{part}") for part in parts[1:]]
        except Exception:  # what is wrong is told of the whole text, with its lines
            return _load(yaml, stream)
        if any(list(one) != ["stages"] or len(one["stages"]) != 1 for one in each):
            return _load(yaml, stream)
        stages = {name: stage for one in each for name, stage in one["stages"].items()}
        if len(stages) < len(each):
            return _load(yaml, stream)
        return {"schema": "2.0", "stages": stages}

    def dump(yaml: YAML, data: Any, stream: Any = None, *, transform: Any = None) -> Any:
        lock = yaml.typ == ["rt"] and isinstance(data, dict) and list(data) == ["schema", "stages"]
        if not (lock and data["stages"] and data["schema"] == "2.0" and isinstance(stream, io.TextIOBase)):
            return _dump(yaml, data, stream, transform=transform)
        try:
            each = [written(yaml, {"stages": {name: stage}}) for name, stage in data["stages"].items()]
        except TypeError:  # a value that JSON has none for
            return _dump(yaml, data, stream)
        if any(_ANCHOR.search(text) for text in each):
            return _dump(yaml, data, stream)
        stream.write(_HEAD + "".join(text.removeprefix("stages:\n") for text in each))
        return None

    YAML.load, YAML.dump = load, dump
