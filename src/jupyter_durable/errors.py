"""Every error jupyter-durable raises.

    DurableError (Exception)             carries `.hint`: the exact next step
    ├── DivergenceError                  the code made another call than the journal recorded
    ├── StepInDoubtError                 a step may or may not have happened, and a person must say
    ├── LeaseHeldError                   another process is advancing this run
    ├── EncodingError                    a value cannot be stored (names the path inside it)
    ├── IntegrityError                   the store was altered, truncated, or its key is missing
    ├── StoreError                       the store cannot be read or written (disk full, locked, too new)
    ├── RunNotFoundError                 no run (or step) of that id
    ├── AlreadyDecidedError              somebody else decided first
    ├── RunClosedError                   a durable call after its run ended
    ├── ApprovalRejected                 a person said no
    ├── RunWaiting                       the run waits, and this process was not to wait for so long
    └── BudgetExceeded                   a budget of the run was reached, and nobody is there to raise it
    RunParked (BaseException)            the run waits with no process attached; leave the cell
    LeaseLost (BaseException)            this process may no longer write the run; leave the cell

`RunParked` and `LeaseLost` are control flow: they derive from BaseException so that an agent's
`except Exception` cannot swallow them and go on as if nothing had happened.
"""

from __future__ import annotations

from typing import Any


def _rebuild(cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    # Exceptions with keyword-only fields do not survive pickle's default `cls(*args)`.
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class _Hinted:
    """A message, and the exact next step in `.hint`."""

    hint: str = ""
    args: tuple[Any, ...]

    def _set_hint(self, hint: str) -> None:
        if hint:
            self.hint = hint

    def __str__(self) -> str:
        message = str(self.args[0]) if self.args else type(self).__name__
        return f"{message}\n  hint: {self.hint}" if self.hint else message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


class DurableError(_Hinted, Exception):
    """Base of every error of this package.

    `hint` is the exact next command or change, ready to show to the user.

    >>> DurableError("no store", hint="run %durable store PATH").hint
    'run %durable store PATH'
    """

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        self._set_hint(hint)


class DivergenceError(DurableError):
    """The code made another call than the journal recorded at that place.

    `recorded` and `current` are one-line renderings of the two calls (empty if there is none);
    `difference` names the argument that differs, if one does.
    """

    def __init__(
        self,
        message: str = "",
        *,
        recorded: str = "",
        current: str = "",
        difference: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.recorded = recorded
        self.current = current
        self.difference = difference


class StepInDoubtError(DurableError):
    """A step declared `effect="unsafe"` was cut off: only a person can say whether it happened.

    `run_id` and `step_id` name it for `retry`, `supply` and `fail`.
    """

    def __init__(self, message: str = "", *, run_id: str = "", step_id: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.run_id = run_id
        self.step_id = step_id


class LeaseHeldError(DurableError):
    """Another live process is advancing this run. `owner` describes it."""

    def __init__(self, message: str = "", *, owner: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.owner = owner


class EncodingError(DurableError):
    """A value cannot be stored so that it comes back equal. `path` leads to it inside the value."""

    def __init__(self, message: str = "", *, path: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class IntegrityError(DurableError):
    """The store does not verify: edited, truncated, swapped rows, an altered pickle, a wrong key."""


class StoreError(DurableError):
    """The store cannot be read or written: disk full, locked, read-only, or made by a newer version."""


class RunNotFoundError(DurableError):
    """No run, step or prefix of that id in this store."""


class AlreadyDecidedError(DurableError):
    """The wait was already decided; `decided_by` says by whom. The first decision stands."""

    def __init__(self, message: str = "", *, decided_by: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.decided_by = decided_by


class RunClosedError(DurableError):
    """A durable call was made after its run had ended, by a task or thread that outlived it."""


class ApprovalRejected(DurableError):  # noqa: N818 - a public name fixed by the contract
    """A person rejected the call; the message is theirs, `by` says whose."""

    def __init__(self, message: str = "", *, by: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.by = by


class BudgetExceeded(DurableError):  # noqa: N818 - a public name fixed by the contract
    """A budget of the run was reached, and nobody is there to raise it. Resuming it with more goes on there."""


class RunWaiting(DurableError):  # noqa: N818 - what it is, beside BudgetExceeded
    """The run waits for a person, a signal or a timer, and `park_after` has passed. Running it again goes on there."""


class _ControlFlow(_Hinted, BaseException):
    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        self._set_hint(hint)


class RunParked(_ControlFlow):
    """The run waits (approval, answer, signal, timer) with no process attached. Let it pass.

    Wrong: `except BaseException: pass`. Right: `except Exception: ...`, which this is not.
    """


class LeaseLost(_ControlFlow):
    """Another process took the run over; nothing this process does can be journaled any more.

    Wrong: `except BaseException: pass`. Right: `except Exception: ...`, which this is not.
    """
