"""The restricted reader of other projects' files, against what torch writes and what hurts."""

import io
import os
import pickle
import struct
import sys
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from workers.checkpoints import CheckpointError, read_foreign

PROTOCOL_2 = b"\x80\x02"


def _weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    shared = torch.randn(6, 4)
    return {
        "backbone.conv.weight": torch.randn(3, 2, 5, 5),
        "backbone.bn.num_batches_tracked": torch.tensor(7),
        "head.half": torch.randn(5).half(),
        "head.brain": torch.randn(5).bfloat16(),
        "head.flags": torch.tensor([True, False]),
        "head.nothing": torch.empty(0, 3),
        "head.part": shared[2:4, 1:],
        "head.turned": shared.t(),
        "head.parameter": nn.Parameter(torch.randn(2, 2)),
    }


def _assert_same(read: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(read) == list(expected)
    for name, tensor in expected.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor.detach()), name


@pytest.fixture(params=["zip", "legacy"])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        path = tmp_path / "published.pth.tar"
        torch.save(content, path, _use_new_zipfile_serialization=request.param == "zip")
        return path

    return write


@pytest.mark.parametrize("container", ["net", "state_dict", "model", "network", None])
def test_tensors_come_back_from_torch_files_wherever_the_state_dict_lies(
    save: Callable[[Any], Path], container: str | None
) -> None:
    weights = OrderedDict(_weights())
    path = save(weights if container is None else {"epoch": 3, container: weights})
    _assert_same(read_foreign(path), _weights())


def test_the_module_prefix_of_data_parallel_is_stripped(save: Callable[[Any], Path]) -> None:
    path = save({"state_dict": {f"module.{name}": t for name, t in _weights().items()}})
    _assert_same(read_foreign(path), _weights())


def test_classes_of_another_project_beside_the_weights_stay_unbuilt(
    save: Callable[[Any], Path], tmp_path: Path
) -> None:
    path = save(
        {
            "net": _weights(),
            "settings": Namespace(lr=1e-4, parts=[Path("a"), {(1, 2): 3}]),
            "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "betas": (0.9, 0.999)},
            "trap": _Reduced(os.mkdir, str(tmp_path / "executed")),
        }
    )
    _assert_same(read_foreign(path), _weights())
    assert not (tmp_path / "executed").exists()


def test_a_module_state_dict_with_its_metadata_is_read(save: Callable[[Any], Path]) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    _assert_same(read_foreign(save(module.state_dict())), dict(module.state_dict()))


def test_safetensors_are_read_whatever_the_file_is_called(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3), "b": torch.arange(4)}
    save_file(tensors, tmp_path / "weights.bin")
    read = read_foreign(tmp_path / "weights.bin")
    assert set(read) == {"a", "b"}
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


