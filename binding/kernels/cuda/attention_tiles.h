#pragma once

#include "kernels/cuda/elements.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/masks.h"
#include "kernels/cuda/reduce.h"

// Attention by tiles: a block takes one head and a tile of 32 queries (or, for the gradients of keys and values, of 32
// keys) and goes through the row's other tokens tile by tile. Blocks are laid out for as many tiles as there can be, so
// the host need not know the offsets; each finds its row on the device. Included by *.cu alone.
namespace steadytune::kernels::cuda {
namespace {

constexpr int tile_size = 32;
constexpr float infinity = __builtin_huge_valf();

/// Where one row's tokens lie, and a tile of them. Filler tokens behind the last row count as a row without keys.
struct Tile {
  /// Of the data set.
  uint32_t row;
  /// In the batch: the row, and its first token.
  int row_of_batch;
  int first;
  int length;
  /// In the row.
  int begin;
  bool filler;

  __device__ __forceinline__ bool exists() const { return length > 0; }
  __device__ __forceinline__ int size() const { return length - begin < tile_size ? length - begin : tile_size; }
};

/// The tile of this number, counted through all rows; every lane of a warp gets it. One with length 0 is behind the
/// end. offset_of(row) is the first token of each row, and behind the last one the end of all rows.
template <typename OffsetOf>
__device__ Tile find_tile(const AttentionBatch& batch, int64_t all_tokens, const OffsetOf& offset_of, int number) {
  const int lane = threadIdx.x;
  const int rows = static_cast<int>(batch.rows);
  const int tokens = static_cast<int>(all_tokens);
  for (int first_row = 0; first_row <= rows; first_row += warp_size) {
    const int row = first_row + lane;
    const int begin = row <= rows ? offset_of(row) : tokens;
    const int end = row < rows ? offset_of(row + 1) : tokens;
    const int tiles = (end - begin + tile_size - 1) / tile_size;
    int upto = tiles;
    for (int distance = 1; distance < warp_size; distance *= 2) {
      const int other = __shfl_up_sync(whole_warp, upto, distance);
      upto += lane >= distance ? other : 0;
    }
    const unsigned holders = __ballot_sync(whole_warp, number >= upto - tiles && number < upto);
    if (holders != 0) {
      const int holder = __ffs(static_cast<int>(holders)) - 1;
      const int first = __shfl_sync(whole_warp, begin, holder);
      const int in_row = number - __shfl_sync(whole_warp, upto - tiles, holder);
      const int length = __shfl_sync(whole_warp, end, holder) - first;
      const int of_batch = first_row + holder;
      const bool filler = of_batch == rows;
      const uint32_t of_data = filler ? 0u : static_cast<uint32_t>(batch.numbers[of_batch]);
      return {of_data, of_batch, first, length, in_row * tile_size, filler};
    }
    number -= __shfl_sync(whole_warp, upto, warp_size - 1);
  }
  return {};
}

__device__ __forceinline__ Tile find_tile(const AttentionBatch& batch, int number) {
  return find_tile(batch, batch.tokens, [&](int row) { return batch.offsets[row]; }, number);
}

/// Tiles that so many tokens in so many rows make at most, those of filler included.
inline unsigned most_tiles(int64_t tokens, int64_t rows) {
  return static_cast<unsigned>(tokens / tile_size + rows + 1);
}

/// Draws the masks on the probabilities of one row and head.
class ProbabilityDropout {
 public:
  __device__ ProbabilityDropout(const DeviceDraw& draw, uint32_t row, int head)
      : draw_(counted(draw)), row_(row), head_(static_cast<uint32_t>(head)) {}

  __device__ __forceinline__ bool drops() const { return draw_.threshold > 0; }

  /// For the query at a position of the row and the eight keys from key_begin on, a multiple of eight.
  __device__ __forceinline__ PhiloxBlock block(int query, int key_begin) const {
    const auto columns = static_cast<uint32_t>(key_begin / dropout_block_columns);
    return philox4x32({{draw_.step, row_, attention_place(head_, static_cast<uint32_t>(query)), columns}}, draw_.key);
  }

  __device__ __forceinline__ bool keeps(uint32_t lane_of_block) const { return lane_of_block >= draw_.threshold; }
  __device__ __forceinline__ float factor(bool kept) const { return kept ? draw_.scale : 0.0f; }

 private:
  DropoutDraw draw_;
  uint32_t row_;
  uint32_t head_;
};

/// Keys that the query at this position of the row sees.
__device__ __forceinline__ int seen(const AttentionBatch& batch, const Tile& tile, int query) {
  return batch.causal && query < tile.length ? query + 1 : tile.length;
}

/// End of the keys that any query of a tile sees.
__device__ __forceinline__ int seen_by_tile(const AttentionBatch& batch, const Tile& tile) {
  return seen(batch, tile, tile.begin + tile.size() - 1);
}

__device__ __forceinline__ Tile tile_at(const Tile& tile, int begin) {
  Tile other = tile;
  other.begin = begin;
  return other;
}

__device__ __forceinline__ float scale_of(const AttentionBatch& batch) {
  return 1.0f / sqrtf(static_cast<float>(batch.head_size));
}

}  // namespace
}  // namespace steadytune::kernels::cuda
