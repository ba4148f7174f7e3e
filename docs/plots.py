"""Render DVC's plots as one offline page, dvc_plots/index.html.

python docs/plots.py                   the plots of the workspace
python docs/plots.py diff REV [REV]    compared with other revisions or experiments
python docs/plots.py templates         regenerate .dvc/plots from postbias.charts

DVC's own page loads Vega from a CDN; this one embeds it from the package vl-convert-python.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import vl_convert

# The content security policy allows the embedded scripts and no requests.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data: blob:;
 script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'">
<title>postbias: plots</title>
{refresh_tag}
<style>
body { font-family: system-ui, sans-serif; margin: 2rem; }
body > div { margin-bottom: 2.5rem; }
</style>
<script>
VEGA
{ const embed = window.vegaEmbed;
  const actions = { export: true, source: true, compiled: false, editor: false };
  // The templates name an older Vega-Lite, for DVC's own page; what they say is the same here.
  window.vegaEmbed = (place, { $schema, ...spec }) =>
    embed(place, spec, { actions, mode: "vega-lite" }); }
</script>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def page_template() -> str:
    """Make the template of a page that has vega, vega-lite and vega-embed inside."""
    # In a script element these two begin something else, also inside a string.
    bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub is wrong
    bundle = bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    return _PAGE.replace("VEGA", bundle)


def write_templates() -> None:
    """Write every template of .dvc/plots."""
    from postbias.charts.chart_rendering import DVC_TEMPLATES, dvc_template

    folder = Path(__file__).resolve().parents[1] / ".dvc" / "plots"
    for name in DVC_TEMPLATES:
        (folder / f"{name}.json").write_text(dvc_template(name), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Let DVC render the page, or regenerate the templates.

    Args:
        arguments: Arguments of `dvc plots`, `show` if empty; or `templates`.

    Returns:
        DVC's exit code.
    """
    if arguments == ["templates"]:
        write_templates()
        return 0
    command = arguments or ["show"]
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder, "page.html")
        template.write_text(page_template(), encoding="utf-8")
        dvc = [sys.executable, "-m", "dvc", "plots", *command, "--html-template", str(template)]
        done = subprocess.run(dvc, check=False, stdout=subprocess.PIPE, text=True)  # noqa: S603 - no shell
    print(done.stdout, end="")
    for line in done.stdout.splitlines():
        if line.startswith("file://"):
            _escape(Path(url2pathname(urlsplit(line).path)))
    return done.returncode


def _escape(page: Path) -> None:
    """Keep a post's id or author from ending the script that it stands in: DVC writes it as is."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^ *var spec = .*$", lambda spec: spec[0].replace("<", "\\u003c"), text)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
