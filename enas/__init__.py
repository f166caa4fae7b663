"""Efficient neural architecture search: the discrete object is a network.

All candidate networks share one set of weights, so that a controller can be trained on thousands
of them at about the price of one; this room holds the controller, the search spaces with their
shared weights, and what competes with them (Pham 2021, ch. 4).
"""
