#!/usr/bin/env bash
# mlflow-skinny 3.17.2: in the file store, renaming a registered model drops its tags; one tag on a version stops it halfway.
#
# `rename_registered_model` returns None instead of the model that is documented, and the model's tags are gone without a
# word. Where a version has a tag, it ends with AttributeError "'str' object has no attribute 'key'", and the name that was
# to be made is there beside the old one. The SQL store keeps both kinds of tags.
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
    for name in ("fraud", "churn"):
        client.create_registered_model(name)
        client.create_model_version(name, "s3://models/1")
    client.set_registered_model_tag("fraud", "team", "risk")
    client.set_model_version_tag("churn", "1", "auc", "0.9")
    returned = client.rename_registered_model("fraud", "fraud2")
    tags = client.get_registered_model("fraud2").tags
    try:
        client.rename_registered_model("churn", "churn2")
        outcome = str(client.get_model_version("churn2", "1").tags)
    except AttributeError as error:
        outcome = f"AttributeError: {error}"
    names = sorted(model.name for model in client.search_registered_models())
    print(f"{place}: returned {type(returned).__name__}, tags {tags}; a version with a tag: {outcome}; models {names}")
    if place == "files":
        assert (returned, tags, outcome[:14]) == (None, {}, "AttributeError")
        assert names == ["churn", "churn2", "fraud2"]
    else:
        assert (tags, outcome) == ({"team": "risk"}, "{'auc': '0.9'}")
PYTHON
