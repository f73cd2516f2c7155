"""What every network offers to the tracking loop, to training and to export."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


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

    def anchors(self) -> Tensor | None:
        """Anchor boxes (n, 4) of the maps, in ``decode``'s order; None: a centre head."""
        return None

    def forward(self, template_crop: Tensor, search_crop: Tensor) -> tuple[Tensor, ...]:
        """Both branches at once: the maps. For training and for tracing."""
        return self.maps(search_crop, self.template(template_crop))

    def frame(self, crop: Tensor, template: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The per-frame network: scores and boxes."""
        return self.decode(self.maps(crop, template))
