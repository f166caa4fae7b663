"""Neural combinatorial optimisation: policy gradients and pointer networks on TSP and knapsack.

A stochastic policy proposes a discrete object, something scores it, and REINFORCE improves the
policy. This room holds that idea in its simplest form (Pham 2021, ch. 2): the estimators and
baselines that every other room uses (`nco.policy_gradient`), the problems (`nco.problems`), the
networks that point at the next city, and the searches that a trained policy guides. Everything
is a pure function of arrays and keys.
"""
