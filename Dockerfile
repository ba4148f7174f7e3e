# The scorer: serves the page of `postbias app`, or runs any command that needs a student only.
# See docs/releasing.md. Training and the pipeline are not in this image.
FROM python:3.11-slim AS build

WORKDIR /source
RUN pip install --no-cache-dir "uv>=0.9,<1"
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY src ./src
RUN uv build --wheel --out-dir /wheels \
    && uv venv /opt/postbias \
    && for wheel in /wheels/*.whl; do \
         uv pip install --no-cache --python /opt/postbias/bin/python --constraint requirements.lock \
           "${wheel}[app,hub]"; \
       done

FROM python:3.11-slim

RUN useradd --create-home --uid 10001 postbias
COPY --from=build /opt/postbias /opt/postbias
# The user by number, so that an orchestrator can see that it is not root.
USER 10001
WORKDIR /home/postbias
ENV PATH=/opt/postbias/bin:$PATH PYTHONUNBUFFERED=1

EXPOSE 8766
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8766/api/student', timeout=4)"]
ENTRYPOINT ["postbias"]
CMD ["app", "--public", "--no-browser", "--host", "0.0.0.0", "--port", "8766", "--model", "/model"]
