"""Device placement: the discrete object is a device for every operation of a training step.

The room turns the jaxpr of a real training step into a graph of operations, scores placements by
a simulator or by running them on the devices at hand, and trains an attentional
sequence-to-sequence policy over groups of operations (Pham 2021, ch. 3).
"""
