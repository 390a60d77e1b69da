// The shortest order of a layer's chunked tasks, by exact search.
//
// The grouped order (task_order.h) is the shortest where compression takes less than half an exchange. Where
// it takes more, the compute stream is what all wait for, and compressing everything first can leave it idle
// later; which order is best then depends on all five lengths.
#pragma once

#include <cstdint>
#include <string>

#include "coordinator/planner/schedule/task_order.h"

namespace ballast {

struct TaskOrder {
  // One letter a task, C, B and F, and A and X; chunks in order within a letter.
  std::string compute, communication;
  double time = 0;      // end of the last task
  bool proved = false;  // no order is shorter
};

// Up to so many chunks every order is looked at, by branch and bound.
inline constexpr int kExactChunksMax = 4;
// The search ends here at the latest. In random cases of any share of compression it looks at a hundredth.
inline constexpr int64_t kOrdersMax = 4'000'000;

// The grouped order, or one that is shorter. Beyond kExactChunksMax chunks the grouped one.
TaskOrder BestOrder(const LayerTasks& tasks, int chunks);

}  // namespace ballast
