"""Metadata in XML, by the names of its elements."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from geo.errors import SceneError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element, ParseError
else:
    from defusedxml.ElementTree import ParseError

__all__ = ["XmlTexts", "finite_number", "local_name", "parsed_xml"]


class XmlTexts:
    """Elements of a tree by name, whatever their namespace: each generation of a format has another one."""

    def __init__(self, root: Element) -> None:
        self._by_name: dict[str, list[Element]] = {}
        for element in root.iter():
            if isinstance(element.tag, str):
                self._by_name.setdefault(local_name(element.tag), []).append(element)

    def elements(self, name: str) -> Iterator[Element]:
        """All elements of a name, in the order of the document."""
        yield from self._by_name.get(name, ())

    def first(self, name: str) -> str | None:
        """The text of the first element of a name that has one; None where there is none."""
        for element in self.elements(name):
            if element.text and element.text.strip():
                return element.text.strip()
        return None


def parsed_xml(content: bytes, where: Path) -> Element:
    """The root of a document.

    Args:
        content: Of the file.
        where: Its path, for sentences.

    Raises:
        SceneError: It isn't XML, or defines entities of its own.
    """
    try:
        root: Element = defusedxml.ElementTree.fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise SceneError(
            f"{where}: defines entities of its own, which is no product's habit; not read"
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        raise SceneError(f"{where}: isn't well-formed XML ({error})") from error
    return root


def local_name(tag: str) -> str:
    """An element's name without its namespace."""
    return tag.rpartition("}")[2]


def finite_number(text: str | None) -> float | None:
    """A finite number: real granules have NaN for the sun over tiles that are nearly empty."""
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
