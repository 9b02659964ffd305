// Engines: shared libraries that are opened when a file needs them.
#pragma once

#include <memory>
#include <string>

#include "engine.h"

namespace dp {

/// The engine for a file, chosen by its suffix. Raises Error that says what is missing.
std::unique_ptr<Engine> open_engine(const Source& source);

/// The folder of this library.
std::string library_folder();

}  // namespace dp
