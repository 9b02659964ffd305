// Whether what an engine says of a model, and what it computes, makes sense: files may be damaged, or made to harm.
#pragma once

#include <string>

#include "engine.h"

namespace dp {

/// Raises Error, which names the file, for a record that tables of neighbourhoods cannot be made of.
void check_record(const Record& record, const std::string& path);

/// Raises Error if the outputs of a table have other sizes than the record says.
void check_values(const Record& record, const Table& table, const Values& values);

}  // namespace dp
