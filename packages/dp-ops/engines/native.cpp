// Evaluates .dp files with the kernels alone: energy models of descriptors that embed the environment matrix.
#include <algorithm>
#include <memory>
#include <numeric>

#include "engines/inputs.h"
#include "engines/native_networks.h"
#include "runtime/model_file.h"

namespace dp {
namespace {

using namespace native;

constexpr const char* kRepair = " Copy or write it again.";

/// What the settings point to, until the kernels have copied it.
struct Model {
  Storage storage;
  Record record;
  std::vector<uint8_t> masked;  // types without an energy
  std::vector<dp_descriptor> descriptors;
  std::vector<dp_network> networks;
  dp_potential_settings settings{};
};

/// Whether a part of the model computes in single precision, or has numbers of it.
bool has_single(const Document& document, const Json& node) {
  auto single = [&](const Json& x) { return has_single(document, x); };
  if (node.is_array()) return std::any_of(node.begin(), node.end(), single);
  if (!node.is_object()) return false;
  for (const auto& [key, value] : node.items()) {
    if (key == "precision" && value.is_string() && canonical(node) == "float32") return true;
    if (has_single(document, value)) return true;
  }
  return false;
}

std::vector<int64_t> integers(const Json& list) {
  return list.is_null() ? std::vector<int64_t>{} : list.get<std::vector<int64_t>>();
}

std::vector<double> numbers(const Document& document, const Json& part, const char* name, size_t count) {
  const Array* array = variable(document, part, name);
  if (!array || array->values.size() != count)
    throw Error("the model has not " + std::to_string(count) + " numbers of " + name);
  return array->values;
}

void read_fitting(const Document& document, const Json& fitting, const Json& model, int64_t described, Model& made) {
  check_version(fitting, "fitting", 4);
  Storage& storage = made.storage;
  dp_potential_settings& s = made.settings;
  const size_t ntypes = size_t(s.ntypes);
  s.numb_fparam = fitting.value("numb_fparam", int64_t(0));
  made.record.numb_fparam = s.numb_fparam;
  if (!fitting.value("use_aparam_as_mask", false)) s.numb_aparam = fitting.value("numb_aparam", int64_t(0));
  made.record.numb_aparam = s.numb_aparam;
  for (const auto& [name, to, count] :
       {std::tuple{"fparam_avg", &s.fparam_avg, s.numb_fparam},
        std::tuple{"fparam_inv_std", &s.fparam_inv_std, s.numb_fparam},
        std::tuple{"aparam_avg", &s.aparam_avg, s.numb_aparam},
        std::tuple{"aparam_inv_std", &s.aparam_inv_std, s.numb_aparam}})
    *to = storage.keep(count ? numbers(document, fitting, name, size_t(count)) : std::vector<double>{});
  const Array* cases = variable(document, fitting, "case_embd");
  s.dim_case = cases ? static_cast<int64_t>(cases->values.size()) : 0;
  s.case_embd = storage.keep(cases ? cases->values : std::vector<double>{});
  if (const auto given = fitting.find("default_fparam"); given != fitting.end() && !given->is_null() && s.numb_fparam) {
    made.record.default_fparam = given->get<std::vector<double>>();
    made.record.has_default_fparam = !made.record.default_fparam.empty();
  }
  const bool mixed = fitting.at("mixed_types").get<bool>();
  for (const Json& network : fitting.at("nets").at("networks")) {
    if (network.is_null()) unknown("a missing network");
    const auto& layers = storage.layers.emplace_back(read_layers(document, network, storage));
    if (layers.front().n_in != described + s.numb_fparam + s.numb_aparam + s.dim_case || layers.back().n_out != 1)
      throw Error("the fitting network does not fit the descriptor");
    made.networks.push_back({static_cast<int64_t>(layers.size()), layers.data()});
  }
  if (made.networks.size() != (mixed ? 1 : ntypes)) throw Error("fitting networks are missing");
  s.networks = static_cast<int64_t>(made.networks.size()), s.network = made.networks.data();

  const Json energies = fitting.value("atom_ener", Json());
  auto& vacuum = storage.flags.emplace_back(ntypes, uint8_t(0));
  if (energies.is_array() && std::any_of(energies.begin(), energies.end(), [](const Json& e) { return !e.is_null(); }))
    for (size_t t = 0; t < ntypes; ++t) vacuum[t] = mixed || t >= energies.size() || !energies[t].is_null();
  s.vacuum = vacuum.data();
  const auto own = numbers(document, fitting, "bias_atom_e", ntypes);
  const auto out = numbers(document, model, "out_bias", ntypes);
  const auto left_out = integers(fitting.value("exclude_types", Json()));
  const auto masked = integers(model.value("atom_exclude_types", Json()));
  std::vector<double> factor, constant;
  for (size_t t = 0; t < ntypes; ++t) {
    const bool mask = std::count(masked.begin(), masked.end(), int64_t(t));
    const bool skip = std::count(left_out.begin(), left_out.end(), int64_t(t));
    made.masked.push_back(mask);
    factor.push_back(mask || skip ? 0.0 : 1.0);
    constant.push_back(mask ? 0.0 : out[t] + (skip ? 0.0 : own[t]));
  }
  s.factor = storage.keep(factor), s.constant = storage.keep(constant);
}

void fill_record(const std::vector<Described>& descriptors, const Json& model, Record& record) {
  record.by_type = std::all_of(descriptors.begin(), descriptors.end(), [](const Described& d) { return d.by_type; });
  const bool blocks = std::any_of(descriptors.begin(), descriptors.end(), [](const Described& d) { return d.by_type; });
  record.blocks = blocks ? static_cast<int64_t>(record.type_map.size()) : 1;
  int64_t most = 0;
  for (const Described& d : descriptors) {
    record.rcut = std::max(record.rcut, d.settings.rcut);
    record.marks_first = record.marks_first || d.marks_first;
    most = std::max(most, std::accumulate(d.sel.begin(), d.sel.end(), int64_t(0)));
    if (record.sel.empty()) record.sel = d.sel;
    for (size_t t = 0; record.by_type && t < d.sel.size(); ++t) record.sel[t] = std::max(record.sel[t], d.sel[t]);
  }
  if (!record.by_type && descriptors.size() > 1) record.sel = {most};
  for (const Json& pair : model.value("pair_exclude_types", Json::array()))
    record.exclude_pairs.emplace_back(pair.at(0).get<int>(), pair.at(1).get<int>());
  std::sort(record.exclude_pairs.begin(), record.exclude_pairs.end());
  record.exclude_pairs.erase(std::unique(record.exclude_pairs.begin(), record.exclude_pairs.end()),
                             record.exclude_pairs.end());
  record.inputs = {"vectors", "index", "types", "neighbor_types", "frame", "fparam", "aparam"};
  for (const char* kind : {"rows_", "slots_"})
    for (int64_t k = 0; k < record.blocks; ++k) record.inputs.push_back(kind + std::to_string(k));
  record.outputs = {{"energy", {1}, "eV", true, true, "energy", false},
                    {"mask", {}, "1", false, false, "", false},
                    {"gradient", {3}, "eV/Å", false, false, "", false}};
}

void read_model(const Document& document, Model& made) {
  const Json& model = document.tree.at("model");
  const std::string kind = model.value("type", "standard");
  if (kind != "standard") unknown("model " + kind);
  check_version(model, "model", 2);
  made.record.type_map = model.at("type_map").get<std::vector<std::string>>();
  dp_potential_settings& s = made.settings;
  s.ntypes = static_cast<int64_t>(made.record.type_map.size());
  if (s.ntypes < 1 || s.ntypes > kMostTypes)
    throw Error("the type map has " + std::to_string(s.ntypes) + " types; known: 1 to " + std::to_string(kMostTypes));
  const Json& fitting = model.at("fitting");
  if (const std::string type = fitting.value("type", "ener"); type != "ener") unknown("fitting " + type);
  const auto descriptors = read_descriptors(document, model.at("descriptor"), s.ntypes, made.storage);
  int64_t described = 0;
  bool single = canonical(fitting) == "float32";
  for (const Described& d : descriptors) {
    made.descriptors.push_back(d.settings);
    described += d.width;
    single = single && d.single;
  }
  s.descriptors = static_cast<int64_t>(made.descriptors.size()), s.descriptor = made.descriptors.data();
  s.single = single;
  read_fitting(document, fitting, model, described, made);
  fill_record(descriptors, model, made.record);
  const bool stored = std::any_of(document.arrays.begin(), document.arrays.end(),
                                  [](const auto& item) { return item.second.dtype == "float32"; });
  made.record.precision = stored || has_single(document, model) ? "float32" : "float64";
}

class NativeEngine : public Engine {
 public:
  explicit NativeEngine(const Source& source) : bytes_(source_bytes(source)) {
    Document document;  // tables stay in it until the kernels have copied them
    Model model;
    try {
      document = read_document(bytes_);
      read_model(document, model);
    } catch (const OtherEngine& error) {
      throw OtherEngine(source.path + ": " + error.what());
    } catch (const Json::exception& error) {
      throw Error(source.path + " does not describe a complete model (" + error.what() + ")." + kRepair);
    } catch (const Error& error) {
      throw Error(source.path + " is damaged: " + error.what() + "." + kRepair);
    }
    char message[400] = "";
    potential_.reset(dp_potential_new(&model.settings, message, sizeof(message)));
    if (!potential_) throw Error(message);
    record_ = std::move(model.record);
    excluded_ = std::move(model.masked);
  }

