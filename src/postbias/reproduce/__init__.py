"""Checks of a setup and of reproducibility: `postbias doctor` and `postbias verify`.

Code that inspects what a run needs, repeats the pipeline in fresh clones or compares the outputs of
two runs belongs here.
"""
