"""Write the table of faults into docs/gates.md, from the faults the tests inject: python scripts/gates_table.py."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def main() -> None:
    """Write each fault with the check that catches it, as `tests/gates/test_faults.py` asks for it."""
    from tests.gates.faults import FAULTS
    from tests.gates.injection import with_table
    from tests.gates.project import clean_params
    from wsss_mm.files import write_text

    page = ROOT / "docs/gates.md"
    write_text(page, with_table(page.read_text(encoding="utf-8"), FAULTS, clean_params()))


if __name__ == "__main__":
    main()
