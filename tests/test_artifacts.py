"""What can be deployed, where its contents are kept, and what comes back (R21, R26, R27, R28)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import importlib
import multiprocessing
import os
import pickle
import resource
import signal
import stat
import time
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from versioning.artifacts import folder as artifacts
from versioning.artifacts.folder import DAY_S, ArtifactFolder
from versioning.artifacts.formats import SERIALIZERS, PickleSerializer, Serializer, SkopsSerializer, checked_serializer
from versioning.artifacts.loading import as_artifact, checked_reference, load_artifact
from versioning.errors import (
    ArtifactDamagedError,
    ArtifactNotFoundError,
    ArtifactUntrustedError,
    InvalidArgumentError,
    StoreError,
)
from versioning.events import ArtifactRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Barrier

    from versioning.artifacts.formats import AnySerializer

MODEL = Fraction(1, 3)
"""An object that pickle takes, and that skops takes and does not trust."""
CONTENTS = b"the contents of a model"
DIGEST = hashlib.sha256(CONTENTS).hexdigest()
OTHER_DIGEST = hashlib.sha256(b"others").hexdigest()
LONG_AGO_S = 1_000_000_000.0

utime = os.utime  # one of the mutations below takes it from the library


@pytest.fixture
def folder(tmp_path: Path) -> ArtifactFolder:
    return ArtifactFolder(tmp_path / "artifacts", "default")


def place_of(folder: ArtifactFolder, digest: str | None) -> Path:
    assert digest is not None
    return folder.path / digest[:2] / digest[2:]


def kept_in(folder: ArtifactFolder) -> list[str]:
    return sorted(path.parent.name + path.name for path in folder.path.glob("??/*"))


def drafts_in(folder: ArtifactFolder) -> list[Path]:
    return list(folder.path.glob("*.tmp"))


def make_old(path: Path) -> None:
    utime(path, (LONG_AGO_S, LONG_AGO_S))


def deployed(
    model: object, folder: ArtifactFolder | None, serializer: AnySerializer | None = None, **options: bool
) -> ArtifactRef:
    return as_artifact(model, serializer, "pickle", folder, **options)


def refusal_of(call: Callable[[], object]) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as refused:
        call()
    assert str(refused.value).isprintable()
    return refused.value


@attrs.frozen
class Upper:
    """A format of a caller's own, for text in capitals."""

    name: str = "upper"
    media_type: str = "text/upper"
    runs_code: bool = False

    def dumps(self, model: Note, /) -> bytes:
        return model.text.upper().encode()

    def loads(self, contents: bytes, /) -> object:
        return contents.decode()


@attrs.frozen
class Note:
    text: str


