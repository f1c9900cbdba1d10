"""params.yaml as typed, frozen settings: every knob a user turns, checked as a whole before anything runs.

params.yaml holds the values and dvc.yaml names the section each stage depends on; this module only gives them types,
ranges and meaning. No default is repeated here, so that params.yaml stays the one place to look.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from wsss_mm.errors import InputError
from wsss_mm.yaml_places import Document, parse, suggestion

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Natural = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[Natural, Field(ge=1, strict=True)]
AtOnce = Annotated[Natural, Field(le=1024)]  # threads or processes
BareOff = BeforeValidator(lambda value: "off" if value is False else value)  # YAML 1.1 reads an unquoted off as false
Precision = Literal["fp32", "bf16", "fp16", "auto"]

_MOST_WRONG = 10  # values that a message names
_LONGEST_NAME = 200


class Section(BaseModel):
    """A section of params.yaml: unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, values: Any) -> Any:
        """YAML reads an unquoted off, no, on or yes as a truth value, which pydantic would take for 0 or 1."""
        if not isinstance(values, dict):
            return values
        numbers = {field.alias or name for name, field in cls.model_fields.items() if _is_number(field.annotation)}
        return {key: _spelled_out(value) if key in numbers else value for key, value in values.items()}


def _is_number(annotation: Any) -> bool:
    """Whether a field takes numbers, alone or in lists, and no truth values."""
    parts = list(_parts(annotation))
    return bool not in parts and (int in parts or float in parts)


def _parts(annotation: Any) -> Iterator[Any]:
    """The types an annotation is made of."""
    yield annotation
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _parts(part)


