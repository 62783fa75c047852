"""Write the nets of netdefs/ that repeat themselves: ``python tools/netdefs.py``, or ``make netdefs``.

Each function below builds one net, as text in the style of the nets written by hand. The test suite compares the files
with what it writes: change this file, not those. Nets of which weights are published name their layers as those do.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap

from batchbrew.protos import messages as pb
from batchbrew.protos import text

FOLDER = Path(__file__).resolve().parents[1] / "netdefs"
WIDTH = 120
MSRA = 'weight_filler { type: "msra" }'
XAVIER = 'weight_filler { type: "xavier" }'
FAST_BIAS = "param { lr_mult: 1  decay_mult: 1 }  param { lr_mult: 2  decay_mult: 0 }"
BGR = "mean_value: 104  mean_value: 117  mean_value: 123"  # mean colour of ImageNet


class Net:
    """The text of one net as it grows. What adds layers returns the name of the last one's top."""

    def __init__(self, name: str, comment: str) -> None:
        self.name = name
        comment = " ".join(comment.split())
        self.lines = [*(f"# {line}" for line in (*wrap(comment, WIDTH - 2), "Written by tools/netdefs.py."))]
        self.lines.append(f'name: "{name}"')

    @property
    def text(self) -> str:
        """The prototxt."""
        return "\n".join(self.lines) + "\n"

    def part(self, title: str) -> None:
        """Begin a part of the net under a heading."""
        self.lines += ["", f"# {title}"]

    def layer(self, kind: str, name: str, bottoms: str, tops: str, *body: str) -> str:
        """Add a layer; ``bottoms`` and ``tops`` are separated by spaces, ``body`` are its other fields."""
        wires = [f'bottom: "{bottom}"' for bottom in bottoms.split()] + [f'top: "{top}"' for top in tops.split()]
        head = "  ".join([f'name: "{name}"', f'type: "{kind}"', *wires])
        line = "  ".join([f"layer {{ {head}", *body]) + " }"
        if len(line) <= WIDTH and len(body) <= 1:
            self.lines.append(line)
        else:
            self.lines += ["layer {", *(line for field in (head, *body) for line in _folded(f"  {field}")), "}"]
        return tops

    def data(self, phase: str, transform: str, source: str) -> None:
        """Add the layer that reads pictures and labels in one phase."""
        fields = [f"include {{ phase: {phase} }}", f"transform_param {{ {transform} }}", f"data_param {{ {source} }}"]
        self.layer("Data", "data", "", "data label", *fields)

    def imagenet(self, crop: int, batch: int, test_batch: int, colour: str = BGR) -> None:
        """Add data layers for two LMDBs of ImageNet; ``colour`` is what is subtracted, and any scale."""
        self.part("data: pictures of at least the crop size, in planes of blue, green and red")
        cut = f"crop_size: {crop}  {colour}"
        self.data("TRAIN", f"mirror: true  {cut}", f'source: "imagenet_train_lmdb"  backend: LMDB  batch_size: {batch}')
        self.data("TEST", cut, f'source: "imagenet_val_lmdb"  backend: LMDB  batch_size: {test_batch}')

    def conv(self, name: str, bottom: str, settings: str, param: str = "") -> str:
        """Add a convolution."""
        fields = [*([param] if param else []), f"convolution_param {{ {settings} }}"]
        return self.layer("Convolution", name, bottom, name, *fields)

    def dense(self, name: str, bottom: str, outputs: int, filler: str, param: str = "") -> str:
        """Add an inner product."""
        fields = [*([param] if param else []), f"inner_product_param {{ num_output: {outputs}  {filler} }}"]
        return self.layer("InnerProduct", name, bottom, name, *fields)

    def pool(self, name: str, bottom: str, settings: str) -> str:
        """Add a pooling."""
        return self.layer("Pooling", name, bottom, name, f"pooling_param {{ {settings} }}")

    def relu(self, name: str, blob: str) -> str:
        """Add a ReLU in place."""
        return self.layer("ReLU", name, blob, blob)

    def normalise(self, blob: str, norm: str, scale: str) -> str:
        """Add, in place, batch normalisation with a learned scale and shift."""
        self.layer("BatchNorm", norm, blob, blob)
        return self.layer("Scale", scale, blob, blob, "scale_param { bias_term: true }")

    def dropout(self, name: str, blob: str, ratio: float) -> str:
        """Add dropout in place."""
        return self.layer("Dropout", name, blob, blob, f"dropout_param {{ dropout_ratio: {ratio} }}")

    def accuracy(self, name: str, scores: str, rest: str = "") -> None:
        """Add an accuracy that is taken in phase TEST."""
        fields = [*([f"accuracy_param {{ {rest} }}"] if rest else []), "include { phase: TEST }"]
        self.layer("Accuracy", name, f"{scores} label", name, *fields)

    def measures(self, scores: str, five: bool = False) -> None:
        """Add the accuracy, if asked for that of the best five classes, and the loss."""
        self.part("what is measured")
        self.accuracy("accuracy", scores)
        if five:
            self.accuracy("accuracy_top5", scores, "top_k: 5")
        self.layer("SoftmaxWithLoss", "loss", f"{scores} label", "loss")


