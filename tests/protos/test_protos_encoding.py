"""Binary files from systems of another encoding."""

from batchbrew.protos import binary, text
from batchbrew.protos import messages as pb
from batchbrew.protos.encoding import has_foreign_text, readable

GBK = "数据".encode("gbk")
GOOD = pb.NetParameter(name="n", layer=[{"name": "conv", "bottom": ["数据", "b"], "data_param": {"source": "é"}}])


def spoilt():
    """Return a net whose texts, at any depth, are of another encoding."""
    net = pb.NetParameter(name="NAME", layer=[{"name": "conv", "bottom": ["x", "BLOB"], "top": ["y"]}])
    net.layer[0].data_param.source = "PATH"
    net.layer[0].blobs.add(data=[1, 2], shape={"dim": [2]})
    content = net.SerializeToString()
    for word in (b"NAME", b"BLOB", b"PATH"):
        content = content.replace(word, GBK)
    return content


def test_foreign_texts_are_found():
    assert has_foreign_text(pb.NetParameter.FromString(spoilt()))
    assert not has_foreign_text(GOOD)
    assert not has_foreign_text(pb.Datum(data=b"\xff\xfe"))
    for field in (b"NAME", b"BLOB", b"PATH"):
        net = pb.NetParameter(name="NAME", layer=[{"bottom": ["x", "BLOB"], "data_param": {"source": "PATH"}}])
        content = net.SerializeToString().replace(field, GBK)
        assert has_foreign_text(pb.NetParameter.FromString(content)), field


def test_files_with_them_are_read(tmp_path):
    (tmp_path / "m").write_bytes(spoilt())
    net = binary.read(tmp_path / "m", pb.NetParameter)
    unreadable = GBK.decode("utf-8", "replace")
    assert net.name == net.layer[0].bottom[1] == net.layer[0].data_param.source == unreadable
    assert list(net.layer[0].bottom) == ["x", unreadable]
    assert list(net.layer[0].blobs[0].data) == [1, 2]
    assert text.parse(text.dump(net), pb.NetParameter) == net


def test_good_messages_and_bytes_fields_stay_as_they_are():
    assert readable(GOOD.SerializeToString(), pb.NetParameter) == GOOD.SerializeToString()
    datum = pb.Datum(data=b"\xff\x00", label=3).SerializeToString()
    assert readable(datum, pb.Datum) == datum