class Evil:
    """Loading its pickle makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


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
            ("u" * 2_001, "has 2001 characters, and 2000 is the most"),
            ("", "is blank"),
            (" \u2003", "is blank"),
            ("a\0b", "has control characters"),
            ("a\nb", "has control characters"),
            ("a\x7f", "has control characters"),
            ("a\x85", "has control characters"),
            ("a\ud800", "has half of a surrogate pair"),
            (7, "is a URI as text or an ArtifactRef, not int"),
            (ArtifactRef(7), "is text, not int"),  # type: ignore[arg-type]
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
            (ArtifactRef("u", None, None, "m" * 201), "has 201 characters, and 200 is the most"),
            (ArtifactRef("u", None, None, "a\tb"), "has control characters"),
            (ArtifactRef("u", None, None, "\udfff"), "has half of a surrogate pair"),
            (ArtifactRef("u", None, None, 5), "is text, not int"),  # type: ignore[arg-type]
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


class TestTheFolder:
    def test_it_is_made_at_the_first_store(self, folder: ArtifactFolder) -> None:
        assert folder.collect(set()) == []
        folder.refresh(ArtifactRef(f"sha256:{DIGEST}"))
        assert not folder.root.exists()
        folder.store(CONTENTS)
        assert kept_in(folder) == [DIGEST]

    def test_it_stays_where_it_was_when_the_process_moves(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        folder = ArtifactFolder(Path("relative"), "default")
        reference = folder.store(CONTENTS)
        monkeypatch.chdir("/")
        assert folder.read(reference) == CONTENTS

    def test_the_same_contents_are_kept_once(self, folder: ArtifactFolder, tmp_path: Path) -> None:
        (tmp_path / "model").write_bytes(CONTENTS)
        assert folder.store(CONTENTS) == folder.store(CONTENTS) == folder.store_file(tmp_path / "model")
        assert (kept_in(folder), drafts_in(folder)) == ([DIGEST], [])

    def test_contents_that_are_there_are_not_written_again(self, folder: ArtifactFolder) -> None:
        reference = folder.store(CONTENTS)
        before = place_of(folder, reference.digest).stat().st_ino
        folder.store(CONTENTS)
        assert place_of(folder, reference.digest).stat().st_ino == before

    @pytest.mark.parametrize("damage", [b"", CONTENTS[:-1], CONTENTS + b"!", CONTENTS[::-1]])
    def test_storing_again_repairs_a_damaged_file(self, folder: ArtifactFolder, damage: bytes, tmp_path: Path) -> None:
        (tmp_path / "model").write_bytes(CONTENTS)
        again: list[Callable[[], ArtifactRef]] = [
            lambda: folder.store(CONTENTS),
            lambda: folder.store_file(tmp_path / "model"),
        ]
        for store in again:
            reference = store()
            place_of(folder, reference.digest).write_bytes(damage)
            store()
            assert folder.read(reference) == CONTENTS

    def test_the_file_is_on_disk_before_it_has_its_name_and_the_name_before_the_answer(
        self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[bool, list[str]]] = []
        fsync = os.fsync

        def recorded(descriptor: int) -> None:
            fsync(descriptor)
            seen.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), kept_in(folder)))

        monkeypatch.setattr(os, "fsync", recorded)
        folder.store(CONTENTS)
        assert seen[-3:] == [(False, []), (True, []), (True, [DIGEST])]
        assert all(is_folder for is_folder, _ in seen[:-3])
        folder.store(CONTENTS)
        assert seen[-2:] == [(True, [DIGEST])] * 2

    def test_others_may_read_what_the_umask_lets_them(self, folder: ArtifactFolder) -> None:
        umask = os.umask(0o022)
        try:
            reference = folder.store(CONTENTS)
        finally:
            os.umask(umask)
        assert stat.S_IMODE(place_of(folder, reference.digest).stat().st_mode) == 0o644

    def test_on_a_full_disk_it_says_so_and_leaves_nothing(self, folder: ArtifactFolder) -> None:
        folder.store(b"small")
        with files_of_at_most(4_096), pytest.raises(StoreError, match=os.strerror(errno.EFBIG)) as full:
            folder.store(bytes(100_000))
        assert "room" in full.value.hint
        assert (len(kept_in(folder)), drafts_in(folder)) == (1, [])

    def test_a_folder_that_can_not_be_made_is_an_error_of_the_store(self, folder: ArtifactFolder) -> None:
        folder.root.write_text("in the way")
        with pytest.raises(StoreError, match="can't be written"):
            folder.store(CONTENTS)

    def test_a_folder_that_can_not_be_read_is_an_error_of_the_store(self, folder: ArtifactFolder) -> None:
        reference = folder.store(CONTENTS)
        folder.path.rename(folder.root / "moved")
        folder.path.write_text("in the way")
        with pytest.raises(StoreError, match="can't be read"):
            folder.read(reference)

    def test_a_folder_that_can_not_be_tidied_is_an_error_of_the_store(self, folder: ArtifactFolder) -> None:
        (folder.path / "folder.tmp").mkdir(parents=True)
        make_old(folder.path / "folder.tmp")
        with pytest.raises(StoreError, match="can't be tidied"):
            folder.collect(set())


class TestWorkspaces:
    HOSTILE = (
        "",
        ".",
        "..",
        "../..",
        "/",
        "/etc",
        "a\0b",
        "a/b",
        "A",
        "a",
        "é",
        "e\u0301",
        "😀" * 200,
        "\ud800",
        "nul",
    )

    def test_no_workspace_leads_out_of_the_root(self, tmp_path: Path) -> None:
        for workspace in self.HOSTILE:
            folder = ArtifactFolder(tmp_path / "root", workspace)
            folder.store(CONTENTS)
            assert folder.path.parent == tmp_path / "root"
        assert [path.name for path in tmp_path.iterdir()] == ["root"]

    def test_no_two_share_a_folder_even_where_case_does_not_count(self, tmp_path: Path) -> None:
        names = {ArtifactFolder(tmp_path, workspace).path.name.lower() for workspace in self.HOSTILE}
        assert len(names) == len(self.HOSTILE)

    def test_how_contents_are_can_be_looked_at(self, tmp_path: Path) -> None:
        folder = ArtifactFolder(tmp_path, "default")
        digest = str(folder.store(b"x").digest)
        assert (folder.look_at(digest), folder.look_at("0" * 64)) == ("intact", "missing")
        (folder.path / digest[:2] / digest[2:]).write_bytes(b"y")
        assert folder.look_at(digest) == "damaged"
        assert ArtifactFolder(tmp_path, "other").look_at(digest) == "missing"

    def test_one_never_reads_refreshes_or_collects_anothers(self, tmp_path: Path) -> None:
        ours, theirs = ArtifactFolder(tmp_path, "ours"), ArtifactFolder(tmp_path, "theirs")
        reference = theirs.store(CONTENTS)
        make_old(place_of(theirs, DIGEST))
        ours.refresh(reference)
        with pytest.raises(ArtifactNotFoundError):
            ours.read(reference)
        assert ours.collect(set()) == []
        assert theirs.read(reference) == CONTENTS
        assert theirs.collect(set()) == [DIGEST]


class TestCollecting:
    def test_what_nobody_refers_to_is_erased_and_named(self, folder: ArtifactFolder) -> None:
        for contents in (CONTENTS, b"others", b"more"):
            make_old(place_of(folder, folder.store(contents).digest))
        more = hashlib.sha256(b"more").hexdigest()
        assert folder.collect({OTHER_DIGEST}) == sorted([DIGEST, more])
        assert kept_in(folder) == [OTHER_DIGEST]
        assert folder.collect(frozenset) == [OTHER_DIGEST]
        assert folder.collect(set()) == []

    @pytest.mark.parametrize(("age_s", "erased"), [(DAY_S - 1, []), (DAY_S, [DIGEST]), (-DAY_S, [])])
    def test_nothing_younger_than_a_day_is_erased(self, folder: ArtifactFolder, age_s: int, erased: list[str]) -> None:
        folder.store(CONTENTS)
        utime(place_of(folder, DIGEST), (LONG_AGO_S, LONG_AGO_S - age_s))
        assert folder.collect(set(), now=LONG_AGO_S) == erased

    def test_another_age_can_be_asked_for(self, folder: ArtifactFolder) -> None:
        folder.store(CONTENTS)
        utime(place_of(folder, DIGEST), (LONG_AGO_S, LONG_AGO_S))
        assert folder.collect(set(), now=LONG_AGO_S + 9, older_than_s=10) == []
        assert folder.collect(set(), now=LONG_AGO_S + 10, older_than_s=10) == [DIGEST]

    @pytest.mark.parametrize("by", ["bytes", "file", "uri", "reference"])
    def test_deploying_again_keeps_contents_for_another_day(
        self, folder: ArtifactFolder, tmp_path: Path, by: str
    ) -> None:
        (tmp_path / "model").write_bytes(CONTENTS)
        reference = deployed(CONTENTS, folder)
        make_old(place_of(folder, DIGEST))
        deployed(
            {"bytes": CONTENTS, "file": tmp_path / "model", "uri": reference.uri, "reference": reference}[by], folder
        )
        assert folder.collect(set()) == []

    def test_a_preview_does_not(self, folder: ArtifactFolder) -> None:
        reference = deployed(CONTENTS, folder)
        make_old(place_of(folder, DIGEST))
        deployed(reference, folder, preview=True)
        assert folder.collect(set()) == [DIGEST]

    def test_what_is_stored_while_the_references_are_read_stays(self, folder: ArtifactFolder) -> None:
        what_is_stored_while_the_references_are_read_stays(folder)

    def test_what_grows_a_day_old_while_the_references_are_read_stays(
        self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder.store(CONTENTS)
        make_old(place_of(folder, DIGEST))
        present = [LONG_AGO_S + DAY_S - 1, LONG_AGO_S + DAY_S + 1]
        monkeypatch.setattr(time, "time", lambda: present[0])
        assert folder.collect(lambda: {hashlib.sha256(str(present.pop(0)).encode()).hexdigest()}) == []
        assert folder.collect(set()) == [DIGEST]

    def test_what_takes_a_day_to_store_is_young_when_it_has_its_name(
        self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def slow(_: int) -> None:
            for draft in drafts_in(folder):
                make_old(draft)

        monkeypatch.setattr(os, "fsync", slow)
        folder.store(CONTENTS)
        assert folder.collect(set()) == []

    def test_what_is_stored_while_it_waits_for_its_turn_stays(
        self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder.store(CONTENTS)
        make_old(place_of(folder, DIGEST))
        locked = ArtifactFolder._locked

        def late(folder: ArtifactFolder) -> contextlib.AbstractContextManager[None]:
            utime(place_of(folder, DIGEST))
            return locked(folder)

        monkeypatch.setattr(ArtifactFolder, "_locked", late)
        assert folder.collect(set()) == []
        assert kept_in(folder) == [DIGEST]

    @pytest.mark.parametrize("by", ["look", "touch"])
    def test_contents_erased_while_they_are_stored_again_are_written_anew(
        self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch, by: str
    ) -> None:
        reference = folder.store(CONTENTS)
        make_old(place_of(folder, DIGEST))
        is_intact = ArtifactFolder._is_intact

        def slow(folder: ArtifactFolder, digest: str) -> bool:
            erased_before = by == "look" and folder.collect(set())
            found = is_intact(folder, digest)
            assert erased_before or folder.collect(set())
            return found

        monkeypatch.setattr(ArtifactFolder, "_is_intact", slow)
        folder.store(CONTENTS)
        assert folder.read(reference) == CONTENTS

    def test_what_another_collector_erased_first_is_not_named(self, folder: ArtifactFolder) -> None:
        folder.store(CONTENTS)
        place = place_of(folder, DIGEST)
        make_old(place)
        assert folder._erase(place, LONG_AGO_S)
        assert not folder._erase(place, LONG_AGO_S)

    @pytest.mark.parametrize(
        "referenced",
        [[], None, "", DIGEST, [DIGEST], {f"sha256:{DIGEST}"}, {DIGEST.upper()}, {None}, list, lambda: {7}],
    )
    def test_what_is_not_a_set_of_digests_is_refused_because_everything_would_go(
        self, folder: ArtifactFolder, referenced: object
    ) -> None:
        folder.store(CONTENTS)
        make_old(place_of(folder, DIGEST))
        assert "set of digests" in refusal_of(lambda: folder.collect(referenced)).sentence  # type: ignore[arg-type]
        assert kept_in(folder) == [DIGEST]

    def test_files_of_others_are_left_alone(self, folder: ArtifactFolder) -> None:
        folder.store(CONTENTS)
        strangers = [folder.path / "ab" / "readme.txt", folder.path / "readme.txt", folder.path / "zz" / ("a" * 62)]
        for path in [*strangers, place_of(folder, DIGEST)]:
            path.parent.mkdir(exist_ok=True)
            path.touch()
            make_old(path)
        assert folder.collect(set()) == [DIGEST]
        assert all(path.exists() for path in strangers)


class TestProcesses:
    def test_of_a_process_that_dies_before_the_end_nothing_can_be_seen_and_a_day_later_nothing_is_left(
        self, folder: ArtifactFolder
    ) -> None:
        killed = multiprocessing.get_context("spawn").Process(target=store_and_die, args=(folder,))
        killed.start()
        killed.join(30)
        assert killed.exitcode == -signal.SIGKILL
        assert kept_in(folder) == []
        folder.collect(set(), older_than_s=0)  # others may still be writing theirs
        [draft] = drafts_in(folder)
        make_old(draft)
        folder.collect(set())
        assert drafts_in(folder) == []
        assert folder.read(folder.store(CONTENTS)) == CONTENTS

    def test_one_at_a_time_touches_or_erases_and_a_process_forked_meanwhile_holds_nobody_up(
        self, folder: ArtifactFolder
    ) -> None:
        folder.store(CONTENTS)
        with (folder.path / ".lock").open("rb") as other, contextlib.ExitStack() as stack:
            with folder._locked():
                held = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
                same = [one for one in held if one != other.fileno() and leads_to(one, folder.path / ".lock")]
                stack.callback(os.close, os.dup(same[0]))  # as a fork has it
                with pytest.raises(BlockingIOError):
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_a_name_is_given_made_young_and_taken_away_under_the_lock_only(
        self, folder: ArtifactFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []

        def watched(owner: object, name: str) -> None:
            real = getattr(owner, name)

            def under_the_lock(path: Path, *rest: object, **options: object) -> object:
                if name != "unlink" or path.suffix != ".tmp":
                    with (folder.path / ".lock").open("rb") as other, pytest.raises(BlockingIOError):
                        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    done.append(name)
                return real(path, *rest, **options)

            monkeypatch.setattr(owner, name, under_the_lock)

        for owner, name in [(os, "utime"), (Path, "replace"), (Path, "unlink")]:
            watched(owner, name)
        (tmp_path / "model").write_bytes(CONTENTS)
        folder.store_file(tmp_path / "model")
        folder.store(CONTENTS)
        make_old(place_of(folder, DIGEST))
        folder.collect(set())
        assert done == ["utime", "replace", "utime", "unlink"]

    def test_while_two_store_and_a_third_collects_nothing_that_is_referred_to_is_ever_missing(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "references").mkdir()
        spawn = multiprocessing.get_context("spawn")
        counts: list[SimpleQueue[int]] = [spawn.SimpleQueue() for _ in range(3)]
        ready = spawn.Barrier(3)
        processes = [
            spawn.Process(target=role, args=(tmp_path, ready, count))
            for role, count in zip([deploy_and_delete, deploy_and_delete, age_and_collect], counts, strict=True)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert all(count.get() > 0 for count in counts)  # all had something to do


class TestThatTheseTestsWouldNotice:
    """Each breaks the library in one place, and one of the tests above must fail."""

    def test_a_missing_look_at_the_digest(self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(artifacts, "_check", lambda *_: None)
        with pytest.raises(pytest.fail.Exception):
            damage_is_noticed_before_anything_is_loaded(folder)

    def test_a_look_at_the_size_alone(self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(artifacts.hashlib, "sha256", lambda *_: Constant())  # type: ignore[attr-defined]
        with pytest.raises(InvalidArgumentError, match="can't load"):
            damage_is_noticed_before_anything_is_loaded(folder)

    def test_pickle_that_claims_to_run_no_code(self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(PickleSerializer, "runs_code", False)
        with pytest.raises(pytest.fail.Exception):
            TestLoading().test_pickle_needs_trust_and_then_gives_the_object(folder)

    def test_a_store_that_does_not_make_young(self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "utime", lambda *_: None)
        with pytest.raises(AssertionError):
            what_is_stored_while_the_references_are_read_stays(folder)


class TestDamage:
    def test_it_is_noticed_before_anything_is_loaded(self, folder: ArtifactFolder) -> None:
        damage_is_noticed_before_anything_is_loaded(folder)

    @pytest.mark.parametrize(
        "reference", [ArtifactRef(f"sha256:{DIGEST}", OTHER_DIGEST), ArtifactRef(f"sha256:{DIGEST}", DIGEST, 22)]
    )
    def test_an_event_that_tells_another_digest_or_size_is_damage_too(
        self, folder: ArtifactFolder, reference: ArtifactRef
    ) -> None:
        folder.store(CONTENTS)
        with pytest.raises(ArtifactDamagedError, match="backup"):
            folder.read(reference)


class Constant:
    """A digest that is always the same."""

    def update(self, contents: bytes) -> None:
        pass

    def hexdigest(self) -> str:
        return DIGEST


def damage_is_noticed_before_anything_is_loaded(folder: ArtifactFolder) -> None:
    mark = folder.root / "loaded"
    good, evil = PickleSerializer().dumps(MODEL), PickleSerializer().dumps(Evil(mark))
    reference = folder.store(good, PickleSerializer.media_type)
    short, turned = good[:-1], bytes([*good[:-1], good[-1] ^ 1])
    for damaged in (evil, b"", short, turned):
        place_of(folder, reference.digest).write_bytes(damaged)
        with pytest.raises(ArtifactDamagedError):
            load_artifact(reference, folder, trusted=True)
    assert not mark.exists()


def what_is_stored_while_the_references_are_read_stays(folder: ArtifactFolder) -> None:
    folder.store(CONTENTS)
    make_old(place_of(folder, DIGEST))

    def referenced() -> set[str]:
        folder.store(CONTENTS)
        return set()

    assert folder.collect(referenced) == []
    assert kept_in(folder) == [DIGEST]


@contextlib.contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Make the system itself refuse what is beyond, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def leads_to(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


# What the processes above do.

SECONDS = 1.0


def store_and_die(folder: ArtifactFolder) -> None:
    Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment,method-assign]
    folder.store(CONTENTS)


def deploy_and_delete(root: Path, ready: Barrier, count: SimpleQueue[int]) -> None:
    """Store contents that others store too, refer to them, read them, and refer to them no more."""
    folder, rounds = ArtifactFolder(root / "artifacts", "default"), 0
    ready.wait(30)
    until = time.monotonic() + SECONDS
    with (root / "gate").open("ab") as gate:
        while time.monotonic() < until:
            contents = f"model {rounds % 3}".encode()
            fcntl.flock(gate, fcntl.LOCK_SH)  # a day does not pass between storing and recording
            reference = folder.store(contents)
            record = root / "references" / f"{reference.digest}.{os.getpid()}"
            record.touch()
            fcntl.flock(gate, fcntl.LOCK_UN)
            for _ in range(3):
                assert folder.read(reference) == contents
            record.unlink()
            rounds += 1
    count.put(rounds)


def age_and_collect(root: Path, ready: Barrier, count: SimpleQueue[int]) -> None:
    """Let a day pass in a moment, and erase what nobody refers to."""
    folder, erased = ArtifactFolder(root / "artifacts", "default"), 0
    ready.wait(30)
    until = time.monotonic() + SECONDS
    with (root / "gate").open("ab") as gate:
        while time.monotonic() < until:
            fcntl.flock(gate, fcntl.LOCK_EX)
            for path in folder.path.glob("??/*"):
                make_old(path)
            fcntl.flock(gate, fcntl.LOCK_UN)
            erased += len(folder.collect(lambda: {path.stem for path in (root / "references").iterdir()}))
    count.put(erased)