def _folded(line: str) -> list[str]:
    """Return the line, cut before its fillers or between two fields where it is too long."""
    if len(line) <= WIDTH:
        return [line]
    head, filler, fillers = line.partition("  weight_filler")
    if filler:
        kind, _, sizes = head.partition(" { ")
        return [f"{kind} {{", f"    {sizes}", f"    weight_filler{fillers.removesuffix(' }')}", "  }"]
    cut = line.rindex("  ", 2, WIDTH)
    return [line[:cut], *_folded(f"    {line[cut:].lstrip()}")]


def _stride(stride: int) -> str:
    return f"  stride: {stride}" if stride > 1 else ""


def vgg16() -> Net:
    """Return VGG-16."""
    net = Net(
        "vgg16",
        """VGG-16 for ImageNet: thirteen 3x3 convolutions in five stages, three dense layers. 138,357,544 parameters.
        Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014,
        configuration D. Deviation: filters start by He's rule, which needs no shallower net trained before.
        """,
    )
    net.imagenet(224, 64, 25, "mean_value: 103.939  mean_value: 116.779  mean_value: 123.68")
    top = "data"
    for stage, (depth, outputs) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1):
        net.part(f"stage {stage}")
        for i in range(1, depth + 1):
            settings = f"num_output: {outputs}  kernel_size: 3  pad: 1  {MSRA}"
            top = net.relu(f"relu{stage}_{i}", net.conv(f"conv{stage}_{i}", top, settings, FAST_BIAS))
        top = net.pool(f"pool{stage}", top, "pool: MAX  kernel_size: 2  stride: 2")
    net.part("dense layers")
    for i in (6, 7):
        top = net.relu(f"relu{i}", net.dense(f"fc{i}", top, 4096, MSRA, FAST_BIAS))
        net.dropout(f"drop{i}", top, 0.5)
    net.measures(net.dense("fc8", top, 1000, XAVIER, FAST_BIAS), five=True)
    return net


GOOGLENET = {  # name: outputs of 1x1, 3x3 (reduce, out), 5x5 (reduce, out), projection of the pooling
    "3a": (64, (96, 128), (16, 32), 32),
    "3b": (128, (128, 192), (32, 96), 64),
    "4a": (192, (96, 208), (16, 48), 64),
    "4b": (160, (112, 224), (24, 64), 64),
    "4c": (128, (128, 256), (24, 64), 64),
    "4d": (112, (144, 288), (32, 64), 64),
    "4e": (256, (160, 320), (32, 128), 128),
    "5a": (256, (160, 320), (32, 128), 128),
    "5b": (384, (192, 384), (48, 128), 128),
}
BIAS_02 = f"{XAVIER}  bias_filler {{ value: 0.2 }}"


