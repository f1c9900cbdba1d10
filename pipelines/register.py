"""Stage `register`: the segmenter becomes a version of the registered model, with what the gates said of it."""

import logging
from pathlib import Path

from pipelines import run_stage
from wsss_mm.files import read_json, write_json
from wsss_mm.gates import GATES, report_path
from wsss_mm.settings import Params
from wsss_mm.tracking import register_segmenter

MODEL, METRICS, OUT = Path("models/segmenter"), Path("reports/metrics/test.json"), Path("reports/registered.json")


def main(params: Params) -> None:
    """Register; the out names the model and its weights, not the version, which differs from store to store."""
    miou = read_json(METRICS)["ungated"]["miou"]
    reports = {name: report_path(name) for name in GATES}
    gates = {
        name: "passed" if read_json(path)["passed"] else "failed" for name, path in reports.items() if path.is_file()
    }
    tags = {"test.miou": f"{miou:.4f}", **{f"gate.{name}": outcome for name, outcome in gates.items()}}
    done = register_segmenter(MODEL, params.register_.model_name, tags=tags)
    logging.getLogger(__name__).info(
        "%s version %s%s", done.name, done.version, "" if done.created else ", registered before"
    )
    write_json(OUT, {"model": done.name, "weights_md5": done.weights_md5, "test": {"miou": miou}, "gates": gates})


if __name__ == "__main__":
    run_stage(main)
