"""Exchange of posts to rate and of ratings with tools that people already use, through files."""
