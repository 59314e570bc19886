"""seqlib: the package that the chapters of *Sequence models you can touch* share.

Nothing is imported here, so that `import seqlib.rnn` costs no more than that module needs.
"""
