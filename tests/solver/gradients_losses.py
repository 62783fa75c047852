"""Gradient cases of the losses that read labels."""

from engine_support import layer

XY = {"x": (3, 4), "label": (3,)}
PICTURE = {"x": (2, 3, 2, 3), "label": (2, 2, 3)}


def loss(kind: str, rest: str = "", bottoms: str = "x label", tops: str = "loss") -> str:
    return layer("loss", kind, bottoms, tops, rest)


def constant(name: str, value: float, *shape: int) -> str:
    dims = " ".join(f"dim: {size}" for size in shape)
    return layer(
        name, "DummyData", "", name, f"dummy_data_param {{ shape {{ {dims} }} data_filler {{ value: {value} }} }}"
    )


def sigmoid(rest: str = "") -> str:
    return loss("SigmoidCrossEntropyLoss", rest)


def infogain(rest: str = "", tops: str = "loss") -> str:
    return constant("h", 0.7, 1, 1, 3, 3) + loss("InfogainLoss", rest, "x label h", tops)


def contrastive(rest: str, alike: int) -> str:
    return constant("alike", alike, 3) + loss("ContrastiveLoss", f"contrastive_loss_param {{ {rest} }}", "x z alike")


PAIRS = {"x": (3, 4), "z": (3, 4)}
NORMALIZATIONS = ("VALID", "FULL", "BATCH_SIZE", "NONE")
CASES = {
    "SigmoidCrossEntropyLoss": [
        ({"x": (3, 4), "label": (3, 4)}, sigmoid()),
        *(({"x": (2, 3, 2, 3), "label": (2, 3, 2, 3)},
           loss("SigmoidCrossEntropyLoss", f"loss_param {{ normalization: {kind} ignore_label: 1 }} loss_weight: 0.5"))
          for kind in NORMALIZATIONS),
        ({"x": (2, 3, 2, 3), "label": (2, 18)}, sigmoid()),
        ({"x": (2, 1, 3, 1, 2), "label": (2, 1, 3, 1, 2)}, sigmoid("loss_param { normalize: true }")),
    ],
    "HingeLoss": [
        (XY, loss("HingeLoss")),
        (XY, loss("HingeLoss", "hinge_loss_param { norm: L2 } loss_weight: 3")),
        ({"x": (2, 3, 2, 2), "label": (2, 1, 1, 1)}, loss("HingeLoss", "hinge_loss_param { norm: L2 }")),
    ],
    "MultinomialLogisticLoss": [
        (XY, layer("s", "Softmax", "x", "p") + loss("MultinomialLogisticLoss", bottoms="p label")),
        ({"x": (2, 3, 2, 2), "label": (2,)},
         layer("s", "Sigmoid", "x", "p") + loss("MultinomialLogisticLoss", "loss_weight: 2", "p label")),
    ],
    "InfogainLoss": [
        ({"x": (4, 3), "label": (4,)}, infogain()),
        ({"x": (4, 3), "label": (4,)}, infogain("loss_weight: 2 loss_weight: 0", "loss prob")),
        *((PICTURE, infogain(f"loss_param {{ normalization: {kind} ignore_label: 1 }}")) for kind in NORMALIZATIONS),
        ({"x": (2, 4, 3, 2), "label": (2, 4, 2)},
         infogain("infogain_loss_param { axis: 2 } loss_param { normalization: BATCH_SIZE }")),
        ({"x": (2, 4, 3), "label": (2, 4)}, infogain("infogain_loss_param { axis: -1 }")),
    ],
    "ContrastiveLoss": [  # without those where 1e-4 is added to the distance: no gradient of the loss, but Caffe's
        (PAIRS, contrastive("", 1)),
        (PAIRS, contrastive("margin: 20 legacy_version: true", 0)),
        (PAIRS, contrastive("margin: 0.1", 0)),
        (PAIRS, contrastive("margin: 0.1 legacy_version: true", 0)),
        ({"x": (3, 4, 1, 1), "z": (3, 4)}, contrastive("", 1)),
    ],
}  # fmt: skip
