#!/usr/bin/env bash
# mlflow-skinny 3.17.2: in the file store a registered model that has an alias can't be renamed; in the SQL store it can.
#
# `rename_registered_model` ends with AttributeError "'str' object has no attribute 'key'", a mistake of its own and no
# MlflowException. Without an alias the same call works on the same store, and returns None instead of the model that is
# documented. SQLite renames both, keeps the alias, and returns the model.
# Ends with 0 while that is so, and with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check mlflow-skinny==3.17.2 alembic==1.20.1 sqlalchemy==2.1.9
cd "$folder"
MLFLOW_ALLOW_FILE_STORE=true MLFLOW_LOGGING_LEVEL=ERROR "$folder/venv/bin/python" -W ignore - 2> "$folder/log" <<'PYTHON'
from mlflow import MlflowClient

for place in ("files", "sqlite:///models.db"):
    client = MlflowClient(tracking_uri=place, registry_uri=place)
    client.create_registered_model("plain")
    returned = client.rename_registered_model("plain", "renamed")
    print(place, "without an alias: returned", type(returned).__name__, "for", client.get_registered_model("renamed").name)
    client.create_registered_model("fraud")
    client.create_model_version("fraud", "s3://models/1")
    client.set_registered_model_alias("fraud", "champion", "1")
    try:
        client.rename_registered_model("fraud", "fraud2")
        outcome = client.get_registered_model("fraud2").name
    except AttributeError as error:
        outcome = f"AttributeError: {error}"
    print(place, "with an alias:", outcome)
    assert (outcome == "fraud2") is (place != "files"), outcome
PYTHON
