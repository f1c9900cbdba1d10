"""What the last `pytest --cov` ran of the code, in one line, and the lines of files of which it left much untouched.

Stages and commands that tests start as processes of their own are not counted.
"""

import argparse
import io
import sys
from pathlib import Path

from coverage import Coverage
from coverage.exceptions import CoverageException


def main() -> int:
    """Print the list, lowest share first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--below", type=float, default=85, help="percent; files under it are listed (default: 85)")
    below = parser.parse_args().below
    coverage = Coverage()
    try:
        coverage.load()
        total = coverage.report(file=io.StringIO())
    except CoverageException as error:
        sys.stderr.write(f"error: {error}; run: python -m pytest --cov\n")
        return 2
    found = []
    for path in sorted(coverage.get_data().measured_files()):
        _, lines, _, missing, said = coverage.analysis2(path)
        share = 100 * (1 - len(missing) / len(lines)) if lines else 100.0
        found.append((share, Path(path).relative_to(Path.cwd()), said))
    sys.stdout.write(f"coverage: {total:.1f} % of the lines; files below {below:g} %:\n")
    for share, path, said in sorted(found):
        if share < below:
            sys.stdout.write(f"  {share:3.0f} %  {path}: {said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
