"""From nothing to a version that answers, in the fewest lines.

You learn: how to deploy with one call, which version answers, how to put another one in its place, and how to go back.
"""

import contextlib
import tempfile

import versioning


def shout(text: str) -> str:
    """Stand in for a model: anything that has `predict`, or that can be called."""
    return text.upper()


def whisper(text: str) -> str:
    """Stand in for a better one."""
    return text.lower()


def main() -> None:
    """Deploy, invoke, deploy again, roll back."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        # No registry was opened: this call opens versioning.db in the current folder, or what VERSIONING_URL names.
        first = versioning.deploy(shout, model_name="My wonderful model", version_bump="MAJOR", publish=True)
        print(first.number, first.stage, first.status)  # the first number is 0.1.0, whatever bump is asked

        with versioning.default_registry() as registry:
            # A pickle can run code when it is loaded, so it wants to hear that you trust its origin.
            print(registry.invoke("My wonderful model", "Hello", trusted=True))

            second = versioning.deploy(whisper, model_name="My wonderful model", version_bump="MAJOR", publish=True)
            print(second.number, registry.invoke("My wonderful model", "Hello", trusted=True))

            registry.rollback("My wonderful model", reason="they can't hear us")
            print(registry.resolve("My wonderful model").number)

            for recorded in registry.history("My wonderful model"):
                print(recorded.position, type(recorded.event).__name__, recorded.reason or "")


if __name__ == "__main__":
    main()
