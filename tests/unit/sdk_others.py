"""`anthropic`, `google-genai` and `boto3`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

from sdk_base import QUESTION, SCHEMAS, City, Sdk, run, transport_errors

from jupyter_durable.testing.provider.addresses import Addresses


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
        asked: dict[str, Any] = {"model": "claude-fake", "max_tokens": 9, "messages": history}
        with self.client(provider) as client:
            if not hasattr(client.messages, "parse"):  # as it was
                return City.model_validate_json(client.messages.create(**asked).content[-1].text)
            said = client.messages.parse(**asked, output_format=City)
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

        return (anthropic.APIConnectionError, *transport_errors())

    def refusal(self) -> type[BaseException]:
        import anthropic

        return anthropic.APIStatusError


class Gemini(Sdk):
    """`google-genai`."""

    name, module = "gemini", "google.genai"

    def client(self, provider: Addresses, *, asynchronous: bool = False) -> Any:
        from google import genai
        from google.genai import types

        retry = types.HttpRetryOptions(attempts=4, initial_delay=0.01, max_delay=0.02, jitter=0.01)
        made = genai.Client(
            api_key="k", http_options=types.HttpOptions(base_url=provider.gemini_base, retry_options=retry)
        )
        wanted = made.aio if asynchronous else made
        managed = hasattr(wanted, "__aenter__" if asynchronous else "__enter__")  # not in its first releases
        return wanted if managed else contextlib.nullcontext(wanted)

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
        async with self.client(provider, asynchronous=True) as client:
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
        async with self.client(provider, asynchronous=True) as client:
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
        found = [*transport_errors()]
        with contextlib.suppress(ImportError):
            import aiohttp

            found.append(aiohttp.ClientError)
        return tuple(found)

    def refusal(self) -> type[BaseException]:
        from google.genai import errors

        return errors.APIError


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
