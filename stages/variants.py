"""variants: label some posts again with variants of the teacher.

Reads build/sample/corpus, build/labels.parquet, rubrics/ and ratings/; writes
build/variants.parquet and reports/variants.json; params: seed, variants and annotate.
"""

from __future__ import annotations

from postbias.teacher.variant_labels import label_variants
from postbias.tracking.runs import stage_run


def main() -> None:
    """Run the stage."""
    with stage_run("variants") as run:
        report = label_variants(run.paths, run.params)
        run.log_metrics({f"{name}.labelled": float(v["labelled"]) for name, v in report.items()})


if __name__ == "__main__":
    main()