  const Record& record() const override { return record_; }
  const std::string& document() const override { return bytes_; }
  int64_t rows_at_once() const override { return 256; }

  void evaluate(const Table& table, Values& values) override {
    if (set_empty(record_, table, values)) return;
    check_table(record_, table);
    values.resize(3);
    values[0].resize(size_t(table.rows));
    values[1].assign(size_t(table.rows), 0.0);
    values[2].resize(size_t(table.rows * table.slots * 3));
    char message[400] = "";
    if (dp_potential_evaluate(potential_.get(), table.rows, table.slots, table.vectors, table.types,
                              table.neighbor_types, table.frame, table.fparam, table.aparam, values[0].data(),
                              values[2].data(), message, sizeof(message)))
      throw Error(message);
    for (int64_t i = 0; i < table.rows; ++i)
      values[1][size_t(i)] = table.types[i] >= 0 && !excluded_[size_t(table.types[i])] ? 1.0 : 0.0;
  }

 private:
  struct Free {
    void operator()(dp_potential* p) const { dp_potential_free(p); }
  };
  std::string bytes_;
  Record record_;
  std::vector<uint8_t> excluded_;
  std::unique_ptr<dp_potential, Free> potential_;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) Engine* dp_open_engine(const Source& source) {
  return new NativeEngine(source);
}

}  // namespace dp
