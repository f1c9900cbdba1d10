"""Sections `classifier` and `segmenter` of params.yaml: the two trainings."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from wsss_mm.encoders import DEFAULT, encoders, get_encoder
from wsss_mm.encoders import unknown_encoder as absent_encoder
from wsss_mm.places import PRETRAINED, PUBLISHED
from wsss_mm.settings.sections import BareOff, BelowOne, Count, Faults, Natural, Positive, Section, Share
from wsss_mm.yaml_places import suggestion

Precision = Literal["fp32", "bf16", "fp16", "auto"]

_WIDTH = 0.125  # what stands there where it means nothing: with another encoder than resnet38


def _in_pretrained(weights: Path) -> Path:
    if weights.parts == ("None",):
        raise ValueError("is text; for no weights, write null")
    if weights.parts != (weights.name,) or weights.name == "..":
        raise ValueError(
            f"DVC watches no weights outside of {PRETRAINED}/: put the file there, and give its name alone: "
            f"{weights.name or 'NAME'}"
        )
    return weights


def _known_encoder(name: str) -> str:
    if name not in encoders():  # which names the line of what is wrong in the file
        raise ValueError(absent_encoder(name))
    return name


class TrainingSettings(Section):
    """What both trainings have."""

    encoder: Annotated[str, AfterValidator(_known_encoder)]  # its name in encoders.yaml
    width: Annotated[Positive, Field(le=4)]  # of resnet38; 1: as published
    weights: Annotated[Path, AfterValidator(_in_pretrained)] | None  # a file in pretrained/, or the published one
    freeze: Literal["none", "stem", "all"]  # which parts of the encoder do not learn
    encoder_lr: Positive  # times lr: learning rate of the encoder
    batch_size: Count
    accumulate: Count  # equal pieces a mini-batch is worked off in: less memory, the same schedule
    precision: Precision  # of convolutions; auto: bf16 or fp16 on a GPU, fp32 on a CPU
    optimizer: Literal["sgd", "adamw"]
    lr: Positive
    momentum: BelowOne  # of SGD
    weight_decay: Annotated[float, Field(ge=0)]
    warmup: BelowOne  # share of the training in which the learning rate rises
    poly_power: Positive
    averaging: BelowOne  # decay of a running mean of the weights, 0 for none
    rotate: bool  # quarter turns beside the flips
    scale_jitter: tuple[Positive, Positive]  # range of a random zoom
    color_jitter: BelowOne  # photometric distortion: stains vary by this share
    elastic: Annotated[float, Field(ge=0)]  # px, random deformation
    focus_jitter: tuple[Positive, Positive]  # range of a factor that fine detail is multiplied by

    def begins_with(self) -> list[Path]:
        """The files in pretrained/ that DVC watches for the training: one or none."""
        return [] if self.weights is None else [PRETRAINED / self.weights]

    def disagreements(self) -> Faults:
        """Pieces that are not equal, a zoom that is no range, weights of another width."""
        if self.batch_size % self.accumulate:
            yield "accumulate", f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}"
        for name in ("scale_jitter", "focus_jitter"):
            low, high = getattr(self, name)
            if low > high:
                yield name, f"[{low}, {high}] is no range; give the smaller number first"
        yield from self._encoder_agrees()

    def _encoder_agrees(self) -> Faults:
        """Weights of another width, a width that means nothing, an encoder that never learnt anything."""
        if self.encoder == DEFAULT:
            if self.weights is not None and self.width != 1:
                yield (
                    "weights",
                    f"are of the full network, but width is {self.width}; set width: 1 or weights: null",
                )
        elif self.width != _WIDTH:
            yield "width", f"is of {DEFAULT} alone, {self.encoder} has one size; set it to {_WIDTH}"
        if self.weights == Path(PUBLISHED) and get_encoder(self.encoder).file is None:
            yield "weights", f"{self.encoder} has no published file in encoders.yaml; name one there, or set null"
        if self.freeze != "none" and not self.learnt_before():
            yield "freeze", f"{self.freeze} keeps weights that never learnt anything; name weights, or set it to none"

    def learnt_before(self) -> bool:
        """Whether the encoder begins with weights."""
        return self.weights is not None


class ClassifierSettings(TrainingSettings):
    """Training of the multi-label patch classifier (METHOD.md section 2)."""

    members: Annotated[Count, Field(le=5)]  # classifiers of further seeds, whose activation maps are averaged
    attention: Annotated[Literal["off", "published"], BareOff]
    dropout: BelowOne
    epochs: Count


class SegmenterSettings(TrainingSettings):
    """Training of the segmenter (METHOD.md section 4)."""

    init: Literal["classifier", "weights", "none"]  # what the backbone starts from
    loss: Literal["onss", "onss_margin", "ce"]
    iterations: Count
    crop: Annotated[Natural, Field(ge=32)]  # px
    surroundings: bool  # crops reach beyond the patch, into those of its slide that lie around
    mosaic: Share  # of the samples: four crops in one
    decoder: Literal["psp", "guided"]
    auxiliary_stage: str | None  # of the encoder; None: the third from its last
    auxiliary_weight: Annotated[float, Field(ge=0)]
    val_interval: Count  # iterations
    cycle: Count | None  # iterations of one rise and fall of the learning rate; null for one over the whole training
    patience: Count  # cycles in a row that may bring nothing better before the training ends
    loss_warmup: BelowOne  # share of the first cycle that is plain cross-entropy, before noise is suppressed

    def begins_with(self) -> list[Path]:
        """See `TrainingSettings.begins_with`; none with another `init`."""
        return super().begins_with() if self.init == "weights" else []

    def learnt_before(self) -> bool:
        """See `TrainingSettings.learnt_before`."""
        return self.init == "classifier" or (self.init == "weights" and self.weights is not None)

    def disagreements(self) -> Faults:
        """Weights to start from that are not named; pieces that batch normalisation cannot learn from."""
        yield from super().disagreements()
        if self.batch_size == self.accumulate:
            yield (
                "accumulate",
                f"leaves one crop of batch_size {self.batch_size} to a piece, and batch normalisation of the pooled "
                "crop needs two; halve it, or raise batch_size",
            )
        stages = tuple(get_encoder(self.encoder).stages)[:-1]
        if self.auxiliary_stage is not None and self.auxiliary_stage not in stages:
            near = suggestion(self.auxiliary_stage, stages) or f"; choose from {', '.join(stages)}"
            yield "auxiliary_stage", f"{self.encoder} has no stage {self.auxiliary_stage[:40]!r} below its last{near}"
        if self.cycle is not None:
            if self.iterations % self.cycle:
                yield "iterations", f"{self.iterations} must be a multiple of cycle {self.cycle}"
            if self.cycle % self.val_interval:
                yield (
                    "val_interval",
                    f"{self.val_interval} does not divide cycle {self.cycle}, whose end is validated; lower it",
                )
        if self.init == "weights" and self.weights is None:
            yield "weights", "init is weights, but weights is null; give their path"
