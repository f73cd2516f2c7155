"""What the API's document says of a job's summary: a few seconds old, and as far as it has come."""

from typing import Annotated, Any

from pydantic import JsonValue, WithJsonSchema

_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_SECONDS: dict[str, Any] = {"type": "number", "minimum": 0}
_SPENT = {
    "seconds": {**_SECONDS, "description": "That the job has run, its interruptions not counted."},
    "cpu_seconds": {
        **_SECONDS,
        "description": "Of workers: the time that candidates took, times their threads.",
    },
    "gpu_seconds": {**_SECONDS, "description": "Of workers that train on a GPU."},
    "since_gain": {
        **_COUNT,
        "description": "Candidates since the front last moved; 0 before anything is on it.",
    },
}
_OF_A_SEARCH = {
    "metrics": {
        "type": "array",
        "items": {"type": "string"},
        "description": "The objectives, accuracy first: the order of `front` and `best`.",
    },
    "asked": {**_COUNT, "description": "Candidates so far, infeasible and running ones too."},
    "states": {
        "type": "object",
        "additionalProperties": _COUNT,
        "description": "How many trials are in each state.",
    },
    "budget": {"type": "object", "description": "The bounds; null: there is none."},
    "spent": {
        "type": "object",
        "properties": _SPENT,
        "description": "Of the budget; beside `asked`, less those INFEASIBLE (`trials`), and "
        "`hypervolume`. Empty before the first candidate, and of searches of older versions.",
    },
    "teacher": {"type": "object", "description": "Its figures."},
    "front_size": _COUNT,
    "front": {"type": "array", "description": "60 of its points at most, by cost."},
    "best": {"description": "The point at the highest cost; null: there is none."},
    "hypervolume": {"type": "number", "description": "Of the front, as a share."},
    "now": {"type": "array", "description": "What those that run are going through."},
}

Summary = Annotated[
    dict[str, JsonValue],
    WithJsonSchema(
        {
            "type": "object",
            "description": "Counts by state, the budget and what is spent of it, the front in "
            "small, what runs now; a few seconds old. Empty before a job has begun; of the tuning "
            "of a recipe it says other things.",
            "properties": _OF_A_SEARCH,
            "examples": [
                {
                    "asked": 14,
                    "states": {"COMPLETE": 9, "INFEASIBLE": 3, "RUNNING": 2},
                    "budget": {"trials": 40, "seconds": 7200.0, "plateau": 20},
                    "spent": {
                        "seconds": 812.4,
                        "cpu_seconds": 1490.2,
                        "gpu_seconds": 0.0,
                        "since_gain": 3,
                    },
                    "front_size": 4,
                    "hypervolume": 0.412,
                }
            ],
        }
    ),
]
