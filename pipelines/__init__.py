"""One thin module per DVC stage, named after it: read params, call wsss_mm, write the outs."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.files import explained
from wsss_mm.gates import check_warnings
from wsss_mm.outage import is_outage, needed
from wsss_mm.settings import Params, load_params

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
# Read when torch is imported. OpenMP threads that spin while they wait make training 5 times slower beside other work.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def run_stage(stage: Callable[[Params], None]) -> None:
    """Run a stage on params.yaml; an input error or a lost MLflow server becomes one line on stderr, exit code 2."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        with explained(Path.cwd()):  # the writes that no one else explained
            params = load_params()
            check_warnings(params)
            stage(params)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except Exception as error:
        if not is_outage(error):
            raise
        sys.stderr.write(f"error: {needed(error)}\n")
        sys.exit(2)
