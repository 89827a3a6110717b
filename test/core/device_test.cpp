#include "core/device.h"

#include <memory>
#include <vector>

#include "core/bucket.h"
#include "core/cuda_library.h"
#include "core/error.h"
#include "core/late.h"
#include "core/step_inputs.h"
#include "core/step_recordings.h"
#include "expect.h"

namespace {

using namespace steadytune;

/// Reached when the test says so.
struct HeldMark : Mark {
  explicit HeldMark(const bool& free) : free_(free) {}
  bool reached() const override { return free_; }
  const bool& free_;
};

/// A device on the CPU that keeps work for later as a GPU does, and says what it was asked for.
class StubDevice : public Device {
 public:
  c10::Device place() const override { return at::kCPU; }
  at::Tensor host_tensor(at::IntArrayRef sizes, at::ScalarType dtype) const override { return at::empty(sizes, dtype); }
  std::unique_ptr<Mark> mark() const override {
    static const bool yes = true;
    return std::make_unique<HeldMark>(yes);
  }
  void upload(const at::Tensor& target, const at::Tensor& staged, const Mark&) override {
    ++uploads;
    target.copy_(staged);
  }
  bool records() const override { return true; }
  std::unique_ptr<Recording> record(const std::function<void()>& work) override {
    ++recordings;
    if (fails) throw std::runtime_error("this shape cannot be recorded");
    struct Work : Recording {
      std::function<void()> work;
      void replay() override { work(); }
    };
    auto recording = std::make_unique<Work>();
    recording->work = work;
    return recording;
  }
  void release_cache() override { ++releases; }
  int64_t peak_bytes() const override { return 0; }

  int uploads = 0;
  int recordings = 0;
  int releases = 0;
  bool fails = false;
};

std::vector<PackedBatch> one_row(int32_t first, int64_t tokens) {
  PackedBatch batch;
  batch.token_ids = at::arange(first, first + tokens, at::kInt);
  batch.row_offsets = at::tensor({int32_t{0}, static_cast<int32_t>(tokens)}, at::kInt);
  batch.row_numbers = at::zeros({1}, at::kInt);
  batch.labels = at::ones({1}, at::kLong);
  return {batch};
}

}  // namespace

TEST("buckets add at most 6 % and are few") {
  int64_t before = 0;
  int buckets = 0;
  for (int64_t tokens = 1; tokens <= 16384; ++tokens) {
    const int64_t bucket = bucket_of(tokens);
    EXPECT(bucket >= tokens && (bucket - tokens) * 100 <= 6 * tokens);
    EXPECT(bucket >= before);
    if (tokens >= 350 && tokens <= 2100 && bucket != before) ++buckets;
    before = bucket;
  }
  EXPECT(buckets <= 48);
}

TEST("late results are read when the device is done and not before") {
  bool free = false;
  int reads = 0;
  Late<int> late =
      Late<int>(std::make_unique<HeldMark>(free), [&] { return ++reads; }).then([](int value) { return value * 10; });
  EXPECT(!late.ready() && reads == 0);
  free = true;
  EXPECT(late.ready() && late.get() == 10);
  EXPECT(Late<int>(7).ready() && Late<int>(7).get() == 7);
}

TEST("step inputs hold what was written at places that stay") {
  StubDevice device;
  StepInputs inputs(device, one_row(0, 5));
  inputs.write(one_row(3, 5), 11, 4294967295, 0.25);
  const int32_t* place = inputs.parts()[0].token_ids.const_data_ptr<int32_t>();
  EXPECT(at::equal(inputs.parts()[0].token_ids, at::arange(3, 8, at::kInt)));
  EXPECT(inputs.parts()[0].labels.item<int64_t>() == 1);
  EXPECT(!inputs.parts()[0].segment_ids.defined());
  EXPECT(at::equal(inputs.counter(), at::tensor({int64_t{11}, int64_t{0}, int64_t{4294967295}}, at::kLong)));
  EXPECT(inputs.learning_rate().item<double>() == 0.25 && inputs.diverged_at().item<int64_t>() == 0);
  inputs.diverged_at().fill_(3);
  inputs.write(one_row(20, 5), 12, 0, 0.5);
  EXPECT(inputs.parts()[0].token_ids.const_data_ptr<int32_t>() == place && place[0] == 20);
  EXPECT(inputs.diverged_at().item<int64_t>() == 0);
}