class _Reduced:
    """An object whose pickle asks to call something."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _bombs(target: str) -> dict[str, bytes]:
    """Pickles that would make the folder ``target``, or eat the machine, if they could."""
    deep = b"(" * 100_000 + b"t" * 100_000
    arguments = b"(" + _text(target) + b"t"
    return {
        "reduce": pickle.dumps(_Reduced(os.mkdir, target)),
        "reduce, protocol 0": pickle.dumps(_Reduced(os.mkdir, target), protocol=0),
        "eval": pickle.dumps(_Reduced(eval, f"__import__('os').mkdir({target!r})")),
        "nested in a dict": pickle.dumps({"net": {"a": [_Reduced(os.mkdir, target)]}}),
        "inst": b"(" + _text(target) + b"ios\nmkdir\n.",
        "obj": b"(cos\nmkdir\n" + _text(target) + b"o.",
        "newobj": PROTOCOL_2 + b"cos\nmkdir\n" + arguments + b"\x81.",
        "newobj_ex": PROTOCOL_2 + b"cos\nmkdir\n" + arguments + b"}\x92.",
        "stack_global": b"\x80\x04" + _text("os") + _text("mkdir") + b"\x93" + arguments + b"R.",
        "memo trick": PROTOCOL_2 + b"cos\nmkdir\nq\x000" + arguments + b"q\x010h\x00h\x01R.",
        "build": b"ctypes\nSimpleNamespace\n)R}" + _text("__setstate__") + b"cos\nmkdir\nsb.",
        "build slots": b"(ibuiltins\nSystemExit\n(N}" + _text("x") + b"I1\nstb.",
        "import alone": b"cantigravity\nfly\n.",
        "dotted name": b"\x80\x04"
        + _text("os")
        + _text("path.os.mkdir")
        + b"\x93"
        + arguments
        + b"R.",
        "extension registry": b"\x82\x01" + arguments + b"R.",
        "persistent id": PROTOCOL_2 + b"cos\nmkdir\n" + arguments + b"RQ.",
        "out-of-band buffer": b"\x80\x05\x97.",
        "deep tuple as a key": b"}" + deep + b"I1\ns.",
        "deep list": b"]" * 100_000 + b"a" * 99_999 + b".",
        "billion laughs": b"]q\x00"
        + b"".join(b"](" + b"h%c" % i * 9 + b"eq%c" % (i + 1) for i in range(60))
        + b".",
        "copies of a long list": b"("
        + b"N" * 20_000
        + b"lq\x00"
        + b"ccollections\nOrderedDict\nq\x01"
        + b"h\x01h\x00\x85R" * 5_000
        + b".",
        "list that holds itself": b"]q\x00h\x00a.",
        "dict that holds itself": b"}q\x00" + _text("net") + b"h\x00s.",
        "huge memo index": b"Nr\xff\xff\xff\x7f.",
        "huge byte array": b"\x80\x05\x96" + struct.pack("<Q", 2**60) + b".",
        "huge text": b"\x8d" + struct.pack("<Q", 2**62) + b".",
        "huge frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
        "huge number": b"\x8b" + struct.pack("<i", 2**31 - 1) + b".",
        "negative number": b"\x8b" + struct.pack("<i", -5) + b".",
        "five thousand digits": b"I" + b"9" * 5000 + b"\n.",
        "strange escape": b"S'\\q'\n.",
        "mark without end": b"(" * 1000,
        "pops of nothing": b"0000.",
        "endless": b"N0" * 600_000 + b".",
        "nothing": b".",
        "recalls nothing": b"h\x07.",
    }


BOMBS = sorted(_bombs("x"))


@pytest.mark.parametrize("wrapping", ["bare", "zip", "legacy"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_pickle_bomb_is_an_error_and_executes_nothing(
    tmp_path: Path, name: str, wrapping: str
) -> None:
    path = tmp_path / "bomb.pth"
    path.write_bytes(_wrapped(_bombs(str(tmp_path / "executed"))[name], wrapping))
    with pytest.raises(CheckpointError) as raised:
        read_foreign(path)
    assert str(path) in str(raised.value)
    assert len(str(raised.value)) < 1000
    assert not (tmp_path / "executed").exists()
    assert "antigravity" not in sys.modules


def _wrapped(pickled: bytes, wrapping: str) -> bytes:
    if wrapping == "bare":
        return pickled
    if wrapping == "zip":
        return _archive({"data.pkl": pickled})
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    return magic + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + pickled


def _archive(records: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(f"archive/{name}", data)
    return file.getvalue()


def _tensor(
    *, numel: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, key: str = "0"
) -> bytes:
    """The pickle of {'w': tensor}, as torch writes it, with any numbers in it."""

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"

    storage = b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text(key) + _text("cpu")
    storage += b"I%d\ntQ" % numel
    arguments = b"(" + storage + b"I%d\n" % offset + numbers(size) + numbers(stride)
    arguments += b"I00\nccollections\nOrderedDict\n)Rt"
    return (
        PROTOCOL_2 + b"}" + _text("w") + b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"Rs."
    )


def test_the_hand_made_tensor_is_read_when_its_numbers_are_right(tmp_path: Path) -> None:
    path = tmp_path / "good.pth"
    data = struct.pack("<6f", *range(6))
    records = {"data.pkl": _tensor(numel=6, size=(2, 2), stride=(3, 1), offset=1), "data/0": data}
    path.write_bytes(_archive(records))
    assert read_foreign(path)["w"].tolist() == [[1, 2], [4, 5]]


@pytest.mark.parametrize(
    "described",
    [
        _tensor(numel=10**12, size=(10**12,), stride=(1,)),
        _tensor(numel=6, size=(10**9,), stride=(0,)),
        _tensor(numel=6, size=(7,), stride=(1,)),
        _tensor(numel=6, size=(2,), stride=(1,), offset=5),
        _tensor(numel=6, size=(2, 2), stride=(5, 1)),
        _tensor(numel=6, size=(2,), stride=(-1,), offset=3),
        _tensor(numel=6, size=(-2,), stride=(1,)),
        _tensor(numel=6, size=(2,), stride=(1,), offset=-1),
        _tensor(numel=6, size=(2,), stride=(1, 1)),
        _tensor(numel=6, size=(0, 2**62), stride=(2**62, 1)),
        _tensor(numel=-1, size=(0,), stride=(1,)),
        _tensor(numel=6, size=(2,), stride=(1,), key="1"),
        _tensor(numel=6, size=(1,) * 40, stride=(1,) * 40),
    ],
)
def test_a_tensor_that_claims_more_than_the_file_has_is_refused(
    tmp_path: Path, described: bytes
) -> None:
    path = tmp_path / "greedy.pth"
    path.write_bytes(_archive({"data.pkl": described, "data/0": bytes(24)}))
    with pytest.raises(CheckpointError, match=r"greedy\.pth: "):
        read_foreign(path)


def test_a_compressed_archive_cannot_unpack_into_more_than_it_is(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    records = {"data.pkl": _tensor(numel=2**20, size=(2**20,), stride=(1,)), "data/0": bytes(2**22)}
    path.write_bytes(_archive(records, zipfile.ZIP_DEFLATED))
    with pytest.raises(CheckpointError, match="compressed"):
        read_foreign(path)


def test_a_legacy_storage_that_is_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    described = _tensor(numel=2**38, size=(2**38,), stride=(1,))
    stream = _wrapped(described, "legacy") + pickle.dumps(["0"], 2) + struct.pack("<q", 2**38)
    (tmp_path / "greedy.pth").write_bytes(stream + bytes(64))
    with pytest.raises(CheckpointError, match="cut off in its storage"):
        read_foreign(tmp_path / "greedy.pth")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello, world\n" * 20, "not a checkpoint"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "not a checkpoint"),
        (b"PK\x03\x04" + bytes(50), "cut off or damaged"),
        (_archive({"other.txt": b"?"}), "not one that torch.save wrote"),
        (struct.pack("<Q", 50) + b'{"a":' + bytes(60), "safetensors"),
        (pickle.dumps({"a": 1}), "holds no weights"),
    ],
)
def test_what_is_no_checkpoint_is_named_as_such(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "odd.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=reason) as raised:
        read_foreign(path)
    assert str(path) in str(raised.value)


def test_a_file_that_is_not_there_or_is_a_folder_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pth", tmp_path):
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_foreign(path)


def test_a_whole_pickled_model_is_refused_with_what_to_do(save: Callable[[Any], Path]) -> None:
    with pytest.raises(CheckpointError, match=r"save model\.state_dict\(\)"):
        read_foreign(save(nn.Linear(2, 2)))


def _files() -> list[bytes]:
    content = {"net": {"a.weight": torch.arange(12.0).view(3, 4), "b": torch.ones(2).half()}}
    zipped, legacy = io.BytesIO(), io.BytesIO()
    torch.save(content, zipped)
    torch.save(content, legacy, _use_new_zipfile_serialization=False)
    tensors = io.BytesIO()
    described = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    tensors.write(struct.pack("<Q", len(described)) + described + bytes(8))
    return [zipped.getvalue(), legacy.getvalue(), tensors.getvalue()]


FILES = _files()


@st.composite
def _damaged_files(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["byte", "cut", "drop", "repeat", "insert"])):
            case "byte":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + draw(st.integers(1, 40))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 40))]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=12))
    return bytes(data)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=_damaged_files())
def test_a_damaged_file_is_read_or_refused_but_nothing_else(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    path.write_bytes(data)
    try:
        weights = read_foreign(path)
    except CheckpointError as error:
        assert str(path) in str(error)
    else:
        assert all(isinstance(tensor, Tensor) for tensor in weights.values())
        assert sum(tensor.numel() for tensor in weights.values()) <= 8 * len(data)


@settings(max_examples=300, deadline=None)
@given(pickled=st.binary(max_size=200))
def test_any_bytes_as_a_pickle_are_refused(
    pickled: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.pth"
    path.write_bytes(_archive({"data.pkl": pickled}))
    with pytest.raises(CheckpointError):
        read_foreign(path)
