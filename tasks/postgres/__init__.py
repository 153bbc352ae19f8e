"""PostgreSQL: archives of pg_dump, and restoring one beside a running application.

In the order of a restore, each topic in a module of its own:

    archive          what a backup holds: opened, read to its end, counted
    connection       Target, and sessions that are named after the run and have limits
    lock, leftovers  one run at a time; what a dead run left on the server is ended
    marks            what state the data is in, written in the database itself
    live             facts of the live database, read in one message
    assess           what can't be restored beside, by name, before anything is touched
    stage            the backup beside the live data, loaded by several sessions and proved (prove)
    ties             what other schemas have to do with the restored one, taken along and checked afterwards
    loss             what a swap would take away, row by row, counted by the server
    swap             the cut-over, and its undo: one transaction of milliseconds
    bring_back       rows of what was set aside, back among the live ones
    generations      what is set aside, with its size
    forget           what was set aside, dropped without touching anything else
    drop, tools      strategy=drop: everything dropped, then pg_restore

Nothing here asks a platform or knows pyinfra; everything works under gevent's patched standard library.
"""
