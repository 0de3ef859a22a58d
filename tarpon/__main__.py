"""The beginning of the command `tarpon`."""

import gc
import sys

from shared.runtime import garbage


def main() -> None:
    garbage.look_rarely()  # importing alone leads to thirty looks otherwise, a fifth of what a short command takes
    from tarpon.cli.program import run

    code = run(sys.argv[1:])
    gc.freeze()  # at its end Python would look through everything once more
    sys.exit(code)


if __name__ == "__main__":
    main()
