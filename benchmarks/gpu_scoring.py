"""Bulk scoring with the student's torch network, for `benchmarks/gpu.py`.

Threads read posts from Parquet; others take batches from a queue, decode the images, and run the
network. Images are decoded on the GPU (nvJPEG, then resizing there), or on all CPU cores by the
decoder of postbias.
"""

from __future__ import annotations

import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from benchmarks.gpu_corpus import Scale, build_student, cores
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from torchvision.io import ImageReadMode, decode_jpeg

from postbias.posts.images import decode_square
from postbias.posts.shards import iter_posts
from postbias.scoring.manifest import TOKENIZER, WEIGHTS

MAX_TOKENS = 128
_READERS = 2
_LENGTH_GROUPS = 4  # captions of one batch are sorted by length and padded in this many groups

Batch = tuple[list[str], list[bytes]]


class TorchScorer:
    """The student's network with the weights of its artifact, on one device."""

    def __init__(self, folder: Path, scale: Scale, device: str, *, bf16: bool) -> None:
        """Load the student.

        Args:
            folder: Folder of `write_data`.
            scale: Sizes.
            device: `cuda` or `cpu`.
            bf16: Whether to compute matrix products in bf16.
        """
        self.device, self.bf16, self.size = device, bf16, scale.image_px
        student = build_student(folder, scale)
        student.load_state_dict(load_file(folder / "student" / WEIGHTS))
        self.student = student.to(device).to(memory_format=torch.channels_last)
        self.tokenizer = Tokenizer.from_file(str(folder / "student" / TOKENIZER))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.pool = ThreadPoolExecutor(cores())
        # Bytes are read-only; torchvision 0.29 refers to another package.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        warnings.filterwarnings("ignore", module="torchvision")

    def decode_on_device(self, files: Sequence[bytes]) -> Tensor:
        """Decode JPEG files to uint8 (B, S, S, 3) on the device; nvJPEG if that is a GPU."""
        encoded = [torch.from_numpy(np.frombuffer(data, np.uint8)) for data in files]
        images = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=self.device)
        if self.device == "cuda":
            # torchvision decodes in a stream of its own, for which only the default stream waits.
            torch.cuda.current_stream().wait_stream(torch.cuda.default_stream())
        return self.resize(images)

    def resize(self, images: Sequence[Tensor]) -> Tensor:
        """Resize uint8 images (3, H, W), as Pillow would, to uint8 (B, S, S, 3)."""
        size = (self.size, self.size)
        resized = [
            functional.interpolate(image[None].float(), size, mode="bilinear", antialias=True)
            for image in images
        ]
        pixels = torch.cat(resized).round().clamp(0, 255).to(torch.uint8)  # (B, 3, S, S)
        return pixels.permute(0, 2, 3, 1).contiguous()

    def decode_on_cpu(self, files: Sequence[bytes]) -> Tensor:
        """Decode files as postbias does, on all cores, to uint8 (B, S, S, 3) on the device."""
        images = list(self.pool.map(partial(decode_square, size=self.size), files))
        return torch.from_numpy(np.stack(images)).to(self.device)

    def score_pixels(self, captions: Sequence[str], pixels: Tensor) -> NDArray[np.float32]:
        """Score posts with one image each, (B, A)."""
        scores: NDArray[np.float32] = self.scores_on_device(captions, pixels).float().cpu().numpy()
        return scores

    @torch.no_grad()
    def scores_on_device(self, captions: Sequence[str], pixels: Tensor) -> Tensor:
        """Score posts with one image each; the scores (B, A) stay on the device."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(list(captions))]
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        step = -(-len(ids) // _LENGTH_GROUPS)
        student = self.student
        assert student.text is not None
        assert student.image is not None
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            image = student.image(pixels)  # (B, Di)
            text = torch.empty(len(ids), student.text_dim, device=self.device)  # (B, Dt)
            for start in range(0, len(ids), step):
                rows = order[start : start + step]
                width = max(len(ids[row]) for row in rows)
                tokens = torch.zeros(len(rows), width, dtype=torch.int64)
                for at, row in enumerate(rows):
                    tokens[at, : len(ids[row])] = torch.tensor(ids[row])
                tokens = tokens.to(self.device)
                text[rows] = student.text(tokens, (tokens > 0).long())
            present = torch.ones(len(ids), 1, device=self.device)
            scores: Tensor = student.head(text, present, image, present)
        return scores

    def own_stream(self) -> AbstractContextManager[object]:
        """Run the kernels of this thread in a stream of its own, beside those of other threads."""
        if self.device != "cuda":
            return nullcontext()
        return torch.cuda.stream(torch.cuda.Stream())

    def synchronise(self) -> None:
        """Wait for the kernels that were started."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def read_batches(shards: Sequence[Path], size: int) -> Iterator[Batch]:
    """Read captions and image files, over and over again."""
    for batch in iter_posts(cycle(shards), ["caption", "images"], size):  # type: ignore[arg-type]
        images = batch["images"].to_pylist()
        yield batch["caption"].to_pylist(), [files[0]["bytes"] for files in images]


