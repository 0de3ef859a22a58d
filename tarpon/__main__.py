"""The beginning of the command `tarpon`."""

import sys


def main() -> None:
    from tarpon.cli.program import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
