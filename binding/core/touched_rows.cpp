#include "core/touched_rows.h"

#include <algorithm>

namespace steadytune {

TouchedRows::TouchedRows(const Arena& arena, size_t table)
    : table_(table),
      begin_(arena.begin_of(table)),
      width_(arena.parameters()[table].shape[1]),
      touched_(static_cast<size_t>(arena.parameters()[table].shape[0])) {}

void TouchedRows::clear() {
  std::fill(touched_.begin(), touched_.end(), uint8_t{0});
  count_ = 0;
  marked_.clear();
}

void TouchedRows::touch(int64_t row) {
  count_ += touched_[row] == 0;
  touched_[row] = 1;
}

void TouchedRows::touch(const at::Tensor& ids) {
  const int32_t* id = ids.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < ids.numel(); ++i) touch(id[i]);
}

void TouchedRows::mark(const at::Tensor& ids) {
  touch(ids);
  const int32_t* id = ids.const_data_ptr<int32_t>();
  marked_.insert(marked_.end(), id, id + ids.numel());
}

void TouchedRows::adopt(const at::Tensor& buffer) {
  const at::Tensor table = buffer.narrow(0, begin_, rows() * width_).to(at::kCPU);
  const float* values = table.const_data_ptr<float>();
  for (int64_t row = 0; row < rows(); ++row) {
    const float* of_row = values + row * width_;
    if (std::any_of(of_row, of_row + width_, [](float value) { return value != 0; })) touch(row);
  }
}

void TouchedRows::zero_marked(const at::Tensor& gradients) {
  float* values = gradients.mutable_data_ptr<float>() + begin_;
  for (const int32_t row : marked_) std::fill_n(values + row * width_, width_, 0.0f);
  marked_.clear();
}

}  // namespace steadytune