TEST("a step is queued once then recorded then replayed with new inputs") {
  StubDevice device;
  StepRecordings recordings(device);
  std::vector<int32_t> firsts;
  const auto run = [&](int64_t key, int32_t first) {
    const std::vector<PackedBatch> parts = one_row(first, 4);
    recordings.run(
        {key}, parts, [&](StepInputs& inputs) { inputs.write(parts, 1, 0, 0); },
        [&](const StepInputs& inputs) { firsts.push_back(inputs.parts()[0].token_ids.const_data_ptr<int32_t>()[0]); });
  };
  for (int32_t i = 0; i < 4; ++i) run(1, i);
  EXPECT(device.recordings == 1 && recordings.count() == 1 && device.uploads == 4);
  run(2, 9);
  EXPECT(device.recordings == 1);
  const std::vector<int32_t> expected{0, 1, 2, 3, 9};
  EXPECT(firsts == expected);
  // What the queued step has left in the cache, and then what the recording took.
  EXPECT(device.releases == 1);
  recordings.clear();
  EXPECT(recordings.count() == 0 && device.releases == 2);
  for (int32_t i = 0; i < 3; ++i) run(1, i);
  EXPECT(device.recordings == 2 && recordings.count() == 1);
}

TEST("beyond the limit and after a failure steps are queued as they are") {
  const std::vector<PackedBatch> parts = one_row(0, 4);
  for (const bool fails : {false, true}) {
    StubDevice device;
    device.fails = fails;
    StepRecordings recordings(device);
    int steps = 0;
    for (int round = 0; round < 3; ++round) {
      for (int64_t key = 0; key < static_cast<int64_t>(StepRecordings::limit) + 5; ++key) {
        recordings.run(
            {key}, parts, [&](StepInputs& inputs) { inputs.write(parts, 1, 0, 0); },
            [&](const StepInputs&) { ++steps; });
      }
    }
    EXPECT(recordings.count() == (fails ? 0 : StepRecordings::limit));
    EXPECT(device.recordings == (fails ? StepRecordings::most_failures : static_cast<int>(StepRecordings::limit)));
    EXPECT(device.releases == device.recordings * (fails ? 2 : 1));
    EXPECT(steps == 3 * (static_cast<int>(StepRecordings::limit) + 5));
  }
}

TEST("cuda kernels that do not fit are refused in words") {
  const auto message = [](const char* libtorch, const char* kernels) -> std::string {
    try {
      open_cuda(libtorch, kernels);
      return "";
    } catch (const Error& error) {
      EXPECT(error.code() == "ERR_CUDA_KERNELS");
      return error.what() + (" " + error.hint());
    }
  };
  // Any library that is there stands in for libtorch's.
  const char* some = STEADYTUNE_FAKE_CUDA_EMPTY;
  const auto says = [&](const char* libtorch, const char* kernels, const char* words) {
    const std::string told = message(libtorch, kernels);
    EXPECT(told.find(words) != std::string::npos, told);
  };
  says("/nowhere/libtorch_cuda.so", some, "/nowhere/libtorch_cuda.so does not load");
  says(some, "/nowhere/libsteadytune_cuda.so", "npm run build:cuda");
  says(some, some, "is no library of steadytune's CUDA kernels");
  says(some, STEADYTUNE_FAKE_CUDA_OLD, "another version of steadytune");
  EXPECT(!cuda_is_open());
  EXPECT(cuda_devices().empty());
}
