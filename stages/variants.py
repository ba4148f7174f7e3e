"""variants: label some posts again with variants of the teacher.

Reads build/sample/corpus, build/labels.parquet, rubrics/ and ratings/; writes
build/variants.parquet and reports/variants.json; params: seed, variants and annotate.
"""

from __future__ import annotations

from postbias.teacher.variant_labels import collect_variant_metrics, label_variants
from postbias.tracking.runs import stage_run


def main() -> None:
    """Run the stage."""
    with stage_run("variants") as run:
        report = label_variants(run.paths, run.params)
        run.log_metrics(collect_variant_metrics(report))


if __name__ == "__main__":
    main()
