"""What bindings/xla_ffi.h declares, against the header that comes with JAX."""

from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.crossing,
    pytest.mark.skipif(find_spec("jax") is None, reason="JAX, which has the header, is not installed"),
]

BINDINGS = Path(__file__).parents[1] / "bindings"

#: Our structures with their members, and those of XLA.
LAYOUTS = {
    ("Extension", "XLA_FFI_Extension_Base"): {"struct_size": "struct_size", "type": "type", "next": "next"},
    ("Version", "XLA_FFI_Api_Version"): {"major": "major_version", "minor": "minor_version"},
    ("Metadata", "XLA_FFI_Metadata"): {"version": "api_version", "traits": "traits"},
    ("MetadataExtension", "XLA_FFI_Metadata_Extension"): {"base": "extension_base", "metadata": "metadata"},
    ("ErrorToCreate", "XLA_FFI_Error_Create_Args"): {"message": "message", "code": "errc"},
    ("Api", "XLA_FFI_Api"): {"version": "api_version", "create_error": "XLA_FFI_Error_Create"},
    ("Buffer", "XLA_FFI_Buffer"): {"type": "dtype", "data": "data", "rank": "rank", "dims": "dims"},
    ("Name", "XLA_FFI_ByteSpan"): {"begin": "ptr", "size": "len"},
    ("Array", "XLA_FFI_Array"): {"type": "dtype", "size": "size", "data": "data"},
    ("Buffers", "XLA_FFI_Args"): {"size": "size", "kinds": "types", "buffers": "args"},
    ("Buffers", "XLA_FFI_Rets"): {"size": "size", "kinds": "types", "buffers": "rets"},
    ("Attributes", "XLA_FFI_Attrs"): {"size": "size", "kinds": "types", "names": "names", "values": "attrs"},
    ("CallFrame", "XLA_FFI_CallFrame"): {
        "extension_start": "extension_start", "api": "api", "stage": "stage",
        "arguments": "args", "results": "rets", "attributes": "attrs",
    },
}  # fmt: skip

NUMBERS = [
    ("xla_ffi::Type::kS64", "XLA_FFI_DataType_S64"),
    ("xla_ffi::Type::kF32", "XLA_FFI_DataType_F32"),
    ("xla_ffi::Type::kF64", "XLA_FFI_DataType_F64"),
    ("xla_ffi::Code::kInvalidArgument", "XLA_FFI_Error_Code_INVALID_ARGUMENT"),
    ("1", "XLA_FFI_Extension_Metadata"),
    ("1", "XLA_FFI_AttrType_ARRAY"),
    ("0", "XLA_FFI_API_MAJOR"),
]


def test_layouts(tmp_path):
    import jax

    same = [
        f"static_assert(offsetof(xla_ffi::{ours}, {a}) == offsetof({theirs}, {b}));\n"
        f"static_assert(sizeof(xla_ffi::{ours}::{a}) == sizeof({theirs}::{b}));"
        for (ours, theirs), members in LAYOUTS.items()
        for a, b in members.items()
    ]
    same += [f"static_assert(int({a}) == int({b}));" for a, b in NUMBERS]
    source = tmp_path / "same.cpp"
    source.write_text('#include "xla/ffi/api/c_api.h"\n#include "xla_ffi.h"\n' + "\n".join(same))
    command = [os.environ.get("CXX", "g++"), "-std=c++17", "-fsyntax-only", "-Wno-invalid-offsetof"]
    subprocess.run([*command, f"-I{jax.ffi.include_dir()}", f"-I{BINDINGS}", str(source)], check=True)


def test_gates_without_axes_are_refused():
    """A number alone has no last axis to compare."""
    import jax
    import jax.numpy as jnp

    from dp_ops.jax import _run

    jax.config.update("jax_enable_x64", True)  # as dp-jax does
    r, index, none = jnp.ones((2, 3, 4)), jnp.zeros((2, 3), jnp.int64), jnp.zeros(0)
    table = jnp.ones((1, 6, 8)), jnp.zeros(1), jnp.ones(10)
    with pytest.raises(jax.errors.JaxRuntimeError, match="the gates do not fit the table"):
        _run("table_sum", [(2, 4, 8)], r, *table, jnp.ones(()), index, none)
