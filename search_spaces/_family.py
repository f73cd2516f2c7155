"""What every family offers. A family is a module: the module itself satisfies ``Family``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

if TYPE_CHECKING:  # torch takes seconds to import; what only needs names and errors goes without
    from search_spaces._geometry import Geometry
    from search_spaces._network import TrackerNetwork


class Architecture(Protocol):
    """A frozen dataclass of numbers and names that say all about a network but its weights."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def family(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Units:
    """Units of one kind that a network may have fewer of: channels, heads, hidden units.

    ``channels``: the output channels of the layer at ``layer``; whatever depends on them goes too.
    ``heads``, ``head_dims``: units inside the attention module at ``layer``, which removes them
    itself (``keep_heads``, ``keep_head_dims``) because nothing outside of it notices.
    """

    name: str
    layer: str
    width: int
    kind: Literal["channels", "heads", "head_dims"] = "channels"


A = TypeVar("A", bound=Architecture)


class Family(Protocol[A]):
    """What each module of search_spaces/ offers."""

    PRESETS: Mapping[str, A]

    @property
    def Architecture(self) -> type[A]: ...  # noqa: N802 - the class of the family's architectures

    def build(self, architecture: A) -> TrackerNetwork:
        """A network with fresh weights, or an ArchitectureError that says why it cannot be."""
        ...

    def geometry(self, architecture: A) -> Geometry: ...

    def units(self, architecture: A) -> tuple[Units, ...]:
        """Everything that may be made narrower, in the network's order."""
        ...

    def with_widths(self, architecture: A, widths: Mapping[str, int]) -> A:
        """The same network with these numbers of units (by name of Units; others stay)."""
        ...

    def layers(self, architecture: A) -> tuple[str, ...]:
        """Paths of the layers that may be left out, in order: 'backbone.blocks.0', ..."""
        ...

    def with_layers(self, architecture: A, kept: Sequence[int]) -> A:
        """The same network with only these of ``layers``; its ``layers`` correspond in order."""
        ...
