"""What a check is, and what it yields."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from kubectl_fsm.fields import Object, Step

SEVERITIES = ("info", "warning", "error")
"""From a remark, over what is likely to surprise, to what does not work or must not be."""

View = TypeVar("View")


class Seen(NamedTuple):
    """Something that is not as it should be.

    `seen` says what, in a line; `mend` is the command line that mends it, or else what to do. `object` is the object that
    it was seen in (None: the one that the check looked at), `path` the field there.
    """

    seen: str
    mend: str
    path: Sequence[Step] = ()
    object: Object | None = None


@dataclass(frozen=True)
class Check(Generic[View]):
    """A check: `look` takes a view (`views.py`) and yields what is wrong there.

    `identity` never changes, since people write it down: `init-failed`. `holds` is what should be so, in a line; `why` is
    what it means where it is not, and `remedy` how that is mended in general. `looks_at` is the class of the views. With
    `remote` only a cluster has what it takes to look; one that `asks` has the injector issue a certificate for each look.
    """

    identity: str
    severity: str
    holds: str
    why: str
    remedy: str
    looks_at: type[View]
    look: Callable[[View], Iterator[Seen]]
    remote: bool = False
    asks: bool = False


def check(
    identity: str,
    severity: str,
    looks_at: type[View],
    *,
    holds: str,
    why: str,
    remedy: str,
    remote: bool = False,
    asks: bool = False,
) -> Callable[[Callable[[View], Iterator[Seen]]], Check[View]]:
    """Make the function that follows a check."""

    def made(look: Callable[[View], Iterator[Seen]]) -> Check[View]:
        return Check(identity, severity, holds, why, remedy, looks_at, look, remote, asks)

    return made
