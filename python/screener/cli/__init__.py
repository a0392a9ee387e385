"""The command `screener`.

`app` declares commands and options; `inputs` turns them into candles and rules; `alerts`,
`explain` and `rulesets` compute what there is to tell; `output` lays it out and `files` writes it.
`history` declares `fetch`, and `fetched` tells what came of it; `keeping` and `kept` do the same
for `check`, `repair`, `undo`, `load` and `export`. `preview` declares `rules preview`.
`authoring` declares `rules new`, `rules fmt` and `rules schema`: `starter` has the text of a new
file, `formatting` the one layout of rules (`toml_text` keeps the comments), `schema` what editors
read; `rule_fields` is their one list of fields.
"""

import sys

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> None:
    """Run `screener`: exits with 0, or 1 for a refusal, 2 for wrong usage, 130 for Ctrl-C."""
    try:
        # Here, so that Ctrl-C is as quiet while the command's libraries load.
        from screener.cli.app import run

        run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
