"""What can be deployed, and what comes back when it is loaded (R21, R26, R28)."""

from __future__ import annotations

import functools
import hashlib
import importlib
import pickle
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import artifact_tools
from tests.artifact_tools import (
    CONTENTS,
    DIGEST,
    MODEL,
    OTHER_DIGEST,
    Note,
    Upper,
    deployed,
    place_of,
    refusal_of,
)
from versioning.artifacts import folder as artifacts
from versioning.artifacts.folder import ArtifactFolder
from versioning.artifacts.formats import SERIALIZERS, PickleSerializer, Serializer, SkopsSerializer, checked_serializer
from versioning.artifacts.loading import as_artifact, checked_reference, load_artifact
from versioning.errors import (
    ArtifactNotFoundError,
    ArtifactUntrustedError,
)
from versioning.events import ArtifactRef

if TYPE_CHECKING:
    from collections.abc import Callable

folder = artifact_tools.folder


class TestNamesOfMain:
    """A class or function of the program that was started is only a name when it is pickled."""

    @pytest.fixture(params=["__main__", "__mp_main__"])
    def main(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - a class
        module = types.ModuleType(request.param)
        exec("class Model:\n    class Part: pass\ndef predict(x): return x", module.__dict__)  # noqa: S102 - as in a notebook
        monkeypatch.setitem(sys.modules, request.param, module)
        return module

    @pytest.mark.parametrize("serializer", ["pickle", "skops"])
    def test_it_is_refused(self, main: Any, serializer: str, folder: ArtifactFolder) -> None:  # noqa: ANN401 - a module
        model = main.Model
        for thing in (model(), model, [Note, model(), model()], {"a": "b" * 70_000, "b": main.predict}):
            save = functools.partial(as_artifact, thing, serializer, None, folder)
            assert f"'{main.__name__}." in refusal_of(save).sentence

    def test_so_is_one_inside_another_or_named_a_second_time(self, main: Any) -> None:  # noqa: ANN401 - a module
        for thing in ([main.Model.Part(), 1], [(main.__name__, "predict"), Note, main.predict]):
            save = functools.partial(PickleSerializer().dumps, thing)
            assert f"'{main.__name__}." in refusal_of(save).sentence

    def test_text_is_no_name(self) -> None:
        for thing in ("__main__", ["__main__", "Model"], [Note, "__main__", "Note", Note], b"__main__"):
            assert PickleSerializer().dumps(thing)


class TestReferences:
    @pytest.mark.parametrize("uri", ["s3://bucket/model", "x", " leading", "é😀", "sha256:short", "u" * 2_000, "../.."])
    def test_any_text_is_a_reference_and_is_read_back_exactly(self, uri: str) -> None:
        assert deployed(uri, None) == ArtifactRef(uri)

    @given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=50).filter(str.strip))
    def test_so_is_any_text_that_hypothesis_finds(self, uri: str) -> None:
        assert checked_reference(uri) == checked_reference(ArtifactRef(uri)) == ArtifactRef(uri)

    @pytest.mark.parametrize(
        "reference",
        [
            ArtifactRef("s3://x", DIGEST, 0, ""),
            ArtifactRef("s3://x", None, 2**63 - 1, "m" * 200),
            ArtifactRef(f"sha256:{DIGEST}", DIGEST, 23, "text/plain"),
        ],
    )
    def test_a_reference_in_parts_is_read_back_exactly(self, reference: ArtifactRef) -> None:
        assert deployed(reference, None) == reference

    def test_the_digest_that_a_uri_names_is_filled_in_because_keys_and_collect_go_by_it(self) -> None:
        assert checked_reference(f"sha256:{DIGEST}") == ArtifactRef(f"sha256:{DIGEST}", DIGEST)

    @pytest.mark.parametrize(
        ("reference", "problem"),
        [
            ("u" * 2_001, "has 2001 characters; the limit is 2000"),
            ("", "is blank"),
            (" \u2003", "is blank"),
            ("a\0b", "contains control characters"),
            ("a\nb", "contains control characters"),
            ("a\x7f", "contains control characters"),
            ("a\x85", "contains control characters"),
            ("a\ud800", "contains half of a surrogate pair"),
            (7, "must be a URI as text or an ArtifactRef, not int"),
            (ArtifactRef(7), "must be text, not int"),  # type: ignore[arg-type]
            (ArtifactRef("u", "A" * 64), "lowercase hexadecimal"),
            (ArtifactRef("u", "a" * 63), "64 lowercase"),
            (ArtifactRef("u", "a" * 64 + "\n"), "64 lowercase"),
            (ArtifactRef("u", b"a" * 64), "64 lowercase"),  # type: ignore[arg-type]
            (ArtifactRef(f"sha256:{DIGEST}", OTHER_DIGEST), "is not the one that its uri names"),
            (ArtifactRef("u", None, -1), "whole number"),
            (ArtifactRef("u", None, 2**63), "whole number"),
            (ArtifactRef("u", None, True), "whole number"),  # noqa: FBT003 - the hostile value itself
            (ArtifactRef("u", None, 1.0), "whole number"),  # type: ignore[arg-type]
            (ArtifactRef("u", None, "1"), "whole number"),  # type: ignore[arg-type]
            (ArtifactRef("u", None, None, "m" * 201), "has 201 characters; the limit is 200"),
            (ArtifactRef("u", None, None, "a\tb"), "contains control characters"),
            (ArtifactRef("u", None, None, "\udfff"), "contains half of a surrogate pair"),
            (ArtifactRef("u", None, None, 5), "must be text, not int"),  # type: ignore[arg-type]
        ],
    )
    def test_what_can_not_be_kept_is_refused_by_r28(self, reference: object, problem: str) -> None:
        refused = refusal_of(lambda: checked_reference(reference))
        assert (refused.rule, refused.facts) == ("R28", {"argument": "model_or_reference"})
        assert problem in refused.sentence

    def test_text_that_was_meant_as_contents_is_told_so(self) -> None:
        assert "pass contents as bytes" in refusal_of(lambda: deployed('{\n"weights": []}', None)).hint


