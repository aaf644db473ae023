"""`openai`, and `mistralai`, which is like its Chat Completions."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

from sdk_base import QUESTION, SCHEMAS, City, Sdk, run, transport_errors

from jupyter_durable.testing.provider.addresses import Addresses


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
            chat = (
                client.chat if hasattr(client.chat.completions, "parse") else client.beta.chat
            )  # until 1.92
            said = chat.completions.parse(
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

        return (openai.APIConnectionError, *transport_errors())  # until version 2

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


class Mistral(OpenAIChat):
    """`mistralai`."""

    name, module = "mistral", "mistralai"

    @property
    def home(self) -> str:
        """The package that has it all."""
        return "mistralai" if hasattr(importlib.import_module("mistralai"), "Mistral") else "mistralai.client"

    def client(self, provider: Addresses, kind: str = "") -> Any:
        utils = importlib.import_module(f"{self.home}.utils")
        backoff = utils.BackoffStrategy(10, 20, 1.0, 10_000)
        retry = utils.RetryConfig("backoff", backoff, retry_connection_errors=True)
        return importlib.import_module(self.home).Mistral(
            api_key="k", server_url=provider.mistral_base, retry_config=retry
        )

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
        return transport_errors()

    def refusal(self) -> type[BaseException]:
        errors = "errors" if self.home.endswith("client") else "models"
        found: type[BaseException] = importlib.import_module(f"{self.home}.{errors}").SDKError
        return found