def googlenet() -> Net:
    """Return GoogLeNet with its two auxiliary classifiers."""
    net = Net(
        "googlenet",
        """GoogLeNet for ImageNet: nine inception modules, each four branches side by side, and two auxiliary
        classifiers whose losses count 0.3. 13,378,280 parameters, 6,998,552 of them without the auxiliary
        classifiers. Szegedy et al., Going Deeper with Convolutions, 2014.
        """,
    )
    net.imagenet(224, 32, 50)

    def conv(name: str, bottom: str, outputs: int, kernel: int, rest: str = "") -> str:
        settings = f"num_output: {outputs}  kernel_size: {kernel}  {rest}{BIAS_02}"
        folder, _, last = name.rpartition("/")
        return net.relu(f"{folder}/relu_{last}", net.conv(name, bottom, settings, FAST_BIAS))

    def norm(name: str, bottom: str) -> str:
        return net.layer("LRN", name, bottom, name, "lrn_param { local_size: 5  alpha: 0.0001  beta: 0.75 }")

    net.part("stem")
    half = "pool: MAX  kernel_size: 3  stride: 2"
    top = net.pool("pool1/3x3_s2", conv("conv1/7x7_s2", "data", 64, 7, "stride: 2  pad: 3  "), half)
    top = conv("conv2/3x3_reduce", norm("pool1/norm1", top), 64, 1)
    top = norm("conv2/norm2", conv("conv2/3x3", top, 192, 3, "pad: 1  "))
    top = net.pool("pool2/3x3_s2", top, half)
    for block, (one, three, five, projection) in GOOGLENET.items():
        name = f"inception_{block}"
        net.part(f"module {block}")
        branches = [
            conv(f"{name}/1x1", top, one, 1),
            conv(f"{name}/3x3", conv(f"{name}/3x3_reduce", top, three[0], 1), three[1], 3, "pad: 1  "),
            conv(f"{name}/5x5", conv(f"{name}/5x5_reduce", top, five[0], 1), five[1], 5, "pad: 2  "),
        ]
        pooled = net.pool(f"{name}/pool", top, "pool: MAX  kernel_size: 3  stride: 1  pad: 1")
        branches.append(conv(f"{name}/pool_proj", pooled, projection, 1))
        top = net.layer("Concat", f"{name}/output", " ".join(branches), f"{name}/output")
        if block in ("3b", "4e"):
            top = net.pool(f"pool{block[0]}/3x3_s2", top, half)
        if block in ("4a", "4d"):
            head = "loss1" if block == "4a" else "loss2"
            net.part(f"auxiliary classifier behind {block}")
            side = net.pool(f"{head}/ave_pool", top, "pool: AVE  kernel_size: 5  stride: 3")
            side = conv(f"{head}/conv", side, 128, 1)
            side = net.relu(f"{head}/relu_fc", net.dense(f"{head}/fc", side, 1024, BIAS_02, FAST_BIAS))
            net.dropout(f"{head}/drop_fc", side, 0.7)
            scores = net.dense(f"{head}/classifier", side, 1000, XAVIER, FAST_BIAS)
            net.layer("SoftmaxWithLoss", f"{head}/loss", f"{scores} label", f"{head}/loss", "loss_weight: 0.3")
    net.part("classifier")
    top = net.pool("pool5/7x7_s1", top, "pool: AVE  kernel_size: 7  stride: 1")
    net.dropout("pool5/drop_7x7_s1", top, 0.4)
    net.measures(net.dense("loss3/classifier", top, 1000, XAVIER, FAST_BIAS), five=True)
    return net


