#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace steadytune {

/// An error with one of the stable codes of src/errors.ts; the N-API glue hands code and hint to JavaScript.
class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message, std::string hint = "")
      : std::runtime_error(message), code_(std::move(code)), hint_(std::move(hint)) {}

  const std::string& code() const { return code_; }
  const std::string& hint() const { return hint_; }

 private:
  std::string code_;
  std::string hint_;
};

}  // namespace steadytune
