#!/usr/bin/env bash
# mlflow-skinny 3.17.2: `RegisteredModel.aliases` maps a name to an int where models are in SQLite, to a str where they are files.
#
# The same calls, and in both stores `ModelVersion.version` is an int. So `version.version == model.aliases["champion"]`
# is true on one store and false, without a word, on the other. Seen: {'champion': 1} and {'champion': '1'}.
# Ends with 0 while that is so, and with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check mlflow-skinny==3.17.2 alembic==1.20.1 sqlalchemy==2.1.9
cd "$folder"
MLFLOW_ALLOW_FILE_STORE=true MLFLOW_LOGGING_LEVEL=ERROR "$folder/venv/bin/python" -W ignore - 2> "$folder/log" <<'PYTHON'
from mlflow import MlflowClient

seen = {}
for place in ("sqlite:///models.db", "files"):
    client = MlflowClient(tracking_uri=place, registry_uri=place)
    client.create_registered_model("fraud")
    version = client.create_model_version("fraud", "s3://models/1")
    client.set_registered_model_alias("fraud", "champion", "1")
    aliases = client.get_registered_model("fraud").aliases
    print(place, "version", repr(version.version), "aliases", aliases)
    seen[place] = version.version == aliases["champion"]
assert seen == {"sqlite:///models.db": True, "files": False}, seen
PYTHON
