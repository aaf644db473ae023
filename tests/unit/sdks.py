"""The same small agent in the plain SDK of every provider, for tests that have to do with what is on the wire.

    for sdk in SDKS: sdk.available(); sdk.agent(provider); sdk.stream(provider) ...

The agent asks "What is a lease?", makes the tool calls it is asked for (`TOOLS`) and returns the final text.
Clients retry as their SDK does, but at once.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

from pydantic import BaseModel

from jupyter_durable.testing.provider.addresses import Addresses

QUESTION = "What is a lease?"


class City(BaseModel):
    """What structured output is asked for."""

    name: str
    people: int


def search(q: str) -> str:
    """Search."""
    return f"found {q}"


def add(a: int, b: int) -> str:
    """Add."""
    return str(a + b)


TOOLS = {"search": search, "add": add}
SCHEMAS: dict[str, dict[str, Any]] = {
    "search": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
    "add": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}


def run(name: str, arguments: Any) -> str:
    """What the tool says; `arguments` as JSON or parsed."""
    return TOOLS[name](**(json.loads(arguments) if isinstance(arguments, str) else arguments))  # type: ignore[operator]


class Sdk:
    """What one SDK can do. `has_async` says whether it has async clients."""

    name: str
    module: str
    has_async = True

    def available(self) -> bool:
        try:
            importlib.import_module(self.module)
        except ImportError:
            return False
        return True

    def agent(self, provider: Addresses) -> str:
        raise NotImplementedError

    async def agent_async(self, provider: Addresses) -> str:
        raise NotImplementedError

    def stream(self, provider: Addresses) -> Iterator[str]:
        raise NotImplementedError

    def stream_async(self, provider: Addresses) -> AsyncIterator[str]:
        raise NotImplementedError

    def structured(self, provider: Addresses) -> City:
        raise NotImplementedError

    def tokens(self, provider: Addresses) -> tuple[int, int, int]:
        """Input (in all), output (in all) and cached tokens, as the SDK says them."""
        raise NotImplementedError

    def errors(self) -> tuple[type[BaseException], ...]:
        """What a broken connection raises in this SDK."""
        raise NotImplementedError

    def refusal(self) -> type[BaseException]:
        """What an error status raises."""
        raise NotImplementedError


class OpenAIChat(Sdk):
    """`openai`, Chat Completions."""

    name, module = "openai.chat", "openai"
    tools: ClassVar[list[dict[str, Any]]] = [
        {"type": "function", "function": {"name": name, "parameters": schema}}
        for name, schema in SCHEMAS.items()
    ]

    def client(self, provider: Addresses, kind: str = "OpenAI") -> Any:
        import openai

        return getattr(openai, kind)(base_url=provider.openai_base, api_key="k", max_retries=3)

    def say(self, history: list[Any]) -> dict[str, Any]:
        return {"model": "gpt-fake", "messages": history, "tools": self.tools}

    def went_on(self, history: list[Any], said: Any) -> bool:
        message = said.choices[0].message
        history.append(message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"}))
        history += [
            {
                "role": "tool",
                "tool_call_id": call.id,
                "content": run(call.function.name, call.function.arguments),
            }
            for call in message.tool_calls or ()
        ]
        return bool(message.tool_calls)

    def agent(self, provider: Addresses) -> str:
        history: list[Any] = [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": QUESTION},
        ]
        with self.client(provider) as client:
            while self.went_on(history, said := client.chat.completions.create(**self.say(history))):
                pass
        return said.choices[0].message.content

    async def agent_async(self, provider: Addresses) -> str:
        history: list[Any] = [{"role": "user", "content": QUESTION}]
        async with self.client(provider, "AsyncOpenAI") as client:
            while self.went_on(history, said := await client.chat.completions.create(**self.say(history))):
                pass
        return said.choices[0].message.content

    def stream(self, provider: Addresses) -> Iterator[str]:
        history = [{"role": "user", "content": QUESTION}]
        with self.client(provider) as client:
            for chunk in client.chat.completions.create(model="gpt-fake", messages=history, stream=True):
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content

    async def stream_async(self, provider: Addresses) -> AsyncIterator[str]:
        history = [{"role": "user", "content": QUESTION}]
        async with self.client(provider, "AsyncOpenAI") as client:
            async for chunk in await client.chat.completions.create(
                model="gpt-fake", messages=history, stream=True
            ):
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content

    def structured(self, provider: Addresses) -> City:
        with self.client(provider) as client:
            said = client.chat.completions.parse(
                model="gpt-fake", messages=[{"role": "user", "content": QUESTION}], response_format=City
            )
        return said.choices[0].message.parsed

    def tokens(self, provider: Addresses) -> tuple[int, int, int]:
        with self.client(provider) as client:
            stream = client.chat.completions.create(
                model="gpt-fake",
                messages=[{"role": "user", "content": QUESTION}],
                stream=True,
                stream_options={"include_usage": True},
            )
            spent = [chunk.usage for chunk in stream][-1]
        return spent.prompt_tokens, spent.completion_tokens, spent.prompt_tokens_details.cached_tokens

    def errors(self) -> tuple[type[BaseException], ...]:
        import openai

        return (openai.APIConnectionError,)

    def refusal(self) -> type[BaseException]:
        import openai

        return openai.APIStatusError


class OpenAIResponses(OpenAIChat):
    """`openai`, Responses."""

    name = "openai.responses"
    tools: ClassVar[list[dict[str, Any]]] = [
        {"type": "function", "name": name, "parameters": schema} for name, schema in SCHEMAS.items()
    ]

    def say(self, history: list[Any]) -> dict[str, Any]:
        return {"model": "gpt-fake", "input": history, "tools": self.tools, "instructions": "Be brief"}

    def went_on(self, history: list[Any], said: Any) -> bool:
        calls = 0
        for item in said.output:
            history.append(item.to_dict())
            if item.type == "function_call":  # each result right behind its call
                calls += 1
                output = run(item.name, item.arguments)
                history.append({"type": "function_call_output", "call_id": item.call_id, "output": output})
        return bool(calls)

    def agent(self, provider: Addresses) -> str:
        history: list[Any] = [{"role": "user", "content": QUESTION}]
        with self.client(provider) as client:
            while self.went_on(history, said := client.responses.create(**self.say(history))):
                pass
        return said.output_text

    async def agent_async(self, provider: Addresses) -> str:
        # The way that leaves the conversation with the provider.
        before, new = None, [{"role": "user", "content": QUESTION}]
        async with self.client(provider, "AsyncOpenAI") as client:
            while True:
                said = await client.responses.create(
                    model="gpt-fake", input=new, tools=self.tools, previous_response_id=before
                )
                calls = [item for item in said.output if item.type == "function_call"]
                if not calls:
                    return said.output_text
                before = said.id
                new = [
                    {
                        "type": "function_call_output",
                        "call_id": call.call_id,
                        "output": run(call.name, call.arguments),
                    }
                    for call in calls
                ]

    def stream(self, provider: Addresses) -> Iterator[str]:
        with self.client(provider) as client:
            for event in client.responses.create(model="gpt-fake", input=QUESTION, stream=True):
                if event.type == "response.output_text.delta":
                    yield event.delta

    async def stream_async(self, provider: Addresses) -> AsyncIterator[str]:
        async with self.client(provider, "AsyncOpenAI") as client:
            async for event in await client.responses.create(model="gpt-fake", input=QUESTION, stream=True):
                if event.type == "response.output_text.delta":
                    yield event.delta

    def structured(self, provider: Addresses) -> City:
        with self.client(provider) as client:
            return client.responses.parse(model="gpt-fake", input=QUESTION, text_format=City).output_parsed

    def tokens(self, provider: Addresses) -> tuple[int, int, int]:
        with (
            self.client(provider) as client,
            client.responses.stream(model="gpt-fake", input=QUESTION) as said,
        ):
            spent = said.until_done().get_final_response().usage
        return spent.input_tokens, spent.output_tokens, spent.input_tokens_details.cached_tokens


class Anthropic(Sdk):
    """`anthropic`."""

    name, module = "anthropic", "anthropic"
    tools: ClassVar[list[dict[str, Any]]] = [
        {"name": name, "input_schema": schema} for name, schema in SCHEMAS.items()
    ]

    def client(self, provider: Addresses, kind: str = "Anthropic") -> Any:
        import anthropic

        return getattr(anthropic, kind)(base_url=provider.anthropic_base, api_key="k", max_retries=3)

    def say(self, history: list[Any]) -> dict[str, Any]:
        return {
            "model": "claude-fake",
            "max_tokens": 100,
            "system": "Be brief",
            "messages": history,
            "tools": self.tools,
        }

    def went_on(self, history: list[Any], said: Any) -> bool:
        history.append({"role": "assistant", "content": [block.to_dict() for block in said.content]})
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": run(block.name, block.input)}
            for block in said.content
            if block.type == "tool_use"
        ]
        history.append({"role": "user", "content": results})
        assert (said.stop_reason == "tool_use") == bool(results)
        return bool(results)

    def agent(self, provider: Addresses) -> str:
        history: list[Any] = [{"role": "user", "content": QUESTION}]
        with self.client(provider) as client:
            while self.went_on(history, said := client.messages.create(**self.say(history))):
                pass
        return said.content[-1].text

    async def agent_async(self, provider: Addresses) -> str:
        history: list[Any] = [{"role": "user", "content": QUESTION}]
        async with self.client(provider, "AsyncAnthropic") as client:
            while self.went_on(history, said := await client.messages.create(**self.say(history))):
                pass
        return said.content[-1].text

    def stream(self, provider: Addresses) -> Iterator[str]:
        history = [{"role": "user", "content": QUESTION}]
        with (
            self.client(provider) as client,
            client.messages.stream(model="claude-fake", max_tokens=9, messages=history) as said,
        ):
            yield from said.text_stream

    async def stream_async(self, provider: Addresses) -> AsyncIterator[str]:
        history = [{"role": "user", "content": QUESTION}]
        async with (
            self.client(provider, "AsyncAnthropic") as client,
            client.messages.stream(model="claude-fake", max_tokens=9, messages=history) as said,
        ):
            async for piece in said.text_stream:
                yield piece

    def structured(self, provider: Addresses) -> City:
        history = [{"role": "user", "content": QUESTION}]
        with self.client(provider) as client:
            said = client.messages.parse(
                model="claude-fake", max_tokens=9, messages=history, output_format=City
            )
        return said.parsed_output

    def tokens(self, provider: Addresses) -> tuple[int, int, int]:
        history = [{"role": "user", "content": QUESTION}]
        with (
            self.client(provider) as client,
            client.messages.stream(model="claude-fake", max_tokens=9, messages=history) as said,
        ):
            spent = said.get_final_message().usage
        cached = spent.cache_read_input_tokens
        return (
            spent.input_tokens + cached + spent.cache_creation_input_tokens,
            spent.output_tokens,
            cached,
        )

    def errors(self) -> tuple[type[BaseException], ...]:
        import anthropic
        import httpx2

        # It lets the transport's error through when a stream breaks.
        return (anthropic.APIConnectionError, httpx2.TransportError)

    def refusal(self) -> type[BaseException]:
        import anthropic

        return anthropic.APIStatusError


class Gemini(Sdk):
    """`google-genai`."""

    name, module = "gemini", "google.genai"

    def client(self, provider: Addresses) -> Any:
        from google import genai
        from google.genai import types

        retry = types.HttpRetryOptions(attempts=4, initial_delay=0.01, max_delay=0.02, jitter=0.01)
        return genai.Client(
            api_key="k", http_options=types.HttpOptions(base_url=provider.gemini_base, retry_options=retry)
        )

    def config(self) -> Any:
        from google.genai import types

        declared = [{"name": name, "parameters_json_schema": schema} for name, schema in SCHEMAS.items()]
        return types.GenerateContentConfig(
            system_instruction="Be brief",
            tools=[types.Tool(function_declarations=declared)],
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )

    def went_on(self, history: list[Any], said: Any) -> bool:
        from google.genai import types

        history.append(said.candidates[0].content)
        parts = [
            types.Part(
                function_response=types.FunctionResponse(
                    id=call.id, name=call.name, response={"result": run(call.name, call.args)}
                )
            )
            for call in said.function_calls or ()
        ]
        history.append(types.Content(role="user", parts=parts))
        return bool(parts)

    def start(self) -> list[Any]:
        from google.genai import types

        return [types.Content(role="user", parts=[types.Part(text=QUESTION)])]

    def agent(self, provider: Addresses) -> str:
        history = self.start()
        with self.client(provider) as client:
            while self.went_on(
                history,
                said := client.models.generate_content(
                    model="gemini-fake", contents=history, config=self.config()
                ),
            ):
                pass
        return said.text

    async def agent_async(self, provider: Addresses) -> str:
        history = self.start()
        async with self.client(provider).aio as client:
            while self.went_on(
                history,
                said := await client.models.generate_content(
                    model="gemini-fake", contents=history, config=self.config()
                ),
            ):
                pass
        return said.text

    def stream(self, provider: Addresses) -> Iterator[str]:
        with self.client(provider) as client:
            for chunk in client.models.generate_content_stream(model="gemini-fake", contents=QUESTION):
                if chunk.text:
                    yield chunk.text

    async def stream_async(self, provider: Addresses) -> AsyncIterator[str]:
        async with self.client(provider).aio as client:
            async for chunk in await client.models.generate_content_stream(
                model="gemini-fake", contents=QUESTION
            ):
                if chunk.text:
                    yield chunk.text

    def structured(self, provider: Addresses) -> City:
        with self.client(provider) as client:
            config = {"response_mime_type": "application/json", "response_schema": City}
            return client.models.generate_content(
                model="gemini-fake", contents=QUESTION, config=config
            ).parsed

    def tokens(self, provider: Addresses) -> tuple[int, int, int]:
        with self.client(provider) as client:
            spent = list(client.models.generate_content_stream(model="gemini-fake", contents=QUESTION))[
                -1
            ].usage_metadata
        return (
            spent.prompt_token_count,
            spent.candidates_token_count + (spent.thoughts_token_count or 0),
            spent.cached_content_token_count or 0,
        )

    def errors(self) -> tuple[type[BaseException], ...]:
        found: list[type[BaseException]] = []
        for name in ("httpx", "httpx2"):
            with contextlib.suppress(ImportError):
                found.append(importlib.import_module(name).TransportError)
        with contextlib.suppress(ImportError):
            import aiohttp

            found.append(aiohttp.ClientError)
        return tuple(found)

    def refusal(self) -> type[BaseException]:
        from google.genai import errors

        return errors.APIError


class Mistral(OpenAIChat):
    """`mistralai`."""

    name, module = "mistral", "mistralai.client"

    def client(self, provider: Addresses, kind: str = "") -> Any:
        from mistralai.client import Mistral as Client
        from mistralai.client.utils import BackoffStrategy, RetryConfig

        retry = RetryConfig("backoff", BackoffStrategy(10, 20, 1.0, 10_000), retry_connection_errors=True)
        return Client(api_key="k", server_url=provider.mistral_base, retry_config=retry)

    def say(self, history: list[Any]) -> dict[str, Any]:
        return {"model": "mistral-fake", "messages": history, "tools": self.tools}

    def agent(self, provider: Addresses) -> str:
        history: list[Any] = [{"role": "user", "content": QUESTION}]
        with self.client(provider) as client:
            while self.went_on(history, said := client.chat.complete(**self.say(history))):
                pass
        return said.choices[0].message.content

    async def agent_async(self, provider: Addresses) -> str:
        history: list[Any] = [{"role": "user", "content": QUESTION}]
        async with self.client(provider) as client:
            while self.went_on(history, said := await client.chat.complete_async(**self.say(history))):
                pass
        return said.choices[0].message.content

    def stream(self, provider: Addresses) -> Iterator[str]:
        history = [{"role": "user", "content": QUESTION}]
        with self.client(provider) as client:
            for event in client.chat.stream(model="mistral-fake", messages=history):
                if event.data.choices[0].delta.content:
                    yield event.data.choices[0].delta.content

    async def stream_async(self, provider: Addresses) -> AsyncIterator[str]:
        history = [{"role": "user", "content": QUESTION}]
        async with self.client(provider) as client:
            async for event in await client.chat.stream_async(model="mistral-fake", messages=history):
                if event.data.choices[0].delta.content:
                    yield event.data.choices[0].delta.content

    def structured(self, provider: Addresses) -> City:
        history = [{"role": "user", "content": QUESTION}]
        with self.client(provider) as client:
            said = client.chat.parse(City, model="mistral-fake", messages=history)
        return said.choices[0].message.parsed

    def tokens(self, provider: Addresses) -> tuple[int, int, int]:
        history = [{"role": "user", "content": QUESTION}]
        with self.client(provider) as client:
            spent = list(client.chat.stream(model="mistral-fake", messages=history))[-1].data.usage
        return spent.prompt_tokens, spent.completion_tokens, spent.num_cached_tokens

    def errors(self) -> tuple[type[BaseException], ...]:
        import httpx2

        return (httpx2.TransportError,)

    def refusal(self) -> type[BaseException]:
        from mistralai.client.errors import SDKError

        return SDKError


class Bedrock(Sdk):
    """`boto3`."""

    name, module, has_async = "bedrock", "boto3", False

    def client(self, provider: Addresses) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "bedrock-runtime",
            endpoint_url=provider.bedrock_base,
            region_name="us-east-1",
            aws_access_key_id="k",
            aws_secret_access_key="s",
            config=Config(retries={"max_attempts": 3, "mode": "standard"}),
        )

    def agent(self, provider: Addresses) -> str:
        client = self.client(provider)
        history: list[Any] = [{"role": "user", "content": [{"text": QUESTION}]}]
        tools = [
            {"toolSpec": {"name": name, "inputSchema": {"json": schema}}} for name, schema in SCHEMAS.items()
        ]
        while True:
            said = client.converse(
                modelId="arn:aws:bedrock:us-east-1:1:inference-profile/fake-v1:0",
                system=[{"text": "Be brief"}],
                messages=history,
                toolConfig={"tools": tools},
            )
            message = said["output"]["message"]
            asked = [part["toolUse"] for part in message["content"] if "toolUse" in part]
            if not asked:
                return message["content"][-1]["text"]
            results = [
                {
                    "toolResult": {
                        "toolUseId": one["toolUseId"],
                        "content": [{"text": run(one["name"], one["input"])}],
                    }
                }
                for one in asked
            ]
            history += [message, {"role": "user", "content": results}]

    def _stream(self, provider: Addresses) -> Any:
        history = [{"role": "user", "content": [{"text": QUESTION}]}]
        return self.client(provider).converse_stream(modelId="fake", messages=history)["stream"]

    def stream(self, provider: Addresses) -> Iterator[str]:
        for event in self._stream(provider):
            if "contentBlockDelta" in event:
                yield event["contentBlockDelta"]["delta"]["text"]

    def structured(self, provider: Addresses) -> City:
        return City.model_validate_json("".join(self.stream(provider)))

    def tokens(self, provider: Addresses) -> tuple[int, int, int]:
        spent = next(event["metadata"]["usage"] for event in self._stream(provider) if "metadata" in event)
        cached = spent["cacheReadInputTokens"]
        return (
            spent["inputTokens"] + cached + spent["cacheWriteInputTokens"],
            spent["outputTokens"],
            cached,
        )

    def errors(self) -> tuple[type[BaseException], ...]:
        import urllib3
        from botocore import exceptions

        return (exceptions.HTTPClientError, urllib3.exceptions.HTTPError)

    def refusal(self) -> type[BaseException]:
        from botocore.exceptions import ClientError

        return ClientError


SDKS: list[Sdk] = [OpenAIChat(), OpenAIResponses(), Anthropic(), Gemini(), Mistral(), Bedrock()]
