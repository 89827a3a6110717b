#include "kernels/cuda/elements.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/masks.h"
#include "kernels/cuda/reduce.h"

// Attention of a single query of each row. A warp takes a head of a row: for scores a lane has a key, of 32 at a time,
// and for what is as wide as a head the lanes share its columns.
namespace steadytune::kernels::cuda {
namespace {

constexpr int warps = 4;
constexpr int threads = warps * warp_size;
constexpr int columns_of_lane = most_head_size / warp_size;
constexpr float infinity = __builtin_huge_valf();

/// What one warp works on.
template <typename Scalar>
class RowHead {
 public:
  __device__ __forceinline__ RowHead(const SummaryAttention<Scalar>& tensors, const DeviceDraw& draw, int64_t row,
                                     int head)
      : head_size_(static_cast<int>(tensors.batch.head_size)),
        stride_(2 * tensors.batch.heads * tensors.batch.head_size),
        hidden_(tensors.batch.heads * tensors.batch.head_size),
        query_(tensors.query + row * hidden_ + head * head_size_),
        key_(tensors.key_value + tensors.batch.offsets[row] * stride_ + head * head_size_),
        length_(tensors.batch.offsets[row + 1] - tensors.batch.offsets[row]),
        scale_(1.0f / sqrtf(static_cast<float>(head_size_))),
        draw_(counted(draw)),
        row_(static_cast<uint32_t>(tensors.batch.numbers[row])),
        place_(attention_place(static_cast<uint32_t>(head), static_cast<uint32_t>(tensors.positions[row]))) {}

  __device__ __forceinline__ int length() const { return length_; }
  __device__ __forceinline__ float scale() const { return scale_; }
  __device__ __forceinline__ const Scalar* query() const { return query_; }
  __device__ __forceinline__ const Scalar* key(int key) const { return key_ + key * stride_; }
  __device__ __forceinline__ const Scalar* value(int key) const { return key_ + key * stride_ + hidden_; }

  /// -inf behind the last key.
  __device__ __forceinline__ float score(int position) const {
    return position < length_ ? scale_ * dot(query_, key(position)) : -infinity;
  }

  __device__ __forceinline__ float dot(const Scalar* a, const Scalar* b) const {
    float sum = 0.0f;
    for (int column = 0; column < head_size_; column += group_size) {
      const Group left = load_group(a + column, head_size_ - column);
      const Group right = load_group(b + column, head_size_ - column);
      for (int i = 0; i < group_size; ++i) {
        sum = fmaf(left.of[i], right.of[i], sum);
      }
    }
    return sum;
  }

  /// 0 or the scale of dropout.
  __device__ __forceinline__ float factor(int position) const {
    if (draw_.threshold == 0) {
      return 1.0f;
    }
    const auto block = static_cast<uint32_t>(position / dropout_block_columns);
    const PhiloxBlock bits = philox4x32({{draw_.step, row_, place_, block}}, draw_.key);
    return dropout_factor(draw_, bits, position);
  }

  /// Calls body(j, column) for the lane's columns.
  template <typename Body>
  __device__ __forceinline__ void for_columns(const Body& body) const {
    for (int j = 0; j < columns_of_lane; ++j) {
      const int column = static_cast<int>(threadIdx.x) + j * warp_size;
      if (column < head_size_) {
        body(j, column);
      }
    }
  }