def _spelled_out(value: Any) -> Any:
    """The value with words instead of truth values: no number can be read of them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return [_spelled_out(item) for item in value] if isinstance(value, list | tuple) else value


class PhantomSettings(Section):
    """The generated cohort (see `wsss_mm.slides.phantom`)."""

    slides: dict[Literal["train", "valid", "test"], Count]
    size: Annotated[Natural, Field(ge=1024)]  # px at 0.5 mpp, width and height of a slide


class CohortSettings(Section):
    """Where slides or labelled patches come from."""

    name: Literal["phantom", "luad_histoseg", "bcss_wsss", "wsss4luad", "slides"]
    source: Path  # folder of patches, table of slides, or the generator's own code
    labels: Path  # table of labelled patches, of a user's own slides; it may hold none
    vocabulary: str  # a name in wsss_mm.patches.vocabulary.VOCABULARIES
    phantom: PhantomSettings


class PatchSettings(Section):
    """How slides are cut, and which patch counts as labelled with a class."""

    mpp: Positive  # um/px
    size: Annotated[Natural, Field(ge=32)]  # px
    min_tissue: Share  # patches with less tissue are left out
    min_class_share: Share  # a mask gives a patch the classes of at least this share of its px
    valid_share: Share  # share of the training patients held out, in stage cohort, where no slide has split valid


class TrainingSettings(Section):
    """What both trainings have."""

    width: Positive
    weights: Path | None  # ImageNet weights, width 1 only
    batch_size: Count
    accumulate: Count  # equal pieces a mini-batch is worked off in: less memory, the same schedule
    precision: Precision  # of convolutions; auto: bf16 or fp16 on a GPU, fp32 on a CPU
    optimizer: Literal["sgd", "adamw"]
    lr: Positive
    momentum: Share  # of SGD
    weight_decay: Annotated[float, Field(ge=0)]
    warmup: Annotated[float, Field(ge=0, lt=1)]  # share of the training in which the learning rate rises
    poly_power: Positive
    averaging: Annotated[float, Field(ge=0, lt=1)]  # decay of a running mean of the weights, 0 for none
    rotate: bool  # quarter turns beside the flips
    scale_jitter: tuple[Positive, Positive]  # range of a random zoom
    color_jitter: Annotated[float, Field(ge=0, lt=1)]  # photometric distortion: stains vary by this share
    elastic: Annotated[float, Field(ge=0)]  # px, random deformation

    @model_validator(mode="after")
    def _pieces_are_equal(self) -> "TrainingSettings":
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}")
        return self

    @model_validator(mode="after")
    def _zoom_is_a_range(self) -> "TrainingSettings":
        low, high = self.scale_jitter
        if low > high:
            raise ValueError(f"scale_jitter [{low}, {high}] is no range; give the smaller number first")
        return self

    @model_validator(mode="after")
    def _weights_fit_the_width(self) -> "TrainingSettings":
        if self.weights is not None and self.width != 1:
            raise ValueError(
                f"weights are of the full network, but width is {self.width}; set width: 1 or weights: null"
            )
        return self


class ClassifierSettings(TrainingSettings):
    """Training of the multi-label patch classifier (METHOD.md section 2)."""

    attention: Annotated[Literal["off", "published"], BareOff]
    dropout: Share
    epochs: Count


class PseudoLabelSettings(Section):
    """Class activation maps, gating, background and voting (METHOD.md section 3; see `wsss_mm.cam.PseudoLabeller`)."""

    method: Literal["grad_cam_plus_plus", "grad_cam", "cam"]
    layer: Annotated[str, Field(pattern=r"^(b[2-7](_[1-5])?|bn7)$")]  # unit of ResNet38
    scales: Annotated[tuple[Positive, ...], Field(min_length=1)]
    eps: Annotated[float, Field(ge=0)]
    gating: Annotated[Literal["labels", "predicted", "off"], BareOff]  # which classes may appear
    gate_threshold: Share  # of predicted
    normalization: Literal["joint", "class"]  # what CAMs are scaled to 0..1 over: classes together, or each alone
    voting: Literal["majority", "mean", "single"]  # how scales become one label
    background: bool  # white pixels become ignore
    background_grey: Annotated[int, Field(ge=0, le=255)]
    background_min_area: Natural  # px
    flips: bool  # average the CAMs of a patch and its mirror images
    neighbours: bool  # a pixel keeps to the classes that all patches over it hold, where patches overlap

    @model_validator(mode="after")
    def _cam_needs_the_last_layer(self) -> "PseudoLabelSettings":
        if self.method == "cam" and self.layer != "bn7":
            raise ValueError(f"method cam exists at layer bn7 alone, not at {self.layer}")
        return self

    @model_validator(mode="after")
    def _each_class_needs_gating(self) -> "PseudoLabelSettings":
        if self.normalization == "class" and self.gating == "off":
            raise ValueError(
                "normalization class with gating off gives every patch every class, as each has its maximum somewhere; "
                "set gating to labels, or normalization to joint"
            )
        return self


class SegmenterSettings(TrainingSettings):
    """Training of the PSPNet (METHOD.md section 4)."""

    init: Literal["classifier", "weights", "none"]  # what the backbone starts from
    loss: Literal["onss", "onss_margin", "ce"]
    iterations: Count
    crop: Annotated[Natural, Field(ge=32)]  # px
    surroundings: bool  # crops reach beyond the patch, into those of its slide that lie around
    mosaic: Share  # of the samples: four crops in one
    auxiliary_weight: Annotated[float, Field(ge=0)]
    val_interval: Count  # iterations

    @model_validator(mode="after")
    def _weights_are_there(self) -> "SegmenterSettings":
        if self.init == "weights" and self.weights is None:
            raise ValueError("init is weights, but weights is null; give their path")
        return self


class EvaluateSettings(Section):
    """Test-time augmentation and gating (METHOD.md section 5)."""

    scales: Annotated[tuple[Positive, ...], Field(min_length=1)]
    flip: bool
    gate_threshold: Share  # classes the classifier rates below are suppressed in the gated figures
    bootstrap: Count  # resamples behind the confidence intervals


class SlideSettings(Section):
    """Whole-slide segmentation (METHOD.md section 6)."""

    splits: tuple[Literal["train", "valid", "test"], ...]
    window: Annotated[Natural, Field(ge=32)]  # px at the cohort's mpp
    overlap: Annotated[float, Field(ge=0, lt=1)]
    weighting: Literal["uniform", "gaussian", "linear"]  # how the pixels of a window count in the average
    batch_size: Count | Literal["auto"]  # auto: what fits into memory
    readers: AtOnce  # threads that read ahead of the network
    precision: Precision  # auto: bf16 or fp16 on a GPU, bf16 on a CPU with AMX, else fp32
    background_grey: Annotated[int, Field(ge=0, le=255)]
    tissue_mask: bool  # pass over what is glass on a thumbnail
    min_hole: Annotated[float, Field(ge=0)]  # um2, smaller holes of background in the tissue are filled
    min_island: Annotated[float, Field(ge=0)]  # um2, smaller polygons are left out of the GeoJSON
    probabilities: bool  # write those of the classes too


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"{list(limits)} is no range: nothing could pass; give the smaller number first")
    return limits


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]


class Gate(Section):
    """What every gate has."""

    warnings: tuple[str, ...]  # checks that are reported and do not stop the line; all others are critical


class CohortGate(Gate):
    """What each slide must show before it is cut into patches."""

    min_slides_per_split: Natural  # of train and test; valid may be held out of train
    mpp: Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]  # um/px at level 0
    min_tissue_area: Annotated[float, Field(ge=0)]  # mm2
    min_focus: Annotated[float, Field(ge=0)]  # variance of the Laplacian at patches.mpp
    haematoxylin: Range  # mean optical density of the tissue
    eosin: Range


class PatchesGate(Gate):
    """What the manifest must show before a classifier is trained on it."""

    min_patches_per_class: Natural  # labelled training patches of every class
    min_slides_per_class: Natural  # in training
    min_patients_per_class: Natural  # in training
    min_judging_patches: Natural  # of every class, in valid and in test
    min_class_truth: Natural  # px, of every class that patches of valid and test are labelled with, in their masks
    min_truth: Share  # of a split's masks that has a class
    min_patches_per_split: Natural
    min_slides_per_split: Natural
    min_patients_per_split: Natural
    max_mpp_error: Share  # of patches.mpp
    max_thin_share: Share  # of the training patches that hold less tissue than patches.min_tissue
    max_odd_share: Share  # of the patches that may leave the ranges below
    min_focus: Annotated[float, Field(ge=0)]  # variance of the Laplacian
    brightness: Range  # mean grey value of the tissue, 0..255
    haematoxylin: Range  # mean optical density of the tissue
    eosin: Range
    max_drift: Annotated[float, Field(ge=0)]  # of valid and test from train: difference of means over spread


class ClassifierGate(Gate):
    """What the classifier must show on the validation split before CAMs are made with it."""

    min_mean_ap: Share
    min_class_ap: Share
    min_ap_gain: Annotated[float, Field(ge=-1, le=1)]  # of a class's average precision over its prior, which is chance
    min_judged_classes: Natural  # classes that some validation patches hold and others do not
    min_predicted: Share  # of the patches, in which a class is predicted
    max_predicted: Share
    max_calibration_error: Share  # expected difference of probability and frequency, mean over classes
    max_train_gap: Share  # of mean average precision, training over validation patches

    @model_validator(mode="after")
    def _fits(self) -> "ClassifierGate":
        _check_range(self, "min_predicted", "max_predicted")
        return self


class PseudoLabelsGate(Gate):
    """What the pseudo-labels must show before a segmenter is trained on them."""

    min_coverage: Share  # of the pixels, mean over patches
    min_patch_coverage: Share  # of the pixels of every patch
    min_agreement: Share  # of the scales' votes, mean over patches
    min_class_share: Share  # of the labelled pixels of the cohort
    max_class_share: Share
    max_unseen_share: Share  # of the patches in which a labelled class has no pixel
    share_ratio: Range  # of a class's share of pixels to its share of labels
    labelled_again: Natural  # patches, to see that the classifier made these labels
    min_miou: Share  # of the pseudo-labels, in each split that has masks

    @model_validator(mode="after")
    def _fits(self) -> "PseudoLabelsGate":
        _check_range(self, "min_class_share", "max_class_share")
        return self


def _check_range(settings: Section, low: str, high: str) -> None:
    if getattr(settings, low) > getattr(settings, high):
        raise ValueError(f"{low} is above {high}: nothing could pass")


class SegmenterGate(Gate):
    """What the segmenter must show on the test split before slides are segmented with it."""

    min_miou: Share
    min_class_iou: Share
    min_predicted_ratio: Share  # of a class's predicted pixels to its true ones
    max_pseudo_label_drop: Share  # of mean IoU below that of the test patches' pseudo-labels, which know the label sets
    max_champion_drop: Share  # of mean IoU below the champion's, on the same test split


class SlidesGate(Gate):
    """How far the products of a segmented slide may disagree with each other."""

    max_area_error: Share  # of polygon areas from areas in the label map, relative
    max_mpp_error: Share  # of the label map's extent in um from the slide's, relative
    max_tissue_error: Share  # of the map's tissue from the slide's tissue mask, share of the slide, or of its region
    max_better_elsewhere: Share  # of the slide's colours that the map explains where it is not, more than where it is
    max_seam: Annotated[float, Field(ge=1)]  # class borders on a line of the window lattice over those on other lines
    min_miou: Share  # of a slide's map, where there is truth


class GateSettings(Section):
    """Thresholds of the gates (see `wsss_mm.gates`)."""

    cohort: CohortGate
    patches: PatchesGate
    classifier: ClassifierGate
    pseudo_labels: PseudoLabelsGate
    segmenter: SegmenterGate
    slides: SlidesGate


def _model_name(name: str) -> str:
    if not name.strip() or len(name) > _LONGEST_NAME or any(c in "/:@'\"`" or not c.isprintable() for c in name):
        raise ValueError("is no model's name: give letters, digits, - or _, such as segmenter-lung, or null")
    return name


class RegisterSettings(Section):
    """Where the segmenter is registered: one name a task, since a champion is that of a task."""

    model_name: Annotated[str, AfterValidator(_model_name)] | None  # part of models:/NAME@ALIAS; None: nowhere


class Params(Section):
    """All of params.yaml."""

    seed: Natural
    threads: AtOnce  # CPU threads of torch, 0 for all cores
    workers: AtOnce  # data-loader processes
    cohort: CohortSettings
    patches: PatchSettings
    classifier: ClassifierSettings
    pseudo_labels: PseudoLabelSettings
    segmenter: SegmenterSettings
    evaluate: EvaluateSettings
    slides: SlideSettings
    gates: GateSettings
    register_: RegisterSettings = Field(alias="register")

    @model_validator(mode="after")
    def _fits(self) -> "Params":
        if self.segmenter.init == "classifier" and self.segmenter.width != self.classifier.width:
            raise ValueError(
                f"segmenter.width {self.segmenter.width} is not classifier.width {self.classifier.width}, but "
                "segmenter.init is classifier; make them equal, or set init: none"
            )
        return self

    @model_validator(mode="after")
    def _places_are_of_patches(self) -> "Params":
        if self.cohort.name in ("phantom", "slides"):
            for name, wanted in (
                ("pseudo_labels.neighbours", self.pseudo_labels.neighbours),
                ("segmenter.surroundings", self.segmenter.surroundings),
            ):
                if wanted:
                    raise ValueError(
                        f"{name} is for data sets of patches; those cut from slides do not overlap, and their places "
                        "are px of level 0; set it to false"
                    )
        return self


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and check params.yaml as a whole.

    Raises:
        InputError: the file is missing, is no YAML, or values are wrong; the message gives the line of each and, for
            a misspelt key or choice, the one that is near.
    """
    import yaml

    path = Path(path)
    try:
        document = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run from the project's root, or restore it with git checkout") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document.content, dict):
        raise InputError(f"{path}: holds no sections; write it anew with `wsss-mm profile phantom`")
    try:
        return Params.model_validate(document.content)
    except ValidationError as error:
        faults = sorted(error.errors(), key=lambda item: item["type"] == "missing")  # these last: there may be many
        wrong = [_explained(item, document) for item in faults]
        more = f"; and {len(wrong) - _MOST_WRONG} more" if len(wrong) > _MOST_WRONG else ""
        raise InputError(f"{path}: {'; '.join(wrong[:_MOST_WRONG])}{more}") from None


