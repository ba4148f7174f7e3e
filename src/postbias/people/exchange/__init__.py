"""Exchange of posts to rate, and of ratings, with tools that people already use, through files.

One module per tool; what they share is in `tool_formats` and `tool_answers`.
"""