class TestSerializers:
    @pytest.mark.parametrize("name", ["pickle", "skops", "bytes"])
    def test_a_name_is_one_of_the_built_in_ones(self, name: str) -> None:
        assert checked_serializer(name) is SERIALIZERS[name]
        assert SERIALIZERS[name].name == name

    def test_their_media_types_are_in_the_events_and_never_change(self) -> None:
        assert {one.media_type: one.runs_code for one in SERIALIZERS.values()} == {
            "application/x-python-pickle": True,
            "application/x-skops": False,
            "application/octet-stream": False,
        }

    def test_an_object_like_a_serializer_is_one(self) -> None:
        mine: Serializer = Upper()
        assert checked_serializer(mine) is mine

    def test_none_is_the_default(self) -> None:
        assert checked_serializer(None, "bytes") is SERIALIZERS["bytes"]

    def test_without_a_default_none_is_refused(self) -> None:
        assert "no default" in refusal_of(lambda: as_artifact(MODEL, None, None, ArtifactFolder(Path(), ""))).sentence

    @pytest.mark.parametrize(("name", "meant"), [("pickel", "pickle"), ("SKOPS", "skops"), ("byte", "bytes")])
    def test_a_misspelt_name_is_told_what_was_meant(self, name: str, meant: str) -> None:
        assert f'Did you mean "{meant}"?' in refusal_of(lambda: checked_serializer(name)).hint

    @pytest.mark.parametrize("name", ["", "onnx", "p" * 100_000, "\0"])
    def test_an_unknown_name_is_told_the_known_ones(self, name: str) -> None:
        assert refusal_of(lambda: checked_serializer(name)).hint.startswith("Use one of pickle, skops, bytes")

    @pytest.mark.parametrize(
        "thing",
        [
            *[7, 0, b"pickle", [], pickle, object(), PickleSerializer, Upper],
            *[Upper(name=7), Upper(media_type=None), Upper(media_type="m" * 201)],  # type: ignore[arg-type]
            *[Upper(media_type="a\n"), Upper(runs_code=0)],  # type: ignore[arg-type]
        ],
    )
    def test_anything_else_is_refused(self, thing: object) -> None:
        assert "not a serializer" in refusal_of(lambda: checked_serializer(thing)).sentence

    def test_an_object_whose_attributes_fail_is_refused(self) -> None:
        class Hostile:
            def __getattr__(self, name: str) -> object:
                raise RuntimeError(name)

        assert "not a serializer" in refusal_of(lambda: checked_serializer(Hostile())).sentence

    @pytest.mark.parametrize("model", ["s3://x", MODEL, b"", Path("x")])
    def test_a_wrong_one_is_refused_whatever_is_deployed(self, model: object) -> None:
        assert "no serializer" in refusal_of(lambda: deployed(model, None, "onnx")).sentence

    def test_pickle_has_one_protocol_so_that_digests_do_not_depend_on_the_release_of_python(self) -> None:
        assert PickleSerializer().dumps(MODEL) == pickle.dumps(MODEL, protocol=5)