def resnet_cifar(depth: int, parameters: str) -> Net:
    """Return the residual net of 6 n + 2 = ``depth`` layers for CIFAR-10."""
    net = Net(
        f"resnet{depth}_cifar10",
        f"""ResNet-{depth} for CIFAR-10: three stages of {(depth - 2) // 6} blocks of two 3x3 convolutions. {parameters}
        learned parameters. He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, 2015, section 4.2.
        Shortcuts have no parameters (option A): where a stage halves the picture, they take every second pixel of
        every second row and append as many channels of zeros. The paper also cuts each picture at random out of one
        padded by 4 pixels. Data layers cut (crop_size) and mirror but do not pad: this needs a data base of
        pictures padded to 40 x 40, and crop_size: 32 in both phases.
        """,
    )
    net.part("data")
    net.data("TRAIN", 'mirror: true  mean_file: "auto"', 'source: "cifar10"  batch_size: 128')
    net.data("TEST", 'mean_file: "auto"', 'source: "cifar10"  batch_size: 100')

    def conv(name: str, bottom: str, outputs: int, stride: int = 1, relu: bool = True) -> str:
        settings = f"num_output: {outputs}  kernel_size: 3  pad: 1{_stride(stride)}  bias_term: false  {MSRA}"
        net.normalise(net.conv(name, bottom, settings), f"{name}_bn", f"{name}_scale")
        return net.relu(f"{name}_relu", name) if relu else name

    net.part("stem")
    top = conv("conv1", "data", 16)
    for stage, outputs in enumerate((16, 32, 64), 1):
        for block in range(1, (depth - 2) // 6 + 1):
            name = f"block{stage}_{block}"
            net.part(f"block {block} of stage {stage}")
            halve = stage > 1 and block == 1
            shortcut = top
            if halve:
                every_second = "pool: MAX  kernel_size: 1  stride: 2  round_mode: FLOOR"
                shortcut = net.pool(f"{name}_every_second", top, every_second)
                zeros = net.layer("Power", f"{name}_zeros", shortcut, f"{name}_zeros", "power_param { scale: 0 }")
                shortcut = net.layer("Concat", f"{name}_shortcut", f"{shortcut} {zeros}", f"{name}_shortcut")
            inside = conv(f"{name}_conv1", top, outputs, 1 + halve)
            inside = conv(f"{name}_conv2", inside, outputs, relu=False)
            top = net.layer("Eltwise", f"{name}_sum", f"{shortcut} {inside}", f"{name}_sum")
            net.relu(f"{name}_relu", top)
    net.part("classifier")
    top = net.pool("pool", top, "pool: AVE  global_pooling: true")
    net.measures(net.dense("ip", top, 10, MSRA))
    return net


def resnet50() -> Net:
    """Return ResNet-50 for ImageNet."""
    net = Net(
        "resnet50",
        """ResNet-50 for ImageNet: sixteen blocks of 1x1, 3x3 and 1x1 convolutions beside a shortcut. 25,557,096
        learned parameters and 53,173 statistics. He, Zhang, Ren and Sun, Deep Residual Learning for Image
        Recognition, 2015. As in the published weights, conv1 has biases, which the batch normalisation behind it
        makes useless.
        """,
    )
    net.imagenet(224, 32, 25)

    def conv(name: str, bottom: str, settings: str, suffix: str, relu: str = "") -> str:
        top = net.normalise(net.conv(name, bottom, f"{settings}  {MSRA}"), f"bn{suffix}", f"scale{suffix}")
        return net.relu(relu, top) if relu else top

    net.part("stem")
    top = conv("conv1", "data", "num_output: 64  kernel_size: 7  stride: 2  pad: 3", "_conv1", "conv1_relu")
    top = net.pool("pool1", top, "pool: MAX  kernel_size: 3  stride: 2")
    for stage, (blocks, inner) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 2):
        for block in "abcdef"[:blocks]:
            name = f"{stage}{block}"
            net.part(f"block {name}")
            plain = "  bias_term: false"
            first = f"{_stride(2 if stage > 2 and block == 'a' else 1)}{plain}"
            shortcut, settings = top, f"num_output: {4 * inner}  kernel_size: 1"
            if block == "a":
                shortcut = conv(f"res{name}_branch1", top, settings + first, f"{name}_branch1")
            steps = (
                ("a", f"num_output: {inner}  kernel_size: 1{first}"),
                ("b", f"num_output: {inner}  kernel_size: 3  pad: 1{plain}"),
                ("c", settings + plain),
            )
            for step, what in steps:
                relu = f"res{name}_branch2{step}_relu" if step != "c" else ""
                top = conv(f"res{name}_branch2{step}", top, what, f"{name}_branch2{step}", relu)
            top = net.layer("Eltwise", f"res{name}", f"{shortcut} {top}", f"res{name}")
            net.relu(f"res{name}_relu", top)
    net.part("classifier")
    top = net.pool("pool5", top, "pool: AVE  kernel_size: 7  stride: 1")
    net.measures(net.dense("fc1000", top, 1000, XAVIER), five=True)
    return net


