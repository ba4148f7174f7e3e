"""Evaluation of trained students on labelled folds.

Metrics of students beside baselines, diagnostics (slices, interval coverage, modality ablation,
counterfactual word swaps, teacher noise), the gate that a student must pass to be promoted, the
comparison of champion and challenger, the learning curve, and the JSON, CSV and tables made from
them.
"""