class TestDeploying:
    def test_an_object_goes_through_the_default_serializer(self, folder: ArtifactFolder) -> None:
        contents = pickle.dumps(MODEL, protocol=5)
        digest = hashlib.sha256(contents).hexdigest()
        reference = ArtifactRef(f"sha256:{digest}", digest, len(contents), "application/x-python-pickle")
        assert deployed(MODEL, folder) == reference
        assert place_of(folder, digest).read_bytes() == contents

    def test_or_through_the_one_that_is_given(self, folder: ArtifactFolder) -> None:
        reference = deployed(Note("hello"), folder, Upper())
        assert (folder.read(reference), reference.media_type) == (b"HELLO", "text/upper")

    @pytest.mark.parametrize("model", [dict, len, 7, (), False, Note])
    def test_classes_functions_and_all_other_values_are_objects(self, folder: ArtifactFolder, model: object) -> None:
        assert load_artifact(deployed(model, folder), folder, trusted=True) == model

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_bytes_are_kept_as_they_are(self, folder: ArtifactFolder, kind: Callable[[bytes], object]) -> None:
        reference = ArtifactRef(f"sha256:{DIGEST}", DIGEST, 23, "application/octet-stream")
        assert deployed(kind(CONTENTS), folder) == reference
        assert load_artifact(reference, folder) == CONTENTS

    def test_empty_contents_are_contents(self, folder: ArtifactFolder, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        assert deployed(b"", folder) == deployed(tmp_path / "empty", folder)
        assert load_artifact(deployed(b"", folder), folder) == b""

    def test_bytes_go_through_a_serializer_that_is_given(self, folder: ArtifactFolder) -> None:
        assert load_artifact(deployed(CONTENTS, folder, "pickle"), folder, trusted=True) == CONTENTS

    def test_a_path_is_a_file_whose_contents_are_kept(self, folder: ArtifactFolder, tmp_path: Path) -> None:
        (tmp_path / "model").write_bytes(CONTENTS)
        reference = deployed(tmp_path / "model", folder)
        (tmp_path / "model").unlink()
        assert reference == ArtifactRef(f"sha256:{DIGEST}", DIGEST, 23, "application/octet-stream")
        assert load_artifact(reference, folder) == CONTENTS

    def test_a_serializer_says_which_format_a_file_has(self, folder: ArtifactFolder, tmp_path: Path) -> None:
        (tmp_path / "model.pkl").write_bytes(pickle.dumps(MODEL))
        assert load_artifact(deployed(tmp_path / "model.pkl", folder, "pickle"), folder, trusted=True) == MODEL

    def test_a_file_of_many_chunks_is_kept_without_holding_it(
        self, folder: ArtifactFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(artifacts, "_CHUNK_BYTES", 4)
        (tmp_path / "model").write_bytes(CONTENTS)
        assert max(map(len, artifacts.chunks_of(tmp_path / "model"))) == 4
        assert folder.read(deployed(tmp_path / "model", folder)) == CONTENTS

    @pytest.mark.parametrize("path", ["", "missing", "n" * 300, "a\0b", "/dev/zero", "/proc/self/mem"])
    @pytest.mark.parametrize("preview", [False, True])
    def test_what_is_not_a_readable_file_is_refused_before_anything_is_made(
        self, folder: ArtifactFolder, tmp_path: Path, path: str, preview: bool
    ) -> None:
        refused = refusal_of(lambda: deployed(tmp_path / path, folder, preview=preview))
        assert refused.facts == {"argument": "model_or_reference"}
        assert not folder.root.exists()

    def test_none_is_nothing_to_deploy(self, folder: ArtifactFolder) -> None:
        assert "nothing to deploy" in refusal_of(lambda: deployed(None, folder, "pickle")).sentence

    @pytest.mark.parametrize("preview", [False, True])
    def test_contents_without_a_folder_are_refused(self, preview: bool) -> None:
        for model in (MODEL, CONTENTS, Path(__file__)):
            call = lambda model=model: deployed(model, None, preview=preview)  # noqa: E731 - a call to be refused
            assert "artifacts=" in refusal_of(call).hint

    def test_an_object_that_can_not_be_written_is_refused_with_the_type_and_the_cause(
        self, folder: ArtifactFolder
    ) -> None:
        class Stubborn:
            def __reduce__(self) -> str:
                raise StopIteration

        endless: list[object] = []
        for _ in range(100_000):
            endless = [endless]
        for model, name, cause in [
            (lambda: 0, "function", "Error("),
            ((one for one in [0]), "generator", "TypeError"),
            (Stubborn(), "Stubborn", "StopIteration"),
            (endless, "list", "RecursionError"),
        ]:
            sentence = refusal_of(lambda model=model: deployed(model, folder)).sentence  # type: ignore[misc]
            assert f"can't write a {name}" in sentence
            assert cause in sentence
        assert "TypeError" in refusal_of(lambda: deployed(MODEL, folder, "bytes")).sentence
        assert not folder.root.exists()

    def test_a_serializer_that_makes_no_bytes_is_refused(self, folder: ArtifactFolder) -> None:
        class Texts(Upper):
            def dumps(self, model: object, /) -> bytes:
                return str(model)  # type: ignore[return-value]

        assert "made str, not bytes" in refusal_of(lambda: deployed(MODEL, folder, Texts())).sentence

    def test_a_preview_gives_the_same_reference_and_stores_nothing(
        self, folder: ArtifactFolder, tmp_path: Path
    ) -> None:
        (tmp_path / "model").write_bytes(CONTENTS)
        models = [MODEL, CONTENTS, tmp_path / "model", f"sha256:{DIGEST}", "s3://x"]
        previews = [deployed(model, folder, preview=True) for model in models]
        assert not folder.root.exists()
        assert previews == [deployed(model, folder) for model in models]


class TestLoading:
    def test_pickle_needs_trust_and_then_gives_the_object(self, folder: ArtifactFolder) -> None:
        reference = deployed(MODEL, folder)
        with pytest.raises(ArtifactUntrustedError, match="trusted=True"):
            load_artifact(reference, folder)
        assert load_artifact(reference, folder, trusted=True) == MODEL

    def test_without_trust_not_even_the_contents_are_read(self, folder: ArtifactFolder) -> None:
        reference = deployed(MODEL, folder)
        place_of(folder, reference.digest).unlink()
        with pytest.raises(ArtifactUntrustedError):
            load_artifact(reference, folder, trusted=False)

    @pytest.mark.parametrize("trusted", [None, 1, "yes", []])
    def test_trust_is_true_or_false(self, folder: ArtifactFolder, trusted: object) -> None:
        reference = deployed(MODEL, folder)
        call = functools.partial(load_artifact, reference, folder, trusted=trusted)  # type: ignore[arg-type]
        assert "True or False" in refusal_of(call).sentence

    @pytest.mark.parametrize("uri", ["s3://bucket/model", "sha256:short", f"SHA256:{DIGEST}", DIGEST, "sha256:"])
    @pytest.mark.parametrize("with_folder", [True, False])
    def test_of_a_reference_only_the_reference_is_kept(
        self, folder: ArtifactFolder, uri: str, with_folder: bool
    ) -> None:
        with pytest.raises(ArtifactNotFoundError, match="keeps only a reference") as missing:
            load_artifact(ArtifactRef(uri, DIGEST), folder if with_folder else None, trusted=True)
        assert "Fetch it from there" in missing.value.hint
        with pytest.raises(ArtifactNotFoundError):
            folder.read(ArtifactRef(uri))

    def test_contents_that_are_gone_are_not_found(self, folder: ArtifactFolder) -> None:
        with pytest.raises(ArtifactNotFoundError, match=DIGEST):
            load_artifact(ArtifactRef(f"sha256:{DIGEST}"), folder, serializer="bytes")
        assert not folder.root.exists()

    def test_without_a_folder_nothing_can_be_loaded(self, folder: ArtifactFolder) -> None:
        reference = deployed(CONTENTS, folder)
        assert "artifacts=" in refusal_of(lambda: load_artifact(reference, None)).hint

    @pytest.mark.parametrize("media_type", [None, "", "text/upper", "application/x-python-pickle; x"])
    def test_a_media_type_that_nobody_knows_needs_the_serializer(
        self, folder: ArtifactFolder, media_type: str | None
    ) -> None:
        reference = folder.store(b"HELLO", media_type)
        assert "Pass serializer=" in refusal_of(lambda: load_artifact(reference, folder, serializers=[None])).hint
        assert load_artifact(reference, folder, serializer=Upper()) == "HELLO"

    def test_a_serializer_of_the_registry_is_found_by_its_media_type(self, folder: ArtifactFolder) -> None:
        reference = deployed(Note("hello"), folder, Upper())
        assert load_artifact(reference, folder, serializers=[None, "pickle", Upper()]) == "HELLO"

    def test_and_before_the_built_in_ones(self, folder: ArtifactFolder) -> None:
        mine = Upper(media_type="application/octet-stream")
        assert load_artifact(deployed(b"HELLO", folder), folder, serializers=[mine]) == "HELLO"

    def test_a_serializer_that_is_given_is_used_whatever_the_media_type(self, folder: ArtifactFolder) -> None:
        assert load_artifact(deployed(MODEL, folder), folder, serializer="bytes") == pickle.dumps(MODEL, protocol=5)
        with pytest.raises(ArtifactUntrustedError):
            load_artifact(deployed(CONTENTS, folder), folder, serializer="pickle")

    @pytest.mark.parametrize("name", ["pickle", "skops"])
    def test_contents_of_another_format_are_refused_with_the_cause(self, folder: ArtifactFolder, name: str) -> None:
        reference = deployed(CONTENTS, folder)
        refused = refusal_of(lambda: load_artifact(reference, folder, trusted=True, serializer=name))
        assert "can't load the contents" in refused.sentence
        assert isinstance(refused.__cause__, Exception)


class TestSkops:
    def test_a_model_of_scikit_learn_needs_no_trust(self, folder: ArtifactFolder) -> None:
        linear_model = importlib.import_module("sklearn.linear_model")  # the processes below need not wait for it
        model = linear_model.LogisticRegression().fit([[0.0], [1.0]], [0, 1])
        reference = deployed(model, folder, "skops")
        loaded: Any = load_artifact(reference, folder)
        assert reference.media_type == "application/x-skops"
        assert list(loaded.predict([[0.0], [1.0]])) == [0, 1]

    @pytest.mark.parametrize("trusted", [False, True])
    def test_types_that_nobody_trusts_are_named_and_not_built(self, folder: ArtifactFolder, trusted: bool) -> None:
        with pytest.raises(ArtifactUntrustedError, match=r"fractions\.Fraction") as untrusted:
            load_artifact(deployed(MODEL, folder, "skops"), folder, trusted=trusted)
        assert untrusted.value.to_dict()["types"] == ["fractions.Fraction"]
        assert "trusted_types" in untrusted.value.hint

    def test_a_caller_trusts_them_by_name(self, folder: ArtifactFolder) -> None:
        mine = SkopsSerializer(trusted_types=["fractions.Fraction"])
        reference = deployed(MODEL, folder, "skops")
        assert load_artifact(reference, folder, serializer=mine) == MODEL
        assert load_artifact(reference, folder, serializers=[mine]) == MODEL

    def test_without_the_package_the_error_says_what_to_install(
        self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reference = deployed(MODEL, folder, "skops")
        monkeypatch.setitem(importlib.sys.modules, "skops.io", None)  # type: ignore[attr-defined]
        for call in (lambda: deployed(MODEL, folder, "skops"), lambda: load_artifact(reference, folder)):
            assert "pip install skops" in refusal_of(call).hint


class TestThatTheseTestsWouldNotice:
    """Each breaks the library in one place, and one of the tests above must fail."""

    def test_pickle_that_claims_to_run_no_code(self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(PickleSerializer, "runs_code", False)
        with pytest.raises(pytest.fail.Exception):
            TestLoading().test_pickle_needs_trust_and_then_gives_the_object(folder)
