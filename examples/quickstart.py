"""From nothing to a version that answers, in the fewest lines.

You learn how to deploy with one call, which version answers, how to replace it, and how to go back.
"""

import contextlib
import tempfile

import versioning


def shout(text: str) -> str:
    """Stand in for a model: anything that has `predict` or can be called."""
    return text.upper()


def whisper(text: str) -> str:
    """Stand in for a better one."""
    return text.lower()


def main() -> None:
    """Deploy, invoke, deploy again, roll back."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        # This call opens a default registry: at VERSIONING_URL, else versioning.db in the current folder.
        first = versioning.deploy(shout, model_name="My wonderful model", version_bump="MAJOR", publish=True)
        print(first.number, first.stage, first.status)  # the first number is always 0.1.0

        with versioning.default_registry() as registry:
            # Loading a pickle can run code that it contains, so you have to say that you trust its origin.
            print(registry.invoke("My wonderful model", "Hello", trusted=True))

            second = versioning.deploy(whisper, model_name="My wonderful model", version_bump="MAJOR", publish=True)
            print(second.number, registry.invoke("My wonderful model", "Hello", trusted=True))

            registry.rollback("My wonderful model", reason="they can't hear us")
            print(registry.resolve("My wonderful model").number)

            for recorded in registry.history("My wonderful model"):
                print(recorded.position, type(recorded.event).__name__, recorded.reason or "")


if __name__ == "__main__":
    main()
