"""Everything that turns sampled posts into labels: the rubric, the requests to an OpenAI-compatible
endpoint with their rate limits, retries and budget, the store of paid replies, the validation of
replies, labels recorded in a file, and the label report. Code that trains or evaluates on labels
belongs in `postbias.student` and `postbias.evaluation`.
"""
