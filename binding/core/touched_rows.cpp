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
}

void TouchedRows::touch(int64_t row) {
  count_ += touched_[row] == 0;
  touched_[row] = 1;
}

void TouchedRows::mark(const at::Tensor& ids) {
  const int32_t* id = ids.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < ids.numel(); ++i) touch(id[i]);
}

void TouchedRows::adopt(const at::Tensor& buffer) {
  const float* values = buffer.const_data_ptr<float>() + begin_;
  for (int64_t row = 0; row < static_cast<int64_t>(touched_.size()); ++row) {
    const float* of_row = values + row * width_;
    if (std::any_of(of_row, of_row + width_, [](float value) { return value != 0; })) touch(row);
  }
}

}  // namespace steadytune