def _explained(item: Any, document: Document) -> str:
    """One of pydantic's errors: `line 12: classifier.epoch: not a parameter; did you mean epochs?`."""
    place = tuple(item["loc"])
    name = ".".join(str(part)[:80] for part in place)
    says = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        says = "not a parameter" + suggestion(str(place[-1]), _known_keys(place[:-1]))
    elif item["type"] == "missing":
        says = "is missing"
    elif item["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", str(item["ctx"]["expected"]))
        says = f"{_short(item['input'])} is not one of {', '.join(choices)}" + suggestion(str(item["input"]), choices)
    elif item["type"] != "value_error":
        says = f"{says}, but it is {_short(item['input'])}"
    return f"line {document.line(place)}: " + (f"{name}: {says}" if name else says)


def _known_keys(place: tuple[str | int, ...]) -> list[str]:
    """Keys of the section at a place."""
    section: Any = Params
    for part in place:
        fields = getattr(section, "model_fields", {})
        found = [field for key, field in fields.items() if part in (key, field.alias)]
        section = found[0].annotation if found else None
    return [field.alias or key for key, field in getattr(section, "model_fields", {}).items()]


def _short(value: Any) -> str:
    text = "null" if value is None else str(value)
    return " ".join(text.split())[:40] or "empty"
