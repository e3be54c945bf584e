"""Inner loops of networks that are chains of layers, for several tasks together, without a graph.

The product of the Hessian of a support's loss and a vector, which second-order meta-gradients need,
is the derivative of the gradient along the vector. It takes two more passes through the layers:
forward with tangents of activations, backward with tangents of gradients (Pearlmutter 1994, "Fast
Exact Multiplication by the Hessian"). `layers`, `products` and `batch_norm` have the four passes of
each layer, `chain` joins them, and `inner_loop` adapts weights.

Activations are (tasks, items, …). Pictures have their channels last in memory, which is faster on a
CPU.
"""
