"""How one training step runs on many devices and inside one device's memory.

A single walker over a jaxpr counts operations, bytes and lifetimes for whoever needs them; around
it are meshes, partition rules, compressed gradients, and plans for recomputation and offload.
"""
