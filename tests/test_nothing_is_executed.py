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
        *("pd.read_pickle", "pandas.read_pickle", "marshal.loads", "marshal.load", "mmengine.load", "torch.hub.load"),
    )
)


def name_of(node):
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return ""


def dangerous(source):
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        options = {option.arg: option.value for option in node.keywords}
        value = {key: getattr(option, "value", None) for key, option in options.items()}
        if (
            name in BANNED
            or (name == "torch.load" and value.get("weights_only") is not True)
            or (name in ("np.load", "numpy.load") and value.get("allow_pickle", False) is not False)
            or (name == "yaml.load" and "Loader" in options and "Safe" not in ast.unparse(options["Loader"]))
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
    "call",
    [
        *("eval(x)", "pickle.load(x)", "torch.load(x)", "torch.load(x, weights_only=False)", "joblib.load(x)"),
        *("np.load(x, allow_pickle=True)", "yaml.load(x, Loader=yaml.Loader)", "subprocess.run(x, shell=True)"),
    ],
)
def test_such_a_call_would_be_seen(call):
    assert list(dangerous(f"def f(x):\n    return {call}"))
