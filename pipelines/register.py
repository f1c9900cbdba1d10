"""Stage `register`: the segmenter becomes a version of the registered model, with the evidence for it and a card."""

import logging
import runpy
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.files import digest
from wsss_mm.formats import write_object
from wsss_mm.models.description import VALIDATED, described, folder_digest
from wsss_mm.models.store import copy_model
from wsss_mm.places import REGISTRATION
from wsss_mm.tracking import find_run, keep_evidence, read_evidence, register_segmenter, version_card
from wsss_mm.tracking.evidence import Evidence
from wsss_mm.tracking.promotion import current_champion, doubts, measured
from wsss_mm.tracking.registry import registered_as
from wsss_mm.tracking.runs import is_own, refuse_unsent
from wsss_mm.tracking.store import be_patient, connect
from wsss_mm.wsi.parameters import Parameters

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
            be_patient()
            refuse_unsent(MODEL / places.WEIGHTS, CLASSIFIER / places.WEIGHTS)
            before = registered_as(model, name)
            if before is None or is_own(connect().get_run(before.run_id)):
                _register(model, name, evidence, md5)
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


def _register(model: Path, name: str, evidence: Evidence, md5: str) -> None:
    """Make the version, tell its runs what the gates found, keep the evidence, and write the card."""
    tags = _tags(evidence)
    against = doubts(evidence, md5)
    done = register_segmenter(model, name, tags=tags, champion=not against)
    classifier = find_run(CLASSIFIER / places.WEIGHTS) if CLASSIFIER.is_dir() else None
    runs = {"train_segmenter": done.run_id, "train_classifier": classifier and classifier.info.run_id}
    client = connect().MlflowClient()
    for run_id in filter(None, runs.values()):
        if is_own(client.get_run(run_id)):
            for gate, outcome in evidence.gates.items():
                client.set_tag(run_id, f"gate.{gate}", outcome)
    commit = client.get_run(done.run_id).data.tags.get("git.commit", "unknown")
    evidence = replace(evidence, lineage={"commit": commit, "runs": runs})
    keep_evidence(Path(), done.run_id, evidence.lineage)
    card = version_card(described(model), evidence)
    client.update_model_version(name, done.version, description=card)
    logger.info("%s version %s%s", done.name, done.version, "" if done.created else ", registered before")
    if against and current_champion(name) is None:
        logger.warning(
            "%s has no champion, and version %s does not become it by itself: %s; if it shall: "
            "wsss-mm models promote %s --name %s",
            *(name, done.version, "; ".join(against), done.version, name),
        )


def _tags(evidence: Evidence) -> dict[str, Any]:
    """What a version shows: figures, what they come from, and outcomes of the gates."""
    miou, interval = evidence.miou, evidence.interval()
    return {
        "test.miou": "undefined" if miou is None else f"{miou:.4f}",
        "test.interval": f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else "none",
        "test.split": evidence.test.get("test_split", "unknown"),
        "data.patches": evidence.digests.get(places.PATCHES.as_posix(), "unknown"),
        **{f"gate.{gate}": outcome for gate, outcome in evidence.gates.items()},
    }


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
