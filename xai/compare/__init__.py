"""How decision patterns differ: two networks, clean and degraded images, pictures and evidence.

A `Study` says what is compared, a `Bench` has the networks and images at hand, and each of `SECTIONS` answers one
question in two steps: `measure` asks the networks and gives one row per image, `summarise` turns rows into numbers
and sentences. Rows are stored, so that every number of a report can be computed again from them.
"""
