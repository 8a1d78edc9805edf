#!/usr/bin/env bash
# gto 1.10.1: behind the pre-release v2.0.0-rc1 the next version by itself is v2.0.1, so v2.0.0 never comes.
#
# `register` without a version bumps the patch number of the greatest version, also where that is a pre-release. The package
# semver, with which gto counts, has `next_version`, which makes the prepared release 2.0.0 of 2.0.0-rc1. The same happens
# when a stage is assigned to a commit that has no version, which registers one on the way.
# Ends with 0 while that is so, and with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check gto==1.10.1 semver==3.1.2
git init -q "$folder/models"
cd "$folder/models"
export GIT_AUTHOR_NAME=ada GIT_AUTHOR_EMAIL=ada@example.org GIT_COMMITTER_NAME=ada GIT_COMMITTER_EMAIL=ada@example.org
for number in 1 2 3; do git commit -q --allow-empty -m "model $number"; done
gto=$folder/venv/bin/gto
"$gto" register fraud HEAD~2 --version v2.0.0-rc1 > "$folder/log"
"$gto" register fraud HEAD~1 >> "$folder/log"
"$gto" assign fraud HEAD --stage production >> "$folder/log"
versions=$(git tag --list 'fraud@*' | tr '\n' ' ')
echo "registered: $versions; semver: $("$folder/venv/bin/python" -c 'import semver; print(semver.Version.parse("2.0.0-rc1").next_version("patch"))')"
test "$versions" = "fraud@v2.0.0-rc1 fraud@v2.0.1 fraud@v2.0.2 "
