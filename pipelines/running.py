"""How a stage runs: on checked parameters, on inputs that stay as they are, timed, and with errors of one line."""

import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipelines import LINE
from pipelines.inputs import unchanged_inputs
from pipelines.progress import timed_stage
from wsss_mm.clusters import check_cluster
from wsss_mm.errors import InputError, not_text
from wsss_mm.extras import missing_extra
from wsss_mm.files import explained
from wsss_mm.interrupts import interruptible
from wsss_mm.logs import log_to_stderr
from wsss_mm.outage import is_outage, needed
from wsss_mm.preflight import check
from wsss_mm.settings import Params, load_params


def run_stage(stage: Callable[[Params], None]) -> None:
    """Run a stage on params.yaml and gates.yaml.

    An input error or a lost MLflow server becomes one line on stderr, exit code 2.

    Ctrl-C is one line, too, and exit code 130.
    """
    log_to_stderr(logging.INFO, "%(levelname)s %(name)s: %(message)s")
    try:
        code = interruptible(partial(_run, stage), LINE)
    except (InputError, UnicodeEncodeError) as error:
        sys.stderr.write(f"error: {not_text(error) if isinstance(error, UnicodeEncodeError) else error}\n")
        code = 2
    except Exception as error:
        told = needed(error) if is_outage(error) else missing_extra(error)
        if told is None:
            raise
        sys.stderr.write(f"error: {told}\n")
        code = 2
    if code:
        sys.exit(code)


def _run(stage: Callable[[Params], None]) -> None:
    with explained(Path.cwd()), unchanged_inputs(Path()):  # explains the writes that no one else did
        params = load_params()
        check(params, Path())
        check_cluster()  # whoever names one means it for all that is to come
        with timed_stage():
            stage(params)
