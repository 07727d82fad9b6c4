"""Files that are written tensor by tensor read back with safetensors itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tasks.tensor_files import write_tensors

pytestmark = pytest.mark.torch


def test_each_type_and_shape_reads_back(tmp_path: Path) -> None:
    chooser = torch.Generator().manual_seed(1)
    tensors = {
        "float": torch.randn(3, 5, generator=chooser),
        "across": torch.randn(4, 6, generator=chooser).T,
        "half": torch.randn(7, generator=chooser).bfloat16(),
        "half too": torch.randn(2, 2, generator=chooser).half(),
        "double": torch.randn(2, generator=chooser).double(),
        "one number": torch.tensor(2.5),
        "none": torch.empty(0, 4),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "numbers": torch.tensor([-1, 2**40]),
        "small numbers": torch.tensor([-1, 3], dtype=torch.int32),
        "truths": torch.tensor([True, False, True]),
        "größe": torch.ones(1),
    }
    file = tmp_path / "all.safetensors"
    write_tensors(file, tensors, iter(tensors.values()))
    found = load_file(file)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    header_bytes = int.from_bytes(file.read_bytes()[:8], "little")
    assert header_bytes % 8 == 0
    assert list(json.loads(file.read_bytes()[8 : 8 + header_bytes])) == list(tensors)


def test_only_as_many_values_are_taken_as_the_file_holds(tmp_path: Path) -> None:
    values = iter([torch.zeros(2), torch.ones(2), torch.full((2,), 2.0)])
    write_tensors(tmp_path / "first", {"a": torch.empty(2), "b": torch.empty(2)}, values)
    assert next(values).tolist() == [2.0, 2.0]


def test_a_type_without_a_name_is_refused(tmp_path: Path) -> None:
    odd = torch.zeros(1, dtype=torch.complex64)
    with pytest.raises(TypeError, match="odd is of torch"):
        write_tensors(tmp_path / "x", {"odd": odd}, iter([odd]))
