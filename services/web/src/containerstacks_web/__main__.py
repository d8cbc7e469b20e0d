"""Start the web service: `containerstacks-web`."""

from containerstacks_shared.process.runtime import run_service

from .app import build


def main() -> None:
    run_service(build)


if __name__ == "__main__":
    main()