def mobilenet() -> Net:
    """Return MobileNet v1 of full width."""
    net = Net(
        "mobilenet",
        """MobileNet v1 for ImageNet: 3x3 convolutions of single channels (group = channels), each followed by a 1x1
        convolution over all. 4,231,976 learned parameters and 21,915 statistics. Howard et al., MobileNets:
        Efficient Convolutional Neural Networks for Mobile Vision Applications, 2017. The filters of single channels
        do not decay (section 3.2 of the paper).
        """,
    )
    net.imagenet(224, 64, 50, "mean_value: 103.94  mean_value: 116.78  mean_value: 123.68  scale: 0.017")

    def conv(name: str, bottom: str, settings: str, relu: str, param: str = "") -> str:
        top = net.conv(name, bottom, f"{settings}  bias_term: false  {MSRA}", param)
        return net.relu(relu, net.normalise(top, f"{name}/bn", f"{name}/scale"))

    net.part("stem")
    top = conv("conv1", "data", "num_output: 32  kernel_size: 3  stride: 2  pad: 1", "relu1")
    inputs = 32
    blocks = (
        *(("2_1", 64, 1), ("2_2", 128, 2), ("3_1", 128, 1), ("3_2", 256, 2), ("4_1", 256, 1), ("4_2", 512, 2)),
        *((f"5_{i}", 512, 1) for i in range(1, 6)),
        *(("5_6", 1024, 2), ("6", 1024, 1)),
    )
    for block, outputs, stride in blocks:
        net.part(f"block {block}")
        depthwise = f"num_output: {inputs}  kernel_size: 3{_stride(stride)}  pad: 1  group: {inputs}"
        top = conv(f"conv{block}/dw", top, depthwise, f"relu{block}/dw", "param { lr_mult: 1  decay_mult: 0 }")
        top = conv(f"conv{block}/sep", top, f"num_output: {outputs}  kernel_size: 1", f"relu{block}/sep")
        inputs = outputs
    net.part("classifier")
    top = net.pool("pool6", top, "pool: AVE  global_pooling: true")
    net.measures(net.conv("fc7", top, f"num_output: 1000  kernel_size: 1  {MSRA}", FAST_BIAS), five=True)
    return net


FIRES = ((2, 16, 64), (3, 16, 64), (4, 32, 128), (5, 32, 128), (6, 48, 192), (7, 48, 192), (8, 64, 256), (9, 64, 256))


def squeezenet(version: str, stem: str, pools: tuple[int, ...], last: str, parameters: str) -> Net:
    """Return SqueezeNet 1.0 or 1.1; a pooling follows each module in ``pools``, ``last`` is of the last convolution."""
    net = Net(
        f"squeezenet{version.replace('.', '_')}",
        f"""SqueezeNet {version} for ImageNet: modules that squeeze to few channels, then expand by 1x1 and 3x3
        convolutions side by side. {parameters} parameters. Iandola et al., SqueezeNet: AlexNet-level accuracy with
        50x fewer parameters, 2016.
        """,
    )
    net.imagenet(227, 32, 25)
    half = "pool: MAX  kernel_size: 3  stride: 2"

    def conv(name: str, bottom: str, settings: str, relu: str, filler: str = XAVIER) -> str:
        return net.relu(relu, net.conv(name, bottom, f"{settings}  {filler}"))

    net.part("stem")
    top = conv("conv1", "data", stem, "relu_conv1")
    top = net.pool("pool1", top, half)
    for number, squeeze, expand in FIRES:
        name = f"fire{number}"
        net.part(f"module {number}")
        narrow = conv(f"{name}/squeeze1x1", top, f"num_output: {squeeze}  kernel_size: 1", f"{name}/relu_squeeze1x1")
        one, three = f"num_output: {expand}  kernel_size: 1", f"num_output: {expand}  kernel_size: 3  pad: 1"
        wide = [
            conv(f"{name}/expand1x1", narrow, one, f"{name}/relu_expand1x1"),
            conv(f"{name}/expand3x3", narrow, three, f"{name}/relu_expand3x3"),
        ]
        top = net.layer("Concat", f"{name}/concat", " ".join(wide), f"{name}/concat")
        if number in pools:
            top = net.pool(f"pool{number}", top, half)
    net.part("classifier")
    net.dropout("drop9", top, 0.5)
    gaussian = 'weight_filler { type: "gaussian"  std: 0.01 }'
    top = conv("conv10", top, f"num_output: 1000  kernel_size: 1{last}", "relu_conv10", gaussian)
    net.measures(net.pool("pool10", top, "pool: AVE  global_pooling: true"), five=True)
    return net


