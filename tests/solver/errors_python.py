"""The mistakes that Python layers report; what shows once they are allowed is tested in test_pycaffe_layers.py."""

ROWS = [
    ({"x": (2, 3)},
     'layer { name: "p" type: "Python" bottom: "x" top: "y" python_param { module: "m" layer: "C" } }\n',
     "AT layer 'p' (Python): would run code of the module 'm': if you trust it, allow it with pycaffe.install() or "
     "pycaffe.allow_python_layers() in a script, or with BATCHBREW_PYTHON_LAYERS=1 in the environment"),
]  # fmt: skip

RUN_ONLY = ("there is no module", "has no class", "is no Python layer")
