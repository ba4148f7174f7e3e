"""postbias: score gender bias in social-media posts with a small, checked student."""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["__version__"]
