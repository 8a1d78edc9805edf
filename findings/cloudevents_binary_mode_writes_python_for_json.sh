#!/usr/bin/env bash
# cloudevents 2.2.0: in HTTP's binary mode, JSON data that is no object is not written as JSON: the version "1.10" arrives as the
# number 1.1, ["a", "b"] as the text "['a', 'b']", and false as the text "False".
#
# `to_binary` writes a text as it is, without its quotes, and anything but texts, bytes and objects as Python shows it. The
# content type stays application/json, so another reader gets no JSON at all. The same events in structured mode arrive as
# they were sent.
# Ends with 0 while that is so, and with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check cloudevents==2.2.0
"$folder/venv/bin/python" - <<'PYTHON'
from cloudevents.core.bindings.http import from_http, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

json = JSONFormat()
attributes = {"type": "promoted", "source": "/models", "id": "1", "specversion": "1.0", "datacontenttype": "application/json"}
sent = ["1.10", ["a", "b"], False]
binary, structured = [], []
for data in sent:
    event = CloudEvent(attributes=dict(attributes), data=data)
    message = to_binary(event, json)
    assert message.headers["content-type"] == "application/json"
    binary.append((message.body, from_http(message, json).get_data()))
    structured.append(from_http(to_structured(event, json), json).get_data())
print(f"sent {sent}; arrived in binary mode {binary}, in structured mode {structured}")
assert binary == [(b"1.10", 1.1), (b"['a', 'b']", "['a', 'b']"), (b"False", "False")]
assert structured == sent
PYTHON
