#include "native_networks.h"

#include <cmath>
#include <sstream>

namespace dp::native {

void unknown(const std::string& what) { throw OtherEngine("not known to the native engine: " + what); }

const Array* variable(const Document& document, const Json& part, const char* name) {
  const auto variables = part.find("@variables");
  if (variables == part.end()) return nullptr;
  const auto found = variables->find(name);
  return found == variables->end() || found->is_null() ? nullptr : &document.array(*found);
}

std::string canonical(const Json& part) {
  const std::string name = part.value("precision", "default");
  if (name == "float64" || name == "double" || name == "default") return "float64";
  if (name == "float32" || name == "single") return "float32";
  unknown("precision " + name);
}

void check_version(const Json& part, const char* name, int newest) {
  const int version = part.value("@version", 1);
  if (version > newest) {
    throw OtherEngine("the " + std::string(name) + " of the model has version " + std::to_string(version) +
                      ", and this library reads up to " + std::to_string(newest) + " (pip install --upgrade dp-ops)");
  }
}

namespace {

/// The number of an activation function, and the threshold that its name may tell.
int32_t activation(const Json& layer, double& threshold) {
  const auto given = layer.find("activation_function");
  std::string name = given == layer.end() || given->is_null() ? "none" : given->get<std::string>();
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const std::map<std::string, int32_t> known = {
      {"tanh", DP_TANH},       {"relu", DP_RELU},   {"relu6", DP_RELU6},   {"softplus", DP_SOFTPLUS},
      {"sigmoid", DP_SIGMOID}, {"gelu", DP_GELU},   {"gelu_tf", DP_GELU},  {"silu", DP_SILU},
      {"linear", DP_LINEAR},   {"none", DP_LINEAR}};
  if (const auto found = known.find(name); found != known.end()) return found->second;
  const size_t colon = name.find(':');
  const std::string base = name.substr(0, colon);
  if (base != "silut" && base != "custom_silu") unknown("activation function " + name);
  threshold = 3.0;
  if (colon != std::string::npos) {
    std::istringstream number(name.substr(colon + 1));
    if (!(number >> threshold)) throw Error("the activation function '" + name + "' has no number behind its colon");
  }
  return DP_SILUT;
}

double activated(const dp_layer& layer, double x) {
  auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  switch (layer.activation) {
    case DP_TANH:
      return std::tanh(x);
    case DP_RELU:
      return std::max(x, 0.0);
    case DP_RELU6:
      return std::min(std::max(x, 0.0), 6.0);
    case DP_SOFTPLUS:
      return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
    case DP_SIGMOID:
      return sigmoid(x);
    case DP_GELU:
      return 0.5 * x * (1 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case DP_SILU:
      return x * sigmoid(x);
    case DP_SILUT: {
      const double at = layer.threshold, s = sigmoid(at);
      return x < at ? x * sigmoid(x) : std::tanh((s + at * s * (1 - s)) * (x - at)) + at * s;
    }
    default:
      return x;
  }
}

}  // namespace

dp_layer read_layer(const Document& document, const Json& layer, Storage& storage) {
  check_version(layer, "layer", 2);
  const Array* w = variable(document, layer, "w");
  if (!w || w->shape.size() != 2) throw Error("a layer of the model has no matrix of weights");
  dp_layer made{};
  made.n_in = w->shape[0], made.n_out = w->shape[1];
  if (made.n_in < 1 || made.n_out < 1) throw Error("a layer of the model has a matrix without weights");
  made.w = storage.keep(w->values);
  for (const auto& [name, to] : {std::pair{"b", &made.b}, std::pair{"idt", &made.idt}}) {
    const Array* values = variable(document, layer, name);
    if (!values) continue;
    if (static_cast<int64_t>(values->values.size()) != made.n_out)
      throw Error("a layer of the model has another width");
    *to = storage.keep(values->values);
  }
  made.activation = activation(layer, made.threshold);
  if (layer.value("resnet", false) && (made.n_out == made.n_in || made.n_out == 2 * made.n_in))
    made.skip = static_cast<int32_t>(made.n_out / made.n_in);
  return made;
}

std::vector<dp_layer> read_layers(const Document& document, const Json& network, Storage& storage) {
  std::vector<dp_layer> layers;
  for (const Json& layer : network.at("layers")) {
    layers.push_back(read_layer(document, layer, storage));
    if (layers.size() > 1 && layers.back().n_in != layers[layers.size() - 2].n_out)
      throw Error("layers of the model do not fit each other");
  }
  if (layers.empty()) throw Error("a network of the model has no layers");
  return layers;
}

std::vector<double> evaluate(const std::vector<dp_layer>& layers, std::vector<double> x) {
  for (const dp_layer& layer : layers) {
    if (static_cast<int64_t>(x.size()) != layer.n_in)
      throw Error("a network of the model has another number of inputs");
    std::vector<double> y(static_cast<size_t>(layer.n_out));
    for (int64_t j = 0; j < layer.n_out; ++j) {
      double sum = layer.b ? layer.b[j] : 0;
      for (int64_t p = 0; p < layer.n_in; ++p) sum += x[size_t(p)] * layer.w[p * layer.n_out + j];
      y[size_t(j)] = activated(layer, sum) * (layer.idt ? layer.idt[j] : 1);
      if (layer.skip) y[size_t(j)] += x[size_t(j % layer.n_in)];
    }
    x = std::move(y);
  }
  return x;
}

std::vector<double> read_type_vectors(const Document& document, const Json& embedding, int64_t& dim) {
  check_version(embedding, "type embedding", 2);
  Storage storage;
  const auto layers = read_layers(document, embedding.at("embedding"), storage);
  const int64_t ntypes = embedding.at("ntypes").get<int64_t>();
  if (ntypes < 1 || ntypes > kMostTypes)
    throw Error("the type embedding is for " + std::to_string(ntypes) + " types; known: 1 to " + std::to_string(kMostTypes));
  const bool by_electrons = embedding.value("use_econf_tebd", false);
  dim = layers.back().n_out;
  std::vector<double> all;
  for (int64_t t = 0; t < ntypes; ++t) {
    std::vector<double> x(static_cast<size_t>(ntypes), 0.0);
    x[size_t(t)] = 1;
    if (by_electrons) x = electrons(embedding.at("type_map").at(size_t(t)).get<std::string>());
    const auto y = evaluate(layers, x);
    all.insert(all.end(), y.begin(), y.end());
  }
  all.resize(static_cast<size_t>((ntypes + 1) * dim), 0.0);
  return all;
}

std::vector<double> electrons(const std::string& element) {
  static const char* const kElements =
      "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb "
      "Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au "
      "Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv "
      "Ts Og";
  static const char* const kOrbitals = "1s 2s 2p 3s 3p 3d 4s 4p 4d 4f 5s 5p 5d 5f 6s 6p 6d 7s 7p";
  static const char* const kAsFilled = "1s 2s 2p 3s 3p 4s 3d 4p 5s 4d 5p 6s 4f 5d 6p 7s 5f 6d 7p";
  // elements whose ground state does not follow the order, and what differs
  static const std::map<std::string, std::string> kExceptions = {
      {"Cr", "3d5 4s1"},  {"Cu", "3d10 4s1"}, {"Nb", "4d4 5s1"},  {"Mo", "4d5 5s1"},  {"Ru", "4d7 5s1"},
      {"Rh", "4d8 5s1"},  {"Pd", "4d10 5s0"}, {"Ag", "4d10 5s1"}, {"La", "4f0 5d1"},  {"Ce", "4f1 5d1"},
      {"Gd", "4f7 5d1"},  {"Pt", "5d9 6s1"},  {"Au", "5d10 6s1"}, {"Ac", "5f0 6d1"},  {"Th", "5f0 6d2"},
      {"Pa", "5f2 6d1"},  {"U", "5f3 6d1"},   {"Np", "5f4 6d1"},  {"Cm", "5f7 6d1"},  {"Ds", "6d9 7s1"},
      {"Rg", "6d10 7s1"}};
  auto boxes = [](const std::string& orbital) {
    return orbital[1] == 's' ? 1 : orbital[1] == 'p' ? 3 : orbital[1] == 'd' ? 5 : 7;
  };
  int left = 0, number = 0;
  std::istringstream elements(kElements);
  for (std::string name; elements >> name;) {
    ++number;
    if (name == element) left = number;
  }
  if (left == 0) throw Error("use_econf_tebd is true, but '" + element + "' in the type_map is no element");
  std::map<std::string, int> population;
  std::istringstream as_filled(kAsFilled);
  for (std::string orbital; as_filled >> orbital;) {
    population[orbital] = std::min(left, 2 * boxes(orbital));
    left -= population[orbital];
  }
  if (const auto found = kExceptions.find(element); found != kExceptions.end()) {
    std::istringstream changes(found->second);
    for (std::string change; changes >> change;) population[change.substr(0, 2)] = std::stoi(change.substr(2));
  }
  std::vector<double> numbers;
  std::istringstream orbitals(kOrbitals);
  for (std::string orbital; orbitals >> orbital;) {
    const int n = population[orbital], m = boxes(orbital), single = n <= m ? n : 2 * m - n, pairs = (n - single) / 2;
    for (int box = 0; box < m; ++box) {
      numbers.push_back(box < pairs ? 1.0 : -1.0);
      numbers.push_back(box < pairs + single ? 1.0 : -1.0);
    }
  }
  for (double& x : numbers) x /= std::sqrt(118.0);
  return numbers;
}

}  // namespace dp::native
