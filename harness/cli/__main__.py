"""`python -m harness.cli`: the same as `meshmark`."""

from harness.cli import main

main()
