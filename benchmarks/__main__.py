"""Run the subjects one after another, in their quick form unless `--full`, and print one table of what they measured.

    python -m benchmarks [--full] [SUBJECT ...]

What a subject needs and this machine lacks, it says in a line; a failed one is named at the end, and the others go on.
"""

import argparse
import os
import subprocess
import sys

import pandas as pd

from benchmarks.command import SKIPPED, say
from benchmarks.rows import Row, held, read_rows

SUBJECTS = (
    *("waiting", "patches", "patch_storage", "training_step", "precision", "cam_cost", "cam_peer"),
    *("slides_speed", "slides_network", "slides_memory", "windows_per_second", "geojson_export"),
    *("labelling", "labelling_page", "archive", "gpu"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the sizes that targets are meant for")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)} (default: all)")
    arguments = parser.parse_args()
    if unknown := sorted({*arguments.subjects} - {*SUBJECTS}):
        parser.error(f"{unknown[0]} is none of {', '.join(SUBJECTS)}")
    environment = os.environ | {"TQDM_DISABLE": "1"}
    before, ended = len(read_rows()), {}
    for subject in arguments.subjects or SUBJECTS:
        say(f"\n{subject}")
        command = [sys.executable, "-m", f"benchmarks.{subject}", *([] if arguments.full else ["--quick"])]
        ended[subject] = subprocess.run(command, env=environment, check=False).returncode
    say("\n" + summary(read_rows()[before:]))
    failed = [subject for subject, status in ended.items() if status not in (0, SKIPPED)]
    for words, names in (
        ("skipped", [name for name, status in ended.items() if status == SKIPPED]),
        ("FAILED", failed),
    ):
        if names:
            say(f"{words}: {', '.join(names)}")
    return int(bool(failed))


def summary(rows: list[Row]) -> str:
    """A table to read in a terminal: medians, ratios and whether targets are held."""
    if not rows:
        return "nothing was measured"
    table = pd.DataFrame([_cells(row) for row in rows])
    return table.to_string(
        index=False, justify="left", formatters={"what": f"{{:<{table['what'].str.len().max()}}}".format}
    )


def _cells(row: Row) -> dict[str, str]:
    bounds = ((">=", row["at_least"]), ("<=", row["at_most"]))
    target = " ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
    return {
        "subject": row["subject"],
        "what": f"{row['what']}{' over ' if row['over'] else ''}{row['over']}",
        "median": f"{row['value']:.3g} {row['unit']}",
        "ratio": "" if row["ratio"] is None else f"{row['ratio']:.2f}",
        "target": target,
        "held": "" if not target else "yes" if held(row) else "MISSED",
    }


if __name__ == "__main__":
    sys.exit(main())
