"""Every error that a user can meet, in one small tree; `cli.main` catches it once.

Each carries the line that says what went wrong, the line that says what to do (`hint`), and an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence


class FsmError(Exception):
    """Something went wrong that the user can understand and mend."""

    exit_code = 1
    label = "error: "

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FsmError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = 2


class InvalidExclusion(FsmError):
    """An entry that the injector would refuse; the message contains the injector's own words."""


class InvalidObject(FsmError):
    """An object from a cluster or a file does not have the shape that its kind promises.

    Where the error knows them, `object` is the one and `path` the field in it.
    """

    def __init__(self, message: str, hint: str = "", obj: object = None, path: Sequence[str | int] = ()) -> None:
        super().__init__(message, hint)
        self.object = obj
        self.path = path


class RulesSyntaxError(FsmError):
    """Text that is not iptables rules as this project reads them.

    `text` is the offending line, `column` (from 0) where in it the reader stopped.
    """

    def __init__(self, message: str, text: str = "", column: int = 0) -> None:
        super().__init__(message)
        self.text = text
        self.column = column

    def __str__(self) -> str:
        if not self.text:
            return self.message
        return f"{self.message}\n  {self.text}\n  {' ' * self.column}^"


class Undecided(FsmError):
    """What rules do to a packet depends on something that neither the rules nor the packet tell."""


class RulesRefused(FsmError):
    """iptables did not take rules; the message holds its own words."""


class NoKernel(FsmError):
    """Rules cannot be tried in a kernel here: no Linux, no root, or a program is missing."""


class Unavailable(FsmError):
    """What it takes to answer a question is not to be had; the message says why."""


class MeshError(FsmError):
    """No mesh was found, or what was asked for could mean more than one."""


class Refused(FsmError):
    """A guard stopped an edit before anything was written."""


class Declined(FsmError):
    """The user was asked and said no, or nobody was there to be asked."""


class RolloutFailed(FsmError):
    """A rollout did not come to its end, or its new pods run other rules than they should."""


class Interrupted(FsmError):
    """The user stopped the program; the message says where it stood."""

    exit_code = 130


class ManifestError(FsmError):
    """A file cannot be read as Kubernetes manifests."""


class CredentialError(FsmError):
    """The kubeconfig cannot be used: file, context, certificate or credential plugin."""


class Unreachable(FsmError):
    """The API server did not answer: connection, TLS, time-out."""


class Unanswered(Unreachable):
    """The request was sent, and no whole answer came: what it asks for may have been carried out, or not."""


class ApiError(FsmError):
    """The API server answered with a failure.

    `status` is the HTTP code, `reason` the machine-readable reason of the `Status` object (`Forbidden`, `NotFound`, …)
    and `details` its `details`, as the server sent them; `pause` seconds later it wants to be asked again, where it says so.
    """

    def __init__(self, status: int, reason: str, message: str, hint: str = "", details: object = None) -> None:
        super().__init__(message, hint)
        self.status = status
        self.reason = reason
        self.details = details
        self.pause = 0
        self.label = f"Error from server ({reason}): " if reason else "Error from server: "


class NotFound(ApiError):
    """404: no such object, kind or namespace."""


class Conflict(ApiError):
    """409: somebody else wrote the object first."""


class Forbidden(ApiError):
    """403: the user lacks a right."""
