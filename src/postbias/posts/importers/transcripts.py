"""Find the transcripts of posts: in the export, or in subtitle files beside the videos."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from postbias.posts.importers.export_files import walk_folders
from postbias.posts.importers.records import ImportedPost, MediaFile, Record, RecordError
from postbias.posts.importers.subtitles import SUBTITLE_SUFFIXES, read_subtitles
from postbias.posts.video_details import append_transcript

# As yt-dlp appends it: `.en`, `.pt-BR`, `.en-orig`.
_LANGUAGE = re.compile(r"(?P<stem>.+)\.(?P<language>[A-Za-z]{2,3}(?:[-_][A-Za-z\d]{1,10})*)")
_ORIGINAL = "-orig"


class Transcripts:
    """Completes posts by their transcripts."""

    def __init__(self, src: Path, *, in_captions: bool) -> None:
        """Remember the export; it is searched when the first post has a video.

        Args:
            src: A file or a folder.
            in_captions: Whether to append transcripts to captions.
        """
        self._root = src if src.is_dir() else src.parent
        self._has_files = src.suffix.lower() != ".zip"  # its files are unpacked elsewhere
        self._in_captions = in_captions

    def complete(self, record: Record) -> Record:
        """Add the transcript to a post.

        Args:
            record: A post, whose videos are not converted yet, or a reject.

        Returns:
            The record. A subtitle file that cannot be read counts as an emptied cell.
        """
        if not isinstance(record, ImportedPost):
            return record
        if not record.transcript and _has_video(record):
            record = self._read_subtitles(record)
        if not (self._in_captions and record.transcript):
            return record
        return replace(record, caption=append_transcript(record.caption, record.transcript))

    def _read_subtitles(self, post: ImportedPost) -> ImportedPost:
        names = self._find(post)
        try:
            texts = [read_subtitles(self._root, name) for name in names]
        except RecordError:
            return replace(post, emptied_cells=(*post.emptied_cells, "transcript"))
        return replace(post, transcript=" ".join(filter(None, texts))) if texts else post

    def _find(self, post: ImportedPost) -> list[str]:
        """List the subtitle files of a post: one for each video, or that named after the post."""
        if not self._has_files or not self._files:
            return []
        stems = [i.path.rpartition(".")[0] for i in post.images if _is_video(i)]
        beside = [_choose(self._files[stem]) for stem in stems if stem in self._files]
        if beside:
            return beside
        named = self._by_name.get(post.post_id)
        return [_choose(named)] if named else []

    @cached_property
    def _files(self) -> dict[str, list[str]]:
        """The subtitle files by the path of their video without its suffix."""
        files: dict[str, list[str]] = defaultdict(list)
        for prefix, names in walk_folders(self._root):
            for name in names:
                if not name.lower().endswith(SUBTITLE_SUFFIXES):
                    continue
                stem = f"{prefix}{name.rpartition('.')[0]}"
                files[stem].append(f"{prefix}{name}")
                if match := _LANGUAGE.fullmatch(stem):
                    files[match["stem"]].append(f"{prefix}{name}")
        return dict(files)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for stem, files in self._files.items():
            names.setdefault(stem.rpartition("/")[2], files)
        return names


def _is_video(image: object) -> bool:
    return isinstance(image, MediaFile) and image.kind.is_video


def _has_video(post: ImportedPost) -> bool:
    return post.media_type == "video" or any(map(_is_video, post.images))


def _choose(names: list[str]) -> str:
    """Choose one of several languages: that without a name, the original, the first."""

    def rank(name: str) -> tuple[bool, bool, str]:
        match = _LANGUAGE.fullmatch(name.rpartition("/")[2].rpartition(".")[0])
        language = match["language"] if match else ""
        return bool(language), not language.endswith(_ORIGINAL), name

    return min(names, key=rank)
