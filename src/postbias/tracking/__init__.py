"""MLflow: runs, the model registry, and keeping both in sync with DVC.

Code that logs to MLflow, reads DVC's records of a stage, packages a student as an MLflow model or
moves the alias `champion` belongs here. Everything under `mlruns/` can be rebuilt from `dvc.lock`
and the files it records, so no DVC output holds a run id or a version number: runs and model
versions carry content digests instead.
"""
