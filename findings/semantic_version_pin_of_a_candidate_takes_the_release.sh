#!/usr/bin/env bash
# semantic_version 2.10.0: an npm range that pins a release candidate, "=1.0.1-rc.1", holds the release 1.0.1, too, and
# `select` then takes that.
#
# NpmSpec turns a clause with a pre-release into two, one for the pre-release and one for its release, and forgets for "=" (and
# for "<=") that the second is another version. npm itself, here as its port node-semver 0.9.1, and SimpleSpec of the same
# package hold the candidate alone. "<2.0.0" holds 2.0.0-rc.1 for the same NpmSpec, which npm leaves out.
# Ends with 0 while that is so, and with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check semantic_version==2.10.0 node-semver==0.9.1
"$folder/venv/bin/python" - <<'PYTHON'
import nodesemver
from semantic_version import NpmSpec, SimpleSpec, Version

versions = ["1.0.1-rc.1", "1.0.1-rc.2", "1.0.1"]
pinned = "=1.0.1-rc.1"
npm_spec = NpmSpec(pinned)
held = [version for version in versions if npm_spec.match(Version(version))]
by_npm = [version for version in versions if nodesemver.satisfies(version, pinned, loose=False)]
by_simple = [version for version in versions if SimpleSpec("==1.0.1-rc.1").match(Version(version))]
chosen = str(npm_spec.select(map(Version, versions)))
below = NpmSpec("<2.0.0").match(Version("2.0.0-rc.1")), nodesemver.satisfies("2.0.0-rc.1", "<2.0.0", loose=False)
print(f"{pinned} holds {held}, in npm {by_npm}, in SimpleSpec {by_simple}; chosen: {chosen}; <2.0.0 and 2.0.0-rc.1: {below}")
assert held == ["1.0.1-rc.1", "1.0.1"]
assert by_npm == by_simple == ["1.0.1-rc.1"]
assert chosen == "1.0.1"
assert below == (True, False)
PYTHON
