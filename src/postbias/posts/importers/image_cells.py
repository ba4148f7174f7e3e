"""Read the images that a cell of a table names: one, a list, or several in one text."""

from __future__ import annotations

import ast
import re
from typing import Any

from postbias.posts.importers.embedded_images import check_image_bytes
from postbias.posts.importers.export_files import IMAGE_SUFFIXES
from postbias.posts.importers.image_addresses import is_address
from postbias.posts.importers.image_folder import ImageFolder
from postbias.posts.importers.limited_json import parse_limited_json
from postbias.posts.importers.records import ImageFault, ImageFile, RecordError
from postbias.posts.importers.table_cells import is_empty
from postbias.posts.importers.text_repair import repair_text
from postbias.posts.reasons import RejectReason

_SEPARATORS = re.compile(r"([\n\r|;,])")
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
# Python's and NumPy's representations of a list: NumPy writes no commas.
_QUOTED_LIST = re.compile(
    rf"[\[({{]\s*(?:{_QUOTED})(?:[\s,]+(?:{_QUOTED}))*[\s,]*[\])}}]", re.DOTALL
)

_SCHEME = re.compile(r"(?!data:)([a-z][a-z0-9+.-]+):(?=[/\\])", re.IGNORECASE)

# A name with more separators is only found if it is alone in its cell.
_MAX_PARTS_OF_NAME = 4


def read_images(value: object, folder: ImageFolder, post_id: str) -> list[ImageFile | ImageFault]:
    """Read the images of a row.

    Args:
        value: A path or an address, several separated by line feeds, `|`, `;` or `,`, a JSON or
            Python list, a list, or Hugging Face `Image` values (`bytes`, `path`).
        folder: The folder that has the files.
        post_id: Id of the post. If the cell has only addresses and none of their files is in the
            folder, files are searched under the id.

    Returns:
        The images in order, or why they could not be read.

    Raises:
        RecordError: If the cell is none of these.
    """
    items = [item for item in _items(value, folder) if not is_empty(item)]
    images = [_read_item(item, folder) for item in items]
    reasons = {i.reason if isinstance(i, ImageFault) else None for i in images}
    if reasons == {RejectReason.NOT_DOWNLOADED}:
        found = folder.read_ids([post_id])
        return [*found, *images[len(found) :]]
    return images


def list_addresses(value: object, folder: ImageFolder) -> list[str]:
    """List the addresses in a cell, as `read_images` looks them up.

    Args:
        value: As for `read_images`.
        folder: The folder that has the files.

    Returns:
        The addresses in order.

    Raises:
        RecordError: If the cell names no images.
    """
    addresses = []
    for item in _items(value, folder):
        text = item.strip() if isinstance(item, str) else item
        if isinstance(text, dict):
            text = None if text.get("bytes") else text.get("path")
        if isinstance(text, str) and is_address(text) and text[:5].lower() != "data:":
            addresses.append(text)
    return addresses


def list_other_schemes(value: object, folder: ImageFolder) -> list[str]:
    """List the schemes of the references in a cell that are neither addresses nor data.

    Args:
        value: As for `read_images`.
        folder: The folder that has the files.

    Returns:
        A scheme such as `file` for each of them.

    Raises:
        RecordError: If the cell names no images.
    """
    texts = [item.strip() for item in _items(value, folder) if isinstance(item, str)]
    matches = [_SCHEME.match(text) for text in texts if not is_address(text)]
    return [match[1].lower() for match in matches if match]


