// Loads a frozen file with plain libtorch: evaluate FILE INPUTS
// Each line of INPUTS is a tensor: f (float64) or i (int64), number of dimensions, sizes, values.
// Prints the record of the file in one line, then every output as a line of numbers.
#include <torch/script.h>

#include <fstream>
#include <iostream>
#include <sstream>

static torch::Tensor read_tensor(const std::string &line) {
  std::istringstream in(line);
  char kind;
  size_t dimensions;
  in >> kind >> dimensions;
  std::vector<int64_t> sizes(dimensions);
  for (auto &size : sizes) in >> size;
  torch::Tensor x = torch::zeros(sizes, torch::kFloat64);
  for (int64_t k = 0; k < x.numel(); ++k) in >> x.data_ptr<double>()[k];
  return kind == 'i' ? x.to(torch::kInt64) : x;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  torch::jit::ExtraFilesMap members{{"capabilities.json", ""}, {"model.dp", ""}};
  auto module = torch::jit::load(argv[1], torch::kCPU, members);
  std::string record = members["capabilities.json"];
  std::replace(record.begin(), record.end(), '\n', ' ');
  std::cout << record << "\n" << std::setprecision(17);

  std::vector<torch::jit::IValue> inputs;
  std::ifstream file(argv[2]);
  for (std::string line; std::getline(file, line);) inputs.push_back(read_tensor(line));
  torch::NoGradGuard no_grad;
  const auto outputs = module.forward(inputs).toTuple();
  for (const auto &value : outputs->elements()) {
    torch::Tensor out = value.toTensor().contiguous();
    for (int64_t k = 0; k < out.numel(); ++k) std::cout << out.data_ptr<double>()[k] << " ";
    std::cout << "\n";
  }
  return 0;
}
