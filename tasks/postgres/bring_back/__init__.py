"""Rows of what was set aside, back among the live ones, by queries over both schemas.

facts        tables, keys and foreign keys of both sides, read in one message
chosen       which rows are wanted, what can carry them over, what stands in the way by its shape
rows         the queries that find them: new rows, those that differ, those that come along
report       what the server has found, as counts and examples
write        one transaction that inserts them, with the keys written to files
taken        what its reverse would do, and what stands in the way
take_back    its reverse: exactly the rows that were inserted, where nobody has changed them since
"""
