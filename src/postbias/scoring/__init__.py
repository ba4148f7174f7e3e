"""Scoring with a trained student: its artifact, the scorer, bulk scoring, Ray, REST and drift.

Runs on ONNX Runtime with the core dependencies alone: code that needs torch, a DVC repository or an
evaluation belongs elsewhere.
"""
