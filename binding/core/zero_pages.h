#pragma once

#include <ATen/ATen.h>

namespace steadytune {

/// `elements` zeros that take no memory until they are written to, page by page: half of a small model's arena belongs
/// to words that its data never mention. On the CPU.
at::Tensor zero_pages(int64_t elements, at::ScalarType dtype);

/// Makes such a tensor, or a contiguous part of one, zero again and gives its memory back.
void zero_again(const at::Tensor& part);

/// Copies into such a tensor without writing zeros over zeros.
void copy_to_pages(float* pages, const float* values, int64_t count);

}  // namespace steadytune
