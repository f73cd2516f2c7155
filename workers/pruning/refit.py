"""Setting the weights that a cut has left so that each layer answers what it answered before.

Layer by layer, in the order of execution: least squares from what the layer hears in the cut
network to what the teacher's layer says, at the rows that survived. No training, no gradients.
After ThiNet (Luo et al., ICCV 2017) and channel pruning by reconstruction (He et al., ICCV 2017).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces import ArchitectureError, ParetrackError, TrackerNetwork
from workers.pruning._origins import Origin, Origins
from workers.pruning._remembered import Remembered

Fitted = nn.Conv2d | nn.Linear | nn.BatchNorm2d
Progress = Callable[[int, int], None]  # layers done, of all
Batches = list[tuple[Tensor, Tensor]]  # template crops, search crops

RIDGE = 1e-3  # pull towards the inherited weights, in units of the inputs' mean variance
POSITIONS = 40_000  # that a layer is fitted on; over that they are thinned out
PAIRS_AT_ONCE = 16
HELD = 1_000_000_000  # bytes of the teacher's answers that are held at once, and as many of the
# cut network's own: see _remembered.py


class RefitError(ParetrackError):
    """Two networks whose answers cannot be compared."""


def refit(
    network: TrackerNetwork,
    teacher: TrackerNetwork,
    kept: Origins,
    templates: Tensor,
    searches: Tensor,
    *,
    ridge: float = RIDGE,
    report: Progress | None = None,
) -> None:
    """Fit ``network`` in place to ``teacher`` on these crops, as networks take them.

    ``kept`` says what each layer was (``cut_with_origins``). Both networks lie on one device. The
    cut network is run up to every layer once, and remembers what it has computed; the teacher is
    run a few times.
    """
    device = next(network.parameters()).device
    batches = [
        (
            templates[at : at + PAIRS_AT_ONCE].to(device),
            searches[at : at + PAIRS_AT_ONCE].to(device),
        )
        for at in range(0, len(templates), PAIRS_AT_ONCE)
    ]
    with torch.no_grad(), _as_judged(network), _as_judged(teacher):
        visits = _visits(network, kept, batches)
        remembered = Remembered(network, {v.name for v in visits}, len(batches), HELD)
        done = 0
        with remembered.asked_first():
            for section in _sections(visits, len(templates)):
                answers = _answers(teacher, section, batches)
                for visit in section:
                    said = answers.pop(visit.name)
                    _fit(network, visit, said, batches, ridge, remembered.begin)
                    remembered.finished(visit.name)
                    done += 1
                    if report:
                        report(done, len(visits))


@contextmanager
def _as_judged(network: TrackerNetwork) -> Iterator[None]:
    """Without anything random, and with every token: two networks would drop different ones."""
    network.eval()
    with ExitStack() as stack:
        if hasattr(network, "softened"):
            with suppress(ArchitectureError):  # it drops no tokens anyway
                stack.enter_context(cast(Any, network).softened(elimination=0.0, drop_path=0.0))
        yield


@dataclass(frozen=True)
class _Visit:
    """A layer, how often a pass comes by, and how many of its positions are looked at."""

    name: str
    origin: Origin
    times: int
    positions: int  # of one pair, all times together
    share: float


def _visits(network: TrackerNetwork, kept: Origins, batches: Batches) -> list[_Visit]:
    """The layers to fit, in the order of execution."""
    layers = {name: network.get_submodule(name) for name in kept}
    times = {name: 0 for name, layer in layers.items() if _can_be_fitted(layer)}
    positions: dict[str, int] = {}  # in the order of execution

    def see(name: str, heard: Tensor, said: Tensor) -> None:
        times[name] += 1
        positions[name] = positions.get(name, 0) + len(_rows(said))

    one = [(batches[0][0][:1], batches[0][1][:1])]
    _watch(network, dict.fromkeys(times, 0), one, see)
    pairs = sum(len(search) for _, search in batches)
    return [
        _Visit(name, kept[name], times[name], count, min(1.0, POSITIONS / (count * pairs)))
        for name, count in positions.items()
    ]


def _can_be_fitted(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1 and layer.padding_mode == "zeros"
    return isinstance(layer, (nn.Linear, nn.BatchNorm2d))


def _sections(visits: list[_Visit], pairs: int) -> Iterator[list[_Visit]]:
    """Layers, as many at a time as the memory holds the teacher's answers of."""
    section: list[_Visit] = []
    held = 0.0
    for visit in visits:
        size = 4 * pairs * visit.positions * visit.share * len(visit.origin.rows)
        if section and held + size > HELD:
            yield section
            section, held = [], 0.0
        section.append(visit)
        held += size
    yield section


def _answers(
    teacher: TrackerNetwork, section: list[_Visit], batches: Batches
) -> dict[str, list[Tensor]]:
    """What the teacher's layers said (a norm: heard), a tensor (positions, rows) a visit."""
    of = {visit.origin.layer: visit for visit in section}
    found: dict[str, list[Tensor]] = {visit.name: [] for visit in section}
    indices = {
        name: torch.tensor(visit.origin.rows, device=batches[0][0].device)
        for name, visit in of.items()
    }

    def see(name: str, heard: Tensor, said: Tensor) -> None:
        is_norm = isinstance(teacher.get_submodule(name), nn.BatchNorm2d)
        rows = _thinned(_rows(heard if is_norm else said), of[name].share)
        found[of[name].name].append(rows[:, indices[name]])

    _watch(teacher, {name: visit.times for name, visit in of.items()}, batches, see)
    return found


