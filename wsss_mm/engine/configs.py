"""A config file of mmconfigs/ with the values of params.yaml in place of its own."""

import ast
import difflib
import inspect
import logging
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from wsss_mm.engine.runner import quiet_libraries
from wsss_mm.errors import InputError
from wsss_mm.models.config_files import ConfigFile, literal, read_config_file
from wsss_mm.models.trust import Trust

_log = logging.getLogger(__name__)

_BUILT = frozenset(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"} | {
    *("default_scope", "custom_imports", "model_wrapper_cfg", "find_unused_parameters", "sync_bn", "compile"),
    *("activation_checkpointing", "efficient_conv_bn_eval"),
}
"""What mmengine's Runner takes of a config; every other name in it only helps to write it."""


@dataclass(frozen=True)
class ConfigValue:
    """A value that a config file takes.

    Attributes:
        value: Plain: numbers, text, lists.
        usual: What the file says in its place, so that it runs as it stands; an edit of that would be lost.
        source: Where the value is set, for people.
    """

    value: Any
    usual: Any
    source: str


def load_config(path: Path | str, given: Mapping[str, ConfigValue | Any] = MappingProxyType({})) -> Config:
    """A config file, with values in place of those that it gives to the same names.

    The file says `crop = 192` and uses `crop` where a crop is meant. Here another number takes the place of 192; that
    is all that is done to the file and its bases, before mmengine reads them. A name that the file works out itself
    keeps what the file says, one that it does not use changes nothing, and both are logged; so are names of the file's
    own that nothing uses, and one of them that is nearly mmengine's is refused.

    Args:
        path: A file of mmconfigs/.
        given: Names to values, or to `ConfigValue`, for which an edit of the value in the file is refused.

    Returns:
        What mmengine's Runner takes of it.

    Raises:
        InputError: a file is missing or fails; or it gives a name a value that would be lost.
    """
    file = read_config_file(path)
    Trust(file.path).import_modules()
    _tell_what_is_lost(file, given)
    with tempfile.TemporaryDirectory() as folder:
        copies: dict[str, Path] = {}
        copy = _copied(file, given, Path(folder), copies)
        try:
            with quiet_libraries():
                found = Config.fromfile(copy)
        except Exception as error:  # the file's own code runs
            raise _of_the_file(error, file, copies) from None
    return Config({key: value for key, value in found.items() if key in _BUILT})


def _copied(file: ConfigFile, given: Mapping[str, ConfigValue | Any], folder: Path, copies: dict[str, Path]) -> Path:
    """A copy of a file, in which the values are those given, and the bases copies as well."""
    changes: list[tuple[ast.expr, Any]] = []
    bases = [str(_copied(base, given, folder, copies)) for base in file.bases]
    for name, value in file.assignments():
        if name == "_base_":
            changes.append((value, bases))
        elif name in given and literal(value)[0]:
            _refuse_an_edit(file, name, value, given[name])
            changes.append((value, _value(given[name])))
    copy = folder / f"{len(copies)}_{file.path.name}"
    copy.write_bytes(_replaced(file.text, changes))
    copies[str(copy)] = file.path
    return copy


def _replaced(text: str, changes: list[tuple[ast.expr, Any]]) -> bytes:
    """Text with plain values in place of expressions; every line keeps its number."""
    lines = text.encode().splitlines(keepends=True)
    for node, value in sorted(changes, key=lambda change: (change[0].lineno, change[0].col_offset), reverse=True):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
        lines[first] = before + repr(value).encode() + after
        lines[first + 1 : last + 1] = [b"\n"] * (last - first)
    return b"".join(lines)


def _value(given: ConfigValue | Any) -> Any:
    return given.value if isinstance(given, ConfigValue) else given


def _refuse_an_edit(file: ConfigFile, name: str, value: ast.expr, given: ConfigValue | Any) -> None:
    _, said = literal(value)
    if isinstance(given, ConfigValue) and not any(_same(said, known) for known in (given.usual, given.value)):
        raise InputError(
            f"{file.path}, line {value.lineno}: {name} = {said!r} would be lost: {given.source} sets it, to "
            f"{given.value!r}; change it there, or write {said!r} where {name} is used"
        )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _tell_what_is_lost(file: ConfigFile, given: Mapping[str, ConfigValue | Any]) -> None:
    """Log the given values that change nothing, or not all, and names of the file that nothing uses, one line each.

    Raises:
        InputError: such a name is misspelt.
    """
    files = list(file.files())
    taken = {name for part in files for name, value in part.assignments() if literal(value)[0]}
    reached = _reached(files)
    _refuse_misspelt(files, reached | set(given))
    again = {name: f"{part.path}, line {line}" for part in files for name, line in _bound_elsewhere(part)}
    for name, item in given.items():
        source = item.source if isinstance(item, ConfigValue) else name
        if name not in taken & reached:
            how = "works it out itself" if name in reached and name not in taken else "does not use it"
            _log.warning("%s has no effect: %s %s", source, file.path, how)
        elif name in again:
            _log.warning("%s may not hold: %s, gives %s another value", source, again[name], name)


def _refuse_misspelt(files: Sequence[ConfigFile], known: set[str]) -> None:
    used = {name for file in files for node in file.tree.body for _, names in _uses(node) for name in names}
    for file in files:
        for name, value in file.assignments():
            if name in known | used or name.startswith("_"):
                continue
            where = f"{file.path}, line {value.lineno}: {name}"
            if near := difflib.get_close_matches(name, _BUILT, 1, cutoff=0.85):
                raise InputError(f"{where} would be lost: mmengine takes no such name; did you mean {near[0]}?")
            _log.warning("%s has no effect: nothing uses it", where)


def _bound_elsewhere(file: ConfigFile) -> Iterator[tuple[str, int]]:
    """Names, and lines, to which a file gives values otherwise than by `name = value` at its top."""
    plain = {id(target) for node in file.tree.body for target in _plain_targets(node)}
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in plain:
            yield node.id, node.lineno


def _plain_targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.AnnAssign):
        return [node.target]
    return node.targets if isinstance(node, ast.Assign) and len(node.targets) == 1 else []


def _reached(files: list[ConfigFile]) -> set[str]:
    """Names whose values take part in what mmengine's Runner is given."""
    uses = [use for file in files for node in file.tree.body for use in _uses(node)]
    reached = set(_BUILT)
    before = 0
    while len(reached) > before:
        before = len(reached)
        reached |= {name for targets, names in uses if targets & reached for name in names}
    return reached


def _uses(node: ast.stmt) -> Iterator[tuple[set[str], set[str]]]:
    """Names that a statement may change, and those whose values it takes for that."""
    parts = list(ast.walk(node))
    names = {part.id for part in parts if isinstance(part, ast.Name)}
    loaded = {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}
    loaded |= {part.attr for part in parts if isinstance(part, ast.Attribute)}  # _base_.name
    if isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
        yield {target.id for target in node.targets if isinstance(target, ast.Name)}, loaded
    else:
        yield names, names | loaded


def _of_the_file(error: Exception, file: ConfigFile, copies: Mapping[str, Path]) -> InputError:
    """The error of a config's own code, by its file and line."""
    where, line = file.path, 0
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename in copies:
            where, line = copies[frame.filename], frame.lineno or 0
    reason = " ".join(str(error).split())[:200] or "failed"
    told = reason if isinstance(error, InputError) else f"{type(error).__name__}: {reason}"
    return InputError(f"{where}{f', line {line}' if line else ''}: {told}; correct the file")
