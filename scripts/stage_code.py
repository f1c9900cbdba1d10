"""Write into dvc.yaml what is derived: the code each stage rests on, and its parameters of slides.

The code is all that `pipelines/<stage>.py` imports, directly or not; which parameters of slides a stage has, each of
them says by what it decides (`wsss_mm/slide_parameters.py`).

    python scripts/stage_code.py            # write
    python scripts/stage_code.py --check    # exit 1 if dvc.yaml says something else
    python scripts/stage_code.py --why train_classifier wsss_mm/slides/roi.py   # the imports that lead there

Imports inside of functions count, those for type checkers alone do not. A folder stands for its files where all of them
are imported. What is named by text is found, too: `type="..."` of a training's config leads to the module that
registers the type, and a module that names a data file, in its folder or from the root of wsss_mm, rests on that.
"""

import argparse
import ast
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGES = ("wsss_mm", "pipelines")
TRAININGS = {"train_classifier": "classifier", "train_segmenter": "segmenter"}
"""Stages with a config of mmengine, which names types by text."""

_FILE = re.compile(r"[\w/.-]{1,200}/[\w.-]+")
_FEWEST = 2  # files that a folder stands for


class Code:
    """The modules of a project, and what they import.

    Args:
        root: The project's root.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def closure(self, files: Iterable[Path]) -> dict[Path, Path | None]:
        """All files that these rest on, themselves included, with the file that leads to each (None: given).

        Raises:
            ValueError: an import cannot be followed.
        """
        found: dict[Path, Path | None] = dict.fromkeys(files)
        waiting = list(found)
        while waiting:
            file = waiting.pop()
            for needed in self._needed(file):
                if needed not in found:
                    found[needed] = file
                    waiting.append(needed)
        return found

    @cache  # noqa: B019  lives as long as the script
    def _needed(self, file: Path) -> tuple[Path, ...]:
        """Files that one leads to directly."""
        return tuple(self._followed(file)) if file.suffix == ".py" else ()

    def _followed(self, file: Path) -> Iterator[Path]:
        imports, names = _said(file.read_text(encoding="utf-8"))
        for name, line in imports:
            yield from self._modules(name, file, line)
        for name in names:  # of a file, from the package's root
            if _FILE.fullmatch(name) and (found := self.root / PACKAGES[0] / name).is_file():
                yield found
        for data in self._data(file.parent):
            if data.name in names or data.relative_to(file.parent).parts[0] in names:
                yield data

    @cache  # noqa: B019  lives as long as the script
    def _data(self, folder: Path) -> tuple[Path, ...]:
        """Files of a package that are no modules; those of a folder without modules count to the package above it."""
        files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return tuple(
            path
            for path in files
            if path.suffix != ".py"
            and not path.is_symlink()  # it leads to the project's own, of which dvc.yaml says who watches what
            and not any((above / "__init__.py").is_file() for above in path.parents if folder in above.parents)
        )

    def _modules(self, name: str, file: Path, line: int) -> Iterator[Path]:
        """Files of a dotted name: the packages above it, and the module, or the one it is an attribute of."""
        parts, path = name.split("."), None
        for count in range(1, len(parts) + 1):
            place = self.root.joinpath(*parts[:count])
            path = next((item for item in (place / "__init__.py", place.with_suffix(".py")) if item.is_file()), None)
            if path is None:
                last = self.root.joinpath(*parts[: count - 1], "__init__.py")
                if last.is_file() and parts[count - 1] not in _defined(last):
                    where = f"{file.relative_to(self.root)}:{line}"
                    raise ValueError(f"{where}: {name} cannot be followed; import it from the module that defines it")
                return
            yield path

    def registered(self, types: Iterable[str]) -> set[Path]:
        """Files with a class of one of these names that is registered."""
        wanted = {name.rpartition(".")[2] for name in types}
        files = sorted(self.root.glob("wsss_mm/**/*.py"))
        return {file for file in files if wanted & _registers(file.read_text(encoding="utf-8"))}

    def shown(self, files: Iterable[Path]) -> list[str]:
        """Paths from the root, sorted; a folder for its files, where all are among them."""
        names = {file.relative_to(self.root) for file in files}
        folders = {above for name in names for above in name.parents if above != Path()}
        for folder in sorted(folders, key=lambda item: len(item.parts)):
            inside = {
                file.relative_to(self.root)
                for file in (self.root / folder).rglob("*")
                if (file.is_file() or file.is_symlink()) and "__pycache__" not in file.parts
            }
            if len(inside) >= _FEWEST and inside <= names:
                names = names - inside | {folder}
        return sorted(name.as_posix() for name in names)


@cache
def _registers(text: str) -> frozenset[str]:
    """Names of the classes that a module registers."""
    if "register_module" not in text:
        return frozenset()
    return frozenset(
        item.name
        for item in ast.walk(ast.parse(text))
        if isinstance(item, ast.ClassDef)
        and any("register_module" in ast.unparse(decorator) for decorator in item.decorator_list)
    )


@cache
def _said(text: str) -> tuple[tuple[tuple[str, int], ...], frozenset[str]]:
    """What a module imports, see `imported`, and the texts in it."""
    tree = ast.parse(text)
    texts = (item.value for item in ast.walk(tree) if isinstance(item, ast.Constant) and isinstance(item.value, str))
    return tuple(imported(tree)), frozenset(texts)


def imported(
    tree: ast.Module, packages: Collection[str] = PACKAGES, *, types: bool = False
) -> Iterator[tuple[str, int]]:
    """Dotted names of modules of some packages, or of something in them, with the line that imports them.

    Args:
        tree: The module.
        packages: Which packages.
        types: Whether those for type checkers alone count, too.
    """
    skipped = set() if types else _for_type_checkers(tree)
    for item in ast.walk(tree):
        if item in skipped:
            continue
        names: list[str] = []
        if not isinstance(item, ast.Import | ast.ImportFrom):
            continue
        if isinstance(item, ast.Import):
            names = [alias.name for alias in item.names]
        elif item.module:
            names = [f"{item.module}.{alias.name}" for alias in item.names]
        yield from ((name, item.lineno) for name in names if name.split(".")[0] in packages)


def _for_type_checkers(tree: ast.Module) -> set[ast.AST]:
    blocks = (item for item in ast.walk(tree) if isinstance(item, ast.If) and "TYPE_CHECKING" in ast.unparse(item.test))
    return {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}


@cache
def _defined(file: Path) -> set[str]:
    """Names a module gives a value to, or imports, other than for type checkers."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names, skipped = set(), _for_type_checkers(tree)
    for item in ast.walk(tree):
        if item in skipped:
            continue
        if isinstance(item, ast.FunctionDef | ast.ClassDef):
            names.add(item.name)
        elif isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store):
            names.add(item.id)
        elif isinstance(item, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).split(".")[0] for alias in item.names)
    return names


