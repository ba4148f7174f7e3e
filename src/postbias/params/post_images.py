"""The parameter group images."""

from __future__ import annotations

from pydantic import Field

from postbias.params.base import Group


class ImagesParams(Group):
    """What is read from images besides their pixels."""

    ocr: bool = Field(
        description="read the text inside images and append it to the caption that students with a"
        " text encoder see; needs the extra ocr"
    )
