#include "model_file.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "archive.h"
#include "checksum.h"
#include "document.h"
#include "protobuf.h"

namespace dp {
namespace {

namespace fs = std::filesystem;

constexpr int kNewest = 3;  // version of the record
constexpr uint64_t kChecksumField = 70003;
const std::map<std::string, uint64_t> kFields = {{kDocument, 70001}, {kRecord, 70002}};

Error damaged(const std::string& path, const std::string& why) {
  return Error(path + " is damaged: " + why + ". Copy or freeze it again.");
}

/// The content of the last field of that number of a protobuf message.
std::optional<std::string_view> find_field(std::string_view message, uint64_t number) {
  std::optional<std::string_view> found;
  each_field(message, [&](uint64_t k, std::string_view content) {
    if (k == number) found = content;
  });
  return found;
}

/// Whether a message ends with the SHA-256 of all that is before it.
bool is_sealed(std::string_view message) {
  std::string tail;  // key and length of the field
  for (uint64_t key = kChecksumField << 3 | 2; key; key >>= 7) {
    tail += static_cast<char>((key & 127) | (key > 127 ? 128 : 0));
  }
  tail += static_cast<char>(32);
  if (message.size() < tail.size() + 32) return false;
  const std::string_view before = message.substr(0, message.size() - tail.size() - 32);
  return message.substr(before.size()) == tail + sha256(before);
}

std::map<std::string, std::string> graph_fields(const Source& source, const std::vector<std::string>& names) {
  const std::string message = source_bytes(source);
  std::map<std::string, std::string> found;
  try {
    for (const std::string& name : names) {
      const auto field = find_field(message, kFields.at(name));
      if (field) found[name] = std::string(*field);
    }
  } catch (const Error& error) {
    throw damaged(source.path, error.what());
  }
  if (!found.empty() && !is_sealed(message)) throw damaged(source.path, "it does not end with its checksum");
  return found;
}

void check_seal(const fs::path& folder) {
  const fs::path sums_file = folder / "checksums.json";
  if (!fs::is_regular_file(sums_file)) throw damaged(folder.string(), "checksums.json is missing");
  const Json sums = Json::parse(read_file(sums_file.string()), nullptr, false);
  if (!sums.is_object()) throw damaged(folder.string(), "checksums.json is unreadable");
  for (const auto& [name, sum] : sums.items()) {
    const fs::path inside(name);
    if (inside.is_absolute() || std::find(inside.begin(), inside.end(), "..") != inside.end()) {
      throw damaged(folder.string(), "checksums.json names " + name + ", which is not inside of it");
    }
    const fs::path file = folder / inside;
    if (!fs::is_regular_file(file)) throw damaged(folder.string(), name + " is missing");
    if (sum != sha256_hex(read_file(file.string()))) throw damaged(folder.string(), name + " is changed or cut off");
  }
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().lexically_relative(folder).generic_string();
    if (!entry.is_directory() && entry.path() != sums_file && !sums.contains(name)) {
      throw damaged(folder.string(), name + " is not in checksums.json");
    }
  }
}

std::map<std::string, std::string> folder_members(const std::string& path, const std::vector<std::string>& names) {
  std::map<std::string, std::string> found;
  const fs::path folder(path);
  if (!fs::is_regular_file(folder / kDocument) && !fs::is_regular_file(folder / kRecord)) return found;
  check_seal(folder);
  for (const std::string& name : names) {
    if (fs::is_regular_file(folder / name)) found[name] = read_file((folder / name).string());
  }
  return found;
}

std::map<std::string, std::string> archive_members(const Source& source, const std::vector<std::string>& names) {
  const std::string bytes = source_bytes(source);
  try {
    return read_archive(bytes, names);
  } catch (const Error& error) {
    throw damaged(source.path, error.what());
  }
}

OutputDef parse_output(const Json& json) {
  OutputDef output;
  output.name = json.at("name").get<std::string>();
  for (const Json& size : json.at("shape")) {
    if (size.is_number()) output.shape.push_back(size.get<int64_t>());  // the others are n and K
  }
  output.unit = json.at("unit").get<std::string>();
  output.reducible = json.at("reducible").get<bool>();
  output.differentiable = json.at("differentiable").get<bool>();
  output.kind = json.value("kind", "");
  output.intensive = json.value("intensive", false);
  return output;
}

Record record_of(const Json& json) {
  Record r;
  r.version = json.at("version").get<int>();
  if (r.version > kNewest) return r;
  r.type_map = json.at("type_map").get<std::vector<std::string>>();
  r.rcut = json.at("rcut").get<double>();
  r.sel = json.at("sel").get<std::vector<int64_t>>();
  r.by_type = json.at("by_type").get<bool>();
  r.types_alone = json.at("types_alone").get<bool>();
  r.marks_first = json.at("marks_first").get<bool>();
  r.closest = json.at("closest").get<double>();
  r.blocks = json.at("blocks").get<int64_t>();
  for (const Json& shell : json.at("shells")) r.shells.push_back({shell.at(0).get<double>(), shell.at(1).get<int64_t>()});
  for (const Json& pair : json.at("exclude_pairs")) r.exclude_pairs.push_back({pair.at(0).get<int>(), pair.at(1).get<int>()});
  r.message_passing = json.at("message_passing").get<bool>();
  if (json.contains("message_reach")) {
    r.message_steps = json.at("message_reach").at("steps").get<int64_t>();
    r.message_radius = json.at("message_reach").at("radius").get<double>();
  }
  r.precision = json.at("precision").get<std::string>();
  if (json.contains("long_range") && !json.at("long_range").is_null()) r.long_range = json.at("long_range").get<std::string>();
  r.numb_fparam = json.at("numb_fparam").get<int64_t>();
  r.numb_aparam = json.at("numb_aparam").get<int64_t>();
  r.dim_chg_spin = json.at("dim_chg_spin").get<int64_t>();
  r.has_default_fparam = !json.at("default_fparam").is_null();
  if (r.has_default_fparam) r.default_fparam = json.at("default_fparam").get<std::vector<double>>();
  if (json.contains("spin")) r.spin_scale = json.at("spin").at("scale").get<std::vector<double>>();
  r.inputs = json.at("inputs").get<std::vector<std::string>>();
  r.weighted = std::find(r.inputs.begin(), r.inputs.end(), "weight") != r.inputs.end();
  for (const Json& output : json.at("outputs")) r.outputs.push_back(parse_output(output));
  return r;
}

}  // namespace

