"""Erase posts from all working folders of a repository, and search for what remains of them.

`forget` decides what is erased, `erasure` changes single files, `traces` searches them.
"""
