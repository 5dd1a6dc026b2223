"""
Load: requests at a fixed rate, and how long each took from the moment it was due.

`open_loop` and `agent` run inside a client pod, in a process of Locust's own; `arms` runs in the
harness and tells the agents what to send, arm by arm, in interleaved blocks.
"""
