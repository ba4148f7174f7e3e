"""Preparation of posts for labelling, training and scoring.

Table schemas and Parquet shards, the image decoder, importers for raw exports, sampling of the
posts to label, near-duplicate detection, and the assignment of labelled posts to folds.
"""
