"""What all request bodies and lists share. Refuses what the database or JSON cannot hold."""

import math
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, model_validator

from engram.routing import check_space_name

Item = TypeVar("Item")

_DEEPEST = 64

SpaceName = Annotated[str, AfterValidator(lambda name: check_space_name(name, param="space"))]
ReasonText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class RequestBody(BaseModel):
    """Refuses unknown fields, NUL, lone surrogates and numbers that are not finite, at any depth."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _check_storable(cls, data: Any) -> Any:
        check_storable(data)
        return data


class ListBody(BaseModel, Generic[Item]):
    """One page; `next` is the cursor of the following one, or null."""

    data: list[Item]
    next: str | None = None


class ReasonBody(RequestBody):
    reason: ReasonText


def check_storable(value: Any) -> None:
    """Raises ValueError for what PostgreSQL, UTF-8 or a JSON writer cannot hold: NUL, NaN, endless nesting."""
    level = [value]
    for _ in range(_DEEPEST):
        for item in level:
            _check_scalar(item)
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            return
    raise ValueError(f"values may be nested {_DEEPEST} deep at most")


def _inside(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    return item if isinstance(item, list) else []


def _check_scalar(item: Any) -> None:
    if isinstance(item, float) and not math.isfinite(item):
        raise ValueError("numbers must be finite")
    if isinstance(item, str) and ("\0" in item or not _is_utf8(item)):
        raise ValueError("text must not hold NUL characters or lone surrogates")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
