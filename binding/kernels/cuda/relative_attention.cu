#include "kernels/cuda/attention_float32.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/shared_memory.h"

// XLNet's attention inside each row of a packed batch: what attention.cu does, with two terms more in every score. The
// relative keys of a tile of queries and a tile of keys are a band of 63 that lie one behind the other, since they
// depend on the distance alone; so are the keys of a tile of queries and a tile of relative keys.
//
// A block has up to 75 KB of shared memory, and 140 KB for heads of more than 64 columns, which XLNet has none of: A100
// and H100 grant that, smaller GPUs of their time (sm_86, sm_89, sm_120) do not, and the launch fails there.
namespace steadytune::kernels::cuda {
namespace {

/// Of a band: 63, and one more for the sake of whole tiles.
constexpr int band_size = 2 * tile_size;

/// The rows of RelativeAttention::vectors.
enum RelativeVector { content_bias, position_bias, segment_bias, own_segment, other_segment };
constexpr int relative_vectors = 5;

/// One head of one row.
template <typename Scalar>
struct RowHead {
  __device__ __forceinline__ RowHead(const RelativeAttention<Scalar>& tensors, int row, int of_head)
      : head(of_head),
        head_size(static_cast<int>(tensors.batch.head_size)),
        hidden(tensors.batch.heads * tensors.batch.head_size),
        key_first(tensors.batch.offsets[row]),
        keys(tensors.batch.offsets[row + 1] - key_first),
        query_first(tensors.query_offsets[row]),
        queries(tensors.query_offsets[row + 1] - query_first),
        position(tensors.query_positions[row]),
        scale(scale_of(tensors.batch)),
        segments(tensors.segments + key_first),
        vectors(tensors.vectors + of_head * head_size) {}

  /// Of the head: [head_size].
  __device__ __forceinline__ const float* vector(RelativeVector which) const { return vectors + which * hidden; }
  /// The head's part of a line of a tensor of tokens.
  template <typename Element>
  __device__ __forceinline__ Element* part(Element* tensor, int64_t line) const {
    return tensor + line * hidden + head * head_size;
  }
  /// A tile of the row's queries or of its keys.
  __device__ __forceinline__ Tile queries_at(int begin) const { return {0, 0, query_first, queries, begin, false}; }
  __device__ __forceinline__ Tile keys_at(int begin) const { return {0, 0, key_first, keys, begin, false}; }
  /// The row's first relative key, and their number.
  __device__ __forceinline__ int relative_first() const { return key_first + query_first; }
  __device__ __forceinline__ int relative_keys() const { return keys + queries; }

  int head;
  int head_size;
  int64_t hidden;
  int key_first;
  int keys;
  int query_first;
  int queries;
  int position;
  float scale;
  const int32_t* segments;
  const float* vectors;
};

/// A tile of queries into shared memory, each plus a bias and times the scale of the scores; zeros behind the row.
template <int depth, typename Scalar>
__device__ void load_queries(const RowHead<Scalar>& work, const Scalar* query, const Tile& tile, RelativeVector which,
                             float* to) {
  const float* bias = work.vector(which);
  const int size = tile.size();
  for (int i = static_cast<int>(threadIdx.y) * warp_size + static_cast<int>(threadIdx.x); i < tile_size * depth;
       i += threads) {
    const int token = i / depth;
    const int column = i % depth;
    const bool exists = token < size && column < work.head_size;
    to[token * Layout<depth>::stride + column] =
        exists ? work.scale * (load_float(work.part(query, tile.first + tile.begin + token)[column]) + bias[column])
               : 0.0f;
  }
}

/// Lines begin .. begin + 63 of a row's `count` into shared memory; zeros outside of the row.
template <int depth, typename Scalar>
__device__ void load_band(const RowHead<Scalar>& work, const Scalar* from, int first, int count, int begin, float* to) {
  constexpr int groups = depth / group_size;
  for (int i = static_cast<int>(threadIdx.y) * warp_size + static_cast<int>(threadIdx.x); i < band_size * groups;
       i += threads) {
    const int line = begin + i / groups;
    const int column = i % groups * group_size;
    Group group = {};
    if (line >= 0 && line < count && column < work.head_size) {
      group = load_group(work.part(from, first + line) + column, work.head_size - column);
    }
    store_whole(to + i / groups * Layout<depth>::stride + column, group);
  }
}

/// Where a warp's queries meet a band: the i-th and lane l at line l + begin + i step.
struct Diagonal {
  int begin;
  int step;

