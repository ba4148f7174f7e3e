"""The demo corpus: a generator of synthetic posts with known ground truth.

It draws cues for every post, writes captions and images that show them, simulates a teacher's
labels, and exports and imports the result. Not part of the wheel.
"""
