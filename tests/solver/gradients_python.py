"""Python layers: their gradients are their authors'; those of the tests are in test_pycaffe_layers.py."""

NO_GRADIENT = {"Python"}