class Pipeline:
    """Threads that read posts, and threads that decode their images and score them."""

    def __init__(
        self,
        scorer: TorchScorer,
        shards: Sequence[Path],
        batch_size: int,
        decoders: Sequence[Callable[[Sequence[bytes]], Tensor]],
    ) -> None:
        """Prepare the threads.

        Args:
            scorer: The student.
            shards: Post shards, read over and over again.
            batch_size: Posts per batch.
            decoders: One thread is started per decoder; it also runs the network.
        """
        self._scorer, self._batch_size, self._decoders = scorer, batch_size, decoders
        self._batches: queue.Queue[Batch] = queue.Queue(2 * len(decoders))
        self._stop, self._is_warm = threading.Event(), threading.Barrier(len(decoders) + 1)
        self._counts = [0] * len(decoders)
        self._failures: list[BaseException] = []
        n_readers = min(_READERS, len(shards))
        runs = [partial(self._read, shards[n::n_readers]) for n in range(n_readers)]
        runs += [partial(self._consume, n) for n in range(len(decoders))]
        self._threads = [threading.Thread(target=run) for run in runs]

    def measure(self, seconds: float, wait: Callable[[], object]) -> dict[str, float]:
        """Score posts for some seconds.

        Args:
            seconds: Time after which no batch is started any more.
            wait: Called when every thread has scored a batch, before the clock starts.

        Returns:
            `posts`, `seconds` and `posts_per_s`.
        """
        for thread in self._threads:
            thread.start()
        is_broken = False
        started = time.perf_counter()
        try:
            self._is_warm.wait(timeout=120)
            wait()
            self._is_warm.wait(timeout=120)
            started = time.perf_counter()
            self._stop.wait(seconds)
        except threading.BrokenBarrierError:
            is_broken = True
            self._is_warm.abort()
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()
        if self._failures:
            raise self._failures[0]
        if is_broken:
            raise TimeoutError("a thread or another process did not score a batch in 120 s")
        return describe_rate(sum(self._counts), time.perf_counter() - started)

    def _read(self, shards: Sequence[Path]) -> None:
        for batch in read_batches(shards, self._batch_size):
            while not self._stop.is_set():
                with suppress(queue.Full):
                    self._batches.put(batch, timeout=0.1)
                    break
            if self._stop.is_set():
                return

    def _next_batch(self) -> Batch | None:
        while not self._stop.is_set():
            with suppress(queue.Empty):
                return self._batches.get(timeout=0.1)
        return None

    def _consume(self, number: int) -> None:
        try:
            with self._scorer.own_stream():
                for turn, (captions, files) in enumerate(iter(self._next_batch, None)):
                    self._scorer.score_pixels(captions, self._decoders[number](files))
                    if turn:
                        self._counts[number] += len(captions)
                        continue
                    self._is_warm.wait(timeout=120)
                    self._is_warm.wait(timeout=120)
        except BaseException as error:  # raised again by the thread that measures
            self._failures.append(error)
            self._stop.set()
            self._is_warm.abort()


def measure_rate(run: Callable[[], int], scale: Scale, finish: Callable[[], None]) -> float:
    """Call a function repeatedly for some seconds, and return the items per second it handles."""
    run()
    finish()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < scale.seconds / 2:
        count += run()
    finish()
    return round(count / (time.perf_counter() - started), 1)


def describe_rate(posts: int, seconds: float) -> dict[str, float]:
    """Return a number of posts, the seconds they took, and the rate."""
    return {
        "posts": posts,
        "seconds": round(seconds, 2),
        "posts_per_s": round(posts / seconds, 1),
    }
