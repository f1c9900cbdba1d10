"""Great Expectations is imported with what gates use of it alone, and everything else stays as it is."""

import subprocess
import sys

import pytest

from wsss_mm.gates import library

ALONE = """
import sys
from wsss_mm.gates import patches, runner, shared
from wsss_mm.features.patches import statistics
from wsss_mm.gates.library import great_expectations
great_expectations().expectations.ExpectColumnMeanToBeBetween
heavy = {"torch", "mlflow", "altair", "scipy.stats", "sqlalchemy", "boto3", "google.oauth2"} & sys.modules.keys()
print(sorted(heavy), [name for name, module in sys.modules.items() if module is None])
import altair, scipy.stats, sqlalchemy
print(altair.Chart.__name__, round(scipy.stats.norm.cdf(0), 1), sqlalchemy.Engine.__name__)
"""


def test_what_gates_do_not_use_is_not_imported_and_can_be_afterwards(project_root):
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=project_root, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["[] []", "Chart 0.5 Engine"], done.stderr


@pytest.fixture
def stand_ins(monkeypatch):
    """Modules of Python that nobody here has imported, in place of those of Great Expectations."""
    monkeypatch.setattr(library, "_LATER", ("sndhdr", "chunk"))
    monkeypatch.setattr(library, "_WITHOUT", ("nturl2path",))
    for name in ("sndhdr", "chunk", "nturl2path"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_module_comes_when_something_in_it_is_asked_for(stand_ins):
    with library._little_else():
        import chunk

        with pytest.raises(ImportError):
            import nturl2path
        asked = sys.modules["sndhdr"]
        assert not hasattr(asked, "__file__")
        assert chunk.Chunk.__module__ == "chunk"
        assert sys.modules["chunk"] is not chunk
    import nturl2path

    assert nturl2path.url2pathname
    assert "sndhdr" not in sys.modules
    assert asked.what.__module__ == "sndhdr"


def test_what_is_there_already_stays(stand_ins, monkeypatch):
    import nturl2path

    with library._little_else():
        assert sys.modules["nturl2path"] is nturl2path
    assert sys.modules["nturl2path"] is nturl2path
