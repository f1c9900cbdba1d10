"""Stage `gate@<name>`: judge what a stage made, write the report, stop the line if it fails."""

import argparse
import logging
import sys
from functools import partial
from pathlib import Path

from pipelines import run_stage
from wsss_mm.files import write_json
from wsss_mm.gates import GATES, report_path, run_gate
from wsss_mm.settings import Params


def main(name: str, params: Params) -> None:
    """Run gate `name`; the report is written whether it passes or not, DVC records it only if it passes."""
    result = run_gate(name, params, Path())
    write_json(report_path(name), result.as_dict())
    for line in result.lines():
        sys.stderr.write(line + "\n")
    result.raise_if_failed(str(report_path(name)))
    logging.getLogger(__name__).info("%s", result)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipelines.gate", description=__doc__)
    parser.add_argument("name", choices=GATES)
    run_stage(partial(main, parser.parse_args().name))
