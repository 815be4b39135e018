"""What keeps lists, as checks see it: a MeshConfig for the whole mesh, a pod template for its own pods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubectl_fsm.exclusions import loadable
from kubectl_fsm.meshes import Installation

if TYPE_CHECKING:
    from kubectl_fsm.checks.views import Scene
    from kubectl_fsm.exclusions import Effective, Entry
    from kubectl_fsm.fields import Object, Step
    from kubectl_fsm.meshes import ExclusionList


@dataclass(frozen=True, eq=False)
class ListHolder:
    """An object that keeps lists, and the mesh that reads them. `source` is what a union calls it."""

    scene: Scene
    installation: Installation
    source = ""

    @property
    def object(self) -> Object:
        raise NotImplementedError

    @property
    def kubectl_name(self) -> str:
        """`deploy/web`."""
        raise NotImplementedError

    @property
    def scope_words(self) -> Sequence[str]:
        """The words of a command line that name it as an edit's scope."""
        raise NotImplementedError

    @property
    def uneditable(self) -> str:
        """Why no command edits it; empty where one does."""
        return ""

    @property
    def union(self) -> Effective:
        """What its pods' rules are made from, its own entries and those of others; empty where they have no rules."""
        raise NotImplementedError

    @property
    def sound(self) -> Effective:
        """The union without the invalid entries: what is looked at beside these."""
        raise NotImplementedError

    @property
    def script(self) -> str:
        """What the next pod's init container would run with the first of the sound entries that iptables takes.

        Empty where it has none.
        """
        raise NotImplementedError

    @property
    def whole_script(self) -> str:
        """The same with all sound entries; empty also where there are too many ports to follow a connection to one."""
        return self.script if len(loadable(self.sound).entries) == len(self.sound.entries) else ""

    def place(self, found: ExclusionList, value: str = "") -> Sequence[Step]:
        """The field that keeps a list, or where it has one that of a value."""
        raise NotImplementedError

    def holds(self, found: ExclusionList) -> bool:
        """Whether there is anything in a list."""
        raise NotImplementedError

    def owns(self, entry: Entry) -> bool:
        """Whether the entry of the union is in this object, be it in others as well."""
        return self.source in entry.sources
