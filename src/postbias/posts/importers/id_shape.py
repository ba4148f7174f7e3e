"""Learn the form of the ids of a table."""

from __future__ import annotations

# The characters of later ids are not looked at.
_MAX_KNOWN_IDS = 1_000


class IdShape:
    """The form of the ids seen so far, to recognise rows inside a cell that was not closed."""

    # With fewer ids, their form is unknown; longer ids are hardly ever words of a caption.
    _MIN_IDS, _LONG = 5, 5

    def __init__(self) -> None:
        """Start without ids."""
        self._n_ids = 0
        self._kinds: set[str] = set()
        self._min_length, self._max_length = 10**9, 0
        self._has_digits = True

    @property
    def is_known(self) -> bool:
        """Whether enough ids were seen."""
        return self._n_ids >= self._MIN_IDS

    @property
    def is_distinctive(self) -> bool:
        """Whether text is unlikely to have this form by chance."""
        return self.is_known and self._has_digits and self._min_length >= self._LONG

    def add(self, post_id: str) -> None:
        """Learn from an id."""
        self._n_ids += 1
        if self._n_ids <= _MAX_KNOWN_IDS:
            self._kinds |= _kinds(post_id)
            self._has_digits &= any(map(str.isdecimal, post_id))
        self._min_length = min(self._min_length, len(post_id))
        self._max_length = max(self._max_length, len(post_id))

    def add_all(self, post_ids: list[str]) -> None:
        """Learn from several ids."""
        n_new = max(0, _MAX_KNOWN_IDS - self._n_ids)
        for post_id in post_ids[:n_new]:
            self.add(post_id)
        rest = post_ids[n_new:]
        self._n_ids += len(rest)
        lengths = set(map(len, rest))
        self._min_length = min(self._min_length, *lengths, self._min_length)
        self._max_length = max(self._max_length, *lengths, self._max_length)

    def matches(self, text: str) -> bool:
        """Tell whether a text looks like an id; True while the form is unknown."""
        if not self.is_known:
            return True
        return (
            self._min_length <= len(text) <= self._max_length + 1
            and _kinds(text) <= self._kinds
            and (not self._has_digits or any(map(str.isdecimal, text)))
        )


def _kinds(text: str) -> set[str]:
    return {"0" if c.isdecimal() else "a" if c.isalpha() else c for c in text}
