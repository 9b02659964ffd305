// Descriptors of a document. Each is a sum over neighbours of functions of one number, one for each pair of types.
#include <algorithm>
#include <cmath>
#include <limits>

#include "native_networks.h"

namespace dp::native {
namespace {

/// (ntypes, slots, columns) -> (ntypes, columns), which must be the same for all slots.
const double* without_slots(const Array* array, int64_t ntypes, int64_t slots, int64_t columns, Storage& storage) {
  if (!array || array->shape != std::vector<int64_t>{ntypes, slots, columns})
    throw Error("the statistics of the descriptor have another shape");
  std::vector<double> first;
  for (int64_t t = 0; t < ntypes; ++t)
    for (int64_t k = 0; k < slots; ++k)
      for (int64_t c = 0; c < columns; ++c) {
        const double value = array->values[size_t((t * slots + k) * columns + c)];
        if (k == 0) first.push_back(value);
        if (value != first[size_t(t * columns + c)]) unknown("statistics that differ between slots");
      }
  return storage.keep(first);
}

/// What all descriptors have.
Described common(const Document& document, const Json& d, int64_t ntypes, int64_t columns, Storage& storage) {
  Described made;
  const Json& sel = d.at("sel");
  made.sel = sel.is_array() ? sel.get<std::vector<int64_t>>() : std::vector<int64_t>{sel.get<int64_t>()};
  int64_t slots = 0;
  for (int64_t n : made.sel) {
    if (n < 0 || n > std::numeric_limits<int32_t>::max()) throw Error("sel has the number " + std::to_string(n));
    slots += n;
  }
  if (slots < 1) throw Error("sel has no neighbours; known: one or more");
  dp_descriptor& s = made.settings;
  s.ntypes = ntypes;
  s.rcut = d.at("rcut").get<double>(), s.rcut_smth = d.at("rcut_smth").get<double>();
  s.protection = d.value("env_protection", 0.0);
  s.davg = without_slots(variable(document, d, "davg"), ntypes, slots, columns, storage);
  s.dstd = without_slots(variable(document, d, "dstd"), ntypes, slots, columns, storage);
  auto& excluded = storage.flags.emplace_back(size_t(ntypes * ntypes), uint8_t(0));
  for (const Json& pair : d.value("exclude_types", Json::array())) {
    const int64_t a = pair.at(0).get<int64_t>(), b = pair.at(1).get<int64_t>();
    if (std::min(a, b) < 0 || std::max(a, b) >= ntypes) throw Error("exclude_types names a type that there is not");
    excluded[size_t(a * ntypes + b)] = excluded[size_t(b * ntypes + a)] = 1;
    made.excludes = true;
  }
  s.excluded = excluded.data();
  made.single = canonical(d) == "float32";
  if (const auto spin = d.find("spin"); spin != d.end() && !spin->is_null()) unknown("the old form of spin");
  if (d.contains("type_embedding") && d.value("type", "") != "dpa1" && d.value("type", "") != "se_atten_v2")
    unknown("a type embedding beside networks by type");
  return made;
}

/// How many columns of the descriptor matrix count, of `width`.
int64_t axis_of(const Json& d, int64_t width) {
  const int64_t axis = d.value("axis_neuron", int64_t(8));
  if (axis < 1 || axis > width)
    throw Error("axis_neuron is " + std::to_string(axis) + "; known: 1 to the width of the embedding, " + std::to_string(width));
  return axis;
}

/// Whether the numbers of a table tell a row of it for every distance.
bool fits(const dp_function& f) {
  const bool finite = std::isfinite(f.lower) && std::isfinite(f.upper) && std::isfinite(f.most);
  if (!finite || !(f.least <= f.lower) || !(f.lower < f.upper) || !(f.upper <= f.most)) return false;
  if (!(f.fine > 0) || !(f.coarse > 0)) return false;
  const double rows = (f.upper - f.lower) / f.fine + (f.most - f.upper + f.lower - f.least) / f.coarse;
  return f.rows > 0 && std::abs(rows - static_cast<double>(f.rows)) < 2.0;
}

/// The function of a network of one number.
dp_function function_of(const std::vector<dp_layer>& layers, Storage& storage) {
  dp_function f{};
  f.first = layers.at(0);
  if (f.first.n_in != 1) throw Error("a network of distances has more inputs than one");
  if (f.first.skip) f.first_slope = storage.keep(std::vector<double>(size_t(f.first.n_out), 1.0));
  f.first.skip = 0;
  const auto& rest = storage.layers.emplace_back(layers.begin() + 1, layers.end());
  f.network = {static_cast<int64_t>(rest.size()), rest.data()};
  return f;
}

/// The tables of a compressed descriptor in the place of its networks. both_ways: they go down as far as up.
void add_tables(const Document& document, const Json& d, std::vector<dp_function>& functions, int64_t width,
                bool both_ways = false) {
  const auto compress = d.find("compress");
  if (compress == d.end() || compress->is_null()) return;
  if (!compress->value("geo_compress", true)) return;
  const auto &v = compress->at("@variables"), &data = v.at("compress_data"), &info = v.at("compress_info");
  for (size_t k = 0; k < functions.size() && k < data.size(); ++k) {
    const Array &table = document.array(data[k]), &numbers = document.array(info[k]);
    if (table.values.empty()) continue;
    if (table.shape.size() != 2 || table.shape[1] != 6 * width || numbers.values.size() < 5)
      throw Error("a table of the compressed model has another shape");
    dp_function& f = functions[k];
    f.table = table.values.data(), f.rows = table.shape[0];
    f.lower = numbers.values[0], f.upper = numbers.values[1], f.most = numbers.values[2];
    f.fine = numbers.values[3], f.coarse = numbers.values[4];
    f.least = both_ways ? -f.most : f.lower;
    if (!fits(f)) throw Error("the steps of a table of the compressed model do not fit its rows");
  }
}

Described by_type(const Document& document, const Json& d, int64_t ntypes, Storage& storage) {
  const std::string type = d.at("type").get<std::string>();
  const bool radial = type == "se_r", pairs = type == "se_e3";
  check_version(d, "descriptor", 3);
  Described made = common(document, d, ntypes, radial ? 1 : 4, storage);
  if (static_cast<int64_t>(made.sel.size()) != ntypes) throw Error("sel has another length than the type map");
  made.by_type = true;
  dp_descriptor& s = made.settings;
  s.kind = radial ? DP_RADIAL : pairs ? DP_PAIRS : DP_ANGULAR;
  auto& functions = storage.functions.emplace_back();
  for (const Json& network : d.at("embeddings").at("networks")) {
    if (network.is_null()) unknown("a missing network");
    const auto layers = read_layers(document, network, storage);
    const int64_t width = layers.back().n_out;
    if (!functions.empty() && width != s.width)
      throw Error("an embedding network has " + std::to_string(width) + " outputs, and those before it have " + std::to_string(s.width));
    s.width = width;
    functions.push_back(function_of(layers, storage));
  }
  const bool one_side = !pairs && d.value("type_one_side", true);
  if (static_cast<int64_t>(functions.size()) != (one_side ? ntypes : ntypes * ntypes))
    throw Error("networks are missing");
  add_tables(document, d, functions, s.width, pairs);
  auto& which = storage.indices.emplace_back();
  for (int64_t i = 0; i < ntypes; ++i)
    for (int64_t j = 0; j <= ntypes; ++j) {
      const int64_t t = std::min(j, ntypes - 1);
      which.push_back(static_cast<int32_t>(one_side ? t : i + ntypes * t));
    }
  s.functions = static_cast<int64_t>(functions.size()), s.function = functions.data(), s.function_of = which.data();
  for (int64_t k = 0; pairs && k < 4 * ntypes; ++k)
    if (k % 4 && s.davg[k] != 0) unknown("a mean direction of neighbours");
  s.axis = type == "se_e2_a" ? axis_of(d, s.width) : 0;
  made.width = radial || pairs ? s.width : s.width * s.axis;
  return made;
}

/// Both types as numbers behind the distance: for each pair the first layer has another bias.
void add_concatenated(const std::vector<dp_layer>& layers, const std::vector<double>& types, int64_t dim, bool one_side,
                      int64_t ntypes, Storage& storage, std::vector<dp_function>& functions,
                      std::vector<int32_t>& which) {
  const dp_layer& first = layers[0];
  if (first.n_in != 1 + (one_side ? 1 : 2) * dim)
    throw Error("the network of the descriptor has another number of inputs");
  const auto& rest = storage.layers.emplace_back(layers.begin() + 1, layers.end());
  std::vector<double> slope(size_t(first.n_out), 0.0);
  for (int s = 0; s < first.skip; ++s) slope[size_t(s * first.n_in)] = 1;
  const double* kept_slope = storage.keep(slope);
  for (int64_t i = 0; i < ntypes; ++i)
    for (int64_t j = 0; j <= ntypes; ++j) {
      which.push_back(static_cast<int32_t>(one_side ? j : i * (ntypes + 1) + j));
      if (one_side && i > 0) continue;
      std::vector<double> x(size_t(first.n_in), 0.0), b(size_t(first.n_out)), offset(size_t(first.n_out), 0.0);
      std::copy_n(&types[size_t(j * dim)], dim, &x[1]);
      if (!one_side) std::copy_n(&types[size_t(i * dim)], dim, &x[size_t(1 + dim)]);
      for (int64_t n = 0; n < first.n_out; ++n) {
        double sum = first.b ? first.b[n] : 0;
        for (int64_t p = 1; p < first.n_in; ++p) sum += x[size_t(p)] * first.w[p * first.n_out + n];
        b[size_t(n)] = sum;
        if (first.skip) offset[size_t(n)] = x[size_t(n % first.n_in)];
      }
      dp_function f{};
      f.first = first;
      f.first.n_in = 1, f.first.skip = 0;  // the weights of the distance come first
      f.first.b = storage.keep(b);
      f.first_slope = kept_slope, f.first_offset = storage.keep(offset);
      f.network = {static_cast<int64_t>(rest.size()), rest.data()};
      functions.push_back(f);
    }
}

Described mixed(const Document& document, const Json& d, int64_t ntypes, Storage& storage) {
  check_version(d, "descriptor", 4);
  if (!d.at("attention_layers").at("attention_layers").empty()) unknown("attention");
  if (d.value("lmax", 1) != 1) unknown("angular functions of lmax > 1");
  Described made = common(document, d, ntypes, 4, storage);
  int64_t slots = 0;
  for (int64_t n : made.sel) slots += n;
  dp_descriptor& s = made.settings;
  s.kind = DP_ANGULAR;
  const bool one_side = d.value("type_one_side", false);
  const auto strip = d.find("embeddings_strip");
  const bool stripped = strip != d.end() && !strip->is_null();
  s.smooth = stripped && d.value("smooth_type_embedding", true);
  int64_t dim = 0;
  const auto types = read_type_vectors(document, d.at("type_embedding"), dim);
  if (static_cast<int64_t>(types.size()) != (ntypes + 1) * dim)
    throw Error("the type embedding has another number of types");
  const auto layers = read_layers(document, d.at("embeddings").at("networks").at(0), storage);
  s.width = layers.back().n_out;
  s.axis = axis_of(d, s.width);
  auto& functions = storage.functions.emplace_back();
  auto& which = storage.indices.emplace_back();
  if (stripped) {
    functions.push_back(function_of(layers, storage));
    add_tables(document, d, functions, s.width);
    which.assign(size_t(ntypes * (ntypes + 1)), 0);
    const auto gates = read_layers(document, strip->at("networks").at(0), storage);
    std::vector<double> gate;
    for (int64_t i = 0; i < ntypes; ++i)
      for (int64_t j = 0; j <= ntypes; ++j) {
        std::vector<double> x(types.begin() + j * dim, types.begin() + (j + 1) * dim);
        if (!one_side) x.insert(x.end(), types.begin() + i * dim, types.begin() + (i + 1) * dim);
        const auto y = evaluate(gates, x);
        if (static_cast<int64_t>(y.size()) != s.width) throw Error("the network of types has another width than that of distances");
        gate.insert(gate.end(), y.begin(), y.end());
      }
    s.gate = storage.keep(gate);
  } else {
    add_concatenated(layers, types, dim, one_side, ntypes, storage, functions, which);
  }
  s.functions = static_cast<int64_t>(functions.size()), s.function = functions.data(), s.function_of = which.data();
  made.width = s.width * s.axis;
  if (d.value("concat_output_tebd", true)) {
    s.type_vectors = storage.keep(types), s.dim_type = dim;
    made.width += dim;
  }
  const Array* davg = variable(document, d, "davg");
  const bool zero_mean = d.at("set_davg_zero").get<bool>() &&
                         std::all_of(davg->values.begin(), davg->values.end(), [](double x) { return x == 0; });
  made.marks_first = !zero_mean && !s.smooth;
  made.settings.sel = storage.counts.emplace_back(std::vector<int64_t>{slots}).data();
  return made;
}

}  // namespace

std::vector<Described> read_descriptors(const Document& document, const Json& d, int64_t ntypes, Storage& storage) {
  const std::string type = d.at("type").get<std::string>();
  std::vector<Described> all;
  if (type == "hybrid") {
    check_version(d, "descriptor", 1);
    double rcut = 0;
    for (const Json& child : d.at("list")) {
      if (child.at("type") == "hybrid") unknown("a hybrid in a hybrid");
      all.push_back(read_descriptors(document, child, ntypes, storage).at(0));
      rcut = std::max(rcut, all.back().settings.rcut);
    }
    for (Described& child : all) child.settings.cut = child.by_type && child.settings.rcut < rcut && !child.excludes;
  } else if (type == "se_e2_a" || type == "se_r" || type == "se_e3") {
    all.push_back(by_type(document, d, ntypes, storage));
  } else if (type == "dpa1" || type == "se_atten_v2") {
    all.push_back(mixed(document, d, ntypes, storage));
  } else {
    unknown("descriptor " + type);
  }
  for (Described& one : all) {
    one.settings.by_type = one.by_type;
    if (one.by_type) one.settings.sel = storage.counts.emplace_back(one.sel).data();
  }
  return all;
}

}  // namespace dp::native
