"""The benchmark: several systems given the same work in one run, and the ratios between them.

Kept true: the clock of a figure starts at the first delivery (or at the first byte sent, for ingest), never
at the harness's own preparation, and ends when everything is delivered *and* recorded; systems take turns (A
B A B), each in a fresh process, and every figure is shown with its spread. Readers, publishers and servers
are processes of their own. Left out: thresholds. A run fails only when something is wrong (a lost delta, a
crash).
"""
