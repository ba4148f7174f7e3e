"""The demo corpus: synthetic illustrated posts with a planted truth.

`write_demo` writes a raw export with recorded teacher answers; `build_demo_data` also imports it,
as a user's own posts would be; `best_answers` says what no model could better.
"""

from __future__ import annotations

from postbias.demo.build import build_demo_data
from postbias.demo.ground_truth import best_answers
from postbias.demo.raw_export import DemoSummary, write_demo

__all__ = ["DemoSummary", "best_answers", "build_demo_data", "write_demo"]
