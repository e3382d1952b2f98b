"""A model that refers to other files is refused before a runtime sees it, wherever it does so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from onnx import TensorProto
from onnx.helper import (
    make_attribute,
    make_function,
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor,
    make_tensor_value_info,
)

from workers.backends.base import open_session
from workers.backends.self_contained import CHILDREN, check_self_contained
from workers.errors import BundleFault, TeacherFault, UserFault
from workers.recognizer import open_bundle
from workers.teachers.onnx import open_onnx

IMPORTS = [make_opsetid("", 17), make_opsetid("f", 1)]


def whole(name: str = "w") -> onnx.TensorProto:
    return make_tensor(name, TensorProto.FLOAT, [2], [1.0, 2.0])


def external(name: str = "w") -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def _graph(tensor: onnx.TensorProto | None = None, *nodes: onnx.NodeProto) -> onnx.GraphProto:
    y = make_tensor_value_info("y", TensorProto.FLOAT, [2])
    kept = [] if tensor is None else [tensor]
    return make_graph(list(nodes) or [make_node("Identity", ["w"], ["y"])], "g", [], [y], kept)


def _model(graph: onnx.GraphProto, **more: object) -> onnx.ModelProto:
    return make_model(graph, opset_imports=IMPORTS, ir_version=10, **more)


def _sparse(tensor: onnx.TensorProto, of_indices: bool) -> onnx.SparseTensorProto:
    indices = make_tensor("i", TensorProto.INT64, [2], [0, 1])
    values, indices = (whole(), tensor) if of_indices else (tensor, indices)
    return onnx.SparseTensorProto(values=values, indices=indices, dims=[4])


def initializer(tensor: onnx.TensorProto) -> onnx.ModelProto:
    return _model(_graph(tensor))


def sparse_values(tensor: onnx.TensorProto) -> onnx.ModelProto:
    model = _model(_graph())
    model.graph.sparse_initializer.append(_sparse(tensor, of_indices=False))
    return model


def sparse_indices(tensor: onnx.TensorProto) -> onnx.ModelProto:
    model = _model(_graph())
    model.graph.sparse_initializer.append(_sparse(tensor, of_indices=True))
    return model


def constant(tensor: onnx.TensorProto) -> onnx.ModelProto:
    return _model(_graph(None, make_node("Constant", [], ["y"], value=tensor)))


def sparse_constant(tensor: onnx.TensorProto) -> onnx.ModelProto:
    sparse = _sparse(tensor, of_indices=False)
    return _model(_graph(None, make_node("Constant", [], ["y"], sparse_value=sparse)))


def list_of_tensors(tensor: onnx.TensorProto) -> onnx.ModelProto:
    return _model(_graph(None, make_node("Any", [], ["y"], domain="f", many=[whole(), tensor])))


def list_of_sparse_tensors(tensor: onnx.TensorProto) -> onnx.ModelProto:
    sparse = [_sparse(tensor, of_indices=True)]
    return _model(_graph(None, make_node("Any", [], ["y"], domain="f", many=sparse)))


def subgraph(tensor: onnx.TensorProto) -> onnx.ModelProto:
    branches = {"then_branch": _graph(whole()), "else_branch": _graph(tensor)}
    return _model(_graph(None, make_node("If", ["on"], ["y"], **branches)))


def list_of_graphs(tensor: onnx.TensorProto) -> onnx.ModelProto:
    graphs = [_graph(whole()), _graph(tensor)]
    return _model(_graph(None, make_node("Any", [], ["y"], domain="f", many=graphs)))


def deep_down(tensor: onnx.TensorProto) -> onnx.ModelProto:
    graph = _graph(tensor)
    for _ in range(20):
        graph = _graph(None, make_node("If", ["on"], ["y"], then_branch=graph, else_branch=graph))
        del graph.node[0].attribute[1]  # doubles with every turn
    return _model(graph)


def function(tensor: onnx.TensorProto) -> onnx.ModelProto:
    node = make_node("Constant", [], ["y"], value=tensor)
    return _model(_graph(whole()), functions=[make_function("f", "F", [], ["y"], [node], IMPORTS)])


def default_of_a_function(tensor: onnx.TensorProto) -> onnx.ModelProto:
    made = make_function("f", "F", [], ["y"], [make_node("Identity", ["w"], ["y"])], IMPORTS)
    made.attribute_proto.append(make_attribute("a", tensor))
    return _model(_graph(whole()), functions=[made])


def training(tensor: onnx.TensorProto) -> onnx.ModelProto:
    model = _model(_graph(whole()))
    model.training_info.add().initialization.CopyFrom(_graph(tensor))
    return model


def algorithm(tensor: onnx.TensorProto) -> onnx.ModelProto:
    model = _model(_graph(whole()))
    model.training_info.add().algorithm.CopyFrom(_graph(tensor))
    return model


Place = Callable[[onnx.TensorProto], onnx.ModelProto]
PLACES = pytest.mark.parametrize(
    "place",
    [
        initializer,
        sparse_values,
        sparse_indices,
        constant,
        sparse_constant,
        list_of_tensors,
        list_of_sparse_tensors,
        subgraph,
        list_of_graphs,
        deep_down,
        function,
        default_of_a_function,
        training,
        algorithm,
    ],
)


def _saved(folder: Path, content: bytes, name: str = "model.onnx") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def _refused(model: Path) -> str:
    with pytest.raises(UserFault) as caught:
        check_self_contained(model)
    return str(caught.value)


@PLACES
def test_external_data_is_found_wherever_a_tensor_may_stand(place: Place, tmp_path: Path) -> None:
    model = _saved(tmp_path, place(external()).SerializeToString())
    assert _refused(model).startswith(f"{model}: keeps values in other files (external data)")


@PLACES
def test_a_tensor_that_holds_its_values_is_no_reason(place: Place, tmp_path: Path) -> None:
    tensor = whole()
    tensor.data_location = TensorProto.DEFAULT  # as `onnx` leaves it once it has read them in
    check_self_contained(_saved(tmp_path, place(tensor).SerializeToString()))


@pytest.mark.parametrize("field", ["data_location", "external_data"])
def test_either_half_of_the_reference_is_enough(field: str, tmp_path: Path) -> None:
    tensor = external()
    tensor.ClearField(field)
    model = _saved(tmp_path, initializer(tensor).SerializeToString())
    assert "external data" in _refused(model)


def test_what_onnx_itself_has_put_aside_is_found(tmp_path: Path) -> None:
    model = initializer(onnx.numpy_helper.from_array(np.zeros(4096, np.float32), "w"))
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin")
    assert "external data" in _refused(tmp_path / "model.onnx")
    onnx.save(onnx.load(tmp_path / "model.onnx"), tmp_path / "whole.onnx")  # as the refusal says
    check_self_contained(tmp_path / "whole.onnx")


def test_every_way_to_a_tensor_that_onnx_has_is_known() -> None:
    def leads_to_a_tensor(kind: Descriptor, seen: frozenset[str]) -> bool:
        return kind.name == "TensorProto" or any(
            leads_to_a_tensor(field.message_type, seen | {kind.name})
            for field in kind.fields
            if field.type == FieldDescriptor.TYPE_MESSAGE
            and field.message_type.name not in seen | {kind.name}
        )

    kinds = [getattr(onnx, name).DESCRIPTOR for name in CHILDREN]
    for kind in kinds:
        ways = {
            field.number: field.message_type.name
            for field in kind.fields
            if field.type == FieldDescriptor.TYPE_MESSAGE
            and leads_to_a_tensor(field.message_type, frozenset())
        }
        assert CHILDREN[kind.name] == ways, kind.name


HELD = initializer(whole()).SerializeToString()
MALFORMED = {
    "empty": b"",
    "text": b"no model at all",
    "cut short": HELD[:-1],
    "a group": b"\x3b\x3c" + HELD,
    "field 0": b"\x00\x01" + HELD,
    "a tag of more than 32 bits": b"\xba\x80\x80\x80\x20\x00" + HELD,
    "a number without end": b"\x08" + b"\xff" * 11 + HELD,
    "a length beyond the end": b"\x3a\xff\xff\xff\xff\x0f" + HELD,
    "ONNX Runtime's own format": b"\x10\x00\x00\x00ORTM" + HELD,
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_what_could_be_read_in_two_ways_is_refused(content: bytes, tmp_path: Path) -> None:
    assert "ONNX Runtime cannot load it (it is" in _refused(_saved(tmp_path, content))


def test_a_location_that_wraps_around_to_external_is_refused(tmp_path: Path) -> None:
    tensor = whole().SerializeToString() + b"\x70\x81\x80\x80\x80\x10"  # field 14: 2^32 + 1
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    model = _saved(tmp_path, b"\x3a" + bytes([len(graph)]) + graph)
    assert "external data" in _refused(model)


def test_depth_and_number_of_fields_are_bounded(tmp_path: Path) -> None:
    content = b""
    for _ in range(60):  # graph → node → attribute → graph: 180 deep
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            content = tag + _length(len(content)) + content
    assert "nested more than 100 deep" in _refused(
        _saved(tmp_path, b"\x3a" + _length(len(content)) + content)
    )
    assert "too many fields" in _refused(_saved(tmp_path, b"\x08\x01" * 2_000_001))


def _length(n: int) -> bytes:
    out = b""
    while n > 0x7F:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n])


# Where foreign files come in


def _tokens(folder: Path) -> Path:
    (folder / "tokens.txt").write_text("<blk> 0\na 1\nb 2\n")
    return folder / "tokens.txt"


def test_a_teacher_that_refers_to_other_files_is_refused(tmp_path: Path) -> None:
    model = _saved(tmp_path, initializer(external()).SerializeToString(), "teacher.onnx")
    with pytest.raises(TeacherFault, match=r"teacher\.onnx: keeps values in other files"):
        open_onnx(model, _tokens(tmp_path))


def test_a_bundle_that_refers_to_other_files_is_refused(tmp_path: Path) -> None:
    _saved(tmp_path, initializer(external()).SerializeToString())
    _tokens(tmp_path)
    with pytest.raises(UserFault, match=r"model\.onnx: keeps values in other files"):
        open_bundle(tmp_path)


def test_another_name_makes_no_difference_to_a_runtime_that_reads_onnx(tmp_path: Path) -> None:
    model = _saved(tmp_path, initializer(external()).SerializeToString(), "model.xml")
    with pytest.raises(UserFault, match="keeps values in other files"):
        open_session("onnxruntime", model)


def test_openvino_is_given_nothing_but_its_own_form(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    model = _saved(tmp_path, initializer(external()).SerializeToString(), "model.xml")
    with pytest.raises(UserFault, match="it is not XML"):
        open_session("openvino", model)


def test_a_fault_of_a_bundle_in_a_zip_names_the_zip(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "student.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.onnx", initializer(external()).SerializeToString())
        archive.writestr("tokens.txt", "<blk> 0\na 1\n")
        archive.writestr("bundle.json", "{}")
    with pytest.raises(BundleFault, match=r"student\.zip/model\.onnx: keeps values"):
        open_bundle(path)
