#!/usr/bin/env bash
# skops 0.16.0: three values are written without an error, and what was written can't be read, whatever is trusted.
#
# A record array ("Need formats argument"), a compiled pattern ("object.__new__(re.Pattern) is not safe") and a dict with
# the key None ("module 'builtins' has no attribute 'NoneType'"). Whoever stores models learns of it when the model is
# wanted, not when it is stored: only a load right after the dump would tell.
# Ends with 0 while that is so, and with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check skops==0.16.0 scikit-learn==1.9.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import re

import numpy
import skops.io

records = numpy.rec.array([(1, 2.0)], dtype=[("count", "i4"), ("mean", "f8")])
for value, kind in ((records, ValueError), (re.compile("a+"), TypeError), ({None: 1}, AttributeError)):
    contents = skops.io.dumps(value)
    try:
        skops.io.loads(contents, trusted=skops.io.get_untrusted_types(data=contents))
    except kind as error:
        print(f"{type(value).__name__}: written in {len(contents)} bytes; read: {type(error).__name__}: {error}")
    else:
        raise SystemExit(f"{type(value).__name__} can be read now")
PYTHON