  __device__ __forceinline__ int line(int of_lane, int i) const { return of_lane + begin + i * step; }
};

/// Relative keys of a tile of queries and a tile of keys: the further the query, the nearer the distance.
__device__ __forceinline__ Diagonal of_keys() {
  return {tile_size - 1 - static_cast<int>(threadIdx.y) * warp_queries, -1};
}
/// Keys of a tile of queries and a tile of relative keys.
__device__ __forceinline__ Diagonal of_relative_keys() { return {static_cast<int>(threadIdx.y) * warp_queries, 1}; }

/// products[i] += left[8 warp + i] . band[the diagonal's line].
template <int depth>
__device__ __forceinline__ void add_products(const float* left, const float* band, const Diagonal& diagonal,
                                             int head_size, float (&products)[warp_queries]) {
  constexpr int stride = Layout<depth>::stride;
  const float* queries = left + threadIdx.y * warp_queries * stride;
  for (int column = 0; column < head_size; column += 4) {
#pragma unroll
    for (int i = 0; i < warp_queries; ++i) {
      const float4 a = *reinterpret_cast<const float4*>(queries + i * stride + column);
      const float4 b =
          *reinterpret_cast<const float4*>(band + diagonal.line(static_cast<int>(threadIdx.x), i) * stride + column);
      products[i] = fmaf(a.x, b.x, fmaf(a.y, b.y, fmaf(a.z, b.z, fmaf(a.w, b.w, products[i]))));
    }
  }
}

/// What the segments add to the scores of the warp's queries.
template <typename Scalar>
class SegmentScores {
 public:
  __device__ __forceinline__ SegmentScores(const RowHead<Scalar>& work, const Scalar* query, const Tile& tile)
      : segments_(work.segments) {
    const float* bias = work.vector(segment_bias);
    for (int i = 0; i < warp_queries; ++i) {
      const int number = tile.begin + static_cast<int>(threadIdx.y) * warp_queries + i;
      float own = 0.0f;
      float other = 0.0f;
      id_[i] = 0;
      if (number < tile.length) {
        id_[i] = work.segments[work.position + number];
        const Scalar* source = work.part(query, tile.first + number);
        for (int column = static_cast<int>(threadIdx.x); column < work.head_size; column += warp_size) {
          const float asked = work.scale * (load_float(source[column]) + bias[column]);
          own = fmaf(asked, work.vector(own_segment)[column], own);
          other = fmaf(asked, work.vector(other_segment)[column], other);
        }
      }
      own_[i] = warp_sum(own);
      other_[i] = warp_sum(other);
    }
  }

  /// Whether the key lies in the segment of the warp's i-th query.
  __device__ __forceinline__ bool own(int i, int key) const { return segments_[key] == id_[i]; }
  __device__ __forceinline__ float of(int i, int key) const { return own(i, key) ? own_[i] : other_[i]; }

