"""Label posts by a rubric, using a vision-language model behind an endpoint or a file of labels.

The rubric, requests to an OpenAI-compatible endpoint with their rate limits, retries and budget,
the store of paid replies, the validation of replies, and the label table and report belong here.
"""
