"""See that the committed params.yaml and gates.yaml are those of a profile, to the letter (`make lint`).

Values live in the profiles as well, and who changes a knob's default or its comment changes both. Files that are not
committed are a user's own affair, and so is where the source of a cohort lies.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def main() -> int:
    """Compare; exit code 1 if they are no profile's."""
    from wsss_mm.settings import GATES_FILE, PARAMS_FILE
    from wsss_mm.settings.profiles import profiles_of_gates, profiles_of_params

    if profiles_of_params(_committed(PARAMS_FILE)) & profiles_of_gates(_committed(GATES_FILE)):
        return 0
    sys.stderr.write(
        f"{PARAMS_FILE} and {GATES_FILE} as committed are no profile's; change wsss_mm/profiles too, or write both "
        "anew: wsss-mm profile phantom\n"
    )
    return 1


def _committed(name: str) -> str:
    return subprocess.run(["git", "show", f"HEAD:{name}"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
