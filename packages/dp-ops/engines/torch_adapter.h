// The C interface between libdp_engine_torch.so, which knows no version of PyTorch, and libdp_torch.so, which is compiled
// for one.
#pragma once

#include <cstdint>

/// One input: a view of memory.
struct DpTorchTensor {
  const void* data;
  int64_t sizes[3];
  int32_t dimensions;
  int32_t integers;  // int64, else float64
};

/// Takes the numbers of output k, or with k < 0 the words of an error; it copies them.
using DpTorchReceive = void (*)(void* receiver, int k, const void* data, int64_t count);

/// The functions of the adapter. Those that can fail return 0 if all went well.
struct DpTorchAdapter {
  /// Opens a file, or its bytes if they are not NULL (not those of a .pt2). threads: 0 for the choice of PyTorch.
  void* (*open)(const char* path, const char* bytes, int64_t size, int device, int intra, int inter, void* receiver,
                DpTorchReceive receive);
  int (*run)(void* model, const DpTorchTensor* inputs, int count, void* receiver, DpTorchReceive receive);
  int (*on_gpu)(void* model);
  void (*close)(void* model);
};

extern "C" const DpTorchAdapter* dp_torch_adapter();
