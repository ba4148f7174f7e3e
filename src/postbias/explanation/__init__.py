"""Explanations of scores: the words and image regions that moved the score of a post.

They describe the student, not the world: a word that moves a score is one that the student reacts
to. Nothing here needs torch.
"""
