"""Statistics on arrays, without input or output.

Metrics with bootstrap intervals, conformal prediction intervals, prediction-powered estimates of
means and shares, and partial pooling of small groups. Functions take and return NumPy arrays and
small frozen records; they read no files and know no folds, students or reports.
"""
