"""Label some posts again with variants of the teacher: other models, reworded rubrics.

Conclusions that depend on the model or the wording of the prompt are an artefact of that choice
(Baumann et al., "Large Language Model Hacking", arXiv 2509.08825). Replies go to the same store and
count toward the same cost cap as all others.
"""

from __future__ import annotations

import logging
from hashlib import blake2b
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from postbias.errors import ParamsError, RubricError
from postbias.json_files import write_json
from postbias.params import Params, VariantTeacher
from postbias.paths import Paths
from postbias.posts.schema import labels_schema, variants_schema
from postbias.posts.shards import read_table, write_table
from postbias.teacher.labels import OK, SampleLabels, count_reasons, labels_table
from postbias.teacher.rubric import Rubric, load_rubric
from postbias.teacher.teachers import read_labels, request_labels

logger = logging.getLogger(__name__)

Json = dict[str, Any]


def label_variants(paths: Paths, params: Params) -> Json:
    """Run the stage: write `build/variants.parquet` and `reports/variants.json`.

    Args:
        paths: The repository, after the stage annotate.
        params: `seed` and the groups `variants` and `annotate`.

    Returns:
        The content of the report: for each variant its rubric, model, and numbers of labels and
        rejects.

    Raises:
        CorpusError: If there are no posts.
        LabelsError: If recorded labels cannot be read.
        ParamsError: If a variant needs an endpoint and `annotate.teacher` is not one.
        RubricError: If a rubric cannot be used or has other axes.
        SchemaError: If the labels are damaged.
        StorageError: If a file cannot be written.
        TeacherError: If the endpoint cannot answer all requests; replies so far are kept.
    """
    rubric = load_rubric(paths.root / params.annotate.rubric)
    post_ids = choose_posts(paths, rubric, params)
    tables, report = [], {}
    for variant in params.variants.teachers:
        own_rubric = _load_rubric(paths, rubric, variant)
        labels = _label(paths, params, variant, own_rubric, post_ids)
        table = labels_table(labels.labels, post_ids, own_rubric)
        name = pa.array([variant.name] * len(table), pa.string())
        tables.append(table.add_column(0, "variant", name))
        n_ok = int(pc.sum(pc.equal(table["status"], OK)).as_py() or 0)
        report[variant.name] = {
            "rubric": own_rubric.ref,
            "teacher": labels.report.get("name"),
            "posts": len(post_ids),
            "labelled": n_ok,
            "rejected": count_reasons(labels.rejects),
        }
        logger.info("variant %s: %d of %d posts labelled", variant.name, n_ok, len(post_ids))
    schema = variants_schema(rubric.axis_names)
    table = pa.concat_tables(tables) if tables else schema.empty_table()
    write_table(table, paths.variants, schema)
    write_json(paths.reports / "variants.json", report)
    return report


def collect_variant_metrics(report: Json) -> dict[str, float]:
    """Collect the number of labels of each variant, to log."""
    return {f"{name}.labelled": float(variant["labelled"]) for name, variant in report.items()}


def choose_posts(paths: Paths, rubric: Rubric, params: Params) -> list[str]:
    """Choose the posts that variants label: a simple random sample of the labelled posts.

    Returns:
        `variants.n` ids, or all there are, sorted; a larger `n` keeps those of a smaller one.

    Raises:
        SchemaError: If the labels are missing or damaged.
    """
    labels = read_table(paths.labels, labels_schema(rubric.axis_names))
    ids = labels.filter(pc.equal(labels["status"], OK))["post_id"].to_pylist()
    key = str(params.seed).encode()
    ids.sort(key=lambda p: blake2b(p.encode(), key=key, person=b"variants").digest())
    return sorted(ids[: params.variants.n])


def _load_rubric(paths: Paths, main: Rubric, variant: VariantTeacher) -> Rubric:
    if variant.rubric is None:
        return main
    rubric = load_rubric(paths.root / variant.rubric)
    scales, needed = ([(a.name, a.low, a.high) for a in r.axes] for r in (rubric, main))
    if scales != needed:
        raise RubricError(
            f"{variant.rubric}, the rubric of variant {variant.name}, has other axes",
            seen=scales,
            allowed=needed,
            do="give it the axes of annotate.rubric, in the same order and with the same ranges",
        )
    return rubric


def _label(
    paths: Paths, params: Params, variant: VariantTeacher, rubric: Rubric, post_ids: list[str]
) -> SampleLabels:
    if variant.labels is not None:
        return read_labels(paths.sampled_file(variant.labels), rubric, post_ids)
    if params.annotate.teacher != "openai":
        raise ParamsError(
            f"variant {variant.name} needs an endpoint",
            seen=f"annotate.teacher: {params.annotate.teacher}",
            do="set annotate.teacher to openai, or name a file in the variant's labels",
        )
    model = variant.model or params.annotate.endpoint.model
    endpoint = params.annotate.endpoint.model_copy(update={"model": model})
    annotate = params.annotate.model_copy(update={"endpoint": endpoint})
    changed = params.model_copy(update={"annotate": annotate})
    return request_labels(paths, changed, rubric, post_ids)
