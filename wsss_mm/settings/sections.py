"""What settings are made of: kinds of numbers, and sections that say which of their values do not fit each other."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Natural = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[Natural, Field(ge=1)]
AtOnce = Annotated[Natural, Field(le=1024)]  # threads or processes
BareOff = BeforeValidator(lambda value: "off" if value is False else value)  # YAML 1.1 reads an unquoted off as false


def one_of(names: Iterable[str]) -> AfterValidator:
    """What makes `str` a choice of names that another module lists."""
    known = tuple(names)

    def check(name: str) -> str:
        if name not in known:
            listed = ", ".join(map(repr, known))
            raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": listed})
        return name

    return AfterValidator(check)


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"{list(limits)} is no range: nothing could pass; give the smaller number first")
    return limits


Ordered = AfterValidator(_ordered)
Range = Annotated[tuple[float, float], Ordered]

DISAGREEMENT = "disagreement"
"""Type of pydantic's error where values do not fit each other; its `faults` are those of `Section.disagreements`."""

Faults = Iterator[tuple[str, str]]
"""The key to change, such as `layer` or `segmenter.width`, and why."""


class Section(BaseModel):
    """A section of params.yaml or gates.yaml: unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _yaml_knows_no_tuples(cls, values: Any) -> Any:
        """Lists and texts as the tuples and paths that fields want; nothing else is converted: 1 is not true, nor 1.0.

        A truth value in place of a number is one in words, as it may have been written: off, no, on or yes.
        """
        if not isinstance(values, dict):
            return values
        fields = _fields(cls)
        return {key: _as_wanted(fields[key], value) if key in fields else value for key, value in values.items()}

    def disagreements(self) -> Faults:
        """Values that are right by themselves, but not beside the others."""
        yield from ()

    @model_validator(mode="after")
    def _agrees(self) -> "Section":
        faults = list(self.disagreements())
        if faults:
            says = "; ".join(f"{key}: {why}" for key, why in faults)
            raise PydanticCustomError(DISAGREEMENT, "{says}", {"says": says, "faults": faults})
        return self


@cache
def _fields(section: type[Section]) -> dict[str, list[Any]]:
    """The types that the annotation of each field is made of, by the field's key."""
    return {field.alias or name: list(_parts(field.annotation)) for name, field in section.model_fields.items()}


def _as_wanted(parts: list[Any], value: Any) -> Any:
    """A value of YAML as the field takes it whose types these are, if it is of the kind that YAML has for it."""
    if Path in parts and isinstance(value, str):
        return Path(value)
    if value is False and any(get_origin(part) is Literal and "off" in get_args(part) for part in parts):
        return "off"
    if bool not in parts and (int in parts or float in parts):
        value = _spelled_out(value)
    return tuple(value) if isinstance(value, list) and any(get_origin(part) is tuple for part in parts) else value


def _parts(annotation: Any) -> Iterator[Any]:
    """The types an annotation is made of."""
    yield annotation
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _parts(part)


def _spelled_out(value: Any) -> Any:
    """The value with words instead of truth values."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return [_spelled_out(item) for item in value] if isinstance(value, list | tuple) else value
