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
    """Modules of Python in place of those of Great Expectations, as if nobody had imported them yet."""
    monkeypatch.setattr(library, "_LATER", ("colorsys", "stringprep"))
    monkeypatch.setattr(library, "_WITHOUT", ("netrc",))
    for name in ("colorsys", "stringprep", "netrc"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_module_comes_when_something_in_it_is_asked_for(stand_ins):
    with library._little_else():
        import stringprep

        with pytest.raises(ImportError):
            import netrc
        asked = sys.modules["colorsys"]
        assert not hasattr(asked, "__file__")
        assert stringprep.in_table_a1.__module__ == "stringprep"
        assert sys.modules["stringprep"] is not stringprep
    import netrc

    assert netrc.netrc
    assert "colorsys" not in sys.modules
    assert asked.rgb_to_hsv.__module__ == "colorsys"


def test_what_is_there_already_stays(stand_ins, monkeypatch):
    import netrc

    with library._little_else():
        assert sys.modules["netrc"] is netrc
    assert sys.modules["netrc"] is netrc
