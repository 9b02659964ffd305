// The C interface of TensorFlow, found in a shared library at run time: nothing of it is needed to compile this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

struct TF_Buffer {
  const void* data;
  size_t length;
  void (*data_deallocator)(void* data, size_t length);
};
struct TF_Status;
struct TF_Tensor;
struct TF_Graph;
struct TF_Operation;
struct TF_Session;
struct TF_SessionOptions;
struct TF_ImportGraphDefOptions;
struct TF_DeviceList;
struct TF_Output {
  TF_Operation* oper;
  int index;
};

namespace dp {

enum : int { TF_DOUBLE_TYPE = 2, TF_INT64_TYPE = 9 };

/// The functions that the engine calls, by their names without `TF_`.
struct TensorflowApi {
  const char* (*Version)();
  TF_Status* (*NewStatus)();
  void (*DeleteStatus)(TF_Status*);
  int (*GetCode)(const TF_Status*);
  const char* (*Message)(const TF_Status*);
  TF_Buffer* (*NewBuffer)();
  void (*DeleteBuffer)(TF_Buffer*);
  TF_Graph* (*NewGraph)();
  void (*DeleteGraph)(TF_Graph*);
  TF_ImportGraphDefOptions* (*NewImportGraphDefOptions)();
  void (*DeleteImportGraphDefOptions)(TF_ImportGraphDefOptions*);
  void (*GraphImportGraphDef)(TF_Graph*, const TF_Buffer*, const TF_ImportGraphDefOptions*, TF_Status*);
  TF_Operation* (*GraphOperationByName)(TF_Graph*, const char*);
  TF_SessionOptions* (*NewSessionOptions)();
  void (*DeleteSessionOptions)(TF_SessionOptions*);
  void (*SetConfig)(TF_SessionOptions*, const void*, size_t, TF_Status*);
  TF_Session* (*NewSession)(TF_Graph*, const TF_SessionOptions*, TF_Status*);
  TF_Session* (*LoadSessionFromSavedModel)(const TF_SessionOptions*, const TF_Buffer*, const char*, const char* const*,
                                           int, TF_Graph*, TF_Buffer*, TF_Status*);
  void (*CloseSession)(TF_Session*, TF_Status*);
  void (*DeleteSession)(TF_Session*, TF_Status*);
  void (*SessionRun)(TF_Session*, const TF_Buffer*, const TF_Output*, TF_Tensor* const*, int, const TF_Output*,
                     TF_Tensor**, int, const TF_Operation* const*, int, TF_Buffer*, TF_Status*);
  TF_DeviceList* (*SessionListDevices)(TF_Session*, TF_Status*);
  int (*DeviceListCount)(const TF_DeviceList*);
  const char* (*DeviceListType)(const TF_DeviceList*, int, TF_Status*);
  void (*DeleteDeviceList)(TF_DeviceList*);
  TF_Tensor* (*NewTensor)(int type, const int64_t*, int, void*, size_t, void (*)(void*, size_t, void*), void*);
  void (*DeleteTensor)(TF_Tensor*);
  void* (*TensorData)(const TF_Tensor*);
  size_t (*TensorByteSize)(const TF_Tensor*);
  int (*TensorType)(const TF_Tensor*);
};

/// The library of this process, which is opened at the first call. Raises Error where there is none.
const TensorflowApi& tensorflow_api();

}  // namespace dp
