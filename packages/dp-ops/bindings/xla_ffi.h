// The part of XLA's foreign function interface that is used here: how its runtime calls a function of a library.
// Layouts are those of xla/ffi/api/c_api.h, compared and run with its versions 0.1 (JAX 0.7.0) and 0.3 (JAX 0.10.2);
// no header of XLA is needed to build the library.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xla_ffi {

struct Extension {
  size_t struct_size;
  int32_t type;  // 1: the runtime asks for metadata
  Extension* next;
};

struct Version {
  size_t struct_size;
  Extension* extension_start;
  int32_t major, minor;
};

struct Metadata {
  size_t struct_size;
  Version version;  // that the function was written for
  uint32_t traits;
};

struct MetadataExtension {
  Extension base;
  Metadata* metadata;
};

struct Error;
enum class Code : int32_t { kInvalidArgument = 3 };

struct ErrorToCreate {
  size_t struct_size;
  Extension* extension_start;
  const char* message;
  Code code;
};

struct Api {
  size_t struct_size;
  Extension* extension_start;
  Version version;
  const void* internal;
  Error* (*create_error)(ErrorToCreate*);
};

enum class Type : int32_t { kS64 = 5, kF32 = 11, kF64 = 12 };

struct Buffer {
  size_t struct_size;
  Extension* extension_start;
  Type type;
  void* data;
  int64_t rank;
  int64_t* dims;
};

struct Name {
  const char* begin;
  size_t size;
};

struct Array {
  Type type;
  size_t size;
  void* data;
};

/// Arguments or results; the kind of a buffer is 1.
struct Buffers {
  size_t struct_size;
  Extension* extension_start;
  int64_t size;
  int32_t* kinds;
  Buffer** buffers;
};

/// The kind of an array is 1.
struct Attributes {
  size_t struct_size;
  Extension* extension_start;
  int64_t size;
  int32_t* kinds;
  Name** names;
  void** values;
};

struct CallFrame {
  size_t struct_size;
  Extension* extension_start;
  const Api* api;
  void* context;
  int32_t stage;
  Buffers arguments, results;
  Attributes attributes;
};

}  // namespace xla_ffi
