#include "coordinator/planner/schedule/best_order.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace ballast {
namespace {

constexpr char kLetters[] = "CABXF";
enum Kind : size_t { kCompress, kDispatch, kExperts, kCombine, kDecompress, kKinds };
constexpr double kRounding = 1e-12;

bool Sends(size_t kind) { return kind == kDispatch || kind == kCombine; }

// Depth first. At each node one more task begins, no earlier than the last that began, so that every schedule
// without needless waiting is met once.
class Search {
 public:
  Search(const LayerTasks& tasks, int chunks)
      : chunks_(chunks),
        length_{tasks.compress.At(chunks), tasks.dispatch.At(chunks), tasks.experts.At(chunks),
                tasks.combine.At(chunks), tasks.decompress.At(chunks)},
        best_(Grouped(chunks)) {
    best_.time = GroupedTime(tasks, chunks, true);
    best_.proved = best_.time <= ScheduleBound(tasks, chunks) * (1 + kRounding);
  }

  TaskOrder Run() {
    if (best_.proved || chunks_ > kExactChunksMax) return best_;
    best_.proved = Extend(0, 0, 0);
    return best_;
  }

 private:
  static TaskOrder Grouped(int chunks) {
    const auto n = static_cast<size_t>(chunks);
    return {std::string(n, 'C') + std::string(n, 'B') + std::string(n, 'F'),
            std::string(n, 'A') + std::string(n, 'X')};
  }

  double Left(size_t kind) const { return length_[kind] * static_cast<double>(chunks_ - next_[kind]); }

  // When the last task ends at the earliest, given when the streams are free.
  double Bound(double compute, double communication) const {
    double bound = std::max(compute + Left(kCompress) + Left(kExperts) + Left(kDecompress),
                            communication + Left(kDispatch) + Left(kCombine));
    // The last of the experts is still to be sent and decompressed, the last sent to be decompressed.
    if (next_[kExperts] < chunks_) {
      bound = std::max(bound,
                       compute + Left(kCompress) + Left(kExperts) + length_[kCombine] + length_[kDecompress]);
    }
    if (next_[kCombine] < chunks_) {
      bound = std::max(bound, communication + Left(kDispatch) + Left(kCombine) + length_[kDecompress]);
    }
    return bound;
  }

  // False when it ended before everything was looked at.
  bool Extend(double compute, double communication, double last) {
    if (++looked_ > kOrdersMax) return false;
    if (Bound(compute, communication) >= best_.time * (1 - kRounding)) return true;
    bool ended = true;
    for (size_t kind = 0; kind < kKinds; ++kind) {
      const int chunk = next_[kind];
      if (chunk == chunks_) continue;
      ended = false;
      if (kind > 0 && next_[kind - 1] <= chunk) continue;  // its own chunk is not that far
      double& stream = Sends(kind) ? communication : compute;
      const double before = stream;
      const double start = std::max(stream, kind > 0 ? end_[kind - 1][static_cast<size_t>(chunk)] : 0);
      if (start < last) continue;
      std::string& order = Sends(kind) ? communication_ : compute_;
      stream = end_[kind][static_cast<size_t>(chunk)] = start + length_[kind];
      ++next_[kind];
      order.push_back(kLetters[kind]);
      const bool all = Extend(compute, communication, start);
      order.pop_back();
      --next_[kind];
      stream = before;
      if (!all) return false;
    }
    if (ended) {
      best_ = {compute_, communication_, std::max(compute, communication)};
    }
    return true;
  }

  const int chunks_;
  const std::array<double, kKinds> length_;
  std::array<std::array<double, kExactChunksMax>, kKinds> end_{};  // [kind][chunk]
  std::array<int, kKinds> next_{};                                 // [kind] its next chunk
  std::string compute_, communication_;                            // so far
  int64_t looked_ = 0;
  TaskOrder best_;
};

}  // namespace

TaskOrder BestOrder(const LayerTasks& tasks, int chunks) { return Search(tasks, chunks).Run(); }

}  // namespace ballast
