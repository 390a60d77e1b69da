// What tests of the worker daemon below gRPC share: one assignment, and the messages that wait to be written.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "plan/contiguous.h"
#include "plan/layout.h"
#include "tests/coordinator/small_job.h"
#include "worker/daemon/session_host.h"

namespace ballast {

inline Time In(double seconds) { return SteadyClock().Now() + Seconds(seconds); }

inline Member MemberOf(int rank, const std::string& worker, int local_rank,
                       const std::string& address = "127.0.0.1") {
  return {.rank = Rank(rank),
          .worker = WorkerId(worker),
          .incarnation = Incarnation(7),
          .local_rank = local_rank,
          .node = "node-" + worker,
          .data_address = address,
          .neighbour_address = address + ":9",
          .host = {},
          .probe_address = {}};
}

// Generation `generation` of a job on w0 (ranks 0, 1) alone.
inline Assign AssignBoth(Generation generation = Generation(1)) {
  std::shared_ptr<JobConfig> job = SmallJob("demo", 2);
  ParameterLayout layout = ParameterLayout::Make(job->model, job->placement.block_elements).value();
  auto plan = std::make_shared<Plan>();
  plan->stamp = {.job = job->name,
                 .generation = generation,
                 .version = PlanVersion(generation.value()),
                 .base_version = {},
                 .not_before_step = Step(1)};
  plan->body = ContiguousPlan(*job, layout, 2).value();
  return {.stamp = {.term = Term(1), .job = job->name, .generation = generation},
          .job = job,
          .members = {MemberOf(0, "w0", 0), MemberOf(1, "w0", 1)},
          .plan = plan,
          .start_step = Step(1),
          .checkpoint = {},
          .retained = {}};
}

inline SessionOptions Identity() {
  SessionOptions options;
  options.identity.worker = WorkerId("w0");
  options.identity.incarnation = Incarnation(7);
  options.identity.ranks = 2;
  return options;
}

// Everything that waits to be written, as text.
inline std::vector<std::string> Outgoing(SessionHost& host) {
  std::vector<std::string> texts;
  while (std::optional<WorkerMessage> message = host.TakeOutgoing()) texts.push_back(ToString(*message));
  return texts;
}

// The next outgoing message of type T, thrown others away; waits for it.
template <class T>
std::optional<T> AwaitOutgoing(SessionHost& host, double seconds = 5) {
  for (Time deadline = In(seconds); SteadyClock().Now() < deadline; std::this_thread::yield()) {
    std::optional<WorkerMessage> message = host.TakeOutgoing();
    if (message.has_value() && std::holds_alternative<T>(*message)) return std::get<T>(*message);
  }
  return std::nullopt;
}

}  // namespace ballast
