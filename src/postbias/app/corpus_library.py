"""The scored corpora that the page can explore; each is loaded when it is first opened."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from postbias.app.caption_topics import CaptionTopics, read_topics
from postbias.app.corpus_images import CorpusImages
from postbias.app.corpus_query import PostFilter, PostOrder, Selection, select_posts
from postbias.app.explored_corpus import CorpusFiles, ExploredCorpus, load_explored_corpus
from postbias.app.reader_process import Json, ReaderProcess, ReaderStoppedError
from postbias.errors import InputError

_Key = tuple[PostFilter, PostOrder, bool]


@dataclass(slots=True)
class TopicsStatus:
    """How far the search for languages and brands has come.

    Attributes:
        state: `running`, `done` or `failed`.
        done: Posts whose language is known.
        message: Why it failed.
        topics: The result.
    """

    state: str = "running"
    done: int = 0
    message: str = ""
    topics: CaptionTopics | None = None


@dataclass(slots=True)
class OpenCorpus:
    """A corpus in memory.

    Attributes:
        corpus: Its posts.
        images: Its images.
        topics: Its languages and brands.
        rejects: Table of what could not be read or scored; None if there is none.
    """

    corpus: ExploredCorpus
    images: CorpusImages
    topics: TopicsStatus
    rejects: Path | None
    _selected: dict[_Key, Selection] = field(default_factory=dict)

    def select(self, chosen: PostFilter, order: PostOrder) -> Selection:
        """Select posts; the last selection is kept, for its further pages."""
        topics = self.topics.topics
        key = (chosen, order, topics is not None)
        selection = self._selected.get(key)
        if selection is None:
            selection = select_posts(self.corpus, topics, chosen, order)
            self._selected = {key: selection}
        return selection


class CorpusLibrary:
    """All corpora of a session, by id."""

    def __init__(self, scratch: Path) -> None:
        """Keep temporary files in a folder, which the caller deletes."""
        self._scratch = scratch
        self._files: dict[str, tuple[CorpusFiles, Path | None]] = {}
        self._open: dict[str, OpenCorpus] = {}
        self._readers: list[ReaderProcess] = []
        self._lock = threading.Lock()

    def add(self, corpus_id: str, files: CorpusFiles, rejects: Path | None = None) -> None:
        """Add a corpus, or do nothing if it is known."""
        self._files.setdefault(corpus_id, (files, rejects))

    def remove(self, corpus_id: str) -> None:
        """Forget a corpus."""
        self._files.pop(corpus_id, None)
        self._open.pop(corpus_id, None)

    def names(self) -> list[Json]:
        """List the corpora."""
        return [{"id": key, "name": files.name} for key, (files, _) in self._files.items()]

    def open(self, corpus_id: str) -> OpenCorpus:
        """Return a corpus; load it if necessary, and start to search for languages and brands.

        Raises:
            InputError: If there is no such corpus.
            PostbiasError: If it cannot be read.
        """
        with self._lock:
            if corpus_id not in self._files:
                raise InputError("there is no such corpus any more", do="choose another one")
            if corpus_id not in self._open:
                files, rejects = self._files[corpus_id]
                corpus = load_explored_corpus(files)
                images = CorpusImages(files.posts, corpus.starts)
                opened = OpenCorpus(corpus, images, TopicsStatus(), rejects)
                self._open[corpus_id] = opened
                self._find_topics(corpus_id, opened)
            return self._open[corpus_id]

    def close(self) -> None:
        """Stop all searches, at the end of the program."""
        for reader in self._readers:
            reader.stop()

    def _find_topics(self, corpus_id: str, opened: OpenCorpus) -> None:
        scratch = self._scratch / f"topics-{corpus_id}"
        scratch.mkdir(parents=True, exist_ok=True)
        reader = ReaderProcess(scratch)
        self._readers.append(reader)
        thread = threading.Thread(target=_run_topics, args=(reader, opened, scratch), daemon=True)
        thread.start()


def _run_topics(reader: ReaderProcess, opened: OpenCorpus, scratch: Path) -> None:
    status, files = opened.topics, opened.corpus.files
    task = {
        "task": "topics",
        "shards": [str(shard) for shard in files.posts],
        "brands": None if files.brands is None else str(files.brands),
        "output": str(scratch),
    }

    def report(progress: Json) -> None:
        status.done = progress["done"]

    try:
        reader.run(task, report)
        status.topics = read_topics(scratch)
    except ReaderStoppedError:
        status.state = "failed"
    except InputError as error:
        status.state, status.message = "failed", str(error)
    else:
        status.state = "done"
