"""A pickle's stack machine that only moves data: nothing is imported and nothing is called.

Opcodes as Python's pickletools documents them. Objects become ``INERT``, names become ``Name``,
and the few constructors that the caller lists in ``builders`` are the only ones that do anything.
Every step makes a bounded amount of data, so the steps bound the memory.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from search_spaces import ParetrackError

STEPS = 1_000_000  # what one pickle may do: real checkpoints stay below 100,000


class UnreadablePickleError(ParetrackError):
    """Bytes that are no pickle, or one that asks for more than a checkpoint ever does."""


@dataclass(frozen=True)
class Name:
    """What a pickle wants imported. It stays a name."""

    module: str
    name: str


class Inert:
    """What is left of an object that is not built."""


INERT = Inert()
Builder = Callable[[tuple[Any, ...]], Any]


class PickleMachine:
    """Runs one pickle of a stream and leaves the stream behind it."""

    def __init__(
        self,
        stream: bytes | IO[bytes],
        builders: Mapping[Name, Builder],
        persistent: Callable[[Any], Any],
    ) -> None:
        self.names: set[Name] = set()
        self._stream = stream
        self._builders = builders
        self._persistent = persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._steps = 0

    def run(self) -> Any:
        """The object that the pickle describes, as far as it is data."""
        try:
            for opcode, argument, _ in pickletools.genops(self._stream):
                self.spend(1)
                if opcode.name == "STOP":
                    return self._pop()
                operation = _OPERATIONS.get(opcode.name)
                if operation is None:
                    raise UnreadablePickleError(f"its pickle uses {opcode.name}")
                operation(self, argument)
        except (ValueError, EOFError, OverflowError, IndexError, Warning) as error:
            if isinstance(error, UnreadablePickleError):
                raise
            raise UnreadablePickleError(f"its pickle is cut off or damaged ({error})") from error
        raise UnreadablePickleError("its pickle is cut off")

    def spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > STEPS:
            raise UnreadablePickleError(f"its pickle does more than {STEPS:,} things")

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _pop(self) -> Any:
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def pop(self, _: Any) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def pop_mark(self, _: Any) -> None:
        self._pop_to_mark()

    def duplicate(self, _: Any) -> None:
        self.push(self._stack[-1])

    def put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def memoize(self, _: Any) -> None:
        self.put(len(self._memo))

    def get(self, index: int) -> None:
        if index not in self._memo:
            raise UnreadablePickleError(f"its pickle recalls {index}, which it never noted")
        self.push(self._memo[index])

    def tuple_of(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def marked_tuple(self, _: Any) -> None:
        self.push(tuple(self._pop_to_mark()))

    def marked_list(self, _: Any) -> None:
        self.push(self._pop_to_mark())

    def marked_dict(self, _: Any) -> None:
        items = self._pop_to_mark()
        self.push({})
        self._set(items)

    def append(self, _: Any) -> None:
        self._extend([self._pop()])

    def appends(self, _: Any) -> None:
        self._extend(self._pop_to_mark())

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(items)

    def set_item(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def set_items(self, _: Any) -> None:
        self._set(self._pop_to_mark())

    def _set(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], dict):
            pairs = zip(items[::2], items[1::2], strict=True)
            self._stack[-1].update((_key(key), value) for key, value in pairs)

    def name(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._name(module, name)

    def stack_name(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise UnreadablePickleError("its pickle names something by what is not text")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        named = Name(module, name)
        self.names.add(named)
        self.push(named)

    def reduce(self, _: Any) -> None:
        arguments, function = self._pop(), self._pop()
        self._call(function, arguments)

    def new_object_with_names(self, _: Any) -> None:
        self._pop()
        self.reduce(None)

    def instance(self, argument: str) -> None:
        arguments = tuple(self._pop_to_mark())
        self.name(argument)
        self._call(self._pop(), arguments)

    def marked_object(self, _: Any) -> None:
        kind, *arguments = self._pop_to_mark() or [INERT]
        self._call(kind, tuple(arguments))

    def _call(self, function: Any, arguments: Any) -> None:
        builder = self._builders.get(function) if isinstance(function, Name) else None
        if builder is None or not isinstance(arguments, tuple):
            self.push(INERT)
            return
        # A builder may copy its arguments, and the same ones may be given again and again.
        self.spend(sum(len(item) for item in arguments[:8] if isinstance(item, (list, tuple))))
        self.push(builder(arguments))

    def text_persistent(self, argument: str) -> None:
        self.push(self._persistent(argument))

    def persistent(self, _: Any) -> None:
        self.push(self._persistent(self._pop()))

    def build_state(self, _: Any) -> None:
        self._pop()


def _key(key: Any) -> Any:
    """Text and small integers as they are: the hash of anything else is the file's to abuse."""
    return key if isinstance(key, str) or (type(key) is int and abs(key) < 2**31) else object()


def _ignore(machine: PickleMachine, argument: Any) -> None:
    del machine, argument


_LITERALS = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8"
)
_OPERATIONS: Mapping[str, Callable[[PickleMachine, Any], None]] = {
    **dict.fromkeys(_LITERALS.split(), PickleMachine.push),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_SET": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "MARK": PickleMachine.mark,
    "POP": PickleMachine.pop,
    "POP_MARK": PickleMachine.pop_mark,
    "DUP": PickleMachine.duplicate,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), PickleMachine.put),
    "MEMOIZE": PickleMachine.memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), PickleMachine.get),
    "TUPLE": PickleMachine.marked_tuple,
    "LIST": PickleMachine.marked_list,
    "FROZENSET": PickleMachine.marked_list,
    "DICT": PickleMachine.marked_dict,
    "APPEND": PickleMachine.append,
    "APPENDS": PickleMachine.appends,
    "ADDITEMS": PickleMachine.appends,
    "SETITEM": PickleMachine.set_item,
    "SETITEMS": PickleMachine.set_items,
    "GLOBAL": PickleMachine.name,
    "STACK_GLOBAL": PickleMachine.stack_name,
    "REDUCE": PickleMachine.reduce,
    "NEWOBJ": PickleMachine.reduce,
    "NEWOBJ_EX": PickleMachine.new_object_with_names,
    "INST": PickleMachine.instance,
    "OBJ": PickleMachine.marked_object,
    "BUILD": PickleMachine.build_state,
    "PERSID": PickleMachine.text_persistent,
    "BINPERSID": PickleMachine.persistent,
    "PROTO": _ignore,
    "FRAME": _ignore,
}
