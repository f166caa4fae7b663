"""Search over user-defined spaces: trees and surrogates propose the points, not only policies.

Monte-Carlo tree search, learned partitions of a space, and the baselines that a user would
compare with, behind one interface of three functions (init, ask, tell) that knows neither how an
objective is evaluated nor where.
"""
