"""A name means one thing: no class and no public function of the package has the name of another."""

import ast
from collections import defaultdict

CONVENTIONS = {"add_parser", "measure"}  # one a command; one a gate: tables look them up by name
ALLOWED = {  # two rooms that do not know each other
    "Desk": "the labelling page's; the viewer's",
    "Job": "work of the labelling page in the background; a slide to segment",
    "Table": "of a gate's data; of the labelling page's candidates",
    "check": "of settings before a stage; of labels, a command",
    "is_own": "a table of slides; a run",
    "make_app": "the labelling page's; the viewer's",
    "read_rows": "of a parquet table; of an address",
}


def test_no_name_is_given_twice(project_root):
    found = defaultdict(set)
    for path in (project_root / "wsss_mm").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            named = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if named and not node.name.startswith("_"):
                found[node.name].add(path.relative_to(project_root).as_posix())
    twice = {name: sorted(paths) for name, paths in found.items() if len(paths) > 1 and name not in CONVENTIONS}
    assert twice.keys() <= ALLOWED.keys(), {name: twice[name] for name in twice.keys() - ALLOWED.keys()}
