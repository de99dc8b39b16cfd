"""Parity: do two devices agree, as far as rounding allows? Against bounds that are derived, and probes that need none.

    report = md.parity(trainer, X, Y, a="cpu", b="cuda")
    print(report)

`sides` says what is compared, `cases` what is computed (`probes`, `ops`, `network`, `steps`, `special`, `randomness`),
`checking` and `compare` how it is judged, `rows` what a row holds, `report` and `table` what is said about it, and
`faults` and `self_test` how it is known that a fault would be found.
"""

from mathdl.parity.report import Report as Report
from mathdl.parity.running import parity as parity
