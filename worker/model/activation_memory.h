// How much memory a rank needs beside weights and optimizer state: activations, scratch and the buffers of
// all-to-alls, as a formula. Pure.
#pragma once

#include <cstddef>

#include "plan/job_config.h"

namespace ballast {

// How many times its even share of a layer's assignments a rank is allowed for: how routing falls is not
// known beforehand, and buffers grow to the most that a rank has seen. The planner keeps ranks well below
// that.
constexpr double kRowsAllowance = 2;

struct ActivationShape {
  int ranks = 1;
  int node_ranks = 1;                // of this rank's node: a leader of "two_level" carries their rows
  bool two_level = false;            // rows travel in more than one stage
  size_t attention_saved_bytes = 0;  // Backend::AttentionSavedBytes of one microbatch
};

struct ActivationUse {
  size_t activations = 0;  // kept from the forward for the backward
  size_t scratch = 0;      // shared by the layers
  size_t exchange = 0;     // rows on the wire
  size_t total() const { return activations + scratch + exchange; }
  ActivationUse& operator+=(const ActivationUse& other) {
    activations += other.activations;
    scratch += other.scratch;
    exchange += other.exchange;
    return *this;
  }
};

// Tokens of the largest microbatch of a rank.
int64_t MicrobatchTokens(const JobConfig& job, int ranks);

// Of a rank that computes at most kRowsAllowance times its even share of the assignments.
ActivationUse ExpectedActivations(const JobConfig& job, const ActivationShape& shape);

}  // namespace ballast
