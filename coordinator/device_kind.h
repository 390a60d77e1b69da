// Kinds of device: all ranks of a job are of one. Ranks of different kinds do not find each other, and a step
// is rounded differently on each, so that a job keeps the kind that it began on.
#pragma once

#include <string>
#include <vector>

#include "coordinator/membership.h"
#include "protocol/messages.h"

namespace ballast {

// What `hello.device` has before its ":", as "cuda" of "cuda:0,3"; "unknown" when that is nothing.
std::string DeviceKind(const Hello& hello);

// Some workers of one kind.
struct WorkersOfKind {
  std::string kind;
  int ranks = 0;                            // of all of them
  std::vector<const WorkerEntry*> workers;  // in the order given
};

// The kinds of `workers` in the order in which a job that has not begun would have them: cuda, then the
// others by name. With `only`, that one alone, if it is there; empty = all.
std::vector<WorkersOfKind> ByKind(const std::vector<const WorkerEntry*>& workers, const std::string& only);

int RanksOf(const std::vector<WorkersOfKind>& kinds);

// "2 idle ranks of one kind of device; attached are 1 of cuda, 1 of cpu": what a job that began on `own`
// (empty = it has not begun) and waits for `wanted`, as "2 idle ranks", is told when `idle` are there. Kinds
// are spoken of where they matter: "2 idle ranks; 1 are attached" when there is no other.
std::string WaitingText(const std::string& wanted, const std::string& own,
                        const std::vector<const WorkerEntry*>& idle);

}  // namespace ballast