def config_files(config: Path) -> list[Path]:
    """A config of mmengine and those it is based on."""
    found, waiting = [], [config]
    while waiting:
        file = waiting.pop()
        found.append(file)
        for item in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(item, ast.Assign) and any(ast.unparse(target) == "_base_" for target in item.targets):
                bases = ast.literal_eval(item.value)
                waiting += [file.parent / base for base in ([bases] if isinstance(bases, str) else bases)]
    return found


def stage_files(root: Path, stage: str, code: Code | None = None) -> dict[Path, Path | None]:
    """What a stage (`patches`, `gate@cohort`) rests on, see `Code.closure`; a `Code` remembers what it has read."""
    code, (name, _, key) = code or Code(root), stage.partition("@")
    files = [root / "pipelines" / f"{name}.py"]
    if key:
        files.append(root / "wsss_mm" / name.replace("gate", "gates") / f"{key}.py")
    configs = config_files(root / "mmconfigs" / f"{TRAININGS[name]}.py") if name in TRAININGS else []
    for config in configs:
        text = {item.value for item in ast.walk(ast.parse(config.read_text())) if isinstance(item, ast.Constant)}
        files += sorted(code.registered(value for value in text if isinstance(value, str)))
    return code.closure(files) | dict.fromkeys(configs)


def with_code(root: Path) -> str:
    """The text of dvc.yaml with the code that its stages rest on, after the data that each names."""
    lines, code = (root / "dvc.yaml").read_text(encoding="utf-8").splitlines(), Code(root)
    data = _data_of_gates(lines)
    of_gates = {gate: names + code.shown(stage_files(root, f"gate@{gate}", code)) for gate, names in data.items()}
    longest = max(map(len, of_gates.values()), default=0)
    result, stage, gate, inside = [], "", "", False
    for line in lines:
        of_gate = stage == "gate" and (_is_item(line, 10) or "${item." in line)
        if inside and (_is_code(line) or of_gate):
            continue
        if inside and not _is_item(line):
            if stage != "gate":
                result += [f"      - {name}" for name in code.shown(stage_files(root, stage, code))]
            inside = False
        if found := re.fullmatch(r"  (\w+):", line):
            stage = found[1]
        elif found := re.fullmatch(r"      (\w+):", line):
            gate = found[1]
        result.append(line)
        if line == "    deps:":
            inside = True
        elif stage == "gate" and line == "      deps:":
            inside = True
            result.append("        - ${item.judges}")
            result += [f"        - ${{item.files[{index}]}}" for index in range(longest)]
        elif stage == "gate" and line == "        files:":
            inside = True
            names = of_gates[gate]
            result += [f"          - {name}" for name in names + [names[-1]] * (longest - len(names))]
    return "\n".join(result) + "\n"


