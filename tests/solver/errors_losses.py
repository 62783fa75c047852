"""The mistakes that losses reading labels report."""

from engine_support import layer

XL = {"x": (2, 3), "label": (2,)}
H = {**XL, "h": (3, 3)}
SPARSE = {"x": (2, 3), "label": (2, 2)}


def loss(kind, rest="", bottoms="x label"):
    return layer("l", kind, bottoms, "loss", rest)


ROWS = [
    *(({"x": (2, 3), "label": (3,)}, loss(kind),
       f"AT layer 'l' ({kind}): needs predictions and labels of equally many samples (axis 0), found (2, 3), (3,)")
      for kind in ("SigmoidCrossEntropyLoss", "HingeLoss", "MultinomialLogisticLoss")),
    ({"x": (2, 3), "label": (3,), "h": (3, 3)}, loss("InfogainLoss", bottoms="x label h"),
     "AT layer 'l' (InfogainLoss): needs predictions and labels of equally many samples (axis 0), found (2, 3), (3,)"),
    ({"x": (), "label": ()}, loss("HingeLoss"),
     "AT layer 'l' (HingeLoss): needs predictions and labels of equally many samples (axis 0), found (), ()"),
    ({"x": (2, 3), "z": (2, 3), "label": (3,)}, loss("ContrastiveLoss", bottoms="x z label"),
     "AT layer 'l' (ContrastiveLoss): needs predictions and labels of equally many samples (axis 0), "
     "found (2, 3), (2, 3), (3,)"),
    (SPARSE, loss("SigmoidCrossEntropyLoss"),
     "AT layer 'l' (SigmoidCrossEntropyLoss): needs one target for each of the 6 scores, found 4"),
    (SPARSE, loss("HingeLoss"), "AT layer 'l' (HingeLoss): needs one label a sample, found 4 for 2 samples"),
    (SPARSE, loss("MultinomialLogisticLoss"),
     "AT layer 'l' (MultinomialLogisticLoss): needs one label a sample, found 4 for 2 samples"),
    ({**SPARSE, "h": (3, 3)}, loss("InfogainLoss", bottoms="x label h"),
     "AT layer 'l' (InfogainLoss): needs one label a position: 2 for x (2, 3), found 4 in (2, 2)"),
    (H, loss("InfogainLoss", "loss_param { normalize: false }", "x label h"),
     "AT layer 'l' (InfogainLoss): loss_param.normalize is not for this loss: write normalization: VALID or "
     "BATCH_SIZE"),
    (XL, loss("InfogainLoss"),
     "AT layer 'l' (InfogainLoss): needs its matrix: a third bottom, or a file named by infogain_loss_param.source"),
    (XL, loss("InfogainLoss", "infogain_loss_param { source: 'h.binaryproto' }"),
     "AT layer 'l' (InfogainLoss): h.binaryproto: no such file"),
    ({**XL, "h": (3, 4)}, loss("InfogainLoss", bottoms="x label h"),
     "AT layer 'l' (InfogainLoss): needs a matrix of 3 x 3 for its 3 classes, found (3, 4)"),
    ({"x": (2, 3, 2, 1), "z": (2, 6), "label": (2,)}, loss("ContrastiveLoss", bottoms="x z label"),
     "AT layer 'l' (ContrastiveLoss): needs pairs (N, C) or (N, C, 1, 1) and N labels, found (2, 3, 2, 1), (2, 6) "
     "and (2,)"),
    ({"x": (2, 3), "z": (2, 3), "label": (2, 2)}, loss("ContrastiveLoss", bottoms="x z label"),
     "AT layer 'l' (ContrastiveLoss): needs pairs (N, C) or (N, C, 1, 1) and N labels, found (2, 3), (2, 3) "
     "and (2, 2)"),
    (XL, loss("ContrastiveLoss"), "AT layer 'l' (ContrastiveLoss): takes 3 bottom blob(s) as input (found 2)"),
]  # fmt: skip