def _items(value: Any, folder: ImageFolder) -> list[Any]:  # noqa: ANN401 - a cell
    if is_empty(value):
        return []
    if isinstance(value, str):
        return _split_text(value.strip(), folder)
    if isinstance(value, dict | bytes) or _is_number(value):
        return [value]
    if not isinstance(value, list):
        raise RecordError(RejectReason.BROKEN_ROW, f"images are no list but {type(value).__name__}")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read_item(value: object, folder: ImageFolder) -> ImageFile | ImageFault:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if _is_number(value):
        value = str(value)
    if isinstance(value, str):
        return folder.read(value.strip())
    data = value.get("bytes") if isinstance(value, dict) else value
    path = value.get("path") if isinstance(value, dict) else None
    if isinstance(data, bytes) and data:
        return check_image_bytes(data, repair_text(path) if isinstance(path, str) else "")
    if isinstance(path, str) and path:
        return folder.read(path)
    return ImageFault(RejectReason.BROKEN_ROW, "an image has neither bytes nor a path")


def _split_text(text: str, folder: ImageFolder) -> list[Any]:
    """Split the text of a cell, unless the whole text names one image."""
    if text[:5].lower() == "data:" or folder.is_exact(text):
        return [text]
    is_list = text.startswith(("[", "(", "{"))
    if not is_list and not _SEPARATORS.search(text):
        return [text]
    if is_list and (items := _parse_list(text)) is not None:
        return items
    if not is_list:
        parts = [part.strip() for part in _SEPARATORS.split(text)[::2]]
        if all(folder.is_exact(part) for part in parts if part):
            return parts
    if not is_address(text) and folder.is_known(text):
        return [text]
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    elif text.startswith("[") and not text.lower().endswith(IMAGE_SUFFIXES):
        raise RecordError(RejectReason.BROKEN_ROW, f"images are no list: {text[:80]!r}")
    return _join_parts(_SEPARATORS.split(text), folder)


def _parse_list(text: str) -> list[Any] | None:
    """Parse a list in JSON or in the representation of Python or NumPy."""
    try:
        items = parse_limited_json(text)
    except ValueError:
        if not _QUOTED_LIST.fullmatch(text):
            return None
        try:
            # Each is the literal of one text; nothing else is evaluated.
            return [ast.literal_eval(literal) for literal in re.findall(_QUOTED, text, re.DOTALL)]
        except (ValueError, SyntaxError):
            return None
    return items if isinstance(items, list) else [items]


def _join_parts(parts: list[str], folder: ImageFolder) -> list[str]:
    """Join the parts of a text to names: names and addresses may contain separators.

    Args:
        parts: The parts of the text, with the separators between them.
        folder: The folder that has the files.

    Returns:
        The names of files in the folder, and of those that are missing.
    """
    parts = _join_addresses(parts)
    names: list[str] = []
    start = 0
    is_incomplete = False  # whether the last name is missing and may go on
    while start < len(parts):
        last = min(start + 2 * _MAX_PARTS_OF_NAME, len(parts) + 1)
        for end in range(last - 1, start, -2):
            name = "".join(parts[start:end]).strip()
            # An address of several parts is joined already.
            if name and not (is_address(name) and end > start + 1) and folder.is_known(name):
                names.append(name)
                start, is_incomplete = end + 1, False
                break
        else:
            part = parts[start]
            if is_incomplete and not is_address(part.strip()):
                names[-1] += parts[start - 1] + part.rstrip()
            elif part.strip():
                names.append(part.strip())
            # A comma may belong to a name, so that a missing name is one fault.
            is_incomplete = parts[start + 1 : start + 2] == [","] and not _is_complete(names)
            start += 2
    return names


def _is_complete(names: list[str]) -> bool:
    return not names or is_address(names[-1]) or names[-1].lower().endswith(IMAGE_SUFFIXES)


def _join_addresses(parts: list[str]) -> list[str]:
    """Join the parts of each address, whose query may contain separators."""
    joined = parts[:1]
    for separator, part in zip(parts[1::2], parts[2::2], strict=True):
        name = part.strip()
        starts_name = is_address(name) or name.lower().endswith(IMAGE_SUFFIXES) or part != name
        if separator in {",", ";"} and is_address(joined[-1].strip()) and name and not starts_name:
            joined[-1] += separator + part
        else:
            joined += [separator, part]
    return joined
