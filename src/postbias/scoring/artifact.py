"""Read and write an artifact: the folder of one trained student.

`student.json` describes the student and lists all other files with size and SHA-256: the graphs in
`onnx/` and their quantized versions in `onnx/int8/`, `tokenizer.json`, and `weights.safetensors`
for further training.
"""

# Ships inside the registered model: standard library only.

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

# Name of the folder of the champion, which a student that fails the gate leaves missing.
_CHAMPION = "champion"
_REJECTED = (
    'if `dvc repro` ended with "no champion", the best student failed the gate: see '
    "reports/evaluate.json"
)


@dataclass(frozen=True)
class Artifact:
    """The folder of a student whose files exist and have the sizes in the manifest.

    Attributes:
        folder: The folder.
        manifest: Content of `student.json`.
        manifest_sha256: SHA-256 of `student.json` as it was read.
    """

    folder: Path
    manifest: Manifest
    manifest_sha256: str

    @classmethod
    def open(cls, folder: Path) -> Artifact:
        """Open a folder and check that it is complete.

        Contents are hashed by `digest` and `read`, not here.

        Args:
            folder: A folder written by `write_artifact`.

        Raises:
            ArtifactError: If the folder is not an artifact, or a file is missing or has the wrong
                size.
        """
        try:
            data = (folder / MANIFEST).read_bytes()
            text = data.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            is_champion = folder.name == _CHAMPION
            raise ArtifactError(
                f"{'no champion: ' if is_champion else ''}no student in {folder}: "
                f"{MANIFEST} cannot be read",
                do=f"{REMAKE}; {_REJECTED}" if is_champion else REMAKE,
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
        """SHA-256 over the sorted (relative path, SHA-256) pairs of the files.

        Returns:
            64 hexadecimal digits.

        Raises:
            ArtifactError: If the content of a file differs from the manifest.
        """
        hashes = {name: _sha256(self.folder / name) for name in self.manifest.files}
        for name, seen in hashes.items():
            self._check_hash(name, seen)
        hashes[MANIFEST] = self.manifest_sha256
        text = json.dumps(sorted(hashes.items()), separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def lineage(self) -> dict[str, str]:
        """Digests to tag a run with: its own, and that of the full student it learned from."""
        source = self.manifest.distilled_from
        known = {"artifact": self.digest}
        return known if source is None else known | {"distilled_from": source.digest}

    def read(self, name: str) -> bytes:
        """Read a file and check its content against the manifest.

        Args:
            name: Relative path, as listed in the manifest.

        Raises:
            ArtifactError: If the file is missing or damaged.
        """
        try:
            data = (self.folder / name).read_bytes()
        except OSError as error:
            raise ArtifactError(f"cannot read {self.folder / name}", do=REMAKE) from error
        self._check_hash(name, hashlib.sha256(data).hexdigest())
        return data

    def size_bytes(self, precision: Precision) -> int:
        """Return the total size of the graphs, the tokenizer and the manifest."""
        files = self.manifest.files
        listed = sum(files[name].size for name in self.manifest.runtime_files(precision))
        return listed + (self.folder / MANIFEST).stat().st_size

    def _check_hash(self, name: str, seen: str) -> None:
        if seen != self.manifest.files[name].sha256:
            raise ArtifactError(f"student in {self.folder} is damaged: {name}", do=REMAKE)


def write_artifact(folder: Path, manifest: Manifest) -> Artifact:
    """Write `student.json` into the folder of a student, which makes it an artifact.

    Call it again with a changed manifest to update the artifact, for example its intervals.

    Args:
        folder: The folder with graphs, weights and tokenizer.
        manifest: The manifest; `files` is computed from the folder.

    Returns:
        The opened artifact.

    Raises:
        ArtifactError: If a file that the manifest requires is missing.
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
