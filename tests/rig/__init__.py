"""What drives the real command: a host in a directory of its own, and a backend beside it.

    waiting    until something holds, with a deadline
    result     what a command came to
    process    a process that begins from nothing, and one that still runs
    forks      a process that has the imports already, for the many short commands
    terminal   a command on a terminal of its own
    host       HOME, config, state and environment of one host, and commands that run on it
    backend    a simulated backend, and ports where none listens
    children   Python code in a process of its own     raw_server   bytes of any kind for a client
    needs      a program that a test wants

The end-to-end tests, the crash points, chaos and the benchmark add what is theirs: what a wake
starts, what harm is done, what is judged, what is timed.
"""
