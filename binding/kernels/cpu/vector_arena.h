#pragma once

#include <algorithm>

#include "kernels/cpu/vector_elements.h"

namespace steadytune::kernels::cpu {
namespace {

template <bool towards_start, bool copies, typename Gradient>
void adamw_elements(const AdamwCoefficients& c, float* values, const Gradient* gradients, float* moment1,
                    float* moment2, const float* start, c10::BFloat16* compute, int64_t count) {
  for (int64_t i = 0; i < count; i += width) {
    const int64_t size = std::min(width, count - i);
    const auto load = [&](const float* from) {
      return size == width ? Vec::loadu(from + i) : Vec::loadu(from + i, size);
    };
    const auto store = [&](const Vec& what, float* to) {
      size == width ? what.store(to + i) : what.store(to + i, size);
    };
    Vec value = load(values);
    Vec first = load(moment1);
    Vec second = load(moment2);
    const Vec gradient = size == width ? load_vector(gradients + i, Whole{}) : load_vector(gradients + i, size);
    adamw_element(c, value, gradient, first, second, towards_start ? load(start) : Vec(0.0f),
                  [](const Vec& values) { return values.sqrt(); });
    store(value, values);
    if constexpr (copies) {
      size == width ? store_vector(compute + i, value, Whole{}) : store_vector(compute + i, value, size);
    }
    store(first, moment1);
    store(second, moment2);
  }
}

template <typename Gradient>
void adamw_segment(const AdamwCoefficients& c, float* values, const Gradient* gradients, float* moment1, float* moment2,
                   const float* start, c10::BFloat16* compute, int64_t count) {
  const auto run = [&](auto elements) { elements(c, values, gradients, moment1, moment2, start, compute, count); };
  if (compute != nullptr) {
    start != nullptr ? run(adamw_elements<true, true, Gradient>) : run(adamw_elements<false, true, Gradient>);
  } else {
    start != nullptr ? run(adamw_elements<true, false, Gradient>) : run(adamw_elements<false, false, Gradient>);
  }
}

/// Sum over squares of element(i), in double: neither overflows nor loses small terms. Many partial sums hide the
/// latency of the addition.
template <typename Element>
inline double sum_of_squares(int64_t count, Element element) {
  constexpr int64_t lanes = 32;
  double sums[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const double value = element(i + lane);
      sums[lane] += value * value;
    }
  }
  for (int64_t lane = 0; i < count; ++i, ++lane) {
    const double value = element(i);
    sums[lane] += value * value;
  }
  double sum = 0.0;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    sum += sums[lane];
  }
  return sum;
}

template <typename Scalar>
double squared_sum(const Scalar* values, int64_t count) {
  return sum_of_squares(count, [=](int64_t i) { return static_cast<double>(load_float(values[i])); });
}

template <typename Scalar>
void column_sums(const Scalar* x, int64_t count, int64_t columns, float* sums) {
  zero(sums, columns);
  for (int64_t token = 0; token < count; ++token) {
    const Scalar* from = x + token * columns;
    for_each_vector(columns, [&](int64_t i, auto elements) {
      store_vector(sums + i, load_vector(sums + i, elements) + load_vector(from + i, elements), elements);
    });
  }
}

inline double squared_distance(const float* values, const float* start, int64_t count) {
  return sum_of_squares(count, [=](int64_t i) { return static_cast<double>(values[i]) - start[i]; });
}

}  // namespace
}  // namespace steadytune::kernels::cpu
