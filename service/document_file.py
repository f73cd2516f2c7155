"""A JSON or YAML document that a user names on the command line."""

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from search_spaces._errors import ParetrackError

YAML = (".yaml", ".yml")


def read_object(path: Path, what: str) -> dict[str, Any]:
    """The object in a file that should hold ``what``: 'a job', 'a recipe'."""
    kind = "YAML" if path.suffix in YAML else "JSON"
    try:
        text = path.read_text(encoding="utf-8")
        found = yaml.load(text, _Plain) if kind == "YAML" else json.loads(text)
    except OSError as error:
        raise ParetrackError(f"{path} is not {what}: {error}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise ParetrackError(
            f"{path} is not {what}: it is not a {kind} document: {error}"
        ) from error
    if not isinstance(found, dict):
        raise ParetrackError(
            f"{path} is not {what}: expected an object, got {type(found).__name__}"
        )
    return found


class _Plain(yaml.SafeLoader):
    """YAML as its readers expect it: 1e-3 is a number, ``on`` is a text, a name counts once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value]
        for name in names:
            if names.count(name) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{name!r} stands there twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


_Plain.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Plain.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Plain.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
