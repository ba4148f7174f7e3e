"""Compare the model name in a reply with the requested one."""

from __future__ import annotations

import re

_DIRECTION = r"(?:north|south)?(?:north|south|east|west|central)"
_REGION = (
    r"us|eu|uk|apac|asia|europe|global|intl|international|cn|china|jp|au|ca|us-gov"
    rf"|(?:us|eu|ap|sa|ca|me|af|il|cn|mx|asia|europe|us-gov)-{_DIRECTION}-?[0-9]{{0,2}}"
    rf"|{_DIRECTION}(?:us|europe|asia|india)[0-9]?|(?:east|southeast)asia"
    rf"|(?:uk|france|germany|norway|sweden|switzerland|japan|korea|india|canada|australia|brazil"
    rf"|uae|italy|poland|spain|qatar|israel){_DIRECTION}"
)
_HOST = (
    r"azure|bedrock|vertex(?:_?ai)?|openrouter|together(?:_ai)?|fireworks(?:_ai)?|groq|cerebras"
    r"|sambanova|deepinfra|replicate|novita|siliconflow|dashscope|databricks|watsonx|nim"
)
_VENDOR = (
    rf"{_HOST}|openai|anthropic|amazon|google|gemini|meta|mistral(?:ai)?|cohere|ai21|deepseek|qwen"
    r"|alibaba|moonshot(?:ai)?|minimax|nvidia|x-?ai|z-?ai|zhipu(?:ai)?|writer|huggingface|ollama"
    r"|vllm|lmstudio|litellm"
)
_QUANTISATION = (
    r"awq|gptq|gguf|mlx|bnb|exl2|nf4|(?:nv|mx)?fp[48]|fp16|bf16|int[48]|[248]-?bit|w[0-9]+a[0-9]+"
    r"|i?q[0-9](?:_[0-9a-z]{1,2})*|dynamic|quantized"
)
#: Dates and revisions: `2024-08-06`, `20240806`, `08-2024`, `05-20`, `0613`, `001`, `v2:0`.
_SNAPSHOT = (
    r"20[0-9]{2}-[0-9]{2}-[0-9]{2}|20[0-9]{6}|[0-9]{2}-20[0-9]{2}|[0-9]{2}-[0-9]{2}|[0-9]{6}"
    r"|[0-9]{4}|00[0-9]|v[0-9]+:[0-9]+"
)
_SUFFIX = re.compile(
    rf"(?:[-_:@.](?:(?P<snapshot>{_SNAPSHOT})|{_REGION}|{_HOST}|{_QUANTISATION}|latest|default)"
    r"|:(?:free|nitro|floor|beta|extended|exacto)|@(?:main|master|[0-9a-f]{7,40}))$"
)
_PREFIX = re.compile(rf"(?:{_REGION}|{_VENDOR})[.:]")


def is_same_model(requested: str, returned: str) -> bool:
    """Check whether two names denote the same model.

    Endpoints add a vendor, a region, a date, a service tier or a quantisation: `gpt-4o` replies as
    `gpt-4o-2024-08-06`. Any other difference is another product: `gpt-4o-mini`, a size, a variant.

    Args:
        requested: The name in the request; if it has a date, a reply with another date is refused.
        returned: The name in the reply.

    Returns:
        Whether the names differ in such additions only.
    """
    (product, snapshots), (other_product, other_snapshots) = _split(requested), _split(returned)
    is_same_snapshot = not snapshots or not other_snapshots or snapshots == other_snapshots
    return product == other_product and is_same_snapshot


def is_sibling_model(requested: str, returned: str) -> bool:
    """Check whether names denote different products of one family, as `gpt-4o` and `gpt-4o-mini`.

    Names of different families may be an alias, such as a deployment's name, and its model.
    """
    (product, _), (other_product, _) = _split(requested), _split(returned)
    family, other_family = (re.split(r"[-_:.]", name)[0] for name in (product, other_product))
    return product != other_product and family == other_family


def _split(name: str) -> tuple[str, tuple[str, ...]]:
    """Split a name into product and snapshots, without the other additions."""
    product = name.strip().casefold().rstrip("/").rsplit("/", 1)[-1]
    while match := _PREFIX.match(product):
        product = product[match.end() :]
    snapshots: list[str] = []
    while match := _SUFFIX.search(product):
        product = product[: match.start()]
        if match["snapshot"]:
            snapshots.append(match["snapshot"])
            product = product.removesuffix("-preview")
    return product, tuple(snapshots)
