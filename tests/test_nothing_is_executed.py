"""Nothing that is read is unpickled, evaluated or loaded as code: what could do so is not called anywhere."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("wsss_mm", "pipelines", "studies", "scripts", "benchmarks")
BANNED = frozenset(
    (
        *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load"),
        *("pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "dill.load", "dill.loads", "shelve.open"),
        *("pandas.read_pickle", "marshal.loads", "marshal.load", "mmengine.load", "torch.hub.load"),
    )
)
STORED_CODE = tuple(f"{flavor}.load_model" for flavor in ("pyfunc", "pytorch", "sklearn", "transformers"))
"""MLflow runs what is stored with a model."""


def imported(tree):
    """What names stand for: np for numpy, load for pickle.load; nothing if they are assigned to."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] = ""
        elif isinstance(node, ast.Import):
            names |= {item.asname: item.name for item in node.names if item.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {item.asname or item.name: f"{node.module}.{item.name}" for item in node.names}
    return names


def name_of(node, names):
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value, names)}.{node.attr}"
    return ""


def dangerous(source):
    tree = ast.parse(source)
    names = imported(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func, names)
        options = {option.arg: option.value for option in node.keywords}
        value = {key: getattr(option, "value", None) for key, option in options.items()}
        if (
            name in BANNED
            or name.endswith(STORED_CODE)
            or (name == "torch.load" and value.get("weights_only") is not True)
            or (name == "numpy.load" and value.get("allow_pickle", False) is not False)
            or (name in ("yaml.load", "yaml.load_all") and "Safe" not in ast.unparse(node))
            or value.get("shell") is True
        ):
            yield f"line {node.lineno}: {name}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_call_could_execute_what_it_reads(folder):
    found = [
        f"{path}: {what}" for path in sorted((ROOT / folder).rglob("*.py")) for what in dangerous(path.read_text())
    ]
    assert not found


@pytest.mark.parametrize(
    "lines",
    [
        *("from pickle import load\nload(x)", "import pickle as p\np.loads(x)", "from torch import load as f\nf(x)"),
        *("import numpy as n\nn.load(x, allow_pickle=True)", "import yaml\nyaml.load(x, yaml.Loader)"),
        *("import pandas as pd\npd.read_pickle(x)", "from os import system\nsystem(x)"),
    ],
)
def test_another_name_does_not_hide_it(lines):
    assert list(dangerous(lines))


@pytest.mark.parametrize(
    "call",
    [
        *(
            "eval(x)",
            "pickle.load(x)",
            "connect().pyfunc.load_model(x)",
            "mlflow.pytorch.load_model(x)",
            "torch.load(x)",
            "torch.load(x, weights_only=False)",
            "joblib.load(x)",
        ),
        *("numpy.load(x, allow_pickle=True)", "yaml.load(x, Loader=yaml.Loader)", "subprocess.run(x, shell=True)"),
    ],
)
def test_such_a_call_would_be_seen(call):
    assert list(dangerous(f"def f(x):\n    return {call}"))
