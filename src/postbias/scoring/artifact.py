"""The artifact: one trained student in a folder, complete and torch-free to run.

`student.json` says what the student is and lists every other file with its size and sha256;
`onnx/` holds the graphs (`onnx/int8/` their quantized forms), `tokenizer.json` the tokenizer,
`weights.safetensors` what further training needs. No pickle anywhere. Knows nothing of posts and
runs nothing: see `postbias.scoring.scorer`. Shipped inside the registered model, so it imports
the standard library only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from postbias.errors import ArtifactError
from postbias.scoring.manifest import MANIFEST, REMAKE, FileRecord, Manifest, Precision


@dataclass(frozen=True)
class Artifact:
    """A student's folder whose files are all there, with the sizes that the manifest records.

    Attributes:
        folder: Where it lies.
        manifest: What its `student.json` says.
        manifest_sha256: Of the `student.json` that was read.
    """

    folder: Path
    manifest: Manifest
    manifest_sha256: str

    @classmethod
    def open(cls, folder: Path) -> Artifact:
        """Open a folder and check that it is complete.

        Args:
            folder: A folder as written by `write_artifact`.

        Returns:
            The artifact; contents are hashed by `digest` and `read`, not here.

        Raises:
            ArtifactError: If it is no artifact, or a file is missing or has another size.
        """
        try:
            data = (folder / MANIFEST).read_bytes()
            text = data.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(
                f"no student in {folder}: {MANIFEST} cannot be read", do=REMAKE
            ) from error
        manifest = Manifest.from_json(text)
        for name in sorted({*manifest.required_files(), *manifest.files}):
            path, record = folder / name, manifest.files.get(name)
            size = path.stat().st_size if path.is_file() else None
            if record is None or size != record.size:
                raise ArtifactError(
                    f"student in {folder} is incomplete: {name}",
                    seen="no such file" if size is None else f"{size} bytes",
                    allowed="unlisted" if record is None else f"{record.size} bytes",
                    do=REMAKE,
                )
        return cls(folder, manifest, hashlib.sha256(data).hexdigest())

    @cached_property
    def digest(self) -> str:
        """The sha256 over the sorted (relative path, sha256) of its files.

        Returns:
            64 hexadecimal digits.

        Raises:
            ArtifactError: If a file's content is not what the manifest records.
        """
        hashes = {name: _sha256(self.folder / name) for name in self.manifest.files}
        for name, seen in hashes.items():
            self._check_hash(name, seen)
        hashes[MANIFEST] = self.manifest_sha256
        text = json.dumps(sorted(hashes.items()), separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def read(self, name: str) -> bytes:
        """Read a file and check that its content is what the manifest records.

        Args:
            name: Its path relative to the folder, as listed in the manifest.

        Returns:
            Its bytes.

        Raises:
            ArtifactError: If it is gone or damaged.
        """
        try:
            data = (self.folder / name).read_bytes()
        except OSError as error:
            raise ArtifactError(f"cannot read {self.folder / name}", do=REMAKE) from error
        self._check_hash(name, hashlib.sha256(data).hexdigest())
        return data

    def size_bytes(self, precision: Precision) -> int:
        """Add up what scoring in a precision has to load.

        Args:
            precision: `int8` or `fp32`.

        Returns:
            Bytes of the graphs, the tokenizer and the manifest.
        """
        files = self.manifest.files
        listed = sum(files[name].size for name in self.manifest.runtime_files(precision))
        return listed + (self.folder / MANIFEST).stat().st_size

    def _check_hash(self, name: str, seen: str) -> None:
        if seen != self.manifest.files[name].sha256:
            raise ArtifactError(f"student in {self.folder} is damaged: {name}", do=REMAKE)


def write_artifact(folder: Path, manifest: Manifest) -> Artifact:
    """Make a folder that holds the student's files an artifact by writing its `student.json`.

    Call it again with another manifest to change what the artifact says (intervals, for example);
    `files` is made anew from what lies in the folder each time.

    Args:
        folder: The folder with graphs, weights and tokenizer in place.
        manifest: What to say; its `files` are ignored.

    Returns:
        The opened artifact.

    Raises:
        ArtifactError: If a file that the manifest implies is missing.
    """
    files = {}
    for name in manifest.required_files():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"cannot write {MANIFEST}: {path} is missing")
        files[name] = FileRecord(path.stat().st_size, _sha256(path))
    manifest = dataclasses.replace(manifest, files=files)
    manifest.check()
    temporary = folder / f".{MANIFEST}.{os.getpid()}.tmp"
    temporary.write_text(manifest.to_json(), encoding="utf-8")
    temporary.replace(folder / MANIFEST)
    return Artifact.open(folder)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"cannot read {path}", do=REMAKE) from error
