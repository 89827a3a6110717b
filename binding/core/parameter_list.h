#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "core/parameter.h"

namespace steadytune {

/// The parameters of a model in arena order, put together part by part.
class ParameterList {
 public:
  using Block = std::optional<int64_t>;

  void add(std::string name, std::vector<int64_t> shape, Role role, Kind kind, Block block = std::nullopt,
           bool joined = false);
  void embedding(const std::string& name, int64_t rows, int64_t width);
  void linear(const std::string& name, int64_t out, int64_t in, Role role, Block block = std::nullopt);
  void norm(const std::string& name, int64_t width, Block block = std::nullopt);
  /// Linear layers whose weights lie back to back, and whose biases do, so that one product serves all of them.
  void joined_linears(const std::string& prefix, std::initializer_list<const char*> parts, int64_t out, int64_t in,
                      Role role, Block block);

  std::vector<ParameterInfo> take() { return std::move(list_); }

 private:
  std::vector<ParameterInfo> list_;
};

}  // namespace steadytune
