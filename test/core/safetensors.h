#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>

/// One float32 tensor of a safetensors file, for fixtures that this repository made itself: the header is searched, not
/// parsed. The reader of checkpoints, which trusts nothing, is src/models/safetensors.ts.
inline at::Tensor read_fixture(const std::string& path, const std::string& name) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  uint64_t header_size = 0;
  if (bytes.size() < sizeof header_size) {
    throw std::runtime_error("cannot read " + path);
  }
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  const std::string header = bytes.substr(sizeof header_size, header_size);
  const std::regex entry("\"" + name +
                         R"re("\s*:\s*\{"dtype":"F32","shape":\[([0-9,]*)\],"data_offsets":\[([0-9]+))re");
  std::smatch found;
  if (!std::regex_search(header, found, entry)) {
    throw std::runtime_error(path + " holds no float32 tensor " + name);
  }
  std::vector<int64_t> shape;
  const std::string sizes = found[1];
  const std::regex number("[0-9]+");
  for (auto i = std::sregex_iterator(sizes.begin(), sizes.end(), number); i != std::sregex_iterator(); ++i) {
    shape.push_back(std::stoll(i->str()));
  }
  at::Tensor tensor = at::empty(shape, at::kFloat);
  std::memcpy(tensor.data_ptr(), bytes.data() + sizeof header_size + header_size + std::stoull(found[2]),
              tensor.nbytes());
  return tensor;
}
