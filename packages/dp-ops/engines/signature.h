// Names of the inputs and outputs of a SavedModel.
#pragma once

#include <map>
#include <string>

namespace dp {

/// Ends of the graph (`node:0`) by the names of inputs and outputs.
struct Signature {
  std::map<std::string, std::string> inputs, outputs;
};

/// The signature of that name in a MetaGraphDef, a protobuf message; empty if it has none. Raises Error.
Signature read_signature(const std::string& meta_graph, const std::string& name);

}  // namespace dp