def cinic10_nf() -> Net:
    """Return the net without normalisation for CINIC-10."""
    net = Net(
        "cinic10_nf",
        """A residual net without batch normalisation for CINIC-10: 64 to 1024 channels in four blocks, each weighing
        what it adds to its shortcut by one learned factor. Without statistics over the batch, weights may be
        averaged between nodes as they are. 20,581,966 parameters. After the net of Vazquez-Novoa et al., Scalable
        Neural Network Training: Distributed Data-Parallel Approaches, 2025. Deviations: filters are not
        standardised, which no Caffe layer does; pictures stay at 32 x 32 pixels. Make datasets/cinic10.h5 of the
        folders of PNG files: write lists of lines 'path label', make data bases with 'batchbrew data convert FOLDER
        LIST LMDB', and of the two 'batchbrew data convert TRAIN_LMDB TEST_LMDB datasets/cinic10.h5'.
        """,
    )
    net.part("data: centred, the standard deviation of CINIC-10 scaled to 1")
    net.data("TRAIN", 'mirror: true  mean_file: "auto"  scale: 0.016', 'source: "cinic10"  batch_size: 128')
    net.data("TEST", 'mean_file: "auto"  scale: 0.016', 'source: "cinic10"  batch_size: 100')

    def conv(name: str, bottom: str, outputs: int, settings: str) -> str:
        return net.conv(name, bottom, f"num_output: {outputs}  {settings}  {MSRA}")

    net.part("stem")
    top = net.relu("relu1", conv("conv1", "data", 32, "kernel_size: 3  pad: 3"))
    top = net.relu("relu2", conv("conv2", top, 64, "kernel_size: 3  pad: 1"))
    top = net.pool("pool", top, "pool: MAX  kernel_size: 2  stride: 2")
    for block, (outputs, stride) in enumerate(((128, 1), (256, 1), (512, 2), (1024, 2)), 1):
        name = f"block{block}"
        net.part(f"block {block}")
        shortcut = conv(f"{name}_shortcut", top, outputs, f"kernel_size: 1{_stride(stride)}")
        inside = conv(f"{name}_conv1", top, outputs, f"kernel_size: 3  pad: 1{_stride(stride)}")
        inside = conv(f"{name}_conv2", net.relu(f"{name}_relu1", inside), outputs, "kernel_size: 3  pad: 1")
        weight = "scale_param { axis: 0  num_axes: 0  filler { value: 0.2 } }"
        inside = net.layer("Scale", f"{name}_alpha", inside, f"{name}_alpha", weight)
        top = net.layer("Eltwise", name, f"{shortcut} {inside}", name)
        net.relu(f"{name}_relu2", top)
    net.part("classifier")
    top = net.pool("mean", top, "pool: AVE  global_pooling: true")
    top = net.relu("relu3", net.dense("ip1", top, 1024, MSRA))
    net.measures(net.dense("ip2", top, 10, XAVIER))
    return net


NETS = (
    cinic10_nf(),
    vgg16(),
    googlenet(),
    resnet_cifar(20, "269,722"),
    resnet_cifar(56, "853,018"),
    resnet50(),
    mobilenet(),
    squeezenet("1.0", "num_output: 96  kernel_size: 7  stride: 2", (4, 8), "  pad: 1", "1,248,424"),
    squeezenet("1.1", "num_output: 64  kernel_size: 3  stride: 2", (3, 5), "", "1,235,496"),
)


def main() -> None:
    """Write all of them."""
    for net in NETS:
        text.parse(net.text, pb.NetParameter, f"{net.name}.prototxt")
        (FOLDER / f"{net.name}.prototxt").write_text(net.text, encoding="utf-8")
        print(f"netdefs/{net.name}.prototxt: {net.text.count(chr(10))} lines")


if __name__ == "__main__":
    main()