 private:
  const int32_t* segments_;
  int32_t id_[warp_queries];
  float own_[warp_queries];
  float other_[warp_queries];
};

/// Scores of the lane's key and the warp's queries; -inf where there is no such key.
template <int depth, typename Scalar>
__device__ __forceinline__ void score(const RowHead<Scalar>& work, const SegmentScores<Scalar>& segments,
                                      const float* content, const float* position, const float* key, const float* band,
                                      int key_begin, float (&scores)[warp_queries]) {
  multiply<depth>(content, key, work.head_size, scores);
  add_products<depth>(position, band, of_keys(), work.head_size, scores);
  const int number = key_begin + static_cast<int>(threadIdx.x);
  for (int i = 0; i < warp_queries; ++i) {
    scores[i] = number < work.keys ? scores[i] + segments.of(i, number) : -infinity;
  }
}

/// The first of the relative keys that a tile of queries and a tile of keys have between them.
template <typename Scalar>
__device__ __forceinline__ int band_begin(const RowHead<Scalar>& work, int query_begin, int key_begin) {
  return work.queries - (query_begin + tile_size - 1) + key_begin;
}

template <typename Scalar>
__device__ __forceinline__ Tile find_queries(const RelativeAttention<Scalar>& tensors) {
  return find_tile(
      tensors.batch, tensors.queries, [&](int row) { return tensors.query_offsets[row]; },
      static_cast<int>(blockIdx.x));
}

template <int depth>
constexpr size_t forward_bytes() {
  // Queries with two biases, keys, values, a band, probabilities and masks.
  return (6 * Layout<depth>::tile + warps * warp_size * warp_queries) * sizeof(float) + threads * sizeof(uint4);
}

template <int depth, typename Scalar>
__global__ void __launch_bounds__(threads)
    relative_attention_kernel(const RelativeAttention<Scalar> tensors, const DeviceDraw draw, Scalar* output,
                              float* logsumexp) {
  const Tile tile = find_queries(tensors);
  if (!tile.exists()) {
    return;
  }
  const int head = blockIdx.y;
  const int query_begin = tile.begin + threadIdx.y * warp_queries;
  const int64_t hidden = tensors.batch.heads * tensors.batch.head_size;
  const int head_size = static_cast<int>(tensors.batch.head_size);
  Scalar* target = output + (tile.first + query_begin) * hidden + head * head_size;
  float* denominators = logsumexp + head * tensors.queries + tile.first + query_begin;
  float sums[warp_queries][Layout<depth>::columns_of_lane] = {};
  if (tile.filler) {
    for (int i = 0; i < warp_queries && query_begin + i < tile.length; ++i) {
      store_token<depth>(sums[i], 0.0f, head_size, target + i * hidden);
      if (threadIdx.x == 0) {
        denominators[i] = 0.0f;
      }
    }
    return;
  }

  float* content = reinterpret_cast<float*>(steadytune_shared_memory);
  float* position = content + Layout<depth>::tile;
  float* key = position + Layout<depth>::tile;
  float* value = key + Layout<depth>::tile;
  float* band = value + Layout<depth>::tile;
  // Of this warp: [keys, queries].
  float* probabilities = band + 2 * Layout<depth>::tile + threadIdx.y * warp_size * warp_queries;
  auto* bits = reinterpret_cast<uint4*>(band + 2 * Layout<depth>::tile + warps * warp_size * warp_queries);
  const RowHead<Scalar> work(tensors, tile.row_of_batch, head);
  const TileDropout dropout(draw, tile.row, head, bits);
  const SegmentScores<Scalar> segments(work, tensors.query, tile);
  load_queries<depth>(work, tensors.query, tile, content_bias, content);
  load_queries<depth>(work, tensors.query, tile, position_bias, position);

  float largest[warp_queries];
  float denominator[warp_queries];
  for (int i = 0; i < warp_queries; ++i) {
    largest[i] = -infinity;
    denominator[i] = 0.0f;
  }
  for (int key_begin = 0; key_begin < work.keys; key_begin += tile_size) {
    const Tile keys = work.keys_at(key_begin);
    __syncthreads();
    load_tile<depth>(tensors.key + head * head_size, hidden, head_size, keys, 1.0f, key);
    load_tile<depth>(tensors.value + head * head_size, hidden, head_size, keys, 1.0f, value);
    load_band<depth>(work, tensors.relative, work.relative_first(), work.relative_keys(),
                     band_begin(work, tile.begin, key_begin), band);
    __syncthreads();
    if (query_begin >= tile.length) {
      continue;
    }
    float weights[warp_queries];
    score<depth>(work, segments, content, position, key, band, key_begin, weights);
    float factors[warp_queries];
    dropout.factors(work.position + tile.begin, key_begin, factors);
    for (int i = 0; i < warp_queries; ++i) {
      const float before = largest[i];
      largest[i] = fmaxf(before, warp_max(weights[i]));
      const float shrink = expf(before - largest[i]);
      const float weight = expf(weights[i] - largest[i]);
      denominator[i] = fmaf(denominator[i], shrink, warp_sum(weight));
      weights[i] = weight * factors[i];
      for (int j = 0; j < Layout<depth>::columns_of_lane; ++j) {
        sums[i][j] *= shrink;
      }
    }
    store_whole(probabilities + threadIdx.x * warp_queries,
                {{weights[0], weights[1], weights[2], weights[3], weights[4], weights[5], weights[6], weights[7]}});
    __syncwarp();
    for (int token = 0; token < keys.size(); ++token) {
      read_eight(probabilities + token * warp_queries, weights);
      accumulate<depth>(weights, value, token, sums);
    }
    __syncwarp();
  }
  for (int i = 0; i < warp_queries && query_begin + i < tile.length; ++i) {
    store_token<depth>(sums[i], 1.0f / denominator[i], head_size, target + i * hidden);
    if (threadIdx.x == 0) {
      denominators[i] = largest[i] + logf(denominator[i]);
    }
  }
}

/// What is the same for every tile of keys that a tile of queries meets.
template <int depth, typename Scalar>
__device__ __forceinline__ Probabilities recompute(const RowHead<Scalar>& work, const SegmentScores<Scalar>& segments,
                                                   const TileDropout& dropout, const Tile& tile, int key_begin,
                                                   const float* content, const float* position,
                                                   const float* grad_output, const float* key, const float* value,
                                                   const float* band, const float* logsumexp) {
  const int query_begin = tile.begin + threadIdx.y * warp_queries;
  Probabilities result;
  score<depth>(work, segments, content, position, key, band, key_begin, result.plain);
  multiply<depth>(grad_output, value, work.head_size, result.grad);
  float factors[warp_queries];
  dropout.factors(work.position + tile.begin, key_begin, factors);
  result.weigh(factors, logsumexp + query_begin, [&](int i) {
    return query_begin + i < tile.length && key_begin + static_cast<int>(threadIdx.x) < work.keys;
  });
  return result;
}

template <int depth>
constexpr size_t backward_queries_bytes() {
  return (7 * Layout<depth>::tile + warps * warp_size * warp_queries) * sizeof(float) + threads * sizeof(uint4);
}

/// The gradient of the queries, their means as in attention.cu, and each tile's part of the vectors' gradients.
template <int depth, typename Scalar>
__global__ void __launch_bounds__(threads)
    relative_backward_queries_kernel(const RelativeAttention<Scalar> tensors, const DeviceDraw draw,
                                     const Scalar* grad_output, const float* logsumexp,
                                     const RelativeGradients<Scalar> grads) {
  constexpr int columns_of_lane = Layout<depth>::columns_of_lane;
  const Tile tile = find_queries(tensors);
  const int head = blockIdx.y;
  const int head_size = static_cast<int>(tensors.batch.head_size);
  const int64_t hidden = tensors.batch.heads * tensors.batch.head_size;
  const int thread = static_cast<int>(threadIdx.y) * warp_size + static_cast<int>(threadIdx.x);
  const int query_begin = tile.begin + threadIdx.y * warp_queries;
  float* of_vectors = grads.vectors + static_cast<int64_t>(blockIdx.x) * relative_vectors * hidden + head * head_size;
  Scalar* target = grads.query + (tile.first + query_begin) * hidden + head * head_size;
  float of_content[warp_queries][columns_of_lane] = {};
  float of_position[warp_queries][columns_of_lane] = {};
  if (!tile.exists() || tile.filler) {
    for (int i = thread; i < relative_vectors * head_size; i += threads) {
      of_vectors[i / head_size * hidden + i % head_size] = 0.0f;
    }
    for (int i = 0; i < warp_queries && query_begin + i < tile.length; ++i) {
      store_token<depth>(of_content[i], 0.0f, head_size, target + i * hidden);
    }
    return;
  }

  float* content = reinterpret_cast<float*>(steadytune_shared_memory);
  float* position = content + Layout<depth>::tile;
  float* grad = position + Layout<depth>::tile;
  float* key = grad + Layout<depth>::tile;
  float* value = key + Layout<depth>::tile;
  float* band = value + Layout<depth>::tile;
  float* grad_scores = band + 2 * Layout<depth>::tile + threadIdx.y * warp_size * warp_queries;
  auto* bits = reinterpret_cast<uint4*>(band + 2 * Layout<depth>::tile + warps * warp_size * warp_queries);
  const RowHead<Scalar> work(tensors, tile.row_of_batch, head);
  const TileDropout dropout(draw, tile.row, head, bits);
  const SegmentScores<Scalar> segments(work, tensors.query, tile);
  const float* denominators = logsumexp + head * tensors.queries + tile.first;
  load_queries<depth>(work, tensors.query, tile, content_bias, content);
  load_queries<depth>(work, tensors.query, tile, position_bias, position);
  load_tile<depth>(grad_output + head * head_size, hidden, head_size, tile, 1.0f, grad);

  const auto visit = [&](int key_begin) {
    const Tile keys = work.keys_at(key_begin);
    __syncthreads();
    load_tile<depth>(tensors.key + head * head_size, hidden, head_size, keys, 1.0f, key);
    load_tile<depth>(tensors.value + head * head_size, hidden, head_size, keys, 1.0f, value);
    load_band<depth>(work, tensors.relative, work.relative_first(), work.relative_keys(),
                     band_begin(work, tile.begin, key_begin), band);
    __syncthreads();
    return recompute<depth>(work, segments, dropout, tile, key_begin, content, position, grad, key, value, band,
                            denominators);
  };
  float mean[warp_queries] = {};
  Probabilities probabilities{};
  for (int key_begin = 0; key_begin < work.keys; key_begin += tile_size) {
    probabilities = visit(key_begin);
    for (int i = 0; i < warp_queries; ++i) {
      mean[i] = fmaf(probabilities.plain[i], probabilities.grad[i], mean[i]);
    }
  }
  for (int i = 0; i < warp_queries; ++i) {
    mean[i] = warp_sum(mean[i]);
    if (threadIdx.x == 0 && query_begin + i < tile.length) {
      grads.means[head * tensors.queries + tile.first + query_begin + i] = mean[i];
    }
  }
  float of_own[warp_queries] = {};
  float of_other[warp_queries] = {};
  for (int key_begin = 0; key_begin < work.keys; key_begin += tile_size) {
    // A row of one tile still has its probabilities.
    if (work.keys > tile_size) {
      probabilities = visit(key_begin);
    }
    const int number = key_begin + static_cast<int>(threadIdx.x);
    Group group;
    for (int i = 0; i < warp_queries; ++i) {
      group.of[i] = probabilities.plain[i] * (probabilities.grad[i] - mean[i]);
      const bool own = number < work.keys && segments.own(i, number);
      of_own[i] += own ? group.of[i] : 0.0f;
      of_other[i] += own ? 0.0f : group.of[i];
    }
    store_whole(grad_scores + threadIdx.x * warp_queries, group);
    __syncwarp();
    const Diagonal diagonal = of_keys();
    for (int token = 0; token < work.keys_at(key_begin).size(); ++token) {
      float weights[warp_queries];
      read_eight(grad_scores + token * warp_queries, weights);
      accumulate<depth>(weights, key, token, of_content);
      for (int i = 0; i < warp_queries; ++i) {
        const float* relative = band + diagonal.line(token, i) * Layout<depth>::stride + threadIdx.x;
        for (int j = 0; j < columns_of_lane; ++j) {
          of_position[i][j] = fmaf(weights[i], relative[j * warp_size], of_position[i][j]);
        }
      }
    }
    __syncwarp();
  }

  // Of the warp's queries, then of all four warps in the place of the keys.
  float sums[relative_vectors][columns_of_lane] = {};
  for (int i = 0; i < warp_queries; ++i) {
    of_own[i] = warp_sum(of_own[i]);
    of_other[i] = warp_sum(of_other[i]);
    if (query_begin + i >= tile.length) {
      continue;
    }
    const Scalar* source = work.part(tensors.query, tile.first + query_begin + i);
    for (int j = 0; j < columns_of_lane; ++j) {
      const int column = static_cast<int>(threadIdx.x) + j * warp_size;
      if (column >= head_size) {
        continue;
      }
      const float of_segment =
          of_own[i] * work.vector(own_segment)[column] + of_other[i] * work.vector(other_segment)[column];
      const float asked = work.scale * (load_float(source[column]) + work.vector(segment_bias)[column]);
      sums[content_bias][j] += work.scale * of_content[i][j];
      sums[position_bias][j] += work.scale * of_position[i][j];
      sums[segment_bias][j] += work.scale * of_segment;
      sums[own_segment][j] += of_own[i] * asked;
      sums[other_segment][j] += of_other[i] * asked;
      of_content[i][j] += of_position[i][j] + of_segment;
    }
    store_token<depth>(of_content[i], work.scale, head_size, target + i * hidden);
  }
  __syncthreads();
  for (int vector = 0; vector < relative_vectors; ++vector) {
    for (int j = 0; j < columns_of_lane; ++j) {
      key[(threadIdx.y * relative_vectors + vector) * depth + threadIdx.x + j * warp_size] = sums[vector][j];
    }
  }
  __syncthreads();
  for (int i = thread; i < relative_vectors * head_size; i += threads) {
    const int vector = i / head_size;
    const int column = i % head_size;
    float sum = 0.0f;
    for (int warp = 0; warp < warps; ++warp) {
      sum += key[(warp * relative_vectors + vector) * depth + column];
    }
    of_vectors[vector * hidden + column] = sum;
  }
}

template <int depth>
constexpr size_t backward_keys_bytes() {
  return (7 * Layout<depth>::tile + 2 * tile_size * Layout<depth>::score_stride) * sizeof(float) +
         threads * sizeof(uint4);
}

/// The gradients of keys and values: a tile of keys meets all queries in order.
template <int depth, typename Scalar>
__global__ void __launch_bounds__(threads)
    relative_backward_keys_kernel(const RelativeAttention<Scalar> tensors, const DeviceDraw draw,
                                  const Scalar* grad_output, const float* logsumexp,
                                  const RelativeGradients<Scalar> grads) {
  constexpr int score_stride = Layout<depth>::score_stride;
  const Tile tile = find_tile(tensors.batch, static_cast<int>(blockIdx.x));
  if (!tile.exists()) {
    return;
  }
  const int head = blockIdx.y;
  const int head_size = static_cast<int>(tensors.batch.head_size);
  const int64_t hidden = tensors.batch.heads * tensors.batch.head_size;
  const int key_begin = tile.begin + threadIdx.y * warp_queries;
  const int64_t place = (tile.first + key_begin) * hidden + head * head_size;
  float grad_key[warp_queries][Layout<depth>::columns_of_lane] = {};
  float grad_value[warp_queries][Layout<depth>::columns_of_lane] = {};
  if (!tile.filler) {
    float* content = reinterpret_cast<float*>(steadytune_shared_memory);
    float* position = content + Layout<depth>::tile;
    float* grad = position + Layout<depth>::tile;
    float* key = grad + Layout<depth>::tile;
    float* value = key + Layout<depth>::tile;
    float* band = value + Layout<depth>::tile;
    // [queries, keys]
    float* masked = band + 2 * Layout<depth>::tile;
    float* grad_scores = masked + tile_size * score_stride;
    auto* bits = reinterpret_cast<uint4*>(grad_scores + tile_size * score_stride);
    const RowHead<Scalar> work(tensors, tile.row_of_batch, head);
    const TileDropout dropout(draw, tile.row, head, bits);
    const int64_t first_query = head * tensors.queries + work.query_first;
    load_tile<depth>(tensors.key + head * head_size, hidden, head_size, tile, 1.0f, key);
    load_tile<depth>(tensors.value + head * head_size, hidden, head_size, tile, 1.0f, value);
    for (int begin = 0; begin < work.queries; begin += tile_size) {
      const Tile queries = work.queries_at(begin);
      __syncthreads();
      load_queries<depth>(work, tensors.query, queries, content_bias, content);
      load_queries<depth>(work, tensors.query, queries, position_bias, position);
      load_tile<depth>(grad_output + head * head_size, hidden, head_size, queries, 1.0f, grad);
      load_band<depth>(work, tensors.relative, work.relative_first(), work.relative_keys(),
                       band_begin(work, begin, tile.begin), band);
      __syncthreads();
      const SegmentScores<Scalar> segments(work, tensors.query, queries);
      const Probabilities probabilities = recompute<depth>(work, segments, dropout, queries, tile.begin, content,
                                                           position, grad, key, value, band, logsumexp + first_query);
      for (int i = 0; i < warp_queries; ++i) {
        const int in_tile = threadIdx.y * warp_queries + i;
        const float mean = begin + in_tile < work.queries ? grads.means[first_query + begin + in_tile] : 0.0f;
        masked[in_tile * score_stride + threadIdx.x] = probabilities.masked[i];
        grad_scores[in_tile * score_stride + threadIdx.x] = probabilities.plain[i] * (probabilities.grad[i] - mean);
      }
      __syncthreads();
      // From here on warp w has keys 8 w .. 8 w + 7, and lanes share columns. The queries carry the scale.
      for (int token = 0; token < queries.size(); ++token) {
        float weights[warp_queries];
        read_eight(masked + token * score_stride + threadIdx.y * warp_queries, weights);
        accumulate<depth>(weights, grad, token, grad_value);
        read_eight(grad_scores + token * score_stride + threadIdx.y * warp_queries, weights);
        accumulate<depth>(weights, content, token, grad_key);
      }
    }
  }
  for (int i = 0; i < warp_queries && key_begin + i < tile.length; ++i) {
    store_token<depth>(grad_key[i], 1.0f, head_size, grads.key + place + i * hidden);
    store_token<depth>(grad_value[i], 1.0f, head_size, grads.value + place + i * hidden);
  }
}

template <int depth>
constexpr size_t backward_relative_bytes() {
  return (8 * Layout<depth>::tile + tile_size * Layout<depth>::score_stride) * sizeof(float);
}

/// The gradient of the relative keys: a tile of them meets all queries in order. Here lane l has relative key l, and
/// its key is another one for every query.
template <int depth, typename Scalar>
__global__ void __launch_bounds__(threads)
    relative_backward_relative_kernel(const RelativeAttention<Scalar> tensors, const DeviceDraw device_draw,
                                      const Scalar* grad_output, const float* logsumexp,
                                      const RelativeGradients<Scalar> grads) {
  constexpr int score_stride = Layout<depth>::score_stride;
  const AttentionBatch& batch = tensors.batch;
  const Tile tile = find_tile(
      batch, batch.tokens + tensors.queries, [&](int row) { return batch.offsets[row] + tensors.query_offsets[row]; },
      static_cast<int>(blockIdx.x));
  if (!tile.exists()) {
    return;
  }
  const int head = blockIdx.y;
  const int head_size = static_cast<int>(batch.head_size);
  const int64_t hidden = batch.heads * batch.head_size;
  const int relative_begin = tile.begin + threadIdx.y * warp_queries;
  Scalar* target = grads.relative + (tile.first + relative_begin) * hidden + head * head_size;
  float grad_relative[warp_queries][Layout<depth>::columns_of_lane] = {};
  if (!tile.filler) {
    float* content = reinterpret_cast<float*>(steadytune_shared_memory);
    float* position = content + Layout<depth>::tile;
    float* grad = position + Layout<depth>::tile;
    float* relative = grad + Layout<depth>::tile;
    float* keys = relative + Layout<depth>::tile;
    float* values = keys + 2 * Layout<depth>::tile;
    // [queries, relative keys]
    float* grad_scores = values + 2 * Layout<depth>::tile;
    const RowHead<Scalar> work(tensors, tile.row_of_batch, head);
    const DropoutDraw draw = counted(device_draw);
    const Diagonal diagonal = of_relative_keys();
    const int64_t first_query = head * tensors.queries + work.query_first;
    load_tile<depth>(tensors.relative + head * head_size, hidden, head_size, tile, 1.0f, relative);
    for (int begin = 0; begin < work.queries; begin += tile_size) {
      const Tile queries = work.queries_at(begin);
      // Query i and key j have relative key number `queries` - i + j.
      const int key_begin = tile.begin - work.queries + begin;
      if (key_begin + band_size <= 0 || key_begin >= work.keys) {
        continue;
      }
      __syncthreads();
      load_queries<depth>(work, tensors.query, queries, content_bias, content);
      load_queries<depth>(work, tensors.query, queries, position_bias, position);
      load_tile<depth>(grad_output + head * head_size, hidden, head_size, queries, 1.0f, grad);
      load_band<depth>(work, tensors.key, work.key_first, work.keys, key_begin, keys);
      load_band<depth>(work, tensors.value, work.key_first, work.keys, key_begin, values);
      __syncthreads();
      const SegmentScores<Scalar> segments(work, tensors.query, queries);
      float scores[warp_queries];
      float of_values[warp_queries] = {};
      multiply<depth>(position, relative, head_size, scores);
      add_products<depth>(content, keys, diagonal, head_size, scores);
      add_products<depth>(grad, values, diagonal, head_size, of_values);
      for (int i = 0; i < warp_queries; ++i) {
        const int in_tile = threadIdx.y * warp_queries + i;
        const int query = begin + in_tile;
        const int key = key_begin + diagonal.line(static_cast<int>(threadIdx.x), i);
        float grad_score = 0.0f;
        if (query < work.queries && key >= 0 && key < work.keys) {
          float factor = 1.0f;
          if (draw.threshold > 0) {
            const uint32_t place =
                attention_place(static_cast<uint32_t>(head), static_cast<uint32_t>(work.position + query));
            const auto block = static_cast<uint32_t>(key / dropout_block_columns);
            factor = dropout_factor(draw, philox4x32({{draw.step, tile.row, place, block}}, draw.key), key);
          }
          const float probability = expf(scores[i] + segments.of(i, key) - logsumexp[first_query + query]);
          grad_score = probability * (factor * of_values[i] - grads.means[first_query + query]);
        }
        grad_scores[in_tile * score_stride + threadIdx.x] = grad_score;
      }
      __syncthreads();
      // From here on warp w has relative keys 8 w .. 8 w + 7, and lanes share columns. The queries carry the scale.
      for (int token = 0; token < queries.size(); ++token) {
        float weights[warp_queries];
        read_eight(grad_scores + token * score_stride + threadIdx.y * warp_queries, weights);
        accumulate<depth>(weights, position, token, grad_relative);
      }
    }
  }
  for (int i = 0; i < warp_queries && relative_begin + i < tile.length; ++i) {
    store_token<depth>(grad_relative[i], 1.0f, head_size, target + i * hidden);
  }
}

template <int depth, typename Scalar>
cudaError_t forward(cudaStream_t stream, const RelativeAttention<Scalar>& tensors, const DeviceDraw& draw,
                    Scalar* output, float* logsumexp) {
  const dim3 blocks(most_tiles(tensors.queries, tensors.batch.rows), static_cast<unsigned>(tensors.batch.heads));
  return launch(stream, relative_attention_kernel<depth, Scalar>, blocks, dim3(warp_size, warps),
                forward_bytes<depth>(), tensors, draw, output, logsumexp);
}

template <int depth, typename Scalar>
cudaError_t backward(cudaStream_t stream, const RelativeAttention<Scalar>& tensors, const DeviceDraw& draw,
                     const Scalar* grad_output, const float* logsumexp, const RelativeGradients<Scalar>& grads) {
  const int64_t tokens = tensors.batch.tokens;
  const dim3 block(warp_size, warps);
  const auto blocks = [&](int64_t lines) {
    return dim3(most_tiles(lines, tensors.batch.rows), static_cast<unsigned>(tensors.batch.heads));
  };
  cudaError_t error = launch(stream, relative_backward_queries_kernel<depth, Scalar>, blocks(tensors.queries), block,
                             backward_queries_bytes<depth>(), tensors, draw, grad_output, logsumexp, grads);
  if (error != cudaSuccess) {
    return error;
  }
  error = launch(stream, relative_backward_keys_kernel<depth, Scalar>, blocks(tokens), block,
                 backward_keys_bytes<depth>(), tensors, draw, grad_output, logsumexp, grads);
  if (error != cudaSuccess) {
    return error;
  }
  return launch(stream, relative_backward_relative_kernel<depth, Scalar>, blocks(tokens + tensors.queries), block,
                backward_relative_bytes<depth>(), tensors, draw, grad_output, logsumexp, grads);
}

}  // namespace

int64_t relative_query_tiles(int64_t queries, int64_t rows) { return most_tiles(queries, rows); }

template <typename Scalar>
cudaError_t relative_attention(cudaStream_t stream, const RelativeAttention<Scalar>& tensors, const DeviceDraw& draw,
                               Scalar* output, float* logsumexp) {
  return tensors.batch.head_size <= 64 ? forward<64>(stream, tensors, draw, output, logsumexp)
                                       : forward<most_head_size>(stream, tensors, draw, output, logsumexp);
}

template <typename Scalar>
cudaError_t relative_attention_backward(cudaStream_t stream, const RelativeAttention<Scalar>& tensors,
                                        const DeviceDraw& draw, const Scalar* grad_output, const float* logsumexp,
                                        const RelativeGradients<Scalar>& grads) {
  return tensors.batch.head_size <= 64 ? backward<64>(stream, tensors, draw, grad_output, logsumexp, grads)
                                       : backward<most_head_size>(stream, tensors, draw, grad_output, logsumexp, grads);
}

template cudaError_t relative_attention(cudaStream_t, const RelativeAttention<float>&, const DeviceDraw&, float*,
                                        float*);
template cudaError_t relative_attention(cudaStream_t, const RelativeAttention<c10::BFloat16>&, const DeviceDraw&,
                                        c10::BFloat16*, float*);
template cudaError_t relative_attention_backward(cudaStream_t, const RelativeAttention<float>&, const DeviceDraw&,
                                                 const float*, const float*, const RelativeGradients<float>&);
template cudaError_t relative_attention_backward(cudaStream_t, const RelativeAttention<c10::BFloat16>&,
                                                 const DeviceDraw&, const c10::BFloat16*, const float*,
                                                 const RelativeGradients<c10::BFloat16>&);

}  // namespace steadytune::kernels::cuda
