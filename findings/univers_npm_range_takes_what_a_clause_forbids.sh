#!/usr/bin/env bash
# univers 32.0.1: the npm range "~1.2.0 >=1.2.3" holds 1.2.0, and for 1.2.5, which is inside, the question raises
# InvalidConstraintsError.
#
# The clauses of an npm range all have to hold. univers writes this range as `vers:npm/>=1.2.0|>=1.2.3|<1.3.0`, a form in which
# two bounds of one direction may not follow each other. It makes such a range without a word, gives True at once for a version
# that one of the bounds names, and notices only for other versions that the bounds do not fit. "^1.2.0 <1.5.0" holds 1.3.0,
# and for 1.6.0 raises. npm, here as its port node-semver 0.9.1, answers for all of them.
# Ends with 0 while that is so, and with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check univers==32.0.1 node-semver==0.9.1
"$folder/venv/bin/python" - <<'PYTHON'
import nodesemver
from univers.version_constraint import InvalidConstraintsError
from univers.version_range import NpmVersionRange
from univers.versions import SemverVersion


def asked(version, text):
    try:
        return SemverVersion(version) in NpmVersionRange.from_native(text)
    except InvalidConstraintsError:
        return "InvalidConstraintsError"


cases = {"~1.2.0 >=1.2.3": ["1.2.0", "1.2.5"], "^1.2.0 <1.5.0": ["1.3.0", "1.6.0"]}
found = [asked(version, text) for text, versions in cases.items() for version in versions]
by_npm = [nodesemver.satisfies(version, text, loose=False) for text, versions in cases.items() for version in versions]
print(f"{cases} univers: {found}; npm: {by_npm}")
assert found == [True, "InvalidConstraintsError", True, "InvalidConstraintsError"]
assert by_npm == [False, True, True, False]
PYTHON
