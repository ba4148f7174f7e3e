"""The artifact's graphs at work: pictures and captions to embeddings, embeddings to scores.

Every call runs on the caller's thread alone, so its result does not depend on how many threads
there are; callers run several calls at once to use several cores. Knows nothing of posts. Shipped
inside the registered model: needs numpy, onnxruntime and tokenizers, no torch.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from postbias.errors import ArtifactError, DeviceError
from postbias.scoring import execution_providers as devices
from postbias.scoring.artifact import Artifact
from postbias.scoring.execution_providers import Device
from postbias.scoring.manifest import REMAKE, TOKENIZER, Precision

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]

#: Inputs of each graph; of `head` only those whose encoder the student has.
_INPUTS: Mapping[str, tuple[str, ...]] = {
    "image": ("pixels",),
    "text": ("input_ids", "attention_mask"),
    "head": ("text", "has_text", "image", "has_image"),
}
_OUTPUT = {"image": "embedding", "text": "embedding", "head": "scores"}

# Captions are padded to a multiple of this, which depends on their own length only: so a caption
# meets the same arithmetic in every batch.
_LENGTH_STEP = 2
# Some matrix kernels treat a few rows differently from many: the head always gets a multiple.
_ROW_STEP = 8

_PADDING_TOKENS = ("[PAD]", "<pad>", "<|endoftext|>")


class Graphs:
    """The three graphs of one student, loaded; safe to call from several threads at once."""

    def __init__(self, artifact: Artifact, precision: Precision, device: Device = "cpu") -> None:
        """Load the graphs and the tokenizer, checking their contents.

        Args:
            artifact: Where they lie.
            precision: Which ones to run; a graph that ships as fp32 only runs as that. The int8
                graphs are made for CPUs: another device runs fp32, whatever is said here.
            device: Where to run them.

        Raises:
            ArtifactError: If a file is damaged or no graph of the agreed signature.
            DeviceError: If the device is not there.
        """
        manifest = artifact.manifest
        self.device, self.precision, self._sessions = _open(artifact, precision, device)
        devices.log_device(device, self.device, self.precision)
        self.dims = {
            graph: int(self._sessions[graph].get_outputs()[0].shape[-1])
            for graph in manifest.graphs
            if graph != "head"
        }
        self.max_tokens = manifest.max_tokens or 0
        self._tokenizer, self._pad_id = None, 0
        if manifest.has_text:
            self._tokenizer = _load_tokenizer(artifact, self.max_tokens)
            ids = (self._tokenizer.token_to_id(token) for token in _PADDING_TOKENS)
            self._pad_id = next((i for i in ids if i is not None), 0)

    def tokenize(self, caption: str) -> list[int]:
        """Split a caption into at most `max_tokens` token ids.

        Args:
            caption: Text that is valid in UTF-8; see `postbias.posts.text_cleaning`.

        Returns:
            Its ids, special tokens included, unpadded.
        """
        assert self._tokenizer is not None
        ids: list[int] = self._tokenizer.encode(caption).ids
        return ids

    def padded_length(self, n_tokens: int) -> int:
        """Give the length that a caption is padded to; captions of equal length can share a batch.

        Args:
            n_tokens: Tokens of the caption.

        Returns:
            The next multiple of the step, or `max_tokens` if that is less.
        """
        return max(n_tokens, min(-(-n_tokens // _LENGTH_STEP) * _LENGTH_STEP, self.max_tokens))

    def embed_captions(self, captions: Sequence[Sequence[int]]) -> Floats:
        """Embed tokenized captions of one padded length.

        Args:
            captions: Token ids of each; at least one caption.

        Returns:
            One row each, (B, Dt).
        """
        length = self.padded_length(max(map(len, captions)))
        ids = np.full((len(captions), length), self._pad_id, np.int64)
        mask = np.zeros((len(captions), length), np.int64)
        for row, caption in enumerate(captions):
            ids[row, : len(caption)] = caption
            mask[row, : len(caption)] = 1
        return self._run("text", {"input_ids": ids, "attention_mask": mask})

    def embed_images(self, pixels: NDArray[np.uint8]) -> Floats:
        """Embed decoded images.

        Args:
            pixels: RGB, (B, S, S, 3).

        Returns:
            One row each, (B, Di).
        """
        return self._run("image", {"pixels": pixels})

    def score(self, inputs: Mapping[str, Floats]) -> Floats:
        """Score embeddings.

        Args:
            inputs: The head's inputs: `text` (B, Dt) and `has_text` (B, 1), `image` and
                `has_image` likewise, as far as the student has them.

        Returns:
            Unclipped scores in the units of the axes, (B, A).
        """
        rows = len(next(iter(inputs.values())))
        missing = -rows % _ROW_STEP
        padded = {name: np.pad(x, ((0, missing), (0, 0))) for name, x in inputs.items()}
        return self._run("head", padded)[:rows]

    def _run(self, graph: str, feeds: Mapping[str, NDArray[np.generic]]) -> Floats:
        output: Floats = self._sessions[graph].run([_OUTPUT[graph]], dict(feeds))[0]
        return output


def _open(
    artifact: Artifact, precision: Precision, device: Device
) -> tuple[str, Precision, dict[str, ort.InferenceSession]]:
    """Open all graphs on the first device that really starts; also give it and the precision."""
    manifest, tried = artifact.manifest, devices.list_candidate_devices(device)
    for chosen in tried:
        runs: Precision = precision if chosen == "cpu" else "fp32"
        try:
            sessions = {
                graph: _load(artifact, graph, manifest.graph_file(graph, runs), chosen)
                for graph in manifest.graphs
            }
        except DeviceError as error:
            if chosen == tried[-1]:
                raise
            logger.warning("%s; trying the next", error)
            continue
        return chosen, runs, sessions
    raise devices.unavailable_device_error(device, "onnxruntime offers no device at all")


def _load(artifact: Artifact, graph: str, name: str, device: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    # Its fused kernel takes six times as long as the two it replaces (onnxruntime 1.31, AVX-512).
    slow = ["SkipLayerNormFusion"]
    data = artifact.read(name)
    try:
        session = ort.InferenceSession(
            data, options, providers=devices.session_providers(device), disabled_optimizers=slow
        )
    except Exception as error:  # onnxruntime's own types, which share no base class
        if device != "cpu":
            raise devices.unavailable_device_error(
                device, " ".join(str(error).split())[:200]
            ) from error
        raise ArtifactError(
            f"onnxruntime {ort.__version__} cannot load {artifact.folder / name}: "
            f"{' '.join(str(error).split())[:200]}",
            do=REMAKE,
        ) from error
    if session.get_providers()[0] != devices.PROVIDERS[device]:  # it fell back by itself
        raise devices.unavailable_device_error(
            device, "it is offered but does not start; is there a driver?"
        )
    _check_signature(session, artifact, graph, name)
    return session


def _check_signature(
    session: ort.InferenceSession, artifact: Artifact, graph: str, name: str
) -> None:
    encoders = artifact.manifest.graphs[:-1]
    wanted = {
        text for text in _INPUTS[graph] if graph != "head" or text.removeprefix("has_") in encoders
    }
    seen = {node.name for node in session.get_inputs()}
    outputs = [node.name for node in session.get_outputs()]
    if seen != wanted or outputs != [_OUTPUT[graph]]:
        raise ArtifactError(
            f"{artifact.folder / name} is not the {graph} graph of a student",
            seen=f"{sorted(seen)} -> {outputs}",
            allowed=f"{sorted(wanted)} -> [{_OUTPUT[graph]!r}]",
            do=REMAKE,
        )


def _load_tokenizer(artifact: Artifact, max_tokens: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(artifact.read(TOKENIZER))
    except ArtifactError:
        raise
    except Exception as error:  # tokenizers raises plain Exception
        raise ArtifactError(
            f"{artifact.folder / TOKENIZER} cannot be read: {' '.join(str(error).split())[:200]}",
            do=REMAKE,
        ) from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer
