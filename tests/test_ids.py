"""Ids are addresses (R4, R5, R15)."""

import enum
import string
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from versioning.errors import InvalidArgumentError
from versioning.ids import (
    ID_CHARACTERS_MAX,
    activation_id_of,
    checked_activation_id,
    checked_version_id,
    looks_like_id,
    model_id_of,
    parse_model_id,
    parse_version_id,
    stream_of,
    version_id_of,
)

STREAM = stream_of("default", "My wonderful model")
VERSION = version_id_of(STREAM, 12, "0123abcd")
MODEL = model_id_of(STREAM, 3)
ACTIVATION = activation_id_of(VERSION, 2)
ALIKE = [
    "",
    "ver_",
    VERSION[4:],
    VERSION.upper(),
    VERSION + " ",
    VERSION + "\n",
    VERSION.replace("_12_", "_0_"),
    VERSION.replace("_12_", "_012_"),
    VERSION.replace("_12_", "_-1_"),
    VERSION.replace("_12_", "_\u0661\u0662_"),  # Arabic digits
    VERSION.replace("_12_", "_\uff11_"),  # a full-width digit
    VERSION[:-1],
    VERSION[:-1] + "g",
    VERSION.replace("ver_", "ver-"),
    f"ver_{STREAM}_{'9' * 30}_0123abcd",  # longer than any id
    f"act_{STREAM}_{'9' * 30}_0123abcd_1",
    f"mdl_{STREAM}_{'9' * 30}",
    f"mdl_{STREAM}",
    f"mdl_{STREAM}_0",
    ACTIVATION + "_1",
    "My wonderful model",
    "0.1.0",
]
OTHER_TYPES = [None, 12, True, VERSION.encode(), UUID(STREAM), [VERSION]]


class TestStreams:
    def test_it_stays_what_it_was_in_the_first_release(self) -> None:
        assert stream_of("default", "model") == "c37349b56fed8163a7cd62fc24c30f71"

    @given(st.text(max_size=20), st.text(max_size=20))
    def test_it_is_a_uuid_of_version_8(self, workspace: str, name: str) -> None:
        stream = stream_of(workspace, name)
        uuid = UUID(stream)
        assert (uuid.hex, uuid.version, uuid.variant) == (stream, 8, "specified in RFC 4122")

    @given(st.text(max_size=20), st.text(max_size=20))
    def test_it_is_the_digest_of_both_with_their_lengths(self, workspace: str, name: str) -> None:
        space, called = workspace.encode(), name.encode()
        digest = sha256(f"{len(space)}:".encode() + space + f"{len(called)}:".encode() + called).hexdigest()
        variant = "89ab"[int(digest[16], 16) & 3]
        assert stream_of(workspace, name) == f"{digest[:12]}8{digest[13:16]}{variant}{digest[17:32]}"

    def test_where_the_workspace_ends_matters(self) -> None:
        pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", ""), ("1:a", "bc"), ("a1", ":bc")]
        assert len({stream_of(*pair) for pair in pairs}) == len(pairs)


class TestForms:
    @given(st.integers(1, 10**6), st.integers(1, 10**6), st.text(string.hexdigits[:16], min_size=8, max_size=8))
    def test_what_is_made_can_be_taken_apart(self, ordinal: int, attempt: int, token: str) -> None:
        version_id = version_id_of(STREAM, ordinal, token)
        assert parse_version_id(version_id) == (STREAM, ordinal, token)
        assert parse_model_id(model_id_of(STREAM, ordinal)) == (STREAM, ordinal)
        assert checked_version_id(version_id) == version_id
        made = [version_id, model_id_of(STREAM, ordinal), activation_id_of(version_id, attempt)]
        assert all(looks_like_id(each) and len(each) <= ID_CHARACTERS_MAX for each in made)
        assert all(set(each) <= set(string.ascii_letters + string.digits + "_-") for each in made)

    def test_an_activation_is_of_its_version(self) -> None:
        assert f"act_{STREAM}_12_0123abcd_2" == ACTIVATION
        assert checked_activation_id(ACTIVATION) == ACTIVATION

    @pytest.mark.parametrize("text", [*ALIKE, *OTHER_TYPES], ids=ascii)
    def test_what_is_only_alike_is_none(self, text: object) -> None:
        assert not looks_like_id(text)
        assert parse_version_id(text) is None
        assert parse_model_id(text) is None

    @pytest.mark.parametrize(
        "form", [f"ver_{STREAM}_{{}}_0123abcd", f"mdl_{STREAM}_{{}}", f"act_{STREAM}_{{}}_0123abcd_1"]
    )
    def test_an_id_has_64_characters_at_the_most(self, form: str) -> None:
        longest = form.format("9" * (64 - len(form.format(""))))
        assert (len(longest), ID_CHARACTERS_MAX) == (64, 64)
        assert looks_like_id(longest)
        assert not looks_like_id(form.format("9" * (65 - len(form.format("")))))
        assert (parse_version_id(longest) or parse_model_id(longest) or checked_activation_id(longest)) is not None

    def test_one_kind_is_not_another(self) -> None:
        assert parse_version_id(MODEL) is parse_version_id(ACTIVATION) is None
        assert parse_model_id(VERSION) is parse_model_id(ACTIVATION) is None


class TestChecks:
    @pytest.mark.parametrize("text", [*ALIKE, *OTHER_TYPES, MODEL, ACTIVATION], ids=ascii)
    def test_what_is_no_version_id_is_refused(self, text: object) -> None:
        with pytest.raises(InvalidArgumentError, match=r"^expected_primary is not the id of a version") as refused:
            checked_version_id(text, "expected_primary")
        assert (refused.value.rule, refused.value.facts) == ("R5", {"argument": "expected_primary"})

    @pytest.mark.parametrize("text", [*ALIKE, *OTHER_TYPES, MODEL, VERSION], ids=ascii)
    def test_what_is_no_activation_id_is_refused(self, text: object) -> None:
        with pytest.raises(InvalidArgumentError, match=r"^activation_id is not the id of an activation") as refused:
            checked_activation_id(text)
        assert (refused.value.rule, refused.value.facts) == ("R15", {"argument": "activation_id"})

    def test_a_text_of_another_class_becomes_plain_text(self) -> None:
        kept = enum.Enum("kept", {"VERSION": VERSION, "ACTIVATION": ACTIVATION}, type=str)
        for accepted, text in (
            (checked_version_id(kept.VERSION), VERSION),
            (checked_activation_id(kept.ACTIVATION), ACTIVATION),
        ):
            assert (accepted, type(accepted)) == (text, str)
