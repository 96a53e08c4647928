"""Settings out of TOML files: read strictly, and refused in one sentence that names the file and the key.

A table of settings is a frozen pydantic dataclass (`settings_table`) whose fields say their range and what
they are for (`setting`). pydantic checks types and ranges; `bind` fills one from a table and puts its first
complaint into our words.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import pydantic
from pydantic.dataclasses import dataclass as pydantic_dataclass

from aoi.errors import InputError
from aoi.files import parse_toml, read_bytes

T = TypeVar("T")


def setting(
    default: Any = dataclasses.MISSING,
    text: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    step: int | None = None,
    **notes: Any,
) -> Any:
    """A field of a settings table.

    Args:
        default: The value when a file leaves it out; without one the file must give it.
        text: One sentence for the reference page.
        low: The least value allowed (of each member, for lists).
        high: The greatest value allowed (likewise).
        above: What the value must be greater than (likewise).
        step: What the value must be a multiple of.
        notes: What else the table's owner wants to know of it; with ``internal=True`` no file may set it.
    """
    limits = {"low": low, "high": high, "above": above, "step": step}
    return dataclasses.field(default=default, metadata={"text": text, **limits, **notes})


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def settings_table(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass of settings whose values are checked whenever one is made.

    Example:
        >>> @settings_table
        ... class Speed:
        ...     threads: int = setting(2, "Threads.", low=1)
        >>> bind(Speed, {"threads": 4}, "fast.toml").threads
        4
        >>> bind(Speed, {"threads": 0}, "fast.toml")
        Traceback (most recent call last):
            ...
        aoi.errors.InputError: fast.toml: threads must be 1 or more, not 0
    """
    hints = get_type_hints(cls, localns={cls.__name__: cls})
    for name, default in list(vars(cls).items()):
        if isinstance(default, dataclasses.Field) and "low" in default.metadata:
            cls.__annotations__[name] = _constrained(hints[name], default.metadata)
    made = pydantic_dataclass(frozen=True, config={"strict": True, "allow_inf_nan": False})(cls)
    return cast("type[T]", made)


def _constrained(hint: Any, metadata: Mapping[str, Any]) -> Any:
    """A type with the range of its field, which lists hand on to their members."""
    names = {"ge": "low", "le": "high", "gt": "above", "multiple_of": "step"}
    given = {word: metadata[key] for word, key in names.items() if metadata[key] is not None}
    if not given:
        return hint
    limits = pydantic.Field(**given)
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)

    def limited(kind: Any) -> Any:
        if get_origin(kind) is tuple:
            member: Any = Annotated[get_args(kind)[0], limits]
            return tuple[member, ...]
        return kind if kind is type(None) else Annotated[kind, limits]

    return Union[tuple(limited(one) for one in options)]  # noqa: UP007 (known at run time only)


def fields_of(cls: type) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    """The fields that a file may set, with their types as they are written (without the ranges)."""
    hints = get_type_hints(cls)
    for each in dataclasses.fields(cls):
        if not each.metadata.get("internal"):
            yield each, hints[each.name]


def read_toml(path: Path, error: type[InputError] = InputError) -> dict[str, Any]:
    """The table in a TOML file.

    Raises:
        InputError: Of the class given: there is no such file, or it isn't TOML.
    """
    if not path.exists():
        raise error(f"{path}: no such settings file")
    return parse_toml(read_bytes(path, error), path, error)


def bind(
    cls: type[T],
    table: Mapping[str, Any],
    shown: str,
    *,
    error: type[InputError] = InputError,
    convert: Callable[[dataclasses.Field[Any], Any], Any] = lambda field, value: value,
    prefix: str = "",
) -> T:
    """An instance of a settings table, every key and value checked.

    Args:
        cls: Made by `settings_table`; fields may be such tables themselves.
        table: What the file says.
        shown: The file's name for messages.
        error: What is raised.
        convert: Called with each field that is given and its value, once that has been checked.
        prefix: The table's own name with a dot, for messages.

    Raises:
        InputError: Of the class given: a key is unknown, or a value isn't of its type or out of its range.
    """
    known = {each.name: (each, hint) for each, hint in fields_of(cls)}
    place = f"of [{prefix.rstrip('.')}]" if prefix else "at the top level"
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            advice = f"did you mean {near[0]}? All" if near else "the"
            raise error(f"{shown}: unknown key {prefix}{key} ({advice} keys {place} are: {', '.join(known)})")
    values: dict[str, Any] = {}
    for key, value in table.items():
        _, hint = known[key]
        name = prefix + key
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise error(f"{shown}: {name} must be a table ([{name}]), not {described(value)}")
            values[key] = bind(hint, value, shown, error=error, convert=convert, prefix=f"{name}.")
        else:
            values[key] = tuple(value) if isinstance(value, list) and value else value
    try:
        made = cls(**values)
    except pydantic.ValidationError as fault:
        raise error(f"{shown}: {_complaint(fault, known, table, prefix)}") from None
    changed = {key: convert(known[key][0], getattr(made, key)) for key in values}
    return dataclasses.replace(made, **changed)  # type: ignore[type-var]


def _complaint(
    fault: pydantic.ValidationError,
    known: Mapping[str, tuple[dataclasses.Field[Any], Any]],
    table: Mapping[str, Any],
    prefix: str,
) -> str:
    """Pydantic's first complaint in our words."""
    first = fault.errors(include_url=False)[0]
    if not first["loc"]:  # what the table itself asks of its values together
        return ": ".join([*filter(None, [prefix.rstrip(".")]), str(first["ctx"]["error"])])
    key = str(first["loc"][0])
    field, hint = known[key]
    name, kind = prefix + key, kind_of(hint)
    if first["type"] == "missing":
        return f"{name} is missing; it must be {wanted(kind)}"
    if first["type"] == "greater_than":
        return f"{name} must be above {field.metadata['above']:g}, not {first['input']}"
    low, high = field.metadata["low"], field.metadata["high"]
    if first["type"] in ("greater_than_equal", "less_than_equal", "multiple_of"):
        value = first["input"]
        if (low is not None and value < low) or (high is not None and value > high):
            return f"{name} must be {range_words(low, high)}, not {value}"
        return f"{name} must be a multiple of {field.metadata['step']}, not {first['input']}"
    member = get_origin(kind) is tuple and isinstance(table[key], list) and bool(table[key])
    wrong, right = (first["input"], get_args(kind)[0]) if member else (table[key], kind)
    return f"{name} must be {wanted(right)}, not {described(wrong)}"


def kind_of(hint: Any) -> Any:
    """A field's type without the None that it may be instead."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return next(option for option in options if option is not type(None))


def wanted(kind: Any) -> str:
    """A type in the words of a message."""
    if get_origin(kind) is tuple:
        return f"a list, each member {wanted(get_args(kind)[0])}"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f'"{choice}"' for choice in get_args(kind))
    return {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text in quotes",
        date: "a day (2023-10-05)",
    }[kind]


def described(value: object) -> str:
    """A value of a wrong type in the words of a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the text "{value}"'
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    return str(value)


def range_words(low: float | None, high: float | None) -> str:
    """Limits in the words of a message."""
    if high is None:
        return f"{low:g} or more"
    if low is None:
        return f"{high:g} or less"
    return f"between {low:g} and {high:g}"
