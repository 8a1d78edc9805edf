#!/usr/bin/env bash
# cyclonedx-python-lib 11.12.0: a bill of materials with a machine-learning model, read and written again, has lost its model
# card without a warning, though the same package says that the document is valid.
#
# CycloneDX 1.5 and later describe a model under `modelCard` (task, inputs, metrics, considerations). `Bom.from_json` has no
# place for it and skips it as it skips unknown members; the type `machine-learning-model` and all else stay.
# Ends with 0 while that is so, and with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check 'cyclonedx-python-lib[json-validation]==11.12.0'
"$folder/venv/bin/python" -W error - <<'PYTHON'
import json

from cyclonedx.model.bom import Bom
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

card = {
    "modelParameters": {"task": "classification", "inputs": [{"format": "float32"}]},
    "quantitativeAnalysis": {"performanceMetrics": [{"type": "auc", "value": "0.93"}]},
}
model = {"type": "machine-learning-model", "name": "fraud", "version": "1.2.0", "modelCard": card}
document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": [model]}
complaint = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))
(again,) = json.loads(JsonV1Dot6(Bom.from_json(document)).output_as_string())["components"]
print(f"complaint: {complaint}; members before {sorted(model)}, after {sorted(again)}")
assert complaint is None
assert again["type"] == "machine-learning-model"
assert set(model) - set(again) == {"modelCard"}
PYTHON
