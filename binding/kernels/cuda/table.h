#pragma once

#include <stdint.h>

/// What libsteadytune_cuda offers beside its operators: the little that libtorch's device-neutral interface lacks.
/// Plain C, so that the addon is built without CUDA's headers and linked to none of its libraries.
extern "C" {

/// Raised with every change below. The addon refuses a library of another version.
enum { steadytune_cuda_table_version = 2 };

struct SteadytuneCudaDevice {
  char name[256];
  int32_t major;  // compute capability
  int32_t minor;
  int32_t multiprocessors;
  int64_t memory_bytes;
};

/// Graphs of one owner share the memory that lies between their first and last node; they never run at the same time.
/// libtorch forgets a pool with its last graph, and refuses to record into one that it has forgotten.
struct SteadytuneCudaPool {
  uint64_t first;
  uint64_t second;
};

struct SteadytuneCudaGraph;

/// Every function that answers with a string answers null where it succeeded, or else what went wrong; the string is
/// the calling thread's, until its next call.
struct SteadytuneCudaTable {
  /// 0 where there is no device or no driver.
  int32_t (*device_count)(void);
  const char* (*describe)(int32_t device, SteadytuneCudaDevice* description);

  /// A stream that nobody else has, as the id of a c10::Stream. libtorch's own pool hands out each of its 32 streams
  /// many times over, and a stream that records a graph must have one owner.
  const char* (*take_stream)(int32_t device, int64_t* id);
  /// Gives it back; work may still be queued on it. Streams are never destroyed: libtorch's caches are keyed by them.
  void (*give_stream)(int32_t device, int64_t id);

  SteadytuneCudaPool (*new_pool)(void);
  /// From here to the end of the recording nothing runs that is queued on the calling thread's current stream: it goes
  /// into the graph. One recording at a time in a process; others wait for it here.
  const char* (*begin_recording)(SteadytuneCudaPool pool, SteadytuneCudaGraph** graph);
  /// Where the recorded work has failed, so does this. The graph is to be dropped in either case.
  const char* (*end_recording)(SteadytuneCudaGraph* graph);
  /// Queues the graph's work on the stream that it was recorded on.
  const char* (*replay)(SteadytuneCudaGraph* graph);
  /// Also takes from the stream that it was recorded on what cuBLAS works in, so graphs that share a stream have to be
  /// dropped together.
  void (*drop_graph)(SteadytuneCudaGraph* graph);

  /// Gives memory that libtorch keeps for later back to the device, after the recording of whoever is at it: up to some
  /// version, libtorch refuses during one.
  const char* (*release_cache)(void);
};

/// Null where the library has another version of the table.
const SteadytuneCudaTable* steadytune_cuda_table(int32_t version);

}  // extern "C"
