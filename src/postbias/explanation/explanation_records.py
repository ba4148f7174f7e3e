"""The explanation of one score: typed records, which convert to JSON."""

# Ships inside the registered model.

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from postbias.explanation.image_regions import RelativeBox
from postbias.scoring.post_scores import OK, PostScore

Json = dict[str, Any]

TextSource = Literal["caption", "image_text"]


@dataclass(frozen=True, slots=True)
class WordContribution:
    """How much a word, or a phrase of a long text, moved the score.

    Attributes:
        text: The word or phrase.
        start: Position of its first character in `Explanation.text`.
        end: Position after its last character.
        source: `caption`, or `image_text` for text inside an image.
        contribution: Score minus the score without it, in points; positive if it raises the score.
    """

    text: str
    start: int
    end: int
    source: TextSource
    contribution: float


@dataclass(frozen=True, slots=True)
class RegionContribution:
    """How much a region of an image moved the score.

    Attributes:
        image: Position of the image in the post, from 0.
        box: The region, as shares of the width and height of the upright image.
        contribution: Score minus the score with the region filled, in points; positive if it raises
            the score. For a whole image of several: without the image.
    """

    image: int
    box: RelativeBox
    contribution: float


@dataclass(frozen=True, slots=True)
class ModalityShares:
    """How caption and images share the score: exact Shapley values of two players.

    `baseline + caption + image` is the score.

    Attributes:
        baseline: The student's output for a post without any content.
        caption: Points that the caption adds.
        image: Points that the images add, including the text inside them.
    """

    baseline: float
    caption: float
    image: float


@dataclass(frozen=True, slots=True)
class NearestPost:
    """A labelled post of the training data that resembles the explained one.

    Attributes:
        post_id: Its id.
        similarity: Cosine similarity of the embeddings, at most 1; mean over the modalities.
        labels: The teacher's labels by axis.
        reason: The teacher's reason; may be empty.
    """

    post_id: str
    similarity: float
    labels: dict[str, float]
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What moved the score of one post.

    Attributes:
        score: The score of the post.
        axis: The explained axis.
        text: The text that the student read: the caption, and the text inside images if it reads
            that. `start` and `end` of words are positions in it.
        words: Words in order of the text; empty without text, or if they are refused.
        regions: Regions by image; they cover each image once. Empty without images, or if they are
            refused.
        shares: Shares of caption and images; None without a score.
        nearest: Nearest labelled posts, the nearest first; empty if there is no index of them.
        notes: What the reader must know: parts that are refused or were not tested, text that was
            not read.
        n_calls: Number of variants of the post that were scored.
    """

    score: PostScore
    axis: str
    text: str = ""
    words: tuple[WordContribution, ...] = ()
    regions: tuple[RegionContribution, ...] = ()
    shares: ModalityShares | None = None
    nearest: tuple[NearestPost, ...] = ()
    notes: tuple[str, ...] = ()
    n_calls: int = 0

    @property
    def is_scored(self) -> bool:
        """Whether the post has a score; otherwise there is nothing to explain."""
        return self.score.status == OK

    def top_words(self, n: int = 3) -> list[WordContribution]:
        """Return the n words with the largest absolute contributions, the largest first."""
        return sorted(self.words, key=lambda word: -abs(word.contribution))[:n]

    def top_regions(self, n: int = 1) -> list[RegionContribution]:
        """Return the n regions with the largest absolute contributions, the largest first."""
        return sorted(self.regions, key=lambda region: -abs(region.contribution))[:n]

    def as_json(self) -> Json:
        """Convert to values of JSON, without the score, which responses give beside it."""
        return {
            "axis": self.axis,
            "text": self.text,
            "words": [_round(asdict(word)) for word in self.words],
            "regions": [_region_to_json(region) for region in self.regions],
            "shares": None if self.shares is None else _round(asdict(self.shares)),
            "nearest": [_round(asdict(post)) for post in self.nearest],
            "notes": list(self.notes),
            "n_calls": self.n_calls,
        }


def _region_to_json(region: RegionContribution) -> Json:
    return _round({"image": region.image, **region.box._asdict()}) | _round(
        {"contribution": region.contribution}
    )


def _round(values: Json) -> Json:
    """Round numbers to 4 decimals: more digits mean nothing."""
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
