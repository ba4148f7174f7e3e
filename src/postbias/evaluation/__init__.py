"""Evidence: metrics, baselines, intervals, evaluation."""
