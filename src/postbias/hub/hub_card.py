"""The `README.md` of a published student: the model card, with metadata that the hub reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from postbias.hub.hub_access import HubReference

if TYPE_CHECKING:
    from postbias.scoring.manifest import Manifest

Json = dict[str, Any]

#: By name in `reports/evaluate.json`: metric id on the hub, and its title there.
_METRICS = {
    "mae": ("mae", "Mean absolute error (points)"),
    "r2": ("r_squared", "R²"),
    "spearman": ("spearmanr", "Spearman correlation"),
    "qwk": ("quadratic_weighted_kappa", "Quadratic weighted kappa of the bands"),
    "auc_high": ("roc_auc", "AUC of high labels"),
}
_USAGE = """
## Usage

```console
pip install 'postbias[hub]'
postbias score posts.csv scores.csv --model {reference}
```

```python
import postbias

model = postbias.load("{reference}")
model.score({{"caption": "She leads the team.", "images": ["photo.jpg"]}}).scores["{axis}"]
```
"""


def render_hub_card(
    card: str,
    manifest: Manifest,
    tested: Json,
    *,
    reference: HubReference,
    languages: list[str],
    licence: str | None,
) -> str:
    """Render the model card of the report for the hub.

    Args:
        card: The model card, in Markdown.
        manifest: The manifest of the student.
        tested: Its metrics on the test fold: by axis, by metric, `value` with `lo` and `hi`.
        reference: The repository that the student goes to.
        languages: ISO codes of the languages of the labelled posts.
        licence: Id of the licence of the student; None if it was not given.

    Returns:
        Markdown with a YAML header.
    """
    from huggingface_hub import EvalResult, ModelCardData

    name = reference.repo.partition("/")[2]
    results = [
        EvalResult(
            task_type="regression",
            task_name=f"Score of {axis}",
            dataset_type="private",
            dataset_name="Test fold of the labelled posts",
            dataset_split="test",
            metric_type=metric,
            metric_name=f"{title}, 95% interval {found['lo']:.3g} to {found['hi']:.3g}",
            metric_value=found["value"],
        )
        for axis, metrics in tested.items()
        for key, (metric, title) in _METRICS.items()
        if (found := metrics.get(key)) and found["value"] is not None
    ]
    data = ModelCardData(
        model_name=name,
        eval_results=results or None,
        language=languages or None,
        license=licence,
        library_name="postbias",
        base_model=_base_models(manifest) or None,
        tags=["gender-bias", "social-media", "onnx", "regression", f"rubric:{manifest.rubric}"],
    )
    body, _, _ = card.partition("\n## Usage")
    usage = _USAGE.format(reference=f"hf://{reference.repo}", axis=manifest.axes[0].name)
    return f"---\n{data.to_yaml()}\n---\n\n{body.strip()}\n{usage}"


def _base_models(manifest: Manifest) -> list[str]:
    """List the encoders that are models on the hub, not folders or encoders without weights."""
    names = [manifest.text_encoder or "", manifest.image_encoder or ""]
    return [name for name in names if name.count("/") == 1 and not name.startswith((".", "/"))]