def with_slides(text: str) -> str:
    """The text of dvc.yaml with the parameters of section `slides` that decide what a stage makes, after the others."""
    from wsss_mm.slide_parameters import DEFAULTS

    of_stages = {
        "segment_slides": DEFAULTS.deciding("map"),
        "export_slides": DEFAULTS.deciding("export"),
        "register": DEFAULTS.carried(),
        "gate": DEFAULTS.deciding("map", "export"),
    }
    every = {f"slides.{name}" for name in vars(DEFAULTS)}
    result, stage, count = [], "", 0
    for line in text.splitlines():
        if found := re.fullmatch(r"  (\w+):", line):
            stage = found[1]
        named = [f"slides.{name}" for name in of_stages.get(stage, ())]
        if stage not in of_stages:
            result.append(line)
        elif listed := re.fullmatch(r"(    params|        reads): \[(.*slides\..*)\]", line):
            names = [name for name in listed[2].split(", ") if name not in every] + named
            count = len(names)
            result.append(f"{listed[1]}: [{', '.join(names)}]")
        elif line.strip()[2:] in every:
            if result[-1].strip()[2:] not in every:
                result += [f"      - {name}" for name in named]
        else:
            result.append(line)
    return _as_many_for_each_gate(result, count)


def _as_many_for_each_gate(lines: list[str], count: int) -> str:
    """Lines of dvc.yaml in which every gate names as many parameters of slides, where there are none, the seed."""
    text = re.sub(r"&no_slides \[.*\]", f"&no_slides [{', '.join(['seed'] * count)}]", "\n".join(lines) + "\n")
    asked = "".join(f"        - ${{item.reads[{index}]}}\n" for index in range(count))
    return re.sub(r"(        - \$\{item\.reads\[\d+\]\}\n)+", asked.replace("\\", "\\\\"), text)


def _data_of_gates(lines: list[str]) -> dict[str, list[str]]:
    """What the entry of each gate names beside code."""
    found: dict[str, list[str]] = {}
    gate, inside = "", False
    for line in _block(lines, "    foreach:"):
        if name := re.fullmatch(r"      (\w+):", line):
            gate = name[1]
            found[gate] = []
        inside = line == "        files:" or (inside and _is_item(line))
        if inside and _is_item(line) and not _is_code(line):
            found[gate].append(line.strip()[2:])
    return found


def _is_item(line: str, indent: int | None = None) -> bool:
    return line.strip().startswith("- ") and (indent is None or _indent(line) == indent)


def _is_code(line: str) -> bool:
    return re.match(rf"\s*- ({'|'.join((*PACKAGES, 'mmconfigs'))})/", line) is not None


def _block(lines: list[str], first: str) -> list[str]:
    """The lines after one, as far as they are further in."""
    start = lines.index(first) + 1
    depth = _indent(first)
    outside = (index for index, line in enumerate(lines) if index >= start and line.strip() and _indent(line) <= depth)
    return lines[start : next(outside, len(lines))]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def why(root: Path, stage: str, name: str) -> list[str]:
    """The files that lead from a stage to one it rests on."""
    found = stage_files(root, stage)
    file: Path | None = root / name
    if file not in found:
        return [f"{stage} does not rest on {name}"]
    way = []
    while file is not None:
        way.append(file.relative_to(root).as_posix())
        file = found[file]
    return way[::-1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--why", nargs=2, metavar=("STAGE", "FILE"), help="how a stage comes to rest on a file")
    arguments = parser.parse_args()
    project = Path(__file__).resolve().parents[1]
    if arguments.why:
        sys.stdout.write("\n".join(why(project, *arguments.why)) + "\n")
        sys.exit()
    sys.path.insert(0, str(project))
    text = with_slides(with_code(project))
    if arguments.check and text != (project / "dvc.yaml").read_text(encoding="utf-8"):
        sys.exit("dvc.yaml: code or parameters of slides are not what the stages rest on; python scripts/stage_code.py")
    if not arguments.check:
        (project / "dvc.yaml").write_text(text, encoding="utf-8")