std::string suffix_of(const std::string& path) {
  std::string name = path;
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  std::string suffix = fs::path(name).extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  return suffix;
}

std::string read_file(const std::string& path) {
  std::error_code failed;
  const fs::file_status status = fs::status(path, failed);
  if (!fs::exists(status)) throw Error(path + " does not exist. Check the path.");
  if (fs::is_directory(status)) throw Error(path + " is a folder; give the name of a model file in it.");
  if (!fs::is_regular_file(status)) throw Error(path + " is a device or a pipe; give the name of a file.");
  std::ifstream file(path, std::ios::binary);
  std::string bytes(static_cast<size_t>(fs::file_size(path, failed)), '\0');
  if (!file || failed || !file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    throw Error(path + " cannot be read: " + std::strerror(errno) + ".");
  }
  return bytes;
}

std::string source_bytes(const Source& source) {
  return source.size ? std::string(source.bytes, source.size) : read_file(source.path);
}

std::map<std::string, std::string> frozen_members(const Source& source, const std::vector<std::string>& names) {
  std::map<std::string, std::string> found;
  if (!source.size && fs::is_directory(source.path)) {
    found = folder_members(source.path, names);
  } else if (suffix_of(source.path) == ".pb") {
    found = graph_fields(source, names);
  } else {
    found = archive_members(source, names);
  }
  for (const std::string& name : names) {
    if (!found.count(name)) {
      throw Error(source.path + " was not written by dp: there is no " + name +
                  " in it. Convert it to .dp with the program that wrote it; dp reads and freezes that.");
    }
  }
  return found;
}

Record parse_record(const std::string& text, const std::string& path) {
  Record record;
  try {
    record = record_of(Json::parse(text));
  } catch (const Json::exception& error) {
    throw damaged(path, std::string("its record is unreadable (") + error.what() + ")");
  }
  if (record.version > kNewest) {
    throw Error(path + " has version " + std::to_string(record.version) + " of the frozen format, and this library reads up to " +
                std::to_string(kNewest) + ". Update it: pip install --upgrade dp-ops");
  }
  return record;
}

FrozenFile read_frozen(const Source& source) {
  auto found = frozen_members(source, {kDocument, kRecord});
  return {parse_record(found[kRecord], source.path), std::move(found[kDocument])};
}

}  // namespace dp
