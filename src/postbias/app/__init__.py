"""The pages for people who do not use a terminal, and the local servers behind them.

A server answers this machine only, or whoever has its token; what a page shows comes from the
packages below. Pages are plain files in `static/`, and load nothing from elsewhere.
"""
