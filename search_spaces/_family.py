"""What every family offers. A family is a module: the module itself satisfies ``Family``."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from torch import Tensor, nn

from search_spaces._geometry import Geometry


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


class TrackerNetwork(nn.Module, ABC):
    """A network in two branches: the template once, then every frame.

    Crops are normalised float tensors (batch, 3, side, side). The template branch leaves a tuple of
    tensors, batch first, that the frame branch takes as it is. Maps are what the head says, as the
    authors' code has them; ``decode`` turns them into scores (batch, n) in 0..1 and boxes
    (batch, n, 4) as (cx, cy, w, h) in pixels of the search crop, with
    n = boxes_per_cell * map_size ** 2.
    """

    @abstractmethod
    def template(self, crop: Tensor) -> tuple[Tensor, ...]: ...

    @abstractmethod
    def maps(self, crop: Tensor, template: tuple[Tensor, ...]) -> tuple[Tensor, ...]: ...

    @abstractmethod
    def decode(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]: ...

    def forward(self, template_crop: Tensor, search_crop: Tensor) -> tuple[Tensor, ...]:
        """Both branches at once: the maps. For training and for tracing."""
        return self.maps(search_crop, self.template(template_crop))

    def frame(self, crop: Tensor, template: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The per-frame network: scores and boxes."""
        return self.decode(self.maps(crop, template))


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
