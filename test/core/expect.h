#pragma once

#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

/// A test framework of one page, so that the C++ tests need nothing but a compiler and libtorch. A test is a sentence
/// and a body; the first check that fails ends it with an exception that names the line and the values.
namespace expect {

struct Test {
  std::string promise;
  std::function<void()> body;
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

struct Registration {
  Registration(const char* promise, void (*body)()) { tests().push_back({promise, body}); }
};

class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <typename... Parts>
[[noreturn]] void fail(const char* file, int line, const Parts&... parts) {
  std::ostringstream message;
  message.precision(17);
  message << file << ":" << line << ": ";
  (message << ... << parts);
  throw Failure(message.str());
}

/// Runs every test; the exit status is the number of failures, at most 1.
inline int run_all() {
  int failures = 0;
  for (const Test& test : tests()) {
    try {
      test.body();
      std::printf("ok      %s\n", test.promise.c_str());
    } catch (const std::exception& error) {
      ++failures;
      std::printf("NOT OK  %s\n        %s\n", test.promise.c_str(), error.what());
    }
    // What stands in the buffer is lost where the next test crashes.
    std::fflush(stdout);
  }
  std::printf("%zu passed, %d failed\n", tests().size() - failures, failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace expect

#define EXPECT_JOIN_(a, b) a##b
#define EXPECT_JOIN(a, b) EXPECT_JOIN_(a, b)

// Numbered by a counter rather than the line, so that several files of tests can be compiled as one.
#define TEST(promise) EXPECT_TEST(promise, __COUNTER__)
#define EXPECT_TEST(promise, number)                                                                                   \
  static void EXPECT_JOIN(test_body_, number)();                                                                       \
  static const expect::Registration EXPECT_JOIN(test_registration_, number)(promise, EXPECT_JOIN(test_body_, number)); \
  static void EXPECT_JOIN(test_body_, number)()

#define EXPECT(condition, ...)                                                                                   \
  do {                                                                                                           \
    if (!(condition)) expect::fail(__FILE__, __LINE__, #condition " does not hold " __VA_OPT__(, ) __VA_ARGS__); \
  } while (false)

#define EXPECT_EQUAL(actual, expected)                                                               \
  do {                                                                                               \
    const auto actual_value = (actual);                                                              \
    const auto expected_value = (expected);                                                          \
    if (!(actual_value == expected_value))                                                           \
      expect::fail(__FILE__, __LINE__, #actual " is ", actual_value, ", expected ", expected_value); \
  } while (false)

/// `actual` is at most `limit`; false for NaN.
#define EXPECT_AT_MOST(actual, limit)                                                        \
  do {                                                                                       \
    const auto actual_value = (actual);                                                      \
    if (!(actual_value <= (limit)))                                                          \
      expect::fail(__FILE__, __LINE__, #actual " is ", actual_value, ", more than ", limit); \
  } while (false)

/// The expression throws, and the message contains `words`.
#define EXPECT_THROWS(expression, words)                                                                \
  do {                                                                                                  \
    std::string message;                                                                                \
    try {                                                                                               \
      static_cast<void>(expression);                                                                    \
    } catch (const std::exception& error) {                                                             \
      message = error.what();                                                                           \
    }                                                                                                   \
    if (message.find(words) == std::string::npos)                                                       \
      expect::fail(__FILE__, __LINE__, #expression " did not throw '", words, "' but '", message, "'"); \
  } while (false)
