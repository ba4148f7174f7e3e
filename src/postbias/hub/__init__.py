"""Exchange with the Hugging Face Hub: publish students and scores, and download students.

Anything that talks to the hub belongs here, through `huggingface_hub` (extra `hub`). Files are
checked against the digests in `student.json`, and nothing that a hub repository contains is
executed or unpickled. Access tokens come from the environment variable `HF_TOKEN` only.
"""
