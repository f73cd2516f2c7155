"""paretrack spec-schema: what a job's file may say, for editors."""

import json
import sys

from service.commands._options import Json


def spec_schema(as_json: Json = False) -> None:
    """Print the JSON Schema of job files, for an editor that completes and checks them.

    Example: `paretrack spec-schema > job.schema.json`, and in street.yaml as the first line
    `# yaml-language-server: $schema=job.schema.json`
    """
    from service.job_schema import job_schema

    sys.stdout.write(json.dumps(job_schema(in_a_file=True), indent=1, ensure_ascii=False) + "\n")
