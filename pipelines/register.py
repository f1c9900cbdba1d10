"""Stage `register`: the segmenter becomes a version of the registered model, with the evidence for it and a card."""

import logging
import runpy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.files import digest
from wsss_mm.formats import write_object
from wsss_mm.models.description import VALIDATED, folder_digest
from wsss_mm.models.store import copy_model
from wsss_mm.places import REGISTRATION
from wsss_mm.slide_parameters import Parameters
from wsss_mm.tracking.evidence import Evidence, read_evidence
from wsss_mm.tracking.finding import is_own, refuse_unsent
from wsss_mm.tracking.promotion import measured
from wsss_mm.tracking.registry import registered_as
from wsss_mm.tracking.store import allow_slow_requests, connect
from wsss_mm.tracking.versions import make_version

if TYPE_CHECKING:
    from wsss_mm.settings import Params

MODEL, CLASSIFIER, OUT = places.SEGMENTER, places.CLASSIFIER, places.REGISTERED

logger = logging.getLogger(__name__)


def main(params: "Params") -> None:
    """Register; the out names the model and its weights, not the version, which differs from store to store."""
    name, evidence = params.register_.model_name, read_evidence(Path())
    md5 = digest(MODEL / places.WEIGHTS, "md5")
    validated = _validated(params, evidence, md5)
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / MODEL.name
        copy_model(MODEL, model, {VALIDATED: validated} if validated else {})
        if name is None:
            logger.info("register.model_name is null: nothing is registered")
        else:
            allow_slow_requests()
            refuse_unsent(MODEL / places.WEIGHTS, CLASSIFIER / places.WEIGHTS)
            before = registered_as(model, name)
            if before is None or is_own(connect().get_run(before.run_id)):
                make_version(model, name, evidence, segmenter_md5=md5, classifier=CLASSIFIER)
            else:
                logger.info(
                    "%s version %s is of another experiment, and keeps its evidence; to give it that of this one: "
                    "dvc exp apply, then dvc repro -s -f register",
                    *(name, before.version),
                )
        named = {"model": name, "weights_md5": md5, "digest": folder_digest(model), VALIDATED: validated}
    write_object(OUT, REGISTRATION, named | {"test": {"miou": evidence.miou}, "gates": evidence.gates})


def _validated(params: "Params", evidence: Evidence, weights_md5: str) -> dict[str, Any] | None:
    """How this model segmented the slides that gate slides passed; None where there are none.

    It is told of the copy that is registered: in models/segmenter, an out of its training, it would be a parameter of
    that, and another overlap would train the network again.
    """
    judged = [row.get("weights_md5") for row in measured(evidence, "slides", "models")]
    passed = evidence.gates.get("slides") == "passed" and judged == [weights_md5]
    return Parameters.of(params.slides).carried() if passed else None


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
