#include "kernels/adamw.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.h"

// Operators over the arena's flat buffers. The segments are cut into chunks on the device (cut), since their bounds may
// change between two replays of a graph; then a fixed number of blocks goes through the chunks.
namespace steadytune::kernels::cuda {
namespace {

constexpr int threads = 256;
constexpr int vector_size = 4;

constexpr int scan_threads = 1024;

/// Of the values of all threads in front of this one. `sum` becomes that of all.
__device__ int32_t sum_before(int32_t value, int32_t& sum) {
  __shared__ int32_t of_warps[scan_threads / warp_size];
  const int lane = threadIdx.x % warp_size;
  const int warp = threadIdx.x / warp_size;
  int32_t upto = value;
  for (int distance = 1; distance < warp_size; distance *= 2) {
    const int32_t other = __shfl_up_sync(whole_warp, upto, distance);
    upto += lane >= distance ? other : 0;
  }
  if (lane == warp_size - 1) {
    of_warps[warp] = upto;
  }
  __syncthreads();
  int32_t before = 0;
  sum = 0;
  for (int i = 0; i < scan_threads / warp_size; ++i) {
    before += i < warp ? of_warps[i] : 0;
    sum += of_warps[i];
  }
  return before + upto - value;
}

__device__ __forceinline__ int32_t chunks_of(const SegmentTable& table, int64_t segment) {
  if (table.flags != nullptr && (table.flags[segment] & segment_frozen) != 0) {
    return 0;
  }
  const int64_t elements = table.bounds[2 * segment + 1] - table.bounds[2 * segment];
  return static_cast<int32_t>((elements + chunk_elements - 1) / chunk_elements);
}

/// One block counts the chunks in front of each segment.
__global__ void __launch_bounds__(scan_threads) count_kernel(const SegmentTable table) {
  const int64_t per_thread = (table.segments + scan_threads - 1) / scan_threads;
  const int64_t begin = threadIdx.x * per_thread;
  const int64_t end = begin + per_thread < table.segments ? begin + per_thread : table.segments;
  int32_t count = 0;
  for (int64_t segment = begin; segment < end; ++segment) {
    count += chunks_of(table, segment);
  }
  int32_t all = 0;
  int32_t first = sum_before(count, all);
  for (int64_t segment = begin; segment < end; ++segment) {
    table.first_chunk[segment] = first;
    first += chunks_of(table, segment);
  }
  if (threadIdx.x == 0) {
    table.first_chunk[table.segments] = all;
  }
}

/// A thread finds the segment of its chunk.
__global__ void __launch_bounds__(threads) list_kernel(const SegmentTable table) {
  const int64_t chunk = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (chunk >= table.first_chunk[table.segments]) {
    return;
  }
  // The last segment whose first chunk is not behind this one.
  int64_t low = 0;
  int64_t high = table.segments;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (table.first_chunk[middle] <= chunk) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const int64_t begin = table.bounds[2 * low] + (chunk - table.first_chunk[low]) * chunk_elements;
  const int64_t left = table.bounds[2 * low + 1] - begin;
  table.chunks[chunk] = {begin, static_cast<int32_t>(left < chunk_elements ? left : chunk_elements),
                         static_cast<int32_t>(low)};
}

cudaError_t cut(cudaStream_t stream, const SegmentTable& table) {
  const cudaError_t error = launch(stream, count_kernel, 1, scan_threads, 0, table);
  if (error != cudaSuccess) {
    return error;
  }
  return launch(stream, list_kernel, blocks_for(table.most_chunks, threads), threads, 0, table);
}

/// As many blocks as run at a time, or fewer where there are fewer chunks.
cudaError_t resident_blocks(int64_t most_chunks, unsigned& blocks) {
  constexpr int64_t blocks_of_processor = 2048 / threads;
  int device = 0;
  int processors = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  }
  const int64_t resident = processors * blocks_of_processor;
  blocks = static_cast<unsigned>(resident < most_chunks ? resident : most_chunks);
  return error;
}

/// Whether the step changes nothing. The first that must not is noted.
__device__ bool stops(const AdamwSchedule& schedule) {
  const bool finite = isfinite(*schedule.squared_norm) && (schedule.loss == nullptr || isfinite(*schedule.loss)) &&
                      (schedule.double_loss == nullptr || isfinite(*schedule.double_loss));
  if (schedule.diverged_at == nullptr) {
    return !finite;
  }
  if (*schedule.diverged_at != 0) {
    return true;
  }
  if (!finite) {
    *schedule.diverged_at = schedule.counter[0];
  }
  return !finite;
}

/// What the step does with each segment. Only the first thread decides whether it does anything.
__global__ void __launch_bounds__(threads)
    coefficients_kernel(const AdamwSchedule schedule, const AdamwBuffers buffers, const SegmentTable table) {
  const int64_t segment = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (segment == 0) {
    *buffers.stopped = stops(schedule) ? 1 : 0;
  }
  if (segment >= table.segments) {
    return;
  }
  const AdamwStep step = adamw_step(schedule.device_lr == nullptr ? schedule.lr : *schedule.device_lr, schedule.beta1,
                                    schedule.beta2, schedule.eps, schedule.bias_correction,
                                    schedule.counter == nullptr ? schedule.step : schedule.counter[0],
                                    schedule.max_grad_norm, *schedule.squared_norm);
  buffers.coefficients[segment] =
      adamw_coefficients(step, buffers.settings[2 * segment], buffers.settings[2 * segment + 1], table.flags[segment]);
}

__device__ __forceinline__ float4 load_vector(const float* from) { return *reinterpret_cast<const float4*>(from); }

__device__ __forceinline__ void update(const AdamwCoefficients& c, float& value, float gradient, float& moment1,
                                       float& moment2, float target) {
  adamw_element(c, value, gradient, moment1, moment2, target, [](float x) { return sqrtf(x); });
}

__global__ void __launch_bounds__(threads) adamw_kernel(const AdamwBuffers buffers, const SegmentTable table) {
  if (*buffers.stopped != 0) {
    return;
  }
  const int32_t all = table.first_chunk[table.segments];
  for (int32_t i = static_cast<int32_t>(blockIdx.x); i < all; i += static_cast<int32_t>(gridDim.x)) {
    const Chunk chunk = table.chunks[i];
    const AdamwCoefficients c = buffers.coefficients[chunk.segment];
    const bool towards_start =
        (table.flags[chunk.segment] & segment_decay_towards_start) != 0 && c.decay != 0.0f && buffers.start != nullptr;
    float* values = buffers.values + chunk.begin;
    const float* gradients = buffers.gradients + chunk.begin;
    float* moment1 = buffers.moment1 + chunk.begin;
    float* moment2 = buffers.moment2 + chunk.begin;
    const float* start = towards_start ? buffers.start + chunk.begin : nullptr;
    c10::BFloat16* compute = buffers.compute == nullptr ? nullptr : buffers.compute + chunk.begin;
    // The buffers of an arena are aligned alike; the copy is half as wide.
    const bool aligned = is_aligned(values) && is_aligned(gradients) && is_aligned(moment1) && is_aligned(moment2) &&
                         is_aligned(start) && (reinterpret_cast<uintptr_t>(compute) & 7) == 0;
    const int32_t vectors = aligned ? chunk.count / vector_size : 0;
    for (int32_t vector = threadIdx.x; vector < vectors; vector += threads) {
      const int32_t first = vector * vector_size;
      float4 value = load_vector(values + first);
      const float4 gradient = load_vector(gradients + first);
      float4 one = load_vector(moment1 + first);
      float4 two = load_vector(moment2 + first);
      const float4 target = start == nullptr ? make_float4(0.0f, 0.0f, 0.0f, 0.0f) : load_vector(start + first);
      update(c, value.x, gradient.x, one.x, two.x, target.x);
      update(c, value.y, gradient.y, one.y, two.y, target.y);
      update(c, value.z, gradient.z, one.z, two.z, target.z);
      update(c, value.w, gradient.w, one.w, two.w, target.w);
      *reinterpret_cast<float4*>(values + first) = value;
      *reinterpret_cast<float4*>(moment1 + first) = one;
      *reinterpret_cast<float4*>(moment2 + first) = two;
      if (compute != nullptr) {
        *reinterpret_cast<uint2*>(compute + first) = make_uint2(bfloat16_bits(value.x) | bfloat16_bits(value.y) << 16,
                                                                bfloat16_bits(value.z) | bfloat16_bits(value.w) << 16);
      }
    }
    for (int32_t element = vectors * vector_size + threadIdx.x; element < chunk.count; element += threads) {
      float value = values[element];
      update(c, value, gradients[element], moment1[element], moment2[element],
             start == nullptr ? 0.0f : start[element]);
      values[element] = value;
      if (compute != nullptr) {
        store_float(compute[element], value);
      }
    }
  }
}

struct Squares {
  const float* values;
  __device__ __forceinline__ double operator()(int64_t element) const { return values[element]; }
};

struct Distances {
  const float* values;
  const float* start;
  __device__ __forceinline__ double operator()(int64_t element) const {
    return static_cast<double>(values[element]) - start[element];
  }
};

/// Sums the squares of each chunk, in double: neither overflows nor loses small terms.
template <typename Element>
__global__ void __launch_bounds__(threads)
    chunk_squares_kernel(Element element, const SegmentTable table, double* parts) {
  __shared__ double of_warps[threads / warp_size];
  const int32_t all = table.first_chunk[table.segments];
  for (int32_t i = static_cast<int32_t>(blockIdx.x); i < all; i += static_cast<int32_t>(gridDim.x)) {
    const Chunk chunk = table.chunks[i];
    double sum = 0.0;
    for (int32_t inner = threadIdx.x; inner < chunk.count; inner += threads) {
      const double value = element(chunk.begin + inner);
      sum += value * value;
    }
    sum = block_sum<threads>(sum, of_warps);
    if (threadIdx.x == 0) {
      parts[i] = sum;
    }
    __syncthreads();
  }
}

/// One block sums all parts.
__global__ void __launch_bounds__(scan_threads)
    all_parts_kernel(const SegmentTable table, const double* parts, double* result) {
  __shared__ double of_warps[scan_threads / warp_size];
  double sum = 0.0;
  for (int32_t i = threadIdx.x; i < table.first_chunk[table.segments]; i += scan_threads) {
    sum += parts[i];
  }
  sum = block_sum<scan_threads>(sum, of_warps);
  if (threadIdx.x == 0) {
    *result = sum;
  }
}

/// A warp sums the parts of a segment.
__global__ void __launch_bounds__(threads)
    segment_parts_kernel(const SegmentTable table, const double* parts, double* result) {
  const int64_t segment = static_cast<int64_t>(blockIdx.x) * (threads / warp_size) + threadIdx.y;
  if (segment >= table.segments) {
    return;
  }
  double sum = 0.0;
  for (int32_t i = table.first_chunk[segment] + threadIdx.x; i < table.first_chunk[segment + 1]; i += warp_size) {
    sum += parts[i];
  }
  sum = warp_sum(sum);
  if (threadIdx.x == 0) {
    result[segment] = sum;
  }
}

template <typename Element>
cudaError_t chunk_squares(cudaStream_t stream, Element element, const SegmentTable& table, double* parts) {
  unsigned blocks = 0;
  cudaError_t error = resident_blocks(table.most_chunks, blocks);
  if (error == cudaSuccess) {
    error = cut(stream, table);
  }
  if (error == cudaSuccess) {
    error = launch(stream, chunk_squares_kernel<Element>, blocks, threads, 0, element, table, parts);
  }
  return error;
}

}  // namespace

