"""The read side: what was called, what it cost, what is held. Reads SQL, changes nothing.

    parameters    the strings of a request -> a Query, or the error that names what is wrong with them
    visibility    who asks -> which accounts and which key the Query may look at
    sums          quarter-hour sums (and ledger entries, where no sum is kept) -> one row per bucket and group
    rendering     rows -> JSON or CSV, in pieces

Adding a report is one new file here with a `REPORT` constant; the registry finds it, and the route, the
command line and the contract suite run on it.
"""
