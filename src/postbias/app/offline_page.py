"""A folder of static files that scores captions in a browser, without a server or a network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from postbias.axes import BAND_NAMES, Axis
from postbias.errors import InputError
from postbias.scoring.artifact import Artifact
from postbias.scoring.manifest import TOKENIZER, Manifest

_STATIC = Path(__file__).with_name("static") / "offline"
_GROUP = "text"

#: What the page runs with, by path below `node_modules`.
RUNTIME = (
    "onnxruntime-web/dist/ort.wasm.min.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
    "@huggingface/tokenizers/dist/tokenizers.min.mjs",
)
_INSTALL = "run `npm install --prefix DIR onnxruntime-web @huggingface/tokenizers`, and name DIR"


def write_offline_page(artifact: Artifact, folder: Path, runtime: Path) -> int:
    """Write the page.

    Args:
        artifact: A student that reads captions.
        folder: The folder to create.
        runtime: Folder in which npm installed `onnxruntime-web` and `@huggingface/tokenizers`.

    Returns:
        The size of all files in bytes.

    Raises:
        ArtifactError: If the student is damaged.
        InputError: If the student does not read captions, the folder is not empty, or files of the
            runtime are missing.
    """
    manifest = artifact.manifest
    if not manifest.has_text or manifest.ocr is not None:
        raise InputError(
            "the page scores captions, for which this student is not made",
            seen=f"a student for {manifest.modality}"
            + (" and text inside images" if manifest.ocr else ""),
            allowed="a text or fusion student",
        )
    if folder.exists() and any(folder.iterdir()):
        raise InputError("the folder for the page is not empty", seen=str(folder))
    sources = [runtime / "node_modules" / name for name in RUNTIME]
    if missing := [str(path) for path in sources if not path.is_file()]:
        raise InputError("files of the runtime are missing", seen=missing[0], do=_INSTALL)
    files = {"tokenizer.json": TOKENIZER} | {
        f"{graph}.onnx": _graph_file(manifest, graph) for graph in ("text", "head")
    }
    contents = {name: artifact.read(source) for name, source in files.items()}
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(_STATIC, folder, dirs_exist_ok=True)
    for source in sources:
        shutil.copyfile(source, folder / source.name)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    described = json.dumps(_describe(artifact, contents["head.onnx"]), indent=1)
    (folder / "student.json").write_text(described, encoding="utf-8")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _graph_file(manifest: Manifest, graph: str) -> str:
    ships = manifest.precision[graph].ships if graph in manifest.precision else "fp32"
    return f"onnx/{'int8/' if ships == 'int8' else ''}{graph}.onnx"


def _describe(artifact: Artifact, head: bytes) -> dict[str, Any]:
    """Describe what the page needs to know, so that it computes nothing of its own."""
    manifest = artifact.manifest
    main = manifest.axes[0]
    intervals = {
        axis: {"lo": groups[_GROUP].lo, "hi": groups[_GROUP].hi}
        for axis, groups in manifest.intervals.items()
        if _GROUP in groups
    }
    by_language = manifest.language_intervals.values()
    return {
        "digest": artifact.digest,
        "rubric": manifest.rubric,
        "max_tokens": manifest.max_tokens,
        "image_size": _image_width(head),
        "axes": [{"name": a.name, "low": a.low, "high": a.high} for a in manifest.axes],
        "intervals": intervals,
        # The page does not identify languages.
        "has_other_intervals": any(_GROUP in groups for groups in by_language),
        "bands": _list_bands(main),
    }


def _list_bands(axis: Axis) -> list[dict[str, Any]]:
    bounds: list[float | None] = [*axis.band_thresholds, None]
    return [{"name": n, "below": below} for n, below in zip(BAND_NAMES, bounds, strict=True)]


def _image_width(head: bytes) -> int:
    """Return the length of an image embedding; 0 if the head has none."""
    import onnxruntime as ort

    inputs = ort.InferenceSession(head, providers=["CPUExecutionProvider"]).get_inputs()
    widths = [each.shape[-1] for each in inputs if each.name == "image"]
    return int(widths[0]) if widths else 0
