#!/usr/bin/env bash
# skops 0.16.0: a collections.deque is written without an error and comes back empty, and without its maxlen.
#
# `dumps` raises nothing, and `get_untrusted_types` names only the class. `loads` gives a deque with no items, so a model
# that keeps its last observations in one has forgotten them after a round trip. Seen: deque([1, 2], maxlen=3) -> deque([]).
# Ends with 0 while that is so, and with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check skops==0.16.0 scikit-learn==1.9.1
"$folder/venv/bin/python" - <<'PYTHON'
import collections

import skops.io

written = collections.deque([1, 2], maxlen=3)
contents = skops.io.dumps(written)
read = skops.io.loads(contents, trusted=skops.io.get_untrusted_types(data=contents))
print(written, "->", read)
assert type(read) is collections.deque
assert (list(read), read.maxlen) == ([], None)
PYTHON
