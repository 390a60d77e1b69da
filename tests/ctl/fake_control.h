// A coordinator that only pretends: answers that a test knows, and a record of what it was asked.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "ballast/v1/control.grpc.pb.h"

namespace ballast {

inline v1::StepStatus StepAt(int64_t step) {
  v1::StepStatus status;
  status.set_step(step);
  status.set_loss(1.0 / 3 + static_cast<double>(step));
  status.set_tokens_per_s(1000);
  status.set_imbalance(1.25);
  status.set_contiguous_imbalance(2);
  status.set_plan_version(3);
  status.set_eta_s(61);
  return status;
}

inline v1::JobStatus Job(v1::JobState state) {
  v1::JobStatus job;
  job.set_name("demo");
  job.set_state(state);
  job.set_step(2);
  job.set_steps(2);
  job.set_plans_committed(4);
  job.set_slot_writes(7);
  job.set_tokens_per_s(512.5);
  for (int step : {0, 2}) {
    for (const char* source : {"zulu", "alpha"}) {
      v1::Evaluation* evaluation = job.add_evaluations();
      evaluation->set_step(step);
      evaluation->set_source(source);
      evaluation->set_loss((source[0] == 'z' ? 6.0 : 4.0) / (step + 1));
    }
  }
  *job.add_recent_steps() = StepAt(1);
  *job.add_recent_steps() = StepAt(2);
  return job;
}

class FakeControl final : public v1::Control::Service {
 public:
  grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest* request,
                      v1::GetJobResponse* response) override {
    if (request->name() == "hang") {
      std::this_thread::sleep_for(std::chrono::seconds(2));
    } else if (request->name() != "demo") {
      return {grpc::StatusCode::NOT_FOUND, "no job " + request->name()};
    }
    *response->mutable_job() = Job(state);
    response->mutable_spec()->mutable_model()->set_layers(2);
    return grpc::Status::OK;
  }
  grpc::Status ListJobs(grpc::ServerContext*, const v1::ListJobsRequest*,
                        v1::ListJobsResponse* response) override {
    *response->add_jobs() = Job(state);
    return grpc::Status::OK;
  }
  grpc::Status ListEvents(grpc::ServerContext*, const v1::ListEventsRequest* request,
                          v1::ListEventsResponse* response) override {
    events_asked = *request;
    // One more at every request, until there are four.
    const int known = std::min(4, 2 + event_polls++);
    response->set_dropped(3);
    response->set_final(known == 4);
    for (int i = 0; i < known; ++i) {
      if (4 + i <= request->after()) continue;
      v1::LoggedEvent* event = response->add_events();
      event->set_number(4 + i);
      event->set_unix_ms(1'700'000'000'250 + i);
      event->set_step(10 * i);
      event->set_kind(i == 0 ? v1::EVENT_KIND_STATE : v1::EVENT_KIND_PLAN);
      event->set_plan_version(i);
      event->set_text("what " + std::to_string(i));
    }
    return grpc::Status::OK;
  }
  grpc::Status ExplainPlan(grpc::ServerContext*, const v1::ExplainPlanRequest* request,
                           v1::ExplainPlanResponse* response) override {
    v1::PlanStatus* plan = response->mutable_plan();
    plan->set_job(request->job());
    plan->set_version(request->version());
    plan->set_state(v1::PLAN_STATE_ACTIVE);
    plan->set_switch_step(12);
    plan->set_reason("imbalance 1.60 -> 1.05 predicted, 2 slot writes");
    plan->set_imbalance_before(1.6);
    plan->set_imbalance_after(1.05);
    plan->set_imbalance_bound(1.01);
    plan->set_slot_writes(2);
    plan->set_slot_bytes(4096);
    v1::PlanExplanation* why = response->mutable_explanation();
    why->set_strategy("auto");
    why->set_step(9);
    why->set_first_sample(1);
    why->set_last_sample(9);
    why->set_accepted(true);
    why->set_verdict("imbalance 1.60 -> 1.05 predicted, 2 slot writes");
    why->set_prices("flat");
    v1::PlanExplanation::Layer* layer = why->add_layers();
    for (int load : {10, 70, 20}) layer->add_load(load);
    layer->set_bound(1.01);
    layer->set_imbalance_before(1.6);
    layer->set_imbalance_after(1.05);
    layer->set_why("J 1.0500 instead of 1.6000");
    v1::PlanExplanation::Candidate* candidate = layer->add_candidates();
    candidate->set_name("splitpack + 0 %");
    candidate->set_imbalance(1.05);
    candidate->set_cost(1.0512);
    candidate->set_load_cost(1.05);
    candidate->set_sync_cost(0.001);
    candidate->set_moves_cost(0.0002);
    candidate->set_slot_writes(2);
    candidate->set_chosen(true);
    v1::MeasuredGain* gain = response->mutable_measured();
    gain->set_from_step(12);
    gain->set_to_step(31);
    gain->set_steps(20);
    gain->set_imbalance(1.06);
    gain->set_imbalance_without(1.62);
    gain->set_step_seconds(0.25);
    gain->set_step_seconds_before(0.5);
    gain->set_switch_seconds(0.75);
    gain->set_complete(true);
    response->mutable_last_look()->set_step(41);
    response->mutable_last_look()->set_strategy("auto");
    response->mutable_last_look()->set_verdict("no better placement");
    return grpc::Status::OK;
  }
  grpc::Status GetLoad(grpc::ServerContext*, const v1::GetLoadRequest* request,
                       v1::GetLoadResponse* response) override {
    // Steps 1, 2 and 4 of two layers; the second layer's answer comes one step later.
    for (int step : {1, 2, 4, 5}) {
      if (step == (request->layer() == 0 ? 5 : 1)) continue;
      v1::StepLoadStatus* one = response->add_steps();
      one->set_step(step);
      v1::LayerLoad* layer = one->add_layers();
      layer->set_layer(request->layer());
      for (int e = 0; e < 3; ++e) layer->add_expert_tokens(100'000 * step + 10 * request->layer() + e);
    }
    return grpc::Status::OK;
  }
  // Three sequences of two layers and two tokens, two in the first answer.
  grpc::Status GetTokens(grpc::ServerContext*, const v1::GetTokensRequest* request,
                         v1::GetTokensResponse* response) override {
    response->set_layers(2);
    response->set_top_k(2);
    response->set_tokens(2);
    const auto add = [&](int step, int rank, const std::vector<uint32_t>& choices) {
      v1::SampledSequenceStatus* sequence = response->add_sequences();
      sequence->set_step(step);
      sequence->set_rank(rank);
      sequence->mutable_choices()->Add(choices.begin(), choices.end());
    };
    if (no_tokens) return grpc::Status::OK;
    if (request->after_step() == 0) {
      add(1, 0, {0, 1, 0, 1, 1, 2, 1, 2});
      add(1, 1, {1, 0, 2, 0, 2, 1, 0, 1});
    } else if (request->after_step() == 1 && request->after_rank() == 1) {
      add(2, 0, {0, 2, 1, 2, 2, 0, 2, 1});
    }
    return grpc::Status::OK;
  }
  std::atomic<bool> no_tokens{false};
  grpc::Status StopJob(grpc::ServerContext*, const v1::StopJobRequest*, v1::StopJobResponse*) override {
    return {grpc::StatusCode::FAILED_PRECONDITION, "job demo has ended"};
  }
  grpc::Status Adopt(grpc::ServerContext*, const v1::AdoptRequest*, v1::AdoptResponse*) override {
    return {grpc::StatusCode::PERMISSION_DENIED, "operators only"};
  }
  grpc::Status WatchJob(grpc::ServerContext*, const v1::WatchJobRequest*,
                        grpc::ServerWriter<v1::JobEvent>* writer) override {
    // The first stream breaks after one step; the second begins with what the first has shown.
    v1::JobEvent event;
    bool first = watches++ == 0;
    *event.mutable_state() = Job(v1::JOB_STATE_RUNNING);
    event.mutable_state()->clear_recent_steps();
    if (!first) *event.mutable_state()->add_recent_steps() = StepAt(1);
    writer->Write(event);
    if (first) {
      *event.mutable_step() = StepAt(1);
      writer->Write(event);
      return {grpc::StatusCode::UNAVAILABLE, "the coordinator stops"};
    }
    event.mutable_plan()->set_text("step 2: plan 3 active: 5 slot writes");
    writer->Write(event);
    *event.mutable_step() = StepAt(2);
    writer->Write(event);
    *event.mutable_state() = Job(state);
    writer->Write(event);
    return grpc::Status::OK;
  }
  grpc::Status PushPlan(grpc::ServerContext*, const v1::PushPlanRequest* request,
                        v1::PushPlanResponse* response) override {
    pushed = *request;
    if (request->plan().base_version() == 9) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "layers[0].hosts[1][0]: found expert 9, allowed 0..7"};
    }
    response->mutable_plan()->set_job(request->job());
    response->mutable_plan()->set_version(request->dry_run() ? 0 : 4);
    response->set_summary("1 slot write");
    return grpc::Status::OK;
  }
  grpc::Status GetPlan(grpc::ServerContext*, const v1::GetPlanRequest*,
                       v1::GetPlanResponse* response) override {
    response->mutable_status()->set_version(4);
    bool done = ++plan_polls >= 2;
    response->mutable_status()->set_state(done ? plan_end.load() : v1::PLAN_STATE_PROPOSED);
    response->mutable_status()->set_outcome("worker w1: not enough memory");
    return grpc::Status::OK;
  }

  std::atomic<v1::JobState> state{v1::JOB_STATE_SUCCEEDED};
  std::atomic<v1::PlanState> plan_end{v1::PLAN_STATE_ACTIVE};
  std::atomic<int> watches{0};
  std::atomic<int> plan_polls{0};
  std::atomic<int> event_polls{0};
  v1::PushPlanRequest pushed;  // read after the call only
  v1::ListEventsRequest events_asked;
};

}  // namespace ballast
