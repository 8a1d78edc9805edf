#!/usr/bin/env bash
# skops 0.16.0: a dict whose keys are True and False comes back with one entry, and so does one with the keys 1 and "1".
#
# Keys are written as the names of a JSON object, and their types in a list beside it. The types come back, but bool("False")
# is true, and 1 and "1" are one name. So class_weight={False: 1, True: 10} of a scikit-learn classifier is, after a round
# trip without any error, one weight for one class. Seen: {False: 1, True: 10} -> {True: 10}, {1: 'a', '1': 'b'} -> one entry.
# Ends with 0 while that is so, and with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check skops==0.16.0 scikit-learn==1.9.1
"$folder/venv/bin/python" - <<'PYTHON'
import skops.io
from sklearn.linear_model import LogisticRegression


def round_trip(value):
    contents = skops.io.dumps(value)
    return skops.io.loads(contents, trusted=skops.io.get_untrusted_types(data=contents))


weights = round_trip(LogisticRegression(class_weight={False: 1, True: 10})).class_weight
mixed = round_trip({1: "a", "1": "b"})
print("class_weight {False: 1, True: 10} ->", weights)
print("{1: 'a', '1': 'b'} ->", mixed)
assert weights == {True: 10}
assert len(mixed) == 1
PYTHON
