"""Who answers: the provider by host, in the ids of `genai-prices`."""

from __future__ import annotations

import ipaddress
import re

_HOSTS: tuple[tuple[str, str], ...] = (
    ("api.openai.com", "openai"),
    ("openai.azure.com", "azure"),
    ("cognitiveservices.azure.com", "azure"),
    ("services.ai.azure.com", "azure"),
    ("models.ai.azure.com", "azure"),
    ("api.anthropic.com", "anthropic"),
    ("googleapis.com", "google"),
    ("amazonaws.com", "aws"),
    ("api.mistral.ai", "mistral"),
    ("api.groq.com", "groq"),
    ("api.deepseek.com", "deepseek"),
    ("openrouter.ai", "openrouter"),
    ("api.together.xyz", "together"),
    ("api.together.ai", "together"),
    ("api.fireworks.ai", "fireworks"),
    ("api.cerebras.ai", "cerebras"),
    ("api.x.ai", "x-ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.cohere.ai", "cohere"),
    ("api.cohere.com", "cohere"),
    ("api.moonshot.ai", "moonshotai"),
    ("api.moonshot.cn", "moonshotai"),
    ("api.z.ai", "zai"),
    ("open.bigmodel.cn", "zhipuai"),
    ("api.githubcopilot.com", "github-copilot"),
    ("api.voyageai.com", "voyageai"),
    ("inference.baseten.co", "baseten"),
    ("cloud.databricks.com", "databricks"),
    ("azuredatabricks.net", "databricks"),
    ("api.novita.ai", "novita"),
    ("api.cloudflare.com", "cloudflare"),
)
_HUGGINGFACE = re.compile(r"^/(hf-inference|[a-z-]+)/")


def provider_of(host: str, path: str = "") -> str | None:
    """The provider's id; `local` for this machine and its network; None for a host that is not known.

    >>> provider_of("api.groq.com"), provider_of("eu.openai.azure.com"), provider_of("127.0.0.1")
    ('groq', 'azure', 'local')
    """
    host = host.lower().rstrip(".")
    for known, provider in _HOSTS:
        if host == known or host.endswith("." + known):
            return provider
    if host == "router.huggingface.co":
        found = _HUGGINGFACE.match(path)
        return f"huggingface_{found[1]}" if found and found[1] != "v" else "huggingface"
    if (
        host == "localhost"
        or host.endswith((".localhost", ".local", ".internal"))
        or not ("." in host or ":" in host)
    ):
        return "local"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return "local" if address.is_private or address.is_loopback or address.is_link_local else None
