"""Write the table of faults into docs/gates.md, from the faults the tests inject: python scripts/gates_table.py."""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def main() -> None:
    """Inject every fault, and write what caught it."""
    from tests.gates.faults import FAULTS
    from tests.gates.injection import first_failure, with_table
    from tests.gates.project import clean_params, make_project
    from wsss_mm.files import write_text

    params = clean_params()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_project(folder / "clean")
        caught = {}
        for number, fault in enumerate(FAULTS):
            result = first_failure(fault, folder / "clean", folder / str(number), params)
            if result is None:
                raise SystemExit(f"no gate finds: {fault.says}")
            caught[fault.says] = next(item for item in result.failures if item.name == fault.check)
    page = ROOT / "docs/gates.md"
    write_text(page, with_table(page.read_text(encoding="utf-8"), FAULTS, caught))


if __name__ == "__main__":
    main()
