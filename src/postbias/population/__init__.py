"""Estimates for the whole corpus, from the champion's scores and the teacher's labels.

Belongs here: joining scores with labels, corrected means and shares with confidence intervals, the
groups and brands that are compared, and the tables of these numbers. The statistics themselves are
in `postbias.stats`; how the numbers are presented is in `postbias.report`.
"""