 private:
  int head_size_;
  int64_t stride_;
  int64_t hidden_;
  const Scalar* query_;
  const Scalar* key_;
  int length_;
  float scale_;
  DropoutDraw draw_;
  uint32_t row_;
  uint32_t place_;
};

template <typename Scalar>
__global__ void __launch_bounds__(threads)
    summary_attention_kernel(const SummaryAttention<Scalar> tensors, const DeviceDraw draw, Scalar* output,
                             float* logsumexp) {
  const AttentionBatch& batch = tensors.batch;
  const int64_t row = blockIdx.x;
  const int head = static_cast<int>(blockIdx.y * warps + threadIdx.y);
  if (head >= batch.heads) {
    return;
  }
  const RowHead<Scalar> work(tensors, draw, row, head);
  if (work.length() == 0) {
    return;
  }
  float sums[columns_of_lane] = {};
  float largest = -infinity;
  float denominator = 0.0f;
  for (int begin = 0; begin < work.length(); begin += warp_size) {
    const int position = begin + static_cast<int>(threadIdx.x);
    const float score = work.score(position);
    const float before = largest;
    largest = fmaxf(before, warp_max(score));
    const float shrink = expf(before - largest);
    const float weight = expf(score - largest);
    denominator = fmaf(denominator, shrink, warp_sum(weight));
    const float masked = weight * work.factor(position);
    for (float& sum : sums) {
      sum *= shrink;
    }
    const int keys = work.length() - begin < warp_size ? work.length() - begin : warp_size;
    for (int key = 0; key < keys; ++key) {
      const float of_key = __shfl_sync(whole_warp, masked, key);
      const Scalar* value = work.value(begin + key);
      work.for_columns([&](int j, int column) { sums[j] = fmaf(of_key, load_float(value[column]), sums[j]); });
    }
  }
  Scalar* target = output + row * batch.heads * batch.head_size + head * batch.head_size;
  work.for_columns([&](int j, int column) { store_float(target[column], sums[j] / denominator); });
  if (threadIdx.x == 0) {
    logsumexp[head * batch.rows + row] = largest + logf(denominator);
  }
}

/// Zeros for the tokens behind the last row.
template <typename Scalar>
__device__ void clear_filler(const AttentionBatch& batch, int head, Scalar* grad_key_value) {
  const int64_t hidden = batch.heads * batch.head_size;
  for (int64_t token = batch.offsets[batch.rows]; token < batch.tokens; ++token) {
    Scalar* key = grad_key_value + token * 2 * hidden + head * batch.head_size;
    for (int column = static_cast<int>(threadIdx.x); column < batch.head_size; column += warp_size) {
      store_float(key[column], 0.0f);
      store_float(key[hidden + column], 0.0f);
    }
  }
}

template <typename Scalar>
__global__ void __launch_bounds__(threads)
    summary_attention_backward_kernel(const SummaryAttention<Scalar> tensors, const DeviceDraw draw,
                                      const Scalar* grad_output, const float* logsumexp, Scalar* grad_query,
                                      Scalar* grad_key_value) {
  const AttentionBatch& batch = tensors.batch;
  const int64_t row = blockIdx.x;
  const int head = static_cast<int>(blockIdx.y * warps + threadIdx.y);
  if (head >= batch.heads) {
    return;
  }
  if (row == batch.rows) {
    clear_filler(batch, head, grad_key_value);
    return;
  }
  const RowHead<Scalar> work(tensors, draw, row, head);
  if (work.length() == 0) {
    return;
  }
  const int64_t hidden = batch.heads * batch.head_size;
  const int64_t place = row * hidden + head * batch.head_size;
  const Scalar* grad = grad_output + place;
  const float denominator = logsumexp[head * batch.rows + row];
  /// The lane's probability, its factor, and the gradient of their product times the factor.
  struct Probability {
    float plain;
    float factor;
    float grad;
  };
  const auto probability = [&](int position) {
    if (position >= work.length()) {
      return Probability{0.0f, 0.0f, 0.0f};
    }
    const float factor = work.factor(position);
    return Probability{expf(work.score(position) - denominator), factor, factor * work.dot(grad, work.value(position))};
  };
  float mean = 0.0f;
  for (int begin = 0; begin < work.length(); begin += warp_size) {
    const Probability of_lane = probability(begin + static_cast<int>(threadIdx.x));
    mean = fmaf(of_lane.plain, of_lane.grad, mean);
  }
  mean = warp_sum(mean);
  float sums[columns_of_lane] = {};
  Scalar* target = grad_key_value + batch.offsets[row] * 2 * hidden + head * batch.head_size;
  for (int begin = 0; begin < work.length(); begin += warp_size) {
    const Probability of_lane = probability(begin + static_cast<int>(threadIdx.x));
    const float grad_score = of_lane.plain * (of_lane.grad - mean);
    const float masked = of_lane.plain * of_lane.factor;
    const int keys = work.length() - begin < warp_size ? work.length() - begin : warp_size;
    for (int i = 0; i < keys; ++i) {
      const float grad_of_key = __shfl_sync(whole_warp, grad_score, i);
      const float weight_of_key = __shfl_sync(whole_warp, masked, i);
      const Scalar* key = work.key(begin + i);
      Scalar* to = target + (begin + i) * 2 * hidden;
      work.for_columns([&](int j, int column) {
        sums[j] = fmaf(grad_of_key, load_float(key[column]), sums[j]);
        store_float(to[column], grad_of_key * (work.scale() * load_float(work.query()[column])));
        store_float(to[hidden + column], weight_of_key * load_float(grad[column]));
      });
    }
  }
  work.for_columns([&](int j, int column) { store_float(grad_query[place + column], sums[j] * work.scale()); });
}

}  // namespace

template <typename Scalar>
cudaError_t summary_attention(cudaStream_t stream, const SummaryAttention<Scalar>& tensors, const DeviceDraw& draw,
                              Scalar* output, float* logsumexp) {
  const dim3 blocks(static_cast<unsigned>(tensors.batch.rows), blocks_for(tensors.batch.heads, warps));
  return launch(stream, summary_attention_kernel<Scalar>, blocks, dim3(warp_size, warps), 0, tensors, draw, output,
                logsumexp);
}

template <typename Scalar>
cudaError_t summary_attention_backward(cudaStream_t stream, const SummaryAttention<Scalar>& tensors,
                                       const DeviceDraw& draw, const Scalar* grad_output, const float* logsumexp,
                                       Scalar* grad_query, Scalar* grad_key_value) {
  const dim3 blocks(static_cast<unsigned>(tensors.batch.rows + 1), blocks_for(tensors.batch.heads, warps));
  return launch(stream, summary_attention_backward_kernel<Scalar>, blocks, dim3(warp_size, warps), 0, tensors, draw,
                grad_output, logsumexp, grad_query, grad_key_value);
}

template cudaError_t summary_attention(cudaStream_t, const SummaryAttention<float>&, const DeviceDraw&, float*, float*);
template cudaError_t summary_attention(cudaStream_t, const SummaryAttention<c10::BFloat16>&, const DeviceDraw&,
                                       c10::BFloat16*, float*);
template cudaError_t summary_attention_backward(cudaStream_t, const SummaryAttention<float>&, const DeviceDraw&,
                                                const float*, const float*, float*, float*);
template cudaError_t summary_attention_backward(cudaStream_t, const SummaryAttention<c10::BFloat16>&, const DeviceDraw&,
                                                const c10::BFloat16*, const float*, c10::BFloat16*, c10::BFloat16*);

}  // namespace steadytune::kernels::cuda
