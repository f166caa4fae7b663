"""Problems as pure functions: draw instances, say which decisions are feasible, score an answer.

One module a problem. Each can be swapped for another wherever a policy is trained, because none
of them knows a network, an optimiser or a training loop.
"""
