"""A version of the registered model with all that belongs to it: figures as tags, evidence, the runs and a card."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from wsss_mm import places
from wsss_mm.encoders.licences import licence_tags
from wsss_mm.models.description import described
from wsss_mm.tracking.card import version_card
from wsss_mm.tracking.evidence import Evidence, keep_evidence
from wsss_mm.tracking.finding import find_run, is_own
from wsss_mm.tracking.promotion import current_champion, doubts
from wsss_mm.tracking.registry import register_segmenter
from wsss_mm.tracking.store import connect

logger = logging.getLogger(__name__)


def make_version(model: Path, name: str, evidence: Evidence, *, segmenter_md5: str, classifier: Path) -> None:
    """Make the version, tell its runs what the gates found, keep the evidence, and write the card.

    Args:
        model: Folder of what is registered.
        name: Of the registered model.
        evidence: For it, from the files of the line.
        segmenter_md5: Of its weights.
        classifier: Folder of the classifier its pseudo-labels are of.
    """
    learnt_from = described(classifier) if (classifier / places.DESCRIPTION).is_file() else {}
    tags = {**_tags(evidence), **licence_tags(described(model), learnt_from)}
    against = doubts(evidence, segmenter_md5)
    done = register_segmenter(model, name, tags=tags, champion=not against)
    of_classifier = find_run(classifier / places.WEIGHTS) if classifier.is_dir() else None
    runs = {"train_segmenter": done.run_id, "train_classifier": of_classifier and of_classifier.info.run_id}
    client = connect().MlflowClient()
    for run_id in filter(None, runs.values()):
        if is_own(client.get_run(run_id)):
            for gate, outcome in evidence.gates.items():
                client.set_tag(run_id, f"gate.{gate}", outcome)
    commit = client.get_run(done.run_id).data.tags.get("git.commit", "unknown")
    evidence = replace(evidence, lineage={"commit": commit, "runs": runs})
    keep_evidence(Path(), done.run_id, evidence.lineage)
    card = version_card(described(model), evidence, learnt_from)
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
