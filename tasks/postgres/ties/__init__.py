"""What other schemas have to do with the objects that a swap exchanges: untied and tied again.

A foreign key, a view, a publication follows a table by its number, not by its name: left alone it would go on
with the data that is set aside. Each such tie that our role owns is taken up in the swap's own transaction,
in place where the server allows it, and tried on the stage before.

    model        a tie as data: what unties it, what ties it again, which locks that takes
    catalog      the ties of a schema, read from the server
    relations    views, rules, triggers and defaults as statements
    rehearsal    each tie made over the staged objects, in a transaction that is rolled back
    settle       afterwards, blocking nobody: keys checked and orphans named, statistics computed in full
"""