cudaError_t adamw(cudaStream_t stream, const AdamwBuffers& buffers, const AdamwSchedule& schedule,
                  const SegmentTable& table) {
  unsigned blocks = 0;
  cudaError_t error = resident_blocks(table.most_chunks, blocks);
  if (error == cudaSuccess) {
    error = cut(stream, table);
  }
  if (error == cudaSuccess) {
    // Without segments one thread still notes whether the step diverged.
    error = launch(stream, coefficients_kernel, blocks_for(table.segments + 1, threads), threads, 0, schedule, buffers,
                   table);
  }
  if (error == cudaSuccess) {
    error = launch(stream, adamw_kernel, blocks, threads, 0, buffers, table);
  }
  return error;
}

cudaError_t squared_norm(cudaStream_t stream, const float* gradients, const SegmentTable& table, double* parts,
                         double* result) {
  const cudaError_t error = chunk_squares(stream, Squares{gradients}, table, parts);
  return error != cudaSuccess ? error : launch(stream, all_parts_kernel, 1, scan_threads, 0, table, parts, result);
}

cudaError_t segment_squared_distance(cudaStream_t stream, const float* values, const float* start,
                                     const SegmentTable& table, double* parts, double* result) {
  const cudaError_t error = chunk_squares(stream, Distances{values, start}, table, parts);
  constexpr int warps = threads / warp_size;
  return error != cudaSuccess ? error
                              : launch(stream, segment_parts_kernel, blocks_for(table.segments, warps),
                                       dim3(warp_size, warps), 0, table, parts, result);
}

}  // namespace steadytune::kernels::cuda
