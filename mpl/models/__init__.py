"""Image classifiers of Pham 2021, ch. 5, as flax modules, and what makes functions of them."""