def _fit(
    network: TrackerNetwork,
    visit: _Visit,
    answers: list[Tensor],
    batches: Batches,
    ridge: float,
    begin: Callable[[int], None],
) -> None:
    layer = cast(Fitted, network.get_submodule(visit.name))
    is_norm = isinstance(layer, nn.BatchNorm2d)
    following = iter(answers)
    sums: list[_Sums] = []

    def see(name: str, heard: Tensor, said: Tensor) -> None:
        x, y = _thinned(_inputs(layer, heard), visit.share), next(following)
        if len(x) != len(y):
            raise RefitError(
                f"{name} looks at {len(x)} positions and the teacher's {visit.origin.layer} at "
                f"{len(y)}: only networks that take crops of the same size can be compared"
            )
        if not sums:
            sums.append(_Sums(x.shape[1], y.shape[1], x.device))
        sums[0].add(x, y, means_only=is_norm)

    _watch(network, {visit.name: visit.times}, batches, see, begin)
    if isinstance(layer, nn.BatchNorm2d):
        assert layer.running_mean is not None
        layer.running_mean += ((sums[0].heard - sums[0].wanted) / sums[0].count).float()
    else:
        _solve(layer, sums[0], ridge)


class _Sums:
    """Sums over positions, in double precision: all that least squares needs of the data."""

    def __init__(self, heard: int, wanted: int, device: torch.device) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=device)

        self.count = 0
        self.heard, self.wanted = zeros(heard), zeros(wanted)
        self.squares, self.products = zeros(heard, heard), zeros(wanted, heard)

    def add(self, heard: Tensor, wanted: Tensor, *, means_only: bool) -> None:
        x, y = heard.double(), wanted.double()
        self.count += len(x)
        self.heard += x.sum(0)
        self.wanted += y.sum(0)
        if means_only:
            return
        self.squares += x.T @ x
        self.products += y.T @ x


def _solve(layer: nn.Conv2d | nn.Linear, sums: _Sums, ridge: float) -> None:
    """Ridge regression around the means; the offset is the bias's, or the following norm's."""
    heard, wanted = sums.heard / sums.count, sums.wanted / sums.count
    squares = sums.squares - sums.count * torch.outer(heard, heard)
    products = sums.products - sums.count * torch.outer(wanted, heard)
    pull = ridge * squares.diagonal().mean().clamp(min=1e-12)
    squares.diagonal().add_(pull)
    inherited = layer.weight.flatten(1).double()
    weight = torch.linalg.solve(squares, products + pull * inherited, left=False)
    layer.weight.copy_(weight.view_as(layer.weight))
    if layer.bias is not None:
        layer.bias.copy_(wanted - weight @ heard)


def _inputs(layer: Fitted, heard: Tensor) -> Tensor:
    """What each position of the layer's output is made of (positions, inputs)."""
    if not isinstance(layer, nn.Conv2d):
        return _rows(heard)
    patches = F.unfold(
        heard, layer.kernel_size, layer.dilation, cast(tuple[int, int], layer.padding), layer.stride
    )
    return patches.transpose(1, 2).flatten(0, 1)


def _rows(x: Tensor) -> Tensor:
    """(batch, channels, height, width) or (batch, tokens, channels) -> (positions, channels)."""
    return x.movedim(1, -1).flatten(0, 2) if x.ndim == 4 else x.flatten(0, -2)


def _thinned(rows: Tensor, share: float) -> Tensor:
    """A share of the rows: of as many rows always the same ones."""
    if share >= 1:
        return rows
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    return rows[order[: math.ceil(share * len(rows))].to(rows.device)]


class _SeenEnoughError(Exception):
    """Ends a forward pass after the last layer that somebody wants to see."""


See = Callable[[str, Tensor, Tensor], None]  # a layer's name, what it hears, what it says


def _watch(
    network: TrackerNetwork,
    times: Mapping[str, int],
    batches: Batches,
    see: See,
    begin: Callable[[int], None] | None = None,
) -> None:
    """Run the network and see these layers, each so many ``times`` a pass (all 0: to the end).

    ``begin`` hears the number of each batch before it is run.
    """
    left = 0

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def call(layer: nn.Module, heard: tuple[Tensor, ...], said: Tensor) -> None:
            nonlocal left
            see(name, heard[0], said)
            left -= 1
            if left == 0:
                raise _SeenEnoughError

        return call

    hooks = [network.get_submodule(name).register_forward_hook(hook(name)) for name in times]
    try:
        for number, (templates, searches) in enumerate(batches):
            if begin:
                begin(number)
            left = sum(times.values())
            with suppress(_SeenEnoughError):
                network(templates, searches)
    finally:
        for handle in hooks:
            handle.remove()
