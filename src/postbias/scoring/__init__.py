"""Scoring with a trained student: its artifact, the scorer, bulk scoring, Ray, REST and drift.

Bulk scoring needs the core dependencies only. Ray needs the extra `cluster`, the served model needs
MLflow.
"""
