"""Run an artifact's ONNX graphs: images and captions to embeddings, embeddings to scores.

Each call uses the caller's thread only, so its result does not depend on the number of threads.
"""

# Ships inside the registered model: needs numpy, onnxruntime and tokenizers only.

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

#: Inputs of each graph; `head` has only those of the student's encoders.
_INPUTS: Mapping[str, tuple[str, ...]] = {
    "image": ("pixels",),
    "text": ("input_ids", "attention_mask"),
    "head": ("text", "has_text", "image", "has_image"),
}
_OUTPUT = {"image": "embedding", "text": "embedding", "head": "scores"}

# Captions are padded to a multiple of this. The padded length depends on the caption only, so its
# embedding is the same in every batch.
_LENGTH_STEP = 2
# Some matrix kernels compute few rows differently: the head always gets a multiple of this.
_ROW_STEP = 8

_PADDING_TOKENS = ("[PAD]", "<pad>", "<|endoftext|>")


class Graphs:
    """The loaded graphs of one student; thread-safe."""

    def __init__(self, artifact: Artifact, precision: Precision, device: Device = "cpu") -> None:
        """Load and check the graphs and the tokenizer.

        Args:
            precision: Precision on a CPU; a graph that ships in fp32 only ignores it. Other devices
                always run fp32, because the int8 graphs are made for CPUs.
            device: Device to run on.

        Raises:
            ArtifactError: If a file is damaged or a graph has the wrong inputs or outputs.
            DeviceError: If the device is not available.
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
        """Tokenize a caption.

        Args:
            caption: Text that is valid in UTF-8; see `postbias.posts.text_cleaning`.

        Returns:
            At most `max_tokens` token ids including special tokens, unpadded.
        """
        assert self._tokenizer is not None
        ids: list[int] = self._tokenizer.encode(caption).ids
        return ids

    def count_read_characters(self, text: str) -> int:
        """Count the characters of a text, from its start, that fit into `max_tokens` tokens."""
        assert self._tokenizer is not None
        encoding = self._tokenizer.encode(text)
        if not encoding.overflowing:
            return len(text)
        return max(end for _, end in encoding.offsets)

    def padded_length(self, n_tokens: int) -> int:
        """Return the length that a caption is padded to; captions of one length share a batch."""
        return max(n_tokens, min(-(-n_tokens // _LENGTH_STEP) * _LENGTH_STEP, self.max_tokens))

    def embed_captions(self, captions: Sequence[Sequence[int]]) -> Floats:
        """Embed tokenized captions of one padded length.

        Args:
            captions: Token ids of at least one caption.

        Returns:
            Embeddings, (B, Dt).
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
            Embeddings, (B, Di).
        """
        return self._run("image", {"pixels": pixels})

    def score(self, inputs: Mapping[str, Floats]) -> Floats:
        """Score embeddings.

        Args:
            inputs: Inputs of the head: `text` (B, Dt) and `has_text` (B, 1), `image` (B, Di) and
                `has_image` (B, 1), for the encoders that the student has.

        Returns:
            Scores in the units of the axes, not clipped, (B, A).
        """
        rows = len(next(iter(inputs.values())))
        missing = -rows % _ROW_STEP
        padded = {name: np.pad(x, ((0, missing), (0, 0))) for name, x in inputs.items()}
        return self._run("head", padded)[:rows]

    def _run(self, graph: str, feeds: Mapping[str, NDArray[np.generic]]) -> Floats:
        try:
            output: Floats = self._sessions[graph].run([_OUTPUT[graph]], dict(feeds))[0]
        except Exception as error:  # onnxruntime's own types, which share no base class
            if self.device == "cpu":
                raise
            raise devices.failed_run_error(self.device, error) from error
        return output


def _open(
    artifact: Artifact, precision: Precision, device: Device
) -> tuple[str, Precision, dict[str, ort.InferenceSession]]:
    """Open all graphs on the first device that starts; return device, precision and sessions."""
    manifest, tried = artifact.manifest, devices.list_candidate_devices(device)
    for chosen in tried:
        runs: Precision = precision if chosen == "cpu" else "fp32"
        devices.load_device_libraries(chosen)
        try:
            sessions = {
                graph: _load(artifact, graph, manifest.graph_file(graph, runs), chosen)
                for graph in manifest.graphs
            }
        except DeviceError as error:
            if chosen == tried[-1]:
                raise
            logger.warning("%s; trying the next device", error)
            continue
        return chosen, runs, sessions
    raise devices.unavailable_device_error(device, "onnxruntime supports no device")


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
            data,
            options,
            providers=devices.session_providers(device),
            disabled_optimizers=slow,
            # Otherwise a failure of the device, even in the middle of a run, moves the session to
            # the CPU and only prints it.
            enable_fallback=0,
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
    if session.get_providers()[0] != devices.PROVIDERS[device]:  # it fell back to another provider
        raise devices.unavailable_device_error(
            device, "it is supported but does not start; check the driver"
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
