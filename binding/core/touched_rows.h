#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "core/arena.h"

namespace steadytune {

/// Rows of one embedding table that any batch has looked up since training began. Gradient and moments of all others
/// are zero, and without them AdamW moves nothing (unless decay does), so a step need not read them at all. Each row
/// is a segment of its own: then a row that is left out changes no bit of the gradient norm either.
class TouchedRows {
 public:
  TouchedRows(const Arena& arena, size_t table);

  size_t table() const { return table_; }
  int64_t count() const { return count_; }
  /// Of the whole table.
  int64_t rows() const { return static_cast<int64_t>(touched_.size()); }

  /// None any more.
  void clear();
  /// `ids` int32 [T] on the CPU, each a row of the table.
  void touch(const at::Tensor& ids);
  /// The same, and keeps them for `zero_marked`.
  void mark(const at::Tensor& ids);
  /// Counts rows as touched in which a whole buffer of the arena is not zero: a restored moment.
  void adopt(const at::Tensor& buffer);

  /// Zeroes the rows of the gradients, on the CPU, that were marked since it was called last: no other row can have
  /// any.
  void zero_marked(const at::Tensor& gradients);

  /// Calls body(begin, end) with the elements of each touched row, in order.
  template <typename Body>
  void for_each(const Body& body) const {
    for (size_t row = 0; row < touched_.size(); ++row) {
      if (touched_[row])
        body(begin_ + static_cast<int64_t>(row) * width_, begin_ + static_cast<int64_t>(row + 1) * width_);
    }
  }

 private:
  void touch(int64_t row);

  size_t table_;
  int64_t begin_;
  int64_t width_;
  std::vector<uint8_t> touched_;
  int64_t count_ = 0;
  std::vector<int32_t> marked_;
};

}  // namespace steadytune
