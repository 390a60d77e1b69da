// FlowRepair: a few slot writes that bring a placement back near its bound when loads, speeds or ranks have
// changed. Growth, shrink, drain (a rank with no slots) and slow ranks are one and the same to it.
#pragma once

#include "coordinator/planner/layer/layer_task.h"

namespace ballast {

struct RepairOptions {
  int writes_max = 4;
  double headroom = 1.01;    // the bound aimed at, over B1
  double tolerance = 0.002;  // unrouted load left alone, as a share of an average rank's load
};

struct Repair {
  SlotTable table;
  int writes = 0;
  double unrouted = 0;  // share of an average rank's load that found no room at the end
};

// Routes the load under headroom * B1; while some of it finds no room, gives the expert with most unrouted
// load one more slot where that frees most: an empty slot, one whose expert has other copies, or (two writes)
// one whose expert moves to such a slot elsewhere. A write that does not help is undone. When load stays
// unrouted, twice and four times the headroom are tried; the table of the least bound is returned, never one
// worse than at first. Experts that no rank
// holds (their rank was drained) are placed first, beyond writes_max if need be. Without spare slots:
// exchanges (exchange.h), two writes each.
Repair FlowRepair(const LayerTask& task, const SlotTable& current, const RepairOptions& options);

}  // namespace ballast
