"""Limits of what a browser may send to the page."""

from __future__ import annotations

#: All files of one upload together: 20,000 images from a phone are larger, posts rarely are.
MAX_UPLOAD_BYTES = 2 * 2**30
#: Files of one upload; a folder with more is sent as a ZIP file.
MAX_UPLOAD_FILES = 5_000
#: Posts of one upload; `postbias score` has no limit.
MAX_UPLOAD_POSTS = 500_000
#: Body of a request other than an upload: ten images of a phone as base64 text.
MAX_REQUEST_BYTES = 96 * 2**20
#: Images of one post on the page.
MAX_TRY_IMAGES = 10
#: Address space of the process that reads an upload, so that no file can fill the memory.
MAX_READER_BYTES = 12 * 2**30
#: Rows of an Excel file that the page writes; Excel itself ends at 1,048,576.
MAX_EXCEL_ROWS = 200_000
