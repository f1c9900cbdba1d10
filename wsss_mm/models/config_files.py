"""The project's config files (mmconfigs/), read without being run: their parts, and whose code they trust."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError

_BASES, _IMPORTS = "_base_", "custom_imports"


@dataclass(frozen=True)
class ConfigFile:
    """A config file of mmengine, and those it is based on.

    Attributes:
        path: Where it is.
        text: What it says.
        tree: The same, parsed.
        bases: The files of its `_base_`.
    """

    path: Path
    text: str
    tree: ast.Module = field(repr=False)
    bases: tuple["ConfigFile", ...]

    def files(self) -> Iterator["ConfigFile"]:
        """This file and all it rests on."""
        yield self
        for base in self.bases:
            yield from base.files()

    def assignments(self) -> Iterator[tuple[str, ast.expr]]:
        """Names that are given a value at the top of this file alone, not in a block of it."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                yield node.targets[0].id, node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                yield node.target.id, node.value


def read_config_file(path: Path | str) -> ConfigFile:
    """Read and parse a config file and its bases.

    Raises:
        InputError: one is missing, is no Python, rests on itself, or names its bases by something else than their
            paths.
    """
    return _read(Path(path), ())


def _read(path: Path, above: tuple[Path, ...]) -> ConfigFile:
    """A config file, and the files that rest on it."""
    if path.resolve() in above:
        raise InputError(f"{path}: rests on itself by {_BASES}; take it out of there")
    try:
        text = path.read_text(encoding="utf-8-sig")
        tree = ast.parse(text)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; restore it: git checkout {path}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8; save it as such") from None
    except OSError as error:
        raise InputError(f"{path}: not readable: {error.strerror}") from None
    except SyntaxError as error:
        raise InputError(f"{path}, line {error.lineno}: {error.msg}; correct the line") from None
    found = ConfigFile(path, text, tree, ())
    bases = [base for name, value in found.assignments() if name == _BASES for base in _names(path, value)]
    return ConfigFile(path, text, tree, tuple(_read(path.parent / base, (*above, path.resolve())) for base in bases))


def literal(value: ast.expr) -> tuple[bool, Any]:
    """Whether an expression is a plain value, and which."""
    try:
        return True, ast.literal_eval(value)
    except ValueError:
        return False, None


def _names(path: Path, value: ast.expr) -> list[str]:
    _, names = literal(value)
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and "::" not in name for name in names):
        raise InputError(f"{path}, line {value.lineno}: {_BASES} must list paths of config files, relative to this one")
    return list(names)


def trusted_modules(path: Path) -> tuple[str, ...]:
    """Modules that a config file and its bases import as the project's own code: `custom_imports`.

    Raises:
        InputError: see `read_config_file`; or they are not listed plainly.
    """
    modules: list[str] = []
    for file in read_config_file(path).files():
        for name, value in file.assignments():
            if name == _IMPORTS:
                modules += _imports(file.path, value)
    return tuple(dict.fromkeys(modules))


def _imports(path: Path, value: ast.expr) -> list[str]:
    if isinstance(value, ast.Call):  # dict(imports=[...])
        found = {option.arg: option.value for option in value.keywords}.get("imports")
        _, names = (False, None) if found is None else literal(found)
    else:
        _, content = literal(value)
        names = content.get("imports") if isinstance(content, dict) else None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise InputError(
            f"{path}, line {value.lineno}: later stages read {_IMPORTS} without running this file; write it plainly: "
            f'{_IMPORTS} = dict(imports=["package.module"])'
        )
    return list(names)
