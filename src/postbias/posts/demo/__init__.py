"""The demo corpus: synthetic illustrated posts with a planted truth.

`write_demo` writes a raw export with recorded teacher answers; `build_demo_data` also imports it,
as a user's own posts would be; `ceilings` says how well any model could do on it.
"""

from __future__ import annotations

from postbias.posts.demo.build import build_demo_data
from postbias.posts.demo.export import DemoSummary, write_demo
from postbias.posts.demo.truth import ceilings

__all__ = ["DemoSummary", "build_demo_data", "ceilings", "write_demo"]
