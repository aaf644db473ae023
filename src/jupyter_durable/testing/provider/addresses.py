"""Where SDKs find a provider: base URLs, and the environment for agents that are not to be changed."""

from __future__ import annotations


class Addresses:
    """The base URLs that follow from `url`."""

    url: str

    @property
    def openai_base(self) -> str:
        """For `openai.OpenAI(base_url=…)`, and whatever is compatible with it."""
        return f"{self.url}/v1"

    @property
    def anthropic_base(self) -> str:
        """For `anthropic.Anthropic(base_url=…)`."""
        return self.url

    @property
    def gemini_base(self) -> str:
        """For `genai.Client(http_options={"base_url": …})`."""
        return self.url

    @property
    def mistral_base(self) -> str:
        """For `mistralai.client.Mistral(server_url=…)`."""
        return self.url

    @property
    def bedrock_base(self) -> str:
        """For `boto3.client("bedrock-runtime", endpoint_url=…)`."""
        return self.url

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make the SDKs use this server, with keys that open nothing.

        `mistralai` reads its key only; it has to be given `server_url`.
        """
        keys = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "MISTRAL_API_KEY")
        return {
            "OPENAI_BASE_URL": self.openai_base,
            "ANTHROPIC_BASE_URL": self.anthropic_base,
            "GOOGLE_GEMINI_BASE_URL": self.gemini_base,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": self.bedrock_base,
            **dict.fromkeys(keys, "fake"),
            "AWS_ACCESS_KEY_ID": "fake",
            "AWS_SECRET_ACCESS_KEY": "fake",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
        }
