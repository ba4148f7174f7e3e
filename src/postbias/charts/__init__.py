"""Charts as Altair specifications: pure functions from rows to charts, and their rendering.

Belongs here: every chart of the report, the MLflow runs and DVC's plots, written once. The report
inlines them as SVG, MLflow runs store them as PNG, and the templates in `.dvc/plots` are generated
from them by `python docs/plots.py templates`.
"""
